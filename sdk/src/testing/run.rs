//! The runs.

use super::input::{Input, batch};
use super::output::Outcome;
use crate::aggregate::Aggregate;
use crate::answer::{Answer, Parts};
use crate::columns::{Cell, Column, NULL};
use crate::migrate::{self, Migrate};
use crate::process::Process;
use crate::state::{State, decode_kept};
use crate::transform::Transform;
use crate::{Accumulator, config, fold as calls, host};

/// A plugin that is made of a configuration. The macros implement it.
pub trait FromConfig: Sized {
    /// Makes the plugin of its configuration's JSON text.
    fn from_config(text: &str) -> Result<Self, String>;
}

/// Makes a plugin of its configuration, a JSON text, as the host does at deploy.
///
/// # Errors
/// The text with which the host would refuse the deployment.
pub fn plugin<P: FromConfig>(config: &str) -> Result<P, String> {
    P::from_config(config)
}

#[doc(hidden)]
pub fn prepare<C: config::Config, P>(text: &str, new: impl FnOnce(C) -> crate::Result<P>) -> Result<P, String> {
    new(config::parse(text)?).map_err(|error| error.to_string())
}

/// Reads the state that the engine keeps for a key into `empty`, which is that of a key that has none.
///
/// # Errors
/// What is wrong with the bytes.
pub fn state<S: State>(empty: S, bytes: &[u8]) -> Result<S, String> {
    decode_kept(empty, 0, bytes).map(|kept| kept.state)
}

/// Turns the state that another version kept for a key into this version's, as the host does at an upgrade.
#[doc(hidden)]
pub fn migrate_state<P>(plugin: &P, written_by: &str, old: &[u8]) -> Result<Option<Vec<u8>>, String>
where
    P: Process + Migrate<Old: State, New: State>,
{
    Ok(one(&migrate::states(plugin, written_by, &[Some(old)].into_iter().collect())?))
}

/// Turns what another version accumulated into this version's, as the host does at an upgrade.
#[doc(hidden)]
pub fn migrate_accumulator<P>(plugin: &P, written_by: &str, old: &[u8]) -> Result<Option<Vec<u8>>, String>
where
    P: Aggregate + Migrate<Old: Accumulator, New: Accumulator>,
{
    Ok(one(&migrate::accumulators(plugin, written_by, &[Some(old)].into_iter().collect())?))
}

fn one(column: &Column) -> Option<Vec<u8>> {
    column.cells().next().and_then(Cell::bytes).map(<[u8]>::to_vec)
}

/// Runs a transform over rows, in one batch.
///
/// # Panics
/// If the answer breaks the contract, or is another one when each row comes in a batch of its own.
pub fn run<P: Transform>(plugin: &P, rows: impl IntoIterator<Item = impl Into<Input>>) -> Outcome {
    let inputs: Vec<Input> = rows.into_iter().map(Into::into).collect();
    drop(host::take());
    let outcome = run_batch(plugin, &inputs);
    let message = host::take();
    let mut alone = Outcome::default();
    for (row, input) in inputs.iter().enumerate() {
        let part = run_batch(plugin, std::slice::from_ref(input));
        alone.rows.extend(part.rows.into_iter().map(|emitted| super::Emitted { source: row, ..emitted }));
        alone.rejected.extend(part.rejected.into_iter().map(|rejected| super::Rejected { row, ..rejected }));
    }
    drop(host::take());
    assert_eq!(outcome, alone, "the outcome depends on where the batch is cut: at once (left), row by row (right)");
    outcome.with(message)
}

fn run_batch<P: Transform>(plugin: &P, inputs: &[Input]) -> Outcome {
    let batch = batch(inputs, P::READS);
    let mut answer = Answer::new(&batch, P::OUTPUTS);
    plugin.batch(&batch, &mut answer);
    Outcome::of(inputs, &batch, P::OUTPUTS, answer.into_parts())
}

/// Folds rows into one window a key, from `start` to `end`, and finishes the windows: in the order in which their keys
/// first appeared. Which rows are in the window is the test's to say: their event times are not looked at.
pub fn fold<P: Aggregate>(
    plugin: &P,
    (start, end): (i64, i64),
    rows: impl IntoIterator<Item = impl Into<Input>>,
) -> Outcome {
    let inputs: Vec<Input> = rows.into_iter().map(Into::into).collect();
    drop(host::take());
    let (keys, groups) = group(&inputs);
    let empty = Column { lengths: vec![NULL; keys.len()], bytes: Vec::new() };
    let (accumulators, rejected) = calls::add(plugin, &empty, &groups, &batch(&inputs, P::READS));
    finish(plugin, (start, end), &inputs, keys, &accumulators, rejected)
}

/// Like [`fold`], but each row is folded into an accumulator of its own, and those are merged. The results should be the
/// same: the host merges accumulators wherever windows share rows.
pub fn fold_merged<P: Aggregate>(
    plugin: &P,
    (start, end): (i64, i64),
    rows: impl IntoIterator<Item = impl Into<Input>>,
) -> Outcome {
    let inputs: Vec<Input> = rows.into_iter().map(Into::into).collect();
    drop(host::take());
    let (keys, groups) = group(&inputs);
    let each: Vec<u32> = (0_u32..).take(inputs.len()).collect();
    let empty = Column { lengths: vec![NULL; inputs.len()], bytes: Vec::new() };
    let (parts, rejected) = calls::add(plugin, &empty, &each, &batch(&inputs, P::READS));
    let mut merged: Vec<Option<Column>> = vec![None; keys.len()];
    for (&group, part) in groups.iter().zip(parts.cells()) {
        let later: Column = [part.bytes()].into_iter().collect();
        if let Some(earlier) = merged.get_mut(group as usize) {
            *earlier = Some(match earlier {
                None => later,
                Some(earlier) => calls::merge(plugin, earlier, &later),
            });
        }
    }
    let accumulators = merged.iter().map(|column| column.as_ref()?.cells().next().and_then(Cell::bytes)).collect();
    finish(plugin, (start, end), &inputs, keys, &accumulators, rejected)
}

fn finish<P: Aggregate>(
    plugin: &P,
    (start, end): (i64, i64),
    inputs: &[Input],
    keys: Vec<Option<&[u8]>>,
    accumulators: &Column,
    rejected: crate::answer::Rejects,
) -> Outcome {
    let window = |key: &Option<&[u8]>| {
        let at_end = Input::null().at(end.saturating_sub(1));
        key.map_or(at_end.clone(), |key| at_end.key(key))
    };
    let windows: Vec<Input> = keys.iter().map(window).collect();
    let window_batch = batch(&windows, crate::describe::Reads::KEYS);
    let (starts, ends) = (vec![start; keys.len()], vec![end; keys.len()]);
    let answer = calls::finish(plugin, accumulators, window_batch.keys.clone(), &starts, &ends);
    let added = Outcome::of(inputs, &batch(inputs, P::READS), P::OUTPUTS, Parts { rejected, ..Parts::default() });
    let mut outcome = Outcome::of(&windows, &window_batch, P::OUTPUTS, answer);
    outcome.rejected.splice(0..0, added.rejected);
    outcome.with(host::take())
}

/// The keys in the order in which they first appear, and the place of each row's key among them.
fn group(inputs: &[Input]) -> (Vec<Option<&[u8]>>, Vec<u32>) {
    let mut keys: Vec<Option<&[u8]>> = Vec::new();
    let mut groups = Vec::new();
    for input in inputs {
        let key = input.key.as_deref();
        let group = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            keys.push(key);
            keys.len() - 1
        });
        groups.push(u32::try_from(group).expect("a test has fewer than 2^32 keys"));
    }
    (keys, groups)
}

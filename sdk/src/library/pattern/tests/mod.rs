//! Patterns: what each part of them means, and a model that tries every way to take events.

mod model;
mod semantics;

use super::*;
use crate::describe::Output;
use crate::testing::{Input, Outcome, keyed};
use crate::{Context, Error, NoConfig, Process, Result, Text, Timer};

/// Says what a pattern finds: `match`es and others as `stage@time` for each event.
#[derive(Debug)]
struct Probe(Matcher<String>);

impl Process for Probe {
    const SUMMARY: &'static str = "Finds a pattern.";
    const OUTPUTS: &'static [Output] = &[
        Output { name: "match", summary: "" },
        Output { name: "timed-out", summary: "" },
        Output { name: "late", summary: "" },
        Output { name: "overflow", summary: "" },
    ];
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Matching<String>;

    fn new(_: NoConfig) -> Result<Self> {
        Err(Error::new("no-pattern", "tests make it of a pattern"))
    }

    fn on_row(&self, ctx: &mut Context<'_>, matching: &mut Self::State, Text(event): Text<'_>) -> Result<()> {
        if self.0.on_row(ctx, matching, event.to_owned())?.is_late() {
            ctx.out().pass_to(2);
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, matching: &mut Self::State, timer: Timer) -> Result<()> {
        let ours = self.0.on_timer(ctx, matching, timer, |ctx, found| {
            let (output, text) = match found {
                Found::Match(events) => (0, text(&events)),
                Found::TimedOut(events) => (1, text(&events)),
                Found::Overflow(Overflow { limit, value, used }) => (3, format!("{limit} {value} {used}")),
            };
            ctx.out().row().value(Some(text.as_bytes())).output(output);
            Ok(())
        })?;
        assert!(ours, "there are no other timers");
        Ok(())
    }
}

fn text(events: &Events<'_, String>) -> String {
    let events: Vec<String> = events.iter().map(|(stage, time, _)| format!("{stage}@{time}")).collect();
    events.join(" ")
}

/// What is found in the events of one key, once the watermark has come to the end of all times: output, text, event time.
fn found(pattern: Pattern<String>, events: &[(&str, i64)]) -> Vec<(&'static str, String, i64)> {
    let probe = Probe(pattern.build().expect("the pattern makes sense"));
    let mut run = keyed(&probe);
    for &(event, time) in events {
        run.row(Input::value(event).key("k").at(time));
    }
    run.watermark(1_000_000);
    assert_eq!(run.state("k").map(|state| (state.events(), state.partial_matches())).unwrap_or_default().0, 0);
    described(&run.end())
}

fn described(out: &Outcome) -> Vec<(&'static str, String, i64)> {
    assert_eq!(out.codes(), [""; 0]);
    out.rows.iter().map(|row| (row.output, row.value_text(), row.timestamp)).collect()
}

/// The matches alone, as text.
fn matches(pattern: Pattern<String>, events: &str) -> Vec<String> {
    let events: Vec<(String, i64)> = events.split(' ').zip(1..).map(|(event, time)| (event.to_owned(), time)).collect();
    let events: Vec<(&str, i64)> = events.iter().map(|(event, time)| (event.as_str(), *time)).collect();
    let found = found(pattern.within(std::time::Duration::from_secs(1)), &events);
    found.into_iter().filter(|(output, ..)| *output == "match").map(|(_, text, _)| text).collect()
}

/// A condition: the event's text has this letter.
fn has(letter: char) -> impl Fn(&String) -> bool + Send + Sync + 'static {
    move |event| event.contains(letter)
}

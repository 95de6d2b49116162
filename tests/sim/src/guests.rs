//! The plugins of the simulation. What they give says what it was made of, so that a row that was lost, taken twice or
//! taken by another version shows in it.
//!
//! Each comes in three versions: `-1`, `-2` (other code, the same state) and `-3`, which migrates the state that it finds.
//! All versions keep the same state, so that any may follow any.

use millstream::plugin::{Grants, Guest};
use millstream_sdk::Migrate;
use millstream_sdk::prelude::*;
use millstream_sdk::testing::native;

/// A value that no plugin takes begins so.
pub const POISON: &str = "poison";

/// All components: their bytes are their names.
pub const COMPONENTS: &[&str] =
    &["pass-1", "pass-2", "look-1", "look-2", "chain-1", "chain-2", "chain-3", "collect-1", "collect-2", "collect-3"];

/// The guest that a component's bytes name.
pub fn load(component: &str, config: &str, grants: Grants) -> std::result::Result<Guest, String> {
    match component {
        "pass-1" | "pass-2" => native::load::<Pass>(config, grants),
        "look-1" | "look-2" => native::load::<Look>(config, grants),
        "chain-1" | "chain-2" => native::load::<Chain>(config, grants),
        "chain-3" => native::load::<ChainMigrating>(config, grants),
        "collect-1" | "collect-2" => native::load::<Collect>(config, grants),
        "collect-3" => native::load::<CollectMigrating>(config, grants),
        _ => Err(format!("there is no component `{component}`")),
    }
}

fn take(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => reject!("poison", "`{text}` is no number"),
    }
}

/// The hash of a number behind others.
pub fn link(hash: u64, number: u64) -> u64 {
    (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
}

/// The plugin.
#[derive(Debug)]
pub struct Pass;

/// Passes numbers on.
#[transform]
impl Transform for Pass {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn record(&self, Text(text): Text<'_>, out: &mut Out<'_, '_>) -> Result<()> {
        take(text)?;
        out.row();
        Ok(())
    }
}

/// The plugin.
#[derive(Debug)]
pub struct Look;

/// Puts what the table `names` has for the key behind the number.
#[transform]
impl Transform for Look {
    type Config = NoConfig;
    type Input<'a> = (Option<Key<Text<'a>>>, Text<'a>);

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn record(&self, (key, Text(text)): Self::Input<'_>, out: &mut Out<'_, '_>) -> Result<()> {
        let number = take(text)?;
        let name = match key {
            Some(Key(Text(key))) => lookup::table("names").get_text(key)?,
            None => None,
        };
        let text = format!("{number} {}", name.unwrap_or_else(|| "-".to_owned()));
        out.row().value(Some(text.as_bytes()));
        Ok(())
    }
}

/// What is kept of a key: how many numbers came, and the hash of all of them in their order.
#[derive(Debug, Clone, Default, Accumulator)]
pub struct Links {
    count: u64,
    hash: u64,
}

fn append(ctx: &mut Context<'_>, links: &mut Value<Links>, text: &str) -> Result<()> {
    let number = take(text)?;
    let links = links.or_default();
    *links = Links { count: links.count + 1, hash: link(links.hash, number) };
    let text = format!("{number} {} {:016x}", links.count, links.hash);
    ctx.emit(Row::text(text))
}

/// The plugin.
#[derive(Debug)]
pub struct Chain;

/// Gives each number with how many came of its key, and the hash of all of them.
#[process]
impl Process for Chain {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Value<Links>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, links: &mut Value<Links>, Text(text): Text<'_>) -> Result<()> {
        append(ctx, links, text)
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ChainMigrating;

/// The same, and takes state over by `migrate`.
#[process(migrate)]
impl Process for ChainMigrating {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Value<Links>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn on_row(&self, ctx: &mut Context<'_>, links: &mut Value<Links>, Text(text): Text<'_>) -> Result<()> {
        append(ctx, links, text)
    }
}

impl Migrate for ChainMigrating {
    type Old = Value<Links>;
    type New = Value<Links>;

    fn migrate(&self, _: &str, old: Value<Links>) -> Result<Option<Value<Links>>> {
        Ok(Some(old))
    }
}

fn finish(window: &Window<'_>, numbers: &[u64]) -> String {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("{} {}", window.start, numbers.join(","))
}

/// The plugin.
#[derive(Debug)]
pub struct Collect;

/// Gives the numbers of a window.
#[aggregate]
impl Aggregate for Collect {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type Accumulator = Vec<u64>;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn add(&self, numbers: &mut Vec<u64>, Text(text): Text<'_>) -> Result<()> {
        numbers.push(take(text)?);
        Ok(())
    }

    fn merge(&self, earlier: &mut Vec<u64>, later: Vec<u64>) {
        earlier.extend(later);
    }

    fn finish(&self, window: &Window<'_>, numbers: &Vec<u64>) -> Result<String> {
        Ok(finish(window, numbers))
    }
}

/// The plugin.
#[derive(Debug)]
pub struct CollectMigrating;

/// The same, and takes state over by `migrate`.
#[aggregate(migrate)]
impl Aggregate for CollectMigrating {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type Accumulator = Vec<u64>;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn add(&self, numbers: &mut Vec<u64>, Text(text): Text<'_>) -> Result<()> {
        numbers.push(take(text)?);
        Ok(())
    }

    fn merge(&self, earlier: &mut Vec<u64>, later: Vec<u64>) {
        earlier.extend(later);
    }

    fn finish(&self, window: &Window<'_>, numbers: &Vec<u64>) -> Result<String> {
        Ok(finish(window, numbers))
    }
}

impl Migrate for CollectMigrating {
    type Old = Vec<u64>;
    type New = Vec<u64>;

    fn migrate(&self, _: &str, old: Vec<u64>) -> Result<Option<Vec<u64>>> {
        Ok(Some(old))
    }
}

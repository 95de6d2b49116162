//! Timers that go on, in whole pipelines: however they are cut, and whenever the server dies.
#![cfg(feature = "driver")]

use millstream_sdk::library::join::{Joined, Kind, WindowJoin, WindowRows};
use millstream_sdk::prelude::*;
use millstream_sdk::testing::{Bounds, Input, Setup, TestDriver};

#[derive(Debug)]
struct Pairs(WindowJoin);

/// Pairs of rows in the same window.
#[process]
impl Process for Pairs {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = WindowRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Pairs(WindowJoin::hopping(Kind::Full, 100, 50)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        let arrival = match row.strip_prefix('r') {
            None => self.0.left(ctx, rows, row.to_owned()),
            Some(row) => self.0.right(ctx, rows, row.to_owned()),
        };
        if arrival.is_late() {
            reject!("late", "the window is over");
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        let emit = |ctx: &mut Context<'_>, window: &Window<'_>, joined: Joined<'_, String, String>| {
            ctx.emit(format!("{} {:?} {:?}", window.start, joined.left, joined.right))
        };
        self.0.on_timer(ctx, rows, timer, emit).map(drop)
    }
}

const MANIFEST: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "0s"
[[steps]]
name = "pairs"
plugin = "pairs"
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "50ms" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

#[derive(Debug)]
struct Count;

/// Counts rows: what it counts depends on how far event time is for them.
#[aggregate]
impl Aggregate for Count {
    type Config = NoConfig;
    type Input<'a> = ();
    type Accumulator = u64;
    type Output = String;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Count)
    }

    fn add(&self, count: &mut u64, (): ()) -> Result<()> {
        *count += 1;
        Ok(())
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier += later;
    }

    fn finish(&self, window: &Window<'_>, count: &u64) -> Result<String> {
        Ok(format!("{} {} {count}", window.key_text().unwrap_or_default(), window.start))
    }
}

fn setup() -> Setup {
    TestDriver::of(MANIFEST).plugin::<Pairs>("pairs").plugin::<Count>("count")
}

fn feed(driver: &mut TestDriver) {
    let row = |(key, value, time): (&str, String, i64)| Input::value(value).key(key).at(time);
    let wide = (0..24).map(|number| ("wide", format!("{}{number}", if number % 2 == 0 { "" } else { "r" }), number));
    let narrow = [("a", "1".to_owned(), 30), ("a", "r2".to_owned(), 40), ("b", "3".to_owned(), 110)];
    let later = [("wide", "4".to_owned(), 160), ("wide", "r5".to_owned(), 170), ("a", "r6".to_owned(), 400)];
    driver.feed("in", wide.chain(narrow).chain(later).map(row));
    driver.end();
}

#[test]
fn what_goes_on_is_whole_however_it_is_cut_and_whenever_the_server_dies() {
    let run = |bounds: Bounds| {
        bounds.within(|| {
            setup().check_cuts(feed);
            let mut driver = setup().start().unwrap_or_else(|refused| panic!("{refused}"));
            feed(&mut driver);
            assert!(driver.dead_letters().is_empty());
            driver.values("out")
        })
    };
    let whole = run(Bounds::DEFAULT);
    assert!(whole.contains(&"wide 0 144".to_owned()), "{whole:?}");
    assert_eq!(run(Bounds { full_bytes: 100, piece_rows: 2, ..Bounds::DEFAULT }), whole);
    assert_eq!(run(Bounds { full_bytes: 1, chain: 1, ..Bounds::DEFAULT }), whole);
}

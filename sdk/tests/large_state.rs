//! Keys whose state outgrows what rides in columns, in whole pipelines: nothing is lost, and nobody can tell.
#![cfg(feature = "driver")]

use std::collections::{BTreeMap, VecDeque};

use millstream_sdk::library::dedupe::{Dedupe, Seen};
use millstream_sdk::library::join::{IntervalJoin, IntervalRows, Joined, Kind};
use millstream_sdk::library::pattern::{Found, Matcher, Matching, Pattern};
use millstream_sdk::prelude::*;
use millstream_sdk::testing::{Crash, Input, Setup, StateBounds, TestDriver, with_state_bounds};

/// All but the smallest states are in pages of a few bytes.
const TINY: StateBounds = StateBounds { inline_bytes: 8, page_bytes: 24, resident_bytes: 0 };
/// Nothing is in pages.
const NONE: StateBounds = StateBounds { inline_bytes: usize::MAX, page_bytes: 4096, resident_bytes: usize::MAX };

#[derive(Debug)]
struct Once(Dedupe);

/// Passes each value of a key once.
#[process]
impl Process for Once {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Seen<String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Once(Dedupe::event_time(1_000_000_000)))
    }

    fn state(&self) -> Seen<String> {
        self.0.state()
    }

    fn on_row(&self, ctx: &mut Context<'_>, seen: &mut Seen<String>, Text(value): Text<'_>) -> Result<()> {
        let first = self.0.see(ctx, seen, value.to_owned()).is_new();
        ctx.emit(first.then(Row::same))
    }
}

#[derive(Debug)]
struct Pairs(IntervalJoin);

/// Joins rows that are close to one another, and gives those without a partner.
#[process]
impl Process for Pairs {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = IntervalRows<String, String>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Pairs(IntervalJoin::new(Kind::Full, 0..=3)?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
        let arrival = match ctx.input() {
            0 => self.0.left(ctx, rows, row.to_owned(), pair)?,
            _ => self.0.right(ctx, rows, row.to_owned(), pair)?,
        };
        if arrival.is_late() {
            reject!("late", "nothing is to be late here");
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
        self.0.on_timer(ctx, rows, timer, pair).map(drop)
    }
}

fn pair(ctx: &mut Context<'_>, joined: Joined<'_, String, String>) -> Result<()> {
    ctx.emit(Row::text(format!("{:?} {:?}", joined.left, joined.right)).at(joined.time))
}

#[derive(Debug)]
struct Rising(Matcher<u64>);

/// Finds an even number and the next odd one after it.
#[process]
impl Process for Rising {
    type Config = NoConfig;
    type Input<'a> = Json<u64>;
    type State = Matching<u64>;

    fn new(_: NoConfig) -> Result<Self> {
        let even = Pattern::begin("even", |number: &u64| number.is_multiple_of(2));
        Ok(Rising(even.next("odd", |number: &u64| !number.is_multiple_of(2)).build()?))
    }

    fn on_row(&self, ctx: &mut Context<'_>, matching: &mut Self::State, Json(number): Json<u64>) -> Result<()> {
        if self.0.on_row(ctx, matching, number)?.is_late() {
            reject!("late", "nothing is to be late here");
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, matching: &mut Self::State, timer: Timer) -> Result<()> {
        self.0
            .on_timer(ctx, matching, timer, |ctx, found| match found {
                Found::Match(events) => {
                    ctx.emit(format!("{:?}", events.iter().map(|event| *event.2).collect::<Vec<_>>()))
                }
                Found::TimedOut(_) | Found::Overflow(_) => reject!("lost", "the pattern has no end"),
            })
            .map(drop)
    }
}

/// What an author may do: parts of each kind, with and without times to live.
#[derive(Debug, Default, State)]
struct Parts {
    last: Value<String>,
    queue: List<String>,
    counts: Map<String, u64>,
    by_time: Ordered<i64, String>,
}

#[derive(Debug)]
struct Author;

/// Does to its parts what rows say, and tells what it sees.
#[process]
impl Process for Author {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type State = Parts;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Author)
    }

    fn on_row(&self, ctx: &mut Context<'_>, parts: &mut Parts, Text(word): Text<'_>) -> Result<()> {
        let time = ctx.time();
        parts.queue.push(word.to_owned());
        *parts.counts.or_default(word.to_owned()) += 1;
        parts.by_time.insert(time, word.to_owned());
        parts.last.set(word.repeat(3));
        if time % 7 == 0 {
            parts.queue.pop_first();
            parts.by_time.remove(..time - 20);
        }
        if time % 11 == 0 {
            reject!("told-to", "this row has not been");
        }
        let around: Vec<_> = parts.by_time.range(time - 9..=time).rev().map(|(_, word)| word.as_str()).collect();
        let seen = (parts.queue.len(), parts.queue.first(), parts.counts.iter().map(|(_, count)| count).sum::<u64>());
        ctx.emit(format!("{seen:?} {around:?} {:?}", parts.counts.get(word)))
    }
}

/// The same by other means.
fn model(rows: &[(i64, String)]) -> Vec<String> {
    let (mut queue, mut counts) = (VecDeque::new(), BTreeMap::<&str, u64>::new());
    let mut by_time: Vec<(i64, &str)> = Vec::new();
    let mut told = Vec::new();
    for (time, word) in rows.iter().filter(|(time, _)| time % 11 != 0) {
        queue.push_back(word);
        *counts.entry(word).or_default() += 1;
        by_time.push((*time, word));
        by_time.sort_by_key(|&(time, _)| time);
        if time % 7 == 0 {
            queue.pop_front();
            by_time.retain(|&(at, _)| at >= time - 20);
        }
        let near = by_time.iter().rev().filter(|(at, _)| (time - 9..=*time).contains(at));
        let around: Vec<_> = near.map(|&(_, word)| word).collect();
        let seen = (queue.len(), queue.front(), counts.values().sum::<u64>());
        told.push(format!("{seen:?} {around:?} {:?}", counts.get(word.as_str())));
    }
    told
}

fn manifest(plugin: &str, sources: &str, disorder: &str) -> String {
    format!(
        r#"
name = "p"
[source]
topics = [{sources}]
[watermark]
disorder = "{disorder}"
[[steps]]
name = "step"
plugin = "{plugin}"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

fn setup(plugin: &str, sources: &str, disorder: &str) -> Setup {
    let setup = TestDriver::of(&manifest(plugin, sources, disorder));
    match plugin {
        "once" => setup.plugin::<Once>("once"),
        "pairs" => setup.plugin::<Pairs>("pairs"),
        "rising" => setup.plugin::<Rising>("rising"),
        _ => setup.plugin::<Author>("author"),
    }
}

fn started(setup: &Setup) -> TestDriver {
    setup.start().unwrap_or_else(|refused| panic!("{refused}"))
}

fn row(value: impl ToString, time: i64) -> Input {
    Input::value(value.to_string()).key("k").at(time)
}

#[track_caller]
fn nothing_was_lost(driver: &TestDriver) {
    let letters = driver.dead_letters();
    assert!(letters.is_empty(), "{} dead letters, of them {:?}", letters.len(), letters.first());
}

#[test]
fn a_hundred_thousand_ids_of_one_key_are_told_apart() {
    let mut driver = started(&setup("once", r#""in""#, "0s"));
    let id = |number: u64| format!("id-{:08}", number.wrapping_mul(7_919) % 100_000);
    driver.queue("in", (0..100_000).map(|number| row(id(number), number as i64)));
    driver.queue("in", (0..100_000).step_by(10).map(|number| row(id(number), 100_000 + number as i64)));
    assert!(driver.crash(Crash::BeforeCommit) && driver.crash(Crash::AfterCommit));
    driver.run();
    nothing_was_lost(&driver);
    let mut seen = driver.values("out");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), driver.all("out").len()), (100_000, 100_000));
}

#[test]
fn sixteen_thousand_pairs_of_one_key_are_whole() {
    let mut driver = started(&setup("pairs", r#""left", "right""#, "1s"));
    driver.queue("left", (0..4_000).map(|time| row(time, time)));
    driver.queue("right", (0..4_003).map(|time| row(time, time)));
    assert!(driver.crash(Crash::BeforeCommit) && driver.crash(Crash::AfterCommit));
    driver.run();
    driver.end();
    nothing_was_lost(&driver);
    assert_eq!(driver.all("out").len(), 16_000);
}

#[test]
fn fifty_thousand_events_of_one_key_wait_and_are_matched() {
    let mut driver = started(&setup("rising", r#""in""#, "1h"));
    driver.queue("in", (0..50_000_i64).map(|number| row(number, number / 50)));
    driver.run();
    assert!(driver.values("out").is_empty());
    driver.end();
    nothing_was_lost(&driver);
    assert_eq!(driver.all("out").len(), 25_000);
}

/// What a pipeline writes, with these bounds.
fn written(plugin: &str, sources: &str, bounds: StateBounds, rows: &[(&'static str, Input)]) -> Vec<String> {
    with_state_bounds(bounds, || {
        let mut driver = started(&setup(plugin, sources, "3ms"));
        rows.iter().for_each(|(topic, row)| driver.queue(topic, [row.clone()]));
        driver.run();
        driver.end();
        driver.values("out")
    })
}

#[test]
fn results_are_the_same_whatever_the_bounds() {
    let words = ["a", "bb", "ccc", "dddd", "eeeee", "f", "gg"];
    let number = |place: usize| (place * 7_919 + 13) % 97;
    let text = |place: usize| {
        row(words[number(place) % words.len()].repeat(number(place) % 5), (place + number(place) % 3) as i64)
    };
    let digits = |place: usize| row(number(place), (place + number(place) % 3) as i64);
    let side = |place: usize| if number(place).is_multiple_of(2) { "left" } else { "right" };
    let one: Vec<_> = (0..150).map(|place| ("in", text(place))).collect();
    let two: Vec<_> = (0..150).map(|place| (side(place), digits(place))).collect();
    let numbers: Vec<_> = (0..150).map(|place| ("in", digits(place))).collect();
    for (plugin, sources, rows) in [
        ("once", r#""in""#, &one),
        ("author", r#""in""#, &one),
        ("rising", r#""in""#, &numbers),
        ("pairs", r#""left", "right""#, &two),
    ] {
        let expected = written(plugin, sources, NONE, rows);
        assert!(!expected.is_empty(), "{plugin}");
        assert_eq!(written(plugin, sources, TINY, rows), expected, "{plugin}");
    }
}

#[test]
fn an_author_s_parts_are_what_they_say_wherever_batches_are_cut_and_servers_die() {
    let word = |place: i64| ["x", "yy", "zzz", "w"][(place * 31 % 13 % 4) as usize].repeat((place % 6) as usize);
    let rows: Vec<(i64, String)> = (0..120).map(|place| (place + place * 17 % 3, word(place))).collect();
    for bounds in [TINY, StateBounds { inline_bytes: 60, page_bytes: 30, resident_bytes: 100 }, NONE] {
        with_state_bounds(bounds, || {
            setup("author", r#""in""#, "0s").check_cuts(|driver| {
                driver.feed("in", rows.iter().map(|(time, word)| row(word, *time)));
                assert_eq!(driver.values("out"), model(&rows));
            });
        });
    }
}

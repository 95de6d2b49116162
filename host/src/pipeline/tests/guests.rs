//! Guests that are plain functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plugin::{
    AS_SOURCE, Aggregator, Answer, Call, Called, Closed, Contribution, Description, Failure, Folded, Guest, Metric,
    Output, Plugin, Reads, Stateful, Transformer, World,
};
use crate::record::{BatchRef, Column, ColumnRef};

/// Reads values of the form `TIME KEY`. `bad` is rejected, `trap` fails the call, `host` is a failure of the host,
/// `side` leaves by the second output, `keyless` has no key, `drop` is dropped, `twice` is emitted twice.
#[derive(Debug)]
pub(super) struct Parse(Description);

/// Counts rows. A key of `trap` fails the call, one of `bad` is rejected; `finish` fails on the key `poison`.
#[derive(Debug)]
pub(super) struct Count(Description);

/// Keeps the last word of each row's value. A value that says `reject` is rejected, one that says `trap` fails the call;
/// `merge` fails on a part that has `torn`. It counts its calls by kind: `add`, `merge`, `finish`.
#[derive(Debug)]
pub(super) struct Collect(Description, [AtomicU64; 3]);

/// Keeps the last word of each row's value; results are `KEY [START END) WORDS`, the words sorted.
pub(super) fn collect() -> Guest {
    Guest::Aggregate(Arc::new(Collect(description(World::Aggregate, &["lists"]), Default::default())))
}

/// Gives each row the event time that its value says, `TIME ...`.
pub(super) fn parse() -> Guest {
    Guest::Transform(Arc::new(Parse(description(World::Transform, &["rows", "side"]))))
}

/// Counts rows; results are `KEY START COUNT`.
pub(super) fn count() -> Guest {
    Guest::Aggregate(Arc::new(Count(description(World::Aggregate, &["counts"]))))
}

pub(super) fn description(world: World, outputs: &[&str]) -> Description {
    Description {
        world,
        summary: String::new(),
        config_schema: "{}".to_owned(),
        reads: Reads { keys: true, values: true, headers: true },
        outputs: outputs.iter().map(|name| Output { name: (*name).to_owned(), summary: String::new() }).collect(),
    }
}

pub(super) fn answer<'a, T: Send + 'a>(result: Result<T, Failure>) -> Call<'a, T> {
    Box::pin(std::future::ready(result.map(|answer| Called { answer, fuel: 1 })))
}

pub(super) fn failure(guest: bool) -> Failure {
    Failure { code: "trap_unreachable", message: "it fell".to_owned(), backtrace: vec!["f".to_owned()], fuel: 5, guest }
}

impl Plugin for Parse {
    fn description(&self) -> &Description {
        &self.0
    }
}

impl Transformer for Parse {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        let mut out = Answer::default();
        for (row, value) in (0..).zip(rows.values.iter()) {
            let text = std::str::from_utf8(value.unwrap_or_default()).unwrap_or_default();
            let mut words = text.split(' ');
            let (time, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let times = match time {
                "trap" => return answer(Err(failure(true))),
                "host" => return answer(Err(failure(false))),
                "bad" => {
                    out.rejected.rows.push(row);
                    out.rejected.codes.push(Some(b"no-time"));
                    out.rejected.reasons.push(Some(b"it says bad"));
                    continue;
                }
                "drop" => continue,
                "twice" => 2,
                _ => 1,
            };
            let gap = words.next().filter(|gap| *gap != "-");
            for _ in 0..times {
                let header = gap.map(|gap| (&b"gap"[..], Some(gap.as_bytes())));
                if gap.is_some() || out.emitted.headers.are_carried() {
                    out.emitted.headers.counts.resize(out.emitted.source_rows.len(), 0);
                    out.emitted.headers.push_row(header);
                }
                out.emitted.source_rows.push(row);
                out.emitted.outputs.push(u16::from(time == "side"));
                out.emitted.timestamps.push(time.parse().unwrap_or(rows.timestamps[row as usize]));
                out.emitted.keys.push((time != "keyless").then_some(key.as_bytes()));
                out.emitted.values.lengths.push(AS_SOURCE);
            }
        }
        answer(Ok(out))
    }
}

impl Plugin for Count {
    fn description(&self) -> &Description {
        &self.0
    }
}

impl Stateful for Count {}

impl Aggregator for Count {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        let mut out = Folded::default();
        let number = |bytes: Option<&[u8]>| bytes.map_or(0, |b| u64::from_le_bytes(b.try_into().expect("8 bytes")));
        let mut counts: Vec<u64> = rows.groups.iter().map(number).collect();
        for ((row, &group), key) in (0..).zip(rows.row_groups).zip(rows.rows.keys.iter()) {
            match key {
                Some(b"trap") => return answer(Err(failure(true))),
                Some(b"bad") => {
                    out.rejected.rows.push(row);
                    out.rejected.codes.push(Some(b"no-count"));
                    out.rejected.reasons.push(Some(b"its key says bad"));
                }
                _ => counts[group as usize] += 1,
            }
        }
        out.groups = counts.iter().map(|count| Some(count.to_le_bytes())).collect();
        answer(Ok(out))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        let mut out = Answer::default();
        for (row, (key, count)) in (0..).zip(windows.keys.iter().zip(windows.groups.iter())) {
            let key = String::from_utf8_lossy(key.unwrap_or_default());
            if key == "poison" {
                return answer(Err(failure(true)));
            }
            let count = u64::from_le_bytes(count.unwrap_or_default().try_into().expect("8 bytes"));
            let value = format!("{key} {} {count}", windows.starts[row as usize]);
            out.emitted.source_rows.push(row);
            out.emitted.values.push(Some(value.as_bytes()));
        }
        out.emitted.keys = Column::default();
        answer(Ok(out))
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        let number = |bytes: Option<&[u8]>| u64::from_le_bytes(bytes.unwrap_or_default().try_into().expect("8 bytes"));
        let sums =
            left.iter().zip(right.iter()).map(|(left, right)| Some((number(left) + number(right)).to_le_bytes()));
        answer(Ok(sums.collect()))
    }
}

impl Collect {
    fn count(&self, kind: usize) {
        self.1[kind].fetch_add(1, Ordering::Relaxed);
    }
}

impl Plugin for Collect {
    fn description(&self) -> &Description {
        &self.0
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        let count =
            |(name, count): (&str, &AtomicU64)| (name.to_owned(), Metric::Counter(count.load(Ordering::Relaxed)));
        ["add", "merge", "finish"].into_iter().zip(&self.1).map(count).collect()
    }
}

impl Stateful for Collect {}

impl Aggregator for Collect {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        self.count(0);
        let mut out = Folded::default();
        let mut lists: Vec<Vec<u8>> = rows.groups.iter().map(|list| list.unwrap_or_default().to_vec()).collect();
        for ((row, &group), value) in (0..).zip(rows.row_groups).zip(rows.rows.values.iter()) {
            let text = String::from_utf8_lossy(value.unwrap_or_default());
            if text.contains("trap") {
                return answer(Err(failure(true)));
            }
            if text.contains("reject") {
                out.rejected.rows.push(row);
                out.rejected.codes.push(Some(b"rejected"));
                out.rejected.reasons.push(Some(b"it says reject"));
                continue;
            }
            let list = &mut lists[group as usize];
            if !list.is_empty() {
                list.push(b',');
            }
            list.extend(text.rsplit(' ').next().unwrap_or_default().bytes());
        }
        out.groups = lists.iter().map(Some).collect();
        answer(Ok(out))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        self.count(2);
        let mut out = Answer::default();
        for (row, (key, list)) in (0..).zip(windows.keys.iter().zip(windows.groups.iter())) {
            let (key, list) = (String::from_utf8_lossy(key.unwrap_or_default()), list.unwrap_or_default());
            let list = String::from_utf8_lossy(list);
            let mut words: Vec<&str> = list.split(',').collect();
            words.sort_unstable();
            let (start, end) = (windows.starts[row as usize], windows.ends[row as usize]);
            out.emitted.source_rows.push(row);
            out.emitted.values.push(Some(format!("{key} [{start} {end}) {}", words.join(",")).as_bytes()));
        }
        answer(Ok(out))
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        self.count(1);
        if right.iter().flatten().any(|list| list.windows(4).any(|word| word == b"torn")) {
            return answer(Err(failure(true)));
        }
        let both = |(left, right): (Option<&[u8]>, Option<&[u8]>)| {
            Some([left.expect("never null"), right.expect("never null")].join(&b','))
        };
        answer(Ok(left.iter().zip(right.iter()).map(both).collect()))
    }
}

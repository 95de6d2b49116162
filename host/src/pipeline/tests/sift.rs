//! Guests of one pipeline: `spread` makes rows of records, `sift` sorts them.

use std::sync::Arc;

use super::guests::{answer, description, failure};
use crate::plugin::{AS_SOURCE, Answer, Call, Description, Guest, Plugin, Transformer, World};
use crate::record::BatchRef;

/// Makes a row `TIME KEY DEED` of each part of a record, which are divided by `;`. A row whose deed is `lost` is dropped,
/// one of `away` leaves by the second output.
pub(super) fn spread() -> Guest {
    Guest::Transform(Arc::new(Sift { description: description(World::Transform, &["rows", "away"]), spreads: true }))
}

/// Does with each row as it says: `gone` is dropped, `refused` rejected, `trap` fails the call, `side`, `sleep` and
/// `wake` leave by outputs of those names, `back` is 30 ms older than it says, `twin` comes twice. Others pass.
pub(super) fn sift() -> Guest {
    let outputs = ["rows", "side", "sleep", "wake"];
    Guest::Transform(Arc::new(Sift { description: description(World::Transform, &outputs), spreads: false }))
}

/// By how much `back` makes a row older.
pub(super) const BACK_MS: i64 = 30;

#[derive(Debug)]
struct Sift {
    description: Description,
    spreads: bool,
}

/// The time, key and deed of a part.
pub(super) fn read(part: &str) -> (i64, &str, &str) {
    let mut words = part.split(' ');
    let time = words.next().and_then(|time| time.parse().ok()).expect("a part begins with its time");
    (time, words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

fn emit(out: &mut Answer, row: u32, time: i64, output: u16) {
    out.emitted.source_rows.push(row);
    out.emitted.timestamps.push(time);
    out.emitted.outputs.push(output);
}

fn spread_row(out: &mut Answer, row: u32, text: &str) {
    for part in text.split(';') {
        let (time, key, deed) = read(part);
        if deed != "lost" {
            emit(out, row, time, u16::from(deed == "away"));
            out.emitted.keys.push(Some(key.as_bytes()));
            out.emitted.values.push(Some(part.as_bytes()));
        }
    }
}

impl Plugin for Sift {
    fn description(&self) -> &Description {
        &self.description
    }
}

impl Transformer for Sift {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        let mut out = Answer::default();
        for (row, value) in (0..).zip(rows.values.iter()) {
            let text = std::str::from_utf8(value.unwrap_or_default()).expect("tests write text");
            if self.spreads {
                spread_row(&mut out, row, text);
                continue;
            }
            let (times, older, output) = match read(text).2 {
                "trap" => return answer(Err(failure(true))),
                "refused" => {
                    out.rejected.rows.push(row);
                    out.rejected.codes.push(Some(b"refused"));
                    out.rejected.reasons.push(Some(b"it says so"));
                    continue;
                }
                "gone" => continue,
                "side" => (1, 0, 1),
                "sleep" => (1, 0, 2),
                "wake" => (1, 0, 3),
                "back" => (1, BACK_MS, 0),
                "twin" => (2, 0, 0),
                _ => (1, 0, 0),
            };
            for _ in 0..times {
                emit(&mut out, row, rows.timestamps[row as usize].saturating_sub(older), output);
                out.emitted.keys.lengths.push(AS_SOURCE);
                out.emitted.values.lengths.push(AS_SOURCE);
            }
        }
        answer(Ok(out))
    }
}

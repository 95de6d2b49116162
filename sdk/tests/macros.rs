//! What the attribute macros accept and make, seen as an author sees it.

use millstream_sdk::prelude::*;
use millstream_sdk::{IntoRows, OutputId};
use testing::{Input, plugin, run};

/// Puts key and time before the text.
///
/// This paragraph is not part of the summary.
#[transform]
fn label(key: Option<Key<Text>>, text: Text, EventTime(time): EventTime) -> String {
    format!("{}@{time} {}", key.map_or("-", |Key(Text(key))| key), text.0)
}

/// Keeps texts
/// that are long enough.
#[transform]
pub(crate) fn long_enough<'a>(config: &Limits, text: &'a str) -> Option<Text<'a>> {
    (text.len() >= config.minimum.into()).then_some(Text(text))
}

#[config]
#[derive(PartialEq)]
pub(crate) struct Limits {
    /// Texts of fewer bytes are dropped.
    #[serde(default = "one")]
    minimum: u8,
}

fn one() -> u8 {
    1
}

#[derive(Deserialize, Serialize)]
#[serde(crate = "millstream_sdk::serde")]
struct Reading<'a> {
    sensor: &'a str,
    value: f64,
}

/// Splits readings into good and bad ones.
#[transform(outputs(good = "Readings in range.", "out-of-range" = "All others."))]
fn split(Json(reading): Json<Reading<'_>>) -> Result<Vec<Row>> {
    if reading.value.is_nan() {
        reject!("no-value", "sensor {} gave none", reading.sensor);
    }
    let output = if reading.value < 100.0 { "good" } else { "out-of-range" };
    Ok(vec![Row::json(&reading)?.key(reading.sensor).to(output), Row::same().to(1)])
}

/// Sees the whole record.
#[transform]
fn whole(record: Record) -> [Row; 2] {
    let count = record.headers.clone().count();
    [Row::null().header("count", count.to_string()), Row::bytes(*b"v").without_key().at(record.timestamp + 1)]
}

/// Needs nothing of the record.
#[transform]
fn nothing() {
    metrics::counter("rows").add(1);
    metrics::gauge("last").set(0.5);
    log::warn!("one {}", "row");
}

/// Fails on the way.
#[transform]
fn number(text: &str) -> Result<Row> {
    let number: i32 = text.trim().parse()?;
    Ok(Row::text((number * 2).to_string()).to(OutputId::Name("nowhere".into())).to(u16::from(number == 7)))
}

#[derive(Debug)]
struct Upper(String);

/// Ends with a suffix.
#[transform(outputs(upper = "All."))]
impl Transform for Upper {
    type Config = NoConfig;
    type Input<'a> = &'a str;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Self("!".to_owned()))
    }

    fn record(&self, text: &str, out: &mut Out<'_, '_>) -> Result<()> {
        out.emit(text.to_uppercase() + &self.0)
    }
}

#[derive(Debug, Default, PartialEq, Clone, Accumulator)]
struct Longest {
    length: u32,
    text: Option<String>,
    all: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Accumulator)]
struct Pair(u8, Json<Vec<String>>);

#[derive(Debug)]
struct Longer;

/// Finds the longest text.
#[aggregate]
impl Aggregate for Longer {
    type Config = NoConfig;
    type Input<'a> = Text<'a>;
    type Accumulator = Longest;
    type Output = Option<Row>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Longer)
    }

    fn add(&self, longest: &mut Longest, Text(text): Text<'_>) -> Result<()> {
        let length = u32::try_from(text.len())?;
        if length > longest.length {
            *longest = Longest { length, text: Some(text.to_owned()), all: vec![1, 2] };
        }
        Ok(())
    }

    fn merge(&self, earlier: &mut Longest, later: Longest) {
        if later.length > earlier.length {
            *earlier = later;
        }
    }

    fn finish(&self, window: &Window<'_>, longest: &Longest) -> Result<Option<Row>> {
        match (&longest.text, window.key_text().as_deref()) {
            (None, _) => Ok(None),
            (Some(_), Some("same")) => Ok(Some(Row::same())),
            (Some(text), _) => Ok(Some(Row::text(text).at(window.start))),
        }
    }
}

#[test]
fn parameters_are_read_from_the_record() {
    let out = run(&plugin::<Label>("{}").expect("no config"), [Input::value("a").key("k").at(5), "b".into()]);
    assert_eq!(out.values(), ["k@5 a", "-@0 b"]);
    assert_eq!(<Label as Transform>::READS, Reads::KEYS.and(Reads::VALUES));
    assert_eq!(<Whole as Transform>::READS, Reads::ALL);
    assert_eq!(<Nothing as Transform>::READS, Reads::NONE);
}

#[test]
fn the_first_paragraph_is_the_summary() {
    assert_eq!(<Label as Transform>::SUMMARY, "Puts key and time before the text.");
    assert_eq!(<LongEnough as Transform>::SUMMARY, "Keeps texts that are long enough.");
    assert_eq!(<Longer as Aggregate>::SUMMARY, "Finds the longest text.");
}

#[test]
fn a_leading_reference_is_the_configuration() {
    let limited = plugin::<LongEnough>(r#"{"minimum": 3}"#).expect("it fits");
    assert_eq!(run(&limited, ["ab", "abc"]).values(), ["abc"]);
    assert_eq!(run(&plugin::<LongEnough>("").expect("there is a default"), ["", "a"]).values(), ["a"]);
    let error = plugin::<LongEnough>(r#"{"minimum": 300}"#).expect_err("too large");
    assert!(error.starts_with("config: `minimum`: invalid value: integer `300`, expected u8"), "{error}");
    assert!(plugin::<LongEnough>(r#"{"maximum": 3}"#).is_err());
}

#[test]
fn outputs_are_named_in_the_attribute_and_rows_find_them() {
    let split = plugin::<Split>("{}").expect("no config");
    let out = run(&split, [r#"{"sensor":"a","value":1.0}"#, r#"{"sensor":"b","value":200.0}"#, r#"{"sensor":3}"#]);
    let keys = |name| out.output(name).map(|row| (row.source, row.key_text())).collect::<Vec<_>>();
    assert_eq!(keys("good"), [(0, "a".to_owned())]);
    assert_eq!(keys("out-of-range"), [(0, String::new()), (1, "b".to_owned()), (1, String::new())]);
    assert_eq!(out.codes(), ["invalid-json"]);
    assert_eq!(<Split as Transform>::OUTPUTS[1], Output::new("out-of-range", "All others."));
    assert_eq!(<Label as Transform>::OUTPUTS.len(), 1);
}

#[test]
fn the_whole_record_can_be_taken_and_made() {
    let row = Input::value("x").key("k").at(9).header("h", "1").header("i", "2");
    let out = run(&plugin::<Whole>("{}").expect("no config"), [row]);
    let [null, second] = out.rows.as_slice() else { panic!("two rows: {out:?}") };
    assert_eq!((null.value.clone(), null.key_text(), null.timestamp), (None, "k".to_owned(), 9));
    assert_eq!(null.headers, [("count".to_owned(), Some(b"2".to_vec()))]);
    assert_eq!((second.value_text(), second.key.clone(), second.timestamp), ("v".to_owned(), None, 10));
    assert_eq!(second.headers.len(), 2);
}

#[test]
fn what_is_said_to_the_host_can_be_seen() {
    let out = run(&plugin::<Nothing>("{}").expect("no config"), ["a", "b"]);
    assert_eq!((out.counters["rows"], out.gauges["last"], out.rows.len()), (2, 0.5, 0));
    assert_eq!(out.logs, [(log::WARN, "one row".to_owned()), (log::WARN, "one row".to_owned())]);
}

#[test]
fn errors_of_all_kinds_reject_their_row_alone() {
    let out = run(&plugin::<Number>("{}").expect("no config"), ["1", "x", "7", "2"]);
    assert_eq!(out.values(), ["2", "4"]);
    let rejected: Vec<_> = out.rejected.iter().map(|one| (one.row, one.code.as_str(), one.reason.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (1, "failed", "invalid digit found in string"),
            (2, "unknown-output", "the plugin has no output 1; its outputs are `out`")
        ]
    );
    let named = Row::same().to("late");
    let none = Answers::default().emit(named);
    assert_eq!(
        none.map_err(|error| error.reason().to_owned()),
        Err("the plugin has no output `late`; its outputs are `out`".to_owned())
    );
}

/// Emits things outside of a run.
#[derive(Default)]
struct Answers(millstream_sdk::Batch);

impl Answers {
    fn emit(&self, rows: impl IntoRows) -> Result<()> {
        let mut result = Ok(());
        let mut answer = millstream_sdk::Answer::new(&self.0, millstream_sdk::describe::ONE_OUTPUT);
        answer.row(0, |out| {
            result = rows.emit(out);
            Ok(())
        });
        result
    }
}

#[test]
fn an_impl_is_a_plugin_too() {
    let out = run(&plugin::<Upper>("null").expect("no config"), ["a"]);
    assert_eq!((out.values(), out.rows[0].output), (vec!["A!".to_owned()], "upper"));
}

#[test]
fn derived_accumulators_come_back() {
    fn round_trip<A: Accumulator + PartialEq + std::fmt::Debug>(value: A) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(A::decode(&mut rest), Some(value));
        assert!(rest.is_empty());
        bytes
    }
    let longest = Longest { length: 2, text: Some("ab".to_owned()), all: vec![7] };
    assert_eq!(round_trip(longest), [2, 0, 0, 0, 1, 2, 0, 0, 0, b'a', b'b', 1, 0, 0, 0, 7]);
    round_trip(Pair(3, Json(vec!["x".to_owned()])));
}

#[test]
fn windows_finish_with_a_value_of_their_own_or_none() {
    let row = |key: &str, value: &[u8]| Input::value(value).key(key);
    let rows =
        [row("a", b"x"), row("a", b"long"), row("none", b""), row("same", b"z"), row("a", b"\xff"), row("a", b"abc")];
    let out = testing::fold(&Longer, (60, 120), rows.clone());
    assert_eq!(
        (out.values(), out.rows[0].timestamp, out.rows[0].key_text()),
        (vec!["long".to_owned()], 60, "a".to_owned())
    );
    assert_eq!(out.codes(), ["invalid-utf8", "no-value"]);
    assert_eq!(testing::fold_merged(&Longer, (60, 120), rows), out);
}

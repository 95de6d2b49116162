//! Counts the rows of each key and window. It looks at neither keys nor values, so the host sends none.

use std::borrow::Cow;

use millstream_sdk::Batch;
use millstream_sdk::answer::Rejects;
use millstream_sdk::prelude::*;

/// The plugin.
#[derive(Debug)]
pub struct Count;

/// What a window becomes.
#[derive(Debug, Serialize)]
pub struct Counted<'a> {
    key: Option<Cow<'a, str>>,
    start: i64,
    end: i64,
    count: u64,
}

/// Counts the rows of each key and window.
#[aggregate(outputs(counts = "One row a key and window: key, start, end, count."))]
impl Aggregate for Count {
    type Config = NoConfig;
    type Input<'a> = ();
    type Accumulator = u64;
    type Output = Row;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(Count)
    }

    fn add(&self, count: &mut u64, (): ()) -> Result<()> {
        *count += 1;
        Ok(())
    }

    /// Only the groups matter, so the rows are not even gone through.
    fn add_batch(&self, counts: &mut [u64], groups: &[u32], _: &Batch, _: &mut Rejects) {
        for &group in groups {
            if let Some(count) = counts.get_mut(group as usize) {
                *count += 1;
            }
        }
    }

    fn merge(&self, earlier: &mut u64, later: u64) {
        *earlier += later;
    }

    fn finish(&self, window: &Window<'_>, &count: &u64) -> Result<Row> {
        Row::json(&Counted { key: window.key_text(), start: window.start, end: window.end, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Input;

    const MINUTE: (i64, i64) = (60_000, 120_000);

    #[test]
    fn each_key_is_counted_for_itself() {
        let rows = [Input::value("x").key("a"), Input::null().key("b"), Input::value("y").key("a")];
        let out = testing::fold(&Count, MINUTE, rows.clone());
        assert_eq!(
            out.values(),
            [
                r#"{"key":"a","start":60000,"end":120000,"count":2}"#,
                r#"{"key":"b","start":60000,"end":120000,"count":1}"#
            ]
        );
        assert_eq!(
            (out.rows[0].key_text(), out.rows[0].timestamp, out.rows[0].output),
            ("a".to_owned(), 119_999, "counts")
        );
        assert_eq!(testing::fold_merged(&Count, MINUTE, rows), out);
    }

    #[test]
    fn rows_without_a_key_count_together() {
        let out = testing::fold(&Count, MINUTE, ["a", "b"]);
        assert_eq!(out.values(), [r#"{"key":null,"start":60000,"end":120000,"count":2}"#]);
        assert_eq!(out.rows[0].key, None);
    }

    #[test]
    fn it_reads_no_column_and_keeps_eight_bytes() {
        assert_eq!(<Count as Aggregate>::READS, Reads::NONE);
        let mut bytes = Vec::new();
        7_u64.encode(&mut bytes);
        assert_eq!(bytes, 7_u64.to_le_bytes());
    }

    #[test]
    fn it_has_nothing_to_configure() {
        assert!(testing::plugin::<Count>("").is_ok());
        let error = testing::plugin::<Count>(r#"{"by": "key"}"#).expect_err("there is no such key");
        assert!(error.contains("unknown field `by`"), "{error}");
    }
}

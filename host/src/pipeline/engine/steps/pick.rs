//! Rows of a batch in any order, some of them more than once.

use std::sync::OnceLock;

use crate::record::{Batch, BatchRef, Column, ColumnRef};

/// Picks rows out of a batch. Where they begin is found once, if it is needed at all.
#[derive(Debug)]
pub(in crate::pipeline) struct Picker<'a> {
    rows: BatchRef<'a>,
    begins: OnceLock<Begins>,
}

/// For each row, where it begins.
#[derive(Debug)]
struct Begins {
    keys: Vec<usize>,
    values: Vec<usize>,
    /// Its first header, and where the names and values of headers begin.
    headers: Vec<usize>,
    names: Vec<usize>,
    header_values: Vec<usize>,
}

impl<'a> Picker<'a> {
    pub(in crate::pipeline) fn new(rows: BatchRef<'a>) -> Self {
        Self { rows, begins: OnceLock::new() }
    }

    /// The rows of these numbers.
    pub(in crate::pipeline) fn pick(&self, numbers: impl Iterator<Item = u32>) -> Batch {
        let rows = self.rows;
        let begins = self.begins.get_or_init(|| Begins::of(rows));
        let mut picked = Batch::default();
        for number in numbers {
            let row = number as usize;
            picked.timestamps.push(rows.timestamps[row]);
            push(&mut picked.keys, rows.keys, &begins.keys, row);
            push(&mut picked.values, rows.values, &begins.values, row);
            let Some(&count) = rows.headers.counts.get(row) else { continue };
            picked.headers.counts.push(count);
            let first = begins.headers[row];
            for header in first..first + count as usize {
                push(&mut picked.headers.names, rows.headers.names, &begins.names, header);
                push(&mut picked.headers.values, rows.headers.values, &begins.header_values, header);
            }
        }
        picked
    }
}

impl Begins {
    fn of(rows: BatchRef<'_>) -> Self {
        let lengths = |column: ColumnRef<'_>| sums(column.lengths.iter().map(|&length| length.max(0) as usize));
        Self {
            keys: lengths(rows.keys),
            values: lengths(rows.values),
            headers: sums(rows.headers.counts.iter().map(|&count| count as usize)),
            names: lengths(rows.headers.names),
            header_values: lengths(rows.headers.values),
        }
    }
}

/// For each number the sum of those before it.
fn sums(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let before = |sum: &mut usize, number: usize| Some(std::mem::replace(sum, *sum + number));
    numbers.scan(0, before).collect()
}

fn push(into: &mut Column, from: ColumnRef<'_>, begins: &[usize], row: usize) {
    let length = from.lengths[row];
    into.lengths.push(length);
    let begin = begins[row];
    into.bytes.extend_from_slice(&from.bytes[begin..begin + length.max(0) as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_picked_in_any_order_with_their_headers() {
        let mut batch = Batch::default();
        for (time, key, value) in [(1, Some("a"), Some("one")), (2, None, Some("")), (3, Some("ccc"), None)] {
            batch.push(time, key.map(str::as_bytes), value.map(str::as_bytes));
            let names: Vec<String> = (0..time - 1).map(|n| format!("h{n}")).collect();
            batch.headers.push_row(names.iter().map(|name| (name.as_bytes(), None)));
        }
        let picked = Picker::new(batch.view()).pick([2, 0, 2, 1].into_iter());
        assert_eq!(picked.timestamps, [3, 1, 3, 2]);
        assert_eq!(picked.keys, [Some("ccc"), Some("a"), Some("ccc"), None].into_iter().collect());
        assert_eq!(picked.values, [None, Some("one"), None, Some("")].into_iter().collect());
        assert_eq!(picked.headers.counts, [2, 0, 2, 1]);
        assert_eq!(picked.headers.names, ["h0", "h1", "h0", "h1", "h0"].map(Some).into_iter().collect());
    }
}

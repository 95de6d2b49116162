//! Rows of an answer that a guest hands over while its call runs: what they take, and how some are taken back.

use super::bindings::RowsResult;
use super::failure::{Code, Trap};

/// What a row counts for beside its keys, values and headers: about what its place, output, time and lengths take.
pub(super) const ROW_BYTES: usize = 32;

impl RowsResult {
    /// What the rows count for. Columns are counted as they are, whether they belong to rows or not.
    pub(super) fn bytes(&self) -> usize {
        let headers = &self.headers;
        let columns = size_of_val(self.source_rows.as_slice())
            + size_of_val(self.outputs.as_slice())
            + size_of_val(self.timestamps.as_slice())
            + size_of_val(self.key_lengths.as_slice())
            + size_of_val(self.value_lengths.as_slice());
        let headers_columns = size_of_val(headers.counts.as_slice())
            + size_of_val(headers.name_lengths.as_slice())
            + size_of_val(headers.value_lengths.as_slice());
        let payload = self.keys.len() + self.values.len() + headers.names.len() + headers.values.len();
        columns.max(ROW_BYTES * self.source_rows.len()) + headers_columns + payload
    }

    /// Keeps the first rows. Columns that contradict each other stay so, for the check to find.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.source_rows.truncate(rows);
        self.outputs.truncate(rows);
        self.timestamps.truncate(rows);
        truncate(&mut self.key_lengths, &mut self.keys, rows);
        truncate(&mut self.value_lengths, &mut self.values, rows);
        let headers = &mut self.headers;
        headers.counts.truncate(rows);
        let kept = headers.counts.iter().fold(0_usize, |sum, &count| sum.saturating_add(count as usize));
        truncate(&mut headers.name_lengths, &mut headers.names, kept);
        truncate(&mut headers.value_lengths, &mut headers.values, kept);
    }
}

fn truncate(lengths: &mut Vec<i32>, bytes: &mut Vec<u8>, cells: usize) {
    lengths.truncate(cells);
    let kept = lengths.iter().fold(0_usize, |sum, &length| sum.saturating_add(length.max(0) as usize));
    bytes.truncate(kept);
}

/// What has been handed over in a call.
#[derive(Debug, Default)]
pub(super) struct Emission {
    /// The rows, piece by piece.
    pub(super) pieces: Vec<RowsResult>,
    /// The groups with a timer that continues in a later call.
    pub(super) going_on: Vec<u32>,
    /// What they count for.
    pub(super) bytes: usize,
}

impl Emission {
    pub(super) fn take(&mut self, piece: RowsResult, limit: usize) -> Result<(), Trap> {
        let bytes = self.bytes.saturating_add(piece.bytes());
        if bytes > limit {
            return Err(Trap::over(Code::OutputBytes, "bytes of emitted rows", limit as u64, bytes as u64));
        }
        self.bytes = bytes;
        self.pieces.push(piece);
        Ok(())
    }

    /// Takes back all rows but the first `rows`.
    pub(super) fn keep(&mut self, rows: u64) {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let mut before: usize = self.pieces.iter().map(|piece| piece.source_rows.len()).sum();
        while before > rows
            && let Some(mut piece) = self.pieces.pop()
        {
            let bytes = piece.bytes();
            before -= piece.source_rows.len();
            self.bytes -= bytes;
            if before < rows {
                piece.truncate(rows - before);
                self.bytes += piece.bytes();
                self.pieces.push(piece);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(rows: u32) -> RowsResult {
        RowsResult {
            source_rows: (0..rows).collect(),
            value_lengths: vec![2; rows as usize],
            values: vec![b'v'; 2 * rows as usize],
            ..RowsResult::default()
        }
    }

    #[test]
    fn rows_are_taken_back_from_the_end_and_make_room() {
        let limit = 10 * (ROW_BYTES + 2);
        let mut emission = Emission::default();
        emission.take(piece(4), limit).unwrap();
        emission.take(piece(6), limit).unwrap();
        let full = emission.take(piece(1), limit).unwrap_err();
        assert_eq!(full.code(), "limit_output_bytes");
        assert!(full.message.contains("374, the limit is 340"), "{}", full.message);
        emission.keep(7);
        let rows: Vec<usize> = emission.pieces.iter().map(|piece| piece.source_rows.len()).collect();
        assert_eq!(rows, [4, 3]);
        assert_eq!(emission.pieces[1].values.len(), 6);
        emission.take(piece(3), limit).unwrap();
        emission.keep(20);
        assert_eq!(emission.pieces.len(), 3, "there are not so many");
        emission.keep(4);
        assert_eq!((emission.pieces.len(), emission.bytes), (1, 4 * (ROW_BYTES + 2)));
        emission.keep(0);
        assert_eq!((emission.pieces.len(), emission.bytes), (0, 0));
    }
}

//! Rows of an answer that came in pieces: that they make one answer.

use super::{CallShape, invalid};
use crate::plugin::bindings::RowsResult;
use crate::plugin::failure::{Code, Trap};
use crate::plugin::{Answer, Emitted, Rejected};

impl CallShape<'_> {
    /// Checks the rows of `transform` or `finish`, and that none of them is rejected.
    pub(super) fn in_order(
        self,
        pieces: Vec<RowsResult>,
        rows: RowsResult,
        rejected: Rejected,
    ) -> Result<Answer, Trap> {
        self.fit(&pieces, &rows)?;
        let mut last = None;
        let mut early = Vec::with_capacity(pieces.len());
        for piece in pieces {
            early.push(self.emitted(piece, &mut last)?);
        }
        let answer = Answer { emitted: self.emitted(rows, &mut last)?, early, rejected };
        if !answer.rejected.rows.is_empty() {
            answer.pieces().try_for_each(|piece| self.apart(&piece.source_rows, &answer.rejected.rows))?;
        }
        Ok(answer)
    }

    /// Rows to emit, in the order of their source rows; `last` is the last one before.
    fn emitted(self, rows: RowsResult, last: &mut Option<u32>) -> Result<Emitted, Trap> {
        self.places(&rows.source_rows, false, "source rows")?;
        if rows.source_rows.first().is_some_and(|first| Some(*first) < *last) {
            return Err(invalid("source rows of one piece come before those of the piece before"));
        }
        *last = rows.source_rows.last().copied().or(*last);
        self.emitted_from_anywhere(rows)
    }

    /// Whether all rows together are within the limit.
    pub(super) fn fit(self, pieces: &[RowsResult], rows: &RowsResult) -> Result<(), Trap> {
        let bytes = pieces.iter().map(RowsResult::bytes).sum::<usize>() + rows.bytes();
        let limit = self.limits.output_bytes;
        if bytes > limit {
            return Err(Trap::over(Code::OutputBytes, "bytes of emitted rows", limit as u64, bytes as u64));
        }
        Ok(())
    }
}

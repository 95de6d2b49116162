//! Everything that a guest returns, checked before the host believes it. Linear and without allocation where the answer
//! is sound: this is on the path of every batch.

mod done;
mod pieces;

pub(super) use self::done::Given;
use super::bindings::{AnswerResult, ColumnResult, FoldedResult, HeadersResult, RejectsResult, RowsResult};
use super::emission::Emission;
use super::failure::{Code, Trap};
use super::limits::CallLimits;
use super::{AS_SOURCE, Answer, Emitted, Folded, Rejected, World};
use crate::record::{Column, Headers, NULL};

/// What an answer is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallShape<'a> {
    /// Rows or windows that went in.
    pub(super) rows: usize,
    /// What the size of an answer may grow with: rows, groups, windows, due timers.
    pub(super) units: usize,
    /// Outputs that the plugin declared.
    pub(super) outputs: usize,
    /// Whether a value may be left as its source row's.
    pub(super) values_as_source: bool,
    pub(super) limits: &'a CallLimits,
}

fn invalid(what: impl Into<String>) -> Trap {
    Trap::new(Code::InvalidAnswer, format!("answered inconsistently: {}", what.into()))
}

impl CallShape<'_> {
    /// Checks the answer of `transform` or `finish`.
    pub(super) fn answer(self, answer: AnswerResult, emission: Emission) -> Result<Answer, Trap> {
        if !emission.going_on.is_empty() {
            return Err(invalid("only timers of `process` go on"));
        }
        self.in_order(emission.pieces, answer.rows, self.rejected(answer.rejected)?)
    }

    /// Checks the answer of `add`, given for so many groups.
    pub(super) fn folded(self, groups: usize, folded: FoldedResult) -> Result<Folded, Trap> {
        Ok(Folded {
            groups: self.accumulators(groups, folded.groups, NULL)?,
            rejected: self.rejected(folded.rejected)?,
        })
    }

    /// Checks the answer of `merge`, given for so many pairs.
    pub(super) fn merged(self, pairs: usize, merged: ColumnResult) -> Result<Column, Trap> {
        self.accumulators(pairs, merged, 0)
    }

    /// Checks the answer of `migrate` of a plugin of this world, given for so many values. A refusal is cut to the
    /// length of a reason.
    pub(super) fn migrated(
        self,
        world: World,
        values: usize,
        migrated: Result<ColumnResult, String>,
    ) -> Result<Result<Column, String>, Trap> {
        match migrated {
            Ok(column) if world == World::Process => self.states(values, column, NULL).map(Ok),
            Ok(column) => self.accumulators(values, column, NULL).map(Ok),
            Err(mut reason) => {
                reason.truncate(reason.floor_char_boundary(self.limits.reason_bytes));
                Ok(Err(reason))
            }
        }
    }

    fn accumulators(self, groups: usize, column: ColumnResult, least: i32) -> Result<Column, Trap> {
        self.one_each(groups, column, least, "accumulators", Code::ValueBytes, self.limits.value_bytes)
    }

    fn states(self, groups: usize, column: ColumnResult, least: i32) -> Result<Column, Trap> {
        self.one_each(groups, column, least, "state values", Code::StateBytes, self.limits.state_bytes)
    }

    /// One value for each group.
    fn one_each(
        self,
        groups: usize,
        column: ColumnResult,
        least: i32,
        what: &str,
        code: Code,
        limit: usize,
    ) -> Result<Column, Trap> {
        if column.lengths.len() != groups {
            return Err(invalid(format!("{} {what} for {groups} groups", column.lengths.len())));
        }
        self.fits(column.bytes.len())?;
        let column = Column::from(column);
        self.column(&column, least, what, code, limit)?;
        Ok(column)
    }

    /// A number that may grow with what went in.
    fn within(self, code: Code, what: &str, (base, per_unit): (usize, usize), count: usize) -> Result<(), Trap> {
        let limit = base.saturating_add(per_unit.saturating_mul(self.units));
        if count > limit { Err(Trap::over(code, what, limit as u64, count as u64)) } else { Ok(()) }
    }

    /// Rows to emit, all but where they come from.
    fn emitted_from_anywhere(self, rows: RowsResult) -> Result<Emitted, Trap> {
        let count = rows.source_rows.len();
        let optional = |length: usize, what: &str| match length {
            0 => Ok(()),
            length if length == count => Ok(()),
            length => Err(invalid(format!("{length} {what} for {count} rows"))),
        };
        optional(rows.outputs.len(), "outputs")?;
        let output = rows.outputs.iter().fold(0, |most, &output| output.max(most));
        if usize::from(output) >= self.outputs {
            return Err(invalid(format!("output {output}, but the plugin declared {}", self.outputs)));
        }
        optional(rows.timestamps.len(), "timestamps")?;
        optional(rows.key_lengths.len(), "keys")?;
        optional(rows.value_lengths.len(), "values")?;
        let keys = Column { lengths: rows.key_lengths, bytes: rows.keys };
        self.column(&keys, AS_SOURCE, "keys", Code::KeyBytes, self.limits.key_bytes)?;
        let values = Column { lengths: rows.value_lengths, bytes: rows.values };
        let least = if self.values_as_source { AS_SOURCE } else { NULL };
        self.column(&values, least, "values", Code::ValueBytes, self.limits.value_bytes)?;
        if !self.values_as_source && values.len() != count {
            return Err(invalid(format!("{} values for {count} rows of windows, which have none", values.len())));
        }
        let headers = self.headers(rows.headers, count)?;
        Ok(Emitted {
            source_rows: rows.source_rows,
            outputs: rows.outputs,
            timestamps: rows.timestamps,
            keys,
            values,
            headers,
        })
    }

    fn fits(self, bytes: usize) -> Result<(), Trap> {
        let limit = self.limits.output_bytes;
        if bytes > limit {
            return Err(Trap::over(Code::OutputBytes, "bytes of accumulators or states", limit as u64, bytes as u64));
        }
        Ok(())
    }

    /// Rows of the input, in order.
    fn places(self, rows: &[u32], once: bool, what: &str) -> Result<(), Trap> {
        let disorder = if once {
            rows.windows(2).fold(false, |found, pair| found | (pair[0] >= pair[1]))
        } else {
            rows.windows(2).fold(false, |found, pair| found | (pair[0] > pair[1]))
        };
        if disorder {
            return Err(invalid(format!("{what} are not in order")));
        }
        match rows.last() {
            Some(&last) if last as usize >= self.rows => {
                Err(invalid(format!("{what} name row {last} of {}", self.rows)))
            }
            _ => Ok(()),
        }
    }

    /// Lengths from `least` up to the limit, which add up to the bytes.
    fn column(self, column: &Column, least: i32, what: &str, code: Code, limit: usize) -> Result<(), Trap> {
        let (mut low, mut high, mut sum) = (0_i32, 0_i32, 0_u64);
        for &length in &column.lengths {
            low = low.min(length);
            high = high.max(length);
            sum += u64::from(length.max(0).unsigned_abs());
        }
        if low < least {
            return Err(invalid(format!("a length of {low} in {what}")));
        }
        if sum != column.bytes.len() as u64 {
            return Err(invalid(format!("lengths of {what} add up to {sum}, their bytes are {}", column.bytes.len())));
        }
        if high.unsigned_abs() as usize > limit {
            return Err(Trap::over(
                code,
                &format!("bytes of one of {what}"),
                limit as u64,
                u64::from(high.unsigned_abs()),
            ));
        }
        Ok(())
    }

    fn headers(self, headers: HeadersResult, rows: usize) -> Result<Headers, Trap> {
        let HeadersResult { counts, name_lengths, names, value_lengths, values } = headers;
        let names = Column { lengths: name_lengths, bytes: names };
        let values = Column { lengths: value_lengths, bytes: values };
        if counts.is_empty() {
            if !names.is_empty() || !names.bytes.is_empty() || !values.is_empty() || !values.bytes.is_empty() {
                return Err(invalid("headers without counts"));
            }
            return Ok(Headers::default());
        }
        if counts.len() != rows {
            return Err(invalid(format!("{} counts of headers for {rows} rows", counts.len())));
        }
        let (most, sum) = counts.iter().fold((0, 0_u64), |(most, sum), &c| (c.max(most), sum + u64::from(c)));
        if most > self.limits.headers {
            return Err(Trap::over(
                Code::Headers,
                "headers of one row",
                u64::from(self.limits.headers),
                u64::from(most),
            ));
        }
        if sum != names.len() as u64 || sum != values.len() as u64 {
            let (names, values) = (names.len(), values.len());
            return Err(invalid(format!("{sum} headers with {names} names and {values} values")));
        }
        self.column(&names, 0, "header names", Code::Headers, self.limits.header_bytes)?;
        self.column(&values, NULL, "header values", Code::Headers, self.limits.header_bytes)?;
        if names.iter().flatten().any(|name| std::str::from_utf8(name).is_err()) {
            return Err(invalid("a header name that is not UTF-8"));
        }
        Ok(Headers { counts, names, values })
    }

    fn rejected(self, rejects: RejectsResult) -> Result<Rejected, Trap> {
        let RejectsResult { rows, code_lengths, codes, reason_lengths, reasons } = rejects;
        let codes = Column { lengths: code_lengths, bytes: codes };
        let reasons = Column { lengths: reason_lengths, bytes: reasons };
        if codes.len() != rows.len() || reasons.len() != rows.len() {
            let (rows, codes, reasons) = (rows.len(), codes.len(), reasons.len());
            return Err(invalid(format!("{rows} rejected rows with {codes} codes and {reasons} reasons")));
        }
        self.places(&rows, true, "rejected rows")?;
        self.column(&codes, 0, "reject codes", Code::InvalidAnswer, self.limits.code_bytes)?;
        self.column(&reasons, 0, "reject reasons", Code::InvalidAnswer, usize::MAX)?;
        Ok(Rejected { rows, codes: text(codes, usize::MAX), reasons: text(reasons, self.limits.reason_bytes) })
    }

    /// No row is both emitted and rejected. Both lists are in order.
    fn apart(self, emitted: &[u32], rejected: &[u32]) -> Result<(), Trap> {
        let mut emitted = emitted.iter().peekable();
        for row in rejected {
            while emitted.next_if(|source| *source < row).is_some() {}
            if emitted.peek() == Some(&row) {
                return Err(invalid(format!("row {row} is both emitted and rejected")));
            }
        }
        Ok(())
    }
}

/// The column with every row UTF-8 and no longer than the limit: as it is, or made so.
fn text(column: Column, limit: usize) -> Column {
    let sound = |row: &[u8]| row.len() <= limit && std::str::from_utf8(row).is_ok();
    if column.iter().flatten().all(sound) {
        return column;
    }
    let cut = |row: Option<&[u8]>| {
        let row = String::from_utf8_lossy(row.unwrap_or_default());
        Some(row[..row.floor_char_boundary(limit)].to_owned())
    };
    column.iter().map(cut).collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

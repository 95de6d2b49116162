//! Byte strings in columns: the one shape in which rows cross the boundary.
//!
//! A [`Column`] is a list of lengths and the bytes end to end. A length of [`NULL`] is a null and one of [`SAME`], in
//! rows that leave a step, stands for the source row's cell; neither has bytes. The bytes of a column are as many as its
//! lengths above zero say: the host keeps to that, so reading a column that breaks it panics.

/// The length that stands for a null.
pub const NULL: i32 = -1;
/// The length that stands for the cell of the source row.
pub const SAME: i32 = -2;

/// A list of byte strings, any of them null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// Length in bytes of each cell, or [`NULL`], or [`SAME`].
    pub lengths: Vec<i32>,
    /// The cells' bytes, end to end.
    pub bytes: Vec<u8>,
}

/// What stands at a place of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The cell of the source row, unchanged.
    Same,
    /// No value, which is not the empty value.
    Null,
    /// A value.
    Bytes(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The value, if there is one.
    #[inline]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Cell::Bytes(bytes) => Some(bytes),
            Cell::Same | Cell::Null => None,
        }
    }
}

impl Column {
    /// A column with room for `cells` cells and `bytes` bytes.
    pub fn with_capacity(cells: usize, bytes: usize) -> Self {
        Self { lengths: Vec::with_capacity(cells), bytes: Vec::with_capacity(bytes) }
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds a cell: a value, or null.
    #[inline]
    pub fn push(&mut self, cell: Option<&[u8]>) {
        match cell {
            Some(bytes) => {
                Append(&mut self.bytes).bytes(bytes);
                self.lengths.push(length(bytes.len()));
            }
            None => self.lengths.push(NULL),
        }
    }

    /// Adds a cell that stands for the source row's.
    #[inline]
    pub fn push_same(&mut self) {
        self.lengths.push(SAME);
    }

    /// Adds a cell of the bytes that `write` appends to the buffer it gets.
    pub fn push_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        self.lengths.push(length(self.bytes.len() - before));
        result
    }

    /// Keeps the first `cells` cells.
    pub fn truncate(&mut self, cells: usize) {
        let gone: usize = self.lengths.iter().skip(cells).map(|&length| usize::try_from(length).unwrap_or(0)).sum();
        self.bytes.truncate(self.bytes.len() - gone);
        self.lengths.truncate(cells);
    }

    /// The cells, in order.
    #[inline]
    pub fn cells(&self) -> Cells<'_> {
        Cells { lengths: self.lengths.iter(), bytes: &self.bytes }
    }
}

/// Appends to the buffer; as a [`Write`](std::io::Write), what serde writes piece by piece.
///
/// In the guest a copy of unknown length is a call into the host, which costs more than the few bytes of a number or a
/// name. Short pieces are therefore copied eight bytes and less at a time, by plain loads and stores.
#[derive(Debug)]
pub struct Append<'b>(pub &'b mut Vec<u8>);

/// Pieces above this length are worth a call.
const PIECE_MAX: usize = 64;

impl Append<'_> {
    /// Appends the bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let buffer = &mut *self.0;
        if bytes.len() > PIECE_MAX {
            buffer.extend_from_slice(bytes);
            return;
        }
        buffer.reserve(bytes.len());
        let (eights, rest) = bytes.as_chunks::<8>();
        eights.iter().for_each(|eight| buffer.extend_from_slice(eight));
        let (fours, rest) = rest.as_chunks::<4>();
        fours.iter().for_each(|four| buffer.extend_from_slice(four));
        rest.iter().for_each(|byte| buffer.push(*byte));
    }
}

impl std::io::Write for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.bytes(bytes);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lengths are 32 bits on the boundary, and a guest's memory ends before they do.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a cell is smaller than 2 GiB")
}

impl<'a> FromIterator<Option<&'a [u8]>> for Column {
    fn from_iter<I: IntoIterator<Item = Option<&'a [u8]>>>(cells: I) -> Self {
        let mut column = Column::default();
        cells.into_iter().for_each(|cell| column.push(cell));
        column
    }
}

/// Iterates over the cells of a [`Column`].
#[derive(Debug, Clone, Default)]
pub struct Cells<'a> {
    lengths: std::slice::Iter<'a, i32>,
    bytes: &'a [u8],
}

impl<'a> Cells<'a> {
    /// Splits off the next `cells` cells and goes on after them.
    pub(crate) fn take_cells(&mut self, cells: usize) -> Cells<'a> {
        let (lengths, later) = self.lengths.as_slice().split_at(cells);
        let size = lengths.iter().map(|&length| usize::try_from(length).unwrap_or(0)).sum();
        let (bytes, rest) = self.bytes.split_at(size);
        *self = Cells { lengths: later.iter(), bytes: rest };
        Cells { lengths: lengths.iter(), bytes }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    #[inline]
    fn next(&mut self) -> Option<Cell<'a>> {
        let length = *self.lengths.next()?;
        Some(match usize::try_from(length) {
            Ok(size) => {
                let (cell, rest) = self.bytes.split_at(size);
                self.bytes = rest;
                Cell::Bytes(cell)
            }
            Err(_) if length == SAME => Cell::Same,
            Err(_) => Cell::Null,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

impl ExactSizeIterator for Cells<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_as_they_went_in() {
        let mut column = Column::default();
        column.push(Some(b"one"));
        column.push(None);
        column.push(Some(b""));
        column.push_same();
        column.push_with(|bytes| bytes.extend_from_slice(b"five!"));
        assert_eq!(column.lengths, [3, NULL, 0, SAME, 5]);
        let cells: Vec<_> = column.cells().collect();
        assert_eq!(cells, [Cell::Bytes(b"one"), Cell::Null, Cell::Bytes(b""), Cell::Same, Cell::Bytes(b"five!")]);
    }

    #[test]
    fn pieces_of_every_length_are_appended_whole() {
        let bytes: Vec<u8> = (0..=200).collect();
        let mut all = Vec::new();
        let mut expected = Vec::new();
        for length in 0..bytes.len() {
            Append(&mut all).bytes(&bytes[..length]);
            expected.extend_from_slice(&bytes[..length]);
        }
        assert_eq!(all, expected);
    }

    #[test]
    fn truncation_takes_the_bytes_with_it() {
        let mut column: Column = [Some(&b"ab"[..]), None, Some(b"cde"), Some(b"f")].into_iter().collect();
        column.truncate(2);
        assert_eq!((column.lengths.as_slice(), column.bytes.as_slice()), (&[2, NULL][..], &b"ab"[..]));
        column.push(Some(b"z"));
        assert_eq!(column.cells().last(), Some(Cell::Bytes(b"z")));
    }

    #[test]
    fn taking_cells_goes_on_behind_them() {
        let column: Column = [Some(&b"ab"[..]), None, Some(b"cde")].into_iter().collect();
        let mut cells = column.cells();
        assert_eq!(cells.take_cells(2).collect::<Vec<_>>(), [Cell::Bytes(b"ab"), Cell::Null]);
        assert_eq!(cells.collect::<Vec<_>>(), [Cell::Bytes(b"cde")]);
    }
}

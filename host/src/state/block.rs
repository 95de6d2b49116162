//! The encoding of delta blocks: little-endian numbers and columns, one after the other.
//!
//! A block begins with its version and says whether it is the whole state or what changed since the block before.
//!
//! The log keeps a checksum of each block; a reader still checks every length, so that a block of another version or a
//! fault of ours is an error with its place and never a panic.

use super::Summary;
use crate::record::{Column, ColumnRef};

/// The version that is written. All versions from 1 on stay readable; each has a fixture in the tests.
pub const VERSION: u8 = 5;
/// The last version whose blocks did not say what they are: all were changes.
const VERSION_CHANGES_ONLY: u8 = 2;
/// The first version whose blocks say what they are.
const VERSION_KINDS: u8 = 3;

/// What a block is, never renumbered: changes since the block before, or the whole state.
const CHANGES: u8 = 0;
const WHOLE: u8 = 1;

/// Column layouts: one length for all rows, or a length for each. Never renumbered.
const EQUAL: u8 = 1;
const EACH: u8 = 0;
/// Rows of one column of a block: far above what a writer puts there, far below what would exhaust memory.
const COLUMN_ROWS_MAX: usize = 1 << 28;

/// A block that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state block: {what} at byte {at}")]
pub struct BlockError {
    /// Where in the block.
    pub at: usize,
    /// What was found or is missing.
    pub what: String,
}

/// Writes a block.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Default for Writer {
    /// A block of changes.
    fn default() -> Self {
        Self(vec![VERSION, CHANGES])
    }
}

impl Writer {
    /// A block of the whole state.
    pub fn whole() -> Self {
        Self(vec![VERSION, WHOLE])
    }

    /// Appends what a store has in short.
    pub fn summary(&mut self, summary: Summary) {
        self.0.extend_from_slice(&summary.entries.to_le_bytes());
        self.0.extend_from_slice(&summary.digest.to_le_bytes());
    }

    /// Appends a number of 8 bits.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Appends a number of 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a signed number of 64 bits.
    pub fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a short text.
    pub fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a column. One length for all rows, the common case, is written once.
    pub fn column(&mut self, column: ColumnRef<'_>) {
        self.u32(column.lengths.len() as u32);
        match column.lengths {
            [first, rest @ ..] if rest.iter().all(|length| length == first) => {
                self.u8(EQUAL);
                self.u32(*first as u32);
            }
            lengths => {
                self.u8(EACH);
                self.0.reserve(4 * lengths.len());
                for length in lengths {
                    self.0.extend_from_slice(&length.to_le_bytes());
                }
            }
        }
        self.0.extend_from_slice(column.bytes);
    }

    /// Bytes written so far.
    #[expect(clippy::len_without_is_empty, reason = "it begins with its version")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The block.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a block.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    version: u8,
    is_whole: bool,
}

impl<'a> Reader<'a> {
    /// Begins to read, and checks the version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let mut reader = Self { bytes, at: 0, version: 0, is_whole: false };
        reader.version = reader.u8()?;
        match reader.version {
            1..=VERSION_CHANGES_ONLY => {}
            VERSION_KINDS..=VERSION => {
                reader.is_whole = match reader.u8()? {
                    CHANGES => false,
                    WHOLE => true,
                    other => return Err(reader.error(format!("kind of block {other}"))),
                };
            }
            other => {
                return Err(BlockError { at: 0, what: format!("version {other}, this server reads 1 to {VERSION}") });
            }
        }
        Ok(reader)
    }

    /// Whether the block is the whole state, and not what changed since the one before.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The next summary of a store.
    pub fn summary(&mut self) -> Result<Summary, BlockError> {
        let entries = u64::from_le_bytes(self.array()?);
        Ok(Summary { entries, digest: u128::from_le_bytes(self.array()?) })
    }

    /// The version that the block was written in.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The next number of 8 bits.
    pub fn u8(&mut self) -> Result<u8, BlockError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next number of 32 bits.
    pub fn u32(&mut self) -> Result<u32, BlockError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next signed number of 64 bits.
    pub fn i64(&mut self) -> Result<i64, BlockError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// The next text.
    pub fn text(&mut self) -> Result<&'a str, BlockError> {
        let length = self.u32()? as usize;
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| BlockError { at, what: "no text".to_owned() })
    }

    /// The next column.
    pub fn column(&mut self) -> Result<Column, BlockError> {
        let rows = self.u32()? as usize;
        if rows > COLUMN_ROWS_MAX {
            return Err(self.error(format!("a column of {rows} rows")));
        }
        let lengths: Vec<i32> = match self.u8()? {
            EQUAL => vec![self.u32()? as i32; rows],
            EACH => {
                let lengths = self.take(rows * 4)?;
                lengths.chunks_exact(4).map(|c| i32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
            }
            other => return Err(self.error(format!("column layout {other}"))),
        };
        let total: u64 = lengths.iter().map(|&length| length.max(0) as u64).sum();
        let bytes = self.take(usize::try_from(total).unwrap_or(usize::MAX))?.to_vec();
        Ok(Column { lengths, bytes })
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// An error about what was just read.
    pub fn error(&self, what: impl Into<String>) -> BlockError {
        BlockError { at: self.at, what: what.into() }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BlockError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < count {
            let what = format!("{count} bytes are missing of which {} are there", rest.len());
            return Err(BlockError { at: self.at, what });
        }
        self.at += count;
        Ok(&rest[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u32(7);
        writer.i64(-1);
        writer.text("views");
        writer.column([Some("a"), None, Some("")].into_iter().collect::<Column>().view());
        writer.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = written();
        let mut reader = Reader::new(&bytes).expect("our version");
        assert_eq!((reader.u32(), reader.i64(), reader.text()), (Ok(7), Ok(-1), Ok("views")));
        assert_eq!(reader.column(), Ok([Some("a"), None, Some("")].into_iter().collect()));
        assert!(reader.is_at_end());
    }

    #[test]
    fn a_block_cut_anywhere_is_an_error() {
        let bytes = written();
        for end in 0..bytes.len() {
            let read = |bytes| {
                let mut reader = Reader::new(bytes)?;
                reader.u32()?;
                reader.i64()?;
                reader.text()?;
                reader.column()
            };
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let error = Reader::new(&[9]).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(error, Err("state block: version 9, this server reads 1 to 5 at byte 0".to_owned()));
    }

    #[test]
    fn a_block_says_whether_it_is_whole_and_blocks_before_version_3_are_changes() {
        let mut whole = Writer::whole();
        let summary = Summary { entries: 7, digest: u128::MAX - 3 };
        whole.summary(summary);
        let whole = whole.finish();
        let mut reader = Reader::new(&whole).expect("our version");
        assert!(reader.is_whole());
        assert_eq!(reader.summary(), Ok(summary));
        assert!(!Reader::new(&Writer::default().finish()).expect("our version").is_whole());
        assert!(!Reader::new(&[2]).expect("an earlier version").is_whole());
        Reader::new(&[VERSION, 2]).expect_err("there is no such kind");
        Reader::new(&[VERSION]).expect_err("it is cut");
    }
}

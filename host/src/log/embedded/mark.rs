//! The mark: how far RocksDB's write-ahead log had been acknowledged, kept beside it.
//!
//! RocksDB's recovery takes a write-ahead log that is broken in the middle for one that ends there. After a torn write
//! that is right, for nothing behind it was acknowledged; after a fault of the disk it would lose acknowledged records in
//! silence. So the sequence number of the last acknowledged write is kept in a file, and the log does not open with less.
//!
//! The mark is written after each group without `fsync`: it may lag behind after a loss of power, which makes the check
//! weaker but never wrong. Under [`Durability::Os`] a loss of power may lose what was acknowledged, by promise: a mark of
//! an earlier boot then says nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::log::Durability;

/// `MSMARK`, version 1.
const MAGIC: [u8; 8] = *b"MSMARK\0\x01";
/// Magic, sequence, durability, boot, checksum.
const MARK_BYTES: usize = 8 + 8 + 1 + 36 + 4;
const CRC_AT: usize = MARK_BYTES - 4;

/// The mark of a folder.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    durability: Durability,
    boot: [u8; 36],
}

impl Mark {
    /// Opens or makes the file, and answers the sequence number that must at least be there.
    pub(super) fn open(path: &Path, durability: Durability) -> io::Result<(Self, Option<u64>)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mark = Self { file, durability, boot: boot_id() };
        let mut bytes = [0; MARK_BYTES];
        let required = match mark.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => mark.required(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok((mark, required))
    }

    fn required(&self, bytes: &[u8; MARK_BYTES]) -> Option<u64> {
        let (content, crc) = bytes.split_at(CRC_AT);
        if content[..8] != MAGIC || crc32c::crc32c(content).to_le_bytes() != crc {
            tracing::warn!(
                "the log's mark is unreadable, so this start cannot tell whether acknowledged records are missing"
            );
            return None;
        }
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&content[8..16]);
        let survives_power_loss = content[16] == 0;
        let same_boot = content[17..] == self.boot && self.boot != [0; 36];
        (survives_power_loss || same_boot).then_some(u64::from_le_bytes(sequence))
    }

    /// Notes that everything up to this sequence number is about to be acknowledged.
    pub(super) fn set(&self, sequence: u64) -> io::Result<()> {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16] = u8::from(self.durability != Durability::Fsync);
        bytes[17..CRC_AT].copy_from_slice(&self.boot);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

/// What tells this boot of the machine from the last; zeros where the system does not say.
fn boot_id() -> [u8; 36] {
    let mut boot = [0; 36];
    if let Ok(text) = std::fs::read("/proc/sys/kernel/random/boot_id")
        && let Some(id) = text.get(..36)
    {
        boot.copy_from_slice(id);
    }
    boot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_as_it_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mark, required) = Mark::open(&path, Durability::Fsync).unwrap();
        assert_eq!(required, None);
        mark.set(77).unwrap();
        assert_eq!(Mark::open(&path, Durability::Fsync).unwrap().1, Some(77));
    }

    #[test]
    fn what_the_os_had_before_the_last_boot_is_not_required() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, _) = Mark::open(&path, Durability::Os).unwrap();
        mark.boot = [b'x'; 36];
        mark.set(77).unwrap();
        assert_eq!(Mark::open(&path, Durability::Os).unwrap().1, None);
        mark.durability = Durability::Fsync;
        mark.set(77).unwrap();
        assert_eq!(Mark::open(&path, Durability::Os).unwrap().1, Some(77));
    }

    #[test]
    fn a_damaged_mark_requires_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        std::fs::write(&path, [7; MARK_BYTES]).unwrap();
        assert_eq!(Mark::open(&path, Durability::Fsync).unwrap().1, None);
    }
}

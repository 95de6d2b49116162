//! Artifacts on disk: what was compiled once need not be compiled again by a server that starts.
//!
//! An artifact is machine code that the server will run. Each file carries an HMAC-SHA256 under a key that only this
//! folder has; a file that does not verify is reported and made again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::wire::{self, Made};
use crate::ids::Digest;

const MAC_BYTES: usize = 32;

/// The key's file.
const KEY_FILE: &str = "key";

/// A folder of artifacts.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: Key,
    writes: AtomicU64,
}

/// As long as a block of the hash. Not shown anywhere.
struct Key([u8; 64]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Cache {
    /// Opens a folder, which is made if it does not exist.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let key = Key(key(&folder.join(KEY_FILE))?);
        Ok(Self { folder: folder.to_owned(), key, writes: AtomicU64::new(0) })
    }

    /// The artifact of this identity, if there is one that this server made.
    pub(super) fn get(&self, id: &Digest) -> Option<(Made, Vec<u8>)> {
        let path = self.path(id);
        let stored = match fs::read(&path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "artifact cannot be read and is made anew");
                return None;
            }
        };
        let verified = stored.split_first_chunk::<MAC_BYTES>().and_then(|(mac, message)| {
            self.mac(id, message).verify_slice(mac).ok()?;
            wire::decode::<Made>(message).ok()
        });
        if verified.is_none() {
            tracing::warn!(path = %path.display(), "artifact is not what this server wrote and is made anew");
        }
        verified.map(|(made, artifact)| (made, artifact.to_vec()))
    }

    /// Stores an artifact: whole or not at all.
    pub(super) fn put(&self, id: &Digest, made: &Made, artifact: &[u8]) -> io::Result<()> {
        let message = wire::encode(made, artifact)?;
        let mac = self.mac(id, &message).finalize().into_bytes();
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{}.{}.{number}.tmp", id.hex(), std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&mac)?;
            file.write_all(&message)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(id))?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            // What is left of it is never read.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn path(&self, id: &Digest) -> PathBuf {
        self.folder.join(format!("{}.artifact", id.hex()))
    }

    fn mac(&self, id: &Digest, message: &[u8]) -> Hmac<Sha256> {
        // The identity is part of it, so that no artifact passes under another's name.
        Hmac::new(&self.key.0.into()).chain_update(id.as_bytes()).chain_update(message)
    }
}

/// The folder's key, made if there is none.
fn key(path: &Path) -> io::Result<[u8; 64]> {
    let mut key = [0; 64];
    match File::open(path) {
        Ok(mut file) => {
            file.read_exact(&mut key)?;
            return Ok(key);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::plugin::lines::Lines;
    use crate::plugin::{Description, Reads, World};

    fn made() -> Made {
        let description = Description {
            world: World::Transform,
            summary: "s".to_owned(),
            config_schema: "{}".to_owned(),
            reads: Reads { keys: true, values: true, headers: false },
            outputs: vec![],
        };
        Made { description, no_snapshot: None, imports: vec![], lines: Lines::default() }
    }

    #[test]
    fn an_artifact_is_found_by_the_next_server_on_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let id = Digest::of(b"a");
        Cache::open(folder.path()).unwrap().put(&id, &made(), b"code").unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        assert_eq!(cache.get(&id), Some((made(), b"code".to_vec())));
        assert_eq!(cache.get(&Digest::of(b"b")), None);
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_changed_anywhere_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let id = Digest::of(b"a");
        cache.put(&id, &made(), b"code").unwrap();
        let stored = fs::read(cache.path(&id)).unwrap();
        for place in 0..stored.len() {
            let mut changed = stored.clone();
            changed[place] ^= 1;
            fs::write(cache.path(&id), changed).unwrap();
            assert_eq!(cache.get(&id), None, "byte {place}");
        }
        fs::write(cache.path(&id), &stored[..20]).unwrap();
        assert_eq!(cache.get(&id), None);
    }

    #[test]
    fn an_artifact_under_another_name_or_key_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (id, other) = (Digest::of(b"a"), Digest::of(b"b"));
        cache.put(&id, &made(), b"code").unwrap();
        fs::copy(cache.path(&id), cache.path(&other)).unwrap();
        assert_eq!(cache.get(&other), None);
        fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
        assert_eq!(Cache::open(folder.path()).unwrap().get(&id), None);
    }
}

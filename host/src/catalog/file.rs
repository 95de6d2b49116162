//! Files that are there whole or not at all, and that say what they are.
//!
//! A write goes to a file beside the target, is synced, renamed over it, and the folder is synced: a crash at any moment
//! leaves the old content or the new. A document is JSON with its format and the digest of its content, so that what was
//! changed by hand or by a failing disk is seen, not believed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use crate::ids::Digest;

/// The format that is written. A change of what a document holds is a new number.
const FORMAT: u32 = 1;

/// What a file is called until it is whole. What a crash leaves under such a name was never answered for.
pub(super) const UNFINISHED: &str = "unfinished";

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    digest: Digest,
    content: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    format: u32,
    digest: Digest,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Writes a document, durably.
pub(super) fn write_document<T: Serialize>(file: &Path, content: &T) -> Result<(), Error> {
    let unwritable = |error: serde_json::Error| Error::Storage {
        action: "encode",
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let content = serde_json::value::to_raw_value(content).map_err(unwritable)?;
    let digest = Digest::of(content.get().as_bytes());
    let text = serde_json::to_vec(&Written { format: FORMAT, digest, content: &content }).map_err(unwritable)?;
    write(file, &text)
}

/// Reads a document, and believes nothing.
pub(super) fn read_document<T: DeserializeOwned>(file: &Path) -> Result<T, Error> {
    let bytes = read(file)?.ok_or_else(|| Error::corrupt(file, "it is missing"))?;
    let corrupt = |error: serde_json::Error| Error::corrupt(file, error.to_string());
    let Format { format } = serde_json::from_slice(&bytes).map_err(corrupt)?;
    if format != FORMAT {
        return Err(Error::UnknownFormat { file: file.to_owned(), found: format, known: FORMAT });
    }
    let stored: Stored<'_> = serde_json::from_slice(&bytes).map_err(corrupt)?;
    debug_assert_eq!(stored.format, FORMAT);
    if Digest::of(stored.content.get().as_bytes()) != stored.digest {
        return Err(Error::corrupt(file, "its content does not have the digest that is written beside it"));
    }
    serde_json::from_str(stored.content.get()).map_err(corrupt)
}

/// Writes a file, durably: what was there before is there until all of this is.
pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = parent(file);
    let unfinished = file.with_added_extension(UNFINISHED);
    let attempt = || {
        let mut output = File::create(&unfinished)?;
        output.write_all(bytes)?;
        output.sync_all()?;
        fs::rename(&unfinished, file)
    };
    attempt().map_err(|error| {
        // What is left of it is in nobody's way, and is removed at the next start if it cannot be removed now.
        let _ = fs::remove_file(&unfinished);
        Error::system("write", file, &error)
    })?;
    sync_folder(folder)
}

/// Reads a file, if it is there.
pub(super) fn read(file: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("read", file, &error)),
    }
}

/// Removes a file, durably. Removing what is not there changes nothing.
pub(super) fn remove(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Ok(()) => sync_folder(parent(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system("remove", file, &error)),
    }
}

/// Makes a folder and those above it, durably.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::system("make folder", folder, &error)),
        _ => sync_folder(parent(folder)),
    }
}

/// What is in a folder, by name, without what a crash left unfinished, which is removed. A folder that is not there is
/// empty.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::system("list", folder, &error);
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            remove(&path)?;
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::system("sync", folder, &error))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&file, &vec!["x", "y"]).expect("written");
        write_document(&file, &vec!["z"]).expect("written again");
        assert_eq!(read_document::<Vec<String>>(&file).expect("read"), ["z"]);
        assert_eq!(entries(folder.path()).expect("listed"), [file]);
    }

    #[test]
    fn what_a_crash_left_unfinished_is_not_seen_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&file, &1).expect("written");
        let unfinished = file.with_added_extension(UNFINISHED);
        fs::write(&unfinished, b"{\"form").expect("half a file");
        assert_eq!(entries(folder.path()).expect("listed"), std::slice::from_ref(&file));
        assert!(!unfinished.exists());
        assert_eq!(read_document::<i32>(&file).expect("read"), 1);
    }

    #[test]
    fn every_changed_byte_is_noticed_and_the_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&file, &"some text").expect("written");
        let good = fs::read(&file).expect("read");
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).expect("changed");
            let error = read_document::<String>(&file).expect_err("a changed byte");
            assert!(error.to_string().contains("a.json"), "{error}");
        }
        for length in 0..good.len() {
            fs::write(&file, &good[..length]).expect("cut");
            assert!(matches!(read_document::<String>(&file), Err(Error::Corrupt { .. })), "{length}");
        }
    }

    #[test]
    fn another_format_is_named_not_guessed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        fs::write(&file, br#"{"format":9,"what":"ever"}"#).expect("written");
        let error = read_document::<String>(&file).expect_err("format 9");
        assert!(matches!(error, Error::UnknownFormat { found: 9, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&file, &1).expect("written");
        // A folder in the place of the unfinished file makes the write fail whoever runs the test.
        fs::create_dir(file.with_added_extension(UNFINISHED)).expect("a folder");
        assert!(matches!(write_document(&file, &2), Err(Error::Storage { action: "write", .. })));
        assert_eq!(read_document::<i32>(&file).expect("read"), 1);
    }
}

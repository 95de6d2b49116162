//! The catalog's files, with its errors: [`crate::files`] sees to it that they are whole, [`crate::document`] that they are
//! what was written.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::document::{self, Unreadable};
use crate::files::{self, Files};

/// The format that is written. A change of what a document holds is a new number.
const FORMAT: u32 = 1;

/// Writes a document, durably.
pub(super) fn write_document<T: Serialize>(files: &dyn Files, file: &Path, content: &T) -> Result<(), Error> {
    let text = document::encode(FORMAT, content).map_err(|error| Error::Storage {
        action: "encode",
        file: file.to_owned(),
        reason: error.to_string(),
    })?;
    write(files, file, &text)
}

/// Reads a document, and checks its format and digest.
pub(super) fn read_document<T: DeserializeOwned>(files: &dyn Files, file: &Path) -> Result<T, Error> {
    let bytes = read(files, file)?.ok_or_else(|| Error::corrupt(file, "it is missing"))?;
    document::decode(FORMAT, &bytes).map_err(|error| match error {
        Unreadable::Corrupt(reason) => Error::corrupt(file, reason),
        Unreadable::Format(found) => Error::UnknownFormat { file: file.to_owned(), found, known: FORMAT },
    })
}

/// Writes a file, durably: what was there before is there until all of this is.
pub(super) fn write(files: &dyn Files, file: &Path, bytes: &[u8]) -> Result<(), Error> {
    files::write(files, file, bytes).map_err(|error| Error::system("write", file, &error))
}

/// Reads a file, if it is there.
pub(super) fn read(files: &dyn Files, file: &Path) -> Result<Option<Vec<u8>>, Error> {
    files::read(files, file).map_err(|error| Error::system("read", file, &error))
}

/// Removes a file, durably. Removing what is not there changes nothing.
pub(super) fn remove(files: &dyn Files, file: &Path) -> Result<(), Error> {
    files::remove(files, file).map_err(|error| Error::system("remove", file, &error))
}

/// Moves a file into a folder, under its own name or the first free one that begins so, durably. Answers where it is.
pub(super) fn move_into(files: &dyn Files, file: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let moved = || {
        let name = file.file_name().unwrap_or_default();
        files::make_folder(files, folder)?;
        let taken = files.list(folder)?;
        let mut to = folder.join(name);
        for number in 1.. {
            if !taken.contains(&to) {
                break;
            }
            to = folder.join(name).with_added_extension(number.to_string());
        }
        files::rename(files, file, &to)?;
        Ok(to)
    };
    moved().map_err(|error| Error::system("move", file, &error))
}

/// Makes a folder and those above it, durably.
pub(super) fn make_folder(files: &dyn Files, folder: &Path) -> Result<(), Error> {
    files::make_folder(files, folder).map_err(|error| Error::system("make folder", folder, &error))
}

/// What is in a folder, by name.
pub(super) fn entries(files: &dyn Files, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files::entries(files, folder).map_err(|error| Error::system("list", folder, &error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::SystemFiles;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&SystemFiles, &file, &vec!["x", "y"]).expect("written");
        write_document(&SystemFiles, &file, &vec!["z"]).expect("written again");
        assert_eq!(read_document::<Vec<String>>(&SystemFiles, &file).expect("read"), ["z"]);
        assert_eq!(entries(&SystemFiles, folder.path()).expect("listed"), [file]);
    }

    #[test]
    fn a_file_that_is_not_what_was_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        write_document(&SystemFiles, &file, &"some text").expect("written");
        let good = fs::read(&file).expect("read");
        fs::write(&file, &good[1..]).expect("cut");
        let error = read_document::<String>(&SystemFiles, &file).expect_err("it is cut");
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("a.json"), "{error}");
        fs::write(&file, br#"{"format":9,"what":"ever"}"#).expect("written");
        let error = read_document::<String>(&SystemFiles, &file).expect_err("format 9");
        assert!(matches!(error, Error::UnknownFormat { found: 9, known: 1, .. }), "{error}");
    }
}

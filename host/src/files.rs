//! Files that are there whole or not at all.
//!
//! A write goes to a file beside the target, is synced, renamed over it, and the folder is synced: a crash at any moment
//! leaves the old content or the new. Each write has a file of its own, so that two of one target do not meet. What a crash left
//! unfinished is removed by the next listing of its folder, which leaves alone what this process is writing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a file is called until it is whole. What a crash leaves under such a name was never answered for.
pub const UNFINISHED: &str = "unfinished";

/// The files that are being written.
static WRITING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file that is being written, under a name that no other writer has.
struct Unfinished(PathBuf);

impl Unfinished {
    fn of(file: &Path) -> Self {
        let mut writing = writing();
        let mut path = file.with_added_extension(UNFINISHED);
        for number in 1.. {
            if writing.insert(path.clone()) {
                break;
            }
            path = file.with_added_extension(format!("{number}.{UNFINISHED}"));
        }
        Self(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        writing().remove(&self.0);
    }
}

fn writing() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a file, durably: what was there before is there until all of this is.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = Unfinished::of(file);
    let attempt = || {
        let mut output = File::create(&unfinished.0)?;
        output.write_all(bytes)?;
        output.sync_all()?;
        fs::rename(&unfinished.0, file)
    };
    attempt().inspect_err(|_| {
        // What is left of it is in nobody's way, and is removed at the next listing if it cannot be removed now.
        let _ = fs::remove_file(&unfinished.0);
    })?;
    sync_folder(parent(file))
}

/// Moves a file, durably.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))?;
    sync_folder(parent(from))
}

/// Reads a file, if it is there.
pub fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, durably. Removing what is not there changes nothing.
pub fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => sync_folder(parent(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those above it, durably. All folders for what must survive are made by this.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        // Perhaps somebody made it just now, or made it and was killed before it was synced.
        return match sync_folder(parent(folder)) {
            // Who may not even look at the folder above did not make this one.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent(folder)),
    }
}

/// What is in a folder, by name, without what a crash left unfinished, which is removed. A folder that is not there is
/// empty.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            // Held until it is gone, so that nobody begins to write it meanwhile.
            let writing = writing();
            if !writing.contains(&path) {
                remove(&path)?;
            }
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Syncs what a folder has: which files and folders are in it, not what is in those.
fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::meet()?;
    File::open(folder).and_then(|folder| folder.sync_all())?;
    #[cfg(test)]
    synced::note(folder);
    Ok(())
}

/// Which folders were synced by this thread, for tests: what a loss of power would leave cannot be seen otherwise.
#[cfg(test)]
pub(crate) mod synced {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    thread_local! {
        static FOLDERS: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(folder: &Path) {
        FOLDERS.with_borrow_mut(|folders| folders.push(folder.to_owned()));
    }

    /// Those that were synced since the last call.
    pub(crate) fn take() -> Vec<PathBuf> {
        FOLDERS.take()
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Folders that cannot be synced, for tests.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    }

    /// After so many syncs of folders on this thread, so many fail.
    pub(crate) fn fail_syncs(after: u32, count: u32) {
        LEFT.set((after, count));
    }

    pub(super) fn meet() -> io::Result<()> {
        match LEFT.get() {
            (0, 0) => Ok(()),
            (0, count) => {
                LEFT.set((0, count - 1));
                Err(io::Error::other("the disk does not answer"))
            }
            (after, count) => {
                LEFT.set((after - 1, count));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_unfinished_is_not_seen_and_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        write(&file, b"old").expect("written");
        let unfinished = file.with_added_extension(UNFINISHED);
        fs::write(&unfinished, b"ne").expect("half a file");
        assert_eq!(entries(folder.path()).expect("listed"), std::slice::from_ref(&file));
        assert!(!unfinished.exists());
        assert_eq!(read(&file).expect("read"), Some(b"old".to_vec()));
    }

    #[test]
    fn what_is_being_written_is_left_alone_until_it_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        let (one, other) = (Unfinished::of(&file), Unfinished::of(&file));
        assert_ne!(one.0, other.0, "two writers of a file do not meet");
        for unfinished in [&one, &other] {
            fs::write(&unfinished.0, b"ha").expect("half a file");
        }
        assert_eq!(entries(folder.path()).expect("listed"), Vec::<PathBuf>::new());
        assert!(one.0.exists() && other.0.exists());
        let left = one.0.clone();
        drop(one);
        assert_eq!(entries(folder.path()).expect("listed"), Vec::<PathBuf>::new());
        assert!(!left.exists() && other.0.exists());
    }

    #[test]
    fn many_who_write_one_file_while_others_list_its_folder_all_write_it_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        let contents: Vec<Vec<u8>> = (0..8).map(|writer| vec![writer; 100_000 + usize::from(writer)]).collect();
        std::thread::scope(|scope| {
            for content in &contents {
                let (file, folder) = (&file, folder.path());
                scope.spawn(move || {
                    for _ in 0..20 {
                        write(file, content).expect("nobody is in its way");
                        assert_eq!(entries(folder).expect("listed"), std::slice::from_ref(file));
                    }
                });
            }
        });
        let there = read(&file).expect("read").expect("it is there");
        assert!(contents.contains(&there), "{} bytes", there.len());
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        write(&file, b"old").expect("written");
        // A folder in the place of the unfinished file makes the write fail whoever runs the test.
        fs::create_dir(file.with_added_extension(UNFINISHED)).expect("a folder");
        write(&file, b"new").expect_err("its place is taken");
        assert_eq!(read(&file).expect("read"), Some(b"old".to_vec()));
    }

    #[test]
    fn a_file_is_moved_with_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        write(&from, b"text").expect("written");
        rename(&from, &to).expect("moved");
        assert_eq!((read(&from).expect("read"), read(&to).expect("read")), (None, Some(b"text".to_vec())));
    }

    #[test]
    fn what_is_not_there_is_nothing_and_folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b/c");
        assert_eq!(entries(&deep).expect("listed"), Vec::<PathBuf>::new());
        assert_eq!(read(&deep.join("d")).expect("read"), None);
        make_folder(&deep).expect("made");
        make_folder(&deep).expect("there already");
        remove(&deep.join("d")).expect("nothing to remove");
        assert!(deep.is_dir());
    }
}

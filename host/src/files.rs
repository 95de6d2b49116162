//! Atomic, durable writes of files.
//!
//! A write goes to a file beside the target, is synced, renamed over it, and the folder is synced: a crash at any moment
//! leaves the old content or the new. Each write has a file of its own, so that two of one target do not meet. What a crash
//! left unfinished is removed by the next listing of its folder, which leaves alone what this process is writing.
//!
//! All of this is done with the few functions of [`Files`]. The server's files are the [`SystemFiles`]; a simulation has
//! some that lose what was not synced.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a file is called until it is whole. What a crash leaves under such a name was never acknowledged.
pub const UNFINISHED: &str = "unfinished";

/// A file system.
///
/// # Contract
/// What is in a file is durable when [`write`](Files::write) has answered. A name (made, renamed, removed) is seen at once,
/// and durable when its folder has been [synced](Files::sync_folder): a crash before that leaves the names as before or as
/// after, each for itself. A name that is renamed over another leads to one of the two contents at any moment.
pub trait Files: Send + Sync + Debug {
    /// Makes a file with this content, or replaces the content of one that is there.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;

    /// What is in a file; [`ErrorKind::NotFound`] if there is none.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; [`ErrorKind::NotFound`] if there is none.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes a folder in one that is there; [`ErrorKind::AlreadyExists`] if it is there.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether there is a folder of this name.
    fn is_folder(&self, path: &Path) -> bool;

    /// What is in a folder, in any order; [`ErrorKind::NotFound`] if there is none.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// How many bytes a file has; nothing if this is a folder.
    fn size(&self, file: &Path) -> io::Result<Option<u64>>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut output = File::create(file)?;
        output.write_all(bytes)?;
        output.sync_all()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        fs::read(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn size(&self, file: &Path) -> io::Result<Option<u64>> {
        let about = file.metadata()?;
        Ok(about.is_file().then_some(about.len()))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        faults::meet()?;
        File::open(folder).and_then(|folder| folder.sync_all())?;
        #[cfg(test)]
        synced::note(folder);
        Ok(())
    }
}

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
pub fn write(files: &dyn Files, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = Unfinished::of(file);
    let attempt = || {
        files.write(&unfinished.0, bytes)?;
        files.rename(&unfinished.0, file)
    };
    attempt().inspect_err(|_| {
        // What is left of it does no harm, and is removed at the next listing if it cannot be removed now.
        let _ = files.remove(&unfinished.0);
    })?;
    files.sync_folder(parent(file))
}

/// Moves a file, durably.
pub fn rename(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    files.rename(from, to)?;
    files.sync_folder(parent(to))?;
    files.sync_folder(parent(from))
}

/// Reads a file, if it is there.
pub fn read(files: &dyn Files, file: &Path) -> io::Result<Option<Vec<u8>>> {
    match files.read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, durably. Removing what is not there changes nothing.
pub fn remove(files: &dyn Files, file: &Path) -> io::Result<()> {
    match files.remove(file) {
        Ok(()) => files.sync_folder(parent(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those above it, durably. All folders for what must survive are made by this.
pub fn make_folder(files: &dyn Files, folder: &Path) -> io::Result<()> {
    if files.is_folder(folder) {
        // Perhaps somebody made it just now, or made it and was killed before it was synced.
        return match files.sync_folder(parent(folder)) {
            // A process that cannot read the folder above did not create this one.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(files, above)?;
    }
    match files.make_folder(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => files.sync_folder(parent(folder)),
    }
}

/// What is in a folder, by name, without what a crash left unfinished, which is removed. A folder that is not there is
/// empty.
pub fn entries(files: &dyn Files, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = match files.list(folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for path in paths.extract_if(.., |path| path.extension().is_some_and(|extension| extension == UNFINISHED)) {
        // Held until it is gone, so that nobody begins to write it meanwhile.
        let writing = writing();
        if !writing.contains(&path) {
            remove(files, &path)?;
        }
    }
    paths.sort();
    Ok(paths)
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
        write(&SystemFiles, &file, b"old").expect("written");
        let unfinished = file.with_added_extension(UNFINISHED);
        fs::write(&unfinished, b"ne").expect("half a file");
        assert_eq!(entries(&SystemFiles, folder.path()).expect("listed"), std::slice::from_ref(&file));
        assert!(!unfinished.exists());
        assert_eq!(read(&SystemFiles, &file).expect("read"), Some(b"old".to_vec()));
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
        assert_eq!(entries(&SystemFiles, folder.path()).expect("listed"), Vec::<PathBuf>::new());
        assert!(one.0.exists() && other.0.exists());
        let left = one.0.clone();
        drop(one);
        assert_eq!(entries(&SystemFiles, folder.path()).expect("listed"), Vec::<PathBuf>::new());
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
                        write(&SystemFiles, file, content).expect("nobody is in its way");
                        assert_eq!(entries(&SystemFiles, folder).expect("listed"), std::slice::from_ref(file));
                    }
                });
            }
        });
        let there = read(&SystemFiles, &file).expect("read").expect("it is there");
        assert!(contents.contains(&there), "{} bytes", there.len());
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        write(&SystemFiles, &file, b"old").expect("written");
        // A folder in the place of the unfinished file makes the write fail whoever runs the test.
        fs::create_dir(file.with_added_extension(UNFINISHED)).expect("a folder");
        write(&SystemFiles, &file, b"new").expect_err("its place is taken");
        assert_eq!(read(&SystemFiles, &file).expect("read"), Some(b"old".to_vec()));
    }

    #[test]
    fn a_file_is_moved_with_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        write(&SystemFiles, &from, b"text").expect("written");
        rename(&SystemFiles, &from, &to).expect("moved");
        assert_eq!(
            (read(&SystemFiles, &from).expect("read"), read(&SystemFiles, &to).expect("read")),
            (None, Some(b"text".to_vec()))
        );
    }

    #[test]
    fn what_is_not_there_is_nothing_and_folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b/c");
        assert_eq!(entries(&SystemFiles, &deep).expect("listed"), Vec::<PathBuf>::new());
        assert_eq!(read(&SystemFiles, &deep.join("d")).expect("read"), None);
        make_folder(&SystemFiles, &deep).expect("made");
        make_folder(&SystemFiles, &deep).expect("there already");
        remove(&SystemFiles, &deep.join("d")).expect("nothing to remove");
        assert!(deep.is_dir());
    }
}

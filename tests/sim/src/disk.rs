//! A disk that loses what was not synced and tears what was being written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream::files::Files;

use crate::machine::Machine;
use crate::oracle::Oracle;

/// A disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk {
    machine: Machine,
    oracle: Oracle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File(u64),
}

#[derive(Debug, Default)]
struct State {
    /// The names as they are,
    names: BTreeMap<PathBuf, Entry>,
    /// and as they were when their folder was last synced.
    safe_names: BTreeMap<PathBuf, Entry>,
    files: BTreeMap<u64, Content>,
    next: u64,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What is there whatever happens.
    safe: Vec<u8>,
}

impl Disk {
    /// An empty disk.
    pub fn new(machine: Machine, oracle: Oracle) -> Self {
        let root = (PathBuf::from("/"), Entry::Folder);
        let names = BTreeMap::from([root]);
        let state = State { safe_names: names.clone(), names, ..State::default() };
        Self { machine, oracle, state: Arc::new(Mutex::new(state)) }
    }

    /// Appends to a file, which is made if it is not there. Nothing of it is safe before it is synced.
    pub fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let half = bytes.len() / 2;
        for part in [&bytes[..half], &bytes[half..]] {
            self.machine.touch()?;
            self.state().content(file)?.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// Makes what was appended to a file safe.
    pub fn sync(&self, file: &Path) -> io::Result<()> {
        self.machine.touch()?;
        if self.machine.syncs().journal {
            let mut state = self.state();
            let content = state.content(file)?;
            content.safe = content.bytes.clone();
        }
        Ok(())
    }

    /// Makes a file have this content, whatever happens: for what is done before anything can fail.
    pub fn settle(&self, file: &Path, bytes: &[u8]) {
        let mut state = self.state();
        if let Ok(content) = state.content(file) {
            (content.bytes, content.safe) = (bytes.to_vec(), bytes.to_vec());
        }
        if let Some(entry) = state.names.get(file).copied() {
            state.safe_names.insert(file.to_owned(), entry);
        }
    }

    /// What is left when the power comes back. Each name that was not synced is as before or as after; of what was written
    /// to a file since it was last synced, a part is there, the end of it torn.
    pub fn lose_power(&self) {
        let mut state = self.state();
        let all: BTreeSet<PathBuf> = state.names.keys().chain(state.safe_names.keys()).cloned().collect();
        let mut left = BTreeMap::new();
        for path in all {
            let (now, safe) = (state.names.get(&path).copied(), state.safe_names.get(&path).copied());
            let kept = if now != safe && self.machine.one_in(2) { now } else { safe };
            // What is in a folder that was never made durable went with it; parents come before their children.
            let reachable = path.parent().is_none_or(|parent| left.get(parent) == Some(&Entry::Folder));
            if let (Some(kept), true) = (kept, reachable) {
                left.insert(path, kept);
            }
        }
        for content in state.files.values_mut().filter(|content| content.bytes != content.safe) {
            content.bytes = self.torn(content);
            content.safe = content.bytes.clone();
        }
        (state.names, state.safe_names) = (left.clone(), left);
    }

    /// Loses a file for good.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.safe_names.remove(path);
    }

    fn torn(&self, content: &Content) -> Vec<u8> {
        let common = if content.bytes.starts_with(&content.safe) { content.safe.len() } else { 0 };
        let more = self.machine.below((content.bytes.len() - common) as u64 + 1) as usize;
        let mut torn = content.bytes[..common + more].to_vec();
        if more > 0 && self.machine.one_in(2) {
            // A sector that was being written.
            let at = common + self.machine.below(more as u64) as usize;
            torn[at..].iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        torn
    }

    /// All files below a folder, by name.
    pub fn below(&self, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        let files = state.names.iter().filter(|(path, _)| path.starts_with(folder));
        let content = |entry: &Entry| match entry {
            Entry::Folder => None,
            Entry::File(id) => state.files.get(id).map(|content| content.bytes.clone()),
        };
        files.filter_map(|(path, entry)| Some((path.clone(), content(entry)?))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The content of a file, which is made if it is not there.
    fn content(&mut self, file: &Path) -> io::Result<&mut Content> {
        let id = match self.names.get(file) {
            Some(Entry::File(id)) => *id,
            Some(Entry::Folder) => return Err(ErrorKind::IsADirectory.into()),
            None => {
                let parent = file.parent().unwrap_or(Path::new("/"));
                if self.names.get(parent) != Some(&Entry::Folder) {
                    return Err(ErrorKind::NotFound.into());
                }
                self.next += 1;
                self.names.insert(file.to_owned(), Entry::File(self.next));
                self.next
            }
        };
        Ok(self.files.entry(id).or_default())
    }

    fn file(&self, file: &Path) -> io::Result<&Content> {
        match self.names.get(file) {
            Some(Entry::File(id)) => self.files.get(id).ok_or_else(|| ErrorKind::NotFound.into()),
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Files for Disk {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.machine.touch()?;
        let half = bytes.len() / 2;
        self.state().content(file)?.bytes = bytes[..half].to_vec();
        if self.machine.one_in(self.machine.trouble().files_fail) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.machine.touch()?;
        self.state().content(file)?.bytes = bytes.to_vec();
        self.machine.touch()?;
        if self.machine.syncs().files {
            self.state().content(file)?.safe = bytes.to_vec();
        }
        Ok(())
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state().file(file)?.bytes.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine.touch()?;
        let mut state = self.state();
        let entry = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), entry);
        let bytes = state.file(to).map(|content| content.bytes.clone()).unwrap_or_default();
        drop(state);
        self.oracle.file_changed(to, Some(&bytes));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.machine.touch()?;
        let mut state = self.state();
        state.file(file)?;
        state.names.remove(file);
        drop(state);
        self.oracle.file_changed(file, None);
        Ok(())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.machine.touch()?;
        let mut state = self.state();
        if state.names.contains_key(folder) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let parent = folder.parent().unwrap_or(Path::new("/"));
        if state.names.get(parent) != Some(&Entry::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        state.names.insert(folder.to_owned(), Entry::Folder);
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.state().names.get(path) == Some(&Entry::Folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        if state.names.get(folder) != Some(&Entry::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(state.names.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn size(&self, file: &Path) -> io::Result<Option<u64>> {
        match self.state().file(file) {
            Ok(content) => Ok(Some(content.bytes.len() as u64)),
            Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.machine.touch()?;
        if self.machine.syncs().folders {
            let mut state = self.state();
            let State { names, safe_names, .. } = &mut *state;
            safe_names.retain(|path, _| path.parent() != Some(folder));
            let in_folder = names.iter().filter(|(path, _)| path.parent() == Some(folder));
            safe_names.extend(in_folder.map(|(path, entry)| (path.clone(), *entry)));
        }
        Ok(())
    }
}

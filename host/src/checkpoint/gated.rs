//! An object store in memory for tests, whose writes wait until the test lets them through.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

use super::store::Store;

/// What a store does with whatever is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Done,
    Paused,
    Refused,
}

/// A store in memory whose writes wait until the test lets them through.
#[derive(Debug)]
struct Gated {
    objects: InMemory,
    writes: watch::Receiver<Writes>,
    writers: Writers,
}

/// Who writes what.
#[derive(Debug, Clone)]
pub(super) struct Writers {
    /// How many write an object of that name now.
    now: Arc<Mutex<BTreeMap<Path, usize>>>,
    /// How many writes have begun.
    begun: watch::Sender<usize>,
    /// The most that have written an object of one name at once.
    most: watch::Sender<usize>,
}

impl Writers {
    /// Waits until so many writes have begun.
    pub(super) async fn have_begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        begun.wait_for(|begun| *begun >= count).await.expect("the sender is here");
    }

    /// The most that have written an object of one name at once.
    pub(super) fn most(&self) -> usize {
        *self.most.borrow()
    }

    fn begin(&self, at: &Path) {
        let mut now = self.now();
        let count = now.entry(at.clone()).or_default();
        *count += 1;
        let count = *count;
        self.most.send_modify(|most| *most = count.max(*most));
        self.begun.send_modify(|begun| *begun += 1);
    }

    fn end(&self, at: &Path) {
        if let Some(count) = self.now().get_mut(at) {
            *count -= 1;
        }
    }

    fn now(&self) -> MutexGuard<'_, BTreeMap<Path, usize>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store, what its writes wait for, and who writes.
pub(super) fn gated() -> (Store, watch::Sender<Writes>, Writers) {
    let (writes, word) = watch::channel(Writes::Done);
    let writers = Writers { now: Arc::default(), begun: watch::Sender::new(0), most: watch::Sender::new(0) };
    let gated = Gated { objects: InMemory::new(), writes: word, writers: writers.clone() };
    (Store::remote(Arc::new(gated), Path::from("all")), writes, writers)
}

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gated")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Gated {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.writers.begin(location);
        let mut writes = self.writes.clone();
        let word = writes.wait_for(|&word| word != Writes::Paused).await.map(|word| *word);
        let written = match word {
            Ok(Writes::Done) => self.objects.put_opts(location, payload, options).await,
            _ => Err(object_store::Error::Generic { store: "gated", source: "it refuses".into() }),
        };
        self.writers.end(location);
        written
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

//! What is left of a deployment that was being put together when whoever did it was cut off.

use futures_util::poll;

use super::*;
use crate::catalog::FileCatalog;
use crate::checkpoint::{Checkpoints, Store};
use crate::environment::System;
use crate::environment::busy::Busy;
use crate::files::SystemFiles;
use crate::ids::default_tenant;
use crate::log::memory::MemoryLog;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::plugin::{Sandbox, SandboxConfig};
use crate::state::{Room, STATE_MEMORY};

fn context(folder: &std::path::Path, busy: &Arc<Busy>) -> EngineContext {
    let machine = Arc::clone(busy) as _;
    let catalog = FileCatalog::open_on(Arc::new(SystemFiles), machine, folder.join("catalog")).expect("opened");
    let store = Store::open(&folder.join("checkpoints").display().to_string()).expect("opened");
    EngineContext {
        log: Arc::new(MemoryLog::default()),
        plugins: Arc::new(Sandbox::new(SandboxConfig::new(folder.join("artifacts"))).expect("a sandbox")),
        catalog: Arc::new(catalog),
        checkpoints: Checkpoints::new(store),
        room: Room { memory: STATE_MEMORY, disks: None },
        thresholds: Thresholds::default(),
        topics: Default::default(),
        trials: Default::default(),
        replays: Default::default(),
        environment: Arc::new(System),
    }
}

async fn staged(context: &EngineContext) -> (StagedDeployment, StoredPipeline) {
    let (tenant, name) = (default_tenant(), "views".parse().expect("a name"));
    let mut staged = StagedDeployment::new(context, &tenant, &name).await.expect("written");
    staged.place(Vec::new(), Bytes::new()).await.expect("committed");
    let stored = StoredPipeline {
        tenant,
        name,
        id: staged.id,
        manifest: String::new(),
        paused: false,
        digests: Default::default(),
        held: Default::default(),
        dropped_state: Default::default(),
        upgraded_from: None,
    };
    (staged, stored)
}

#[tokio::test]
async fn what_the_catalog_may_name_is_kept_by_whoever_is_cut_off() {
    let (folder, busy) = (tempfile::tempdir().expect("a folder"), Arc::new(Busy::free()));
    let context = context(folder.path(), &busy);
    let (mut staged, stored) = staged(&context).await;
    let task = (default_tenant(), staged.id.task());
    {
        let mut switch = std::pin::pin!(staged.switch(&stored, None));
        // Its intent is written, and the pipeline is about to be.
        while context.catalog.intents().iter().any(|(_, intent)| intent.purpose == Purpose::Stage) {
            assert!(poll!(&mut switch).is_pending(), "it is answered by another thread");
            tokio::task::yield_now().await;
        }
        busy.set(true);
        assert!(poll!(&mut switch).is_pending());
    }
    drop(staged);
    assert_eq!(context.log.tasks(), Ok(vec![task]), "the catalog may name it after a restart");
    busy.set(false);
    context.catalog.skip_pipeline_id(PipelineId(9)).await.expect("written");
    assert_eq!(context.catalog.pipelines(), [stored], "and it does");
}

#[tokio::test]
async fn what_the_catalog_never_named_is_forgotten_and_then_its_intent() {
    let (folder, busy) = (tempfile::tempdir().expect("a folder"), Arc::new(Busy::free()));
    let context = context(folder.path(), &busy);
    let (staged, _) = staged(&context).await;
    drop(staged);
    assert_eq!(context.log.tasks(), Ok(Vec::new()), "at once");
    // Nobody waits for it: it takes a few turns of this thread.
    for _ in 0..1000 {
        if context.catalog.intents().is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("its intent is left: {:?}", context.catalog.intents());
}

//! Ctrl-C and `kill`: the run is to end at its next step, so that the server's process and folder go with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Whether the run was asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on signals are noted instead of ending the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        let runtime = Builder::new_current_thread().enable_io().build().context("listen to signals")?;
        let (mut interrupted, mut terminated) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let note = Arc::clone(&raised);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                }
            });
            note.store(true, Ordering::Relaxed);
        });
        Ok(Self(raised))
    }

    /// Whether the run was asked to end.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if the run was asked to end.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_raised(), "interrupted");
        Ok(())
    }
}

//! State that goes through `migrate` of the versions that take it over.

use std::sync::Arc;

use super::TASK;
use crate::log::{Block, Commit, Log};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::migrating;
use crate::pipeline::io::runner::Runner;

/// Commits the state that the versions of one plan wrote as those of another want it. After an error
/// the state is as it was, though who ran the task before may have to begin anew.
pub(super) async fn take_over(from: &Plan, to: &Arc<Plan>, carry: &Carry, log: &dyn Log) -> Result<(), Error> {
    let wrote = from.steps().map(|step| (step.name.clone(), step.digest)).collect();
    let steps = migrating(to, &carry.wrote(&wrote));
    let mut live = Runner::replay(TASK, to, carry.clone(), log)?;
    if steps.is_empty() && !carry.rewrites() {
        return Ok(());
    }
    live.migrate(&steps).await?;
    // As a server does under a deployment of its own: nothing is left of what was.
    log.forget(&to.tenant, TASK)?;
    let sequence = 1;
    let commit = Commit {
        task: TASK,
        epoch: log.fence(&to.tenant, TASK).await?.epoch,
        sequence,
        positions: live.positions.into_iter().collect(),
        outputs: Vec::new(),
        block: Block::Some { bytes: live.machine.write_whole(sequence)?, oldest: sequence },
        usage: live.machine.usage_bytes(),
    };
    log.commit(&to.tenant, commit).await?;
    Ok(())
}

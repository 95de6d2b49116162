//! Letting a server come to rest, in which all that is asked of it has been done.

use std::time::Duration;

use millstream::ids::default_tenant;
use millstream::pipeline::status::{PipelineStatus, State};

use super::{Client, Server, deployed};
use crate::manifest::SOURCES;
use crate::operation::Operation;

impl Client {
    /// Heals everything, and waits until nothing is left to do: all is read, all run, and nobody commits any more.
    pub async fn come_to_rest(&self, server: &Server) {
        self.machine.note(|| "coming to rest".to_owned());
        self.machine.set_trouble(crate::machine::Trouble::default());
        for (name, _) in deployed(&*server.catalog).into_iter().filter(|(_, now)| now.paused) {
            self.perform(server, Operation::Resume(name)).await;
        }
        // Backoff of what failed before is over by then.
        tokio::time::sleep(Duration::from_secs(120)).await;
        for status in self.listed(server).await {
            let (State::Failed, Some(reason)) = (status.state, &status.reason) else { continue };
            let remade = self.oracle.remade(status.name.as_str());
            if !remade.is_empty() && matches!(reason.code.as_str(), "topic_recreated" | "topic_not_found") {
                // The way on that the error names.
                let places = remade.into_iter().map(|at| (at, 0)).collect();
                let rewound = self.rewind(server, status.name.as_str(), places).await;
                if let Err(error) = rewound {
                    let name = &status.name;
                    self.machine
                        .violation(format!("pipeline `{name}` cannot be rewound to a topic made again: {error}"));
                }
                continue;
            }
            self.machine
                .violation(format!("pipeline `{}` has failed: {}: {}", status.name, reason.code, reason.message));
        }
        for source in 0..SOURCES.len() {
            self.known().later(source, 3_600_000);
            self.perform(server, Operation::Produce(source, 12)).await;
        }
        let behind = |status: &PipelineStatus| {
            status.state != State::Running || status.inputs.iter().any(|input| input.position < input.end)
        };
        let mut waited = 0;
        let left = loop {
            let left: Vec<_> = self.listed(server).await.into_iter().filter(behind).collect();
            if left.is_empty() || waited > 600 {
                break left;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            waited += 1;
        };
        for status in left {
            let inputs: Vec<String> = status
                .inputs
                .iter()
                .map(|input| format!("{}/{} of {}", input.topic, input.position, input.end))
                .collect();
            self.machine.violation(format!(
                "pipeline `{}` does not come to rest: {:?} {:?} at {}",
                status.name,
                status.state,
                status.reason,
                inputs.join(", ")
            ));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let commits = self.oracle.commits();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let more = self.oracle.commits() - commits;
        if more > 0 {
            self.machine.violation(format!("{more} commits in ten minutes in which nothing came"));
        }
    }

    /// All pipelines, as a server shows them that is well.
    async fn listed(&self, server: &Server) -> Vec<PipelineStatus> {
        let listed = server.pipelines.list(&default_tenant()).await;
        self.machine.stay_on().await;
        listed.unwrap_or_else(|error| {
            self.machine.violation(format!("the pipelines cannot be listed: {error}"));
            Vec::new()
        })
    }
}

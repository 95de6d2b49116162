//! Loops among the pipelines of a tenant: records that return to a topic that they came from would circulate forever.
//!
//! Topics are what pipelines are joined by. A pipeline carries rows from each of its sources to each topic that it writes,
//! its dead letters and late rows among them. Reference tables carry nothing: a row of a table enters no step. A manifest is
//! checked against what is deployed, paused and failed pipelines too, and against what is being deployed: whoever comes
//! second of two that make a loop together is refused.
//!
//! The loop of one pipeline that its manifest bounds is none here: rounds are counted by the pipeline that writes and reads
//! them, so over several pipelines nothing would be bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::Pipelines;
use crate::ids::{PipelineName, TenantId, TopicName};
use crate::pipeline::Error;
use crate::pipeline::spec::Spec;

/// From where to where a pipeline carries rows.
#[derive(Debug, Clone)]
struct Flow {
    pipeline: PipelineName,
    sources: BTreeSet<TopicName>,
    targets: BTreeSet<TopicName>,
    /// The topic by which its rows may come round, a bounded number of times.
    feedback: Option<TopicName>,
}

impl From<&Spec> for Flow {
    fn from(spec: &Spec) -> Self {
        let (pipeline, targets) = (spec.name.clone(), spec.targets());
        let feedback = spec.feedback.as_ref().map(|feedback| feedback.topic.clone());
        Self { pipeline, sources: spec.sources.iter().cloned().collect(), targets, feedback }
    }
}

/// What is being deployed, by the order in which that began.
#[derive(Debug, Default)]
pub(super) struct Flows(Mutex<Claims>);

#[derive(Debug, Default)]
struct Claims {
    next: u64,
    flows: BTreeMap<u64, (TenantId, Flow)>,
}

/// Keeps a manifest among those that others are checked against, until what it describes is deployed or given up.
#[derive(Debug)]
pub(super) struct FlowClaim {
    pipelines: Pipelines,
    number: u64,
}

impl Drop for FlowClaim {
    fn drop(&mut self) {
        self.pipelines.0.flows.lock(|claims| claims.flows.remove(&self.number));
    }
}

impl Flows {
    fn lock<T>(&self, look: impl FnOnce(&mut Claims) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pipelines {
    /// Makes sure that a manifest closes no loop, and that none that comes after it does with it.
    pub(super) fn claim_flow(&self, tenant: &TenantId, spec: &Spec) -> Result<FlowClaim, Error> {
        let flow = Flow::from(spec);
        self.0.flows.lock(|claims| {
            // What this manifest replaces carries nothing any more.
            let others = self.list_specs(tenant).iter().map(|spec| Flow::from(&**spec)).collect::<Vec<_>>();
            let claimed = claims.flows.values().filter(|(of, _)| of == tenant).map(|(_, flow)| flow);
            let others: Vec<_> = others.iter().chain(claimed).filter(|other| other.pipeline != flow.pipeline).collect();
            if let Some(cycle) = find_cycle(&flow, &others) {
                return Err(Error::PipelineLoop { name: flow.pipeline.clone(), cycle });
            }
            let number = claims.next;
            claims.next += 1;
            claims.flows.insert(number, (tenant.clone(), flow.clone()));
            Ok(FlowClaim { pipelines: self.clone(), number })
        })
    }

    /// The manifests that are deployed.
    fn list_specs(&self, tenant: &TenantId) -> Vec<Arc<Spec>> {
        let entries = self.entries();
        // One that cannot be read does not run.
        entries.iter().filter(|((of, _), _)| of == tenant).filter_map(|(_, entry)| entry.spec().ok()).collect()
    }
}

/// The shortest way from what a pipeline writes back to what it reads, in words.
fn find_cycle(of: &Flow, others: &[&Flow]) -> Option<String> {
    let mut came_from: BTreeMap<&TopicName, (&TopicName, &PipelineName)> = BTreeMap::new();
    let mut waiting = VecDeque::new();
    for source in &of.sources {
        for target in &of.targets {
            if target == source && of.feedback.as_ref() != Some(target) {
                return Some(format!("topic `{source}` -> pipeline `{}` -> topic `{source}`", of.pipeline));
            }
            if !came_from.contains_key(target) {
                came_from.insert(target, (source, &of.pipeline));
                waiting.push_back(target);
            }
        }
    }
    while let Some(topic) = waiting.pop_front() {
        for other in others.iter().filter(|other| other.sources.contains(topic)) {
            for target in &other.targets {
                if of.sources.contains(target) {
                    return Some(in_words(of, &came_from, topic, (&other.pipeline, target)));
                }
                if !came_from.contains_key(target) {
                    came_from.insert(target, (topic, &other.pipeline));
                    waiting.push_back(target);
                }
            }
        }
    }
    None
}

/// A way through topics and pipelines. It begins and ends at the topic that is read.
fn in_words<'a>(
    of: &Flow,
    came_from: &BTreeMap<&'a TopicName, (&'a TopicName, &'a PipelineName)>,
    mut topic: &'a TopicName,
    (last, end): (&PipelineName, &TopicName),
) -> String {
    let mut parts = vec![format!("pipeline `{last}` -> topic `{end}`")];
    while let Some(&(before, pipeline)) = came_from.get(topic) {
        parts.push(format!("pipeline `{pipeline}` -> topic `{topic}`"));
        if *pipeline == of.pipeline {
            break;
        }
        topic = before;
    }
    parts.push(format!("topic `{end}`"));
    parts.reverse();
    parts.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(pipeline: &str, sources: &[&str], targets: &[&str]) -> Flow {
        let topics = |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect();
        Flow {
            pipeline: pipeline.parse().expect("a name"),
            sources: topics(sources),
            targets: topics(targets),
            feedback: None,
        }
    }

    fn cycle(of: &Flow, others: &[Flow]) -> Option<String> {
        find_cycle(of, &others.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_loop_is_named_topic_by_topic_and_pipeline_by_pipeline() {
        let others = [flow("b", &["y"], &["z"]), flow("c", &["z", "w"], &["v", "x"]), flow("d", &["y"], &["u"])];
        let named = cycle(&flow("a", &["s", "x"], &["y"]), &others).expect("a loop");
        let way = "topic `x` -> pipeline `a` -> topic `y` -> pipeline `b` -> topic `z` -> pipeline `c` -> topic `x`";
        assert_eq!(named, way);
        let own = cycle(&flow("a", &["x"], &["y", "x"]), &[]).expect("a loop");
        assert_eq!(own, "topic `x` -> pipeline `a` -> topic `x`");
    }

    #[test]
    fn a_bounded_loop_is_one_pipeline_s_alone() {
        let bounded = Flow { feedback: "m".parse().ok(), ..flow("a", &["x", "m"], &["m", "y"]) };
        let readers = [flow("b", &["m"], &["z"]), flow("c", &["w"], &["m"])];
        assert_eq!(cycle(&bounded, &readers), None);
        for reader in &readers {
            assert_eq!(cycle(reader, std::slice::from_ref(&bounded)), None);
        }
        let round = flow("d", &["m"], &["x"]);
        let named = cycle(&bounded, std::slice::from_ref(&round)).expect("a loop of two pipelines");
        assert_eq!(named, "topic `x` -> pipeline `a` -> topic `m` -> pipeline `d` -> topic `x`");
        assert!(cycle(&round, std::slice::from_ref(&bounded)).is_some());
        // Nor may another one write to the topic what comes of it.
        let beside = flow("d", &["y"], &["m"]);
        assert!(cycle(&bounded, std::slice::from_ref(&beside)).is_some());
        assert!(cycle(&beside, &[bounded]).is_some());
        let other = Flow { feedback: "y".parse().ok(), ..flow("a", &["x", "m", "y"], &["m", "y"]) };
        assert!(cycle(&other, &[]).is_some(), "the bound is of one topic");
    }

    #[test]
    fn what_only_joins_or_divides_is_no_loop() {
        let others = [flow("b", &["y"], &["z"]), flow("c", &["y"], &["z"]), flow("d", &["z"], &["end"])];
        assert_eq!(cycle(&flow("a", &["x"], &["y", "z"]), &others), None);
        // A loop of others is not this one's to answer for.
        let others = [flow("b", &["y"], &["z"]), flow("c", &["z"], &["y"])];
        assert_eq!(cycle(&flow("a", &["x"], &["y"]), &others), None);
    }
}

//! The server's HTTP interface as a client sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use millstream::pipeline::status::{PipelineStatus, State};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use crate::wait::until;

/// How long a call may take: more than any wait it asks for, and than compiling a plugin takes.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Records of one answer.
const PAGE: u64 = 10_000;

/// Where a server listens, which changes when it is restarted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoint(Arc<RwLock<String>>);

impl Endpoint {
    pub(crate) fn set(&self, address: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client of one server. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with a problem.
    #[error("{0}")]
    Refused(Refusal),
    /// There was no answer, or none that can be read: the server may or may not have done what was asked.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// A problem that the server answered with.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{status} {code}: {detail}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What is wrong, for a person.
    pub detail: String,
    /// All other output.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// The refusal of a call that must be refused.
pub fn refusal<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> anyhow::Result<Refusal> {
    match outcome {
        Err(CallError::Refused(refusal)) => Ok(refusal),
        other => anyhow::bail!("this should have been refused: {other:?}"),
    }
}

/// A topic as it is now.
#[derive(Debug, Clone, Deserialize)]
pub struct Topic {
    pub name: String,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A partition as it is now.
#[derive(Debug, Clone, Deserialize)]
pub struct Partition {
    /// The oldest record.
    pub start: u64,
    /// The offset that the next record gets.
    pub end: u64,
}

/// A record. Keys, values and headers of all tests are text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Record {
    pub partition: u32,
    pub offset: u64,
    /// Its event time.
    pub timestamp: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    /// Its headers.
    #[serde(default)]
    pub headers: Vec<(String, Option<String>)>,
}

impl Record {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name)?.1.as_deref()
    }

    /// The value as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        let value = self.value.as_deref().context("the record has no value")?;
        serde_json::from_str(value).with_context(|| format!("`{value}` is JSON"))
    }
}

#[derive(Deserialize)]
struct Page {
    records: Vec<Record>,
    next_offset: u64,
    end_offset: u64,
}

/// Where an append went.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Appended {
    pub(crate) duplicate: bool,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(CALL_TIMEOUT))
            .timeout_connect(Some(Duration::from_secs(5)))
            .build();
        Self { endpoint, agent: config.into() }
    }

    /// Where the server listens now.
    pub fn address(&self) -> String {
        self.endpoint.get()
    }

    /// Whether the server can do its work.
    pub fn health(&self) -> Result<(), CallError> {
        self.get::<Value>("/healthz").map(|_| ())
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), CallError> {
        let body = json!({ "name": name, "partitions": partitions });
        self.send::<Value>("POST", "/v1/topics", "application/json", body.to_string().as_bytes()).map(|_| ())
    }

    /// A topic as it is now.
    pub fn topic(&self, name: &str) -> Result<Topic, CallError> {
        self.get(&format!("/v1/topics/{name}"))
    }

    /// Records in all partitions of a topic; none if it does not exist.
    pub fn count(&self, topic: &str) -> anyhow::Result<u64> {
        match self.topic(topic) {
            Ok(topic) => Ok(topic.partitions.iter().map(|partition| partition.end - partition.start).sum()),
            Err(CallError::Refused(refusal)) if refusal.code == "topic_not_found" => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Uploads a component as a new version of a plugin.
    pub fn push(&self, name: &str, component: &[u8]) -> Result<Value, CallError> {
        self.send("POST", &format!("/v1/plugins?name={name}"), "application/wasm", component)
    }

    /// Uploads plugins of this workspace under their packages' names.
    pub fn push_plugins(&self, packages: &[&str]) -> anyhow::Result<()> {
        for package in packages {
            self.push(package, &std::fs::read(crate::component(package)?)?)?;
        }
        Ok(())
    }

    /// Deploys a pipeline.
    pub fn apply(&self, manifest: &str) -> Result<Value, CallError> {
        self.send("PUT", "/v1/pipelines", "application/toml", manifest.as_bytes())
    }

    /// The same, without trying it on samples.
    pub fn apply_untried(&self, manifest: &str) -> Result<Value, CallError> {
        self.send("PUT", "/v1/pipelines?untried=true", "application/toml", manifest.as_bytes())
    }

    /// The same, with the newest versions also of steps that stay at one since a rollback or restore.
    pub fn upgrade(&self, manifest: &str) -> Result<Value, CallError> {
        self.send("PUT", "/v1/pipelines?upgrade=true", "application/toml", manifest.as_bytes())
    }

    /// A pipeline as it is now.
    pub fn pipeline(&self, name: &str) -> Result<PipelineStatus, CallError> {
        self.get(&format!("/v1/pipelines/{name}"))
    }

    /// Waits until a pipeline runs and has read all of its input.
    pub fn drained(&self, pipeline: &str, limit: Duration) -> anyhow::Result<PipelineStatus> {
        let mut last = None;
        let drained = until(limit, "the pipeline to read all of its input", || {
            let status = self.pipeline(pipeline)?;
            let done = status.state == State::Running && status.inputs.iter().all(|input| input.position == input.end);
            last = Some(status.clone());
            Ok(done.then_some(status))
        });
        drained.with_context(|| format!("the pipeline is {last:?}"))
    }

    /// Writes records in JSON, one a line.
    pub fn produce_json(&self, topic: &str, lines: &str) -> Result<Value, CallError> {
        self.send("POST", &format!("/v1/topics/{topic}/records"), "application/x-ndjson", lines.as_bytes())
    }

    /// Appends record batches.
    pub(crate) fn append(&self, topic: &str, partition: u32, batches: &[u8]) -> Result<Appended, CallError> {
        let path = format!("/v1/topics/{topic}/partitions/{partition}/batches");
        self.send("POST", &path, "application/octet-stream", batches)
    }

    /// Appends bytes that need not be record batches.
    pub fn append_raw(&self, topic: &str, partition: u32, bytes: &[u8]) -> Result<(), CallError> {
        self.append(topic, partition, bytes).map(|_| ())
    }

    /// Records of a partition from an offset on, at most one answer's worth, and where to go on; waits for some.
    pub fn records(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        wait: Duration,
    ) -> Result<(Vec<Record>, u64), CallError> {
        let wait_ms = wait.as_millis();
        let path =
            format!("/v1/topics/{topic}/records?partition={partition}&offset={offset}&limit={PAGE}&wait_ms={wait_ms}");
        let page: Page = self.get(&path)?;
        Ok((page.records, page.next_offset))
    }

    /// All records of a topic, partition after partition.
    pub fn all_records(&self, topic: &str) -> anyhow::Result<Vec<Record>> {
        let mut all = Vec::new();
        for (partition, now) in (0..).zip(self.topic(topic)?.partitions) {
            let mut offset = now.start;
            while offset < now.end {
                let path = format!("/v1/topics/{topic}/records?partition={partition}&offset={offset}&limit={PAGE}");
                let page: Page = self.get(&path)?;
                anyhow::ensure!(page.next_offset > offset, "`{topic}` goes on after {offset} of {}", page.end_offset);
                all.extend(page.records);
                offset = page.next_offset;
            }
        }
        Ok(all)
    }

    /// Asks for JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let response = self.agent.get(format!("{}{path}", self.endpoint.get())).call();
        answer(response)
    }

    /// Sends a body and reads the answer as JSON.
    pub fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<T, CallError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.get()))
            .header("content-type", content_type)
            .body(body)
            .map_err(|error| CallError::NoAnswer(error.to_string()))?;
        answer(self.agent.run(request))
    }

    /// Waits until the server answers.
    pub fn answers(&self, limit: Duration) -> anyhow::Result<Duration> {
        let start = Instant::now();
        until(limit, "the server to answer", || Ok(self.health().is_ok().then_some(())))?;
        Ok(start.elapsed())
    }
}

fn answer<T: DeserializeOwned>(response: Result<Response<Body>, ureq::Error>) -> Result<T, CallError> {
    let no_answer = |error: ureq::Error| CallError::NoAnswer(error.to_string());
    let mut response = response.map_err(no_answer)?;
    let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(no_answer)?;
    let unreadable = |error: serde_json::Error| {
        CallError::NoAnswer(format!("{}: {error}: {}", response.status(), String::from_utf8_lossy(&bytes)))
    };
    if !response.status().is_success() {
        return Err(CallError::Refused(serde_json::from_slice(&bytes).map_err(unreadable)?));
    }
    serde_json::from_slice(&bytes).map_err(unreadable)
}

//! The HTTP API under `/v1`: JSON, record batches as they are, errors as problem details.
//!
//! Each file has the paths of one thing and the JSON types of its answers, which the command line reads with the same
//! types. There is no logic here: handlers read a request, call `log`, `catalog`, `plugin` or `pipeline`, and
//! write down the answer. `host/docs/api.md` describes every path.
//!
//! Who makes a request is decided in one place (`caller`). There is no access control yet: the server answers only its own
//! machine, and takes every request for one of its one tenant's owner.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::ids::{TenantId, TopicPartition};
use crate::log::{Appended, Durability, Log};
use crate::pipeline::Pipelines;
use crate::plugin::Sandbox;

mod batches;
mod body;
mod caller;
pub mod checkpoints;
mod connection;
pub mod dead_letters;
mod error;
mod extract;
mod listen;
pub mod operations;
mod orphans;
pub mod pipelines;
pub mod plugins;
mod problem;
mod reading;
pub mod records;
mod request;
pub mod server;
pub mod topics;

pub use error::Error;
pub use listen::listen;
pub use problem::{Details, Problem, TYPE_PREFIX};
pub use reading::ReadFrom;

/// What the API serves.
#[derive(Debug)]
pub struct Host {
    /// Topics and their records.
    pub log: Arc<dyn Log>,
    /// Plugins.
    pub catalog: Arc<dyn Catalog>,
    /// Where plugins are certified.
    pub sandbox: Sandbox,
    pub pipelines: Pipelines,
    /// The data folder, as it was given.
    pub folder: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// When the server started.
    pub started: Instant,
}

/// Bytes that may be checked between two turns of other requests: some 50 µs of work.
const LOOK_AT_BYTES_MAX: usize = 64 << 10;

/// What handlers share.
#[derive(Debug, Clone)]
struct App {
    host: Arc<Host>,
    budget: body::Budget,
    stop: watch::Receiver<bool>,
}

impl std::ops::Deref for App {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

/// Answers requests until told to stop.
pub async fn serve(host: Arc<Host>, listener: TcpListener, stop: watch::Receiver<bool>) {
    let app = App { host, budget: body::Budget::new(), stop: stop.clone() };
    connection::serve(listener, router(app), stop).await;
}

/// Ends when the server is told to stop, or nobody is left who could tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // What it answers holds a lock, which must not outlive this line.
    drop(stop.wait_for(|stop| *stop).await);
}

fn router(app: App) -> Router {
    let routes = routes().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(path_not_found)
        .layer(middleware::from_fn(request::admit))
        .with_state(app)
}

/// All paths. The first argument of each handler is an [`Authorized`](caller::Authorized) caller.
fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/healthz", get(server::health)),
        ("/v1/server", get(server::show)),
        ("/v1/topics", get(topics::list).post(topics::create)),
        ("/v1/topics/{topic}", get(topics::show).delete(topics::delete)),
        ("/v1/topics/{topic}/records", get(records::read).post(records::append)),
        ("/v1/topics/{topic}/partitions/{partition}/batches", get(batches::read).post(batches::append)),
        ("/v1/plugins", get(plugins::list).post(plugins::push)),
        ("/v1/plugins/{plugin}", get(plugins::show)),
        ("/v1/pipelines", get(pipelines::list).put(pipelines::apply)),
        ("/v1/pipelines/{pipeline}", get(pipelines::show).delete(pipelines::delete)),
        ("/v1/pipelines/{pipeline}/pause", post(pipelines::pause)),
        ("/v1/pipelines/{pipeline}/resume", post(pipelines::resume)),
        ("/v1/pipelines/{pipeline}/dead-letters", get(dead_letters::list)),
        ("/v1/pipelines/{pipeline}/checkpoints", get(checkpoints::list).post(checkpoints::take)),
        ("/v1/pipelines/{pipeline}/checkpoints/{checkpoint}", get(checkpoints::show).delete(checkpoints::delete)),
        ("/v1/pipelines/{pipeline}/checkpoints/{checkpoint}/verify", post(checkpoints::verify)),
        ("/v1/pipelines/{pipeline}/restore", post(checkpoints::restore)),
        ("/v1/pipelines/{pipeline}/rewind", post(checkpoints::rewind)),
        ("/v1/pipelines/{pipeline}/rollback", post(checkpoints::rollback)),
        ("/v1/orphans", get(orphans::list)),
        ("/v1/orphans/{deployment}", delete(orphans::discard)),
        ("/v1/orphans/{deployment}/adopt", post(orphans::adopt)),
        ("/v1/operations", get(operations::list)),
        ("/v1/operations/{operation}", get(operations::show)),
    ]
}

async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Problem::from(Error::MethodNotAllowed { method, path }).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

async fn path_not_found(request: Request) -> Problem {
    Error::PathNotFound { path: request.uri().path().to_owned() }.into()
}

/// A list, in an object so that fields can be added later.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct List<T> {
    /// What is listed.
    pub items: Vec<T>,
}

impl App {
    /// The whole body of a request.
    async fn body(&self, request: Request<Body>, limit: usize) -> Result<body::AdmittedBody, Error> {
        let (parts, body) = request.into_parts();
        self.budget.read(&parts.headers, body, limit).await
    }

    /// Appends batches. Checking them reads every byte, so large ones are checked on a blocking thread.
    async fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Result<Appended, Problem> {
        let large = batches.len() > LOOK_AT_BYTES_MAX;
        let pending = self.log.append(tenant, at, batches);
        if !large {
            return Ok(pending.await?);
        }
        let runtime = tokio::runtime::Handle::current();
        self.off_thread(move |_| runtime.block_on(pending)).await
    }

    /// Runs work that waits for the disk on a thread that may block.
    async fn off_thread<T, E>(&self, work: impl FnOnce(&Host) -> Result<T, E> + Send + 'static) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Send + 'static,
        Problem: From<E>,
    {
        let host = Arc::clone(&self.host);
        match tokio::task::spawn_blocking(move || work(&host)).await {
            Ok(result) => result.map_err(Problem::from),
            Err(error) => Err(Error::Fault { reason: error.to_string() }.into()),
        }
    }
}

/// The state of all handlers.
type Shared = State<App>;

#[cfg(test)]
mod tests;

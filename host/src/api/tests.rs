//! Who may ask for what: each path, as callers see it that may do nothing, or have another tenant.

use std::collections::BTreeSet;
use std::path::Path;

use axum::Extension;
use axum::http::Method;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::caller::{Caller, Role};
use super::*;
use crate::catalog::FileCatalog;
use crate::checkpoint::{Checkpoints, Store};
use crate::environment::System;
use crate::ids::default_tenant;
use crate::log::memory::MemoryLog;
use crate::pipeline::Thresholds;
use crate::plugin::SandboxConfig;
use crate::state::{Room, STATE_MEMORY};

/// Methods that a path may take.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

async fn app(folder: &Path) -> App {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
    let catalog: Arc<dyn Catalog> = Arc::new(FileCatalog::open(folder.join("catalog")).expect("a folder"));
    let sandbox = Sandbox::new(SandboxConfig::new(folder.join("artifacts"))).expect("a sandbox");
    let store = Store::open(&folder.join("checkpoints").display().to_string()).expect("a store");
    let pipelines = Pipelines::open(
        Arc::clone(&log),
        Arc::new(sandbox.clone()),
        Arc::clone(&catalog),
        Checkpoints::new(store),
        Room { memory: STATE_MEMORY, disks: None },
        Thresholds::default(),
        Arc::new(System),
    );
    let host = Host {
        log,
        catalog,
        sandbox,
        pipelines: pipelines.await.expect("there are none"),
        folder: folder.display().to_string(),
        durability: Durability::default(),
        started: Instant::now(),
    };
    App { host: Arc::new(host), budget: body::Budget::new(), stop: watch::channel(false).1 }
}

/// What a request of this caller is answered, nobody deciding who it is.
async fn ask(
    app: &App,
    (path, methods): (&str, MethodRouter<App>),
    caller: Option<Caller>,
    request: Request,
) -> (StatusCode, Value) {
    let mut router = Router::new().route(path, methods).with_state(app.clone());
    if let Some(caller) = caller {
        router = router.layer(Extension(caller));
    }
    let response = TowerToHyperService::new(router).call(request).await.expect("a router answers");
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("it is in memory");
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn request(method: &Method, path: &str, body: &Value) -> Request {
    let names = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    let request = Request::builder().method(method).uri(names.collect::<Vec<_>>().join("/"));
    request.body(Body::from(body.to_string())).expect("a request")
}

fn caller(tenant: &str, roles: impl Into<BTreeSet<Role>>) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), roles: roles.into() }
}

#[tokio::test]
async fn every_handler_asks_who_calls_and_what_they_may_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app(folder.path()).await;
    for (path, methods) in routes() {
        let mut taken = 0;
        for method in METHODS {
            let ask = async |caller| {
                let (status, problem) =
                    ask(&app, (path, methods.clone()), caller, request(&method, path, &Value::Null)).await;
                (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
            };
            let of_nobody = ask(None).await;
            if of_nobody.0 == 405 {
                continue;
            }
            taken += 1;
            assert_eq!(of_nobody, (401, "unauthenticated".to_owned()), "{method} {path} does not ask who calls");
            let roleless = ask(Some(caller("default", []))).await;
            assert_eq!(roleless, (403, "role_required".to_owned()), "{method} {path} can be done by anyone");
        }
        assert!(taken > 0, "{path} takes no method");
    }
}

/// What changes something needs more than to see it.
#[tokio::test]
async fn who_may_only_see_changes_nothing_and_reads_no_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app(folder.path()).await;
    for (path, methods) in routes() {
        for method in METHODS {
            let viewer = Some(caller("default", [Role::Viewer]));
            let (status, _) = ask(&app, (path, methods.clone()), viewer, request(&method, path, &Value::Null)).await;
            let has_records = ["/records", "/batches", "/dead-letters"].iter().any(|end| path.ends_with(end));
            if status != StatusCode::METHOD_NOT_ALLOWED {
                let sees = method == Method::GET && !has_records;
                assert_eq!(status != StatusCode::FORBIDDEN, sees, "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_is_about_the_tenant_of_who_makes_it_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let app = app(folder.path()).await;
    let ask = async |tenant: &str, method: Method, path: &str, body: Value| {
        let route = routes().into_iter().find(|(route, _)| *route == path).expect("there is this path");
        ask(&app, route, Some(caller(tenant, Role::ALL)), request(&method, path, &body)).await
    };
    let (status, _) = ask("acme", Method::POST, "/v1/topics", json!({ "name": "1" })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(app.log.topics(&default_tenant()).await.expect("in memory").is_empty());
    for (tenant, status, topics) in [("acme", 200, 1), ("default", 404, 0)] {
        assert_eq!(ask(tenant, Method::GET, "/v1/topics/{topic}", Value::Null).await.0, status, "{tenant}");
        let (_, listed) = ask(tenant, Method::GET, "/v1/topics", Value::Null).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(topics), "{tenant}");
        let (_, server) = ask(tenant, Method::GET, "/v1/server", Value::Null).await;
        assert_eq!(server["topics"], topics, "{tenant}");
    }
    let record = json!({ "value": "v" });
    let path = "/v1/topics/{topic}/records";
    assert_eq!(ask("default", Method::POST, path, record.clone()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask("acme", Method::POST, path, record).await.0, StatusCode::OK);
    assert_eq!(ask("default", Method::GET, path, Value::Null).await.0, StatusCode::NOT_FOUND);
    let (_, page) = ask("acme", Method::GET, path, Value::Null).await;
    assert_eq!(page["records"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask("default", Method::DELETE, "/v1/topics/{topic}", Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask("acme", Method::DELETE, "/v1/topics/{topic}", Value::Null).await.0, StatusCode::NO_CONTENT);
}

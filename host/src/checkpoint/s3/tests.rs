//! The store on a server that speaks as much of S3 as is needed.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::*;
use crate::checkpoint::Store;
use crate::error::Coded;

type Objects = Arc<Mutex<BTreeMap<String, Body>>>;

async fn answer(State(objects): State<Objects>, method: Method, uri: Uri, body: Body) -> Response {
    let query = uri.query().unwrap_or_default();
    let name = uri.path().trim_start_matches("/bucket").trim_start_matches('/').to_owned();
    let mut objects = objects.lock().expect("no test panics in here");
    let xml = |text: String| ([("content-type", "application/xml")], text).into_response();
    match method {
        Method::PUT => {
            objects.insert(name, body);
            [("etag", "\"1\"")].into_response()
        }
        Method::GET if query.contains("list-type=2") => {
            let asked = query.split('&').find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
            let prefix = asked.replace("%2F", "/");
            let found = objects.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(name, object)| {
                let size = object.len();
                format!(
                    "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size}</Size><ETag>1</ETag></Contents>"
                )
            });
            xml(format!("<ListBucketResult>{}</ListBucketResult>", found.collect::<String>()))
        }
        Method::GET => match objects.get(&name) {
            Some(object) => {
                let headers = [("etag", "\"1\""), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")];
                (headers, object.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::POST if query.starts_with("delete") => {
            let text = String::from_utf8_lossy(&body).into_owned();
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let gone = keys.map(|key| {
                objects.remove(key);
                format!("<Deleted><Key>{key}</Key></Deleted>")
            });
            xml(format!("<DeleteResult>{}</DeleteResult>", gone.collect::<String>()))
        }
        Method::DELETE => {
            objects.remove(&name);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

#[tokio::test]
async fn objects_go_to_a_bucket_and_come_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let objects = Objects::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&objects));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_region("here")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    let (bucket, prefix) = connect(settings, "s3://bucket/a/b", "bucket/a/b").expect("well formed");
    let store = Store::remote(bucket, prefix);

    assert_eq!(store.get("t/p/chunks/x").await.expect("answered"), None);
    store.put("t/p/chunks/x", Bytes::from_static(b"one")).await.expect("written");
    store.put("t/p/chunks/y", Bytes::from(vec![7; 1 << 20])).await.expect("written");
    store.put("t/p/checkpoints/1-1.json", Bytes::from_static(b"{}")).await.expect("written");
    assert!(objects.lock().expect("whole").contains_key("a/b/t/p/chunks/x"));
    assert_eq!(store.get("t/p/chunks/x").await.expect("answered"), Some(Bytes::from_static(b"one")));
    let listed = store.list("t/p/chunks").await.expect("answered");
    assert_eq!(listed, [("x".to_owned(), 3), ("y".to_owned(), 1 << 20)]);
    store.delete("t/p/chunks/x").await.expect("removed");
    store.delete("t/p/chunks/x").await.expect("removed already");
    assert_eq!(store.list("t/p/chunks").await.expect("answered").len(), 1);
    server.abort();
}

#[test]
fn a_location_that_is_none_is_refused_with_its_reason() {
    for (location, expected) in [
        ("s3://", "it names no bucket"),
        ("s3:///prefix", "it names no bucket"),
        ("gs://bucket", "`gs` is no kind of store"),
        ("s3://bucket/a//b", "empty path segment"),
    ] {
        let error = Store::open(location).map(drop).expect_err(location);
        assert_eq!(error.code(), "checkpoint_store_invalid");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

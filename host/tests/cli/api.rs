use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use millstream::log::batch::{self, EncodeOptions, Producer};
use millstream::record::Batch;
use serde_json::{Value, json};
use ureq::http::Request;

use crate::program::{PATIENCE, Server};

/// Sends a request and answers with status, headers of interest and body.
fn call(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = Request::builder().method(method).uri(format!("{}{path}", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match body.is_empty() {
        true => agent.run(request.body(()).unwrap()),
        false => agent.run(request.body(body).unwrap()),
    }
    .unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), content_type, response.body_mut().read_to_vec().unwrap())
}

fn refused(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let (status, content_type, body) = call(server, method, path, headers, body);
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(content_type, "application/problem+json", "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:millstream:error:{}", problem["code"].as_str().unwrap()));
    assert!(!problem["request_id"].as_str().unwrap().is_empty());
    problem
}

fn encoded(values: &[&str], producer: Option<Producer>) -> Vec<u8> {
    let mut rows = Batch::default();
    for value in values {
        rows.push(1, None, Some(value.as_bytes()));
    }
    batch::encode(rows.view(), &EncodeOptions { producer, ..EncodeOptions::default() }).to_vec()
}

#[test]
fn every_refusal_is_a_problem_with_a_code() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let large = vec![b' '; 5 << 10];
    let cases: [(&str, &str, &[u8], u16, &str); 13] = [
        ("GET", "/", b"", 404, "path_not_found"),
        ("GET", "/v1/nothing", b"", 404, "path_not_found"),
        ("DELETE", "/v1/topics", b"", 405, "method_not_allowed"),
        ("POST", "/v1/topics", b"{", 400, "invalid_request"),
        ("POST", "/v1/topics", br#"{"name":"x","partitons":2}"#, 400, "invalid_request"),
        ("POST", "/v1/topics", br#"{"name":"a/b"}"#, 400, "invalid_request"),
        ("POST", "/v1/topics", &large, 413, "body_too_large"),
        ("GET", "/v1/topics/a%20b", b"", 400, "invalid_request"),
        ("GET", "/v1/topics/t/records?ofset=1", b"", 400, "invalid_request"),
        ("GET", "/v1/topics/t/records?offset=9", b"", 400, "offset_out_of_range"),
        ("POST", "/v1/topics/t/records", br#"{"value":1}"#, 400, "invalid_request"),
        ("POST", "/v1/topics/t/partitions/0/batches", b"no batch", 400, "invalid_batch"),
        ("GET", "/v1/topics/t/records?partition=7", b"", 404, "partition_not_found"),
    ];
    for (method, path, body, status, code) in cases {
        let problem = refused(&server, method, path, &[], body);
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&json!(status), &json!(code)),
            "{method} {path}: {problem}"
        );
    }
    let problem = refused(&server, "POST", "/v1/topics", &[], &large);
    assert_eq!(problem["limit"], json!({ "name": "body_bytes", "limit": 4096, "used": 5120 }));
    let problem = refused(&server, "POST", "/v1/topics", &[], br#"{"name":"x","partitons":2}"#);
    assert!(problem["detail"].as_str().unwrap().contains("unknown field `partitons`"), "{problem}");
}

#[test]
fn pages_of_other_sites_are_refused() {
    let server = Server::start();
    for header in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let problem = refused(&server, "GET", "/v1/topics", &[header], b"");
        assert_eq!((&problem["status"], &problem["code"]), (&json!(403), &json!("foreign_origin")));
    }
}

#[test]
fn batches_come_back_as_they_were_sent_and_are_written_once() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let path = "/v1/topics/t/partitions/0/batches";
    let producer = Producer { id: 7, epoch: 0, base_sequence: 0 };
    let sent = encoded(&["a", "b"], Some(producer));
    let append = |body: &[u8]| {
        let (status, _, answer) = call(&server, "POST", path, &[], body);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice::<Value>(&answer).unwrap()
    };
    assert_eq!(append(&sent), json!({ "base_offset": 0, "next_offset": 2, "duplicate": false }));
    assert_eq!(append(&sent), json!({ "base_offset": 0, "next_offset": 2, "duplicate": true }));
    let hole = encoded(&["x"], Some(Producer { base_sequence: 9, ..producer }));
    let problem = refused(&server, "POST", path, &[], &hole);
    assert_eq!((&problem["status"], &problem["code"]), (&json!(409), &json!("out_of_order_sequence")));
    let mut flipped = sent.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&server, "POST", path, &[], &flipped)["code"], "invalid_batch");

    let (status, content_type, read) = call(&server, "GET", &format!("{path}?offset=0"), &[], b"");
    assert_eq!((status, content_type.as_str()), (200, "application/octet-stream"));
    assert_eq!(read, sent);
}

#[test]
fn an_oversize_record_and_an_oversize_append_name_their_limits() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let line = serde_json::to_vec(&json!({ "value": "x".repeat((1 << 20) + 1) })).unwrap();
    let problem = refused(&server, "POST", "/v1/topics/t/records", &[], &line);
    assert_eq!((&problem["status"], &problem["code"]), (&json!(413), &json!("record_too_large")));
    assert_eq!(problem["limit"], json!({ "name": "record_bytes", "limit": 1 << 20, "used": (1 << 20) + 1 }));
    let (status, _, _) = call(&server, "POST", "/v1/topics/t/records", &[], br#"{"value":"after"}"#);
    assert_eq!((status, server.values("t")), (200, vec!["after".to_owned()]));
}

#[test]
fn a_reader_that_waits_gets_a_record_when_it_comes() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    std::thread::scope(|scope| {
        let path = "/v1/topics/t/records?offset=0&wait_ms=30000";
        let reader = scope.spawn(|| call(&server, "GET", path, &[], b""));
        server.feed(&["topic", "produce", "t"], b"late").ok();
        let (_, _, page) = reader.join().unwrap();
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!((&page["records"][0]["value"], &page["next_offset"]), (&json!("late"), &json!(1)));
    });
}

#[test]
fn clients_that_never_finish_their_requests_do_not_keep_others_from_theirs() {
    let server = Server::start();
    let address = server.url.trim_start_matches("http://");
    let stuck: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"POST /v1/topics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").unwrap();
            stream
        })
        .collect();
    server.run(&["topic", "create", "t"]).ok();
    assert_eq!(stuck.len(), 200);
}

#[test]
fn a_body_that_stops_coming_is_answered_and_cut_off() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"POST /v1/topics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("body_timeout"), "{answer}");
}

#[test]
fn the_server_says_what_it_is_and_has() {
    let server = Server::start();
    server.run(&["topic", "create", "t"]).ok();
    let (_, _, info) = call(&server, "GET", "/v1/server", &[], b"");
    let info: Value = serde_json::from_slice(&info).unwrap();
    assert_eq!((&info["topics"], &info["durability"]), (&json!(1), &json!("fsync")));
    assert_eq!(info["pid"], server.process.id());
    assert!(info["resident_bytes"].as_u64().is_none_or(|bytes| bytes > 1 << 20), "{info}");
    let (status, _, _) = call(&server, "GET", "/healthz", &[], b"");
    assert_eq!(status, 200);
    assert!(Duration::from_millis(info["uptime_ms"].as_u64().unwrap()) < PATIENCE);
}

//! Access control, and the HTTP API.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use bevy_convex_replicate::backend::{Backend, BackendConfig, BackendError};
use convex::{AuthenticationToken, ConvexClient, Value};
use serde_json::json;

use crate::support::*;

fn guarded() -> Backend {
    Backend::start(BackendConfig::new().token("open sesame").allow_origin("http://localhost:5173")).unwrap()
}

/// Makes one HTTP request. Returns the status and everything after the head of the answer.
fn http(backend: &Backend, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(backend.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str("host: test\r\n");
    }
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{request}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn call(backend: &Backend, path: &str, headers: &[(&str, &str)], body: serde_json::Value) -> serde_json::Value {
    let (status, _, body) = http(backend, "POST", path, headers, &body.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn connect(backend: &Backend, token: Option<&'static str>) -> ConvexClient {
    let mut client = client(backend).await;
    if let Some(token) = token {
        client
            .set_auth_callback(Some(Box::new(move |_| {
                Box::pin(async move { Ok(AuthenticationToken::User(token.to_owned())) })
            })))
            .await;
    }
    client
}

#[tokio::test]
async fn only_a_valid_token_gives_access() {
    let backend = guarded();
    let mut stranger = connect(&backend, None).await;
    let data = refused(query(&mut stranger, "tasks:pullDeltas", [("checkpoint", start())]).await);
    assert_eq!(text(field(&data, "code")), "unauthenticated");
    let mut task = Writer::new("t1");
    task.put("n", 1);
    let documents = Value::Array(vec![task.document(None)]);
    let data = refused(mutate(&mut stranger, "tasks:pushChanges", [("documents", documents.clone())]).await);
    assert_eq!(text(field(&data, "code")), "unauthenticated");
    assert!(backend.rows("tasks").is_empty());

    let mut friend = connect(&backend, Some("open sesame")).await;
    ok(mutate(&mut friend, "tasks:pushChanges", [("documents", documents)]).await);
    assert_eq!(pull_all(&mut friend, "tasks", 10.0).await.len(), 1);
}

#[test]
fn only_a_loopback_address_may_be_served_without_a_token() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = Backend::start(BackendConfig::new().listen(address)).err().unwrap();
        assert!(matches!(error, BackendError::TokenNeeded { .. }), "{error}");
        assert!(error.to_string().contains(address) && error.to_string().contains("token"));
    }
    let usual = Backend::start(BackendConfig::new()).unwrap();
    assert!(usual.address().ip().is_loopback(), "{}", usual.address());
    let error = Backend::start(BackendConfig::new().token("")).err().unwrap();
    assert!(matches!(error, BackendError::TokenEmpty));
    let backend = Backend::start(BackendConfig::new().listen("0.0.0.0:0").token("t")).unwrap();
    let error = Backend::start(BackendConfig::new().listen(format!("127.0.0.1:{}", backend.address().port()))).err();
    assert!(matches!(error, Some(BackendError::AddressInUse { .. })), "{error:?}");
    let error = Backend::start(BackendConfig::new().listen("nonsense")).err().unwrap();
    assert!(matches!(error, BackendError::Address { .. }), "{error}");
    assert!(!format!("{:?}", BackendConfig::new().token("secret")).contains("secret"));
}

#[test]
fn web_pages_have_access_only_from_allowed_origins() {
    let backend = guarded();
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    for path in ["/api/sync", "/api/1.24.0/sync", "/version", "/api/query"] {
        let (status, _, body) =
            http(&backend, "GET", path, &[&upgrade[..], &[("origin", "http://evil.example")]].concat(), "");
        assert_eq!(status, 403, "{path}: {body}");
    }
    let (status, head, _) = http(&backend, "GET", "/version", &[("origin", "http://localhost:5173")], "");
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: http://localhost:5173"), "{head}");
    let asking = [("origin", "http://localhost:5173"), ("access-control-request-headers", "content-type,x-anything")];
    let (status, head, _) = http(&backend, "OPTIONS", "/api/query", &asking, "");
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-headers: content-type,x-anything"), "{head}");
    assert!(head.contains("access-control-max-age: 86400"), "{head}");
}

#[test]
fn a_web_page_whose_name_leads_to_this_machine_reads_nothing() {
    // Such a page needs no other origin, so the browser sends no `Origin` with its GET.
    let open = crate::support::backend();
    let path = "/api/query?path=tasks%3AchangeStream&args=%7B%7D";
    for (host, expected) in [("evil.example:3210", 403), ("127.0.0.1:3210", 200), ("localhost:3210", 200)] {
        for path in [path, "/metrics"] {
            let (status, _, body) = http(&open, "GET", path, &[("host", host)], "");
            assert_eq!(status, if expected == 403 && path == "/metrics" { 401 } else { expected }, "{host}: {body}");
        }
    }
    let guarded = guarded();
    let token = ("authorization", "Bearer open sesame");
    assert_eq!(http(&guarded, "GET", path, &[("host", "sync.example.org"), token], "").0, 200);
    assert_eq!(http(&guarded, "GET", "/metrics", &[("host", "evil.example")], "").0, 401);
    assert_eq!(http(&guarded, "GET", "/metrics", &[("host", "sync.example.org"), token], "").0, 200);
}

#[tokio::test]
async fn an_allowed_web_page_may_use_the_socket_but_needs_the_token() {
    use tokio_tungstenite::tungstenite::{client::IntoClientRequest, http::HeaderValue};
    let backend = guarded();
    let url = format!("ws://{}/api/1.24.0/sync", backend.address());
    for (origin, is_allowed) in [
        ("http://localhost:5173", true),
        ("http://localhost:5173.evil.example", false),
        ("http://localhost", false),
        ("null", false),
    ] {
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        let connected = tokio_tungstenite::connect_async(request).await;
        assert_eq!(connected.is_ok(), is_allowed, "{origin}");
    }
    // An allowed origin is not enough: without the token the request is refused.
    let asked = json!({ "path": "tasks:changeStream", "args": {} });
    let origin = [("origin", "http://localhost:5173")];
    let answer = call(&backend, "/api/query", &origin, asked);
    assert_eq!(answer["errorData"]["code"], "unauthenticated", "{answer}");
}

#[test]
fn preflights_and_calls_from_other_origins_are_refused() {
    let backend = guarded();
    let asked = json!({ "path": "tasks:changeStream", "args": {} }).to_string();
    let evil = [("origin", "http://evil.example"), ("authorization", "Bearer open sesame")];
    let preflight = [("origin", "http://evil.example"), ("access-control-request-method", "POST")];
    for (method, path, headers, body) in [
        ("OPTIONS", "/api/query", &preflight, ""),
        ("OPTIONS", "/api/mutation", &preflight, ""),
        ("POST", "/api/query", &evil, &*asked),
        ("POST", "/api/mutation", &evil, &*asked),
    ] {
        let (status, head, answer) = http(&backend, method, path, headers, body);
        assert_eq!(status, 403, "{method} {path}: {answer}");
        assert!(!head.contains("access-control-allow"), "{head}");
    }
    // A backend without allowed origins allows none.
    let closed = crate::support::backend();
    let (status, ..) = http(&closed, "POST", "/api/query", &[("origin", "http://localhost:5173")], &asked);
    assert_eq!(status, 403);
}

/// Runs the program with its most detailed log, and returns its output.
#[tokio::test]
async fn the_most_detailed_log_contains_no_token() {
    const SECRET: &str = "correct-horse-battery-staple";
    const WRONG: &str = "incorrect-donkey-capacitor-paperclip";
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_replicate-backend"))
        .args(["--listen", "127.0.0.1:0"])
        .env("REPLICATE_TOKEN", SECRET)
        .env("RUST_LOG", "trace")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = program.stderr.take().unwrap();
    let logged = std::thread::spawn(move || {
        let mut all = Vec::new();
        err.read_to_end(&mut all).unwrap();
        String::from_utf8_lossy(&all).into_owned()
    });
    let mut out = std::io::BufReader::new(program.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut out, &mut first).unwrap();
    let address = first.trim().strip_prefix("listening on http://").unwrap().to_owned();

    let mut task = Writer::new("t1");
    task.put("n", 1);
    let documents = Value::Array(vec![task.document(None)]);
    for (token, is_right) in [(SECRET, true), (WRONG, false)] {
        let mut friend = client_of(&format!("http://{address}")).await;
        friend
            .set_auth_callback(Some(Box::new(move |_| {
                Box::pin(async move { Ok(AuthenticationToken::User(token.to_owned())) })
            })))
            .await;
        if is_right {
            ok(mutate(&mut friend, "tasks:pushChanges", [("documents", documents.clone())]).await);
        }
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let asked = json!({ "path": "tasks:changeStream", "args": {} }).to_string();
        write!(
            stream,
            "POST /api/query HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{asked}",
            asked.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.contains(" 200 "), is_right, "{answer}");
        // The same holds over the socket, with the same words.
        let url = format!("ws://{address}/api/1.24.0/sync");
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let message = json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token });
        futures::SinkExt::send(&mut socket, message.to_string().into()).await.unwrap();
        let reply = futures::StreamExt::next(&mut socket).await.unwrap().unwrap().to_string();
        assert_eq!(reply.contains("AuthError"), !is_right, "{reply}");
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let mut said = first;
    out.read_to_string(&mut said).unwrap();
    let logged = logged.join().unwrap();
    assert!(logged.contains("TRACE"), "it was not talkative: {logged}");
    for secret in [SECRET, WRONG] {
        let place = logged.lines().find(|line| line.contains(secret));
        assert_eq!(place, None, "a token was logged");
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn http_calls_are_answered_as_by_convex() {
    let backend = backend();
    let (status, _, version) = http(&backend, "GET", "/version", &[], "");
    assert_eq!((status, version.as_str()), (200, env!("CARGO_PKG_VERSION")));

    let mut task = Writer::new("t1");
    task.put("text", "by post");
    let documents = serde_json::Value::from(Value::Array(vec![task.document(None)]));
    // The official client wraps the arguments in an array.
    let answer = call(
        &backend,
        "/api/mutation",
        &[],
        json!({
            "path": "tasks:pushChanges", "args": [{ "documents": documents }], "format": "convex_encoded_json",
        }),
    );
    assert_eq!(answer["status"], "success", "{answer}");
    assert_eq!(answer["value"]["results"], json!([{ "id": "t1", "status": "accepted" }]));
    assert!(answer.get("logLines").is_none(), "{answer}");

    let checkpoint = json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 });
    let asked = json!({ "path": "tasks:pullDeltas", "args": { "checkpoint": checkpoint }, "format": "json" });
    let answer = call(&backend, "/api/query", &[], asked);
    assert_eq!(answer["value"]["deltas"][0]["id"], "t1", "{answer}");
    assert!(answer["value"]["deltas"][0]["ts"].is_string(), "int64 as JSON: {answer}");

    let answer = call(&backend, "/api/query", &[], json!({ "path": "tasks:pullDeltas", "args": {} }));
    assert_eq!(answer["status"], "error");
    assert!(answer["errorMessage"].as_str().unwrap().starts_with("ArgumentValidationError"), "{answer}");
    let args = json!({ "collectionName": "tasks", "documentId": "nobody" });
    let answer = call(&backend, "/api/mutation", &[], json!({ "path": "tasks:deleteDocument", "args": args }));
    assert_eq!(answer["errorData"]["code"], "unknownDocument", "{answer}");

    let (status, ..) = http(&backend, "POST", "/api/query", &[], "not json");
    assert_eq!(status, 400);
    let asked = json!({ "path": "tasks:changeStream", "args": {} }).to_string();
    let (status, _, body) = http(&backend, "POST", "/api/query", &[("content-type", "text/plain")], &asked);
    assert_eq!(status, 400, "a page may send such a body without asking: {body}");
    let batch =
        |count| json!({ "queries": vec![json!({ "path": "tasks:changeStream", "args": {} }); count] }).to_string();
    let (status, _, body) = http(&backend, "POST", "/api/query_batch", &[], &batch(1_024));
    assert_eq!(status, 200, "{body}");
    let (status, _, body) = http(&backend, "POST", "/api/query_batch", &[], &batch(1_025));
    assert!(status == 400 && body.contains("BatchTooLarge"), "{status} {body}");
    let (status, ..) = http(&backend, "POST", "/api/mutation", &[("content-length", "17000000")], "");
    assert!(status == 413 || status == 400, "{status}");
}

#[tokio::test]
async fn a_query_at_an_earlier_commit_is_answered_as_it_was_then() {
    let backend = backend();
    let asked = json!({ "path": "tasks:changeStream", "args": {} });
    let at = |ts: &serde_json::Value| {
        let mut asked = asked.clone();
        asked["ts"] = ts.clone();
        call(&backend, "/api/query_at_ts", &[], asked)["value"].clone()
    };
    let mut client = client(&backend).await;
    let mut seen = Vec::new();
    for id in ["t1", "t2", "t3"] {
        let mut task = Writer::new(id);
        task.put("n", 1);
        accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
        let ts = call(&backend, "/api/query_ts", &[], json!({}))["ts"].clone();
        seen.push((ts, call(&backend, "/api/query", &[], asked.clone())["value"].clone()));
    }
    for (ts, then) in &seen {
        assert_eq!(&at(ts), then);
    }
    assert_eq!(seen[1].1["count"], 2.0);
}

#[test]
fn http_calls_need_the_token_too() {
    let backend = guarded();
    let asked = json!({ "path": "tasks:changeStream", "args": {} });
    let answer = call(&backend, "/api/query", &[], asked.clone());
    assert_eq!(answer["errorData"]["code"], "unauthenticated", "{answer}");
    let (status, ..) =
        http(&backend, "POST", "/api/query", &[("authorization", "Bearer open sesam")], &asked.to_string());
    assert_eq!(status, 401);
    let answer = call(&backend, "/api/query", &[("authorization", "Bearer open sesame")], asked);
    assert_eq!(answer["status"], "success", "{answer}");
}

#[test]
fn one_socket_carries_large_requests_one_after_another() {
    let backend = Backend::start(BackendConfig::new().token("open sesame")).unwrap();
    let address = backend.url().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = format!("{{\"path\":\"notes:nothing\",\"args\":{{\"x\":\"{}\"}}}}", "x".repeat(1_000_000));
    let head = format!(
        "POST /api/query HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer open sesame\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // The library's buffer grows with the first ones: then a request and much of its body come in one piece.
    for _ in 0..5 {
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.contains("\r\n\r\n") || !answer.trim_end().ends_with('}') {
            let mut piece = [0; 4096];
            let length = socket.read(&mut piece).unwrap();
            assert!(length > 0, "the backend ended the connection: {answer}");
            answer += &String::from_utf8_lossy(&piece[..length]);
        }
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
}

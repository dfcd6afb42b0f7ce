//! Hostile bytes to the port of the embedded backend: HTTP, invalid HTTP, and other data.

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{backend::BACKEND, corpus, memory, mutate, panics, peer};

/// The memory that a case may use.
const PEAK: usize = 32 * 1024 * 1024;

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

fn valid() -> Vec<Vec<u8>> {
    vec![
        post("/api/query", r#"{"path":"tasks:pullDeltas","args":[{"checkpoint":{"ts":{"$integer":"AAAAAAAAAAA="},"ordinal":0.0}}],"format":"convex_encoded_json"}"#),
        post("/api/mutation", r#"{"path":"tasks:pushChanges","args":[{"documents":[{"id":"h","changes":[{"bytes":{"$bytes":"hW9KgwAAAAABAA=="}}]}]}],"format":"json"}"#),
        post("/api/mutation", r#"{"path":"tasks:deleteDocument","args":{"collectionName":"tasks","documentId":"h"}}"#),
        post("/api/query_at_ts", r#"{"path":"tasks:pullChanges","args":{"collectionName":"tasks","checkpoint":{"lastModified":0}},"ts":"AAAAAAAAAAA="}"#),
        post("/api/query_batch", r#"{"queries":[{"path":"tasks:changeStream","args":{}},{"path":"tasks:changeStream","args":[{}],"format":"export_json"}]}"#),
        post("/api/run/tasks/deleteDocument", r#"{"args":{"collectionName":"tasks","documentId":"h"}}"#),
        b"GET /api/query?path=tasks%3AchangeStream&args=%7B%7D&format=json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /api/sync HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\x01\x02\x03\x04aaaaa".to_vec(),
        b"OPTIONS /api/query HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /api/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n".to_vec(),
        b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n{".to_vec(),
    ]
}

/// Sends the bytes and half-closes the connection. It must be answered or closed, and other clients must be served.
fn survives(bytes: &[u8]) {
    let before = panics::ours().len();
    peer::run(async {
        let peak = memory::Peak::start();
        let mut stream = TcpStream::connect(BACKEND.address()).await.expect("the backend takes connections");
        // The backend may close the connection while the test writes.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = peer::within("an answer or the end", stream.read_to_end(&mut answer)).await;
        drop(stream);
        let taken = peak.bytes();
        // The rows that this stores stay and make tables grow in steps. This memory does not belong to the case.
        peer::is_well(&BACKEND).await;
        assert!(taken < PEAK + 64 * bytes.len(), "{taken} bytes for {}", bytes.len());
    });
    assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
}

proptest! {
    #![proptest_config(crate::cases(60, "../hostile/proptest-regressions/http.txt"))]

    #[test]
    fn a_mutated_request_is_answered_or_refused(which in any::<usize>(), mutations in mutate::mutations(5)) {
        let _alone = memory::alone();
        panics::watch();
        let valid = valid();
        let request = mutate::apply(&valid[which % valid.len()], &mutations);
        crate::fed("http requests", request.len());
        survives(&request);
    }
}

#[test]
fn requests_of_the_corpus_are_survived() {
    let _alone = memory::alone();
    panics::watch();
    if std::env::var_os("HOSTILE_KEEP").is_some() {
        valid()
            .iter()
            .enumerate()
            .for_each(|(number, bytes)| corpus::keep("http", &format!("valid-{number:02}"), bytes));
    }
    for (name, bytes) in corpus::files("http") {
        println!("http/{name}");
        survives(&bytes);
    }
}

#[test]
fn a_call_of_a_path_that_is_cut_within_a_letter_is_refused() {
    let _alone = memory::alone();
    panics::watch();
    survives(&post("/api/query", &format!(r#"{{"path":"x{}:pullDeltas","args":[{{}}]}}"#, "é".repeat(60))));
}

//! Many connections, some of them hostile. `benches/load.rs` measures the speed; these tests check properties that hold
//! at any speed.

use std::time::Duration;

use bevy_convex_replicate::backend::{Backend, BackendConfig};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    chunks, memory, panics,
    peer::{self, DEADLINE, Peer, within},
};

/// Short enough to wait for, and long enough for a healthy client on a slow machine to answer a ping.
const PATIENCE: Duration = Duration::from_secs(3);

fn start() -> Backend {
    Backend::start(BackendConfig::new().patience(PATIENCE)).expect("a backend in memory starts")
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    panics::watch();
    memory::alone()
}

/// A document with this many bytes.
fn large(bytes: usize) -> Vec<Vec<u8>> {
    let mut document = automerge::AutoCommit::new();
    automerge::transaction::Transactable::put(&mut document, automerge::ROOT, "raw", vec![7_u8; bytes]).unwrap();
    chunks::changes(&mut document)
}

/// Waits until this many connections are open.
async fn connections(backend: &Backend, count: usize) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while backend.stats().connections != count {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} connections instead of {count}",
            backend.stats().connections
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_reader_that_stops_is_disconnected_and_uses_little_memory_until_then() {
    let _alone = alone();
    let backend = start();
    peer::run(async {
        let mut slow = Vec::new();
        for _ in 0..8 {
            let mut peer = Peer::connect(&backend).await;
            assert!(peer.subscribe("tasks", None).await);
            // The client reads the first result and nothing after it.
            peer.next().await.expect("the first result");
            slow.push(peer);
        }
        let mut healthy = Peer::connect(&backend).await;
        let peak = memory::Peak::start();
        let mut pushed = 0;
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while backend.stats().connections > 1 {
            assert!(tokio::time::Instant::now() < deadline, "the slow connections are still open");
            pushed += 1;
            assert!(
                healthy.push("tasks", None, &format!("d{pushed}"), &large(100_000)).await,
                "a healthy push is accepted"
            );
        }
        // The log itself grows. In addition there are two results for each slow reader, as values, as JSON and as text.
        let taken = peak.bytes() - (pushed * 120_000).min(peak.bytes());
        assert!(taken < 8 * 24 * 1024 * 1024, "{taken} bytes beside {pushed} documents");
        assert_eq!(backend.rows("tasks").len(), pushed);
        drop(slow);
    });
}

#[test]
fn connections_that_end_without_a_message_are_detected() {
    let _alone = alone();
    let backend = start();
    peer::run(async {
        // These connections neither read nor write after connecting. For one, the kernel still acknowledges packets;
        // for the other, it does not.
        let mut half_open = Vec::new();
        for number in 0..6 {
            let peer = Peer::connect(&backend).await;
            if number % 2 == 0 {
                peer.vanish();
            }
            half_open.push(peer);
        }
        connections(&backend, 6).await;
        connections(&backend, 0).await;
        // A client that only is quiet answers pings while it is read, and stays connected.
        let mut quiet = Peer::connect(&backend).await;
        let mut watching = Peer::connect(&backend).await;
        assert!(quiet.subscribe("tasks", None).await);
        quiet.next().await.expect("the first result");
        let listening = tokio::spawn(async move { quiet.next().await });
        let until = tokio::time::Instant::now() + 2 * PATIENCE;
        let mut number = 0;
        while tokio::time::Instant::now() < until {
            number += 1;
            assert!(
                watching
                    .push("others", None, &format!("d{number}"), &chunks::changes(&mut chunks::counter(number)))
                    .await
            );
        }
        assert!(watching.push("tasks", None, "news", &chunks::changes(&mut chunks::counter(1))).await);
        let news = within("news for the quiet one", listening).await.unwrap().expect("it is still connected");
        assert_eq!(news["modifications"][0]["value"]["deltas"][0]["id"], "news");
    });
}

#[test]
fn a_socket_that_does_not_finish_its_request_is_closed() {
    let _alone = alone();
    let backend = start();
    peer::run(async {
        let mut silent = TcpStream::connect(backend.address()).await.unwrap();
        let mut halfway = TcpStream::connect(backend.address()).await.unwrap();
        halfway.write_all(b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{").await.unwrap();
        let mut trickling = TcpStream::connect(backend.address()).await.unwrap();
        let mut trickle = async || {
            // One letter of a header at a time: the header is never too long and never complete.
            while trickling.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        for stream in [&mut silent, &mut halfway] {
            let mut rest = Vec::new();
            let _ = within("the end of a socket", stream.read_to_end(&mut rest)).await;
        }
        within("the end of a trickle", trickle()).await;
        peer::is_well(&backend).await;
    });
}

#[test]
fn an_oversized_message_ends_its_connection_unread() {
    let _alone = alone();
    let backend = start();
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        let peak = memory::Peak::start();
        // The header of a frame of a gigabyte, and a small part of the frame.
        let mut raw = TcpStream::connect(backend.address()).await.unwrap();
        raw.write_all(b"GET /api/sync HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await.unwrap();
        raw.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]).await.unwrap();
        let mut rest = Vec::new();
        let _ = within("the end of the connection", raw.read_to_end(&mut rest)).await;
        assert!(peak.bytes() < 1 << 20, "{}", peak.bytes());
        let text = "x".repeat(16 * 1024 * 1024 + 1);
        peer.send(Message::text(text)).await;
        assert_eq!(peer.next().await, None);
        peer::is_well(&backend).await;
    });
}

#[test]
fn more_queries_than_a_connection_may_have_end_it() {
    let _alone = alone();
    let backend = start();
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        let add = |id: u32| json!({ "type": "Add", "queryId": id, "udfPath": "tasks:changeStream", "args": [{}] });
        let many: Vec<_> = (0..1_025).map(add).collect();
        let message = json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": many });
        assert!(peer.say(message.to_string()).await);
        assert_eq!(peer.next().await.expect("the reason")["type"], "FatalError");
        assert_eq!(peer.next().await, None);
        peer::is_well(&backend).await;
    });
}

#[test]
fn floods_are_slowed_down_and_every_healthy_write_arrives() {
    const HEALTHY: usize = 40;
    const WRITES: i64 = 10;
    let _alone = alone();
    let backend = Backend::start(BackendConfig::new()).expect("a backend in memory starts");
    peer::run(async {
        let peak = memory::Peak::start();
        let mut floods = Vec::new();
        for number in 0..4_u32 {
            let mut peer = Peer::connect(&backend).await;
            floods.push(tokio::spawn(async move {
                let event = json!({ "type": "Event", "eventType": "x", "event": {} }).to_string();
                let push = json!({ "type": "Mutation", "requestId": number, "udfPath": "flood:pushChanges", "args": [peer::pushed(None, &format!("f{number}"), &large(200_000))] }).to_string();
                let mut sent = 0_usize;
                // Writes as fast as the backend accepts, and never reads an answer.
                loop {
                    let message = if number % 2 == 0 { event.clone() } else { push.clone() };
                    if !peer.try_say(message).await {
                        return sent;
                    }
                    sent += 1;
                    tokio::task::yield_now().await;
                }
            }));
        }
        let mut healthy = Vec::new();
        for number in 0..HEALTHY {
            let mut peer = Peer::connect(&backend).await;
            healthy.push(tokio::spawn(async move {
                let scope = format!("room {number}");
                assert!(peer.subscribe("tasks", Some(&scope)).await);
                for write in 0..WRITES {
                    let change = chunks::changes(&mut chunks::counter(write));
                    assert!(peer.push("tasks", Some(&scope), &format!("{number}-{write}"), &change).await);
                }
                // The result has all rows of its own scope and no others. It repeats the rows of the one before.
                let mut reader = peer;
                loop {
                    assert!(reader.subscribe("tasks", Some(&scope)).await);
                    let message = reader.next().await.expect("a healthy connection stays open");
                    let Some(deltas) = message["modifications"][0]["value"]["deltas"].as_array() else { continue };
                    assert!(
                        deltas.iter().all(|delta| delta["id"].as_str().unwrap().starts_with(&format!("{number}-")))
                    );
                    if deltas.len() == WRITES as usize {
                        return;
                    }
                }
            }));
        }
        for healthy in healthy {
            within("a healthy client's writes", healthy).await.unwrap();
        }
        assert_eq!(backend.rows("tasks").len(), HEALTHY * WRITES as usize);
        floods.iter().for_each(tokio::task::JoinHandle::abort);
        let taken = peak.bytes();
        assert!(taken < 128 * 1024 * 1024, "{taken}");
    });
    peer::run(peer::is_well(&backend));
}

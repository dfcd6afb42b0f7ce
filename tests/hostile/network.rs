//! Hostile bytes from the network to the whole client: a server that sends invalid messages on the first connection and
//! valid ones on later connections.
//!
//! The client is the real one: worker, store, transport and the official library. After any message it continues to
//! run, keeps its edits, and receives the data of a valid server as soon as there is one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bevy_convex_replicate::format::Value;
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::{
    backend::{bytes, odd, replaced},
    chunks, corpus,
    front::Front,
    memory, mutate, panics,
};

/// The memory that a case may use: a client with its store, in addition to the bytes that it receives.
const PEAK: usize = 64 * 1024 * 1024;

const ZERO: &str = "AAAAAAAAAAA=";

/// The hostile message of the first connection.
#[derive(Clone, Debug)]
enum HostileMessage {
    /// The answer to the client's subscriptions, with another value at some place.
    Page {
        place: usize,
        odd: Json,
    },
    /// The answer to the client's subscriptions, with mutated bytes.
    PageBytes(Vec<mutate::Mutation>),
    /// The answer to a push, with another value at some place.
    Answer {
        place: usize,
        odd: Json,
    },
    /// The answer to a push, with mutated bytes.
    AnswerBytes(Vec<mutate::Mutation>),
    /// Another message.
    Text(String),
    Binary(Vec<u8>),
}

fn hostile() -> impl Strategy<Value = HostileMessage> {
    prop_oneof![
        5 => (any::<usize>(), odd()).prop_map(|(place, odd)| HostileMessage::Page { place, odd }),
        3 => mutate::mutations(3).prop_map(HostileMessage::PageBytes),
        2 => (any::<usize>(), odd()).prop_map(|(place, odd)| HostileMessage::Answer { place, odd }),
        1 => mutate::mutations(3).prop_map(HostileMessage::AnswerBytes),
        1 => "\\PC{0,40}".prop_map(HostileMessage::Text),
        1 => prop::sample::select(vec![
            json!({ "type": "FatalError", "error": "no" }),
            json!({ "type": "AuthError", "error": "no", "baseVersion": 0, "authUpdateAttempted": false }),
            json!({ "type": "MutationResponse", "requestId": 77, "success": true, "result": null, "ts": ZERO, "logLines": [] }),
            json!({ "type": "ActionResponse", "requestId": 0, "success": false, "result": "x", "logLines": [] }),
            json!({ "type": "TransitionChunk", "chunk": "{", "partNumber": 0, "totalParts": 4_000_000_000_u32, "transitionId": "t" }),
            json!({ "type": "Transition", "startVersion": version(9), "endVersion": version(3), "modifications": [] }),
        ]).prop_map(|message| HostileMessage::Text(message.to_string())),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(HostileMessage::Binary),
    ]
}

fn version(query_set: u64) -> Json {
    json!({ "querySet": query_set, "identity": 0, "ts": ZERO })
}

struct Server {
    connections: AtomicUsize,
    hostile: HostileMessage,
}

impl Server {
    /// Serves one connection. The first connection receives the hostile message and is closed.
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut socket = accept_async(stream).await.ok()?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let epoch = format!("log {number}");
        let mut query_set = 0;
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            let message: Json = serde_json::from_str(&text).ok()?;
            match message["type"].as_str()? {
                "ModifyQuerySet" => {
                    let modifications: Vec<Json> =
                        message["modifications"].as_array()?.iter().map(|asked| answer(asked, &epoch)).collect();
                    let new = message["newVersion"].as_u64()?;
                    let start = version(query_set);
                    query_set = new;
                    let transition = json!({ "type": "Transition", "startVersion": start, "endVersion": version(new), "modifications": modifications });
                    let hostile = match &self.hostile {
                        _ if number > 0 => None,
                        HostileMessage::Page { place, odd } => {
                            Some(Message::text(replaced(&transition, *place, odd.clone()).to_string()))
                        }
                        HostileMessage::PageBytes(mutations) => Some(mutated(&transition, mutations)),
                        HostileMessage::Text(text) => Some(Message::text(text.clone())),
                        HostileMessage::Binary(bytes) => Some(Message::binary(bytes.clone())),
                        HostileMessage::Answer { .. } | HostileMessage::AnswerBytes(_) => None,
                    };
                    if let Some(hostile) = hostile {
                        return end(socket, hostile).await;
                    }
                    socket.send(Message::text(transition.to_string())).await.ok()?;
                }
                "Mutation" => {
                    let documents = message["args"][0]["documents"].as_array()?;
                    let results: Vec<Json> = documents
                        .iter()
                        .map(|document| json!({ "id": document["id"], "status": "accepted" }))
                        .collect();
                    let result = json!({ "epoch": epoch, "results": results });
                    let answer = json!({ "type": "MutationResponse", "requestId": message["requestId"], "success": true, "result": result, "ts": ZERO, "logLines": [] });
                    let hostile = match &self.hostile {
                        _ if number > 0 => None,
                        HostileMessage::Answer { place, odd } => {
                            Some(Message::text(replaced(&answer, *place, odd.clone()).to_string()))
                        }
                        HostileMessage::AnswerBytes(mutations) => Some(mutated(&answer, mutations)),
                        _ => None,
                    };
                    if let Some(hostile) = hostile {
                        return end(socket, hostile).await;
                    }
                    socket.send(Message::text(answer.to_string())).await.ok()?;
                    let transition = json!({ "type": "Transition", "startVersion": version(query_set), "endVersion": version(query_set), "modifications": [] });
                    socket.send(Message::text(transition.to_string())).await.ok()?;
                }
                _ => {}
            }
        }
    }
}

fn mutated(message: &Json, mutations: &[mutate::Mutation]) -> Message {
    Message::text(String::from_utf8_lossy(&mutate::apply(message.to_string().as_bytes(), mutations)).into_owned())
}

/// Sends the message and a transition, which makes an answer to a mutation take effect, and closes the connection.
async fn end(mut socket: WebSocketStream<TcpStream>, hostile: Message) -> Option<()> {
    crate::fed("server messages", hostile.len());
    socket.send(hostile).await.ok()?;
    let transition =
        json!({ "type": "Transition", "startVersion": version(1), "endVersion": version(1), "modifications": [] });
    socket.send(Message::text(transition.to_string())).await.ok()?;
    socket.close(None).await.ok()
}

/// The answer of a valid server to a modification.
fn answer(asked: &Json, epoch: &str) -> Json {
    let query_id = &asked["queryId"];
    if asked["type"] == "Remove" {
        return json!({ "type": "QueryRemoved", "queryId": query_id });
    }
    let checkpoint = &asked["args"][0]["checkpoint"];
    let value = if asked["udfPath"].as_str().is_some_and(|path| path.ends_with("changeStream")) {
        json!({ "timestamp": 0.0, "count": 2.0 })
    } else if checkpoint["ts"]["$integer"] == ZERO {
        let ts = |number: u8| json!({ "$integer": convex_integer(number) });
        let change = |number| bytes(&chunks::changes(&mut chunks::counter(number)).remove(0));
        let piece = chunks::everything().save();
        let part = json!({ "hash": bytes(&sha2::Sha256::digest(&piece)), "index": 0.0, "count": 1.0 });
        json!({
            "deltas": [
                { "id": "good", "ts": ts(5), "ordinal": 0.0, "bytes": change(1) },
                { "id": epoch, "ts": ts(5), "ordinal": 1.0, "bytes": bytes(&piece), "part": part },
            ],
            "checkpoint": { "ts": ts(5), "ordinal": 1.0 }, "hasMore": false, "epoch": epoch,
        })
    } else {
        json!({ "deltas": [], "checkpoint": checkpoint, "hasMore": false, "epoch": epoch })
    };
    json!({ "type": "QueryUpdated", "queryId": query_id, "value": value, "logLines": [], "journal": null })
}

use sha2::Digest as _;

/// A small int64 in Convex's encoding.
fn convex_integer(number: u8) -> Json {
    Json::from(convex::Value::Int64(i64::from(number)))["$integer"].clone()
}

/// Sends a client this message, and checks that the client works with a valid server afterwards.
fn survives(hostile: HostileMessage) {
    let before = panics::ours().len();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (address, server): (SocketAddr, Arc<Server>) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Server { connections: AtomicUsize::new(0), hostile });
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        (address, server)
    });
    let peak = memory::Peak::start();
    let mut front = Front::open(&folder.path().join("store.sqlite"), Some(format!("http://{address}")));
    front.put("mine", 1, &[("n", Value::Int(1))]);
    front.until("a sane server is heard", |front| {
        let connections = server.connections.load(Ordering::Relaxed);
        connections > 1 && front.shows("good") && front.shows(&format!("log {}", connections - 1))
    });
    front.until("what was edited is saved and sent", |front| front.saved() >= 1 && front.unsent() == 0);
    let taken = peak.bytes();
    assert!(taken < PEAK, "{taken}");
    drop(front);
    assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
}

proptest! {
    #![proptest_config(crate::cases(24, "../hostile/proptest-regressions/network.txt"))]

    #[test]
    fn a_client_that_received_hostile_messages_continues_with_a_valid_server(hostile in hostile()) {
        let _alone = memory::alone();
        panics::watch();
        survives(hostile);
    }
}

#[test]
fn answers_of_the_corpus_are_survived() {
    let _alone = memory::alone();
    panics::watch();
    if std::env::var_os("HOSTILE_KEEP").is_some() {
        let add = json!({ "type": "Add", "queryId": 0, "udfPath": "tasks:pullDeltas", "args": [{ "checkpoint": { "ts": { "$integer": ZERO } } }] });
        let transition = json!({ "type": "Transition", "startVersion": version(0), "endVersion": version(1), "modifications": [answer(&add, "log")] });
        corpus::keep("answers", "valid-page.json", transition.to_string().as_bytes());
        for (name, text) in [
            ("deep.json", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
            ("no-json.json", "{\"type\":".to_owned()),
            ("chunk.json", json!({ "type": "TransitionChunk", "chunk": "{", "partNumber": 0, "totalParts": 4_000_000_000_u32, "transitionId": "t" }).to_string()),
        ] {
            corpus::keep("answers", name, text.as_bytes());
        }
    }
    for (name, bytes) in corpus::files("answers") {
        println!("answers/{name}");
        survives(HostileMessage::Text(String::from_utf8_lossy(&bytes).into_owned()));
    }
}

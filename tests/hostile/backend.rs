//! Hostile messages to the socket of the embedded backend. The backend answers or closes that connection, and continues
//! to serve the others.

use std::sync::LazyLock;

use bevy_convex_replicate::backend::{Backend, BackendConfig};
use convex::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    chunks, corpus, memory, mutate, panics,
    peer::{self, Peer},
};

/// The memory that a case may use. The messages are small, far below a frame's 16 MiB.
const PEAK: usize = 32 * 1024 * 1024;

/// One backend for all cases: if a case damages it, the next case fails.
pub static BACKEND: LazyLock<Backend> =
    LazyLock::new(|| Backend::start(BackendConfig::new()).expect("a backend in memory starts"));

pub fn bytes(bytes: &[u8]) -> Json {
    Json::from(Value::Bytes(bytes.to_vec()))
}

/// Valid messages to mutate.
fn valid() -> Vec<Json> {
    let change = chunks::changes(&mut chunks::counter(1)).remove(0);
    let start = json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 });
    let part = json!({ "hash": bytes(&[7; 32]), "index": 0.0, "count": 2.0 });
    let query =
        |id: u32, path: &str, args: Json| json!({ "type": "Add", "queryId": id, "udfPath": path, "args": [args] });
    let set = |base: u32, new: u32, modifications: Json| json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": new, "modifications": modifications });
    let call = |id: u32, path: &str, args: Json| json!({ "type": "Mutation", "requestId": id, "udfPath": path, "args": [args] });
    vec![
        json!({ "type": "Connect", "sessionId": "7c7bcf4f-7f5e-4e5c-8d9a-2f0a7a1a3b11", "connectionCount": 3, "lastCloseReason": "InactiveServer" }),
        set(0, 1, json!([query(0, "tasks:pullDeltas", json!({ "checkpoint": start, "limit": 5.0, "scope": "room" }))])),
        set(
            0,
            2,
            json!([query(
                1,
                "tasks:pullChanges",
                json!({ "collectionName": "tasks", "checkpoint": { "lastModified": 0.0 }, "limit": 3.0 })
            )]),
        ),
        set(
            0,
            1,
            json!([query(2, "tasks:changeStream", json!({ "collectionName": "tasks" })), { "type": "Remove", "queryId": 0 }]),
        ),
        call(
            0,
            "tasks:pushChanges",
            json!({ "documents": [{ "id": "a", "changes": [{ "bytes": bytes(&change) }], "fields": { "count": 1.0 }, "removed": ["x"] }], "scope": "room" }),
        ),
        call(
            1,
            "tasks:pushChanges",
            json!({ "documents": [{ "id": "b", "changes": [{ "bytes": bytes(&change), "part": part }] }] }),
        ),
        call(
            2,
            "tasks:insertDocument",
            json!({ "collectionName": "tasks", "documentId": "c", "crdtBytes": bytes(&chunks::everything().save()), "materializedDoc": {}, "version": 1.0 }),
        ),
        call(3, "tasks:deleteDocument", json!({ "collectionName": "tasks", "documentId": "c" })),
        json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "token" }),
        json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "None" }),
        json!({ "type": "Action", "requestId": 4, "udfPath": "tasks:act", "args": [{}] }),
        json!({ "type": "Event", "eventType": "ClientConnect", "event": { "some": "thing" } }),
    ]
}

/// Values that are not valid where they are put.
pub fn odd() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        prop_oneof![Just(u64::MAX), Just(1 << 53), Just(u64::from(u32::MAX) + 1), any::<u64>()].prop_map(Json::from),
        prop_oneof![Just(i64::MIN), Just(-1), any::<i64>()].prop_map(Json::from),
        prop_oneof![Just(1e308), Just(-0.0), Just(0.5)].prop_map(Json::from),
        (0..150_usize).prop_map(|depth| (0..depth).fold(json!([]), |inner, _| json!([inner]))),
        (0..150_usize).prop_map(|depth| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }))),
        (0..100_000_usize).prop_map(|length| Json::from("é".repeat(length))),
        (0..5_000_usize).prop_map(|length| Json::from(vec![Json::Null; length])),
        Just(json!({ "$bytes": "not base64!" })),
        Just(json!({ "$integer": "AAAA" })),
        Just(json!({ "$float": "AAAAAAAA+H8=" })),
        Just(json!({ "$set": [] })),
        "\\PC{0,20}".prop_map(Json::from),
    ]
}

/// Puts `odd` in the place of the value with index `which` in a message.
pub fn replaced(message: &Json, which: usize, odd: Json) -> Json {
    fn count(value: &Json) -> usize {
        1 + match value {
            Json::Array(values) => values.iter().map(count).sum(),
            Json::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }
    fn replace(value: &mut Json, place: &mut usize, odd: &Json) {
        if *place == 0 {
            *value = odd.clone();
        }
        *place = place.wrapping_sub(1);
        if *place > usize::MAX / 2 {
            return;
        }
        match value {
            Json::Array(values) => values.iter_mut().for_each(|value| replace(value, place, odd)),
            Json::Object(fields) => fields.values_mut().for_each(|value| replace(value, place, odd)),
            _ => {}
        }
    }
    let mut message = message.clone();
    let mut place = which % count(&message);
    replace(&mut message, &mut place, &odd);
    message
}

#[derive(Clone, Debug)]
enum Said {
    Mutated { which: usize, mutations: Vec<mutate::Mutation> },
    Replaced { which: usize, place: usize, odd: Json },
    Valid { which: usize },
    Binary(Vec<u8>),
    Text(String),
    Ping(Vec<u8>),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (any::<usize>(), mutate::mutations(3)).prop_map(|(which, mutations)| Said::Mutated { which, mutations }),
        6 => (any::<usize>(), any::<usize>(), odd()).prop_map(|(which, place, odd)| Said::Replaced { which, place, odd }),
        3 => any::<usize>().prop_map(|which| Said::Valid { which }),
        1 => prop::collection::vec(any::<u8>(), 0..50).prop_map(Said::Binary),
        1 => "\\PC{0,50}".prop_map(Said::Text),
        1 => prop::collection::vec(any::<u8>(), 0..125).prop_map(Said::Ping),
    ]
}

/// Sends all messages on one connection, and checks that the backend works afterwards.
fn survives(messages: Vec<Message>) {
    let given: usize = messages.iter().map(Message::len).sum();
    let before = panics::ours().len();
    let backend = &*BACKEND;
    peer::run(async {
        let peak = memory::Peak::start();
        let mut hostile = Peer::silent(backend).await;
        let mut is_open = true;
        for message in messages {
            is_open = is_open && hostile.send(message).await;
        }
        // The connection is answered or closed; nothing hangs.
        if is_open {
            hostile.mutate("tasks:deleteDocument", json!({ "collectionName": "tasks", "documentId": "nobody" })).await;
        }
        drop(hostile);
        let taken = peak.bytes();
        // The rows that this stores stay and make tables grow in steps. This memory does not belong to the case.
        peer::is_well(backend).await;
        assert!(taken < PEAK + 64 * given, "{taken} bytes for {given}");
    });
    assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
}

proptest! {
    #![proptest_config(crate::cases(60, "../hostile/proptest-regressions/backend.txt"))]

    #[test]
    fn any_message_is_answered_or_ends_the_connection(said in prop::collection::vec(said(), 1..6)) {
        let _alone = memory::alone();
        panics::watch();
        let valid = valid();
        let messages = said.into_iter().map(|said| match said {
            Said::Mutated { which, mutations } => {
                let text = valid[which % valid.len()].to_string();
                Message::text(String::from_utf8_lossy(&mutate::apply(text.as_bytes(), &mutations)).into_owned())
            }
            Said::Replaced { which, place, odd } => Message::text(replaced(&valid[which % valid.len()], place, odd).to_string()),
            Said::Valid { which } => Message::text(valid[which % valid.len()].to_string()),
            Said::Binary(bytes) => Message::binary(bytes),
            Said::Text(text) => Message::text(text),
            Said::Ping(bytes) => Message::Ping(bytes.into()),
        });
        let messages: Vec<Message> = messages.collect();
        crate::fed("backend messages", messages.iter().map(Message::len).sum());
        survives(messages);
    }
}

#[test]
fn messages_of_the_corpus_are_survived() {
    let _alone = memory::alone();
    panics::watch();
    if std::env::var_os("HOSTILE_KEEP").is_some() {
        for (number, message) in valid().iter().enumerate() {
            corpus::keep("messages", &format!("valid-{number:02}.json"), message.to_string().as_bytes());
        }
    }
    for (name, bytes) in corpus::files("messages") {
        println!("messages/{name}");
        survives(vec![Message::text(String::from_utf8_lossy(&bytes).into_owned())]);
    }
}

#[test]
fn a_path_that_is_cut_within_a_letter_does_not_panic() {
    let _alone = memory::alone();
    panics::watch();
    let path = format!("x{}:pullDeltas", "é".repeat(60));
    survives(vec![Message::text(
        json!({ "type": "Mutation", "requestId": 0, "udfPath": path, "args": [{}] }).to_string(),
    )]);
    let add = json!({ "type": "Add", "queryId": 0, "udfPath": path, "args": [{}] });
    let message = json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add] });
    survives(vec![Message::text(message.to_string())]);
}

#[test]
fn a_very_long_path_or_scope_is_not_kept() {
    let _alone = memory::alone();
    panics::watch();
    peer::run(async {
        let backend = &*BACKEND;
        let mut peer = Peer::connect(backend).await;
        let change = chunks::changes(&mut chunks::counter(1));
        let answer =
            peer.mutate("tasks:pushChanges", peer::pushed(Some(&"s".repeat(129)), "scoped", &change)).await.unwrap();
        assert_eq!(answer["errorData"]["code"], "tooLarge", "{answer}");
        let path = vec!["m"; 200].join("/");
        assert_eq!(peer.mutate(&format!("{path}:pushChanges"), peer::pushed(None, "a", &change)).await, None);
        peer::is_well(backend).await;
    });
}

proptest! {
    #![proptest_config(crate::cases(100, "../hostile/proptest-regressions/log.txt"))]

    #[test]
    fn a_mutated_change_is_accepted_or_refused_and_its_neighbour_is_accepted(
        which in any::<usize>(), mutations in mutate::mutations(3), with_fields: bool, whole: bool,
    ) {
        let _alone = memory::alone();
        panics::watch();
        let before = panics::ours().len();
        let mut document = chunks::everything();
        let mut changes = chunks::changes(&mut document);
        let which = which % changes.len();
        let (kind, data) = chunks::open(&changes[which]);
        changes[which] = chunks::seal(kind, &mutate::apply(data, &mutations));
        crate::fed("backend changes", changes.iter().map(Vec::len).sum());
        let id = uuid::Uuid::new_v4().to_string();
        peer::run(async {
            let mut peer = Peer::connect(&BACKEND).await;
            let answer = if whole {
                let document = json!({ "collectionName": "tasks", "documentId": id, "crdtBytes": bytes(&changes.concat()), "materializedDoc": {}, "version": 1.0 });
                peer.mutate("tasks:updateDocument", document).await
            } else {
                let mut arguments = peer::pushed(None, &id, &changes);
                if with_fields {
                    arguments["documents"][0]["fields"] = json!({ "count": 1.0 });
                }
                let good = peer::pushed(None, &format!("{id}-neighbour"), &chunks::changes(&mut chunks::counter(2)));
                arguments["documents"].as_array_mut().unwrap().push(good["documents"][0].clone());
                let answer = peer.mutate("tasks:pushChanges", arguments).await;
                assert_eq!(answer.as_ref().unwrap()["result"]["results"][1]["status"], "accepted", "{answer:?}");
                answer
            };
            assert!(answer.is_some(), "the connection stays open");
            // A later change is answered too, whether the first was accepted or not.
            assert!(peer.mutate("tasks:deleteDocument", json!({ "collectionName": "tasks", "documentId": id })).await.is_some());
        });
        assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
    }
}

#[test]
fn a_log_with_hostile_changes_can_be_opened_again() {
    let _alone = memory::alone();
    panics::watch();
    let before = panics::ours().len();
    let folder: TempDir = tempfile::tempdir().unwrap();
    let open = || Backend::start(BackendConfig::new().data(folder.path())).expect("the log opens");
    let backend = open();
    let mut accepted = 0;
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        for (name, chunk) in corpus::files("chunks") {
            let mut arguments = peer::pushed(None, &name, &[chunk]);
            arguments["documents"][0]["fields"] = json!({ "count": 1.0 });
            let answer = peer.mutate("tasks:pushChanges", arguments).await.expect("an answer");
            accepted += usize::from(answer["result"]["results"][0]["status"] == "accepted");
        }
        // A counter that overflows: the chunk is valid, and each part of it is in order.
        let mut document = chunks::counter(i64::MAX - 1);
        automerge::transaction::Transactable::increment(&mut document, automerge::ROOT, "count", i64::MAX)
            .unwrap_or_default();
        document.commit();
        let answer =
            peer.mutate("tasks:pushChanges", peer::pushed(None, "overflow", &chunks::changes(&mut document))).await;
        assert!(answer.is_some());
    });
    assert!(accepted > 0, "some of the corpus is valid");
    let stats = backend.stats();
    backend.stop();
    let backend = open();
    assert_eq!(backend.stats().changes, stats.changes);
    peer::run(peer::is_well(&backend));
    assert_eq!(panics::ours().len(), before, "{:?}", panics::ours().last());
}

//! The sync protocol, message by message.

use automerge::{AutoCommit, Change, ROOT, transaction::Transactable};
use bevy_convex_replicate::backend::{Backend, BackendConfig};
use convex::Value;
use futures::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::support::*;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(backend: &Backend, path: &str) -> Socket {
    connect_as(backend, path, &uuid::Uuid::new_v4().to_string()).await
}

/// Connects with a session id, as a client does that connects again.
async fn connect_as(backend: &Backend, path: &str, session: &str) -> Socket {
    let (mut socket, _) = connect_async(format!("ws://{}{path}", backend.address())).await.unwrap();
    send(
        &mut socket,
        json!({ "type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect" }),
    )
    .await;
    socket
}

async fn send(socket: &mut Socket, message: Json) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message that is not a ping; `None` if the connection was closed with this reason.
async fn next(socket: &mut Socket) -> Result<Json, String> {
    let message = tokio::time::timeout(DEADLINE, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Json = serde_json::from_str(&text).unwrap();
                    if message["type"] != "Ping" {
                        return Ok(message);
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.reason.to_string()).unwrap_or_default());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err(String::new()),
            }
        }
    });
    message.await.expect("a message in time")
}

fn subscribe(base: u32, id: u32, collection: &str) -> Json {
    let args = json!([{ "checkpoint": Json::from(start()) }]);
    let add = json!({ "type": "Add", "queryId": id, "udfPath": format!("{collection}:pullDeltas"), "args": args });
    json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": base + 1, "modifications": [add] })
}

fn push_message(request: u32, collection: &str, documents: Vec<Value>) -> Json {
    let args = json!([{ "documents": Json::from(Value::Array(documents)) }]);
    json!({ "type": "Mutation", "requestId": request, "udfPath": format!("{collection}:pushChanges"), "args": args })
}

fn ts(encoded: &Json) -> u64 {
    let Value::Int64(ts) = Value::try_from(json!({ "$integer": encoded })).unwrap() else { panic!() };
    ts as u64
}

#[tokio::test]
async fn every_transition_continues_the_last_one_and_every_mutation_gets_one() {
    let backend = backend();
    let mut socket = connect(&backend, "/api/1.24.0/sync").await;
    send(&mut socket, subscribe(0, 7, "tasks")).await;
    let first = next(&mut socket).await.unwrap();
    assert_eq!(first["type"], "Transition");
    assert_eq!(first["startVersion"], json!({ "querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA=" }));
    assert_eq!(first["endVersion"]["querySet"], 1);
    for absent in ["clientClockSkew", "serverTs"] {
        assert!(first.get(absent).is_none(), "null would make the JavaScript client warn");
    }
    assert_eq!(first["modifications"][0]["queryId"], 7);

    let mut task = Writer::new("t1");
    task.put("n", 1);
    let document = task.document(None);
    send(&mut socket, push_message(0, "tasks", vec![document.clone()])).await;
    let answer = next(&mut socket).await.unwrap();
    assert_eq!(
        (&answer["type"], &answer["success"], &answer["requestId"]),
        (&json!("MutationResponse"), &json!(true), &json!(0))
    );
    let second = next(&mut socket).await.unwrap();
    assert_eq!(second["startVersion"], first["endVersion"]);
    assert!(ts(&second["endVersion"]["ts"]) >= ts(&answer["ts"]));
    assert_eq!(second["modifications"][0]["value"]["deltas"].as_array().unwrap().len(), 1);

    // A repeated mutation changes nothing, and is followed by a transition without modifications.
    send(&mut socket, push_message(1, "tasks", vec![document])).await;
    let answer = next(&mut socket).await.unwrap();
    assert_eq!((&answer["success"], &answer["requestId"]), (&json!(true), &json!(1)));
    let third = next(&mut socket).await.unwrap();
    assert_eq!((&third["startVersion"], &third["modifications"]), (&second["endVersion"], &json!([])));

    // The same holds for a mutation that fails.
    send(&mut socket, push_message(2, "tasks", (0..101).map(|_| pushed("t1", [], None)).collect())).await;
    let answer = next(&mut socket).await.unwrap();
    assert_eq!((&answer["success"], &answer["errorData"]["code"]), (&json!(false), &json!("pushTooLarge")));
    let fourth = next(&mut socket).await.unwrap();
    assert_eq!((&fourth["startVersion"], &fourth["modifications"]), (&third["endVersion"], &json!([])));

    // A change of another collection does not affect this query; an unsubscribed query is removed.
    send(
        &mut socket,
        push_message(
            3,
            "others",
            vec![pushed("t1", Writer::new("t1").put("n", 2).changes().iter().map(|change| change.raw_bytes()), None)],
        ),
    )
    .await;
    assert_eq!(next(&mut socket).await.unwrap()["requestId"], 3);
    assert_eq!(next(&mut socket).await.unwrap()["modifications"], json!([]));
    send(&mut socket, json!({ "type": "ModifyQuerySet", "baseVersion": 1, "newVersion": 2, "modifications": [{ "type": "Remove", "queryId": 7 }] })).await;
    let last = next(&mut socket).await.unwrap();
    assert_eq!(last["modifications"], json!([{ "type": "QueryRemoved", "queryId": 7 }]));
    assert_eq!(last["endVersion"]["querySet"], 2);
}

#[tokio::test]
async fn a_failing_query_returns_its_error_and_recovers() {
    let backend = backend();
    let mut socket = connect(&backend, "/api/sync").await;
    let args = json!([{ "checkpoint": Json::from(position(5, 0)) }]);
    let add = json!({ "type": "Add", "queryId": 0, "udfPath": "tasks:pullDeltas", "args": args });
    send(&mut socket, json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add] }))
        .await;
    let failed = next(&mut socket).await.unwrap();
    assert_eq!(failed["modifications"][0]["type"], "QueryFailed");
    assert_eq!(failed["modifications"][0]["errorData"]["code"], "checkpointUnknown");
    let mut other = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("n", 1);
    accepted(&push(&mut other, "tasks", vec![task.document(None)]).await);
    let recovered = next(&mut socket).await.unwrap();
    assert_eq!(recovered["modifications"][0]["type"], "QueryUpdated");
}

#[tokio::test]
async fn a_wrong_token_ends_the_connection() {
    let backend = Backend::start(BackendConfig::new().token("right")).unwrap();
    let mut socket = connect(&backend, "/api/sync").await;
    send(&mut socket, json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "wrong" })).await;
    let error = next(&mut socket).await.unwrap();
    assert_eq!((&error["type"], &error["baseVersion"]), (&json!("AuthError"), &json!(0)));
    assert_eq!(next(&mut socket).await, Err("The token is wrong".into()));

    let mut socket = connect(&backend, "/api/sync").await;
    send(&mut socket, subscribe(0, 0, "tasks")).await;
    let refused = next(&mut socket).await.unwrap();
    assert_eq!(refused["modifications"][0]["errorData"]["code"], "unauthenticated");
    send(&mut socket, json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "right" })).await;
    let admitted = next(&mut socket).await.unwrap();
    assert_eq!(admitted["endVersion"]["identity"], 1);
    assert_eq!(admitted["modifications"][0]["type"], "QueryUpdated");
    send(&mut socket, json!({ "type": "Authenticate", "baseVersion": 1, "tokenType": "None" })).await;
    let left = next(&mut socket).await.unwrap();
    assert_eq!(left["modifications"][0]["errorData"]["code"], "unauthenticated");
}

#[tokio::test]
async fn an_invalid_message_ends_only_its_own_connection() {
    let backend = backend();
    for nonsense in
        [json!("text"), json!({ "type": "Nothing" }), json!({ "type": "Mutation" }), subscribe(3, 0, "tasks")]
    {
        let mut socket = connect(&backend, "/api/sync").await;
        send(&mut socket, nonsense).await;
        assert_eq!(next(&mut socket).await.unwrap()["type"], "FatalError");
        next(&mut socket).await.unwrap_err();
    }
    let mut socket = connect(&backend, "/api/sync").await;
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(next(&mut socket).await, Err("only text messages are understood".into()));
    let mut socket = connect(&backend, "/api/sync").await;
    // The server may close the connection before it has read the whole message.
    let _ = socket.send(Message::text("x".repeat(17 * 1024 * 1024))).await;
    next(&mut socket).await.unwrap_err();

    let mut socket = connect(&backend, "/api/sync").await;
    let add = |id| json!({ "type": "Add", "queryId": id, "udfPath": "tasks:changeStream", "args": [{}] });
    let all: Vec<_> = (0..1_025).map(add).collect();
    send(&mut socket, json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": all }))
        .await;
    assert_eq!(next(&mut socket).await.unwrap()["type"], "FatalError");

    let mut alive = client(&backend).await;
    ok(query(&mut alive, "tasks:changeStream", []).await);
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_others() {
    let backend = backend();
    let mut sleeper = connect(&backend, "/api/sync").await;
    send(&mut sleeper, subscribe(0, 0, "tasks")).await;
    let mut client = client(&backend).await;
    let mut writer = Writer::new("t1");
    for round in 0..60u8 {
        // Every result has up to half a megabyte: together more than the sockets buffer.
        let mut task = Writer::new(&format!("t{round}"));
        task.put("blob", automerge::ScalarValue::Bytes(vec![round; 100_000]));
        accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
        writer.put("n", i64::from(round));
        accepted(&push(&mut client, "others", vec![writer.document(None)]).await);
    }
    // When it reads again, it receives a chain of transitions, the last of which has the newest result.
    let mut version = json!({ "querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA=" });
    let newest = 5;
    loop {
        let message = next(&mut sleeper).await.unwrap();
        assert_eq!(message["startVersion"], version);
        version = message["endVersion"].clone();
        let modification = message["modifications"].as_array().and_then(|all| all.last());
        if modification.is_some_and(|last| last["value"]["deltas"].as_array().unwrap().len() == newest) {
            break;
        }
    }
}

#[tokio::test]
async fn a_backend_that_stops_closes_its_connections_with_a_close_message() {
    let backend = backend();
    let mut socket = connect(&backend, "/api/sync").await;
    send(&mut socket, subscribe(0, 0, "tasks")).await;
    next(&mut socket).await.unwrap();
    assert_eq!(backend.stats().connections, 1);
    tokio::task::spawn_blocking(move || backend.stop()).await.unwrap();
    assert_eq!(next(&mut socket).await, Err("the backend is stopping".into()));
}

/// The next answer to a mutation.
async fn answer(socket: &mut Socket) -> Json {
    loop {
        let message = next(socket).await.unwrap();
        if message["type"] == "MutationResponse" {
            return message;
        }
    }
}

#[tokio::test]
async fn a_mutation_that_is_sent_again_is_answered_from_its_outcome_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Backend::start(BackendConfig::new().data(directory.path())).unwrap();
    let session = uuid::Uuid::new_v4().to_string();
    let mut task = Writer::new("t1");
    task.put("n", 1);
    let delete = json!({ "type": "Mutation", "requestId": 1, "udfPath": "tasks:deleteDocument",
        "args": [{ "collectionName": "tasks", "documentId": "t1" }] });
    let is_deleted = |backend: &Backend| has(&backend.rows("tasks")[0].1, "deleted");

    let backend = open();
    let mut socket = connect_as(&backend, "/api/sync", &session).await;
    send(&mut socket, push_message(0, "tasks", vec![task.document(None)])).await;
    let pushed = answer(&mut socket).await;
    send(&mut socket, delete.clone()).await;
    let deleted = answer(&mut socket).await;
    assert_eq!(deleted["success"], true);
    assert!(is_deleted(&backend));

    // Somebody else restores the document: an older version of it says that it is not deleted.
    let mut other = client(&backend).await;
    let mut restored = AutoCommit::new();
    for row in pull_all(&mut other, "tasks", 100.0).await.iter() {
        restored.apply_changes([Change::from_bytes(bytes(field(row, "bytes")).to_vec()).unwrap()]).unwrap();
    }
    restored.put(ROOT, "deleted", false).unwrap();
    let change = restored.get_last_local_change().unwrap().raw_bytes().to_vec();
    let document = Value::Object(object([
        ("id", "t1".into()),
        ("changes", Value::Array(vec![Value::Object(object([("bytes", change.into())]))])),
    ]));
    accepted(&push(&mut other, "tasks", vec![document]).await);
    assert!(!is_deleted(&backend));

    // The client lost its connection before it read the answers, and sends everything again.
    drop(socket);
    let mut again = connect_as(&backend, "/api/sync", &session).await;
    send(&mut again, push_message(0, "tasks", vec![task.document(None)])).await;
    send(&mut again, delete.clone()).await;
    assert_eq!(answer(&mut again).await, pushed);
    assert_eq!(answer(&mut again).await, deleted);
    assert!(!is_deleted(&backend));
    drop((again, other));
    backend.stop();

    let backend = open();
    let mut again = connect_as(&backend, "/api/sync", &session).await;
    send(&mut again, delete.clone()).await;
    assert_eq!(answer(&mut again).await, deleted);
    assert!(!is_deleted(&backend));
    // The same request of another session is another request.
    let mut stranger = connect(&backend, "/api/sync").await;
    send(&mut stranger, delete).await;
    assert_eq!(answer(&mut stranger).await["success"], true);
    assert!(is_deleted(&backend));
}

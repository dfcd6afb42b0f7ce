//! Users with tokens of the backend's own: made and revoked while it runs, and named in the log.

use std::{path::Path, process::Command};

use bevy_convex_replicate::backend::{Backend, BackendConfig, BackendError, SignedIn, UserTokens};
use convex::{FunctionResult, Value};
use serde_json::json;

use crate::support::*;

fn pushes(id: &str) -> [(&'static str, Value); 1] {
    let mut task = Writer::new(id);
    task.put("n", 1);
    [("documents", Value::Array(vec![task.document(None)]))]
}

/// Calls until the answer is as wanted.
async fn until_answer(mut call: impl AsyncFnMut() -> FunctionResult, wanted: impl Fn(&FunctionResult) -> bool) {
    let repeated = async {
        while !wanted(&call().await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, repeated).await.expect("the answer in time");
}

fn is_unauthenticated(result: &FunctionResult) -> bool {
    matches!(result, FunctionResult::ConvexError(error) if text(field(&error.data, "code")) == "unauthenticated")
}

/// Runs `replicate-backend token`, and returns its output and whether it succeeded.
fn token_command(data: &Path, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replicate-backend"));
    let output = command.arg("token").args(arguments).arg("--data").arg(data).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (said, output.status.success())
}

#[tokio::test]
async fn a_running_backend_notices_new_and_revoked_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new().data(folder.path())).unwrap();
    let mut nobody = client(&backend).await;
    ok(mutate(&mut nobody, "tasks:pushChanges", pushes("nobodys")).await);

    // The program makes the token while the backend runs.
    let (said, is_made) = token_command(folder.path(), &["new", "--user", "ada"]);
    assert!(is_made, "{said}");
    let token = said.lines().find(|line| line.starts_with("replicate_")).unwrap().to_owned();
    let asks = async || query(&mut client(&backend).await, "tasks:pullDeltas", [("checkpoint", start())]).await;
    until_answer(asks, is_unauthenticated).await;
    // The connection from before the token was made has ended. The new one has no token either.
    let mut ada = signed_in(&backend, &token).await;
    ok(mutate(&mut ada, "tasks:pushChanges", pushes("adas")).await);
    let authors = |rows: Vec<Value>| {
        let author = |row: &Value| has(row, "author").then(|| text(field(row, "author")).to_owned());
        rows.iter().map(|row| (text(field(row, "id")).to_owned(), author(row))).collect::<Vec<_>>()
    };
    let expected = [("nobodys".to_owned(), None), ("adas".to_owned(), Some("replicate|ada".to_owned()))];
    assert_eq!(authors(pull_all(&mut ada, "tasks", 10.0).await), expected);

    let (listed, _) = token_command(folder.path(), &["list"]);
    let id = listed.split('\t').next().unwrap().to_owned();
    assert!(listed.contains("replicate|ada") && !listed.contains(&token), "{listed}");
    let mut bob = signed_in(&backend, &UserTokens::open(folder.path()).unwrap().create("bob", None).unwrap().1).await;
    assert_eq!(token_command(folder.path(), &["revoke", &id]), (String::new(), true));
    assert!(!token_command(folder.path(), &["revoke", &id]).1);
    let asks = async || {
        let mut ada = signed_in(&backend, &token).await;
        match tokio::time::timeout(std::time::Duration::from_secs(1), ada.query("tasks:changeStream", object([]))).await
        {
            Ok(Ok(answer)) => answer,
            // The backend refuses the token again and again.
            _ => FunctionResult::ErrorMessage("closed".into()),
        }
    };
    until_answer(asks, |answer| !matches!(answer, FunctionResult::Value(_))).await;
    ok(query(&mut bob, "tasks:changeStream", []).await);
    backend.stop();

    // The log remembers the authors, and the backend still asks for a token.
    let backend = Backend::start(BackendConfig::new().data(folder.path()).listen("0.0.0.0:0")).unwrap();
    let stranger = query(&mut client(&backend).await, "tasks:changeStream", []).await;
    assert!(is_unauthenticated(&stranger), "{stranger:?}");
    let token = UserTokens::open(folder.path()).unwrap().create("cy", Some("1d")).unwrap().1;
    drop(backend);
    let backend = Backend::start(BackendConfig::new().data(folder.path())).unwrap();
    let mut cy = signed_in(&backend, &token).await;
    assert_eq!(authors(pull_all(&mut cy, "tasks", 10.0).await), expected);
}

/// Sends one message over a socket, and waits for a message of this type.
#[tokio::test]
async fn a_revoked_token_ends_its_open_connection() {
    use futures::{SinkExt, StreamExt};
    let folder = tempfile::tempdir().unwrap();
    let tokens = UserTokens::open(folder.path()).unwrap();
    let (id, token) = tokens.create("ada", None).unwrap();
    let (_, other) = tokens.create("bob", None).unwrap();
    let backend = Backend::start(BackendConfig::new().data(folder.path())).unwrap();
    let connect = async |token: &str| {
        let url = format!("ws://{}/api/1.24.0/sync", backend.address());
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let message = json!({ "type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token });
        socket.send(message.to_string().into()).await.unwrap();
        socket
    };
    let mut adas = connect(&token).await;
    let mut bobs = connect(&other).await;
    for socket in [&mut adas, &mut bobs] {
        let first = socket.next().await.unwrap().unwrap().to_string();
        assert!(first.contains("Transition"), "{first}");
    }
    tokens.revoke(&id).unwrap();
    let until_end = async {
        loop {
            let message = adas.next().await.expect("an error comes first").unwrap().to_string();
            if message.contains("AuthError") {
                break message;
            }
        }
    };
    let error = tokio::time::timeout(DEADLINE, until_end).await.expect("the error in time");
    assert!(error.contains("not valid any more"), "{error}");
    // The other user's connection goes on.
    let query = json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [
        { "type": "Add", "queryId": 0, "udfPath": "tasks:changeStream", "args": [{}] }
    ] });
    bobs.send(query.to_string().into()).await.unwrap();
    let answered =
        async { while !bobs.next().await.expect("it goes on").unwrap().to_string().contains("QueryUpdated") {} };
    tokio::time::timeout(DEADLINE, answered).await.expect("the answer in time");
}

#[tokio::test]
async fn the_token_without_a_name_is_not_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let token = UserTokens::open(folder.path()).unwrap().create("ada", None).unwrap().1;
    let config = BackendConfig::new().data(folder.path()).token("open sesame").authorize(SignedIn);
    let backend = Backend::start(config).unwrap();
    let mut unnamed = signed_in(&backend, "open sesame").await;
    assert!(is_unauthenticated(&mutate(&mut unnamed, "tasks:pushChanges", pushes("t")).await));
    assert!(is_unauthenticated(&query(&mut unnamed, "tasks:pullDeltas", [("checkpoint", start())]).await));
    let mut ada = signed_in(&backend, &token).await;
    ok(mutate(&mut ada, "tasks:pushChanges", pushes("t")).await);
}

#[test]
fn an_address_that_others_reach_may_be_served_with_tokens_of_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = || BackendConfig::new().listen("0.0.0.0:0").data(folder.path());
    assert!(matches!(Backend::start(config()).err(), Some(BackendError::TokenNeeded { .. })));
    UserTokens::open(folder.path()).unwrap();
    Backend::start(config()).unwrap();
    std::fs::write(folder.path().join("tokens.sqlite"), "not a database, and long enough to be read as one").unwrap();
    let error = Backend::start(config()).err().unwrap();
    assert!(matches!(error, BackendError::UserTokens(_)), "{error}");
    // Looking for tokens makes no file.
    let empty = tempfile::tempdir().unwrap();
    assert!(!token_command(empty.path(), &["list"]).1);
    assert!(!UserTokens::exist(empty.path()));
}

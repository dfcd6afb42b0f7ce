//! Rules, and attacks on them: forged scopes, other people's names, moving, deleting, parts, and repeated pushes, over
//! the socket and over HTTP.

use std::{
    io::{Read, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use automerge::{ROOT, transaction::Transactable};
use bevy_convex_replicate::backend::{
    Authorize, Backend, BackendConfig, OwnRows, ReadRequest, UserTokens, WriteKind, WriteRequest,
};
use convex::{ConvexClient, Value};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::support::*;

const ADA: &str = "replicate|ada";
const EVE: &str = "replicate|eve";

struct Town {
    backend: Backend,
    ada: ConvexClient,
    eve: ConvexClient,
    eves_token: String,
    _folder: tempfile::TempDir,
}

/// A backend with this rule, and two users.
async fn town(rule: impl Authorize) -> Town {
    let folder = tempfile::tempdir().unwrap();
    let tokens = UserTokens::open(folder.path()).unwrap();
    let [adas_token, eves_token] = ["ada", "eve"].map(|name| tokens.create(name, None).unwrap().1);
    let backend = Backend::start(BackendConfig::new().data(folder.path()).authorize(rule)).unwrap();
    let ada = signed_in(&backend, &adas_token).await;
    let eve = signed_in(&backend, &eves_token).await;
    Town { backend, ada, eve, eves_token, _folder: folder }
}

/// The results of a push in a scope.
async fn push_in(client: &mut ConvexClient, scope: Option<&str>, documents: Vec<Value>) -> Vec<Value> {
    let documents = ("documents", Value::Array(documents));
    let answer = match scope {
        Some(scope) => mutate(client, "tasks:pushChanges", [documents, ("scope", scope.into())]).await,
        None => mutate(client, "tasks:pushChanges", [documents]).await,
    };
    array(field(&ok(answer), "results")).to_vec()
}

fn codes(results: &[Value]) -> Vec<&str> {
    let code = |result| if has(result, "code") { text(field(result, "code")) } else { text(field(result, "status")) };
    results.iter().map(code).collect()
}

impl Town {
    /// Calls a function over HTTP as Eve.
    fn post(&self, kind: &str, function: &str, args: Json) -> Json {
        let body = json!({ "path": format!("tasks:{function}"), "args": [args], "format": "convex_encoded_json" });
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.backend.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "POST /api/{kind} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             authorization: Bearer {}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.eves_token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The same pushes by Eve, over the socket and over HTTP, are all refused and leave no trace.
    async fn eve_may_not(&mut self, scope: Option<&str>, document: Value) {
        let before = self.backend.rows("tasks");
        assert_eq!(codes(&push_in(&mut self.eve, scope, vec![document.clone()]).await), ["notAuthorized"]);
        let mut args = json!({ "documents": [Json::from(document)] });
        if let Some(scope) = scope {
            args["scope"] = scope.into();
        }
        let answer = self.post("mutation", "pushChanges", args);
        assert_eq!(answer["value"]["results"][0]["code"], "notAuthorized", "{answer}");
        assert_eq!(self.backend.rows("tasks"), before);
    }
}

fn document(id: &str, fields: &[(&str, &str)]) -> Writer {
    let mut writer = Writer::new(id);
    for (field, value) in fields {
        writer.document.put(ROOT, *field, *value).unwrap();
    }
    writer
}

/// The parts of a large change of a document.
fn parts(writer: &mut Writer) -> Vec<Value> {
    let letters: String =
        (0..600_000u32).map(|index| char::from(b'a' + (index.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    writer.put("text", letters);
    let raw = writer.changes()[0].raw_bytes().to_vec();
    let hash = Sha256::digest(&raw).to_vec();
    let pieces: Vec<_> = raw.chunks(256 * 1024).collect();
    let part = |(index, bytes): (usize, &&[u8])| {
        let part = object([
            ("hash", hash.clone().into()),
            ("index", (index as f64).into()),
            ("count", (pieces.len() as f64).into()),
        ]);
        let chunk = Value::Object(object([("bytes", bytes.to_vec().into()), ("part", Value::Object(part))]));
        Value::Object(object([("id", writer.id.as_str().into()), ("changes", Value::Array(vec![chunk]))]))
    };
    pieces.iter().enumerate().map(part).collect()
}

#[tokio::test]
async fn nobody_writes_into_the_scope_of_another_in_any_way() {
    let mut town = town(OwnScope).await;
    let mut adas = document("adas", &[("title", "mine")]);
    accepted(&push_in(&mut town.ada, Some(ADA), vec![adas.document(None)]).await);

    // A forged scope, with a new document.
    town.eve_may_not(Some(ADA), document("new", &[("title", "theirs")]).document(None)).await;
    // No scope: readers of the whole collection would see it.
    town.eve_may_not(None, document("new", &[("title", "theirs")]).document(None)).await;
    // A document of Ada's, in each scope that a push can name.
    let edit = |title: &str| {
        let mut copy = Writer::new("adas");
        copy.merge(&mut document("adas", &[]));
        copy.document = adas.document.fork();
        let before = copy.document.get_heads();
        copy.document.put(ROOT, "title", title).unwrap();
        let changes = copy.document.get_changes(&before);
        pushed("adas", changes.iter().map(|change| change.raw_bytes()), None)
    };
    let mut edit = edit;
    for scope in [Some(ADA), Some(EVE), None, Some("")] {
        town.eve_may_not(scope, edit("stolen")).await;
        town.eve_may_not(scope, pushed("adas", [], None)).await;
    }
    // Parts, which would wait.
    for part in parts(&mut document("large", &[])) {
        town.eve_may_not(Some(ADA), part).await;
    }
    for part in parts(&mut document("adas", &[])) {
        town.eve_may_not(Some(EVE), part).await;
    }
    // The original API.
    let saved = document("adas", &[("title", "stolen")]).document.save();
    let whole = |id: &str| {
        json!({
            "collectionName": "tasks", "documentId": id, "crdtBytes": Json::from(Value::Bytes(saved.clone())),
            "materializedDoc": {}, "version": 1.0,
        })
    };
    for (kind, function, args) in [
        ("mutation", "insertDocument", whole("adas")),
        ("mutation", "updateDocument", whole("adas")),
        ("mutation", "insertDocument", whole("new")),
        ("mutation", "deleteDocument", json!({ "collectionName": "tasks", "documentId": "adas" })),
        ("mutation", "deleteDocument", json!({ "collectionName": "tasks", "documentId": "nobodys" })),
        ("query", "pullChanges", json!({ "collectionName": "tasks", "checkpoint": { "lastModified": 0.0 } })),
        ("query", "changeStream", json!({})),
        ("query", "pullDeltas", json!({ "checkpoint": Json::from(start()) })),
        ("query", "pullDeltas", json!({ "checkpoint": Json::from(start()), "scope": ADA })),
    ] {
        let answer = town.post(kind, function, args);
        assert_eq!(answer["errorData"]["code"], "notAuthorized", "{function}: {answer}");
    }
    let data =
        refused(query(&mut town.eve, "tasks:pullDeltas", [("checkpoint", start()), ("scope", ADA.into())]).await);
    assert_eq!(text(field(&data, "code")), "notAuthorized");

    // One push with a good document and a bad one: the good one is accepted.
    let results = push_in(
        &mut town.eve,
        Some(EVE),
        vec![edit("stolen"), document("eves", &[("title", "own")]).document(None), edit("stolen")],
    )
    .await;
    assert_eq!(codes(&results), ["notAuthorized", "accepted", "notAuthorized"]);
    let names: Vec<_> = town.backend.rows("tasks").into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(names, ["adas", "eves"]);
    // Ada repeats her push: it is in the log already.
    let again = pushed("adas", adas.document.get_changes(&[]).iter().map(|change| change.raw_bytes()), None);
    accepted(&push_in(&mut town.ada, Some(ADA), vec![again]).await);
}

#[tokio::test]
async fn nobody_writes_in_the_name_of_another() {
    let mut town = town(OwnRows::by("owner")).await;
    let mut adas = document("adas", &[("owner", ADA), ("title", "mine")]);
    accepted(&push_in(&mut town.ada, None, vec![adas.document(None)]).await);
    let mut edit = |fields: &[(&str, &str)], claims: Option<&[(&str, &str)]>| {
        let mut fork = adas.document.fork();
        let before = fork.get_heads();
        for (field, value) in fields {
            fork.put(ROOT, *field, *value).unwrap();
        }
        let claims = claims.map(|claims| {
            Value::Object(claims.iter().map(|(field, value)| ((*field).to_owned(), (*value).into())).collect())
        });
        let changes = fork.get_changes(&before);
        pushed("adas", changes.iter().map(|change| change.raw_bytes()), claims)
    };
    // An edit, with and without a claim about the row, and taking the document over.
    town.eve_may_not(None, edit(&[("title", "stolen")], None)).await;
    town.eve_may_not(None, edit(&[("title", "stolen")], Some(&[("owner", EVE)]))).await;
    town.eve_may_not(None, edit(&[("owner", EVE)], Some(&[("owner", EVE)]))).await;
    // Ada may not give it away either, and may edit it.
    assert_eq!(codes(&push_in(&mut town.ada, None, vec![edit(&[("owner", EVE)], None)]).await), ["notAuthorized"]);
    // A new document in Ada's name, whatever the client claims about it, and one without an owner.
    town.eve_may_not(None, document("forged", &[("owner", ADA)]).document(None)).await;
    let claim = Value::Object(object([("owner", EVE.into())]));
    town.eve_may_not(None, document("forged", &[("owner", ADA)]).document(Some(claim.clone()))).await;
    town.eve_may_not(None, document("forged", &[("title", "none")]).document(Some(claim))).await;
    // A text of Automerge is a text, and no other type is the owner.
    let mut odd = Writer::new("odd");
    odd.put("owner", 5);
    town.eve_may_not(None, odd.document(None)).await;
    // Parts for Ada's document, and deleting it.
    for part in parts(&mut document("adas", &[("owner", EVE)])) {
        town.eve_may_not(None, part).await;
    }
    let gone = town.post("mutation", "deleteDocument", json!({ "collectionName": "tasks", "documentId": "adas" }));
    assert_eq!(gone["errorData"]["code"], "notAuthorized", "{gone}");
    let mut tombstone = adas.document.fork();
    let before = tombstone.get_heads();
    tombstone.put(ROOT, "deleted", true).unwrap();
    let changes = tombstone.get_changes(&before);
    let deletes = pushed("adas", changes.iter().map(|change| change.raw_bytes()), None);
    town.eve_may_not(None, deletes.clone()).await;

    // A large new document of one's own arrives in parts, and the owner deletes.
    for part in parts(&mut document("large", &[("owner", EVE)])) {
        accepted(&push_in(&mut town.eve, None, vec![part]).await);
    }
    accepted(&push_in(&mut town.ada, None, vec![deletes]).await);
    let names: Vec<_> = town.backend.rows("tasks").into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(names, ["adas", "large"]);
}

/// What a rule was asked.
type Asked = (WriteKind, Option<Json>, Json, Vec<String>);

/// Allows everything, and remembers what it was asked.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Vec<Asked>>>);

impl Authorize for Listening {
    fn read(&self, _: &ReadRequest<'_>) -> bool {
        true
    }

    fn write(&self, request: &WriteRequest<'_>) -> bool {
        let row = |fields: &std::collections::BTreeMap<String, Value>| Json::from(Value::Object(fields.clone()));
        let before = request.before.map(|before| row(before.fields()));
        let asked = (request.kind, before, row(request.after.fields()), request.changed.to_vec());
        self.0.lock().unwrap().push(asked);
        true
    }
}

#[tokio::test]
async fn a_rule_is_asked_about_the_merged_rows_and_the_changed_fields() {
    let rule = Listening::default();
    let mut town = town(rule.clone()).await;
    let asked = || std::mem::take(&mut *rule.0.lock().unwrap());
    let mut task = document("t", &[("title", "a"), ("note", "b")]);
    let lie = || Some(Value::Object(object([("title", "a lie".into())])));
    accepted(&push_in(&mut town.ada, None, vec![task.document(lie())]).await);
    let first = json!({ "note": "b", "title": "a" });
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(asked(), [(WriteKind::New, None, first.clone(), names(&["note", "title"]))]);

    task.put("title", "c");
    accepted(&push_in(&mut town.ada, None, vec![task.document(lie())]).await);
    let second = json!({ "note": "b", "title": "c" });
    assert_eq!(asked(), [(WriteKind::Changed, Some(first), second.clone(), names(&["title"]))]);

    // A value that loses against a concurrent one is a change of its field as well.
    let mut forks = [task.document.fork(), task.document.fork()];
    let mut changes = Vec::new();
    for (fork, note) in forks.iter_mut().zip(["d", "e"]) {
        fork.put(ROOT, "note", note).unwrap();
        changes.push(fork.get_last_local_change().unwrap().raw_bytes().to_vec());
    }
    for change in &changes {
        accepted(&push_in(&mut town.ada, None, vec![pushed("t", [&**change], None)]).await);
    }
    let fields: Vec<_> = asked().into_iter().map(|(.., changed)| changed).collect();
    assert_eq!(fields, [names(&["note"]), names(&["note"])]);

    // A repeated push writes nothing, so nobody is asked.
    accepted(&push_in(&mut town.ada, None, vec![pushed("t", [&*changes[0]], None)]).await);
    assert_eq!(asked(), []);

    for (deleted, kind) in [(true, WriteKind::Deleted), (false, WriteKind::Restored)] {
        let before = forks[0].get_heads();
        forks[0].put(ROOT, "deleted", deleted).unwrap();
        let changes = forks[0].get_changes(&before);
        let document = pushed("t", changes.iter().map(|change| change.raw_bytes()), None);
        accepted(&push_in(&mut town.ada, None, vec![document]).await);
        assert_eq!(
            asked().into_iter().map(|(kind, .., changed)| (kind, changed)).collect::<Vec<_>>(),
            [(kind, names(&[]))]
        );
    }
}

#[tokio::test]
async fn nobody_takes_the_room_of_anothers_waiting_parts() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = UserTokens::open(directory.path()).unwrap();
    let [adas_token, eves_token] = ["ada", "eve"].map(|name| tokens.create(name, None).unwrap().1);
    let open = || Backend::start(BackendConfig::new().data(directory.path()).authorize(OwnScope)).unwrap();
    let backend = open();
    let mut eve = signed_in(&backend, &eves_token).await;
    // Eve guesses the name of Ada's new document.
    let adas = parts(&mut document("adas", &[]));
    let lost = |number: u8| {
        let part = object([("hash", vec![number; 32].into()), ("index", 0.0.into()), ("count", 2.0.into())]);
        let chunk = object([("bytes", vec![7; 256 * 1024].into()), ("part", Value::Object(part))]);
        Value::Object(object([("id", "adas".into()), ("changes", Value::Array(vec![Value::Object(chunk)]))]))
    };
    let mut filled = 0;
    while codes(&push_in(&mut eve, Some(EVE), vec![lost(filled)]).await) == ["accepted"] {
        filled += 1;
    }
    assert_eq!(filled, 32, "8 MiB");
    backend.stop();

    // Each sender's parts are apart from the others' after a restart, too.
    let backend = open();
    let mut eve = signed_in(&backend, &eves_token).await;
    assert_eq!(codes(&push_in(&mut eve, Some(EVE), vec![lost(filled)]).await), ["tooLarge"]);
    let mut ada = signed_in(&backend, &adas_token).await;
    for part in &adas[1..] {
        accepted(&push_in(&mut ada, Some(ADA), vec![part.clone()]).await);
    }
    backend.stop();
    let backend = open();
    let mut ada = signed_in(&backend, &adas_token).await;
    accepted(&push_in(&mut ada, Some(ADA), vec![adas[0].clone()]).await);
    let ids: Vec<_> = backend.rows("tasks").into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(ids, ["adas"]);
}

//! The shared parts of the backend's tests: the official client, real changes, and queries.
//!
//! Each test runs on one thread. The official client's tasks spin forever if they are polled while their channels are
//! dropped on another thread, which happens when a runtime of several threads ends just after a connection.

use std::{collections::BTreeMap, time::Duration};

use automerge::{AutoCommit, Change, ROOT, transaction::Transactable};
use bevy_convex_replicate::backend::{Authorize, Backend, BackendConfig, ReadRequest, WriteRequest};
use convex::{AuthenticationToken, ConvexClient, FunctionResult, QuerySubscription, Value};
use futures::StreamExt;

/// Long enough for any machine. A test ends as soon as its condition is true.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The rule of the documentation: each user has a scope of their own.
pub struct OwnScope;

impl Authorize for OwnScope {
    fn read(&self, request: &ReadRequest<'_>) -> bool {
        request.user.is_some_and(|user| request.scope == Some(user.as_str()))
    }

    fn write(&self, _: &WriteRequest<'_>) -> bool {
        true
    }
}

pub fn backend() -> Backend {
    Backend::start(BackendConfig::new()).expect("a backend in memory starts")
}

pub async fn client(backend: &Backend) -> ConvexClient {
    client_of(backend.url()).await
}

pub async fn client_of(url: &str) -> ConvexClient {
    ConvexClient::new(url).await.expect("a client")
}

pub fn object<const N: usize>(fields: [(&str, Value); N]) -> BTreeMap<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A field of an answer.
pub fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Object(fields) => fields.get(name).unwrap_or_else(|| panic!("no {name} in {value:?}")),
        other => panic!("not an object: {other:?}"),
    }
}

pub fn has(value: &Value, name: &str) -> bool {
    matches!(value, Value::Object(fields) if fields.contains_key(name))
}

pub fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        other => panic!("not a string: {other:?}"),
    }
}

pub fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        other => panic!("not an array: {other:?}"),
    }
}

pub fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        other => panic!("not bytes: {other:?}"),
    }
}

pub fn number(value: &Value) -> f64 {
    match value {
        Value::Float64(number) => *number,
        other => panic!("not a float64: {other:?}"),
    }
}

pub fn int(value: &Value) -> i64 {
    match value {
        Value::Int64(number) => *number,
        other => panic!("not an int64: {other:?}"),
    }
}

/// The value of an answer that must be a success.
pub fn ok(result: FunctionResult) -> Value {
    match result {
        FunctionResult::Value(value) => value,
        other => panic!("refused: {other:?}"),
    }
}

/// The data of an answer that must be an application error.
pub fn refused(result: FunctionResult) -> Value {
    match result {
        FunctionResult::ConvexError(error) => error.data,
        other => panic!("not an application error: {other:?}"),
    }
}

/// The message of an answer that must be another error.
pub fn failed(result: FunctionResult) -> String {
    match result {
        FunctionResult::ErrorMessage(message) => message,
        other => panic!("not an error: {other:?}"),
    }
}

pub async fn mutate<const N: usize>(client: &mut ConvexClient, path: &str, args: [(&str, Value); N]) -> FunctionResult {
    tokio::time::timeout(DEADLINE, client.mutation(path, object(args)))
        .await
        .expect("an answer in time")
        .expect("an answer")
}

pub async fn query<const N: usize>(client: &mut ConvexClient, path: &str, args: [(&str, Value); N]) -> FunctionResult {
    tokio::time::timeout(DEADLINE, client.query(path, object(args)))
        .await
        .expect("an answer in time")
        .expect("an answer")
}

/// The first result of a subscription that satisfies `wanted`.
pub async fn until(subscription: &mut QuerySubscription, wanted: impl Fn(&Value) -> bool) -> Value {
    tokio::time::timeout(DEADLINE, async {
        loop {
            if let FunctionResult::Value(value) = subscription.next().await.expect("the subscription goes on")
                && wanted(&value)
            {
                return value;
            }
        }
    })
    .await
    .expect("the result in time")
}

/// A document, and which of its changes were pushed.
pub struct Writer {
    pub id: String,
    pub document: AutoCommit,
    pushed: Vec<automerge::ChangeHash>,
}

impl Writer {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), document: AutoCommit::new(), pushed: Vec::new() }
    }

    pub fn put(&mut self, field: &str, value: impl Into<automerge::ScalarValue>) -> &mut Self {
        self.document.put(ROOT, field, value).expect("a root field can be set");
        self.document.commit();
        self
    }

    /// The changes made since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        let changes = self.document.get_changes(&self.pushed);
        self.pushed = self.document.get_heads();
        changes
    }

    /// Merges the changes of another writer, as if they had come from the log.
    pub fn merge(&mut self, other: &mut Self) {
        self.document.merge(&mut other.document).expect("documents merge");
        self.pushed = self.document.get_heads();
    }

    /// The document's entry in a push with these fields; `None` lets the backend compute the row.
    pub fn document(&mut self, fields: Option<Value>) -> Value {
        let changes = self.changes();
        pushed(&self.id, changes.iter().map(|change| change.raw_bytes()), fields)
    }
}

/// A document's entry in a push.
pub fn pushed<'a>(id: &str, changes: impl IntoIterator<Item = &'a [u8]>, fields: Option<Value>) -> Value {
    let changes = changes.into_iter().map(|bytes| Value::Object(object([("bytes", bytes.to_vec().into())])));
    let mut document = object([("id", id.into()), ("changes", Value::Array(changes.collect()))]);
    if let Some(fields) = fields {
        document.insert("fields".into(), fields);
    }
    Value::Object(document)
}

/// Pushes documents and returns the results.
pub async fn push(client: &mut ConvexClient, collection: &str, documents: Vec<Value>) -> Vec<Value> {
    let answer = ok(mutate(client, &format!("{collection}:pushChanges"), [("documents", documents.into())]).await);
    array(field(&answer, "results")).to_vec()
}

pub fn accepted(results: &[Value]) {
    for result in results {
        assert_eq!(text(field(result, "status")), "accepted", "{result:?}");
    }
}

/// The code of the only result.
pub fn code(results: &[Value]) -> &str {
    assert_eq!(results.len(), 1);
    assert_eq!(text(field(&results[0], "status")), "refused", "{results:?}");
    text(field(&results[0], "code"))
}

pub fn position(ts: i64, ordinal: u32) -> Value {
    Value::Object(object([("ts", ts.into()), ("ordinal", f64::from(ordinal).into())]))
}

pub fn start() -> Value {
    position(0, 0)
}

/// All rows of a collection's log, read page by page.
pub async fn pull_all(client: &mut ConvexClient, collection: &str, limit: f64) -> Vec<Value> {
    let mut deltas = Vec::new();
    let mut checkpoint = start();
    loop {
        let path = format!("{collection}:pullDeltas");
        let page = ok(query(client, &path, [("checkpoint", checkpoint), ("limit", limit.into())]).await);
        deltas.extend_from_slice(array(field(&page, "deltas")));
        checkpoint = field(&page, "checkpoint").clone();
        match field(&page, "hasMore") {
            Value::Boolean(true) => {}
            _ => return deltas,
        }
    }
}

/// A client that sends this token.
pub async fn signed_in(backend: &Backend, token: &str) -> ConvexClient {
    let mut client = client(backend).await;
    let token = token.to_owned();
    client
        .set_auth_callback(Some(Box::new(move |_| {
            let token = token.clone();
            Box::pin(async move { Ok(AuthenticationToken::User(token)) })
        })))
        .await;
    client
}

//! The functions every collection has: their arguments, and their answers as Convex values.

use std::{collections::BTreeMap, sync::LazyLock};

use convex::Value;
use convex_sync_types::UdfPath;

use super::{
    failure::Failure,
    limits::PATH_BYTES,
    log::{Chunk, DocumentPage, Log, LogPage, PullDeltas, PushAnswer, PushChanges, PushedDocument, PutDocument},
    validator::{Validator, array, object, optional, required},
};
use crate::{
    limits::SCOPE_BYTES,
    replica::{Part, Position},
};

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// A `ConvexError`: the application refused.
    Refused(Failure),
    /// Any other: a wrong call, a disk that is full.
    Message(String),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl CallError {
    /// The words and the data, as the protocol carries them.
    pub fn into_parts(self) -> (String, Option<Value>) {
        match self {
            Self::Message(message) => (message, None),
            Self::Refused(failure) => {
                let data = failure.data();
                (format!("Uncaught ConvexError: {}", serde_json::Value::from(data.clone())), Some(data))
            }
        }
    }
}

/// A call of a mutation, with its arguments.
#[derive(Debug)]
pub(super) enum Mutation {
    Push(PushChanges),
    Put(PutDocument),
    Delete { id: String },
}

/// A call of a query, with its arguments.
#[derive(Clone, Debug)]
pub(super) enum Query {
    PullDeltas(PullDeltas),
    PullChanges { checkpoint: f64, limit: Option<f64> },
    ChangeStream,
}

impl Query {
    /// The scope whose changes it depends on; `None`: the whole collection.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::PullDeltas(args) => args.scope.as_deref(),
            _ => None,
        }
    }

    /// What the query answers now. Building the value is left to the caller, who may have let go of the log by then.
    pub fn run(&self, collection: &str, log: &Log) -> Result<Answer, Failure> {
        Ok(match self {
            Self::PullDeltas(args) => Answer::Deltas(log.pull_deltas(collection, args)?, log.epoch().to_string()),
            Self::PullChanges { checkpoint, limit } => {
                Answer::Documents(log.pull_changes(collection, *checkpoint, *limit))
            }
            Self::ChangeStream => {
                let state = log.change_stream(collection);
                Answer::Stream { timestamp: state.timestamp.div_euclid(1_000) as f64, count: state.count as f64 }
            }
        })
    }
}

/// A query's answer.
pub(super) enum Answer {
    Deltas(LogPage, String),
    Documents(DocumentPage),
    Stream { timestamp: f64, count: f64 },
}

struct Validators {
    push_changes: Validator,
    pull_deltas: Validator,
    put_document: Validator,
    delete_document: Validator,
    pull_changes: Validator,
    change_stream: Validator,
}

static VALIDATORS: LazyLock<Validators> = LazyLock::new(|| {
    use Validator::{Any, Bytes, Float64, Int64, String};
    let part = object([required("hash", Bytes), required("index", Float64), required("count", Float64)]);
    let chunk = object([required("bytes", Bytes), optional("part", part)]);
    let document = object([
        required("id", String),
        required("changes", array(chunk)),
        optional("fields", Any),
        optional("removed", array(String)),
    ]);
    Validators {
        push_changes: object([required("documents", array(document)), optional("scope", String)]),
        pull_deltas: object([
            required("checkpoint", object([required("ts", Int64), required("ordinal", Float64)])),
            optional("limit", Float64),
            optional("scope", String),
            optional("pruned", Int64),
        ]),
        put_document: object([
            required("collectionName", String),
            required("documentId", String),
            required("crdtBytes", Bytes),
            required("materializedDoc", Any),
            required("version", Float64),
        ]),
        delete_document: object([required("collectionName", String), required("documentId", String)]),
        pull_changes: object([
            required("collectionName", String),
            required("checkpoint", object([required("lastModified", Float64)])),
            optional("limit", Float64),
        ]),
        change_stream: object([optional("collectionName", String)]),
    }
});

/// A mutation of a collection, by its path.
pub(super) fn mutation(path: &UdfPath, args: &str) -> Result<(String, Mutation), CallError> {
    let (collection, name) = split(path);
    let mutation = match name {
        "pushChanges" => Mutation::Push(push_changes(checked(args, &VALIDATORS.push_changes)?)?),
        "insertDocument" | "updateDocument" => {
            let mut args = checked(args, &VALIDATORS.put_document)?;
            Mutation::Put(PutDocument { id: args.string("documentId"), bytes: args.bytes("crdtBytes") })
        }
        "deleteDocument" => Mutation::Delete { id: checked(args, &VALIDATORS.delete_document)?.string("documentId") },
        "pullDeltas" | "pullChanges" | "changeStream" => {
            return Err(wrong_kind(path, "Mutation", "Query"));
        }
        _ => return Err(unknown(path)),
    };
    Ok((collection, mutation))
}

/// A query of a collection, by its path.
pub(super) fn query(path: &UdfPath, args: &str) -> Result<(String, Query), CallError> {
    let (collection, name) = split(path);
    let query = match name {
        "pullDeltas" => {
            let mut args = checked(args, &VALIDATORS.pull_deltas)?;
            let mut checkpoint = args.fields("checkpoint");
            let ts = checkpoint.int64("ts");
            let checkpoint =
                whole(checkpoint.float64("ordinal")).filter(|_| ts >= 0).map(|ordinal| Position { ts, ordinal });
            Query::PullDeltas(PullDeltas {
                checkpoint,
                limit: args.optional_float64("limit"),
                scope: check_scope(args.optional_string("scope"))?,
                pruned: args.optional_int64("pruned"),
            })
        }
        "pullChanges" => {
            let mut args = checked(args, &VALIDATORS.pull_changes)?;
            Query::PullChanges {
                checkpoint: args.fields("checkpoint").float64("lastModified"),
                limit: args.optional_float64("limit"),
            }
        }
        "changeStream" => {
            checked(args, &VALIDATORS.change_stream)?;
            Query::ChangeStream
        }
        "pushChanges" | "insertDocument" | "updateDocument" | "deleteDocument" => {
            return Err(wrong_kind(path, "Query", "Mutation"));
        }
        _ => return Err(unknown(path)),
    };
    Ok((collection, query))
}

/// The answer to `pushChanges`.
pub(super) fn push_answer(answer: PushAnswer, epoch: &str) -> Value {
    let results = answer
        .results
        .into_iter()
        .map(|(id, result)| {
            let (status, mut fields) = match result {
                Ok(()) => ("accepted", BTreeMap::new()),
                Err(failure) => ("refused", failure.fields()),
            };
            fields.insert("id".into(), id.into());
            fields.insert("status".into(), status.into());
            Value::Object(fields)
        })
        .collect::<Vec<_>>();
    fields([("epoch", epoch.into()), ("results", results.into())])
}

/// The answer of the original API's mutations.
pub(super) fn success() -> Value {
    fields([("success", true.into())])
}

impl From<Answer> for Value {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Deltas(page, epoch) => {
                let deltas = page.deltas.into_iter().map(|delta| {
                    let mut value = BTreeMap::from([
                        ("id".to_owned(), Value::from(delta.document.as_str())),
                        ("ts".to_owned(), Value::Int64(delta.position.ts)),
                        ("ordinal".to_owned(), Value::Float64(f64::from(delta.position.ordinal))),
                        ("bytes".to_owned(), Value::Bytes(delta.bytes.to_vec())),
                    ]);
                    if let Some(part) = delta.part {
                        let part = fields([
                            ("hash", part.hash.to_vec().into()),
                            ("index", f64::from(part.index).into()),
                            ("count", f64::from(part.count).into()),
                        ]);
                        value.insert("part".to_owned(), part);
                    }
                    Value::Object(value)
                });
                let checkpoint =
                    fields([("ts", page.checkpoint.ts.into()), ("ordinal", f64::from(page.checkpoint.ordinal).into())]);
                let answer = [
                    ("deltas", Value::Array(deltas.collect())),
                    ("checkpoint", checkpoint),
                    ("hasMore", page.has_more.into()),
                    ("epoch", epoch.into()),
                ];
                fields(answer.into_iter().chain(page.pruned.map(|pruned| ("pruned", pruned.into()))))
            }
            Answer::Documents(page) => {
                let changes = page.documents.into_iter().map(|document| {
                    fields([
                        ("documentId", document.id.as_str().into()),
                        ("crdtBytes", document.bytes.into()),
                        ("version", (document.version as f64).into()),
                        ("timestamp", document.timestamp.into()),
                    ])
                });
                fields([
                    ("changes", Value::Array(changes.collect())),
                    ("checkpoint", fields([("lastModified", page.checkpoint.into())])),
                    ("hasMore", page.has_more.into()),
                ])
            }
            Answer::Stream { timestamp, count } => fields([("timestamp", timestamp.into()), ("count", count.into())]),
        }
    }
}

fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Whether a path can be one, before it is parsed.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if path.len() > PATH_BYTES {
        return Err(format!("the function path has {} bytes; at most {PATH_BYTES} are taken", path.len()));
    }
    if !path.is_ascii() {
        return Err(format!("not a function path: {path:?}"));
    }
    Ok(())
}

/// A scope becomes part of every document in it, and of every open query.
fn check_scope(scope: Option<String>) -> Result<Option<String>, CallError> {
    match scope {
        Some(scope) if scope.len() > SCOPE_BYTES => {
            Err(Failure::too_large(format!("the scope has {} bytes", scope.len()), SCOPE_BYTES).into())
        }
        scope => Ok(scope),
    }
}

/// `tasks:pushChanges` is a function of the collection `tasks`.
fn split(path: &UdfPath) -> (String, &str) {
    let module = path.module().as_str();
    let collection = module.strip_suffix(".js").unwrap_or(module);
    (collection.to_owned(), path.function_name().map_or("default", |name| name))
}

fn unknown(path: &UdfPath) -> CallError {
    CallError::Message(format!(
        "Could not find public function for '{}'. This backend has, for every collection: pushChanges, pullDeltas, \
         insertDocument, updateDocument, deleteDocument, pullChanges and changeStream.",
        path.clone().canonicalize().strip()
    ))
}

fn wrong_kind(path: &UdfPath, called: &str, defined: &str) -> CallError {
    CallError::Message(format!("Trying to execute {path} as {called}, but it is defined as {defined}."))
}

/// Arguments travel as an array of one object.
fn checked(args: &str, validator: &Validator) -> Result<Fields, CallError> {
    let invalid = |problem: String| CallError::Message(format!("InvalidArguments: {problem}"));
    let json: serde_json::Value = serde_json::from_str(args).map_err(|error| invalid(error.to_string()))?;
    let json = match json {
        serde_json::Value::Array(mut args) if args.len() < 2 => args.pop().unwrap_or_else(|| serde_json::json!({})),
        serde_json::Value::Array(args) => {
            return Err(invalid(format!("{} arguments instead of one object", args.len())));
        }
        object => object,
    };
    let value = Value::try_from(json).map_err(|error| invalid(error.to_string()))?;
    validator.check(&value).map_err(CallError::Message)?;
    match value {
        Value::Object(fields) => Ok(Fields(fields)),
        _ => Err(invalid("the argument is not an object".into())),
    }
}

/// The fields of an object that its validator has passed: what is required is there, and everything is of its type.
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn optional_string(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name) {
            Some(Value::String(value)) => Some(value),
            _ => None,
        }
    }

    fn optional_float64(&mut self, name: &str) -> Option<f64> {
        match self.0.remove(name) {
            Some(Value::Float64(value)) => Some(value),
            _ => None,
        }
    }

    fn optional_int64(&mut self, name: &str) -> Option<i64> {
        match self.0.remove(name) {
            Some(Value::Int64(value)) => Some(value),
            _ => None,
        }
    }

    fn optional_fields(&mut self, name: &str) -> Option<Fields> {
        match self.0.remove(name) {
            Some(Value::Object(value)) => Some(Fields(value)),
            _ => None,
        }
    }

    fn fields(&mut self, name: &str) -> Fields {
        self.optional_fields(name).unwrap_or(Fields(BTreeMap::new()))
    }

    fn string(&mut self, name: &str) -> String {
        self.optional_string(name).unwrap_or_default()
    }

    fn float64(&mut self, name: &str) -> f64 {
        self.optional_float64(name).unwrap_or_default()
    }

    fn int64(&mut self, name: &str) -> i64 {
        match self.0.remove(name) {
            Some(Value::Int64(value)) => value,
            _ => 0,
        }
    }

    fn bytes(&mut self, name: &str) -> Vec<u8> {
        match self.0.remove(name) {
            Some(Value::Bytes(value)) => value,
            _ => Vec::new(),
        }
    }

    fn array(&mut self, name: &str) -> Vec<Value> {
        match self.0.remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        }
    }

    fn objects(&mut self, name: &str) -> impl Iterator<Item = Fields> {
        self.array(name).into_iter().filter_map(|value| match value {
            Value::Object(fields) => Some(Fields(fields)),
            _ => None,
        })
    }
}

fn push_changes(mut args: Fields) -> Result<PushChanges, CallError> {
    let documents = args
        .objects("documents")
        .map(|mut document| PushedDocument {
            id: document.string("id"),
            changes: document.objects("changes").map(chunk).collect(),
            fields: document.0.remove("fields"),
            removed: document
                .array("removed")
                .into_iter()
                .filter_map(|name| match name {
                    Value::String(name) => Some(name),
                    _ => None,
                })
                .collect(),
        })
        .collect();
    Ok(PushChanges { documents, scope: check_scope(args.optional_string("scope"))? })
}

fn chunk(mut chunk: Fields) -> Chunk {
    let part = chunk.optional_fields("part").map(|mut part| {
        Some(Part {
            hash: part.bytes("hash").try_into().ok()?,
            index: whole(part.float64("index"))?,
            count: whole(part.float64("count"))?,
        })
    });
    Chunk { bytes: chunk.bytes("bytes").into(), part }
}

/// A number that counts something.
fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

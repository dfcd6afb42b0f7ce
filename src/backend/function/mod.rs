//! The functions every collection has: their arguments, and their answers as Convex values.

mod answer;
mod arguments;

use std::sync::LazyLock;

use convex::Value;
use convex_sync_types::UdfPath;

pub(super) use self::answer::{Answer, push_answer, success};
use self::arguments::{check_scope, checked, push_changes, whole};
use super::{
    failure::Failure,
    limits::PATH_BYTES,
    log::{Log, PullDeltas, PushChanges, PutDocument},
    validator::{Validator, array, object, optional, required},
};
use crate::record::Position;

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

//! The functions of convex-replicate 0.2, which its clients call. This crate's client calls only `changeStream`. The
//! backend decodes and answers the others.

use std::collections::BTreeMap;

use convex::Value;

use super::{
    answer::AnswerObject,
    arguments::Arguments,
    validator::{Validator, object, optional, required},
    value,
};
use crate::DocumentId;

/// The arguments of `insertDocument` and `updateDocument` that are believed.
#[derive(Clone, Debug)]
pub(crate) struct PutDocument {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
}

/// The arguments of `pullChanges`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullChanges {
    /// Microseconds.
    pub(crate) checkpoint: f64,
    pub(crate) limit: Option<f64>,
}

/// The answer to `pullChanges`: a page of whole documents.
#[derive(Clone, Debug)]
pub(crate) struct DocumentPage {
    pub(crate) documents: Vec<WholeDocument>,
    /// Microseconds.
    pub(crate) checkpoint: f64,
    pub(crate) has_more: bool,
}

/// A whole document.
#[derive(Clone, Debug)]
pub(crate) struct WholeDocument {
    pub(crate) id: DocumentId,
    pub(crate) bytes: Vec<u8>,
    /// The number of changes in the document.
    pub(crate) version: usize,
    /// Microseconds.
    pub(crate) timestamp: f64,
}

pub(super) fn put_validator() -> Validator {
    object([
        required("collectionName", Validator::String),
        required("documentId", Validator::String),
        required("crdtBytes", Validator::Bytes),
        required("materializedDoc", Validator::Any),
        required("version", Validator::Float64),
    ])
}

pub(super) fn delete_validator() -> Validator {
    object([required("collectionName", Validator::String), required("documentId", Validator::String)])
}

pub(super) fn pull_validator() -> Validator {
    object([
        required("collectionName", Validator::String),
        required("checkpoint", object([required("lastModified", Validator::Float64)])),
        optional("limit", Validator::Float64),
    ])
}

pub(super) fn stream_validator() -> Validator {
    object([optional("collectionName", Validator::String)])
}

impl PutDocument {
    pub(crate) fn decode(mut arguments: Arguments) -> Self {
        Self { id: arguments.string("documentId"), bytes: arguments.bytes("crdtBytes") }
    }
}

/// The document that `deleteDocument` is asked to delete.
pub(crate) fn document_to_delete(mut arguments: Arguments) -> String {
    arguments.string("documentId")
}

/// The answer of `insertDocument`, `updateDocument` and `deleteDocument`.
pub(crate) fn success() -> Value {
    value::object([("success", true.into())])
}

impl PullChanges {
    pub(crate) fn decode(mut arguments: Arguments) -> Self {
        Self {
            checkpoint: arguments.object("checkpoint").float64("lastModified"),
            limit: arguments.optional_float64("limit"),
        }
    }
}

impl DocumentPage {
    pub(crate) fn encode(self) -> Value {
        let change = |document: WholeDocument| {
            value::object([
                ("documentId", document.id.as_str().into()),
                ("crdtBytes", document.bytes.into()),
                ("version", (document.version as f64).into()),
                ("timestamp", document.timestamp.into()),
            ])
        };
        value::object([
            ("changes", Value::Array(self.documents.into_iter().map(change).collect())),
            ("checkpoint", value::object([("lastModified", self.checkpoint.into())])),
            ("hasMore", self.has_more.into()),
        ])
    }
}

/// The arguments of `changeStream`.
pub(crate) fn count_arguments(collection: &str) -> BTreeMap<String, Value> {
    value::fields([("collectionName", collection.into())])
}

/// The answer of `changeStream`: the time of the newest change in microseconds, and the number of documents.
pub(crate) fn change_stream(timestamp: f64, count: f64) -> Value {
    value::object([("timestamp", timestamp.into()), ("count", count.into())])
}

/// The number of documents in an answer of `changeStream`. `None` if it has no number.
pub(crate) fn document_count(value: &Value) -> Option<u64> {
    let count = AnswerObject::of(value, "a count").ok()?.count("count").ok()?;
    Some(u64::from(count))
}

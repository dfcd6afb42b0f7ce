//! `pushChanges`: a client sends changes of documents, and a backend answers per document whether its log has them.

use std::collections::BTreeMap;

use convex::Value;

use super::{
    answer::{AnswerObject, bad_answer},
    arguments::Arguments,
    chunk::{Chunk, PushedChunk, chunk_validator, decode_chunk, encode_chunk},
    refusal,
    validator::{Validator, array, object, optional, required},
    value,
};
use crate::{
    DocumentId, format,
    limits::{LIST_ELEMENTS, NESTING, OBJECT_FIELDS, is_field_name},
    record::{PushedDocument, Refusal},
};

/// The arguments, as a backend decodes them.
#[derive(Clone, Debug)]
pub(crate) struct PushChanges {
    pub(crate) documents: Vec<DocumentChanges>,
    pub(crate) scope: Option<String>,
}

/// The changes of one document.
#[derive(Clone, Debug)]
pub(crate) struct DocumentChanges {
    pub(crate) id: String,
    pub(crate) changes: Vec<Chunk>,
    pub(crate) fields: Option<Value>,
    pub(crate) removed: Vec<String>,
}

pub(super) fn validator() -> Validator {
    let document = object([
        required("id", Validator::String),
        required("changes", array(chunk_validator())),
        optional("fields", Validator::Any),
        optional("removed", array(Validator::String)),
    ]);
    object([required("documents", array(document)), optional("scope", Validator::String)])
}

/// The arguments, of documents that [`pushed_document`] has encoded.
pub(crate) fn push_arguments(documents: Vec<Value>) -> BTreeMap<String, Value> {
    value::fields([("documents", Value::Array(documents))])
}

/// One document of a push. It has the given chunks of the document's changes and, if these are all of them, the fields
/// that they set. It leaves out fields that Convex accepts in no call, because Convex would refuse the whole call for
/// them. The backend reads those fields from the merged document.
pub(crate) fn pushed_document(document: &PushedDocument, chunks: &[PushedChunk<'_>], with_fields: bool) -> Value {
    let changes = chunks.iter().map(|chunk| Value::Object(encode_chunk(chunk.bytes, chunk.part.as_ref()))).collect();
    let mut entry = value::fields([("id", document.id.as_str().into()), ("changes", Value::Array(changes))]);
    if let (true, Some(fields)) = (with_fields, &document.fields)
        && has_fields(fields, FIELDS_LEVEL)
        && document.removed.len() <= LIST_ELEMENTS
    {
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.to_convex())).collect();
        entry.insert("fields".into(), Value::Object(fields));
        if !document.removed.is_empty() {
            let removed = document.removed.iter().map(|name| Value::from(name.as_str())).collect();
            entry.insert("removed".into(), Value::Array(removed));
        }
    }
    Value::Object(entry)
}

/// The level of `fields` in a call: the arguments are a list of one object, which has the documents, a list of objects.
const FIELDS_LEVEL: usize = 5;

/// Whether a call may have an object with these fields at `level`.
fn has_fields(fields: &BTreeMap<String, format::Value>, level: usize) -> bool {
    level <= NESTING
        && fields.len() <= OBJECT_FIELDS
        && fields.iter().all(|(name, value)| is_field_name(name) && is_argument(value, level))
}

/// Whether a call may have this value in an object or a list at `level`.
fn is_argument(value: &format::Value, level: usize) -> bool {
    match value {
        format::Value::List(items) => {
            level < NESTING && items.len() <= LIST_ELEMENTS && items.iter().all(|item| is_argument(item, level + 1))
        }
        format::Value::Map(fields) => has_fields(fields, level + 1),
        _ => true,
    }
}

impl PushChanges {
    pub(crate) fn decode(mut arguments: Arguments) -> Self {
        let documents = arguments
            .objects("documents")
            .map(|mut document| DocumentChanges {
                id: document.string("id"),
                changes: document.objects("changes").map(decode_chunk).collect(),
                fields: document.take("fields"),
                removed: document.strings("removed"),
            })
            .collect();
        Self { documents, scope: arguments.optional_string("scope") }
    }
}

/// The answer of a backend: the name of its log, and one result per document of the push, in order.
pub(crate) fn push_results(epoch: &str, results: Vec<(String, Result<(), Refusal>)>) -> Value {
    let result = |(id, result): (String, Result<(), Refusal>)| {
        let (status, mut fields) = match result {
            Ok(()) => ("accepted", BTreeMap::new()),
            Err(refusal) => ("refused", refusal::fields(&refusal)),
        };
        fields.insert("id".into(), id.into());
        fields.insert("status".into(), status.into());
        Value::Object(fields)
    };
    let results = results.into_iter().map(result).collect();
    value::object([("epoch", epoch.into()), ("results", Value::Array(results))])
}

/// The answer as a client decodes it: the epoch, and a result for each of the documents asked about.
pub(crate) fn push_answer<'a>(
    value: &Value,
    asked: impl ExactSizeIterator<Item = &'a DocumentId>,
) -> Result<(String, Vec<Result<(), Refusal>>), Refusal> {
    let answer = AnswerObject::of(value, "an answer")?;
    let results = answer.array("results")?;
    if results.len() != asked.len() {
        return Err(bad_answer(format_args!("{} results for {} documents", results.len(), asked.len())));
    }
    let results = results
        .iter()
        .zip(asked)
        .map(|(result, id)| {
            let result = AnswerObject::of(result, "a result")?;
            if result.string("id")? != id.as_str() {
                return Err(bad_answer(format_args!("the result for {id} is missing")));
            }
            match result.string("status")? {
                "accepted" => Ok(Ok(())),
                "refused" => Ok(Err(Refusal::new(result.string("code")?, result.string("message")?))),
                _ => Err(result.wrong("status", "`accepted` or `refused`")),
            }
        })
        .collect::<Result<_, Refusal>>()?;
    Ok((answer.string("epoch")?.to_owned(), results))
}

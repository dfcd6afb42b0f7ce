//! What `docs/wire.md` says, as values of the `convex` client: encoding arguments, and decoding what a server
//! answers without believing any of it.

use std::collections::BTreeMap;

use convex::{FunctionResult, Value};

use crate::{
    DocumentId,
    chunk::Part,
    format,
    limits::{CHUNK_BYTES, DOCUMENT_ID_BYTES, LIST_ELEMENTS, NESTING, OBJECT_FIELDS, is_field_name},
    record::{Position, PulledChunk, PushedDocument, Refusal},
};

/// A function failed without saying more than words.
pub(super) const FAILED: &str = "failed";
/// The deployment has no such function.
pub(super) const UNKNOWN_FUNCTION: &str = "unknownFunction";
/// The collection's name cannot be a module's.
pub(super) const BAD_NAME: &str = "badName";
/// What the deployment answered is not what the wire says.
pub(super) const BAD_ANSWER: &str = "badAnswer";
/// The function wants a token, or another one.
pub(super) const UNAUTHENTICATED: &str = "unauthenticated";

/// How Convex says that there is no such function.
const NO_FUNCTION: &str = "Could not find public function";

/// A function of a collection.
#[derive(Clone, Copy)]
pub(super) struct Function<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'static str,
}

impl std::fmt::Display for Function<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.module, self.name)
    }
}

/// A piece of a change on its way up.
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) part: Option<Part>,
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> BTreeMap<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The arguments of `pullDeltas`. `pruned` is what the page before said of itself.
pub(super) fn pull_arguments(checkpoint: Position, pruned: Option<i64>) -> BTreeMap<String, Value> {
    let mut arguments = object([(
        "checkpoint",
        Value::Object(object([
            ("ts", Value::Int64(checkpoint.ts)),
            ("ordinal", Value::Float64(f64::from(checkpoint.ordinal))),
        ])),
    )]);
    arguments.extend(pruned.map(|pruned| ("pruned".into(), Value::Int64(pruned))));
    arguments
}

/// The arguments of `changeStream`.
pub(super) fn count_arguments(collection: &str) -> BTreeMap<String, Value> {
    object([("collectionName", Value::from(collection))])
}

/// The arguments of `pushChanges`.
pub(super) fn push_arguments(documents: Vec<Value>) -> BTreeMap<String, Value> {
    object([("documents", Value::Array(documents))])
}

/// One document of a push: these pieces of its changes and, where they are all of them, the fields they set. Fields
/// that Convex takes in no call are not sent, since it would refuse the whole call for them: the backend reads them
/// from the merged document.
pub(super) fn pushed_document(document: &PushedDocument, pieces: &[Piece<'_>], with_fields: bool) -> Value {
    let changes = pieces.iter().map(chunk).collect();
    let mut entry = object([("id", Value::from(document.id.as_str())), ("changes", Value::Array(changes))]);
    if let (true, Some(fields)) = (with_fields, &document.fields)
        && can_be_sent(fields)
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

/// Whether a call may have these fields among its arguments.
fn can_be_sent(fields: &BTreeMap<String, format::Value>) -> bool {
    has_fields(fields, FIELDS_LEVEL)
}

/// The level of `fields` in a call: the arguments are a list of one object, which has the documents, a list of objects.
const FIELDS_LEVEL: usize = 5;

/// Whether this may be an object at `level` of a call.
fn has_fields(fields: &BTreeMap<String, format::Value>, level: usize) -> bool {
    level <= NESTING
        && fields.len() <= OBJECT_FIELDS
        && fields.iter().all(|(name, value)| is_field_name(name) && is_argument(value, level))
}

/// Whether this may be in an object or a list at `level` of a call.
fn is_argument(value: &format::Value, level: usize) -> bool {
    match value {
        format::Value::List(items) => {
            level < NESTING && items.len() <= LIST_ELEMENTS && items.iter().all(|item| is_argument(item, level + 1))
        }
        format::Value::Map(fields) => has_fields(fields, level + 1),
        _ => true,
    }
}

fn chunk(piece: &Piece<'_>) -> Value {
    let mut chunk = object([("bytes", Value::Bytes(piece.bytes.to_vec()))]);
    if let Some(part) = &piece.part {
        let part = object([
            ("hash", Value::Bytes(part.hash.to_vec())),
            ("index", Value::Float64(f64::from(part.index))),
            ("count", Value::Float64(f64::from(part.count))),
        ]);
        chunk.insert("part".into(), Value::Object(part));
    }
    Value::Object(chunk)
}

/// Why something the deployment sent cannot be read.
pub(super) fn bad_answer(what: impl std::fmt::Display) -> Refusal {
    Refusal {
        code: BAD_ANSWER.into(),
        message: format!(
            "the deployment answered what this client does not understand ({what}): deploy functions of the version that goes with it"
        ),
    }
}

/// The value a function gave, or why it gave none.
pub(super) fn outcome<'a>(result: &'a FunctionResult, function: Function<'_>) -> Result<&'a Value, Refusal> {
    let message = match result {
        FunctionResult::Value(value) => return Ok(value),
        FunctionResult::ErrorMessage(message) => message.clone(),
        FunctionResult::ConvexError(error) => match &error.data {
            Value::Object(data) => match (data.get("code"), data.get("message")) {
                (Some(Value::String(code)), message) => {
                    return Err(Refusal {
                        code: code.clone(),
                        message: match message {
                            Some(Value::String(message)) => message.clone(),
                            _ => error.message.clone(),
                        },
                    });
                }
                _ => error.message.clone(),
            },
            Value::String(message) => message.clone(),
            _ => error.message.clone(),
        },
    };
    if message.contains(NO_FUNCTION) {
        return Err(Refusal {
            code: UNKNOWN_FUNCTION.into(),
            message: format!(
                "the deployment has no function `{function}`: deploy the collection's functions, or correct the collection's name (it said: {message})"
            ),
        });
    }
    Err(Refusal { code: FAILED.into(), message })
}

/// The fields of an object that is expected at `place`.
struct Fields<'a> {
    place: &'static str,
    fields: &'a BTreeMap<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &'static str) -> Result<Self, Refusal> {
        match value {
            Value::Object(fields) => Ok(Self { place, fields }),
            _ => Err(bad_answer(format_args!("{place} is not an object"))),
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> Refusal {
        bad_answer(format_args!("`{name}` of {} is not {expected}", self.place))
    }

    fn get(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.fields.get(name).ok_or_else(|| bad_answer(format_args!("{} has no `{name}`", self.place)))
    }

    fn string(&self, name: &str) -> Result<&'a str, Refusal> {
        match self.get(name)? {
            Value::String(string) => Ok(string),
            _ => Err(self.wrong(name, "a string")),
        }
    }

    fn bool(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name)? {
            Value::Boolean(value) => Ok(*value),
            _ => Err(self.wrong(name, "a boolean")),
        }
    }

    fn optional_int(&self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::Int64(number)) => Ok(Some(*number)),
            Some(_) => Err(self.wrong(name, "an int64")),
        }
    }

    fn bytes(&self, name: &str) -> Result<&'a [u8], Refusal> {
        match self.get(name)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong(name, "bytes")),
        }
    }

    fn array(&self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.get(name)? {
            Value::Array(values) => Ok(values),
            _ => Err(self.wrong(name, "an array")),
        }
    }

    /// A whole number that `v.number()` carries.
    fn count(&self, name: &str) -> Result<u32, Refusal> {
        match self.get(name)? {
            Value::Float64(number) if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number) => {
                Ok(*number as u32)
            }
            _ => Err(self.wrong(name, "a whole number")),
        }
    }

    fn position(&self) -> Result<Position, Refusal> {
        let ts = match self.get("ts")? {
            Value::Int64(ts) if *ts >= 0 => *ts,
            _ => return Err(self.wrong("ts", "an int64 from 0 up")),
        };
        Ok(Position { ts, ordinal: self.count("ordinal")? })
    }
}

/// A result of `pullDeltas` whose rows are decoded only when asked for: every result repeats most of the one before.
pub(super) struct PageView<'a> {
    rows: &'a [Value],
    pub(super) checkpoint: Position,
    pub(super) has_more: bool,
    pub(super) epoch: &'a str,
    /// How far the log had been pruned when it gave out this page, if ever.
    pub(super) pruned: Option<i64>,
}

impl<'a> PageView<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Refusal> {
        let page = Fields::of(value, "a page")?;
        Ok(Self {
            rows: page.array("deltas")?,
            checkpoint: Fields::of(page.get("checkpoint")?, "a page's checkpoint")?.position()?,
            has_more: page.bool("hasMore")?,
            epoch: page.string("epoch")?,
            pruned: page.optional_int("pruned")?,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Chunk bytes of all its rows.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |row: &Value| match row {
            Value::Object(row) => match row.get("bytes") {
                Some(Value::Bytes(bytes)) => bytes.len(),
                _ => 0,
            },
            _ => 0,
        };
        self.rows.iter().map(bytes).sum()
    }

    /// Checks that this follows `from` as the wire says, and decodes the rows after `known`.
    pub(super) fn rows_after(&self, from: Position, known: Position) -> Result<Vec<PulledChunk>, Refusal> {
        let mut after = Vec::new();
        let mut last = self.checkpoint;
        for (index, row) in self.rows.iter().enumerate().rev() {
            let row = Fields::of(row, "a row")?;
            let position = row.position()?;
            let is_last = index + 1 == self.rows.len();
            if if is_last { position != last } else { position >= last } {
                return Err(bad_answer("the rows are not in order, or do not end at the checkpoint"));
            }
            last = position;
            if position <= known {
                break;
            }
            after.push(pulled(&row, position)?);
        }
        let ends_right = if self.rows.is_empty() { self.checkpoint == from && !self.has_more } else { last > from };
        if !ends_right {
            return Err(bad_answer("the page does not continue from the checkpoint asked for"));
        }
        after.reverse();
        Ok(after)
    }
}

fn pulled(row: &Fields<'_>, position: Position) -> Result<PulledChunk, Refusal> {
    let id = row.string("id")?;
    if id.is_empty() || id.len() > DOCUMENT_ID_BYTES {
        return Err(row.wrong("id", "of 1 to 128 bytes"));
    }
    let bytes = row.bytes("bytes")?;
    if bytes.len() > CHUNK_BYTES {
        return Err(row.wrong("bytes", "of at most 256 KiB"));
    }
    let part = match row.fields.get("part") {
        None | Some(Value::Null) => None,
        Some(part) => Some(part_of(&Fields::of(part, "a part")?)?),
    };
    Ok(PulledChunk { id: DocumentId::new(id), position, bytes: bytes.to_vec(), part })
}

fn part_of(part: &Fields<'_>) -> Result<Part, Refusal> {
    let hash = part.bytes("hash")?.try_into().map_err(|_| part.wrong("hash", "of 32 bytes"))?;
    let (index, count) = (part.count("index")?, part.count("count")?);
    if index >= count {
        return Err(part.wrong("index", "below `count`"));
    }
    Ok(Part { hash, index, count })
}

/// An answer of `pushChanges`: the epoch, and a result for each of the documents asked about.
pub(super) fn push_answer<'a>(
    value: &Value,
    asked: impl ExactSizeIterator<Item = &'a DocumentId>,
) -> Result<(String, Vec<Result<(), Refusal>>), Refusal> {
    let answer = Fields::of(value, "an answer")?;
    let results = answer.array("results")?;
    if results.len() != asked.len() {
        return Err(bad_answer(format_args!("{} results for {} documents", results.len(), asked.len())));
    }
    let results = results
        .iter()
        .zip(asked)
        .map(|(result, id)| {
            let result = Fields::of(result, "a result")?;
            if result.string("id")? != id.as_str() {
                return Err(bad_answer(format_args!("the result for {id} is missing")));
            }
            match result.string("status")? {
                "accepted" => Ok(Ok(())),
                "refused" => Ok(Err(Refusal {
                    code: result.string("code")?.to_owned(),
                    message: result.string("message")?.to_owned(),
                })),
                _ => Err(result.wrong("status", "`accepted` or `refused`")),
            }
        })
        .collect::<Result<_, Refusal>>()?;
    Ok((answer.string("epoch")?.to_owned(), results))
}

/// How many documents `changeStream` tells of.
pub(super) fn document_count(value: &Value) -> Option<u64> {
    let count = Fields::of(value, "a count").ok()?.count("count").ok()?;
    Some(u64::from(count))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

//! Positions of the log, and chunks with the parts that large ones travel in.

use std::{collections::BTreeMap, sync::Arc};

use convex::Value;

use super::{
    answer::AnswerObject,
    arguments::Arguments,
    validator::{Validator, object, optional, required},
    value,
};
use crate::{
    chunk::Part,
    record::{Position, Refusal},
};

/// A chunk or a part of one, on its way to a backend. A client encodes it.
pub(crate) struct PushedChunk<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) part: Option<Part>,
}

/// A chunk or a part of one, as a backend decodes it.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Arc<[u8]>,
    /// The part of a chunk that the bytes are. `None` if they are the whole chunk.
    pub(crate) part: Option<Result<Part, InvalidPart>>,
}

/// A part whose hash does not have 32 bytes, or whose numbers are not whole. The log refuses only its document, and not
/// the whole push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidPart;

pub(super) fn position_validator() -> Validator {
    object([required("ts", Validator::Int64), required("ordinal", Validator::Float64)])
}

pub(super) fn chunk_validator() -> Validator {
    let part = object([
        required("hash", Validator::Bytes),
        required("index", Validator::Float64),
        required("count", Validator::Float64),
    ]);
    object([required("bytes", Validator::Bytes), optional("part", part)])
}

pub(super) fn encode_position(position: Position) -> BTreeMap<String, Value> {
    value::fields([("ts", position.ts.into()), ("ordinal", f64::from(position.ordinal).into())])
}

/// A position among arguments; `None` for a position that no log gives out.
pub(super) fn decode_position(mut position: Arguments) -> Option<Position> {
    let ts = position.int64("ts");
    value::whole(position.float64("ordinal")).filter(|_| ts >= 0).map(|ordinal| Position { ts, ordinal })
}

pub(super) fn encode_chunk(bytes: &[u8], part: Option<&Part>) -> BTreeMap<String, Value> {
    let mut chunk = value::fields([("bytes", bytes.to_vec().into())]);
    chunk.extend(part.map(|part| ("part".to_owned(), Value::Object(encode_part(part)))));
    chunk
}

/// A chunk among arguments.
pub(super) fn decode_chunk(mut chunk: Arguments) -> Chunk {
    let part = chunk.optional_object("part").map(|part| decode_part(part).ok_or(InvalidPart));
    Chunk { bytes: chunk.bytes("bytes").into(), part }
}

fn encode_part(part: &Part) -> BTreeMap<String, Value> {
    value::fields([
        ("hash", part.hash.to_vec().into()),
        ("index", f64::from(part.index).into()),
        ("count", f64::from(part.count).into()),
    ])
}

fn decode_part(mut part: Arguments) -> Option<Part> {
    Some(Part {
        hash: part.bytes("hash").try_into().ok()?,
        index: value::whole(part.float64("index"))?,
        count: value::whole(part.float64("count"))?,
    })
}

/// A part in an answer.
pub(super) fn part_of(part: &AnswerObject<'_>) -> Result<Part, Refusal> {
    let hash = part.bytes("hash")?.try_into().map_err(|_| part.wrong("hash", "of 32 bytes"))?;
    let (index, count) = (part.count("index")?, part.count("count")?);
    if index >= count {
        return Err(part.wrong("index", "below `count`"));
    }
    Ok(Part { hash, index, count })
}

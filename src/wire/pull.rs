//! `pullDeltas`: a client follows the log of a collection, and a backend answers with pages of it.

use std::{collections::BTreeMap, sync::Arc};

use convex::Value;

use super::{
    answer::{AnswerObject, bad_answer},
    arguments::Arguments,
    chunk::{decode_position, encode_chunk, encode_position, part_of, position_validator},
    validator::{Validator, object, optional, required},
    value,
};
use crate::{
    DocumentId,
    chunk::Part,
    limits::{CHUNK_BYTES, DOCUMENT_ID_BYTES},
    record::{Position, PulledChunk, Refusal, UserId},
};

/// The arguments, as a backend decodes them.
#[derive(Clone, Debug)]
pub(crate) struct PullDeltas {
    /// Exclusive. `None` stands for a position that no log ever gave out.
    pub(crate) checkpoint: Option<Position>,
    pub(crate) limit: Option<f64>,
    pub(crate) scope: Option<String>,
    /// The commit up to which the log was pruned, as the page before this one said.
    pub(crate) pruned: Option<i64>,
}

pub(super) fn validator() -> Validator {
    object([
        required("checkpoint", position_validator()),
        optional("limit", Validator::Float64),
        optional("scope", Validator::String),
        optional("pruned", Validator::Int64),
    ])
}

/// The arguments, as a client encodes them. `pruned` is the commit up to which the log was pruned, as the page before
/// this one said.
pub(crate) fn pull_arguments(checkpoint: Position, pruned: Option<i64>) -> BTreeMap<String, Value> {
    let mut arguments = value::fields([("checkpoint", Value::Object(encode_position(checkpoint)))]);
    arguments.extend(pruned.map(|pruned| ("pruned".into(), pruned.into())));
    arguments
}

impl PullDeltas {
    pub(crate) fn decode(mut arguments: Arguments) -> Self {
        Self {
            checkpoint: decode_position(arguments.object("checkpoint")),
            limit: arguments.optional_float64("limit"),
            scope: arguments.optional_string("scope"),
            pruned: arguments.optional_int64("pruned"),
        }
    }
}

/// A page of the log, as a backend encodes it.
#[derive(Clone, Debug)]
pub(crate) struct LogPage {
    pub(crate) rows: Vec<LogChunk>,
    pub(crate) checkpoint: Position,
    pub(crate) has_more: bool,
    /// The commit up to which the log was pruned, which is that of the newest tombstone that is gone. The next query
    /// repeats it.
    pub(crate) pruned: Option<i64>,
}

/// A chunk in a page, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct LogChunk {
    pub(crate) position: Position,
    pub(crate) document: DocumentId,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) part: Option<Part>,
    pub(crate) author: Option<UserId>,
}

impl LogPage {
    /// The answer, of the log with this epoch.
    pub(crate) fn encode(self, epoch: &str) -> Value {
        let rows = self.rows.into_iter().map(|chunk| {
            let mut row = encode_position(chunk.position);
            row.extend(encode_chunk(&chunk.bytes, chunk.part.as_ref()));
            row.insert("id".into(), chunk.document.as_str().into());
            row.extend(chunk.author.map(|author| ("author".to_owned(), author.as_str().into())));
            Value::Object(row)
        });
        let mut page = value::fields([
            ("deltas", Value::Array(rows.collect())),
            ("checkpoint", Value::Object(encode_position(self.checkpoint))),
            ("hasMore", self.has_more.into()),
            ("epoch", epoch.into()),
        ]);
        page.extend(self.pruned.map(|pruned| ("pruned".into(), pruned.into())));
        Value::Object(page)
    }
}

/// The answer, as a client decodes it. Its rows are decoded only on demand, because each answer repeats most of the one
/// before.
pub(crate) struct PageView<'a> {
    rows: &'a [Value],
    pub(crate) checkpoint: Position,
    pub(crate) has_more: bool,
    pub(crate) epoch: &'a str,
    /// The commit up to which the log had been pruned when it gave out this page, if it ever was.
    pub(crate) pruned: Option<i64>,
}

impl<'a> PageView<'a> {
    pub(crate) fn of(value: &'a Value) -> Result<Self, Refusal> {
        let page = AnswerObject::of(value, "a page")?;
        Ok(Self {
            rows: page.array("deltas")?,
            checkpoint: AnswerObject::of(page.get("checkpoint")?, "a page's checkpoint")?.position()?,
            has_more: page.bool("hasMore")?,
            epoch: page.string("epoch")?,
            pruned: page.optional_int("pruned")?,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Chunk bytes of all its rows.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |row: &Value| match row {
            Value::Object(row) => match row.get("bytes") {
                Some(Value::Bytes(bytes)) => bytes.len(),
                _ => 0,
            },
            _ => 0,
        };
        self.rows.iter().map(bytes).sum()
    }

    /// Checks that this page follows `from` as `docs/wire.md` says, and decodes the rows after `known`.
    pub(crate) fn rows_after(&self, from: Position, known: Position) -> Result<Vec<PulledChunk>, Refusal> {
        let mut after = Vec::new();
        let mut last = self.checkpoint;
        for (index, row) in self.rows.iter().enumerate().rev() {
            let row = AnswerObject::of(row, "a row")?;
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

fn pulled(row: &AnswerObject<'_>, position: Position) -> Result<PulledChunk, Refusal> {
    let id = row.string("id")?;
    if id.is_empty() || id.len() > DOCUMENT_ID_BYTES {
        return Err(row.wrong("id", "of 1 to 128 bytes"));
    }
    let bytes = row.bytes("bytes")?;
    if bytes.len() > CHUNK_BYTES {
        return Err(row.wrong("bytes", "of at most 256 KiB"));
    }
    let part = match row.optional("part") {
        None | Some(Value::Null) => None,
        Some(part) => Some(part_of(&AnswerObject::of(part, "a part")?)?),
    };
    let author = match row.optional("author") {
        None | Some(Value::Null) => None,
        Some(Value::String(author)) => Some(UserId::recorded(author.as_str())),
        Some(_) => return Err(row.wrong("author", "a string")),
    };
    Ok(PulledChunk { id: DocumentId::new(id), position, bytes: bytes.to_vec(), part, author })
}

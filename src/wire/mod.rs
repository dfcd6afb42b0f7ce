//! The messages between clients and backends: the arguments and the answers of each function, as Convex values.
//!
//! `docs/wire.md` describes them. Every shape is in one file, in both directions: a client encodes arguments and
//! decodes answers, a backend decodes arguments and encodes answers. Round-trip tests hold the two directions of each
//! shape together.
//!
//! - A backend checks arguments against a validator first, as Convex does (`validator`), and then takes them apart
//!   (`arguments`).
//! - A client trusts no answer. Its decoders look at every value they use, and refuse an answer where such a value is
//!   missing or of another shape. They ignore fields that they do not know, so that a backend may say more than a
//!   client reads.
//!
//! This room has no connection, no log and no replica. Other rooms act on the values.

mod answer;
mod arguments;
mod call;
mod chunk;
mod function;
mod original;
mod pull;
mod push;
mod refusal;
#[cfg(test)]
mod tests;
mod validator;
mod value;

// A client uses these.
pub(crate) use self::{
    answer::{bad_answer, outcome},
    chunk::PushedChunk,
    function::{Function, FunctionName},
    original::{count_arguments, document_count},
    pull::{PageView, pull_arguments},
    push::{push_answer, push_arguments, pushed_document},
};

// A backend uses these.
#[cfg(any(feature = "backend", test))]
pub(crate) use self::{
    answer::NO_FUNCTION,
    call::arguments,
    chunk::Chunk,
    original::{DocumentPage, PullChanges, PutDocument, WholeDocument, change_stream, document_to_delete, success},
    pull::{LogChunk, LogPage, PullDeltas},
    push::{DocumentChanges, PushChanges, push_results},
    refusal::error_data,
};

//! The log of all collections, in memory. Sans-IO: no clock, randomness, disk, socket or thread.
//!
//! # The loop
//!
//! One writer owns a [`Log`]. For each mutation it calls one of [`push_changes`](Log::push_changes),
//! [`put_document`](Log::put_document) and [`delete_document`](Log::delete_document) with the time, and gets the answer
//! and the [`Record`]s to write down. After any number of mutations it makes the records durable in one transaction.
//! Then it calls [`publish`](Log::publish), and only then it sends the answers. If the disk fails, the writer drops the
//! log and reads it again with [`Restore`].
//!
//! ```text
//!   mutation, time -->  Log  --> answer, records --> disk
//!                        ^                             |
//!   readers  <-----------+ <------ publish <-----------+
//! ```
//!
//! Pruning works in the opposite order. Readers must not see that a document is gone while a power cut could bring it
//! back. So [`prunable`](Log::prunable) gives the records, and after they are durable [`forget`](Log::forget) removes
//! the documents from memory.
//!
//! Readers ([`pull_deltas`](Log::pull_deltas) and the others) see only published commits, so a power cut takes back
//! nothing that a reader has seen.
//!
//! # Positions
//!
//! Every commit has a later timestamp than all before it, even if the clock went back. The rows of a commit have the
//! same timestamp and differ in their ordinal. Rows never move. Compaction replaces a document's first rows by a
//! snapshot at the place of the last of them. Only pruning removes rows for good: the rows of documents that were
//! deleted long ago. A reader that has not read that far is told to start over.

mod append;
mod cache;
mod commit;
mod compact;
mod document;
mod history;
mod merge;
mod original;
mod outcomes;
mod past;
mod pieces;
mod prune;
mod pruned;
mod pull;
mod push;
mod receive;
mod record;
mod restore;
mod row;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod waiting;

pub(super) use self::{
    past::TooOld,
    pruned::Home,
    record::{Committed, Covered, DocumentRecord, Outcome, Record, RequestKey, Row},
    restore::{Damage, Restore},
    state::{Log, Size, StreamState},
    waiting::Sender,
};

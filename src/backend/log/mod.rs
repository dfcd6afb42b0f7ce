//! The log of all collections, in memory. Sans-IO: no clock, randomness, disk, socket or thread.
//!
//! # The loop
//!
//! One writer owns a [`Log`]. Per mutation it calls one of [`push_changes`](Log::push_changes), [`put_document`](Log::put_document),
//! [`delete_document`](Log::delete_document) with the time, and is given the answer and the [`Record`]s to write down. After any
//! number of mutations it makes the records durable, all in one transaction, then calls [`publish`](Log::publish), and only then
//! sends the answers. Should the disk fail, the log is thrown away and read again with [`Restore`].
//!
//! ```text
//!   mutation, time -->  Log  --> answer, records --> disk
//!                        ^                             |
//!   readers  <-----------+ <------ publish <-----------+
//! ```
//!
//! Pruning goes the other way round, because readers must not see that a document is gone while a power cut could bring it back:
//! [`prunable`](Log::prunable) gives the records, and once they are durable [`forget`](Log::forget) removes the documents from memory.
//!
//! Readers ([`pull_deltas`](Log::pull_deltas) and the others) see published commits and nothing later, so a power cut takes back nothing that was
//! shown.
//!
//! # Positions
//!
//! Every commit has a timestamp later than all before, also if the clock went back; its rows share it and are told apart by their
//! ordinal. Rows are never moved; compaction replaces a document's first rows by a snapshot at the place of the last of them. Only the rows of
//! documents that were deleted long ago go away for good; a reader that has not read so far is told to start over.

mod append;
mod cache;
mod commit;
mod compact;
mod document;
mod history;
mod merge;
mod original;
mod pieces;
mod prune;
mod pruned;
mod pull;
mod push;
mod receive;
mod record;
mod restore;
mod row;
mod state;
#[cfg(test)]
mod tests;

pub(super) use self::{
    record::{Committed, Covered, DocumentRecord, Record, Row},
    restore::{Damage, Restore},
    state::Log,
};

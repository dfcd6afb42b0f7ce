//! Bounds of this server alone; those of the wire are in [`crate::limits`].

use std::time::Duration;

/// The largest WebSocket message or HTTP body: what the official Rust client takes, and room for a whole saved document of
/// [`SAVED_BYTES`] in base64. More is refused before it is buffered.
pub(super) const FRAME_BYTES: usize = 16 * 1024 * 1024;
/// The largest saved document of the original API, as it arrives.
pub(super) const SAVED_BYTES: usize = crate::limits::CHANGE_BYTES;
/// The same, inflated: a compressed column may not grow without bound.
pub(super) const INFLATED_BYTES: usize = 64 * 1024 * 1024;
/// Operations in one change, or in one saved document: run-length encoding lets a few bytes claim any number. Enough to write and
/// delete the longest text a row may hold several times over.
pub(super) const OPERATIONS: u64 = 4 * 1024 * 1024;
/// Bytes of chunks that wait for their missing parts, per document: two of the largest changes.
pub(super) const WAITING_BYTES: usize = 2 * crate::limits::CHANGE_BYTES;
/// Document bytes in one page of the original API, which has a limit in documents only: well within a frame.
pub(super) const DOCUMENT_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A document's log rows are compacted when there are more than this since its last snapshot.
pub(super) const COMPACT_ROWS: usize = 512;
/// The newest rows that compaction leaves as they are, so that those who follow closely are not sent a snapshot.
pub(super) const COMPACT_TAIL: usize = 128;
/// Documents whose Automerge form is kept in memory: each push is tried on it.
pub(super) const MERGED_DOCUMENTS: usize = 1_024;
/// The log's bytes of the documents kept in this form, which takes several times as many.
pub(super) const MERGED_BYTES: usize = 16 * 1024 * 1024;

/// Connections at once: each costs a task and its buffers.
pub(super) const CONNECTIONS: usize = 1_024;
/// Open queries of one connection.
pub(super) const QUERIES: usize = 1_024;
/// Mutations of one connection that wait for an answer, or whose answer waits to be sent. Its socket is not read meanwhile.
pub(super) const WAITING_MUTATIONS: usize = 64;
/// Messages that wait for a connection's socket. What is newer is computed when there is room.
pub(super) const OUTGOING_MESSAGES: usize = 4;
/// The longest a single message may take to be written before the connection is given up.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a quiet connection is pinged: the official client gives up after 30 seconds without a word.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// Mutations that are made durable together: what waits while the disk is busy.
pub(super) const GROUP: usize = 256;
/// How long the writer must have been idle before it looks after the log (checking rows, compacting).
pub(super) const IDLE: Duration = Duration::from_millis(50);
/// Rows checked against their merged documents before the writer looks for mutations again.
pub(super) const CHECKS: usize = 16;
/// How long the log goes without being looked after where the writer is never idle.
pub(super) const CARE_EVERY: Duration = Duration::from_secs(1);

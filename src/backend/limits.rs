//! Bounds of this server alone; those of the wire are in [`crate::limits`].

use std::time::Duration;

/// The largest WebSocket message or HTTP body: what the official Rust client takes, and room for a whole saved document of
/// [`SAVED_BYTES`](crate::limits::SAVED_BYTES) in base64. More is refused before it is buffered.
pub(super) const FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of chunks that wait for their missing parts, per document: two of the largest changes.
pub(super) const WAITING_BYTES: usize = 2 * crate::limits::CHANGE_BYTES;

/// A document's log rows are compacted when there are more than this since its last snapshot.
pub(super) const COMPACT_ROWS: usize = 512;
/// And no more often than once per that many bytes of the snapshot times the rows that came since. A row takes some 300 bytes of the file, so that
/// the rows come to about five times their snapshot.
pub(super) const COMPACT_BYTES_PER_ROW: usize = 64;
/// The newest rows that compaction leaves as they are, so that those who follow closely are not sent a snapshot.
pub(super) const COMPACT_TAIL: usize = 128;
/// Documents whose Automerge form is kept in memory: each push is tried on it.
pub(super) const MERGED_DOCUMENTS: usize = 1_024;
/// The log's bytes of the documents kept in this form, which takes several times as many.
pub(super) const MERGED_BYTES: usize = 16 * 1024 * 1024;

/// The largest log unless configured otherwise. All of it is held in memory, where it takes up to twice as much: a machine with 4 GiB keeps going.
pub(super) const LOG_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// WebSockets at once: each costs a task and its buffers.
pub(super) const CONNECTIONS: usize = 1_024;
/// Sockets at once, with those that speak HTTP or have not said what they want. What comes beyond is closed unread.
pub(super) const SOCKETS: usize = CONNECTIONS + 256;
/// How long to wait before accepting again when the system has no more sockets to give.
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Open queries of one connection.
pub(super) const QUERIES: usize = 1_024;
/// A function's path: longer than any that this backend has. Every open query keeps its own.
pub(super) const PATH_BYTES: usize = 256;
/// Mutations of one connection that wait for an answer, or whose answer waits to be sent. Its socket is not read meanwhile.
pub(super) const WAITING_MUTATIONS: usize = 64;
/// Bytes of them: while more wait, the socket is not read, so that one connection's large pushes queue up with their sender and not before the
/// other connections' small ones.
pub(super) const WAITING_MUTATION_BYTES: usize = 256 * 1024;
/// Messages that wait for a connection's socket, beside the one that is being written. What is newer is computed when there is room, so that a reader
/// that stops costs two messages.
pub(super) const OUTGOING_MESSAGES: usize = 1;
/// What a WebSocket reads and writes at once; the library's own would be 128 KiB each for every connection, used or not.
pub(super) const SOCKET_BUFFER_BYTES: usize = 16 * 1024;
/// Messages a connection may send at once: what piled up in an app while it was offline.
pub(super) const MESSAGES_AT_ONCE: f64 = 4_096.0;
/// Messages per second that a connection may go on with: several per frame of a fast game.
pub(super) const MESSAGES_PER_SECOND: f64 = 512.0;
/// Bytes a connection may send at once: two of the largest messages.
pub(super) const BYTES_AT_ONCE: f64 = 2.0 * FRAME_BYTES as f64;
/// Bytes per second that it may go on with: a large store is uploaded in minutes, and a few at once leave time for others.
pub(super) const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
/// How long a client may say nothing, or take nothing, before it is given up, unless configured otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a quiet connection is pinged: the official client gives up after 30 seconds without a word. More often where patience is short.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// Pings within the patience: one that is lost is not the end.
pub(super) const PINGS: u32 = 4;
/// Mutations that are made durable together: what waits while the disk is busy.
pub(super) const GROUP: usize = 256;
/// Bytes of them, as their messages came: how long who comes next has to wait. One that is larger is alone.
pub(super) const GROUP_BYTES: u64 = 256 * 1024;
/// Bytes of those of heavy callers, while others are there: at most some 32 small ones, which take little longer than synchronising the disk does.
pub(super) const HEAVY_GROUP_BYTES: u64 = 32 * 1024;
/// What a mutation costs at least, in bytes: a small one is work, too.
pub(super) const MUTATION_BYTES: u64 = 1024;
/// A caller who asked for more bytes of mutations [lately](LATELY) is heavy: more than 60 small ones per second take, and any group of
/// large ones.
pub(super) const HEAVY_BYTES: f64 = 128.0 * 1024.0;
/// How long it is remembered what was asked for, and that others were there.
pub(super) const LATELY: Duration = Duration::from_secs(1);
/// How many times as long as a group of heavy callers took they rest, while others are there: all of them together have a seventh of the
/// writer's time at most.
pub(super) const RESTS: u32 = 6;
/// How long they rest at most, also after a group that took long because the disk did.
pub(super) const REST_MOST: Duration = Duration::from_millis(500);
/// Callers who are remembered before it is looked who of them may be forgotten.
pub(super) const CALLERS: usize = 2 * CONNECTIONS;
/// How long the writer must have been idle before it looks after the log (checking rows, compacting).
pub(super) const IDLE: Duration = Duration::from_millis(50);
/// Rows checked against their merged documents before the writer looks for mutations again.
pub(super) const CHECKS: usize = 16;
/// How long tombstones are kept, unless configured otherwise. A client that was away for longer starts over.
pub(super) const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How long parts of a change wait for the others at least, however short the retention is: while a push is on its way none of it may go. Longer
/// than any connection is held up, and than a clock that is set right usually jumps.
pub(super) const PART_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often the log is searched for tombstones older than that.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Documents pruned in one transaction: mutations wait meanwhile.
pub(super) const PRUNE_DOCUMENTS: usize = 64;
/// How long the log goes without being looked after where the writer is never idle.
pub(super) const CARE_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;

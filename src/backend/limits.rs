//! Limits of this server alone. The limits of the wire are in [`crate::limits`].

use std::time::Duration;

/// The size of the largest WebSocket message or HTTP body. The official Rust client accepts messages of this size, and
/// a whole saved document of [`SAVED_BYTES`](crate::limits::SAVED_BYTES) fits in base64. Convex takes about as much
/// over HTTP (`MAX_BACKEND_PUBLIC_API_REQUEST_SIZE` in `crates/common/src/knobs.rs` of get-convex/convex-backend).
/// Larger messages are refused before they are buffered.
pub(super) const FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of chunks that wait for their missing parts, per document: two of the largest changes.
pub(super) const WAITING_BYTES: usize = 2 * crate::limits::CHANGE_BYTES;

/// A document's log rows are compacted when there are more than this since its last snapshot.
pub(super) const COMPACT_ROWS: usize = 512;
/// A document is not compacted before it has one new row for each of this many bytes of its snapshot. A row takes some
/// 300 bytes of the file, so that the rows take up to about five times the bytes of their snapshot.
pub(super) const COMPACT_BYTES_PER_ROW: usize = 64;
/// The newest rows that compaction leaves as they are, so that clients that follow closely do not get a snapshot.
pub(super) const COMPACT_TAIL: usize = 128;
/// Documents whose Automerge form is kept in memory: each push is tried on it.
pub(super) const MERGED_DOCUMENTS: usize = 1_024;
/// The log's bytes of the documents kept in this form, which takes several times as many.
pub(super) const MERGED_BYTES: usize = 16 * 1024 * 1024;

/// The largest log unless configured otherwise. The whole log is held in memory, where it takes up to twice as much.
/// This fits into a machine with 4 GiB.
pub(super) const LOG_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The time for which the outcome of a mutation is kept for a client that sends the mutation again: the same as on
/// Convex (`MAX_SESSION_CLEANUP_DURATION` in `crates/common/src/knobs.rs` of get-convex/convex-backend). After that,
/// such a mutation runs again.
pub(super) const OUTCOME_RETENTION: Duration = Duration::from_secs(14 * 24 * 3_600);
/// The outcomes kept of one session. A client repeats only mutations that it has no answer to; Convex takes at most
/// 1,000 of them at once (`OPERATION_QUEUE_BUFFER_SIZE` in `crates/sync/src/worker.rs`). So a busy session does not
/// displace the outcomes of the others.
pub(super) const SESSION_OUTCOMES: usize = 1_024;
/// The bytes of all outcomes. They are held in memory and in the log's file. An outcome takes about 250 bytes, so this
/// is room for some 64,000.
pub(super) const OUTCOME_BYTES: usize = 16 * 1024 * 1024;

/// WebSockets and requests at once that may call functions: each costs a task and its buffers.
pub(super) const CONNECTIONS: usize = 1_024;
/// WebSockets at once, with those of strangers.
pub(super) const WEB_SOCKETS: usize = CONNECTIONS + STRANGERS;
/// Sockets at once whose client has shown no valid token. A quarter of the members is enough for hundreds of clients a
/// second: an honest one shows its token within a few round trips.
pub(super) const STRANGERS: usize = 256;
/// Such sockets of one address: half, so that no single machine takes all of them.
pub(super) const STRANGERS_PER_ADDRESS: usize = STRANGERS / 2;
/// The time that a client may take to show a token: a few round trips of the slowest network, with TLS.
pub(super) const STRANGER_PATIENCE: Duration = Duration::from_secs(10);
/// The time that a stranger keeps its place although another waits for it. An honest client usually needs no more.
pub(super) const STRANGER_GRACE: Duration = Duration::from_millis(500);
/// The largest HTTP body without a token, and all that a WebSocket may send before its token. An official client sends
/// its token first, in some kilobytes.
pub(super) const STRANGER_BYTES: usize = 64 * 1024;
/// Bytes of the head of such a request, and of the data that is read ahead.
pub(super) const STRANGER_HEAD_BYTES: usize = 64 * 1024;
/// Accepted sockets that wait for a place, unread: a burst of clients after a restart.
pub(super) const WAITING_SOCKETS: usize = 256;
/// Bytes of an unfinished message or request of a member that are not counted in [`UNFINISHED_BYTES`].
pub(super) const FREE_BYTES: usize = STRANGER_HEAD_BYTES + STRANGER_BYTES;
/// Bytes of all unfinished messages and requests of members together: several of the largest. Beyond them the
/// connection that asks for more is closed, and its client tries again later.
pub(super) const UNFINISHED_BYTES: usize = 4 * FRAME_BYTES;
/// They are counted in steps of this many bytes.
pub(super) const UNFINISHED_STEP: usize = 64 * 1024;
/// Refused origins that are remembered, so that each is logged once.
pub(super) const LOGGED_ORIGINS: usize = 64;
/// The interval at which the files of the certificate are compared with those in use.
pub(super) const CERTIFICATE_EVERY: Duration = Duration::from_secs(2);
/// How long to wait before accepting again when the system has no more sockets to give.
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Open queries of one connection, and queries of one batch over HTTP.
pub(super) const QUERIES: usize = 1_024;
/// A function's path: longer than any that this backend has. Every open query keeps its own.
pub(super) const PATH_BYTES: usize = 256;
/// Mutations of one connection that wait for an answer, or whose answer waits to be sent. While there are this many,
/// the connection's socket is not read. Convex ends a connection that has more than 1,000
/// (`OPERATION_QUEUE_BUFFER_SIZE` in `crates/sync/src/worker.rs`); here the client only waits.
pub(super) const WAITING_MUTATIONS: usize = 64;
/// The bytes of those mutations. While there are more, the socket is not read. So one connection's large pushes wait at
/// their sender, and do not delay the other connections' small ones.
pub(super) const WAITING_MUTATION_BYTES: usize = 256 * 1024;
/// Messages that wait for a connection's socket, beside the one that is being written. Newer messages are computed once
/// there is space, so that a reader that stops costs two messages.
pub(super) const OUTGOING_MESSAGES: usize = 1;
/// The size of a WebSocket's read and write buffers. The library's default would be 128 KiB each for every connection,
/// used or not.
pub(super) const SOCKET_BUFFER_BYTES: usize = 16 * 1024;
/// Messages that a connection may send at once. An app that was offline has many.
pub(super) const MESSAGES_AT_ONCE: f64 = 4_096.0;
/// Messages per second that a connection may send continuously: several per frame of a fast game.
pub(super) const MESSAGES_PER_SECOND: f64 = 512.0;
/// Bytes that a connection may send at once: two of the largest messages.
pub(super) const BYTES_AT_ONCE: f64 = 2.0 * FRAME_BYTES as f64;
/// Bytes per second that a connection may send continuously. A large store is uploaded in minutes, and a few uploads at
/// once leave time for others.
pub(super) const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;
/// The default time that a client may send nothing, or read nothing, before its connection is closed. Convex waits for
/// two minutes (`CLIENT_TIMEOUT` in `crates/local_backend/src/subs/mod.rs`).
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest interval between pings of a quiet connection. The official Rust client gives up after 30 silent seconds
/// (`SERVER_INACTIVITY_THRESHOLD` in its `src/sync/web_socket_manager.rs`), and the JavaScript client after 60. With a
/// short patience, pings are more frequent. Convex pings every 5 seconds (`HEARTBEAT_INTERVAL` in
/// `crates/local_backend/src/subs/mod.rs`).
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// The number of pings within the patience, so that one lost ping does not close the connection.
pub(super) const PINGS: u32 = 4;
/// The largest number of mutations that are made durable together. They wait while the disk is busy.
pub(super) const GROUP: usize = 256;
/// The bytes of the messages of such a group, which limit how long the next caller waits. A larger mutation runs alone.
pub(super) const GROUP_BYTES: u64 = 256 * 1024;
/// The same limit for a group of heavy callers, while other callers are present. It allows some 32 small mutations,
/// which take little longer than synchronising the disk.
pub(super) const HEAVY_GROUP_BYTES: u64 = 32 * 1024;
/// The least cost of a mutation, in bytes, because a small mutation is work too.
pub(super) const MUTATION_BYTES: u64 = 1024;
/// A caller that has sent more bytes of mutations [recently](LATELY) is heavy: more than 60 small mutations per second,
/// or any group of large ones.
pub(super) const HEAVY_BYTES: f64 = 128.0 * 1024.0;
/// The time over which the bytes of a caller are counted, and for which a caller counts as present.
pub(super) const LATELY: Duration = Duration::from_secs(1);
/// After a group of heavy callers, they rest this many times as long as the group took, while others are present. So
/// heavy callers together get at most a seventh of the writer's time.
pub(super) const RESTS: u32 = 6;
/// The longest rest, even after a group that the disk made slow.
pub(super) const REST_MOST: Duration = Duration::from_millis(500);
/// When there are this many callers, those that no longer matter are forgotten.
pub(super) const CALLERS: usize = 2 * CONNECTIONS;
/// The time that the writer must have been idle before it maintains the log (checks rows, compacts).
pub(super) const IDLE: Duration = Duration::from_millis(50);
/// Rows checked against their merged documents before the writer looks for mutations again.
pub(super) const CHECKS: usize = 16;
/// The default time for which tombstones are kept. A client that was away for longer starts over.
pub(super) const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The time that parts of a change wait for the others at least, even if the retention is shorter. No part may be
/// dropped while its push is on its way. This is longer than any delay of a connection, and longer than the usual jump
/// when a clock is corrected.
pub(super) const PART_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The interval at which the log is searched for tombstones older than that.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Documents pruned in one transaction: mutations wait meanwhile.
pub(super) const PRUNE_DOCUMENTS: usize = 64;
/// The name of a user of this backend's own tokens. OpenID Connect has the same limit for a subject.
pub(super) const SUBJECT_BYTES: usize = 255;
/// The largest signed token. Servers commonly accept a header of this size.
#[cfg(feature = "oidc")]
pub(super) const SIGNED_TOKEN_BYTES: usize = 16 * 1024;
/// The largest file of a provider's keys. A key takes some 2 KiB with its certificates, and providers publish a few.
#[cfg(feature = "oidc")]
pub(super) const JWKS_BYTES: u64 = 256 * 1024;
/// The largest difference between the clocks of this machine and of a provider.
#[cfg(feature = "oidc")]
pub(super) const OIDC_LEEWAY: Duration = Duration::from_secs(60);
/// The interval at which a running backend looks whether its users' tokens have changed. A revoked token works for at
/// most this long.
pub(super) const TOKEN_FILE_EVERY: Duration = Duration::from_secs(1);
/// How long to wait for another process that writes the file of tokens. Such a write takes milliseconds.
pub(super) const TOKEN_FILE_WAIT: Duration = Duration::from_secs(5);
/// The longest time that a writer that is never idle leaves the log without maintenance.
pub(super) const CARE_EVERY: Duration = Duration::from_secs(1);

/// Values that a peer may show at once, as time of its rate: those of a second that a slow network held back.
pub(super) const PRESENCE_BURST: Duration = Duration::from_secs(1);
/// Peers of all areas: 64 MiB if each shows the largest value.
pub(super) const PRESENCE_PLACES: usize = 64 * 1024 * 1024 / crate::limits::PRESENCE_BYTES;
/// Peers that one connection shows, in all areas, and those that one user, or all who have no name, show by HTTP. An app
/// shows one for each collection.
pub(super) const PRESENCE_PLACES_OF_HOLDER: usize = 32;
/// How long a peer is shown whose connection is lost. A client that connects again does so within this time, and its peer
/// does not flicker.
pub(super) const PRESENCE_LOST: Duration = Duration::from_secs(3);
/// The time between two looks of a connection at its areas. An area of twenty peers changes more often than that, and
/// each look sends all of it, so this bounds the work for each reader. It is far shorter than a frame.
pub(super) const PRESENCE_GAP: Duration = Duration::from_millis(4);
/// How often peers that were not heard of are looked for.
pub(super) const PRESENCE_EXPIRE_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;

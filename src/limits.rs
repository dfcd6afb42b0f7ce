//! Every bound of the wire and the disk, in one place, each with its reason.
//!
//! Convex's figures are from the sources of its backend, get-convex/convex-backend. A comment names the constant; those
//! without a file are in `crates/common/src/knobs.rs`.

/// A chunk larger than this travels and is logged in parts: a log row stays well within Convex's 1 MiB document.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The largest Automerge change. On Convex its parts are read when it is whole, and once more when they are deleted.
/// That leaves half of what a transaction may read (16 MiB, `TRANSACTION_MAX_READ_SIZE_BYTES`) for the document so far
/// and its row. And a Convex function has one second of code to read the change (`DATABASE_UDF_USER_TIMEOUT`).
pub const CHANGE_BYTES: usize = 4 * 1024 * 1024;
/// The largest saved document. Compaction loads, saves and loads it again, within one second of code on Convex
/// (`DATABASE_UDF_USER_TIMEOUT`). A document with fewer bytes of changes in the log is not measured.
pub const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Chunk bytes in one push: as many as one mutation has time to write, within its second of code. The limits of the
/// call itself are far larger: 16 MiB of arguments (`FUNCTION_MAX_ARGS_SIZE`) and of writes
/// (`TRANSACTION_MAX_USER_WRITE_SIZE_BYTES`).
pub const PUSH_BYTES: usize = 1024 * 1024;
/// Bytes of the logs of all documents that one commit changes, unless it changes one document only. A page of whole
/// documents cannot end within a commit, and this is half of what a Convex query may read or return (16 MiB each,
/// `TRANSACTION_MAX_READ_SIZE_BYTES` and `FUNCTION_MAX_RESULT_SIZE`).
pub const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// Documents in one push: each is a few of the 4,096 index ranges that a transaction may read
/// (`TRANSACTION_MAX_READ_SET_INTERVALS`).
pub const PUSH_DOCUMENTS: usize = 100;
/// Changes in one push: each is two of the 16,000 documents that a transaction may write
/// (`TRANSACTION_MAX_NUM_USER_WRITES`).
pub const PUSH_CHANGES: usize = 1_000;
/// Chunk bytes in one page: the official Rust client takes at most 16 MiB in a frame (the default of `max_frame_size`
/// in its WebSocket library, tungstenite), and after a reconnect one frame has all open queries.
pub const PAGE_BYTES: usize = 512 * 1024;
/// The distance of two log rows' ordinals within a commit. A snapshot in parts takes the place of one row and the free
/// ordinals before it, which are enough for the parts of the largest change twice over.
pub const ORDINAL_STEP: u32 = 64;
/// Rows in one page unless the caller asks for fewer or more.
pub const PAGE_ROWS: usize = 1_000;
/// The most rows a caller may ask for: an eighth of the row reads of one Convex query (32,000,
/// `TRANSACTION_MAX_READ_SIZE_ROWS`).
pub const PAGE_ROWS_MAX: usize = 4_000;
/// The default number of documents in a page of the original API.
pub const DOCUMENT_PAGE: usize = 100;
/// The most documents a caller of the original API may ask for.
pub const DOCUMENT_PAGE_MAX: usize = 1_000;
/// Chunk bytes in one page of the original API, where documents are whole: well within a frame, and a quarter of what a
/// Convex query may read or return (`TRANSACTION_MAX_READ_SIZE_BYTES` and `FUNCTION_MAX_RESULT_SIZE`).
pub const DOCUMENT_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a document's name, which is an index key. It is far below Convex's limits.
pub const DOCUMENT_ID_BYTES: usize = 128;
/// Bytes of a scope's name, which is an index key too.
pub const SCOPE_BYTES: usize = 128;
/// Nesting of a value in a call: Convex's limit (`MAX_NESTING` in `crates/value/src/size.rs`). A stored value may be
/// nested [less](ROW_NESTING).
pub const NESTING: usize = 64;
/// The largest absolute value of a counter. JavaScript's numbers are exact up to it. If each of 500 concurrent edits
/// adds as much as one may, the sum still fits in 64 bits, beyond which Automerge's counters wrap or panic.
pub const COUNTER: u64 = 1 << 53;
/// Nesting of a row, which is the first level: Convex's limit for what it stores (`MAX_DOCUMENT_NESTING` in
/// `crates/common/src/document.rs`).
pub const ROW_NESTING: usize = 16;
/// Bytes of a row, with the fields that Convex adds: Convex's limit (`MAX_USER_SIZE` in
/// `crates/common/src/document.rs`).
pub const ROW_BYTES: usize = 1024 * 1024;
/// Elements of a list: Convex's limit (`MAX_ARRAY_LEN` in `crates/value/src/array.rs`).
pub const LIST_ELEMENTS: usize = 8_192;
/// Fields of an object: Convex's limit (`MAX_OBJECT_FIELDS` in `crates/value/src/object.rs`).
pub const OBJECT_FIELDS: usize = 1_024;
/// Fields of a document in its row: the others are `_id`, `_creationTime`, `id`, `version`, `timestamp`, `deleted` and
/// `notInRow`.
pub const ROW_FIELDS: usize = OBJECT_FIELDS - 7;
/// A field's name: Convex's limit (`MAX_FIELD_NAME_LENGTH` in `crates/convex/sync_types/src/identifier.rs`).
pub const FIELD_NAME_BYTES: usize = 1_024;
/// Values that a row names as left out of it. Further ones are not named, so that the list leaves room for the values
/// that fit.
pub const LEFT_OUT: usize = 64;
/// Letters of each such name: a key may have any length.
pub const LEFT_OUT_LETTERS: usize = 200;
/// The largest integer that JavaScript's numbers distinguish from its neighbours (`Number.MAX_SAFE_INTEGER`).
pub const SAFE_INTEGER: i128 = (1 << 53) - 1;
/// A field with a larger value is not repeated beside a change: the backend merges instead, so that one keystroke in a
/// long text sends a keystroke's bytes.
pub const REPEATED_FIELD_BYTES: usize = 1_024;
/// A document in a store with at least this many chunks is replaced by one snapshot. Fewer load fast enough, and with
/// this bound each change is rewritten about once for so many later ones.
pub const COMPACT_CHUNKS: usize = 64;
/// A store's file is rewritten when half of it is free, and at least this much.
pub const RECLAIM_BYTES: i64 = 256 * 1024;
/// The name of an app, in bytes: it fits in a file name everywhere.
pub const STORE_NAME_BYTES: usize = 64;
/// The encoded name of a profile or a user, in bytes. With the longest ending of a store's files it fits in the 143
/// bytes that eCryptfs allows, the fewest of any file system in use. A longer name is cut, and gets a hash of 65 bytes.
pub const STORE_FILE_BYTES: usize = 112;
/// A longer write-ahead log of a store is cut back to this: room for a large batch without growing again, and little to
/// play back after a crash.
pub const STORE_LOG_BYTES: i64 = 16 * 1024 * 1024;
/// Chunks of one collection that wait for their missing parts. A log has the parts of a chunk one after the other, so
/// there should be one.
pub const PARTIAL_CHUNKS: usize = 16;
/// Bytes of such chunks: two of the largest changes.
pub const PARTIAL_BYTES: usize = 2 * CHANGE_BYTES;
/// The largest saved document of the original API, and the largest snapshot, as it arrives.
pub const SAVED_BYTES: usize = CHANGE_BYTES;
/// The same, inflated: a compressed column may not grow without bound.
pub const INFLATED_BYTES: usize = 64 * 1024 * 1024;
/// Operations in one change. Run-length encoding lets a few bytes claim any number, and Automerge takes about 430 bytes
/// for each while it reads them. This is enough to write or delete the longest text that a row may hold.
pub const CHANGE_OPERATIONS: u64 = 1_280 * 1024;
/// Operations in one saved document or snapshot: enough to write and delete the longest text that a row may hold
/// several times over.
pub const OPERATIONS: u64 = 4 * 1024 * 1024;
/// The highest number an operation may have. Automerge keeps it in 32 bits and panics beyond them: after a change that
/// claims the last number, nobody can edit the document. This bound leaves half of the numbers for later edits.
pub const OPERATION_NUMBER: u64 = 1 << 31;

/// Bytes of a presence value: several times a name, a colour, a position and a selection. A full
/// [area](PRESENCE_PEERS) is then as large as a page of the log, and fits in one frame.
pub const PRESENCE_BYTES: usize = 4 * 1024;
/// Peers in one area, which is a collection and a scope. Every change sends the whole area to every reader, so a larger
/// audience needs scopes.
pub const PRESENCE_PEERS: usize = 128;
/// Peers of one verified user in one area: windows and devices of one person. So one user cannot fill an area.
pub const PRESENCE_PEERS_OF_USER: usize = 8;
/// Values that a peer may show per second: half the frames of a usual screen, which interpolation makes smooth.
pub const PRESENCE_RATE: f64 = 30.0;
/// How long a peer is shown that was not heard of, on the embedded backend: "within seconds", and two lost refreshes.
pub const PRESENCE_TTL_MS: u64 = 6_000;
/// A peer says that it is still there this many times within that time, so that one lost message does not hide it.
pub const PRESENCE_REFRESHES: u32 = 3;
/// The shortest secret of a peer: 16 hexadecimal digits are 64 random bits.
pub const PRESENCE_SESSION_BYTES_MIN: usize = 16;
/// The longest secret of a peer.
pub const PRESENCE_SESSION_BYTES: usize = 128;

/// Whether Convex accepts a field of this name in a call, and in an object within a row: printable ASCII that does not
/// start with `$` (`is_valid_field_name` in `crates/convex/sync_types/src/identifier.rs`). That function accepts an
/// empty name too, but Convex's documentation forbids empty names, so this library neither sends nor stores one.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('$')
        && name.len() <= FIELD_NAME_BYTES
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether a row may have a root field of this name. Those that start with `_` are Convex's own
/// (`DocumentValidationError::SystemField` in `crates/common/src/document.rs`).
pub(crate) fn is_root_field_name(name: &str) -> bool {
    is_field_name(name) && !name.starts_with('_')
}

#[cfg(feature = "simulation")]
thread_local! {
    /// Whether the simulated run of this thread has tiny limits.
    static TINY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes the limits of this thread tiny, or usual again, for a simulated run.
#[cfg(feature = "simulation")]
pub(crate) fn set_tiny(tiny: bool) {
    TINY.set(tiny);
}

/// Returns `usual`, or `tiny` in a simulated run with tiny limits, so that the limits are often reached.
#[cfg(feature = "simulation")]
pub(crate) fn or_tiny(usual: usize, tiny: usize) -> usize {
    if TINY.get() { tiny } else { usual }
}

/// `usual`: only a simulated run has tiny limits.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn or_tiny(usual: usize, _tiny: usize) -> usize {
    usual
}

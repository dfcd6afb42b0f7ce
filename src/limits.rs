//! Every bound of the wire and the disk, in one place, each with its reason.

/// A chunk larger than this travels and is logged in parts: a log row stays well within Convex's 1 MiB document.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The largest Automerge change. On Convex its parts are read when it is whole, and once more when they are deleted, which leaves half of a
/// transaction's 16 MiB for what the document had before, and its row; and what takes it apart has a second of code.
pub const CHANGE_BYTES: usize = 4 * 1024 * 1024;
/// A saved document: what is larger could not be loaded, saved and loaded again, as compaction does, within a second of code on Convex. Up to
/// so many bytes of changes in its log, a document is not measured.
pub const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Chunk bytes in one push: one mutation's time and writes.
pub const PUSH_BYTES: usize = 1024 * 1024;
/// Bytes of the logs of all documents that one commit changes, unless it is one document: who pulls whole documents gets them in one page, which
/// cannot end between them. Half of what a Convex query may read or return.
pub const COMMIT_BYTES: usize = 8 * 1024 * 1024;
/// Documents in one push.
pub const PUSH_DOCUMENTS: usize = 100;
/// Changes in one push.
pub const PUSH_CHANGES: usize = 1_000;
/// Chunk bytes in one page: the official Rust client takes at most 16 MiB in a frame, and a reconnect sends all open queries in one.
pub const PAGE_BYTES: usize = 512 * 1024;
/// The distance of two log rows' ordinals within a commit: a snapshot in parts takes the place of one row and the room before it, which is
/// enough for the parts of the largest change twice over.
pub const ORDINAL_STEP: u32 = 64;
/// Rows in one page unless the caller asks for fewer or more.
pub const PAGE_ROWS: usize = 1_000;
/// The most rows a caller may ask for: the row reads of one Convex query, with room to spare.
pub const PAGE_ROWS_MAX: usize = 4_000;
/// Documents in one page of the original API unless asked otherwise.
pub const DOCUMENT_PAGE: usize = 100;
/// The most documents a caller of the original API may ask for.
pub const DOCUMENT_PAGE_MAX: usize = 1_000;
/// Chunk bytes in one page of the original API, where documents are whole: well within a frame, and a quarter of what a Convex query may
/// read or return.
pub const DOCUMENT_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// A document's name: it is an index key.
pub const DOCUMENT_ID_BYTES: usize = 128;
/// A scope's name: an index key, too.
pub const SCOPE_BYTES: usize = 128;
/// Nesting of a value in a call: Convex's limit (`MAX_NESTING` in `crates/value/src/size.rs` of
/// get-convex/convex-backend).
pub const NESTING: usize = 64;
/// How far a counter counts, up and down: what JavaScript holds without loss. Each of 500 concurrent edits may add the
/// most there is to add, and the sum still fits in 64 bits, beyond which Automerge's counters wrap or panic.
pub const COUNTER: u64 = 1 << 53;
/// Nesting of a row, which is the first level: Convex's limit for what it stores (`MAX_DOCUMENT_NESTING` in
/// `crates/common/src/document.rs`).
pub const ROW_NESTING: usize = 16;
/// A row, with what Convex adds to it: Convex's limit (`MAX_USER_SIZE` in `crates/common/src/document.rs`).
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
/// Values that a row names as left out of it. More are not named, so that the list takes no room from what the row can
/// hold.
pub const LEFT_OUT: usize = 64;
/// Letters of each such name, for the same reason: a key may have any length.
pub const LEFT_OUT_LETTERS: usize = 200;
/// The largest integer that JavaScript's numbers tell from its neighbours (`Number.MAX_SAFE_INTEGER`).
pub const SAFE_INTEGER: i128 = (1 << 53) - 1;
/// Fields whose plain value is larger than this are not repeated beside a change; the backend merges instead, so that one
/// keystroke in a long text costs a keystroke's bytes.
pub const REPEATED_FIELD_BYTES: usize = 1_024;
/// A document in a store with at least this many chunks is worth one snapshot: fewer load fast enough, and so each change
/// is rewritten about once per this many that follow it.
pub const COMPACT_CHUNKS: usize = 64;
/// A store's file is rewritten when half of it is free, and at least this much.
pub const RECLAIM_BYTES: i64 = 256 * 1024;
/// The name of an app or of a profile, in bytes: with an ending it fits in a file name everywhere.
pub const STORE_NAME_BYTES: usize = 64;
/// A store's write-ahead log is cut back to this after it was longer: room for a large batch without growing again, and
/// little to play back after a crash.
pub const STORE_LOG_BYTES: i64 = 16 * 1024 * 1024;
/// Chunks of one collection that wait for their missing parts: a log has the parts of a chunk one after the other, so one is what there
/// should be.
pub const PARTIAL_CHUNKS: usize = 16;
/// Bytes of them: two of the largest changes.
pub const PARTIAL_BYTES: usize = 2 * CHANGE_BYTES;
/// The largest saved document of the original API, and the largest snapshot, as it arrives.
pub const SAVED_BYTES: usize = CHANGE_BYTES;
/// The same, inflated: a compressed column may not grow without bound.
pub const INFLATED_BYTES: usize = 64 * 1024 * 1024;
/// Operations in one change: run-length encoding lets a few bytes claim any number, and Automerge takes about 430 bytes for each while it
/// reads them. Enough to write or delete the longest text that a row may hold.
pub const CHANGE_OPERATIONS: u64 = 1_280 * 1024;
/// Operations in one saved document or snapshot. Enough to write and delete the longest text a row may hold several times over.
pub const OPERATIONS: u64 = 4 * 1024 * 1024;
/// The highest number an operation may have. Automerge keeps it in 32 bits and panics when they are used up: a change that claimed the last
/// of them would leave a document that nobody can edit. This leaves as many again.
pub const OPERATION_NUMBER: u64 = 1 << 31;

/// Whether Convex takes a field of this name, in a call and in a row, as its documentation says it: printable ASCII
/// that does not start with `$` or `_`.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['$', '_'])
        && name.len() <= FIELD_NAME_BYTES
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
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

/// `usual`, or `tiny` in a simulated run that makes its limits tiny, so that what happens at them happens often.
#[cfg(feature = "simulation")]
pub(crate) fn or_tiny(usual: usize, tiny: usize) -> usize {
    if TINY.get() { tiny } else { usual }
}

/// `usual`: only a simulated run has tiny limits.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn or_tiny(usual: usize, _tiny: usize) -> usize {
    usual
}

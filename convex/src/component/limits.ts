/**
 * Every limit of the wire and the log, each with its reason. The figures are those of `src/limits.rs`.
 *
 * Convex's figures are from the sources of its backend, get-convex/convex-backend. A comment names the constant; those
 * without a file are in `crates/common/src/knobs.rs`.
 */

/** A chunk larger than this travels and is logged in parts: a log row stays well within Convex's 1 MiB document. */
export const CHUNK_BYTES = 256 * 1024;
/**
 * The largest Automerge change. Its parts are read when it is complete, and once more when they are deleted, which
 * leaves half of what a transaction may read (16 MiB, `TRANSACTION_MAX_READ_SIZE_BYTES`) for the document before it and
 * the row. Also, splitting it has to take less than a second of code (`DATABASE_UDF_USER_TIMEOUT`).
 */
export const CHANGE_BYTES = 4 * 1024 * 1024;
/** The parts of the largest change. */
export const CHANGE_PARTS = CHANGE_BYTES / CHUNK_BYTES;
/**
 * Operations in one change. Run-length encoding lets a few bytes claim any number, for which Automerge would allocate
 * memory. This is enough to write or delete the longest text that a row may hold.
 */
export const CHANGE_OPERATIONS = 1_280 * 1024;
/**
 * The highest number of an operation. Automerge keeps it in 32 bits: after a change that used the last of them nobody
 * could edit the document. This is half of them.
 */
export const OPERATION_NUMBER = 2 ** 31;
/** Bytes of parts that wait for the others, per document: two of the largest changes. */
export const WAITING_BYTES = 2 * CHANGE_BYTES;
/**
 * Chunk bytes in one push, within one mutation's second of code. The call itself may have far more: 16 MiB of arguments
 * (`FUNCTION_MAX_ARGS_SIZE`) and of writes (`TRANSACTION_MAX_USER_WRITE_SIZE_BYTES`).
 */
export const PUSH_BYTES = 1024 * 1024;
/** Documents in one push: each is a few index ranges (4,096, `TRANSACTION_MAX_READ_SET_INTERVALS`). */
export const PUSH_DOCUMENTS = 100;
/** Changes in one push: each is two writes (16,000, `TRANSACTION_MAX_NUM_USER_WRITES`). */
export const PUSH_CHANGES = 1_000;
/**
 * Changes one call of the original API may add: two rows each are half of a mutation's 16,000 writes
 * (`TRANSACTION_MAX_NUM_USER_WRITES`).
 */
export const DOCUMENT_CHANGES = 4_000;
/**
 * Chunk bytes in one page: the official Rust client takes at most 16 MiB in a frame (the default of its WebSocket
 * library).
 */
export const PAGE_BYTES = 512 * 1024;
/** Rows in one page unless the caller asks for fewer or more. */
export const PAGE_ROWS = 1_000;
/**
 * The most rows a caller may ask for: an eighth of the row reads of one query (32,000,
 * `TRANSACTION_MAX_READ_SIZE_ROWS`).
 */
export const PAGE_ROWS_MAX = 4_000;
/** Documents in one page of the original API unless asked otherwise. */
export const DOCUMENT_PAGE = 100;
/** The most documents a caller of the original API may ask for. */
export const DOCUMENT_PAGE_MAX = 1_000;
/**
 * Log rows behind a page of the original API: a quarter of what a query may read (32,000,
 * `TRANSACTION_MAX_READ_SIZE_ROWS`), and within a second of code.
 */
export const DOCUMENT_PAGE_ROWS = 8_000;
/**
 * Chunk bytes in a page of the original API, where documents are whole: a quarter of what a query may read or return
 * (`TRANSACTION_MAX_READ_SIZE_BYTES` and `FUNCTION_MAX_RESULT_SIZE`).
 */
export const DOCUMENT_PAGE_BYTES = 4 * 1024 * 1024;
/** A document's name: it is an index key. */
export const DOCUMENT_ID_BYTES = 128;
/** A scope's name: it is an index key too. */
export const SCOPE_BYTES = 128;
/**
 * Nesting of a row, which is the first level: Convex's limit for what it stores (`MAX_DOCUMENT_NESTING` in
 * `crates/common/src/document.rs` of get-convex/convex-backend).
 */
export const ROW_NESTING = 16;
/** A row, with what Convex adds to it: Convex's limit (`MAX_USER_SIZE` in `crates/common/src/document.rs`). */
export const ROW_BYTES = 1024 * 1024;
/** Elements of a list: Convex's limit (`MAX_ARRAY_LEN` in `crates/value/src/array.rs`). */
export const LIST_ELEMENTS = 8_192;
/** Fields of an object: Convex's limit (`MAX_OBJECT_FIELDS` in `crates/value/src/object.rs`). */
export const OBJECT_FIELDS = 1_024;
/**
 * Fields of a document in its row: the others are `_id`, `_creationTime`, `id`, `version`, `timestamp`, `deleted` and
 * `notInRow`.
 */
export const ROW_FIELDS = OBJECT_FIELDS - 7;
/** A field's name: Convex's limit (`MAX_FIELD_NAME_LENGTH` in `crates/convex/sync_types/src/identifier.rs`). */
export const FIELD_NAME_BYTES = 1_024;
/** Left-out values that a row names. More are not named, so that the list takes no room from the row's fields. */
export const LEFT_OUT = 64;
/** Letters of each such name, for the same reason: a key may have any length. */
export const LEFT_OUT_LETTERS = 200;
/**
 * A saved document. A larger one could not be loaded, saved and loaded again within a second of code, as compaction
 * does. A document whose log has no more bytes than this is not measured.
 */
export const DOCUMENT_BYTES = 4 * 1024 * 1024;
/**
 * Operations in a document's history. Automerge loads, saves and loads again some 350,000 in a second (`npm run
 * measure`), and compaction keeps them all. Writing a letter of a text is one operation, and deleting it is one more.
 */
export const DOCUMENT_OPERATIONS = 200_000;
/** Operations beyond these in changes that delete the document, so that a full document can be deleted. */
export const DELETION_OPERATIONS = 1_000;
/**
 * Log rows of one document that a merge loads, within a second of code and, with the rest of a push, 32,000 reads
 * (`TRANSACTION_MAX_READ_SIZE_ROWS`). Two
 * of the largest calls of the original API fit, one right after the other.
 */
export const LOG_ROWS = 8_000;
/** Their bytes: the largest document and one push to it. A larger log could not be compacted in one transaction. */
export const LOG_BYTES = DOCUMENT_BYTES + PUSH_BYTES;
/**
 * Bytes that a push plans to read: rows and parts, which are read twice, and logs that are merged. Only its first
 * document may be more, and never more than a transaction's 16 MiB (`TRANSACTION_MAX_READ_SIZE_BYTES`).
 */
export const PUSH_READ_BYTES = 14 * 1024 * 1024;
/** Stored bytes that one push may load to merge rows. A scheduled function merges the rest. */
export const MERGE_BYTES = 4 * 1024 * 1024;
/**
 * Bytes of the logs of all documents that one commit changes, unless it is one document. A reader of whole documents
 * gets them in one page, which cannot end between them. This is half of what a query may read or return.
 */
export const COMMIT_BYTES = 8 * 1024 * 1024;
/** Their rows. */
export const COMMIT_ROWS = DOCUMENT_PAGE_ROWS;
/** Counters that share a collection's document count, so that transactions on different documents seldom conflict. */
export const COUNT_SHARDS = 16;
/** Log rows of one document that are worth compacting, unless the caller says otherwise. */
export const COMPACT_FROM_ROWS = 256;
/**
 * The age in milliseconds at which log rows are compacted, unless the caller gives another: readers that are up to date
 * have passed them.
 */
export const COMPACT_AFTER = 3_600_000;
/**
 * The delay in milliseconds after which a scheduled function counts as lost: it failed, or a restored backup lacks it.
 */
export const SCHEDULED_LATE = 60_000;
/**
 * Log rows that one compaction reads. Each is deleted by its id, which is one of the 4,096 index ranges that a
 * transaction may read (`TRANSACTION_MAX_READ_SET_INTERVALS`).
 */
export const COMPACT_ROWS = 2_000;
/**
 * Chunk bytes that one compaction reads, and reads again to delete: the largest log, and a part that cutting may leave
 * over.
 */
export const COMPACT_BYTES = LOG_BYTES + CHUNK_BYTES;
/**
 * How long a tombstone is kept, in milliseconds, unless the app says otherwise: 90 days. A client that is away for
 * longer starts over.
 */
export const RETENTION = 90 * 24 * 3_600_000;
/** Documents that one call of a pruning function looks at. */
export const PRUNE_DOCUMENTS = 20;
/** Bytes of logs and rows that a pruning call reads, each twice: the largest compacted document, and its row. */
export const PRUNE_READ_BYTES = 2 * (DOCUMENT_BYTES + ROW_BYTES);
/** Rows of one table that a pruning call deletes, each by its id; the rest is left to the next call. */
export const PRUNE_ROWS = 2_000;
/**
 * The distance of two rows' ordinals in one commit. A snapshot in parts takes the position of one row and the room
 * before it, which is enough for the parts of the largest change twice over.
 */
export const ORDINAL_STEP = 64;
/** The largest ordinal: clients keep it in 32 bits. */
export const ORDINAL_MAX = 2 ** 32 - 1;
/** Bytes of a presence value: several times a name, a colour, a position and a selection. */
export const PRESENCE_BYTES = 4 * 1024;
/** Peers in one area, which is a collection and a scope: every change sends the whole area to every reader. */
export const PRESENCE_PEERS = 128;
/** Values a peer may show per second at most, however the app's functions are configured. */
export const PRESENCE_RATE = 30;
/** The same unless configured: each value is a mutation and one run of the query of all readers, which cost money. */
export const PRESENCE_RATE_USUAL = 4;
/** Values a peer may show at once, as milliseconds of its rate: those of a second that a slow network held back. */
export const PRESENCE_BURST = 1_000;
/** How long a peer is shown that was not heard of, in milliseconds. A longer time costs fewer mutations. */
export const PRESENCE_TTL = 15_000;
/** A peer says that it is still there this many times within that time. */
export const PRESENCE_REFRESHES = 3;
/** The lengths of a peer's secret: 16 hexadecimal digits are 64 random bits. */
export const PRESENCE_SESSION_BYTES_MIN = 16;
export const PRESENCE_SESSION_BYTES = 128;

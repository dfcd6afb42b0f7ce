import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

/**
 * The log's tables. `ts` is the commit timestamp of the transaction that wrote a row, so an index on it is in the order
 * of commits. `ordinal` orders the rows of one commit. Hashes and actors are lower-case hexadecimal.
 */
export default defineSchema({
  /** The log's id: one row, written by the first push. If the id changes, clients offer everything again. */
  epochs: defineTable({ epoch: v.string() }),

  /** The state of each document, so that its changes need not be read. */
  documents: defineTable({
    collection: v.string(),
    id: v.string(),
    scope: v.optional(v.string()),
    /** When it last changed. */
    ts: v.commitTs(),
    heads: v.array(v.string()),
    /** The number of each head's last operation, in the same order. */
    headOps: v.array(v.number()),
    /** The number of changes. */
    version: v.number(),
    /** Log rows and chunk bytes stored for it. */
    rows: v.number(),
    bytes: v.number(),
    /** Operations in its history. */
    operations: v.number(),
    deleted: v.boolean(),
    /** Its log has been dropped, long after it was deleted. Only its id is kept, so that nothing brings it back. */
    pruned: v.boolean(),
    /**
     * When its row is checked against the merged document, in milliseconds. If absent, the row and `deleted` are right.
     */
    checkDue: v.optional(v.number()),
    /** When a scheduled function compacts it, in milliseconds. */
    compactDue: v.optional(v.number()),
  })
    .index("by_document", ["collection", "id"])
    .index("by_ts", ["collection", "pruned", "ts", "id"])
    .index("by_tombstone", ["collection", "pruned", "deleted", "ts"]),

  /** The log: changes and snapshots, or parts of them, in commit order. */
  chunks: defineTable({
    collection: v.string(),
    id: v.string(),
    scope: v.optional(v.string()),
    ts: v.commitTs(),
    ordinal: v.number(),
    bytes: v.bytes(),
    part: v.optional(v.object({ hash: v.string(), index: v.number(), count: v.number() })),
    /**
     * The user who put it into the log, as the app's function has verified. Absent: nobody who is signed in, or
     * several users' changes in a snapshot.
     */
    author: v.optional(v.string()),
  })
    .index("by_position", ["collection", "ts", "ordinal"])
    .index("by_scope", ["collection", "scope", "ts", "ordinal"])
    .index("by_document", ["collection", "id", "ts", "ordinal"]),

  /** One row per change that the log holds, alone or within a snapshot. Compaction leaves them. */
  changes: defineTable({
    collection: v.string(),
    id: v.string(),
    hash: v.string(),
    actor: v.string(),
    seq: v.number(),
    /** The number of its last operation. Changes that depend on it have higher numbers. */
    lastOp: v.number(),
    /** SHA-256 of the whole chunk if it came in parts, so that a late repeat of a part is recognised. */
    whole: v.optional(v.string()),
    /** It was removed from the log, because it makes no sense where it is applied, or depends on such a change. */
    senseless: v.optional(v.boolean()),
  })
    .index("by_hash", ["collection", "id", "hash"])
    .index("by_actor", ["collection", "id", "actor", "seq"])
    .index("by_whole", ["collection", "id", "whole"]),

  /** Parts of changes that are not complete yet. `sender`, here and below: see `senderKey` in `waiting.ts`. */
  parts: defineTable({
    collection: v.string(),
    id: v.string(),
    sender: v.optional(v.string()),
    hash: v.string(),
    index: v.number(),
    count: v.number(),
    bytes: v.bytes(),
  }).index("by_part", ["collection", "id", "sender", "hash", "index"]),

  /** How many parts of a change are in `parts`: counting them would read all their bytes. No row if there are none. */
  incomplete: defineTable({
    collection: v.string(),
    id: v.string(),
    sender: v.optional(v.string()),
    hash: v.string(),
    count: v.number(),
    have: v.number(),
    /** When a part came last, for the first time or again. */
    ts: v.commitTs(),
  })
    .index("by_chunk", ["collection", "id", "sender", "hash"])
    .index("by_ts", ["collection", "ts"]),

  /** How many bytes of a document's changes are in `parts`, for each sender. No row if there are none. */
  waiting: defineTable({
    collection: v.string(),
    id: v.string(),
    sender: v.optional(v.string()),
    bytes: v.number(),
  }).index("by_document", ["collection", "id", "sender"]),

  /** The document count with tombstones, in shards so that transactions on different documents seldom conflict. */
  counts: defineTable({ collection: v.string(), shard: v.number(), count: v.number() }).index("by_shard", [
    "collection",
    "shard",
  ]),

  /** What a peer shows in an area, which is a collection and a scope. */
  presence: defineTable({
    collection: v.string(),
    scope: v.optional(v.string()),
    peer: v.string(),
    /** The user whom the app's function has verified. */
    user: v.optional(v.string()),
    /** JSON. */
    value: v.string(),
    /** The time in milliseconds until which the peer has used up its rate. */
    paid: v.number(),
  }).index("by_area", ["collection", "scope", "peer"]),

  /** How long a peer is shown without being heard, in milliseconds since 1970: apart, because readers do not read it. */
  presenceLeases: defineTable({ row: v.id("presence"), until: v.number() }).index("by_row", ["row"]),

  /** The number of peers of an area. No row if there are none. */
  presenceCounts: defineTable({
    collection: v.string(),
    scope: v.optional(v.string()),
    peers: v.number(),
  }).index("by_area", ["collection", "scope"]),

  /**
   * The newest log row that was pruned: a reader with a checkpoint before it may have missed a delete. Readers are
   * given `stamp`, which is near the row's time and changes whenever more is pruned.
   */
  pruned: defineTable({
    collection: v.string(),
    ts: v.int64(),
    ordinal: v.number(),
    stamp: v.int64(),
  }).index("by_collection", ["collection"]),
});

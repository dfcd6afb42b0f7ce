/** Keeping the log small: compaction and pruning. An app schedules both; each call is one transaction. */
import { v } from "convex/values";
import type { Doc } from "./_generated/dataModel";
import { mutation, type MutationCtx } from "./_generated/server";
import { loadAutomerge } from "./automerge";
import { concatenate, readDocument } from "./incoming";
import {
  CHANGE_PARTS,
  CHUNK_BYTES,
  COMPACT_BYTES,
  COMPACT_ROWS,
  PRUNE_BYTES,
  PRUNE_DOCUMENTS,
  PRUNE_ROWS,
} from "./limits";
import { addIncomplete, addWaiting, cut, uncount } from "./log";
import { committed } from "./pages";
import { loaded, release, savedIfSound } from "./sound";

const NANOSECONDS_PER_MS = 1_000_000n;

/**
 * Replaces the oldest rows of a document's log, up to `before` (milliseconds), by one snapshot at the position of the last
 * change it covers. One transaction, so no reader can miss a change; who has read past that position is sent nothing again, who
 * has not gets the snapshot in place of the rows. Answers whether there is more to do.
 */
export const compact = mutation({
  args: {
    collection: v.string(),
    id: v.string(),
    before: v.number(),
    /** How many chunk bytes to read at most. */
    bytes: v.optional(v.number()),
  },
  returns: v.object({ compacted: v.number(), hasMore: v.boolean() }),
  handler: async (ctx, { collection, id, before, bytes: room = COMPACT_BYTES }) => {
    const document = await readDocument(ctx, collection, id);
    if (document === null) return { compacted: 0, hasMore: false };
    const { rows, hasMore } = await oldestRows(ctx, collection, id, before, Math.min(room, COMPACT_BYTES));
    const last = rows.at(-1);
    const snapshot = last === undefined || rows.length < 2 ? null : await snapshotOf(rows);
    if (last === undefined || snapshot === null) {
      await ctx.db.patch(document._id, { compacting: false });
      return { compacted: 0, hasMore: false };
    }
    let bytes = document.bytes;
    for (const row of rows) {
      bytes -= row.bytes.byteLength;
      await ctx.db.delete(row._id);
    }
    const pieces = cut(snapshot);
    for (const [index, piece] of pieces.entries()) {
      // The last part takes the place of the last row, and the others the room before it: who has not read that row gets all.
      const ordinal = last.ordinal - (pieces.length - 1 - index);
      const { scope, ts } = last;
      await ctx.db.insert("chunks", { collection, id, scope, ts, ordinal, ...piece });
      bytes += piece.bytes.byteLength;
    }
    await ctx.db.patch(document._id, {
      rows: document.rows - rows.length + pieces.length,
      bytes,
      compacting: hasMore,
    });
    return { compacted: rows.length, hasMore };
  },
});

/**
 * Drops the logs of documents deleted before `before` (milliseconds). Their names are kept, so that a client that was away for
 * longer cannot bring them back; a checkpoint from before the newest of them is refused from now on.
 */
export const prune = mutation({
  args: { collection: v.string(), before: v.number() },
  returns: v.object({ pruned: v.array(v.string()), hasMore: v.boolean() }),
  handler: async (ctx, { collection, before }) => {
    const limit = nanoseconds(before);
    const tombstones = await ctx.db
      .query("documents")
      .withIndex("by_tombstone", (q) =>
        q.eq("collection", collection).eq("pruned", false).eq("deleted", true).lt("ts", limit),
      )
      .take(PRUNE_DOCUMENTS);
    const pruned: string[] = [];
    let bytes = 0;
    let rows = 0;
    for (const document of tombstones) {
      bytes += document.bytes;
      rows += document.rows;
      if (pruned.length > 0 && (bytes > COMPACT_BYTES || rows > PRUNE_ROWS)) break;
      await pruneDocument(ctx, document);
      pruned.push(document.id);
    }
    // Both together may be more than a transaction may read.
    const swept = bytes <= PRUNE_BYTES && rows <= PRUNE_ROWS / 2 && (await sweep(ctx, collection, limit));
    return {
      pruned,
      hasMore: tombstones.length === PRUNE_DOCUMENTS || pruned.length < tombstones.length || !swept,
    };
  },
});

async function oldestRows(ctx: MutationCtx, collection: string, id: string, before: number, room: number) {
  const rows: Doc<"chunks">[] = [];
  let bytes = 0;
  let hasMore = false;
  const log = ctx.db
    .query("chunks")
    .withIndex("by_document", (q) =>
      q.eq("collection", collection).eq("id", id).lt("ts", nanoseconds(before)),
    );
  for await (const row of log) {
    bytes += row.bytes.byteLength;
    if (rows.length === COMPACT_ROWS || (rows.length > 0 && bytes > room)) {
      hasMore = true;
      break;
    }
    rows.push(row);
  }
  // A chunk cut off in the middle is left to the next time.
  for (
    let last = rows.at(-1)?.part;
    last !== undefined && last.index !== last.count - 1;
    last = rows.at(-1)?.part
  ) {
    rows.pop();
  }
  return { rows, hasMore };
}

/** The snapshot of these rows, proven by loading it; null where it would not do or not help. */
async function snapshotOf(rows: Doc<"chunks">[]): Promise<Uint8Array | null> {
  const automerge = await loadAutomerge();
  const doc = loaded(automerge, concatenate(rows.map((row) => new Uint8Array(row.bytes))));
  // What makes no sense is for the check of rows to take out.
  if (doc === null) return null;
  try {
    const snapshot = savedIfSound(automerge, doc);
    if (snapshot === null) return null;
    const parts = Math.ceil(snapshot.length / CHUNK_BYTES);
    return parts >= rows.length || parts > CHANGE_PARTS ? null : snapshot;
  } finally {
    release(automerge, doc);
  }
}

async function pruneDocument(ctx: MutationCtx, document: Doc<"documents">): Promise<void> {
  const { collection, id } = document;
  const chunks = ctx.db
    .query("chunks")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id));
  for await (const chunk of chunks) await ctx.db.delete(chunk._id);
  await ctx.db.patch(document._id, { pruned: true, heads: [], headOps: [], rows: 0, bytes: 0 });
  await uncount(ctx, collection, id);
  const ts = committed(document.ts);
  const mark = await ctx.db
    .query("pruned")
    .withIndex("by_collection", (q) => q.eq("collection", collection))
    .unique();
  if (mark === null) await ctx.db.insert("pruned", { collection, ts });
  else if (mark.ts < ts) await ctx.db.patch(mark._id, { ts });
}

/**
 * Deletes what nothing refers to any more: the change rows of pruned documents and parts that never became whole. A pruned
 * document counts as `deleted` until its change rows are gone. Answers whether all was done.
 */
async function sweep(ctx: MutationCtx, collection: string, limit: bigint): Promise<boolean> {
  let left = PRUNE_ROWS;
  const pruned = await ctx.db
    .query("documents")
    .withIndex("by_tombstone", (q) => q.eq("collection", collection).eq("pruned", true).eq("deleted", true))
    .take(PRUNE_DOCUMENTS);
  for (const document of pruned) {
    const changes = await ctx.db
      .query("changes")
      .withIndex("by_hash", (q) => q.eq("collection", collection).eq("id", document.id))
      .take(left);
    for (const change of changes) await ctx.db.delete(change._id);
    left -= changes.length;
    if (left === 0) return false;
    await ctx.db.patch(document._id, { deleted: false });
  }
  const parts = await ctx.db
    .query("parts")
    .withIndex("by_ts", (q) => q.eq("collection", collection).lt("ts", limit))
    .take(PRUNE_DOCUMENTS);
  for (const part of parts) {
    await ctx.db.delete(part._id);
    await addIncomplete(ctx, collection, part.id, part, -1);
    await addWaiting(ctx, collection, part.id, -part.bytes.byteLength);
  }
  return pruned.length < PRUNE_DOCUMENTS && parts.length < PRUNE_DOCUMENTS;
}

function nanoseconds(milliseconds: number): bigint {
  return BigInt(Math.floor(milliseconds)) * NANOSECONDS_PER_MS;
}

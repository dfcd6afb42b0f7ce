/** Drops documents that were deleted long ago, and parts of changes that were never completed. */
import { v } from "convex/values";
import type { Doc } from "./_generated/dataModel.js";
import { mutation, type MutationCtx } from "./_generated/server.js";
import { loadAutomerge } from "./automerge.js";
import { compactDocument, nanoseconds } from "./compaction.js";
import { uncount } from "./counts.js";
import {
  CHANGE_PARTS,
  COMPACT_BYTES,
  LOG_ROWS,
  MERGE_BYTES,
  PRUNE_DOCUMENTS,
  PRUNE_READ_BYTES,
  PRUNE_ROWS,
  ROW_BYTES,
} from "./limits.js";
import { comparePositions, positionOf, readBytes, readPruned } from "./pages.js";
import type { Position } from "./shapes.js";
import { isDeleted, loaded, release } from "./sound.js";
import { addWaiting } from "./waiting.js";

/**
 * Drops the logs of documents deleted before `before` (milliseconds), some in each call. Their ids are kept, so that a
 * client that was away for longer cannot bring them back. A checkpoint from before the newest dropped row is refused
 * from now on.
 *
 * A document is dropped whole, in one transaction, so that nobody reads half of it. If its log is too long for that, it
 * is compacted first, a portion in each call.
 */
export const prune = mutation({
  args: { collection: v.string(), before: v.number() },
  returns: v.object({
    pruned: v.array(v.string()),
    /** Documents that their writers called deleted and that are not. The caller has to check their rows. */
    alive: v.array(v.string()),
    hasMore: v.boolean(),
  }),
  handler: async (ctx, { collection, before }) => {
    const limit = nanoseconds(before);
    const tombstones = await ctx.db
      .query("documents")
      .withIndex("by_tombstone", (q) =>
        q.eq("collection", collection).eq("pruned", false).eq("deleted", true).lt("ts", limit),
      )
      .take(PRUNE_DOCUMENTS);
    const doubtful = tombstones.filter(({ checkDue }) => checkDue !== undefined);
    if (doubtful.length > 0) {
      return { pruned: [], alive: await findAlive(ctx, doubtful), hasMore: true };
    }
    const [first] = tombstones;
    if (first !== undefined && !fits(first.rows, costOf(first))) {
      const { compacted } = await compactDocument(ctx, first, before, COMPACT_BYTES);
      if (compacted > 0) return { pruned: [], alive: [], hasMore: true };
      // A log that cannot be compacted has an invalid change. Such a log does not grow beyond what fits.
    }
    const pruned: string[] = [];
    let [bytes, rows] = [0, 0];
    for (const document of tombstones) {
      bytes += costOf(document);
      rows += document.rows;
      if (pruned.length > 0 && !fits(rows, bytes)) break;
      await pruneDocument(ctx, document);
      pruned.push(document.id);
    }
    const swept = bytes <= SWEEP_BESIDE && rows <= PRUNE_ROWS / 2 && (await sweep(ctx, collection, limit));
    return {
      pruned,
      alive: [],
      hasMore: tombstones.length === PRUNE_DOCUMENTS || pruned.length < tombstones.length || !swept,
    };
  },
});

/**
 * The bytes that a call may read and still sweep: sweeping reads the parts of the largest change twice, which is 8 MiB.
 */
const SWEEP_BESIDE = 3 * ROW_BYTES;

/** The bytes read to delete a document: its log and its row in the app's table, each twice. */
function costOf({ bytes }: Doc<"documents">): number {
  return 2 * (bytes + ROW_BYTES);
}

function fits(rows: number, bytes: number): boolean {
  return rows <= PRUNE_ROWS && bytes <= PRUNE_READ_BYTES;
}

/**
 * Opens documents that are deleted by their writers' word alone, as many as fit, and records whether they are. A
 * document that does not open is kept. Returns the ids of those that are not deleted.
 */
async function findAlive(ctx: MutationCtx, doubtful: Doc<"documents">[]): Promise<string[]> {
  const automerge = await loadAutomerge();
  const alive: string[] = [];
  let [bytes, rows] = [0, 0];
  for (const [i, document] of doubtful.entries()) {
    bytes += document.bytes;
    rows += document.rows;
    if (i > 0 && (bytes > MERGE_BYTES || rows > LOG_ROWS)) break;
    const doc = loaded(automerge, await readBytes(ctx, document.collection, document.id));
    if (doc !== null && isDeleted(automerge, doc)) {
      await ctx.db.patch(document._id, { checkDue: undefined });
    } else {
      await ctx.db.patch(document._id, { deleted: false });
      alive.push(document.id);
    }
    if (doc !== null) release(automerge, doc);
  }
  return alive;
}

async function pruneDocument(ctx: MutationCtx, document: Doc<"documents">): Promise<void> {
  const { collection, id } = document;
  let last: Position | null = null;
  const chunks = ctx.db
    .query("chunks")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id));
  for await (const chunk of chunks) {
    last = positionOf(chunk);
    await ctx.db.delete(chunk._id);
  }
  await ctx.db.patch(document._id, {
    pruned: true,
    heads: [],
    headOps: [],
    rows: 0,
    bytes: 0,
    operations: 0,
  });
  await uncount(ctx, collection, id);
  if (last !== null) await moveMark(ctx, collection, last);
}

/**
 * Records up to where the log is pruned, with a new stamp: a reader between two pages has to notice that more is gone.
 */
async function moveMark(ctx: MutationCtx, collection: string, last: Position): Promise<void> {
  const mark = await readPruned(ctx, collection);
  if (mark === null) {
    await ctx.db.insert("pruned", { collection, ...last, stamp: last.ts });
    return;
  }
  const newest = comparePositions(last, mark) > 0 ? last : { ts: mark.ts, ordinal: mark.ordinal };
  const stamp = newest.ts > mark.stamp ? newest.ts : mark.stamp + 1n;
  await ctx.db.patch(mark._id, { ...newest, stamp });
}

/**
 * Deletes rows that nothing refers to any more: the change rows of pruned documents, and parts of changes that were
 * never completed. A pruned document counts as `deleted` until its change rows are gone. Returns whether nothing is
 * left to do.
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
  return (await sweepParts(ctx, collection, limit)) && pruned.length < PRUNE_DOCUMENTS;
}

/** Drops incomplete changes whose newest part came before `limit`, as many as one transaction can read. */
async function sweepParts(ctx: MutationCtx, collection: string, limit: bigint): Promise<boolean> {
  const incomplete = await ctx.db
    .query("incomplete")
    .withIndex("by_ts", (q) => q.eq("collection", collection).lt("ts", limit))
    .take(PRUNE_DOCUMENTS);
  let left = CHANGE_PARTS;
  for (const change of incomplete) {
    const { id, sender, hash, have } = change;
    left -= have;
    if (left < 0) return false;
    const parts = ctx.db
      .query("parts")
      .withIndex("by_part", (q) =>
        q.eq("collection", collection).eq("id", id).eq("sender", sender).eq("hash", hash),
      );
    let bytes = 0;
    for await (const part of parts) {
      bytes += part.bytes.byteLength;
      await ctx.db.delete(part._id);
    }
    await ctx.db.delete(change._id);
    await addWaiting(ctx, { collection, id, sender }, -bytes);
  }
  return incomplete.length < PRUNE_DOCUMENTS;
}

/** Reads: pages of the log, pages of whole documents, and whether anything is new. */
import { hexToBytes } from "@noble/hashes/utils.js";
import { v } from "convex/values";
import type { CommitTsPlaceholder } from "convex/values";
import type { Doc } from "./_generated/dataModel.js";
import { query, type QueryCtx } from "./_generated/server.js";
import { concatenate } from "./chunk.js";
import {
  COUNT_SHARDS,
  DOCUMENT_PAGE,
  DOCUMENT_PAGE_BYTES,
  DOCUMENT_PAGE_MAX,
  DOCUMENT_PAGE_ROWS,
  ORDINAL_MAX,
  PAGE_BYTES,
  PAGE_ROWS,
  PAGE_ROWS_MAX,
} from "./limits.js";
import { refuse } from "./errors.js";
import { readEpoch } from "./epoch.js";
import { part, position, type Position } from "./shapes.js";

const NANOSECONDS = 1_000n;
/** The largest commit timestamp in microseconds, rounded down to a double. */
const LATEST = 2 ** 63 / 1_000 - 1_024;

const delta = v.object({
  id: v.string(),
  ts: v.int64(),
  ordinal: v.number(),
  bytes: v.bytes(),
  part: v.optional(part),
  author: v.optional(v.string()),
});

/** The log rows after a checkpoint, in commit order. It reads the rows that it returns, and the row after them. */
export const pullDeltas = query({
  args: {
    collection: v.string(),
    checkpoint: position,
    limit: v.optional(v.number()),
    scope: v.optional(v.string()),
    pruned: v.optional(v.int64()),
  },
  returns: v.object({
    deltas: v.array(delta),
    checkpoint: position,
    hasMore: v.boolean(),
    epoch: v.string(),
    pruned: v.optional(v.int64()),
  }),
  handler: async (ctx, { collection, checkpoint, limit, scope, pruned: known }) => {
    const rows = clamp(limit, PAGE_ROWS, PAGE_ROWS_MAX);
    checkPosition(checkpoint);
    const mark = await readPruned(ctx, collection);
    checkNotPruned(checkpoint, mark, known);
    const deltas = [];
    let bytes = 0;
    let hasMore = false;
    for await (const row of rowsAfter(ctx, collection, scope, checkpoint)) {
      bytes += row.bytes.byteLength;
      if (deltas.length >= rows || (deltas.length > 0 && bytes > PAGE_BYTES)) {
        hasMore = true;
        break;
      }
      deltas.push(toDelta(row));
    }
    const last = deltas.at(-1);
    if (last === undefined) await checkNotAhead(ctx, collection, scope, checkpoint);
    return {
      deltas,
      checkpoint: last === undefined ? checkpoint : { ts: last.ts, ordinal: last.ordinal },
      hasMore,
      epoch: (await readEpoch(ctx)) ?? "",
      ...(mark === null ? {} : { pruned: mark.stamp }),
    };
  },
});

/** Whole documents, oldest change first. `lastModified` and `timestamp` are microseconds. */
export const pullDocuments = query({
  args: { collection: v.string(), lastModified: v.number(), limit: v.optional(v.number()) },
  returns: v.object({
    changes: v.array(
      v.object({
        documentId: v.string(),
        crdtBytes: v.bytes(),
        version: v.number(),
        timestamp: v.number(),
      }),
    ),
    checkpoint: v.object({ lastModified: v.number() }),
    hasMore: v.boolean(),
  }),
  handler: async (ctx, { collection, lastModified, limit }) => {
    const wanted = clamp(limit, DOCUMENT_PAGE, DOCUMENT_PAGE_MAX);
    const start = Number.isFinite(lastModified) ? Math.min(LATEST, Math.max(0, Math.ceil(lastModified))) : 0;
    const documents = ctx.db.query("documents").withIndex("by_ts", (q) =>
      q
        .eq("collection", collection)
        .eq("pruned", false)
        .gte("ts", BigInt(start) * NANOSECONDS),
    );
    const page: Doc<"documents">[] = [];
    // The documents of one microsecond. A page has all of them or none, because a checkpoint cannot be between them.
    let group: Doc<"documents">[] = [];
    let [counted, bytes, rows] = [0, 0, 0];
    let hasMore = false;
    for await (const document of documents) {
      const timestamp = microseconds(document.ts);
      if (group[0] !== undefined && timestamp !== microseconds(group[0].ts)) page.push(...group.splice(0));
      bytes += document.bytes;
      rows += document.rows;
      const full = bytes > DOCUMENT_PAGE_BYTES || rows > DOCUMENT_PAGE_ROWS;
      if (page.length > 0 && (full || (group.length === 0 && counted >= wanted))) {
        hasMore = true;
        group = [];
        break;
      }
      group.push(document);
      // Documents of the checkpoint's microsecond may have been returned before, so they do not count.
      if (timestamp > lastModified) counted += 1;
    }
    page.push(...group);
    const changes = [];
    for (const { id, version, ts } of page) {
      const crdtBytes = (await readBytes(ctx, collection, id)).buffer;
      changes.push({ documentId: id, crdtBytes, version, timestamp: microseconds(ts) });
    }
    return { changes, checkpoint: { lastModified: nextAfter(changes, lastModified, hasMore) }, hasMore };
  },
});

/**
 * The next checkpoint of a reader of whole documents. At the end of the log it is the last document's microsecond, in
 * which another commit may come yet. If more follows, that microsecond is over, and the checkpoint is after it: else a
 * large document would fill each page.
 */
function nextAfter(changes: { timestamp: number }[], asked: number, hasMore: boolean): number {
  const last = changes.at(-1);
  return last === undefined ? asked : last.timestamp + (hasMore ? 1 : 0);
}

/** When the collection last changed, in microseconds, and how many documents it has, tombstones included. */
export const changeStream = query({
  args: { collection: v.string() },
  returns: v.object({ timestamp: v.number(), count: v.number() }),
  handler: async (ctx, { collection }) => {
    const newest = await ctx.db
      .query("documents")
      .withIndex("by_ts", (q) => q.eq("collection", collection).eq("pruned", false))
      .order("desc")
      .first();
    const shards = await ctx.db
      .query("counts")
      .withIndex("by_shard", (q) => q.eq("collection", collection))
      .take(COUNT_SHARDS);
    return {
      timestamp: newest === null ? 0 : microseconds(newest.ts),
      count: shards.reduce((sum, shard) => sum + shard.count, 0),
    };
  },
});

/** A document's chunks, in the order of the log, as `Automerge.load` takes them. */
export async function readBytes(ctx: QueryCtx, collection: string, id: string) {
  const pieces = [];
  const rows = ctx.db
    .query("chunks")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id));
  for await (const row of rows) pieces.push(new Uint8Array(row.bytes));
  return concatenate(pieces);
}

/** The commit timestamp of a row that another transaction wrote. */
export function committed(ts: bigint | CommitTsPlaceholder): bigint {
  if (typeof ts === "bigint") return ts;
  throw new Error("a commit timestamp is not known within its own transaction");
}

function microseconds(ts: bigint | CommitTsPlaceholder): number {
  return Number(committed(ts) / NANOSECONDS);
}

function toDelta(row: Doc<"chunks">) {
  const { id, ordinal, bytes } = row;
  const ts = committed(row.ts);
  const author = row.author === undefined ? {} : { author: row.author };
  if (row.part === undefined) return { id, ts, ordinal, bytes, ...author };
  const { hash, index, count } = row.part;
  return { id, ts, ordinal, bytes, ...author, part: { hash: hexToBytes(hash).buffer, index, count } };
}

async function* rowsAfter(
  ctx: QueryCtx,
  collection: string,
  scope: string | undefined,
  { ts, ordinal }: Position,
): AsyncGenerator<Doc<"chunks">> {
  const chunks = () => ctx.db.query("chunks");
  if (scope === undefined) {
    yield* chunks().withIndex("by_position", (q) =>
      q.eq("collection", collection).eq("ts", ts).gt("ordinal", ordinal),
    );
    yield* chunks().withIndex("by_position", (q) => q.eq("collection", collection).gt("ts", ts));
  } else {
    yield* chunks().withIndex("by_scope", (q) =>
      q.eq("collection", collection).eq("scope", scope).eq("ts", ts).gt("ordinal", ordinal),
    );
    yield* chunks().withIndex("by_scope", (q) =>
      q.eq("collection", collection).eq("scope", scope).gt("ts", ts),
    );
  }
}

/**
 * Refuses a checkpoint from before the newest pruned row: its reader may have missed a delete, also one of the same
 * commit. A reader that began after the pruning and has not got so far yet sends the mark's stamp as `known`, and is
 * let through.
 */
function checkNotPruned(checkpoint: Position, mark: Doc<"pruned"> | null, known: bigint | undefined): void {
  if (checkpoint.ts === 0n || mark === null || known === mark.stamp) return;
  if (comparePositions(checkpoint, mark) < 0) throw unknownCheckpoint("is from before the log was pruned");
}

/**
 * Refuses a checkpoint after the newest row: it is from another log. Called only if nothing follows it, to read no
 * more.
 */
async function checkNotAhead(
  ctx: QueryCtx,
  collection: string,
  scope: string | undefined,
  checkpoint: Position,
): Promise<void> {
  if (comparePositions(checkpoint, START) <= 0) return;
  if (scope !== undefined) {
    const newest = await ctx.db
      .query("chunks")
      .withIndex("by_scope", (q) => q.eq("collection", collection).eq("scope", scope))
      .order("desc")
      .first();
    if (newest !== null && comparePositions(checkpoint, positionOf(newest)) <= 0) return;
  }
  const newest = await ctx.db
    .query("chunks")
    .withIndex("by_position", (q) => q.eq("collection", collection))
    .order("desc")
    .first();
  if (newest !== null && comparePositions(checkpoint, positionOf(newest)) <= 0) return;
  // The newest row may have been pruned.
  const mark = await readPruned(ctx, collection);
  if (mark === null || checkpoint.ts > mark.ts) throw unknownCheckpoint("is ahead of the log");
}

const START: Position = { ts: 0n, ordinal: 0 };

/** Negative if `a` comes first, positive if `b` does. */
export function comparePositions(a: Position, b: Position): number {
  if (a.ts === b.ts) return a.ordinal - b.ordinal;
  return a.ts < b.ts ? -1 : 1;
}

export function positionOf(row: Doc<"chunks">): Position {
  return { ts: committed(row.ts), ordinal: row.ordinal };
}

function checkPosition({ ts, ordinal }: Position): void {
  if (ts < 0n || !Number.isInteger(ordinal) || ordinal < 0 || ordinal > ORDINAL_MAX) {
    throw unknownCheckpoint("was not given out by this log");
  }
}

/** The mark up to which a log is pruned; null if nothing is. */
export async function readPruned(ctx: QueryCtx, collection: string) {
  return await ctx.db
    .query("pruned")
    .withIndex("by_collection", (q) => q.eq("collection", collection))
    .unique();
}

function unknownCheckpoint(why: string) {
  return refuse({
    code: "checkpointUnknown",
    message: `The checkpoint ${why}. Pull from the beginning and offer everything again.`,
  });
}

function clamp(limit: number | undefined, otherwise: number, most: number): number {
  if (limit === undefined) return otherwise;
  return limit >= 1 ? Math.min(most, Math.floor(limit)) : 1;
}

/**
 * Keeps a document's log short: its oldest rows become one snapshot. `log.append` schedules it. Each call is one
 * transaction.
 */
import { v } from "convex/values";
import type { Doc } from "./_generated/dataModel.js";
import { internal } from "./_generated/api.js";
import { internalMutation, mutation, type MutationCtx } from "./_generated/server.js";
import { loadAutomerge } from "./automerge.js";
import { concatenate } from "./chunk.js";
import { authorOf, readDocument } from "./documents.js";
import { CHANGE_PARTS, CHUNK_BYTES, COMPACT_BYTES, COMPACT_ROWS } from "./limits.js";
import { cut } from "./parts.js";
import { loaded, release, savedIfSound } from "./sound.js";

const NANOSECONDS_PER_MS = 1_000_000n;

/** Called by the schedule. `after` is the age of the rows that it compacts, in milliseconds. */
export const compactOnce = internalMutation({
  args: { collection: v.string(), id: v.string(), after: v.number() },
  returns: v.null(),
  handler: async (ctx, args) => {
    const document = await readDocument(ctx, args.collection, args.id);
    if (document === null) return null;
    const { hasMore } = await compactDocument(ctx, document, Date.now() - args.after, COMPACT_BYTES);
    if (hasMore) await ctx.scheduler.runAfter(0, internal.compaction.compactOnce, args);
    return null;
  },
});

/**
 * Replaces the oldest rows of a document's log, up to `before` (milliseconds), by one snapshot at the position of the
 * last change it covers. This is one transaction, so no reader can miss a change: a reader past that position is sent
 * nothing again, and any other reader gets the snapshot in place of the rows. Returns whether there is more to do.
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
  handler: async (ctx, { collection, id, before, bytes = COMPACT_BYTES }) => {
    const document = await readDocument(ctx, collection, id);
    if (document === null) return { compacted: 0, hasMore: false };
    return await compactDocument(ctx, document, before, Math.min(bytes, COMPACT_BYTES));
  },
});

/** Compacts one document, see {@link compact}. `room` is how many chunk bytes to read. */
export async function compactDocument(
  ctx: MutationCtx,
  document: Doc<"documents">,
  before: number,
  room: number,
): Promise<{ compacted: number; hasMore: boolean }> {
  const { collection, id } = document;
  const { rows, hasMore } = await oldestRows(ctx, collection, id, before, room);
  const last = rows.at(-1);
  const snapshot = last === undefined || rows.length < 2 ? null : await snapshotOf(rows);
  if (last === undefined || snapshot === null) {
    await ctx.db.patch(document._id, { compactDue: undefined });
    return { compacted: 0, hasMore: false };
  }
  let bytes = document.bytes;
  for (const row of rows) {
    bytes -= row.bytes.byteLength;
    await ctx.db.delete(row._id);
  }
  const pieces = cut(snapshot);
  const author = authorOf(rows);
  for (const [index, piece] of pieces.entries()) {
    // The last part takes the last row's position, and the others the room before it: a reader before that row gets
    // all.
    const ordinal = last.ordinal - (pieces.length - 1 - index);
    const { scope, ts } = last;
    await ctx.db.insert("chunks", { collection, id, scope, ts, ordinal, ...piece, ...author });
    bytes += piece.bytes.byteLength;
  }
  await ctx.db.patch(document._id, {
    rows: document.rows - rows.length + pieces.length,
    bytes,
    compactDue: hasMore ? Date.now() : undefined,
  });
  return { compacted: rows.length, hasMore };
}

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
  // If the last chunk is not whole, its parts are left to the next call.
  for (
    let last = rows.at(-1)?.part;
    last !== undefined && last.index !== last.count - 1;
    last = rows.at(-1)?.part
  ) {
    rows.pop();
  }
  return { rows, hasMore };
}

/** The snapshot of these rows, proven by loading it; null if it does not load or would not be shorter. */
async function snapshotOf(rows: Doc<"chunks">[]): Promise<Uint8Array | null> {
  const automerge = await loadAutomerge();
  const doc = loaded(automerge, concatenate(rows.map((row) => new Uint8Array(row.bytes))));
  // There is an invalid change, which the check of rows removes.
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

/** Converts milliseconds to the nanoseconds of commit timestamps. */
export function nanoseconds(milliseconds: number): bigint {
  return BigInt(Math.floor(milliseconds)) * NANOSECONDS_PER_MS;
}

/** Repairs documents that an invalid change has made unreadable. */
import { v } from "convex/values";
import { mutation, type QueryCtx } from "./_generated/server.js";
import { loadAutomerge } from "./automerge.js";
import { concatenate } from "./chunk.js";
import { authorOf, readDocument } from "./documents.js";
import { CHANGE_PARTS, COMPACT_BYTES, COMPACT_ROWS } from "./limits.js";
import { cut } from "./parts.js";
import { repair } from "./sound.js";

/**
 * Removes invalid changes, and the changes that depend on them, from a document's log. Its rows become one snapshot
 * of the rest, at the position of the last row, so that no reader has to start over. The removed changes are refused
 * from now on. Returns their hashes; null if the document cannot be repaired.
 */
export const isolate = mutation({
  args: { collection: v.string(), id: v.string() },
  returns: v.union(v.null(), v.object({ removed: v.array(v.string()), version: v.number() })),
  handler: async (ctx, { collection, id }) => {
    const document = await readDocument(ctx, collection, id);
    if (document === null || document.bytes > COMPACT_BYTES || document.rows > COMPACT_ROWS) return null;
    const rows = await ctx.db
      .query("chunks")
      .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
      .collect();
    const last = rows.at(-1);
    if (last === undefined) return null;
    const chunks: Uint8Array[] = [];
    let parts: Uint8Array[] = [];
    for (const row of rows) {
      parts.push(new Uint8Array(row.bytes));
      if (row.part !== undefined && row.part.index + 1 < row.part.count) continue;
      chunks.push(concatenate(parts));
      parts = [];
    }
    const left = repair(await loadAutomerge(), chunks);
    if (left === null) return null;
    const version = document.version - left.removed.length;
    if (left.removed.length === 0) return { removed: [], version };

    const pieces = cut(left.saved);
    if (pieces.length > CHANGE_PARTS) return null;
    for (const row of rows) await ctx.db.delete(row._id);
    for (const [index, piece] of pieces.entries()) {
      const ordinal = last.ordinal - (pieces.length - 1 - index);
      const { scope, ts } = last;
      await ctx.db.insert("chunks", { collection, id, scope, ts, ordinal, ...piece, ...authorOf(rows) });
    }
    const headOps: number[] = [];
    for (const head of left.heads) headOps.push((await changeRow(ctx, collection, id, head))?.lastOp ?? 0);
    for (const hash of left.removed) {
      const change = await changeRow(ctx, collection, id, hash);
      if (change !== null) await ctx.db.patch(change._id, { senseless: true });
    }
    await ctx.db.patch(document._id, {
      // Readers of whole documents get it again.
      ts: ctx.db.vars.commitTs,
      heads: left.heads,
      headOps,
      version,
      rows: pieces.length,
      bytes: left.saved.length,
      operations: document.operations - left.operations,
    });
    return { removed: left.removed, version };
  },
});

async function changeRow(ctx: QueryCtx, collection: string, id: string, hash: string) {
  return await ctx.db
    .query("changes")
    .withIndex("by_hash", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
    .unique();
}

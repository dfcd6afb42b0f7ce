/** Parts of changes that are incomplete: stored until the others arrive, counted, and deleted afterwards. */
import type { MutationCtx, QueryCtx } from "./_generated/server.js";
import { Refused } from "./errors.js";
import type { Incoming } from "./incoming.js";
import { WAITING_BYTES } from "./limits.js";

/** The row that counts a change's stored parts; null if it has none. */
export async function readIncomplete(ctx: QueryCtx, collection: string, id: string, hash: string) {
  return await ctx.db
    .query("incomplete")
    .withIndex("by_chunk", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
    .unique();
}

/** The row that counts the bytes of a document's stored parts; null if it has none. */
export async function readWaiting(ctx: QueryCtx, collection: string, id: string) {
  return await ctx.db
    .query("waiting")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
    .unique();
}

/** Throws if the stored parts would exceed their limit. */
export async function checkWaiting(
  ctx: QueryCtx,
  collection: string,
  id: string,
  { parts, usedBytes }: Incoming,
): Promise<void> {
  const waiting = (await readWaiting(ctx, collection, id))?.bytes ?? 0;
  const bytes = waiting - usedBytes + total(parts);
  if (bytes > WAITING_BYTES) {
    throw new Refused(
      "tooLarge",
      `${id} would have ${bytes} bytes of incomplete changes. Complete a change first.`,
      WAITING_BYTES,
    );
  }
}

export async function storeParts(
  ctx: MutationCtx,
  collection: string,
  id: string,
  incoming: Incoming,
): Promise<void> {
  for (const part of incoming.parts) {
    await ctx.db.insert("parts", { collection, id, ...part });
  }
  for (const used of incoming.usedParts) await ctx.db.delete(used);
  for (const hash of incoming.whole) await addIncomplete(ctx, collection, id, { hash, count: 0 }, -Infinity);
  for (const part of incoming.parts) await addIncomplete(ctx, collection, id, part, 1);
  for (const hash of incoming.repeated) await addIncomplete(ctx, collection, id, { hash, count: 0 }, 0);
  await addWaiting(ctx, collection, id, total(incoming.parts) - incoming.usedBytes);
}

/** Adds to the count of a change's stored parts, and sets the time of the newest. */
async function addIncomplete(
  ctx: MutationCtx,
  collection: string,
  id: string,
  { hash, count }: { hash: string; count: number },
  parts: number,
): Promise<void> {
  const row = await readIncomplete(ctx, collection, id, hash);
  const have = (row?.have ?? 0) + parts;
  const ts = ctx.db.vars.commitTs;
  if (have > 0 && row === null) await ctx.db.insert("incomplete", { collection, id, hash, count, have, ts });
  else if (have > 0 && row !== null) await ctx.db.patch(row._id, { have, ts });
  else if (row !== null) await ctx.db.delete(row._id);
}

/** Adds to the count of a document's stored bytes. */
export async function addWaiting(
  ctx: MutationCtx,
  collection: string,
  id: string,
  bytes: number,
): Promise<void> {
  if (bytes === 0) return;
  const row = await readWaiting(ctx, collection, id);
  if (row === null) await ctx.db.insert("waiting", { collection, id, bytes });
  else if (row.bytes + bytes > 0) await ctx.db.patch(row._id, { bytes: row.bytes + bytes });
  else await ctx.db.delete(row._id);
}

export function total(pieces: { bytes: ArrayBuffer }[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes.byteLength, 0);
}

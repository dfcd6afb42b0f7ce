/** How many documents a collection has, counted in shards so that writers of different documents seldom meet. */
import { sha256 } from "@noble/hashes/sha2.js";
import type { MutationCtx } from "./_generated/server.js";
import { COUNT_SHARDS } from "./limits.js";

export function shardOf(id: string): number {
  return sha256(new TextEncoder().encode(id))[0]! % COUNT_SHARDS;
}

export async function addToCount(
  ctx: MutationCtx,
  collection: string,
  shard: number,
  count: number,
): Promise<void> {
  const row = await ctx.db
    .query("counts")
    .withIndex("by_shard", (q) => q.eq("collection", collection).eq("shard", shard))
    .unique();
  if (row === null) await ctx.db.insert("counts", { collection, shard, count });
  else await ctx.db.patch(row._id, { count: row.count + count });
}

/** Subtracts a document from the count. */
export async function uncount(ctx: MutationCtx, collection: string, id: string): Promise<void> {
  await addToCount(ctx, collection, shardOf(id), -1);
}

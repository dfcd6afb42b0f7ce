/** Finding what the log knows of a document. */
import type { QueryCtx } from "./_generated/server.js";

/** The row of a document in the table `documents`, or null where the log does not know it. */
export async function readDocument(ctx: QueryCtx, collection: string, id: string) {
  return await ctx.db
    .query("documents")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
    .unique();
}

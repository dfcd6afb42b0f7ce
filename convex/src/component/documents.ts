/** Finding what the log knows of a document. */
import type { Doc } from "./_generated/dataModel.js";
import type { QueryCtx } from "./_generated/server.js";

/** The row of a document in the table `documents`, or null where the log does not know it. */
export async function readDocument(ctx: QueryCtx, collection: string, id: string) {
  return await ctx.db
    .query("documents")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
    .unique();
}

/** The author of a snapshot of these rows: theirs, if they have the same. */
export function authorOf(rows: Doc<"chunks">[]): { author?: string } {
  const author = rows[0]?.author;
  return author !== undefined && rows.every((row) => row.author === author) ? { author } : {};
}

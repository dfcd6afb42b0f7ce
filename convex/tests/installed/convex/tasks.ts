import { defineReplicate } from "bevy-convex-replicate";
import { components } from "./_generated/api";
import type { DataModel } from "./_generated/dataModel";
import { query } from "./_generated/server";

export const {
  pushChanges,
  pullDeltas,
  insertDocument,
  updateDocument,
  deleteDocument,
  pullChanges,
  changeStream,
  checkRows,
  prune,
} = defineReplicate<DataModel>({ component: components.replicate, table: "tasks", public: true });

/** A query of the app's own, over the table that the pushes fill. */
export const open = query({
  handler: async (ctx) =>
    (await ctx.db.query("tasks").collect()).filter(({ isCompleted }) => isCompleted !== true),
});

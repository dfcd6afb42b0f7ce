import { ConvexError } from "convex/values";
import { defineReplicate } from "../../src/client/index.js";
import { components } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";

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
} = defineReplicate<DataModel>({
  component: components.replicate,
  table: "rooms",
  authorize: async (ctx, request) => {
    const user = await ctx.auth.getUserIdentity();
    const closed = request.kind === "write" && request.document === "closed" && request.change !== "new";
    if (closed) throw new ConvexError({ code: "closed" });
    if (user === null || request.scope !== user.subject) return false;
    return request.kind === "read" || request.before?.locked !== true;
  },
});

/** A module as in an app written for convex-replicate 0.2. */
import { v } from "convex/values";
import {
  changeStreamHelper,
  deleteDocumentHelper,
  insertDocumentHelper,
  pullChangesHelper,
  updateDocumentHelper,
} from "../../src/client/index.js";
import { components } from "./_generated/api.js";
import { mutation, query } from "./_generated/server.js";

const whole = {
  collectionName: v.string(),
  documentId: v.string(),
  crdtBytes: v.bytes(),
  materializedDoc: v.any(),
  version: v.number(),
};

export const insertDocument = mutation({
  args: whole,
  handler: async (ctx, args) =>
    await insertDocumentHelper(ctx, components, "legacy", {
      id: args.documentId,
      crdtBytes: args.crdtBytes,
      materializedDoc: args.materializedDoc as unknown,
      version: args.version,
    }),
});

export const updateDocument = mutation({
  args: whole,
  handler: async (ctx, args) =>
    await updateDocumentHelper(ctx, components, "legacy", {
      id: args.documentId,
      crdtBytes: args.crdtBytes,
      materializedDoc: args.materializedDoc as unknown,
      version: args.version,
    }),
});

export const deleteDocument = mutation({
  args: { collectionName: v.string(), documentId: v.string() },
  handler: async (ctx, args) =>
    await deleteDocumentHelper(ctx, components, "legacy", { id: args.documentId }),
});

export const pullChanges = query({
  args: {
    collectionName: v.string(),
    checkpoint: v.object({ lastModified: v.number() }),
    limit: v.optional(v.number()),
  },
  handler: async (ctx, args) =>
    await pullChangesHelper(ctx, components, "legacy", { checkpoint: args.checkpoint, limit: args.limit }),
});

export const changeStream = query({
  args: { collectionName: v.string() },
  handler: async (ctx) => await changeStreamHelper(ctx, components, "legacy"),
});

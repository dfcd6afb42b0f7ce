/** The functions of clients that send and load whole documents, as convex-replicate 0.2 has them. */
import { v } from "convex/values";
import type { CompactionPolicy } from "../component/shapes.js";
import type { AppTable } from "./append.js";
import { mutation, query } from "./builders.js";
import type { Rules } from "./rules.js";
import { deleteDocument, writeDocument } from "./whole.js";

const success = v.object({ success: v.boolean() });
const wholeDocument = {
  collectionName: v.string(),
  documentId: v.string(),
  crdtBytes: v.bytes(),
  materializedDoc: v.any(),
  version: v.number(),
};

export function originalFunctions(target: AppTable, rules: Rules, compact: CompactionPolicy) {
  const { component, collection } = target;

  const write = (operation: "insert" | "update") =>
    mutation({
      args: wholeDocument,
      returns: success,
      handler: async (ctx, { documentId, crdtBytes }) => {
        await writeDocument(ctx, target, documentId, crdtBytes, {
          compact,
          rights: rules.of(ctx, operation),
        });
        return { success: true };
      },
    });

  return {
    insertDocument: write("insert"),
    updateDocument: write("update"),

    deleteDocument: mutation({
      args: { collectionName: v.string(), documentId: v.string() },
      returns: success,
      handler: async (ctx, { documentId }) => {
        await deleteDocument(ctx, target, documentId, { compact, rights: rules.of(ctx, "delete") });
        return { success: true };
      },
    }),

    pullChanges: query({
      args: {
        collectionName: v.string(),
        checkpoint: v.object({ lastModified: v.number() }),
        limit: v.optional(v.number()),
      },
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
      handler: async (ctx, { checkpoint: { lastModified }, limit }) => {
        await rules.checkRead(ctx);
        return await ctx.runQuery(component.pages.pullDocuments, {
          collection,
          lastModified,
          ...(limit === undefined ? {} : { limit }),
        });
      },
    }),

    changeStream: query({
      args: { collectionName: v.optional(v.string()) },
      returns: v.object({ timestamp: v.number(), count: v.number() }),
      handler: async (ctx) => {
        await rules.checkRead(ctx);
        return await ctx.runQuery(component.pages.changeStream, { collection });
      },
    }),
  };
}

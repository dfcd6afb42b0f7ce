import {
  type GenericDataModel,
  type GenericMutationCtx,
  type GenericQueryCtx,
  internalMutationGeneric,
  makeFunctionReference,
  type MutationBuilder,
  mutationGeneric,
  type QueryBuilder,
  queryGeneric,
  type TableNamesInDataModel,
} from "convex/server";
import { v } from "convex/values";
import type { ComponentApi } from "../component/_generated/component.js";
import { refuse } from "../component/errors.js";
import {
  COMPACT_AFTER,
  COMPACT_FROM_ROWS,
  PUSH_BYTES,
  PUSH_CHANGES,
  PUSH_DOCUMENTS,
  RETENTION,
} from "../component/limits.js";
import { chunk, part, position, refusal } from "../component/shapes.js";
import { type AccessRequest, type Authorize, notAuthorized, signedIn, type WriteRequest } from "./access.js";
import { checkRows, repair } from "./check.js";
import { pruneDocuments } from "./prune.js";
import { documentAsRow, ownFields, readRow, type Shown } from "./row.js";
import { deleteDocument, writeDocument } from "./whole.js";
import { pushDocuments, type PushedDocument } from "./write.js";

/** What {@link defineReplicate} is told about a collection. */
export type ReplicateOptions<DataModel extends GenericDataModel> = {
  /** The installed component, `components.replicate`. */
  component: ComponentApi;
  /** The app's table, made with `replicatedTable`. */
  table: TableNamesInDataModel<DataModel>;
  /** The collection's name in the log; the table's unless given. */
  collection?: string;
  /** When a row written from a client's word is compared with the merged document, in milliseconds. */
  checkAfter?: number;
  /** The log rows of one document that are worth compacting. */
  compactRows?: number;
  /** How old log rows are before they are compacted, in milliseconds: readers that are up to date have passed them. */
  compactAfter?: number;
  /** How long a tombstone is kept, in milliseconds. A client that was away for longer starts over. */
  retention?: number;
} & (
  | {
      /** Who may read and write. */
      authorize: Authorize<DataModel>;
      public?: false;
    }
  | {
      authorize?: undefined;
      /** Whether everyone may read and write everything. Unless it says so, who is signed in may, and nobody else. */
      public?: boolean;
    }
);

// Tables are named at run time here, so the functions know of no particular data model.
const mutation: MutationBuilder<GenericDataModel, "public"> = mutationGeneric;
const internalMutation: MutationBuilder<GenericDataModel, "internal"> = internalMutationGeneric;
const query: QueryBuilder<GenericDataModel, "public"> = queryGeneric;

const SECOND = 1_000;

const DEFAULTS = {
  checkAfter: 10 * SECOND,
  compactRows: COMPACT_FROM_ROWS,
  compactAfter: COMPACT_AFTER,
  retention: RETENTION,
};

const success = v.object({ success: v.boolean() });
const wholeDocument = {
  collectionName: v.string(),
  documentId: v.string(),
  crdtBytes: v.bytes(),
  materializedDoc: v.any(),
  version: v.number(),
};

/**
 * The functions of a collection's module.
 *
 * ```ts
 * export const {
 *   pushChanges, pullDeltas,
 *   insertDocument, updateDocument, deleteDocument, pullChanges, changeStream,
 *   checkRows, prune,
 * } = defineReplicate<DataModel>({ component: components.replicate, table: "tasks", authorize });
 * ```
 *
 * Export all of them under these names: the last two are internal, and `pushChanges` schedules `checkRows`.
 */
export function defineReplicate<DataModel extends GenericDataModel>(options: ReplicateOptions<DataModel>) {
  const { component, table } = options;
  const { checkAfter, compactRows, compactAfter, retention } = { ...DEFAULTS, ...defined(options) };
  const compact = { rows: compactRows, after: compactAfter };
  const collection = options.collection ?? table;
  const target = { component, collection, table };

  async function may(
    ctx: GenericQueryCtx<GenericDataModel> | WriteCtx,
    request: AccessRequest,
  ): Promise<boolean> {
    if (options.authorize !== undefined) {
      return await options.authorize(ctx as unknown as GenericQueryCtx<DataModel>, request);
    }
    return options.public === true || (await signedIn(ctx));
  }

  async function checkRead(ctx: GenericQueryCtx<GenericDataModel>, scope?: string): Promise<void> {
    const request: AccessRequest = { kind: "read", collection, scope };
    if (!(await may(ctx, request))) throw notAuthorized(request);
  }

  async function mayWrite(
    ctx: WriteCtx,
    operation: WriteRequest["operation"],
    document: string,
    scope: string | undefined,
    row: Shown | null,
  ): Promise<boolean> {
    const fields = row === null ? null : ownFields(row);
    return await may(ctx, { kind: "write", operation, collection, document, scope, row: fields });
  }

  async function checkWrite(ctx: WriteCtx, operation: WriteRequest["operation"], id: string): Promise<void> {
    const status = await ctx.runQuery(component.log.status, { collection, id });
    const stored = await readRow(ctx, table, id);
    const row = stored ?? (status === null ? null : await documentAsRow(ctx, target, id));
    if (!(await mayWrite(ctx, operation, id, status?.scope, row))) {
      throw notAuthorized({
        kind: "write",
        operation,
        collection,
        document: id,
        scope: status?.scope,
        row: null,
      });
    }
  }

  const pushChanges = mutation({
    args: {
      documents: v.array(
        v.object({
          id: v.string(),
          changes: v.array(chunk),
          fields: v.optional(v.any()),
          removed: v.optional(v.array(v.string())),
        }),
      ),
      scope: v.optional(v.string()),
    },
    returns: v.object({
      epoch: v.string(),
      results: v.array(v.union(v.object({ id: v.string(), status: v.literal("accepted") }), refusal)),
    }),
    handler: async (ctx, { documents, scope }) => {
      checkPush(documents);
      if (options.authorize === undefined && options.public !== true) await signedIn(ctx);
      const pushed = await pushDocuments(ctx, target, documents, {
        ...(scope === undefined ? {} : { scope }),
        mayWrite: (id, home, row) => mayWrite(ctx, "push", id, home, row),
        compact,
        checkDue: Date.now() + checkAfter,
      });
      if (pushed.unchecked.length > 0) {
        const check = await sibling(ctx, "checkRows");
        for (const ids of pushed.unchecked) await ctx.scheduler.runAfter(checkAfter, check, { ids });
      }
      return { epoch: pushed.epoch, results: pushed.results };
    },
  });

  const pullDeltas = query({
    args: {
      checkpoint: position,
      limit: v.optional(v.number()),
      scope: v.optional(v.string()),
      pruned: v.optional(v.int64()),
    },
    returns: v.object({
      deltas: v.array(
        v.object({
          id: v.string(),
          ts: v.int64(),
          ordinal: v.number(),
          bytes: v.bytes(),
          part: v.optional(part),
        }),
      ),
      checkpoint: position,
      hasMore: v.boolean(),
      epoch: v.string(),
      pruned: v.optional(v.int64()),
    }),
    handler: async (ctx, args) => {
      await checkRead(ctx, args.scope);
      return await ctx.runQuery(component.pages.pullDeltas, { collection, ...args });
    },
  });

  const write = (operation: "insert" | "update") =>
    mutation({
      args: wholeDocument,
      returns: success,
      handler: async (ctx, { documentId, crdtBytes }) => {
        await checkWrite(ctx, operation, documentId);
        await writeDocument(ctx, target, documentId, crdtBytes, { compact });
        return { success: true };
      },
    });

  return {
    pushChanges,
    pullDeltas,
    insertDocument: write("insert"),
    updateDocument: write("update"),

    deleteDocument: mutation({
      args: { collectionName: v.string(), documentId: v.string() },
      returns: success,
      handler: async (ctx, { documentId }) => {
        await checkWrite(ctx, "delete", documentId);
        await deleteDocument(ctx, target, documentId, { compact });
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
        await checkRead(ctx);
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
        await checkRead(ctx);
        return await ctx.runQuery(component.pages.changeStream, { collection });
      },
    }),

    /** Makes rows say what their merged documents do. Scheduled by `pushChanges`. */
    checkRows: internalMutation({
      args: { ids: v.array(v.string()), repair: v.optional(v.boolean()) },
      returns: v.number(),
      handler: async (ctx, { ids, repair: broken = false }) => {
        const again = async (some: string[], more: { repair?: boolean } = {}) => {
          if (some.length === 0) return;
          await ctx.scheduler.runAfter(0, await sibling(ctx, "checkRows"), { ids: some, ...more });
        };
        if (broken) {
          for (const id of ids) if (await repair(ctx, target, id)) await again([id]);
          return 0;
        }
        const checked = await checkRows(ctx, target, ids);
        await again(checked.later);
        for (const id of checked.repair) await again([id], { repair: true });
        return checked.corrected;
      },
    }),

    /** Drops documents that were deleted longer ago than the retention. For the app's crons to call. */
    prune: internalMutation({
      args: {},
      returns: v.object({ pruned: v.array(v.string()), hasMore: v.boolean() }),
      handler: async (ctx) => {
        const { pruned, alive, hasMore } = await pruneDocuments(ctx, target, retention);
        if (alive.length > 0) {
          await ctx.scheduler.runAfter(0, await sibling(ctx, "checkRows"), { ids: alive });
        }
        if (hasMore) await ctx.scheduler.runAfter(0, await sibling(ctx, "prune"), {});
        return { pruned, hasMore };
      },
    }),
  };
}

type WriteCtx = GenericMutationCtx<GenericDataModel>;

/** Another function of the module that is running. */
async function sibling(ctx: WriteCtx, name: string) {
  const { name: running } = await ctx.meta.getFunctionMetadata();
  const module = running.split(":")[0]!.replace(/\.js$/, "");
  return makeFunctionReference<"mutation">(`${module}:${name}`);
}

/** A push over a limit fails as a whole: nothing of it could be told apart cheaply. */
function checkPush(documents: PushedDocument[]): void {
  const changes = documents.reduce((sum, document) => sum + document.changes.length, 0);
  const bytes = documents.reduce(
    (sum, document) => document.changes.reduce((all, { bytes }) => all + bytes.byteLength, sum),
    0,
  );
  const over = (what: string, limit: number) =>
    refuse({
      code: "pushTooLarge",
      message: `A push has at most ${limit} ${what}; send it in several.`,
      limit,
    });
  if (documents.length > PUSH_DOCUMENTS) throw over("documents", PUSH_DOCUMENTS);
  if (changes > PUSH_CHANGES) throw over("changes", PUSH_CHANGES);
  if (bytes > PUSH_BYTES) throw over("bytes of chunks", PUSH_BYTES);
}

/** The options that are given: one that is there but undefined would hide its default. */
function defined<T extends object>(options: T): Partial<typeof DEFAULTS> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

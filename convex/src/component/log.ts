/** Writes to the log: examines pushes, and appends their changes in order. */
import { v } from "convex/values";
import { internalMutation, mutation, type MutationCtx, query } from "./_generated/server.js";
import { ChangedDocuments, PENDING_TS } from "./commit.js";
import { addToCount, shardOf } from "./counts.js";
import { readDocument } from "./documents.js";
import { ensureEpoch, readEpoch, writeEpoch } from "./epoch.js";
import { Refused } from "./errors.js";
import { examineDocument } from "./examine.js";
import type { Incoming, NewChange } from "./incoming.js";
import { ORDINAL_STEP } from "./limits.js";
import { cut } from "./parts.js";
import { scheduleCompaction } from "./schedule.js";
import {
  compactionPolicy,
  documentChanges,
  type DocumentChanges,
  examined,
  type Examined,
  refusal,
  type Sender,
  sender,
} from "./shapes.js";
import { isLong, logOf } from "./size.js";
import { senderKey, storeParts } from "./waiting.js";

/** Returns what a push would do, one result per document. Writes nothing. */
export const examine = query({
  args: {
    collection: v.string(),
    documents: v.array(documentChanges),
    /** Whose parts may complete the changes. */
    sender: v.optional(sender),
  },
  returns: v.object({ epoch: v.string(), results: v.array(v.union(examined, refusal)) }),
  handler: async (ctx, { collection, documents, sender = {} }) => {
    const results = [];
    const changed = await ChangedDocuments.read(ctx, collection);
    const assembling = { bytes: 0 };
    for (const document of documents) {
      try {
        const incoming = await examineDocument(ctx, collection, document, sender, assembling);
        if (incoming.changes.length > 0) changed.add(document.id, logOf(incoming));
        results.push(verdict(document.id, incoming));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        results.push(error.toResult(document.id));
      }
    }
    return { epoch: (await readEpoch(ctx)) ?? "", results };
  },
});

/**
 * Appends changes to the log. Everything is checked again, and a document that may not enter fails the whole call: an
 * app calls `examine` first, within the same transaction.
 */
export const append = mutation({
  args: {
    collection: v.string(),
    scope: v.optional(v.string()),
    documents: v.array(
      documentChanges.extend({
        /** Whether the document is a tombstone now. If absent, this does not change. */
        deleted: v.optional(v.boolean()),
        /**
         * When the check that the caller schedules for its row runs, in milliseconds. If absent, this does not change.
         */
        checkDue: v.optional(v.number()),
      }),
    ),
    compact: v.optional(compactionPolicy),
    /** The user who writes, whom the app's function has verified: `tokenIdentifier`. */
    author: v.optional(v.string()),
  },
  returns: v.object({
    epoch: v.string(),
    /**
     * Documents with long logs. Their compaction is scheduled; the caller compacts at once if its transaction has room.
     */
    long: v.array(v.string()),
  }),
  handler: async (ctx, { collection, scope, documents, compact, author }) => {
    const epoch = await ensureEpoch(ctx);
    const sender: Sender = {
      ...(scope === undefined ? {} : { scope }),
      ...(author === undefined ? {} : { author }),
    };
    const created = new Map<number, number>();
    const long: string[] = [];
    let ordinal = await nextOrdinal(ctx, collection);
    const changed = await ChangedDocuments.read(ctx, collection);
    for (const entry of documents) {
      const incoming = await examineOrFail(ctx, collection, entry, sender, changed);
      await storeParts(ctx, { collection, id: entry.id, sender: senderKey(sender) }, incoming);
      if (incoming.changes.length === 0) continue;
      const home = incoming.document === null ? scope : incoming.document.scope;
      const row = { collection, id: entry.id, scope: home, ...(author === undefined ? {} : { author }) };
      const { rows, bytes, next } = await storeChanges(ctx, row, incoming.changes, ordinal);
      ordinal = next;
      const state = {
        ts: ctx.db.vars.commitTs,
        heads: incoming.heads,
        headOps: incoming.headOps,
        version: (incoming.document?.version ?? 0) + incoming.changes.length,
        rows: (incoming.document?.rows ?? 0) + rows,
        bytes: (incoming.document?.bytes ?? 0) + bytes,
        operations: logOf(incoming).operations,
        deleted: entry.deleted ?? incoming.document?.deleted ?? false,
        checkDue: entry.checkDue ?? incoming.document?.checkDue,
        compactDue: incoming.document?.compactDue,
      };
      if (isLong(state)) long.push(entry.id);
      state.compactDue = await scheduleCompaction(ctx, { collection, id: entry.id, ...state }, compact);
      if (incoming.document === null) {
        await ctx.db.insert("documents", { collection, id: entry.id, scope, pruned: false, ...state });
        const shard = shardOf(entry.id);
        created.set(shard, (created.get(shard) ?? 0) + 1);
      } else {
        await ctx.db.patch(incoming.document._id, state);
      }
    }
    for (const [shard, count] of created) await addToCount(ctx, collection, shard, count);
    return { epoch, long };
  },
});

/** Records that a document's row has been compared with the merged document of this version. */
export const checked = mutation({
  args: { collection: v.string(), id: v.string(), version: v.number(), deleted: v.boolean() },
  returns: v.null(),
  handler: async (ctx, { collection, id, version, deleted }) => {
    const document = await readDocument(ctx, collection, id);
    if (document === null || document.pruned || document.version !== version) return null;
    if (document.checkDue !== undefined || document.deleted !== deleted) {
      await ctx.db.patch(document._id, { checkDue: undefined, deleted });
    }
    return null;
  },
});

/** The state of a document; null if the log does not know it. */
export const status = query({
  args: { collection: v.string(), id: v.string() },
  returns: v.union(
    v.null(),
    v.object({
      scope: v.optional(v.string()),
      version: v.number(),
      heads: v.array(v.string()),
      deleted: v.boolean(),
      pruned: v.boolean(),
    }),
  ),
  handler: async (ctx, { collection, id }) => {
    const found = await readDocument(ctx, collection, id);
    if (found === null) return null;
    const { scope, version, heads, deleted, pruned } = found;
    return { scope, version, heads, deleted, pruned };
  },
});

/**
 * Gives the log a new id. Run it once after restoring a backup: all clients then offer the changes that the backup
 * lacks.
 */
export const renewEpoch = mutation({
  args: {},
  returns: v.string(),
  handler: async (ctx) => await writeEpoch(ctx),
});

/** The same for `npx convex run --component replicate log:restored`. */
export const restored = internalMutation({
  args: {},
  returns: v.string(),
  handler: async (ctx) => await writeEpoch(ctx),
});

function verdict(id: string, incoming: Incoming): Examined {
  return {
    id,
    status: "accepted",
    changed: incoming.changes.length > 0,
    waits: incoming.parts.length > 0 || incoming.repeated.size > 0,
    direct: incoming.direct,
    version: (incoming.document?.version ?? 0) + incoming.changes.length,
    bytes: incoming.document?.bytes ?? 0,
    rows: incoming.document?.rows ?? 0,
    assembled: incoming.usedBytes,
    long: logOf(incoming).long,
    scope: incoming.document?.scope,
    checkDue: incoming.document?.checkDue,
    completed: incoming.completed,
  };
}

async function examineOrFail(
  ctx: MutationCtx,
  collection: string,
  entry: DocumentChanges,
  sender: Sender,
  changed: ChangedDocuments,
): Promise<Incoming> {
  try {
    const incoming = await examineDocument(ctx, collection, entry, sender);
    if (incoming.changes.length > 0) changed.add(entry.id, logOf(incoming));
    return incoming;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw error.toError(entry.id);
  }
}

/** The first ordinal that this transaction has not used in the collection: a transaction may append more than once. */
async function nextOrdinal(ctx: MutationCtx, collection: string): Promise<number> {
  const last = await ctx.db
    .query("chunks")
    .withIndex("by_position", (q) => q.eq("collection", collection).eq("ts", PENDING_TS))
    .order("desc")
    .first();
  return (last === null ? 0 : last.ordinal) + ORDINAL_STEP;
}

async function storeChanges(
  ctx: MutationCtx,
  row: { collection: string; id: string; scope: string | undefined; author?: string },
  changes: NewChange[],
  ordinal: number,
): Promise<{ rows: number; bytes: number; next: number }> {
  const { collection, id } = row;
  const ts = ctx.db.vars.commitTs;
  let next = ordinal;
  let rows = 0;
  let bytes = 0;
  for (const { hash, actor, seq, lastOp, whole, bytes: raw } of changes) {
    for (const piece of cut(raw)) {
      await ctx.db.insert("chunks", { ...row, ts, ordinal: next, ...piece });
      next += ORDINAL_STEP;
      rows += 1;
    }
    await ctx.db.insert("changes", {
      collection,
      id,
      hash,
      actor,
      seq,
      lastOp,
      ...(whole === undefined ? {} : { whole }),
    });
    bytes += raw.length;
  }
  return { rows, bytes, next };
}

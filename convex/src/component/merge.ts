/** The queries that need Automerge itself: merged documents as rows, whole documents split into changes, deletes. */
import { hexToBytes } from "@noble/hashes/utils.js";
import type { Doc } from "@automerge/automerge/slim";
import { v } from "convex/values";
import { query, type QueryCtx } from "./_generated/server.js";
import { loadAutomerge } from "./automerge.js";
import { checkChunks, NotAChange } from "./chunk.js";
import { readDocument } from "./documents.js";
import { Refused } from "./errors.js";
import { examineDocument } from "./examine.js";
import { CHANGE_BYTES, DOCUMENT_BYTES, DOCUMENT_CHANGES, DOCUMENT_OPERATIONS } from "./limits.js";
import { cut } from "./parts.js";
import { materialize, RESERVED } from "./materialize.js";
import { readBytes } from "./pages.js";
import { release, savedIfSound } from "./sound.js";
import {
  type Chunk,
  chunk,
  documentChanges,
  effect,
  type Effect,
  merged,
  type Merged,
  type Refusal,
  refusal,
  sender,
} from "./shapes.js";
import { logOf, tooManyOperations } from "./size.js";

type Automerge = Awaited<ReturnType<typeof loadAutomerge>>;
type Fields = Record<string, unknown>;

/**
 * The documents as they would be with these changes. One call takes several: loading Automerge costs more than most
 * merges.
 */
export const preview = query({
  args: {
    collection: v.string(),
    documents: v.array(documentChanges),
    /** Whose parts may complete the changes. */
    sender: v.optional(sender),
    /** Whether the effect of the changes is asked for, too. */
    effects: v.optional(v.boolean()),
  },
  returns: v.array(v.union(merged, refusal)),
  handler: async (ctx, { collection, documents, sender = {}, effects = false }) => {
    const automerge = await loadAutomerge();
    const results = [];
    for (const entry of documents) {
      results.push(
        await orRefusal(entry.id, async (): Promise<Merged> => {
          const incoming = await examineDocument(ctx, collection, entry, sender);
          const { changes, document } = incoming;
          const plain = await withDocument(ctx, automerge, collection, entry.id, (doc) => {
            const before = effects ? beforeOf(automerge, doc, document !== null) : null;
            const pushed = apply(
              automerge,
              doc,
              changes.map((change) => change.bytes),
            );
            const log = logOf(incoming);
            checkSound(automerge, pushed, changes.length === 0 ? 0 : log.bytes);
            const plain = materialize(automerge.toJS(pushed));
            if (changes.length > 0) checkOperations(log.operations, plain.fields);
            return before === null ? plain : { ...plain, effect: effectOf(automerge, pushed, before) };
          });
          const version = (document?.version ?? 0) + changes.length;
          return { id: entry.id, status: "merged", ...plain, version };
        }),
      );
    }
    return results;
  },
});

/** Splits a whole document, or any concatenation of chunks, into the changes that the log lacks. */
export const split = query({
  args: { collection: v.string(), id: v.string(), crdtBytes: v.bytes(), effects: v.optional(v.boolean()) },
  returns: v.union(
    refusal,
    v.object({
      status: v.literal("split"),
      changes: v.array(chunk),
      fields: v.any(),
      leftOut: v.array(v.string()),
      version: v.number(),
      effect: v.optional(effect),
    }),
  ),
  handler: async (ctx, { collection, id, crdtBytes, effects = false }) => {
    const automerge = await loadAutomerge();
    return await orRefusal(id, async () => {
      const { document } = await examineDocument(ctx, collection, { id, changes: [] }, {});
      if (crdtBytes.byteLength > CHANGE_BYTES) {
        throw new Refused(
          "tooLarge",
          `A document of ${crdtBytes.byteLength} bytes; at most ${CHANGE_BYTES} in one call.`,
          CHANGE_BYTES,
        );
      }
      checkWhole(new Uint8Array(crdtBytes));
      return await withDocument(ctx, automerge, collection, id, (doc) => {
        const shown = effects ? beforeOf(automerge, doc, document !== null) : null;
        const before = automerge.getHeads(doc);
        const after = apply(automerge, doc, [new Uint8Array(crdtBytes)]);
        const changes = automerge.getChangesSince(after, before);
        const added = changes.reduce((sum, change) => sum + change.length, 0);
        checkSound(automerge, after, added === 0 ? 0 : (document?.bytes ?? 0) + added);
        if (changes.length > DOCUMENT_CHANGES) {
          throw new Refused(
            "tooLarge",
            `${changes.length} new changes; at most ${DOCUMENT_CHANGES} in one call.`,
            DOCUMENT_CHANGES,
          );
        }
        const plain = materialize(automerge.toJS(after));
        if (changes.length > 0) checkOperations(automerge.stats(after).numOps, plain.fields);
        const version = (document?.version ?? 0) + changes.length;
        const judged = shown === null ? {} : { effect: effectOf(automerge, after, shown) };
        return { status: "split" as const, changes: changes.flatMap(toChunks), ...plain, version, ...judged };
      });
    });
  },
});

/** The change that deletes a document; no change if it is deleted already. */
export const deletion = query({
  args: { collection: v.string(), id: v.string(), actor: v.string(), effects: v.optional(v.boolean()) },
  returns: v.union(
    v.null(),
    refusal,
    v.object({
      status: v.literal("split"),
      changes: v.array(chunk),
      fields: v.any(),
      leftOut: v.array(v.string()),
      version: v.number(),
      effect: v.optional(effect),
    }),
  ),
  handler: async (ctx, { collection, id, actor, effects = false }) => {
    const document = await readDocument(ctx, collection, id);
    if (document === null || document.pruned) return null;
    const automerge = await loadAutomerge();
    return await orRefusal(id, async () =>
      withDocument(ctx, automerge, collection, id, (doc) => {
        if (doc.deleted === true) {
          const plain = materialize(automerge.toJS(doc));
          return { status: "split" as const, changes: [], ...plain, version: document.version };
        }
        const before = effects ? beforeOf(automerge, doc, true) : null;
        const mine = automerge.clone(doc, { actor });
        const after = automerge.change(mine, (draft) => {
          draft.deleted = true;
        });
        const changes = automerge.getChangesSince(after, automerge.getHeads(doc)).flatMap(toChunks);
        const plain = materialize(automerge.toJS(after));
        const judged = before === null ? {} : { effect: effectOf(automerge, after, before) };
        return { status: "split" as const, changes, ...plain, version: document.version + 1, ...judged };
      }),
    );
  },
});

/** A document before a write: its heads, and what a rule is given of it. Null if the log does not have it. */
type Before = { heads: string[]; plain: Effect["before"] };

function beforeOf(automerge: Automerge, doc: Doc<Fields>, exists: boolean): Before {
  return { heads: automerge.getHeads(doc), plain: exists ? materialize(automerge.toJS(doc)) : null };
}

/** The effect of a write on a document that is `after` now. */
function effectOf(automerge: Automerge, after: Doc<Fields>, { heads, plain }: Before): Effect {
  const changed = new Set<string>();
  for (const { path } of automerge.diff(after, heads, automerge.getHeads(after))) {
    const field = String(path[0]);
    if (!RESERVED.has(field)) changed.add(field);
  }
  return { before: plain, changed: [...changed].sort() };
}

/** Loads a document from the log, and frees it afterwards: WASM memory is not collected by itself. */
async function withDocument<T>(
  ctx: QueryCtx,
  automerge: Automerge,
  collection: string,
  id: string,
  use: (doc: Doc<Fields>) => T,
): Promise<T> {
  const bytes = await readBytes(ctx, collection, id);
  const doc = open(automerge, id, bytes);
  try {
    return use(doc);
  } finally {
    release(automerge, doc);
  }
}

function open(automerge: Automerge, id: string, bytes: Uint8Array): Doc<Fields> {
  if (bytes.length === 0) return automerge.init<Fields>();
  try {
    return automerge.load<Fields>(bytes);
  } catch (error) {
    throw new Refused("invalidChange", `The log of the document ${id} does not open: ${messageOf(error)}.`);
  }
}

/** Checks that chunks are whole: Automerge's `loadIncremental` would skip a damaged chunk silently. */
function checkWhole(bytes: Uint8Array): void {
  try {
    checkChunks(bytes);
  } catch (error) {
    if (!(error instanceof NotAChange)) throw error;
    throw new Refused(
      "invalidChange",
      `These bytes are neither a saved document nor changes: ${error.message}.`,
    );
  }
}

function apply(automerge: Automerge, doc: Doc<Fields>, pieces: Uint8Array[]): Doc<Fields> {
  let after = doc;
  for (const piece of pieces) {
    try {
      after = automerge.loadIncremental(after, piece);
    } catch (error) {
      const message = messageOf(error);
      const code = message.includes("duplicate seq") ? "reusedSequence" : "invalidChange";
      throw new Refused(code, `Automerge refuses these bytes: ${message}.`);
    }
  }
  const missing = automerge.getMissingDeps(after, []);
  if (missing.length > 0) {
    throw new Refused(
      "missingDependencies",
      `The log lacks the change ${missing[0]}, which another depends on.`,
    );
  }
  return after;
}

/**
 * Checks that a document saves and loads. `logged` is the size of its log; only a document that could be too large is
 * measured.
 */
function checkSound(automerge: Automerge, doc: Doc<Fields>, logged: number): void {
  const saved = savedIfSound(automerge, doc);
  if (saved === null) {
    throw new Refused(
      "invalidChange",
      "A change makes no sense in this document, which cannot be saved with it.",
    );
  }
  if (logged > DOCUMENT_BYTES && saved.length > DOCUMENT_BYTES) {
    throw new Refused(
      "tooLarge",
      `The document would have ${saved.length} bytes; at most ${DOCUMENT_BYTES} fit. Move some of it to another.`,
      DOCUMENT_BYTES,
    );
  }
}

/** Refuses all changes but a deletion if the document's history is full. */
function checkOperations(operations: number, fields: Fields): void {
  if (operations > DOCUMENT_OPERATIONS && fields.deleted !== true) throw tooManyOperations(operations);
}

function toChunks(change: Uint8Array): Chunk[] {
  return cut(change).map(({ bytes, part }) =>
    part === undefined ? { bytes } : { bytes, part: { ...part, hash: hexToBytes(part.hash).buffer } },
  );
}

async function orRefusal<T>(id: string, work: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused) return error.toResult(id);
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

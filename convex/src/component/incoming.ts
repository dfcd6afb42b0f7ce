/**
 * What a push brings, held against what the log has: which changes are new, and whether they may enter.
 *
 * Only indexed rows of the document at hand are read, so writers of different documents do not meet.
 */
import type { Doc, Id } from "./_generated/dataModel.js";
import type { QueryCtx } from "./_generated/server.js";
import { keepNew } from "./admission.js";
import { type ChangeHeader, operationsOf } from "./chunk.js";
import { Refused } from "./errors.js";
import {
  CHUNK_BYTES,
  COMPACT_ROWS,
  DELETION_OPERATIONS,
  DOCUMENT_BYTES,
  DOCUMENT_ID_BYTES,
  DOCUMENT_OPERATIONS,
  LOG_BYTES,
  LOG_ROWS,
} from "./limits.js";
import { type NewPart, checkWaiting, readChunk, takeAssembled } from "./parts.js";
import type { Assembled, DocumentChanges } from "./shapes.js";

/** A change that the log lacks. `whole` is the SHA-256 of its chunk where that came in parts. */
export type NewChange = ChangeHeader & { bytes: Uint8Array; whole?: string };

/** What one document of a push comes to. */
export type Incoming = {
  document: Doc<"documents"> | null;
  changes: NewChange[];
  /** Whether the new changes depend on exactly the document's heads, and on each other. */
  direct: boolean;
  heads: string[];
  headOps: number[];
  parts: NewPart[];
  /** Changes of which a part came that waits already: it waits from now on. */
  repeated: Set<string>;
  /** Stored parts that are used up, and their bytes. */
  usedParts: Id<"parts">[];
  usedBytes: number;
  /** Changes whose last part this push brings, and where in it. */
  completed: { at: number; change: Assembled }[];
  /** The changes that no longer wait for parts. */
  whole: string[];
};

export async function readDocument(ctx: QueryCtx, collection: string, id: string) {
  return await ctx.db
    .query("documents")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
    .unique();
}

/**
 * Throws {@link Refused} where the document may not enter. `assembling` counts the stored parts that a call reads to make changes whole: they
 * are read once more when they are deleted.
 */
export async function examineDocument(
  ctx: QueryCtx,
  collection: string,
  { id, changes }: DocumentChanges,
  assembling = { bytes: 0 },
): Promise<Incoming> {
  checkId(id);
  const document = await readDocument(ctx, collection, id);
  if (document?.pruned) {
    throw new Refused("pruned", `The document ${id} was deleted so long ago that its history is gone.`);
  }
  const incoming: Incoming = {
    document,
    changes: [],
    direct: false,
    heads: document?.heads ?? [],
    headOps: document?.headOps ?? [],
    parts: [],
    repeated: new Set(),
    usedParts: [],
    usedBytes: 0,
    completed: [],
    whole: [],
  };
  const offered: NewChange[] = [];
  for (const [at, chunk] of changes.entries()) {
    const change =
      "pieces" in chunk
        ? takeAssembled(chunk, incoming)
        : await readChunk(ctx, collection, id, chunk, at, incoming, assembling);
    if (change !== null) offered.push(change);
  }
  if (incoming.parts.length > 0) await checkWaiting(ctx, collection, id, incoming);
  await keepNew(ctx, collection, id, offered, incoming);
  checkLog(incoming);
  return incoming;
}

/** A document's log with what is new. Into one that is `long` nothing enters that was not tried on the document. */
type Log = { rows: number; bytes: number; operations: number; long: boolean };

export function logOf({ document, changes }: Incoming): Log {
  let rows = document?.rows ?? 0;
  let bytes = document?.bytes ?? 0;
  let operations = document?.operations ?? 0;
  for (const change of changes) {
    operations += operationsOf(change);
    rows += Math.ceil(change.bytes.length / CHUNK_BYTES);
    bytes += change.bytes.length;
  }
  const long = isLong({ rows, bytes }) || operations > DOCUMENT_OPERATIONS;
  return { rows, bytes, operations, long };
}

/** Whether a log is to be compacted at once, lest it outgrow what a transaction can load. */
export function isLong({ rows, bytes }: { rows: number; bytes: number }): boolean {
  return rows > COMPACT_ROWS || bytes > DOCUMENT_BYTES;
}

/** What could not be loaded in one transaction may not enter. Compaction makes room again. */
function checkLog(incoming: Incoming): void {
  if (incoming.changes.length === 0) return;
  const { rows, bytes, operations } = logOf(incoming);
  const over = (what: string, limit: number) =>
    new Refused(
      "tooLarge",
      `The document's log would have ${what}; at most ${limit} fit before it is compacted. Send this again later.`,
      limit,
    );
  if (rows > LOG_ROWS) throw over(`${rows} rows`, LOG_ROWS);
  if (bytes > LOG_BYTES) throw over(`${bytes} bytes`, LOG_BYTES);
  if (operations > DOCUMENT_OPERATIONS + DELETION_OPERATIONS) throw tooManyOperations(operations);
}

/** What has a longer history takes too long to merge. It can be deleted all the same. */
export function tooManyOperations(operations: number): Refused {
  return new Refused(
    "tooLarge",
    `The document would have ${operations} operations in its history; at most ${DOCUMENT_OPERATIONS} can be merged in time. Go on in a new document.`,
    DOCUMENT_OPERATIONS,
  );
}

function checkId(id: string): void {
  const bytes = new TextEncoder().encode(id).length;
  if (bytes === 0) throw new Refused("invalidChange", "A document's id may not be empty.");
  if (bytes > DOCUMENT_ID_BYTES) {
    throw new Refused(
      "tooLarge",
      `A document's id has at most ${DOCUMENT_ID_BYTES} bytes.`,
      DOCUMENT_ID_BYTES,
    );
  }
}

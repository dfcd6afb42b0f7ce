/**
 * What a push brings, held against what the log has: which changes are new, and whether they may enter.
 *
 * Only indexed rows of the document at hand are read, so writers of different documents do not meet.
 */
import type { Doc, Id } from "./_generated/dataModel";
import type { QueryCtx } from "./_generated/server";
import { type ChangeHeader, NotAChange, readChange } from "./chunk";
import {
  CHANGE_BYTES,
  CHANGE_PARTS,
  CHUNK_BYTES,
  COMPACT_ROWS,
  DOCUMENT_BYTES,
  DOCUMENT_ID_BYTES,
  LOG_BYTES,
  LOG_ROWS,
  WAITING_BYTES,
} from "./limits";
import { Refused } from "./errors";
import { hex, sha256 } from "./sha256";
import type { Assembled, Chunk, DocumentChanges } from "./shapes";

/** A change that the log lacks. `whole` is the SHA-256 of its chunk where that came in parts. */
export type NewChange = ChangeHeader & { bytes: Uint8Array; whole?: string };

/** A part of a change that is not complete yet. */
export type NewPart = { hash: string; index: number; count: number; bytes: ArrayBuffer };

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

/** The log rows and bytes of a document with what is new. */
export function logOf({ document, changes }: Incoming): { rows: number; bytes: number; long: boolean } {
  let rows = document?.rows ?? 0;
  let bytes = document?.bytes ?? 0;
  for (const change of changes) {
    rows += Math.ceil(change.bytes.length / CHUNK_BYTES);
    bytes += change.bytes.length;
  }
  return { rows, bytes, long: rows > COMPACT_ROWS || bytes > DOCUMENT_BYTES };
}

/** What could not be loaded in one transaction may not enter. Compaction makes room again. */
function checkLog(incoming: Incoming): void {
  if (incoming.changes.length === 0) return;
  const { rows, bytes } = logOf(incoming);
  const over = (what: string, limit: number) =>
    new Refused(
      "tooLarge",
      `The document's log would have ${what}; at most ${limit} fit before it is compacted. Send this again later.`,
      limit,
    );
  if (rows > LOG_ROWS) throw over(`${rows} rows`, LOG_ROWS);
  if (bytes > LOG_BYTES) throw over(`${bytes} bytes`, LOG_BYTES);
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

/** The change in a chunk, or null where other parts are missing or the log has it already. */
async function readChunk(
  ctx: QueryCtx,
  collection: string,
  id: string,
  chunk: Chunk,
  at: number,
  incoming: Incoming,
  assembling: { bytes: number },
): Promise<NewChange | null> {
  if (chunk.bytes.byteLength > CHUNK_BYTES) {
    throw new Refused(
      "tooLarge",
      `A chunk of ${chunk.bytes.byteLength} bytes: cut what is over ${CHUNK_BYTES} into parts.`,
      CHUNK_BYTES,
    );
  }
  if (chunk.part === undefined) return parse(new Uint8Array(chunk.bytes));
  const { index, count } = chunk.part;
  const hash = hex(new Uint8Array(chunk.part.hash));
  checkPart(hash, index, count);
  const known = await ctx.db
    .query("changes")
    .withIndex("by_whole", (q) => q.eq("collection", collection).eq("id", id).eq("whole", hash))
    .first();
  if (known !== null) return null;

  // Only what is asked for is read: all parts together would be up to 8 MiB, for each part of a push.
  const incomplete = await readIncomplete(ctx, collection, id, hash);
  const here = incoming.parts.filter((other) => other.hash === hash);
  const announced = (incomplete ?? here[0])?.count ?? count;
  if (announced !== count) {
    throw new Refused("invalidChange", `A part says that there are ${count} of it; an earlier one differs.`);
  }
  const same =
    here.find((other) => other.index === index) ??
    (incomplete === null
      ? null
      : await ctx.db
          .query("parts")
          .withIndex("by_part", (q) =>
            q.eq("collection", collection).eq("id", id).eq("hash", hash).eq("index", index),
          )
          .unique());
  if (same !== null) {
    if (!sameBytes(same.bytes, chunk.bytes)) {
      throw new Refused("invalidChange", `Part ${index} came before with other bytes.`);
    }
    incoming.repeated.add(hash);
    return null;
  }
  if ((incomplete?.have ?? 0) + here.length + 1 < count) {
    incoming.parts.push({ hash, index, count, bytes: chunk.bytes });
    return null;
  }

  await checkAssembling(ctx, collection, id, incomplete?.have ?? 0, assembling);
  const stored =
    incomplete === null
      ? []
      : await ctx.db
          .query("parts")
          .withIndex("by_part", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
          .take(CHANGE_PARTS);
  const pieces = [...stored, ...here, { index, bytes: chunk.bytes }].sort((a, b) => a.index - b.index);
  const change = {
    hash,
    pieces: pieces.map((piece) => piece.bytes),
    parts: stored.map((row) => row._id),
    stored: total(stored),
  };
  const taken = takeAssembled(change, incoming);
  incoming.completed.push({ at, change });
  return taken;
}

/** What this transaction could not read, and read again to delete it, is left for another; before it is read. */
async function checkAssembling(
  ctx: QueryCtx,
  collection: string,
  id: string,
  parts: number,
  assembling: { bytes: number },
): Promise<void> {
  if (parts === 0) return;
  const waiting = (await readWaiting(ctx, collection, id))?.bytes ?? 0;
  const most = Math.min(parts * CHUNK_BYTES, waiting);
  if (assembling.bytes + most > CHANGE_BYTES) {
    throw new Refused(
      "tooLarge",
      "Too many changes become whole in one push. Send this document again by itself.",
      CHANGE_BYTES,
    );
  }
  assembling.bytes += most;
}

/** A change whose parts are all there. */
function takeAssembled({ hash, pieces, parts, stored }: Assembled, incoming: Incoming): NewChange {
  const bytes = concatenate(pieces.map((piece) => new Uint8Array(piece)));
  if (hex(sha256(bytes)) !== hash) {
    throw new Refused("invalidChange", "The parts do not make up the chunk that their hash names.");
  }
  incoming.parts = incoming.parts.filter((other) => other.hash !== hash);
  incoming.usedParts.push(...(parts as Id<"parts">[]));
  incoming.usedBytes += stored;
  incoming.whole.push(hash);
  return { ...parse(bytes), whole: hash };
}

/** How many parts of a change wait; null for none. */
export async function readIncomplete(ctx: QueryCtx, collection: string, id: string, hash: string) {
  return await ctx.db
    .query("incomplete")
    .withIndex("by_chunk", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
    .unique();
}

/** How many bytes of a document's changes wait for other parts. */
export async function readWaiting(ctx: QueryCtx, collection: string, id: string) {
  return await ctx.db
    .query("waiting")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
    .unique();
}

async function checkWaiting(
  ctx: QueryCtx,
  collection: string,
  id: string,
  { parts, usedBytes }: Incoming,
): Promise<void> {
  const waiting = (await readWaiting(ctx, collection, id))?.bytes ?? 0;
  const bytes = waiting - usedBytes + total(parts);
  if (bytes > WAITING_BYTES) {
    throw new Refused(
      "tooLarge",
      `${bytes} bytes of ${id} would wait for their missing parts; complete a change first.`,
      WAITING_BYTES,
    );
  }
}

export function total(pieces: { bytes: ArrayBuffer }[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes.byteLength, 0);
}

function checkPart(hash: string, index: number, count: number): void {
  if (count > CHANGE_PARTS) {
    throw new Refused("tooLarge", `A change has at most ${CHANGE_BYTES} bytes.`, CHANGE_BYTES);
  }
  const whole = Number.isInteger(index) && Number.isInteger(count) && index >= 0 && index < count;
  if (!whole || hash.length !== 64) {
    throw new Refused(
      "invalidChange",
      "A part needs a SHA-256 of 32 bytes, and an index from 0 to one less than its count.",
    );
  }
}

function parse(bytes: Uint8Array): NewChange {
  try {
    return { ...readChange(bytes), bytes };
  } catch (error) {
    if (error instanceof NotAChange) throw new Refused("invalidChange", `Not a change: ${error.message}.`);
    throw error;
  }
}

/** A change that the log has. */
type Logged = { hash: string; lastOp: number; senseless: boolean };

/** Takes over from `offered` what the log lacks, in order, and checks that it fits. */
async function keepNew(
  ctx: QueryCtx,
  collection: string,
  id: string,
  offered: NewChange[],
  incoming: Incoming,
): Promise<void> {
  const byPlace =
    incoming.document === null ? new Map<string, Logged>() : await sequences(ctx, collection, id, offered);
  // Changes that are known to be there, with the numbers of their last operations; those of this push are in `taken`, too.
  const present = new Map<string, number>();
  for (const [i, head] of incoming.heads.entries()) present.set(head, incoming.document?.headOps[i] ?? 0);
  const taken = new Set<string>();
  const outside = new Set<string>();
  const heads = new Set(incoming.heads);
  for (const change of offered) {
    const holder = byPlace.get(`${change.actor}/${change.seq}`);
    if (holder?.hash === change.hash) {
      if (holder.senseless) throw senselessChange(change.hash);
      present.set(change.hash, holder.lastOp);
      continue;
    }
    let deepest = 0;
    for (const dependency of change.deps) {
      const lastOp = present.get(dependency) ?? (await readLastOp(ctx, collection, id, dependency, incoming));
      present.set(dependency, lastOp);
      deepest = Math.max(deepest, lastOp);
      if (!taken.has(dependency)) outside.add(dependency);
    }
    checkPlace(change, holder, byPlace.get(`${change.actor}/${change.seq - 1}`), deepest);
    for (const dependency of change.deps) heads.delete(dependency);
    heads.add(change.hash);
    taken.add(change.hash);
    present.set(change.hash, change.lastOp);
    byPlace.set(`${change.actor}/${change.seq}`, { ...change, senseless: false });
    incoming.changes.push(change);
  }
  const before = incoming.heads;
  // With others' changes between them, the values after the first may be what those have replaced since.
  const chain = offered.every(
    ({ deps }, i) => i === 0 || (deps.length === 1 && deps[0] === offered[i - 1]?.hash),
  );
  incoming.direct = chain && outside.size === before.length && before.every((head) => outside.has(head));
  incoming.heads = [...heads].sort();
  incoming.headOps = incoming.heads.map((head) => present.get(head) ?? 0);
}

/** Whether a change may take its place: right after its actor's last one, its operations after all that it builds on. */
function checkPlace(
  change: NewChange,
  holder: Logged | undefined,
  last: Logged | undefined,
  deepest: number,
): void {
  if (holder !== undefined) {
    throw new Refused(
      "reusedSequence",
      `Another change by actor ${change.actor} with sequence number ${change.seq} is in the log.`,
    );
  }
  if (change.seq > 1 && (last === undefined || last.senseless)) {
    throw new Refused(
      "missingDependencies",
      `The change ${change.hash} is number ${change.seq} of its actor, and the log lacks the one before it.`,
    );
  }
  if (change.startOp <= Math.max(deepest, last?.lastOp ?? 0)) {
    throw new Refused(
      "invalidChange",
      `The operations of the change ${change.hash} have numbers that earlier ones have.`,
    );
  }
}

async function readLastOp(
  ctx: QueryCtx,
  collection: string,
  id: string,
  hash: string,
  incoming: Incoming,
): Promise<number> {
  const found =
    incoming.document === null
      ? null
      : await ctx.db
          .query("changes")
          .withIndex("by_hash", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
          .first();
  if (found?.senseless) throw senselessChange(hash);
  if (found === null) {
    throw new Refused(
      "missingDependencies",
      `The log lacks the change ${hash}, which a pushed one depends on.`,
    );
  }
  return found.lastOp;
}

function senselessChange(hash: string): Refused {
  return new Refused(
    "invalidChange",
    `The change ${hash} makes no sense in this document, or builds on one that does not.`,
  );
}

/** What the log has at the sequence numbers offered, and right before them: one range per actor, not one per change. */
async function sequences(ctx: QueryCtx, collection: string, id: string, offered: NewChange[]) {
  const byPlace = new Map<string, Logged>();
  const byActor = new Map<string, number[]>();
  for (const { actor, seq } of offered) byActor.set(actor, [...(byActor.get(actor) ?? []), seq]);
  for (const [actor, seqs] of byActor) {
    for (const [from, to] of runs(seqs)) {
      const rows = ctx.db.query("changes").withIndex("by_actor", (q) =>
        q
          .eq("collection", collection)
          .eq("id", id)
          .eq("actor", actor)
          .gte("seq", from - 1)
          .lte("seq", to),
      );
      for await (const { hash, seq, lastOp, senseless } of rows) {
        byPlace.set(`${actor}/${seq}`, { hash, lastOp, senseless: senseless ?? false });
      }
    }
  }
  return byPlace;
}

/** Sorts numbers into unbroken runs, first and last. */
function runs(numbers: number[]): [number, number][] {
  const found: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && number <= last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found;
}

export function concatenate(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function sameBytes(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const left = new Uint8Array(a);
  const right = new Uint8Array(b);
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

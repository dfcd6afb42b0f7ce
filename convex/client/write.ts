/**
 * Writing log and row of a document together.
 *
 * A push asks the log what its changes would do, writes the rows, and then appends: three calls for the whole push, not two
 * per document, for a call into a component starts a JavaScript context of its own. What could be refused is refused before
 * the log is touched, and a row that the app's schema refuses has not been written, so no document is left with half.
 */
import type { GenericDataModel, GenericMutationCtx } from "convex/server";
import { getConvexSize, type Value } from "convex/values";
import type { ComponentApi } from "../component/_generated/component";
import { refusalError, refuse, Refused } from "../component/errors";
import { LOG_ROWS, MERGE_BYTES, PUSH_READ_BYTES, ROW_BYTES } from "../component/limits";
import { isObject, notFields, plainFields } from "../component/materialize";
import { hex } from "../component/sha256";
import type { Chunk, DocumentChanges, Examined, Refusal } from "../component/shapes";
import { ownFields, readRow, type Row, writeRow } from "./row";

export type MutationCtx = GenericMutationCtx<GenericDataModel>;

/** Where documents go: the component, the collection's name in it, and the app's table, if it has one. */
export type Target = { component: ComponentApi; collection: string; table: string | null };

/** The changes of one document in a push, and what they do to its row. */
export type PushedDocument = {
  id: string;
  changes: Chunk[];
  fields?: unknown;
  removed?: string[];
};

/** What became of one document of a push. */
export type PushResult = { id: string; status: "accepted" } | Refusal;

/** Decides about one document; `row` is null where it is new. */
export type MayWrite = (id: string, scope: string | undefined, row: Row | null) => Promise<boolean>;

export type Pushed = {
  epoch: string;
  results: PushResult[];
  /** Documents whose rows are the writer's word, or not merged yet: to be checked together by a scheduled function. */
  unchecked: string[][];
  /** Documents whose logs have grown long. */
  compact: string[];
  /** Documents whose logs are so long that they are to be compacted right now, in a transaction of their own. */
  urgent: string[];
};

/** Pushes documents, each accepted or refused on its own. */
export async function pushDocuments(
  ctx: MutationCtx,
  target: Target,
  documents: PushedDocument[],
  options: { scope?: string; mayWrite?: MayWrite; compactRows?: number } = {},
): Promise<Pushed> {
  const pushed: Pushed = { epoch: "", results: [], unchecked: [], compact: [], urgent: [] };
  const reads: Reads = { bytes: 0, merged: { bytes: 0, rows: 0, documents: 0 } };
  for (const batch of distinct(documents)) await pushBatch(ctx, target, batch, options, pushed, reads);
  return pushed;
}

/** Cuts a push where a document comes again, so that it sees what its first entry did. */
function distinct(documents: PushedDocument[]): PushedDocument[][] {
  const batches: PushedDocument[][] = [[]];
  let seen = new Set<string>();
  for (const entry of documents) {
    if (seen.has(entry.id)) {
      batches.push([]);
      seen = new Set();
    }
    seen.add(entry.id);
    batches.at(-1)!.push(entry);
  }
  return batches;
}

/** A document of a push that the log would take. */
type Plan = {
  entry: PushedDocument;
  /** What the log is told of it from now on. */
  changes: DocumentChanges;
  examined: Examined;
  row: Row | null;
  /** Whether its row is read from the merged document. */
  merged: boolean;
  /** Whether its row still has to be compared with the merged document. */
  unchecked: boolean;
  /** Whether it is a tombstone afterwards; absent: as before. */
  deleted?: boolean;
};

/** What a push reads, as far as that is bounded: bytes in all, and of them what is merged. */
type Reads = { bytes: number; merged: { bytes: number; rows: number; documents: number } };

async function pushBatch(
  ctx: MutationCtx,
  target: Target,
  batch: PushedDocument[],
  { scope, mayWrite, compactRows }: { scope?: string; mayWrite?: MayWrite; compactRows?: number },
  pushed: Pushed,
  reads: Reads,
): Promise<void> {
  const { component, collection, table } = target;
  const examined = await ctx.runQuery(component.log.examine, { collection, documents: batch.map(changesOf) });
  pushed.epoch = examined.epoch;

  const results = new Map<string, PushResult>();
  const plans: Plan[] = [];
  // What was put together has been read already, and is read again when its parts are deleted.
  for (const found of examined.results) reads.bytes += assembledBy(found);
  for (const [i, entry] of batch.entries()) {
    const found = examined.results[i]!;
    const first = pushed.results.length === 0 && i === 0;
    if (!first && reads.bytes + assembledBy(found) + 2 * ROW_BYTES > PUSH_READ_BYTES) {
      results.set(entry.id, tooMuchAtOnce.toResult(entry.id));
      continue;
    }
    reads.bytes += assembledBy(found);
    const row = table === null ? null : await readRow(ctx, table, entry.id);
    // To replace it is to read it again.
    if (row !== null) reads.bytes += 2 * getConvexSize(row);
    const known = found.status === "accepted" && found.version > 0 ? found.scope : undefined;
    if (mayWrite !== undefined && !(await mayWrite(entry.id, known ?? scope, row))) {
      results.set(
        entry.id,
        new Refused("notAuthorized", "You may not write this document.").toResult(entry.id),
      );
    } else if (entry.fields !== undefined && !isObject(entry.fields)) {
      results.set(entry.id, notFields.toResult(entry.id));
    } else if (found.status === "refused") {
      results.set(entry.id, found);
    } else {
      const changes = completedBy(entry, found);
      const plan = { entry, changes, examined: found, row, merged: false, unchecked: false };
      if (table === null || !found.changed || takesFields(plan) || mayMerge(plan, reads, first)) {
        plans.push(plan);
      } else {
        results.set(entry.id, tooMuchAtOnce.toResult(entry.id));
      }
    }
  }

  const written = table === null ? plans : await writeRows(ctx, target, table, plans, results);
  const appended = written.filter(
    ({ entry, examined: { changed } }) => changed || entry.changes.some((chunk) => chunk.part !== undefined),
  );
  if (appended.length > 0) {
    const { epoch, compact, long } = await ctx.runMutation(component.log.append, {
      collection,
      ...(scope === undefined ? {} : { scope }),
      documents: appended.map(({ changes, unchecked, deleted }) => ({
        ...changes,
        unchecked,
        ...(deleted === undefined ? {} : { deleted }),
        ...(compactRows === undefined ? {} : { compactRows }),
      })),
    });
    pushed.epoch = epoch;
    pushed.compact.push(...compact);
    pushed.urgent.push(...(await compactNow(ctx, target, long)));
  }
  pushed.unchecked.push(...checksOf(appended));
  pushed.results.push(...batch.map(({ id }) => results.get(id) ?? { id, status: "accepted" as const }));
}

/** Writes the rows of what changes. Answers the plans that hold; the others' refusals are in `results`. */
async function writeRows(
  ctx: MutationCtx,
  { component, collection }: Target,
  table: string,
  plans: Plan[],
  results: Map<string, PushResult>,
): Promise<Plan[]> {
  const slow = plans.filter((plan) => plan.merged);
  const previews =
    slow.length === 0
      ? []
      : await ctx.runQuery(component.merge.preview, {
          collection,
          documents: slow.map((plan) => plan.changes),
        });

  const written: Plan[] = [];
  for (const plan of plans) {
    const { entry, examined, row } = plan;
    try {
      if (examined.changed && takesFields(plan)) {
        const fields = sentFields(entry, row);
        plan.unchecked = true;
        plan.deleted = fields.deleted === true;
        await writeRow(ctx, table, row, entry.id, examined.version, fields);
      } else if (slow.includes(plan)) {
        const preview = previews[slow.indexOf(plan)]!;
        if (preview.status === "refused") {
          results.set(entry.id, preview);
          continue;
        }
        const fields = preview.fields as Record<string, Value>;
        plan.deleted = fields.deleted === true;
        await writeRow(ctx, table, row, entry.id, preview.version, fields);
      }
      written.push(plan);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      results.set(entry.id, error.toResult(entry.id));
    }
  }
  return written;
}

/** Plans to merge a row, now or by the scheduled check. Answers false where it has to wait for a transaction of its own. */
function mayMerge(plan: Plan, reads: Reads, first: boolean): boolean {
  const { merged } = reads;
  const bytes = merged.bytes + plan.examined.bytes;
  const rows = merged.rows + plan.examined.rows;
  const fits = reads.bytes + plan.examined.bytes <= PUSH_READ_BYTES;
  const few = merged.documents === 0 || (bytes <= MERGE_BYTES && rows <= LOG_ROWS);
  if (first || (fits && few)) {
    plan.merged = true;
    reads.bytes += plan.examined.bytes;
    reads.merged = { bytes, rows, documents: merged.documents + 1 };
    return true;
  }
  // The check can repair what makes no sense, but not in a log that is long.
  plan.unchecked = !plan.examined.long;
  return plan.unchecked;
}

function assembledBy(found: Examined | Refusal): number {
  return found.status === "accepted" ? found.assembled : 0;
}

/** The fast path: the changes build on exactly what the row shows, so the fields they carry are all that changes. */
function takesFields({ entry, examined, row }: Plan): boolean {
  const isNew = examined.bytes === 0;
  return entry.fields !== undefined && examined.direct && !examined.long && (isNew || row !== null);
}

const tooMuchAtOnce = new Refused(
  "tooLarge",
  "Too much to read and merge together with the other documents of this push. Send it again by itself.",
  PUSH_READ_BYTES,
);

/** What compaction has to have room for to be worth a call, and what it leaves. */
const COMPACT_ROOM = 512 * 1024;

/**
 * Compacts the first of these documents where that fits into this transaction: whoever makes a log long makes it short again, so that it does not
 * outgrow what a transaction can load. Answers those that it did not do.
 */
async function compactNow(
  ctx: MutationCtx,
  { component, collection }: Target,
  documents: string[],
): Promise<string[]> {
  const [id, ...others] = documents;
  if (id === undefined) return [];
  const { bytesRead, bytesWritten } = await ctx.meta.getTransactionMetrics();
  // What is deleted is read once more.
  const bytes = Math.min(bytesRead.remaining / 2, bytesWritten.remaining) - COMPACT_ROOM;
  if (bytes < COMPACT_ROOM) return documents;
  const { compacted } = await ctx.runMutation(component.compaction.compact, {
    collection,
    id,
    before: Date.now(),
    bytes,
  });
  return compacted > 0 ? others : documents;
}

function sentFields(entry: PushedDocument, row: Row | null): Record<string, Value> {
  const fields = row === null ? {} : ownFields(row);
  for (const name of entry.removed ?? []) delete fields[name];
  return { ...fields, ...plainFields(entry.fields) };
}

/** The documents to be checked, in groups that one transaction can load. */
function checksOf(plans: Plan[]): string[][] {
  const groups: string[][] = [];
  let room = 0;
  for (const { entry, examined, unchecked } of plans) {
    if (!unchecked || examined.unchecked) continue;
    const size = examined.bytes + entry.changes.reduce((sum, chunk) => sum + chunk.bytes.byteLength, 0);
    if (groups.length === 0 || size > room) {
      groups.push([]);
      room = MERGE_BYTES;
    }
    groups.at(-1)!.push(entry.id);
    room -= size;
  }
  return groups;
}

function changesOf({ id, changes }: PushedDocument): DocumentChanges {
  return { id, changes };
}

/** The same with the changes that became whole in place of their last parts, and without their others: each would be read again. */
function completedBy(entry: PushedDocument, { completed }: Examined): DocumentChanges {
  const whole = new Map(completed.map(({ at, change }) => [at, change]));
  const hashes = new Set(completed.map(({ change }) => change.hash));
  const changes = entry.changes.flatMap<DocumentChanges["changes"][number]>((chunk, at) => {
    const change = whole.get(at);
    if (change !== undefined) return [change];
    return chunk.part !== undefined && hashes.has(hex(new Uint8Array(chunk.part.hash))) ? [] : [chunk];
  });
  return { id: entry.id, changes };
}

/** What `merge.split` and `merge.deletion` make of a call of the original API. */
type Split = { changes: Chunk[]; fields: Record<string, unknown>; version: number };

/** Documents to be compacted by scheduled functions: some time, and right now. */
export type ToCompact = { compact: string[]; urgent: string[] };

/** Writes changes that the log has taken apart itself, and the row they make. */
export async function writeSplit(
  ctx: MutationCtx,
  { component, collection, table }: Target,
  id: string,
  split: Split,
  { scope, compactRows }: { scope?: string; compactRows?: number } = {},
): Promise<ToCompact> {
  if (split.changes.length === 0) return { compact: [], urgent: [] };
  const fields = split.fields as Record<string, Value>;
  if (table !== null) {
    try {
      await writeRow(ctx, table, await readRow(ctx, table, id), id, split.version, fields);
    } catch (error) {
      throw error instanceof Refused ? error.toError(id) : error;
    }
  }
  const document = { id, changes: split.changes, unchecked: false, deleted: fields.deleted === true };
  const { compact, long } = await ctx.runMutation(component.log.append, {
    collection,
    ...(scope === undefined ? {} : { scope }),
    documents: [{ ...document, ...(compactRows === undefined ? {} : { compactRows }) }],
  });
  const urgent = await compactNow(ctx, { component, collection, table }, long);
  return { compact, urgent };
}

/** The original API's insert and update: whatever of `crdtBytes` the log lacks is merged. */
export async function writeDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  crdtBytes: ArrayBuffer,
  options?: { scope?: string; compactRows?: number },
): Promise<ToCompact> {
  const { component, collection } = target;
  const split = await ctx.runQuery(component.merge.split, { collection, id, crdtBytes });
  if (split.status === "refused") throw refusalError(split);
  return await writeSplit(ctx, target, id, split, options);
}

/** The original API's delete: a change of the server's own. */
export async function deleteDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  options?: { compactRows?: number },
): Promise<ToCompact> {
  const { component, collection } = target;
  const actor = crypto.randomUUID().replaceAll("-", "");
  const split = await ctx.runQuery(component.merge.deletion, { collection, id, actor });
  if (split === null) {
    throw refuse({
      code: "unknownDocument",
      message: `There is no document ${id} in ${collection}. Insert it first.`,
      document: id,
    });
  }
  if (split.status === "refused") throw refusalError(split);
  return await writeSplit(ctx, target, id, split, options);
}

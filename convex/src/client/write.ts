/**
 * Writes log and row of a document together.
 *
 * A push asks the log what its changes would do, writes the rows, and then appends: three calls for the whole push, not
 * two per document, because a call into a component starts a JavaScript context of its own. Documents are refused
 * before the log is touched. A row refuses nothing: it holds what the app's schema takes.
 */
import { bytesToHex } from "@noble/hashes/utils.js";
import { getConvexSize, type Value } from "convex/values";
import { isComing } from "../component/due.js";
import { Refused } from "../component/errors.js";
import { LOG_ROWS, MERGE_BYTES, PUSH_READ_BYTES, ROW_BYTES } from "../component/limits.js";
import { isObject, lacksSomething, materialize, notFields, type Plain } from "../component/materialize.js";
import type {
  Chunk,
  CompactionPolicy,
  DocumentChanges,
  Examined,
  Merged,
  Refusal,
  Sender,
} from "../component/shapes.js";
import { append, callerOf, type Target } from "./append.js";
import type { MutationCtx } from "./builders.js";
import type { Rights } from "./rules.js";
import { ownFields, readRow, type Row, writeRow } from "./row.js";

/** The changes of one document in a push, and the fields that they set or remove in its row. */
export type PushedDocument = {
  id: string;
  changes: Chunk[];
  fields?: unknown;
  removed?: string[];
};

/** The result of a push for one document. */
export type PushResult = { id: string; status: "accepted" } | Refusal;

export type Pushed = {
  epoch: string;
  results: PushResult[];
  /**
   * Groups of documents whose rows are the writer's word, or not merged yet. A scheduled function has to check each
   * group.
   */
  unchecked: string[][];
};

/** The options of a push. */
export type PushOptions = {
  scope?: string;
  /** The rights of the caller. If absent, it may write everything. */
  rights?: Rights;
  compact?: CompactionPolicy;
  /**
   * When the caller's check of those rows runs, in milliseconds since 1970. If absent, there is none, and all rows are
   * merged at once.
   */
  checkDue?: number;
};

/** Pushes documents, each accepted or refused on its own. */
export async function pushDocuments(
  ctx: MutationCtx,
  target: Target,
  documents: PushedDocument[],
  options: PushOptions = {},
): Promise<Pushed> {
  const pushed: Pushed = { epoch: "", results: [], unchecked: [] };
  const reads: Reads = { bytes: 0, merged: { bytes: 0, rows: 0, documents: 0 } };
  const author = await callerOf(ctx);
  const { scope } = options;
  const sender = {
    ...(scope === undefined ? {} : { scope }),
    ...(author === undefined ? {} : { author }),
  };
  for (const batch of distinct(documents)) {
    await pushBatch(ctx, target, batch, sender, options, pushed, reads);
  }
  return pushed;
}

/** Divides a push where a document comes again, so that its second entry sees the effect of the first. */
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

/** How to write a document of a push that the log accepts. */
type Plan = {
  entry: PushedDocument;
  /** The changes as they are passed to the log. */
  changes: DocumentChanges;
  /** The scope that the document is in, or enters. */
  home: string | undefined;
  examined: Examined;
  row: Row | null;
  way: Way;
  /** Whether a check of its row has to be scheduled. */
  unchecked: boolean;
  /** Whether it is a tombstone afterwards. If absent, this does not change. */
  deleted?: boolean;
};

/**
 * How a row is written: not at all (`none`) if nothing enters the log; from the sent `fields`, which are compared with
 * the merged document later; from the `merged` document; or `later`, by the check.
 */
type Way = "none" | "fields" | "merged" | "later";

/** The limited reads of a push: bytes in all, and the part of them that is merged. */
type Reads = { bytes: number; merged: { bytes: number; rows: number; documents: number } };

async function pushBatch(
  ctx: MutationCtx,
  target: Target,
  batch: PushedDocument[],
  sender: Sender,
  { scope, rights, compact, checkDue }: PushOptions,
  pushed: Pushed,
  reads: Reads,
): Promise<void> {
  const { component, collection, table } = target;
  const examined = await ctx.runQuery(component.log.examine, {
    collection,
    documents: batch.map(changesOf),
    sender,
  });
  pushed.epoch = examined.epoch;

  const results = new Map<string, PushResult>();
  const plans: Plan[] = [];
  // The parts of complete changes have been read already, and are read again when they are deleted.
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
    // Replacing the row reads it again.
    if (row !== null) reads.bytes += 2 * getConvexSize(row);
    const home = rights === undefined ? scope : await homeOf(ctx, target, entry.id, found, scope);
    if (rights !== undefined && !(await rights.mayEnter(home))) {
      results.set(entry.id, notYours.toResult(entry.id));
    } else if (entry.fields !== undefined && !isObject(entry.fields)) {
      results.set(entry.id, notFields.toResult(entry.id));
    } else if (found.status === "refused") {
      results.set(entry.id, found);
    } else {
      const changes = completedBy(entry, found);
      // A rule judges the merged document, and not what the client says about it.
      const looks = rights?.looksAtRows === true;
      const checked = table !== null && checkDue !== undefined && !looks;
      const way = wayOf(entry, found, row, checked, reads, first);
      if (way === null) {
        results.set(entry.id, tooMuchAtOnce.toResult(entry.id));
        continue;
      }
      const unchecked = (way === "fields" || way === "later") && !isComing(found.checkDue, Date.now());
      plans.push({ entry, changes, home, examined: found, row, way, unchecked });
    }
  }

  const allowed =
    rights?.looksAtRows === true ? await checkParts(ctx, target, plans, rights, results) : plans;
  const written = await writeRows(ctx, target, allowed, sender, results, rights);
  const appended = written.filter(
    ({ entry, examined: { changed } }) => changed || entry.changes.some((chunk) => chunk.part !== undefined),
  );
  if (appended.length > 0) {
    const documents = appended.map(({ changes, unchecked, deleted }) => ({
      ...changes,
      deleted,
      checkDue: unchecked ? checkDue : undefined,
    }));
    pushed.epoch = await append(ctx, target, { scope, documents, compact });
  }
  pushed.unchecked.push(...checksOf(appended));
  pushed.results.push(...batch.map(({ id }) => results.get(id) ?? { id, status: "accepted" as const }));
}

/**
 * The scope that a document is in, or would enter. Strangers learn nothing about a document in a scope that they may
 * not enter, so it is looked up for refused changes as well.
 */
async function homeOf(
  ctx: MutationCtx,
  { component, collection }: Target,
  id: string,
  found: Examined | Refusal,
  scope: string | undefined,
): Promise<string | undefined> {
  if (found.status === "accepted") return found.bytes > 0 ? found.scope : scope;
  const known = await ctx.runQuery(component.log.status, { collection, id });
  return known === null ? scope : known.scope;
}

/**
 * Refuses parts that would wait in a document that the caller may not write. Their effect is not known yet, so the rule
 * is asked whether the caller may write the document as it is. It is asked again when the change is complete.
 */
async function checkParts(
  ctx: MutationCtx,
  { component, collection }: Target,
  plans: Plan[],
  rights: Rights,
  results: Map<string, PushResult>,
): Promise<Plan[]> {
  const waiting = plans.filter(({ examined }) => examined.waits && examined.bytes > 0);
  if (waiting.length === 0) return plans;
  const documents = waiting.map(({ entry: { id } }) => ({ id, changes: [] }));
  const previews = await ctx.runQuery(component.merge.preview, { collection, documents, effects: true });
  const refused = new Set<Plan>();
  for (const [i, plan] of waiting.entries()) {
    const found = previews[i]!;
    if (found.status === "refused") results.set(plan.entry.id, found);
    else if (await rights.mayWrite(plan.entry.id, plan.home, found)) continue;
    else results.set(plan.entry.id, notYours.toResult(plan.entry.id));
    refused.add(plan);
  }
  return plans.filter((plan) => !refused.has(plan));
}

const notYours = new Refused("notAuthorized", "You may not write this document.");

/** Writes the rows, if there is a table. Returns the plans of accepted documents; refusals are added to `results`. */
async function writeRows(
  ctx: MutationCtx,
  { component, collection, table }: Target,
  plans: Plan[],
  sender: Sender,
  results: Map<string, PushResult>,
  rights: Rights | undefined,
): Promise<Plan[]> {
  const slow = plans.filter(({ way }) => way === "merged");
  const previews =
    slow.length === 0
      ? []
      : await ctx.runQuery(component.merge.preview, {
          collection,
          documents: slow.map((plan) => plan.changes),
          sender,
          effects: rights?.looksAtRows === true,
        });

  const written: Plan[] = [];
  for (const plan of plans) {
    const { entry, examined, row, way } = plan;
    const preview = way === "merged" ? previews[slow.indexOf(plan)]! : null;
    if (preview?.status === "refused") {
      results.set(entry.id, preview);
      continue;
    }
    if (preview !== null && rights?.looksAtRows && !(await rights.mayWrite(entry.id, plan.home, preview))) {
      results.set(entry.id, notYours.toResult(entry.id));
      continue;
    }
    if (way === "fields" || preview !== null) {
      const plain = preview === null ? sentFields(entry, row) : plainOf(preview);
      plan.deleted = plain.fields.deleted === true;
      if (table !== null) await writeRow(ctx, table, row, entry.id, examined.version, plain);
    }
    written.push(plan);
  }
  return written;
}

/**
 * Plans how a row is written. `checked` says whether a check follows. Returns null if the document needs a transaction
 * of its own.
 */
function wayOf(
  entry: PushedDocument,
  examined: Examined,
  row: Row | null,
  checked: boolean,
  reads: Reads,
  first: boolean,
): Way | null {
  if (!examined.changed) return "none";
  if (checked && takesFields(entry, examined, row)) return "fields";
  const { merged } = reads;
  const bytes = merged.bytes + examined.bytes;
  const rows = merged.rows + examined.rows;
  const fits = reads.bytes + examined.bytes <= PUSH_READ_BYTES;
  const few = merged.documents === 0 || (bytes <= MERGE_BYTES && rows <= LOG_ROWS);
  if (first || (fits && few)) {
    reads.bytes += examined.bytes;
    reads.merged = { bytes, rows, documents: merged.documents + 1 };
    return "merged";
  }
  // The check can remove an invalid change, but not from a long log.
  return checked && !examined.long ? "later" : null;
}

function assembledBy(found: Examined | Refusal): number {
  return found.status === "accepted" ? found.assembled : 0;
}

/**
 * Whether the fast path is right: the changes build on exactly what the row shows, so only the sent fields change. If
 * the row lacks values, the next change may make them fit again, which only the merged document shows.
 */
function takesFields(entry: PushedDocument, examined: Examined, row: Row | null): boolean {
  const isNew = examined.bytes === 0;
  const isComplete = row === null ? isNew : !lacksSomething(row);
  return entry.fields !== undefined && examined.direct && !examined.long && isComplete;
}

const tooMuchAtOnce = new Refused(
  "tooLarge",
  "Too much to read and merge together with the other documents of this push. Send it again by itself.",
  PUSH_READ_BYTES,
);

function sentFields(entry: PushedDocument, row: Row | null): Plain {
  const fields = row === null ? {} : ownFields(row);
  for (const name of entry.removed ?? []) delete fields[name];
  return materialize({ ...fields, ...(entry.fields as object) });
}

function plainOf({ fields, leftOut }: Merged): Plain {
  return { fields: fields as Record<string, Value>, leftOut };
}

/** The documents that need a check, in groups that one transaction can load. */
function checksOf(plans: Plan[]): string[][] {
  const groups: string[][] = [];
  let room = 0;
  for (const { entry, examined, unchecked } of plans) {
    if (!unchecked) continue;
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

/**
 * The entry's changes with each complete change in place of its last part, and without its other parts, which would be
 * read again.
 */
function completedBy(entry: PushedDocument, { completed }: Examined): DocumentChanges {
  const whole = new Map(completed.map(({ at, change }) => [at, change]));
  const hashes = new Set(completed.map(({ change }) => change.hash));
  const changes = entry.changes.flatMap<DocumentChanges["changes"][number]>((chunk, at) => {
    const change = whole.get(at);
    if (change !== undefined) return [change];
    return chunk.part !== undefined && hashes.has(bytesToHex(new Uint8Array(chunk.part.hash))) ? [] : [chunk];
  });
  return { id: entry.id, changes };
}

/** The functions that make conformance cases. See `tests/conformance/README.md`. */
import * as Automerge from "@automerge/automerge";
import type { JSONValue } from "convex/values";

export type Json = JSONValue;
type Outcome = { returns: Json } | { fails: { data: Json } | { message: string[] } };
export type CallStep = {
  call: "mutation" | "query" | "rows";
  path: string;
  args: Json;
  /** The user who calls, in collections with a rule. */
  as?: string;
} & Outcome;
/** A request to the HTTP API. */
export type HttpStep = {
  call: "http";
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Json;
  status: number;
  answers?: Json;
  answerHeaders?: Record<string, string>;
};
/** Messages of the sync protocol. */
export type SyncStep = { call: "sync"; socket: string; send: Json[]; until: Json[] };
export type Step = CallStep | HttpStep | SyncStep;
export type Case = { name: string; steps: Step[] };
export type CaseFile = { about: string; values?: Record<string, Json>; cases: Case[] };

export type Fields = Record<string, unknown>;
export type Doc = Automerge.Doc<Fields>;

/** A document by the `n`th actor, always the same bytes. */
export function create(n: number, fields: Fields): Doc {
  return Automerge.change(Automerge.init<Fields>(actor(n)), { time: 0 }, (draft) => {
    Object.assign(draft, fields);
  });
}

/** The same document, edited by another actor. */
export function edit(doc: Doc, n: number, change: (draft: Fields) => void): Doc {
  return Automerge.change(Automerge.clone(doc, { actor: actor(n) }), { time: 0 }, change);
}

/** An edit by the actor that made the document. */
export function more(doc: Doc, change: (draft: Fields) => void): Doc {
  return Automerge.change(Automerge.clone(doc, { actor: Automerge.getActorId(doc) }), { time: 0 }, change);
}

function actor(n: number): string {
  return n.toString(16).padStart(2, "0").repeat(16);
}

/** The changes of a document since another, as their bytes. */
export function changesOf(doc: Doc, since?: Doc): Uint8Array[] {
  return since === undefined ? Automerge.getAllChanges(doc) : Automerge.getChanges(since, doc);
}

export const bytes = (raw: Uint8Array): Json => ({ $bytes: Buffer.from(raw).toString("base64") });
export const chunk = (raw: Uint8Array): Json => ({ bytes: bytes(raw) });
export const chunks = (doc: Doc, since?: Doc): Json => changesOf(doc, since).map(chunk);

export function integer(value: bigint): Json {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64LE(value);
  return { $integer: buffer.toString("base64") };
}

export const START: Json = { ts: integer(0n), ordinal: 0 };
export const bind = (name: string): Json => ({ $bind: name });
export const use = (name: string): Json => ({ $use: name });
export const any = (type: "string" | "number" | "integer" | "bytes"): Json => ({ $any: type });
export const partial = (fields: Record<string, Json>): Json => ({ $partial: fields });
export const opens = (fields: Record<string, Json>): Json => ({ $document: fields });

export const accepted = (id: string): Json => ({ id, status: "accepted" });
export const refused = (id: string, code: string, limit?: number): Json =>
  partial({ id, status: "refused", code, message: any("string"), ...(limit === undefined ? {} : { limit }) });

/** A push and the result of each document. */
export function push(
  documents: Json[],
  results: Json[],
  options: { path?: string; scope?: string } = {},
): CallStep {
  const { path = "notes", scope } = options;
  return {
    call: "mutation",
    path: `${path}:pushChanges`,
    args: { documents, ...(scope === undefined ? {} : { scope }) },
    returns: { epoch: any("string"), results },
  };
}

/** The table of `notes` has these rows, in the order of their documents. */
export function table(...rows: Json[]): CallStep {
  return { call: "rows", path: "notes", args: {}, returns: rows };
}

/** A row with these fields of its document. */
export const shows = (id: string, fields: Record<string, Json>, version = 1): Json => ({
  id,
  version,
  timestamp: any("number"),
  ...fields,
});

/** A push of one document's changes that is accepted. */
export function put(
  id: string,
  doc: Doc,
  since?: Doc,
  options?: { path?: string; scope?: string },
): CallStep {
  return push([{ id, changes: chunks(doc, since) }], [accepted(id)], options);
}

export type PullOptions = {
  path?: string;
  after?: Json;
  limit?: number;
  scope?: string;
  to?: Json;
  hasMore?: boolean;
};

/** A page of deltas with these rows. */
export function pull(rows: Json[], options: PullOptions = {}): CallStep {
  const { path = "notes", after = START, limit, scope, to = bind("end"), hasMore = false } = options;
  return {
    call: "query",
    path: `${path}:pullDeltas`,
    args: {
      checkpoint: after,
      ...(limit === undefined ? {} : { limit }),
      ...(scope === undefined ? {} : { scope }),
    },
    returns: { deltas: rows, checkpoint: to, hasMore, epoch: any("string") },
  };
}

export const row = (id: string, raw: Uint8Array): Json =>
  partial({ id, bytes: bytes(raw), ts: any("integer"), ordinal: any("number") });
export const rowsOf = (id: string, doc: Doc, since?: Doc): Json[] =>
  changesOf(doc, since).map((raw) => row(id, raw));

/** The original API. */
export function save(
  id: string,
  doc: Doc | Uint8Array,
  options: { path?: string; update?: boolean; version?: number; materializedDoc?: Json } = {},
): CallStep {
  const { path = "notes", update = false, version = 1, materializedDoc = {} } = options;
  const raw = doc instanceof Uint8Array ? doc : Automerge.save(doc);
  return {
    call: "mutation",
    path: `${path}:${update ? "updateDocument" : "insertDocument"}`,
    args: { collectionName: path, documentId: id, crdtBytes: bytes(raw), materializedDoc, version },
    returns: { success: true },
  };
}

export function remove(id: string, path = "notes"): CallStep {
  return {
    call: "mutation",
    path: `${path}:deleteDocument`,
    args: { collectionName: path, documentId: id },
    returns: { success: true },
  };
}

export function pullWhole(
  changes: Json[],
  options: { after?: Json; limit?: number; to?: Json; hasMore?: boolean; path?: string } = {},
): CallStep {
  const { after = 0, limit, to = any("number"), hasMore = false, path = "notes" } = options;
  return {
    call: "query",
    path: `${path}:pullChanges`,
    args: {
      collectionName: path,
      checkpoint: { lastModified: after },
      ...(limit === undefined ? {} : { limit }),
    },
    returns: { changes, checkpoint: { lastModified: to }, hasMore },
  };
}

export const whole = (documentId: string, fields: Record<string, Json>, version: number): Json => ({
  documentId,
  crdtBytes: opens(fields),
  version,
  timestamp: any("number"),
});

export function stream(timestamp: Json, count: number, path = "notes"): CallStep {
  return {
    call: "query",
    path: `${path}:changeStream`,
    args: { collectionName: path },
    returns: { timestamp, count },
  };
}

/** The same call, but it fails. */
export function failing(step: CallStep, fails: { data: Json } | { message: string[] }): CallStep {
  const { call, path, args, as } = step;
  return { call, path, args, fails, ...(as === undefined ? {} : { as }) };
}

export const error = (code: string, more: Record<string, Json> = {}) => ({
  data: partial({ code, message: any("string"), ...more }),
});

/** Large calls of the component, of each kind: the log that each needs, and the call. */
import * as Automerge from "@automerge/automerge";
import type { Value } from "convex/values";
import { CHANGE_BYTES, COMPACT_ROWS, LOG_ROWS, PUSH_BYTES, PUSH_CHANGES } from "../src/component/limits";
import { buffer, document, edit, type Fields } from "./documents";

type Doc = Automerge.Doc<Fields>;
type Chunk = { bytes: ArrayBuffer };

/** Appends changes to a document's log, as pushes would. */
export type Append = (id: string, chunks: Chunk[]) => Promise<void>;

export type Worst = {
  name: string;
  /** The function of the component. */
  path: string;
  /** Fills the log, and returns the arguments of the call. */
  prepare: (append: Append) => Promise<Record<string, Value>>;
};

const KIB = 1024;
/** Chunk bytes in one append, well within a transaction. */
const APPEND_BYTES = 3 * KIB * KIB;
const APPEND_CHANGES = 2_000;
const later = () => Date.now() + 3_600_000;

/** Bytes that do not compress, always the same. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => (state = (state * 48271) % 0x7fffffff) >> 8);
}

/** A document with so many bytes that do not compress, in changes of 250 KiB, and the last change separately. */
function bulky(bytes: number, before: Doc = document({ n: 0 })): Doc {
  let doc = Automerge.clone(before);
  for (let at = 0, n = 0; at < bytes; at += 250 * KIB, n++) {
    doc = edit(doc, { blob: noise(Math.min(250 * KIB, bytes - at), n + 1 + bytes) });
  }
  return doc;
}

/** A document of so many small changes. */
function long(changes: number, from: Doc = document({ n: 0 })): Doc {
  let doc = Automerge.clone(from);
  for (let n = 1; n < changes; n++) doc = edit(doc, { n });
  return doc;
}

/** A document whose text was written and deleted again and again: the most operations for its bytes. */
function wordy(times: number): Doc {
  let doc = document({ text: "" });
  const lines = "the quick brown fox jumps over the lazy dog. ".repeat(490);
  for (let n = 0; n < times; n++) {
    doc = Automerge.change(doc, { time: 0 }, (draft) => {
      Automerge.splice(draft, ["text"], 0, n === 0 ? 0 : lines.length, lines);
    });
  }
  return doc;
}

function chunks(doc: Doc, before?: Doc): Chunk[] {
  const raw = before === undefined ? Automerge.getAllChanges(doc) : Automerge.getChanges(before, doc);
  return raw.map((bytes) => ({ bytes: buffer(bytes) }));
}

/** Appends all of a document, in several transactions. */
async function fill(append: Append, id: string, all: Chunk[]): Promise<void> {
  let [some, bytes]: [Chunk[], number] = [[], 0];
  for (const chunk of all) {
    if (bytes + chunk.bytes.byteLength > APPEND_BYTES || some.length === APPEND_CHANGES) {
      await append(id, some);
      [some, bytes] = [[], 0];
    }
    some.push(chunk);
    bytes += chunk.bytes.byteLength;
  }
  await append(id, some);
}

const collection = "notes";
const one = (changes: Chunk[]) => ({ collection, documents: [{ id: "a", changes }] });

/** The largest push. */
function push(): Chunk[] {
  const room = Math.floor(PUSH_BYTES / PUSH_CHANGES) - 200;
  let doc = document({ n: 0 });
  for (let n = 1; n < PUSH_CHANGES; n++) doc = edit(doc, { blob: noise(room, n) });
  return chunks(doc);
}

export const worst: Worst[] = [
  {
    name: "examining a push of 1,000 changes, 1 MiB",
    path: "log:examine",
    prepare: () => Promise.resolve(one(push())),
  },
  {
    name: "appending it",
    path: "log:append",
    prepare: () => Promise.resolve({ collection, documents: [{ id: "a", changes: push() }] }),
  },
  {
    name: "merging 1 MiB into a document of nearly 4",
    path: "merge:preview",
    prepare: async (append) => {
      const before = bulky(CHANGE_BYTES - PUSH_BYTES);
      await fill(append, "a", chunks(before));
      const after = bulky(PUSH_BYTES - 20 * KIB, before);
      return one(chunks(after, before));
    },
  },
  {
    name: "merging into the longest log",
    path: "merge:preview",
    prepare: async (append) => {
      const before = long(LOG_ROWS - 1);
      await fill(append, "a", chunks(before));
      return one(chunks(edit(Automerge.clone(before), { other: 1 }), before));
    },
  },
  {
    name: "merging into a text rewritten 5 times, 22,000 characters each",
    path: "merge:preview",
    prepare: async (append) => {
      const before = wordy(5);
      await fill(append, "a", chunks(before));
      return one(chunks(edit(Automerge.clone(before), { other: 1 }), before));
    },
  },
  {
    name: "taking apart a saved document of nearly 4 MiB",
    path: "merge:split",
    prepare: () =>
      Promise.resolve({
        collection,
        id: "a",
        crdtBytes: buffer(Automerge.save(bulky(CHANGE_BYTES - 300 * KIB))),
      }),
  },
  {
    name: "taking apart one of 4,000 changes",
    path: "merge:split",
    prepare: () => Promise.resolve({ collection, id: "a", crdtBytes: buffer(Automerge.save(long(4_000))) }),
  },
  {
    name: "compacting nearly 4 MiB",
    path: "compaction:compact",
    prepare: async (append) => {
      await fill(append, "a", chunks(bulky(CHANGE_BYTES - 300 * KIB)));
      return { collection, id: "a", before: later() };
    },
  },
  {
    name: "compacting 2,000 rows",
    path: "compaction:compact",
    prepare: async (append) => {
      await fill(append, "a", chunks(long(COMPACT_ROWS)));
      return { collection, id: "a", before: later() };
    },
  },
  {
    name: "a page of 4,000 deltas",
    path: "pages:pullDeltas",
    prepare: async (append) => {
      await fill(append, "a", chunks(long(4_100)));
      return { collection, checkpoint: { ts: 0n, ordinal: 0 }, limit: 4_000 };
    },
  },
  {
    name: "a page of whole documents, 4 MiB",
    path: "pages:pullDocuments",
    prepare: async (append) => {
      await fill(append, "a", chunks(bulky(CHANGE_BYTES)));
      return { collection, lastModified: 0 };
    },
  },
  {
    name: "a page of a whole document with the longest log",
    path: "pages:pullDocuments",
    prepare: async (append) => {
      await fill(append, "a", chunks(long(LOG_ROWS)));
      return { collection, lastModified: 0 };
    },
  },
];

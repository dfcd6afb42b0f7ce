/**
 * Whether a document is sound. A change may have a right checksum and still make no sense where it is applied:
 * Automerge then fails while applying it, or accepts it and saves a document that nobody can load.
 *
 * Each such failure costs the WASM some of its stack, for as long as the context lives. On Convex a call into a
 * component has a context of its own, so only hundreds of failures within one call matter. The attempts made here are
 * bounded.
 */
import type { Doc } from "@automerge/automerge/slim";
import type { loadAutomerge } from "./automerge.js";
import { operationsOf, readChange } from "./chunk.js";

type Automerge = Awaited<ReturnType<typeof loadAutomerge>>;
type Fields = Record<string, unknown>;

/** The saved document, if it can be loaded again. */
export function savedIfSound(automerge: Automerge, doc: Doc<Fields>): Uint8Array | null {
  try {
    const saved = automerge.save(doc);
    const again = automerge.load<Fields>(saved);
    const same = automerge.equals([...automerge.getHeads(again)].sort(), [...automerge.getHeads(doc)].sort());
    automerge.toJS(doc);
    release(automerge, again);
    return same ? saved : null;
  } catch {
    return null;
  }
}

/** The document in these bytes; null if Automerge does not open them. */
export function loaded(automerge: Automerge, bytes: Uint8Array): Doc<Fields> | null {
  try {
    return automerge.load<Fields>(bytes);
  } catch {
    return null;
  }
}

/** Whether a document is a tombstone; false if Automerge fails to read it. */
export function isDeleted(automerge: Automerge, doc: Doc<Fields>): boolean {
  try {
    return automerge.toJS(doc).deleted === true;
  } catch {
    return false;
  }
}

/**
 * Frees a document: WASM memory is not collected by itself. A document that Automerge failed on may not be freeable.
 */
export function release(automerge: Automerge, doc: Doc<Fields>): void {
  try {
    automerge.free(doc);
  } catch {
    // It stays until the function's context ends.
  }
}

/** A document without its invalid changes. */
export type Remainder = {
  saved: Uint8Array;
  heads: string[];
  /** Hashes of the changes left out: the invalid ones, and those that depend on them. */
  removed: string[];
  /** How many operations those have. */
  operations: number;
};

/** How many invalid changes a repair removes at most: each costs up to a dozen failures. */
const REPAIRS = 4;

/** Leaves out invalid changes; null if that does not help. `chunks` are in the order of the log. */
export function repair(automerge: Automerge, chunks: Uint8Array[]): Remainder | null {
  let left = chunks;
  const removed: string[] = [];
  let operations = 0;
  for (let tries = 0; tries <= REPAIRS; tries++) {
    const whole = tried(automerge, left);
    if (whole !== null) return { ...whole, removed, operations };
    // Finds the longest sound prefix. The change after it is the invalid one.
    let [sound, broken] = [0, left.length];
    while (broken - sound > 1) {
      const middle = (sound + broken) >> 1;
      if (tried(automerge, left.slice(0, middle)) === null) broken = middle;
      else sound = middle;
    }
    const gone = new Set<string>();
    const kept = left.slice(0, broken - 1);
    for (const [i, chunk] of left.slice(broken - 1).entries()) {
      const header = headerOf(chunk);
      if (header === null) return null; // A snapshot, which was proven when it was made.
      if (i > 0 && !header.deps.some((hash) => gone.has(hash))) {
        kept.push(chunk);
        continue;
      }
      gone.add(header.hash);
      operations += operationsOf(header);
    }
    removed.push(...gone);
    left = kept;
  }
  return null;
}

function tried(automerge: Automerge, chunks: Uint8Array[]): { saved: Uint8Array; heads: string[] } | null {
  let doc = automerge.init<Fields>();
  try {
    for (const chunk of chunks) doc = automerge.loadIncremental(doc, chunk);
    const saved = savedIfSound(automerge, doc);
    return saved === null ? null : { saved, heads: [...automerge.getHeads(doc)].sort() };
  } catch {
    return null;
  } finally {
    release(automerge, doc);
  }
}

function headerOf(chunk: Uint8Array) {
  try {
    return readChange(chunk);
  } catch {
    return null;
  }
}

/** The record of one document of a push while it is examined. */
import type { Doc, Id } from "./_generated/dataModel.js";
import type { ChangeHeader } from "./chunk.js";
import type { Assembled } from "./shapes.js";

/** A change that the log lacks. `whole` is the SHA-256 of its chunk if that came in parts. */
export type NewChange = ChangeHeader & { bytes: Uint8Array; whole?: string };

/** A part of a change that is not complete yet. */
export type NewPart = { hash: string; index: number; count: number; bytes: ArrayBuffer };

/** The result of examining one document of a push. */
export type Incoming = {
  document: Doc<"documents"> | null;
  changes: NewChange[];
  /** Whether the new changes depend on exactly the document's heads, and on each other. */
  direct: boolean;
  heads: string[];
  headOps: number[];
  parts: NewPart[];
  /** Hashes of changes of which a part came again: their waiting time starts anew. */
  repeated: Set<string>;
  /** Stored parts of changes that are complete now, to be deleted, and their bytes. */
  usedParts: Id<"parts">[];
  usedBytes: number;
  /** Changes whose last part is in this push, and its index there. */
  completed: { at: number; change: Assembled }[];
  /** Hashes of changes that no longer wait for parts. */
  whole: string[];
};

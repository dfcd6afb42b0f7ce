/** What one document of a push brings. */
import type { Doc, Id } from "./_generated/dataModel.js";
import type { ChangeHeader } from "./chunk.js";
import type { Assembled } from "./shapes.js";

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

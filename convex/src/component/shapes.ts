/** The validators of arguments and results between an app and the component, and their types. */
import { type Infer, v } from "convex/values";

/** A place in the log. */
export const position = v.object({ ts: v.int64(), ordinal: v.number() });
export type Position = Infer<typeof position>;

/** The place of a part in its chunk. `hash` is the SHA-256 of the whole chunk. */
export const part = v.object({ hash: v.bytes(), index: v.number(), count: v.number() });

/** An Automerge chunk, or a part of one. */
export const chunk = v.object({ bytes: v.bytes(), part: v.optional(part) });
export type Chunk = Infer<typeof chunk>;

/**
 * A change that came in parts and is complete. `log.examine` puts it together, and the caller passes it to the other
 * functions within the transaction: reading its parts each time would be more than a transaction may read.
 */
export const assembled = v.object({
  /** The SHA-256 of the whole. */
  hash: v.string(),
  /** Its bytes, in pieces. */
  pieces: v.array(v.bytes()),
  /** The ids of its stored parts, and their bytes. */
  parts: v.array(v.string()),
  stored: v.number(),
});
export type Assembled = Infer<typeof assembled>;

/** The changes of one document in a push. */
export const documentChanges = v.object({ id: v.string(), changes: v.array(v.union(chunk, assembled)) });
export type DocumentChanges = Infer<typeof documentChanges>;

/** Who pushes: the verified user, absent where nobody is signed in, and the scope that the push names. */
export const sender = v.object({ author: v.optional(v.string()), scope: v.optional(v.string()) });
export type Sender = Infer<typeof sender>;

/** The reasons for which a document is refused. */
export const refusalCode = v.union(
  v.literal("missingDependencies"),
  v.literal("invalidChange"),
  v.literal("reusedSequence"),
  v.literal("tooLarge"),
  v.literal("forbiddenField"),
  v.literal("notAuthorized"),
  v.literal("rowRefused"),
  v.literal("pruned"),
);
export type RefusalCode = Infer<typeof refusalCode>;

export const refusal = v.object({
  id: v.string(),
  status: v.literal("refused"),
  code: refusalCode,
  message: v.string(),
  limit: v.optional(v.number()),
});
export type Refusal = Infer<typeof refusal>;

/** What a push would do to one document. */
export const examined = v.object({
  id: v.string(),
  status: v.literal("accepted"),
  /** Whether changes enter the log: not if it has them all, or if a part waits for others. */
  changed: v.boolean(),
  /** Whether parts of it wait for others afterwards. */
  waits: v.boolean(),
  /** Whether the changes build on exactly the document's heads. */
  direct: v.boolean(),
  /** The number of changes afterwards. */
  version: v.number(),
  /** Chunk bytes stored now. */
  bytes: v.number(),
  /** Its log rows now. */
  rows: v.number(),
  /** Bytes of stored parts that were read to make changes whole. */
  assembled: v.number(),
  /** Whether its log would be long: a change then enters it only after it was merged with the document. */
  long: v.boolean(),
  scope: v.optional(v.string()),
  /** When a scheduled check of the row runs, in milliseconds; absent if the row needs none. */
  checkDue: v.optional(v.number()),
  /**
   * Changes that the chunks at these indexes of the push complete. The caller passes them on in place of these chunks.
   */
  completed: v.array(v.object({ at: v.number(), change: assembled })),
});
export type Examined = Infer<typeof examined>;

/** From how many log rows on a document is compacted, and the age of these rows in milliseconds. */
export const compactionPolicy = v.object({ rows: v.number(), after: v.number() });
export type CompactionPolicy = Infer<typeof compactionPolicy>;

/** The effect of a write, for a rule to judge. */
export const effect = v.object({
  /** The document before the write, as `fields` and `leftOut`; null if it is new. */
  before: v.union(v.null(), v.object({ fields: v.any(), leftOut: v.array(v.string()) })),
  /** The root fields whose values change, or get a new conflicting value. Sorted. */
  changed: v.array(v.string()),
});
export type Effect = Infer<typeof effect>;

/** A document as its app's table shows it. */
export const merged = v.object({
  id: v.string(),
  status: v.literal("merged"),
  fields: v.any(),
  /** The names of the places that `fields` lack, because Convex cannot store them. */
  leftOut: v.array(v.string()),
  version: v.number(),
  effect: v.optional(effect),
});
export type Merged = Infer<typeof merged>;

/** The data of every `ConvexError` these functions throw. */
export const errorData = v.object({
  code: v.string(),
  message: v.string(),
  document: v.optional(v.string()),
  limit: v.optional(v.number()),
});
export type ErrorData = Infer<typeof errorData>;

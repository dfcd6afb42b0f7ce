/** Collections with rules of each kind, for the tests. */
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { replicatedTable } from "../../src/client/index.js";

const open = () => defineTable(v.any()).index("by_user_id", ["id"]).index("by_timestamp", ["timestamp"]);

export default defineSchema({
  /** Public, any shape. */
  notes: open(),
  /** Public, any shape: another collection beside it. */
  tasks: open(),
  /** Public, with a schema. */
  strict: replicatedTable({ title: v.optional(v.string()) }),
  /** Public, as an app's own table may be: a required field, a map, and no column `notInRow`. */
  narrow: defineTable({
    id: v.string(),
    version: v.number(),
    timestamp: v.number(),
    deleted: v.optional(v.boolean()),
    title: v.string(),
    note: v.optional(v.string()),
    done: v.optional(v.union(v.boolean(), v.null())),
    settings: v.optional(v.object({ theme: v.optional(v.string()) })),
  })
    .index("by_user_id", ["id"])
    .index("by_timestamp", ["timestamp"]),
  /** For those signed in. */
  members: open(),
  /** For callers whose subject is the scope, and for documents that are not locked. */
  rooms: open(),
  /** For users in scopes of their own: the rule of the README. */
  homes: open(),
  /** For documents that name their owner. */
  owned: open(),
  /** Written with the helpers of the original library. */
  legacy: replicatedTable({ text: v.optional(v.string()), isCompleted: v.optional(v.boolean()) }),
});

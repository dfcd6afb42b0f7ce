/**
 * The task board's tables. Every field is optional: a document's history may arrive in several pushes, and a row has only
 * the fields that have arrived.
 */
import { defineSchema } from "convex/server";
import { v } from "convex/values";
import { replicatedTable } from "../src/client/index.js";

export default defineSchema({
  columns: replicatedTable({
    title: v.optional(v.string()),
    /** Its place among the columns: a fractional index. */
    order: v.optional(v.string()),
    tint: v.optional(v.string()),
  }),
  cards: replicatedTable({
    title: v.optional(v.string()),
    notes: v.optional(v.string()),
    /** The id of its column's document. */
    column: v.optional(v.string()),
    order: v.optional(v.string()),
    isDone: v.optional(v.boolean()),
    label: v.optional(v.union(v.string(), v.null())),
  }),
  people: replicatedTable({
    name: v.optional(v.string()),
    tint: v.optional(v.string()),
    /** Milliseconds since 1970. */
    lastSeen: v.optional(v.number()),
  }),
});

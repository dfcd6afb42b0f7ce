import { replicatedTable } from "bevy-convex-replicate";
import { defineSchema } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  tasks: replicatedTable({ text: v.optional(v.string()), isCompleted: v.optional(v.boolean()) }),
});

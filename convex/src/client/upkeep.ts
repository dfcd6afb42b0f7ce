/** The internal functions of a collection, which run later: by a schedule or by a cron. */
import { v } from "convex/values";
import type { AppTable } from "./append.js";
import { internalMutation, sibling } from "./builders.js";
import { checkRows, repair } from "./check.js";
import { pruneDocuments } from "./prune.js";

export function upkeepFunctions(target: AppTable, retention: number) {
  return {
    /** Corrects rows from their merged documents. Scheduled by `pushChanges`. */
    checkRows: internalMutation({
      args: { ids: v.array(v.string()), repair: v.optional(v.boolean()) },
      returns: v.number(),
      handler: async (ctx, { ids, repair: broken = false }) => {
        const again = async (some: string[], more: { repair?: boolean } = {}) => {
          if (some.length === 0) return;
          await ctx.scheduler.runAfter(0, await sibling(ctx, "checkRows"), { ids: some, ...more });
        };
        if (broken) {
          for (const id of ids) if (await repair(ctx, target, id)) await again([id]);
          return 0;
        }
        const checked = await checkRows(ctx, target, ids);
        await again(checked.later);
        for (const id of checked.repair) await again([id], { repair: true });
        return checked.corrected;
      },
    }),

    /** Drops documents that were deleted longer ago than the retention. The app's crons call it. */
    prune: internalMutation({
      args: {},
      returns: v.object({ pruned: v.array(v.string()), hasMore: v.boolean() }),
      handler: async (ctx) => {
        const { pruned, alive, hasMore } = await pruneDocuments(ctx, target, retention);
        if (alive.length > 0) {
          await ctx.scheduler.runAfter(0, await sibling(ctx, "checkRows"), { ids: alive });
        }
        if (hasMore) await ctx.scheduler.runAfter(0, await sibling(ctx, "prune"), {});
        return { pruned, hasMore };
      },
    }),
  };
}

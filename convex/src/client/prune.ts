import type { Target } from "./append.js";
import type { MutationCtx } from "./builders.js";
import { deleteRows } from "./row.js";

/** The result of pruning. The rows of the documents `alive` say that they are deleted, and need a check. */
export type Pruned = { pruned: string[]; alive: string[]; hasMore: boolean };

/**
 * Drops documents that were deleted longer ago than `retention` (milliseconds) from log and table, as many as one
 * transaction can.
 */
export async function pruneDocuments(
  ctx: MutationCtx,
  { component, collection, table }: Target,
  retention: number,
): Promise<Pruned> {
  const before = Date.now() - retention;
  const done = await ctx.runMutation(component.pruning.prune, { collection, before });
  if (table !== null) await deleteRows(ctx, table, done.pruned);
  return done;
}

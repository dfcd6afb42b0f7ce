/** Schedules compaction, so that at most one call waits for a document. */
import type { Doc } from "./_generated/dataModel.js";
import { internal } from "./_generated/api.js";
import type { MutationCtx } from "./_generated/server.js";
import { isComing } from "./due.js";
import { COMPACT_AFTER, COMPACT_FROM_ROWS } from "./limits.js";
import type { CompactionPolicy } from "./shapes.js";
import { isLong } from "./size.js";

const USUAL_POLICY = { rows: COMPACT_FROM_ROWS, after: COMPACT_AFTER };

/**
 * Schedules a document's compaction if its log is long enough and no call is scheduled already. Returns when it is due.
 */
export async function scheduleCompaction(
  ctx: MutationCtx,
  { collection, id, rows, bytes, compactDue: due }: LogState,
  policy: CompactionPolicy = USUAL_POLICY,
): Promise<number | undefined> {
  const urgent = isLong({ rows, bytes });
  if (!urgent && rows < policy.rows) return due;
  const after = urgent ? 0 : policy.after;
  const now = Date.now();
  if (due !== undefined && due <= now + after && isComing(due, now)) return due;
  await ctx.scheduler.runAfter(after, internal.compaction.compactOnce, { collection, id, after });
  return now + after;
}

type LogState = Pick<Doc<"documents">, "collection" | "id" | "rows" | "bytes"> & {
  compactDue: number | undefined;
};

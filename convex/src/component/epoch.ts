/** The log's id: another id means another log, so that clients offer everything again. */
import type { MutationCtx, QueryCtx } from "./_generated/server.js";

/** The log's id; null if nothing has ever been written. */
export async function readEpoch(ctx: QueryCtx): Promise<string | null> {
  return (await ctx.db.query("epochs").first())?.epoch ?? null;
}

export async function ensureEpoch(ctx: MutationCtx): Promise<string> {
  return (await readEpoch(ctx)) ?? (await writeEpoch(ctx));
}

export async function writeEpoch(ctx: MutationCtx): Promise<string> {
  const epoch = crypto.randomUUID();
  const row = await ctx.db.query("epochs").first();
  if (row === null) await ctx.db.insert("epochs", { epoch });
  else await ctx.db.patch(row._id, { epoch });
  return epoch;
}

/** Appends to the log, and compacts a log that becomes long. */
import type { ComponentApi } from "../component/_generated/component.js";
import type { CompactionPolicy, DocumentChanges } from "../component/shapes.js";
import type { MutationCtx } from "./builders.js";

/** Where documents are written: the component, the collection's name in it, and the app's table, if it has one. */
export type Target = { component: ComponentApi; collection: string; table: string | null };

/** A target with a table. */
export type AppTable = Target & { table: string };

/** The arguments of `log.append`. */
type Entries = {
  scope?: string | undefined;
  documents: (DocumentChanges & { deleted?: boolean | undefined; checkDue?: number | undefined })[];
  compact?: CompactionPolicy | undefined;
};

/**
 * The caller whom Convex has verified, and never what a client says: the author of the changes, and the sender of their
 * parts. Undefined: nobody is signed in.
 */
export async function callerOf(ctx: MutationCtx): Promise<string | undefined> {
  return (await ctx.auth.getUserIdentity())?.tokenIdentifier;
}

/** Appends. Returns the log's epoch. */
export async function append(ctx: MutationCtx, target: Target, entries: Entries): Promise<string> {
  const { component, collection } = target;
  const author = await callerOf(ctx);
  const { epoch, long } = await ctx.runMutation(component.log.append, {
    collection,
    ...entries,
    ...(author === undefined ? {} : { author }),
  });
  await compactNow(ctx, target, long);
  return epoch;
}

/** The room that compaction needs to be worth a call, and that it leaves free. */
const COMPACT_ROOM = 512 * 1024;

/**
 * Compacts the first of these documents if that fits into this transaction: the writer that makes a log long shortens
 * it, so that it does not outgrow what a transaction can load. The log has scheduled the compaction of the others.
 */
async function compactNow(
  ctx: MutationCtx,
  { component, collection }: Target,
  [id]: string[],
): Promise<void> {
  if (id === undefined) return;
  const { bytesRead, bytesWritten } = await ctx.meta.getTransactionMetrics();
  // Deleting a row reads it once more.
  const bytes = Math.min(bytesRead.remaining / 2, bytesWritten.remaining) - COMPACT_ROOM;
  if (bytes < COMPACT_ROOM) return;
  await ctx.runMutation(component.compaction.compact, { collection, id, before: Date.now(), bytes });
}

/** Parts of changes that are incomplete: stored until the others arrive, counted, and deleted afterwards. */
import type { MutationCtx, QueryCtx } from "./_generated/server.js";
import { Refused } from "./errors.js";
import type { Incoming } from "./incoming.js";
import { WAITING_BYTES } from "./limits.js";
import type { Sender } from "./shapes.js";

/**
 * Whose parts wait, and for which document. The parts of each sender are kept apart from all others: nobody fills the
 * room of another, and nobody spoils another's change by a part that does not fit.
 */
export type Place = { collection: string; id: string; sender: string | undefined };

/**
 * A sender as the tables have it: the user and the scope as a list in JSON. Undefined: nobody with a name, without a
 * scope; also the sender of rows from before senders were recorded.
 *
 * The scope is the one that the push names, and not the one that the document is in. A client names the same scope with
 * each part of a change, while a document without changes may enter another scope in the meantime.
 */
export function senderKey({ author, scope }: Sender): string | undefined {
  return author === undefined && scope === undefined
    ? undefined
    : JSON.stringify([author ?? null, scope ?? null]);
}

/** The row that counts a change's stored parts; null if it has none. */
export async function readIncomplete(ctx: QueryCtx, { collection, id, sender }: Place, hash: string) {
  return await ctx.db
    .query("incomplete")
    .withIndex("by_chunk", (q) =>
      q.eq("collection", collection).eq("id", id).eq("sender", sender).eq("hash", hash),
    )
    .unique();
}

/** The row that counts the bytes of stored parts; null if there are none. */
export async function readWaiting(ctx: QueryCtx, { collection, id, sender }: Place) {
  return await ctx.db
    .query("waiting")
    .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id).eq("sender", sender))
    .unique();
}

/** Throws if the stored parts would exceed their limit. */
export async function checkWaiting(
  ctx: QueryCtx,
  place: Place,
  { parts, usedBytes }: Incoming,
): Promise<void> {
  const waiting = (await readWaiting(ctx, place))?.bytes ?? 0;
  const bytes = waiting - usedBytes + total(parts);
  if (bytes > WAITING_BYTES) {
    throw new Refused(
      "tooLarge",
      `${place.id} would have ${bytes} bytes of incomplete changes. Complete a change first.`,
      WAITING_BYTES,
    );
  }
}

export async function storeParts(ctx: MutationCtx, place: Place, incoming: Incoming): Promise<void> {
  for (const part of incoming.parts) await ctx.db.insert("parts", { ...columns(place), ...part });
  for (const used of incoming.usedParts) await ctx.db.delete(used);
  for (const hash of incoming.whole) await addIncomplete(ctx, place, { hash, count: 0 }, -Infinity);
  for (const part of incoming.parts) await addIncomplete(ctx, place, part, 1);
  for (const hash of incoming.repeated) await addIncomplete(ctx, place, { hash, count: 0 }, 0);
  await addWaiting(ctx, place, total(incoming.parts) - incoming.usedBytes);
}

/** Adds to the count of a change's stored parts, and sets the time of the newest. */
async function addIncomplete(
  ctx: MutationCtx,
  place: Place,
  { hash, count }: { hash: string; count: number },
  parts: number,
): Promise<void> {
  const row = await readIncomplete(ctx, place, hash);
  const have = (row?.have ?? 0) + parts;
  const ts = ctx.db.vars.commitTs;
  if (have > 0 && row === null) {
    await ctx.db.insert("incomplete", { ...columns(place), hash, count, have, ts });
  } else if (have > 0 && row !== null) await ctx.db.patch(row._id, { have, ts });
  else if (row !== null) await ctx.db.delete(row._id);
}

/** Adds to the count of stored bytes. */
export async function addWaiting(ctx: MutationCtx, place: Place, bytes: number): Promise<void> {
  if (bytes === 0) return;
  const row = await readWaiting(ctx, place);
  if (row === null) await ctx.db.insert("waiting", { ...columns(place), bytes });
  else if (row.bytes + bytes > 0) await ctx.db.patch(row._id, { bytes: row.bytes + bytes });
  else await ctx.db.delete(row._id);
}

function columns({ collection, id, sender }: Place) {
  return { collection, id, ...(sender === undefined ? {} : { sender }) };
}

export function total(pieces: { bytes: ArrayBuffer }[]): number {
  return pieces.reduce((sum, piece) => sum + piece.bytes.byteLength, 0);
}

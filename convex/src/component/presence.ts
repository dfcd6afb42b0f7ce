/**
 * The presence of connected apps: a row per peer and area, which is a collection and a scope. Rows are not in the log.
 * A peer that is not heard of for its time to live is removed by the schedule.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { v } from "convex/values";
import { internal } from "./_generated/api.js";
import type { Doc } from "./_generated/dataModel.js";
import { internalMutation, mutation, type MutationCtx, query } from "./_generated/server.js";
import { refuse } from "./errors.js";
import {
  PRESENCE_BURST,
  PRESENCE_BYTES,
  PRESENCE_PEERS,
  PRESENCE_REFRESHES,
  PRESENCE_SESSION_BYTES,
  PRESENCE_SESSION_BYTES_MIN,
  PRESENCE_TTL,
} from "./limits.js";

const SECOND = 1_000;

type Area = { collection: string; scope?: string | undefined };

/** Changes what a peer shows. Without a value the peer leaves. */
export const set = mutation({
  args: {
    collection: v.string(),
    scope: v.optional(v.string()),
    session: v.string(),
    value: v.optional(v.string()),
    /** The user whom the app's function has verified. */
    user: v.optional(v.string()),
    /** Values a second. */
    rate: v.number(),
  },
  returns: v.object({ peer: v.string(), rate: v.number(), ttl: v.number() }),
  handler: async (ctx, { collection, scope, session, value, user, rate }) => {
    checkSession(session);
    const area = { collection, scope };
    const peer = peerOf(session);
    const row = await ctx.db
      .query("presence")
      .withIndex("by_area", (q) => q.eq("collection", collection).eq("scope", scope).eq("peer", peer))
      .unique();
    if (value === undefined) {
      if (row !== null) await remove(ctx, row);
    } else {
      checkValue(value);
      if (row === null)
        await enter(ctx, area, { peer, value, ...(user === undefined ? {} : { user }) }, rate);
      else await change(ctx, row, value, user, rate);
    }
    return { peer, rate, ttl: PRESENCE_TTL };
  },
});

/** The peers of an area, by name. */
export const list = query({
  args: { collection: v.string(), scope: v.optional(v.string()) },
  returns: v.object({
    peers: v.array(v.object({ peer: v.string(), user: v.optional(v.string()), value: v.string() })),
  }),
  handler: async (ctx, { collection, scope }) => {
    const rows = await ctx.db
      .query("presence")
      .withIndex("by_area", (q) => q.eq("collection", collection).eq("scope", scope))
      .take(PRESENCE_PEERS);
    const peers = rows.map(({ peer, user, value }) => ({
      peer,
      ...(user === undefined ? {} : { user }),
      value,
    }));
    return { peers };
  },
});

/** Removes a peer that was not heard of, or comes again when its time is over. Called by the schedule. */
export const expire = internalMutation({
  args: { row: v.id("presence") },
  returns: v.null(),
  handler: async (ctx, { row: id }) => {
    const row = await ctx.db.get(id);
    if (row === null) return null;
    const lease = await leaseOf(ctx, row);
    const rest = (lease?.until ?? 0) - Date.now();
    if (rest > 0) await ctx.scheduler.runAfter(rest, internal.presence.expire, { row: id });
    else await remove(ctx, row);
    return null;
  },
});

/**
 * The name of the peer with this secret. It is a hash, so that nobody who sees the name can show something in its place.
 */
export function peerOf(session: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(`presence ${session}`)).slice(0, 16));
}

async function enter(
  ctx: MutationCtx,
  area: Area,
  shown: { peer: string; value: string; user?: string },
  rate: number,
): Promise<void> {
  await count(ctx, area, 1);
  const now = Date.now();
  const scope = area.scope === undefined ? {} : { scope: area.scope };
  const id = await ctx.db.insert("presence", {
    collection: area.collection,
    ...scope,
    ...shown,
    paid: now + SECOND / rate,
  });
  await ctx.db.insert("presenceLeases", { row: id, until: now + PRESENCE_TTL });
  await ctx.scheduler.runAfter(PRESENCE_TTL, internal.presence.expire, { row: id });
}

/** The same value again only says that the peer is still there: readers are not told. */
async function change(
  ctx: MutationCtx,
  row: Doc<"presence">,
  value: string,
  user: string | undefined,
  rate: number,
): Promise<void> {
  const now = Date.now();
  if (row.value !== value || row.user !== user) {
    const paid = Math.max(row.paid, now) + SECOND / rate;
    if (paid > now + Math.max(PRESENCE_BURST, SECOND / rate)) throw tooOften(rate);
    await ctx.db.patch(row._id, { value, user, paid });
  }
  const lease = await leaseOf(ctx, row);
  // The lease is another row, which readers do not read, and is not written with every value.
  if (lease !== null && lease.until - now < PRESENCE_TTL * (1 - 1 / (2 * PRESENCE_REFRESHES))) {
    await ctx.db.patch(lease._id, { until: now + PRESENCE_TTL });
  }
}

async function remove(ctx: MutationCtx, row: Doc<"presence">): Promise<void> {
  const lease = await leaseOf(ctx, row);
  if (lease !== null) await ctx.db.delete(lease._id);
  await ctx.db.delete(row._id);
  await count(ctx, row, -1);
}

async function leaseOf(ctx: MutationCtx, row: Doc<"presence">) {
  return await ctx.db
    .query("presenceLeases")
    .withIndex("by_row", (q) => q.eq("row", row._id))
    .unique();
}

/** Counts the peers of an area. Counting its rows would conflict with every value that is shown there. */
async function count(ctx: MutationCtx, { collection, scope }: Area, change: 1 | -1): Promise<void> {
  const row = await ctx.db
    .query("presenceCounts")
    .withIndex("by_area", (q) => q.eq("collection", collection).eq("scope", scope))
    .unique();
  const peers = Math.max(0, (row?.peers ?? 0) + change);
  if (peers > PRESENCE_PEERS) {
    throw refuse({
      code: "areaFull",
      message: `${PRESENCE_PEERS} peers are in this area, which is the most: divide them by scopes.`,
      limit: PRESENCE_PEERS,
    });
  }
  if (row === null) {
    await ctx.db.insert("presenceCounts", { collection, ...(scope === undefined ? {} : { scope }), peers });
  } else if (peers === 0) {
    await ctx.db.delete(row._id);
  } else {
    await ctx.db.patch(row._id, { peers });
  }
}

function checkSession(session: string): void {
  const { length } = new TextEncoder().encode(session);
  if (length >= PRESENCE_SESSION_BYTES_MIN && length <= PRESENCE_SESSION_BYTES) return;
  throw refuse({
    code: "invalidSession",
    message:
      `The session has ${length} bytes; make a random one of ${PRESENCE_SESSION_BYTES_MIN} to ` +
      `${PRESENCE_SESSION_BYTES}.`,
  });
}

function checkValue(value: string): void {
  const { length } = new TextEncoder().encode(value);
  if (length <= PRESENCE_BYTES) return;
  throw refuse({
    code: "tooLarge",
    message: `The presence has ${length} bytes; at most ${PRESENCE_BYTES}.`,
    limit: PRESENCE_BYTES,
  });
}

function tooOften(rate: number) {
  return refuse({
    code: "tooOften",
    message: `At most ${rate} values a second are shown of a peer: keep the newest, and send it later.`,
    limit: rate,
  });
}

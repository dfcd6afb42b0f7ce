/** Finds the changes that the log lacks, and checks that each may take its place in it. */
import type { QueryCtx } from "./_generated/server.js";
import { Refused } from "./errors.js";
import type { Incoming, NewChange } from "./incoming.js";

/** A change that the log has. */
type Logged = { hash: string; lastOp: number; senseless: boolean };

/** Adds the changes of `offered` that the log lacks to `incoming`, in order, after checking each. */
export async function keepNew(
  ctx: QueryCtx,
  collection: string,
  id: string,
  offered: NewChange[],
  incoming: Incoming,
): Promise<void> {
  const byPlace =
    incoming.document === null ? new Map<string, Logged>() : await sequences(ctx, collection, id, offered);
  // Changes that are in the log or accepted by now, with the numbers of their last operations. `taken` has those of
  // this push.
  const present = new Map<string, number>();
  for (const [i, head] of incoming.heads.entries()) present.set(head, incoming.document?.headOps[i] ?? 0);
  const taken = new Set<string>();
  const outside = new Set<string>();
  const heads = new Set(incoming.heads);
  for (const change of offered) {
    const holder = byPlace.get(`${change.actor}/${change.seq}`);
    if (holder?.hash === change.hash) {
      if (holder.senseless) throw invalidChange(change.hash);
      present.set(change.hash, holder.lastOp);
      continue;
    }
    let deepest = 0;
    for (const dependency of change.deps) {
      const lastOp = present.get(dependency) ?? (await readLastOp(ctx, collection, id, dependency, incoming));
      present.set(dependency, lastOp);
      deepest = Math.max(deepest, lastOp);
      if (!taken.has(dependency)) outside.add(dependency);
    }
    checkPlace(change, holder, byPlace.get(`${change.actor}/${change.seq - 1}`), deepest);
    for (const dependency of change.deps) heads.delete(dependency);
    heads.add(change.hash);
    taken.add(change.hash);
    present.set(change.hash, change.lastOp);
    byPlace.set(`${change.actor}/${change.seq}`, { ...change, senseless: false });
    incoming.changes.push(change);
  }
  const before = incoming.heads;
  // If other changes came between these, they may have replaced the values that the first of these set.
  const chain = offered.every(
    ({ deps }, i) => i === 0 || (deps.length === 1 && deps[0] === offered[i - 1]?.hash),
  );
  incoming.direct = chain && outside.size === before.length && before.every((head) => outside.has(head));
  incoming.heads = [...heads].sort();
  incoming.headOps = incoming.heads.map((head) => present.get(head) ?? 0);
}

/**
 * Checks a change's place: right after its actor's last change, with operations numbered after all that it depends on.
 */
function checkPlace(
  change: NewChange,
  holder: Logged | undefined,
  last: Logged | undefined,
  deepest: number,
): void {
  if (holder !== undefined) {
    throw new Refused(
      "reusedSequence",
      `Another change by actor ${change.actor} with sequence number ${change.seq} is in the log.`,
    );
  }
  if (change.seq > 1 && (last === undefined || last.senseless)) {
    throw new Refused(
      "missingDependencies",
      `The change ${change.hash} is number ${change.seq} of its actor, and the log lacks the one before it.`,
    );
  }
  if (change.startOp <= Math.max(deepest, last?.lastOp ?? 0)) {
    throw new Refused(
      "invalidChange",
      `The operations of the change ${change.hash} have numbers that earlier ones have.`,
    );
  }
}

async function readLastOp(
  ctx: QueryCtx,
  collection: string,
  id: string,
  hash: string,
  incoming: Incoming,
): Promise<number> {
  const found =
    incoming.document === null
      ? null
      : await ctx.db
          .query("changes")
          .withIndex("by_hash", (q) => q.eq("collection", collection).eq("id", id).eq("hash", hash))
          .first();
  if (found?.senseless) throw invalidChange(hash);
  if (found === null) {
    throw new Refused(
      "missingDependencies",
      `The log lacks the change ${hash}, which a pushed one depends on.`,
    );
  }
  return found.lastOp;
}

function invalidChange(hash: string): Refused {
  return new Refused(
    "invalidChange",
    `The change ${hash} makes no sense in this document, or depends on such a change.`,
  );
}

/**
 * The log's changes at the offered sequence numbers and right before them. Reads one range per run, not one per change.
 */
async function sequences(ctx: QueryCtx, collection: string, id: string, offered: NewChange[]) {
  const byPlace = new Map<string, Logged>();
  const byActor = new Map<string, number[]>();
  for (const { actor, seq } of offered) byActor.set(actor, [...(byActor.get(actor) ?? []), seq]);
  for (const [actor, seqs] of byActor) {
    for (const [from, to] of runs(seqs)) {
      const rows = ctx.db.query("changes").withIndex("by_actor", (q) =>
        q
          .eq("collection", collection)
          .eq("id", id)
          .eq("actor", actor)
          .gte("seq", from - 1)
          .lte("seq", to),
      );
      for await (const { hash, seq, lastOp, senseless } of rows) {
        byPlace.set(`${actor}/${seq}`, { hash, lastOp, senseless: senseless ?? false });
      }
    }
  }
  return byPlace;
}

/** Groups numbers into unbroken runs, each given by its first and its last number. */
function runs(numbers: number[]): [number, number][] {
  const found: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && number <= last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found;
}

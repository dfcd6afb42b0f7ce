/** Changes with right checksums that make no sense: such a change stops nobody. */
import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { loadAutomerge } from "../src/component/automerge";
import { readChange } from "../src/component/chunk";
import { repair, savedIfSound } from "../src/component/sound";
import { api, components, internal } from "./app/_generated/api";
import { backend, compact, known } from "./backend";
import { buffer, changes, document, edit, type Fields } from "./documents";

/** A change with one byte set to something else, and the right checksum. */
function forged(raw: Uint8Array, at: number, byte: number): Uint8Array {
  const copy = raw.slice();
  copy[at] = byte;
  copy.set(createHash("sha256").update(copy.subarray(8)).digest().subarray(0, 4), 4);
  return copy;
}

/** A change with another dependency than it had. */
function based(raw: Uint8Array, was: string, is: string): Uint8Array {
  const copy = raw.slice();
  copy.set(Buffer.from(is, "hex"), Buffer.from(raw).indexOf(Buffer.from(was, "hex")));
  return forged(copy, 0, copy[0]!);
}

const base = document({ list: [1, 2, 3], text: "hello", n: 1 }, "01".repeat(16));
const left = Automerge.change(
  Automerge.clone(base, { actor: "02".repeat(16) }),
  { time: 0 },
  (draft) => void (draft.n = 2),
);
const honest = edit(Automerge.clone(base, { actor: "03".repeat(16) }), { honest: true });

/** Forgeries of an edit that a push accepts as changes. With any of them, `base` is not sound. */
async function findSenseless(): Promise<Uint8Array[]> {
  const automerge = await loadAutomerge();
  const raw = Automerge.getChanges(base, left)[0]!;
  const before = Automerge.save(base);
  const found: Uint8Array[] = [];
  // The operations are at the end.
  for (let at = raw.length - 12; at < raw.length; at++) {
    for (let byte = 0; byte < 256; byte += 23) {
      const change = forged(raw, at, byte);
      if (byte === raw[at]) continue;
      let sound = false;
      try {
        readChange(change);
      } catch {
        continue; // Refused at the door.
      }
      try {
        const loaded = automerge.loadIncremental(automerge.load<Fields>(before), change);
        sound = savedIfSound(automerge, loaded) !== null;
      } catch {
        sound = false;
      }
      if (!sound) found.push(change);
    }
  }
  return found;
}

/** They are searched for once, because each failure costs the WASM of this process some of its stack. */
let finding: Promise<Uint8Array[]> | undefined;

const push = (id: string, raw: Uint8Array[], fields?: Fields) => ({
  documents: [
    {
      id,
      changes: raw.map((bytes) => ({ bytes: buffer(bytes) })),
      ...(fields === undefined ? {} : { fields }),
    },
  ],
});

describe("a change that makes no sense", () => {
  test("is refused where it is merged, and other changes are accepted", async () => {
    const t = backend();
    const senseless = await (finding ??= findSenseless());
    expect(senseless.length).toBeGreaterThan(10);
    await t.mutation(api.notes.pushChanges, push("a", Automerge.getAllChanges(base)));
    for (const raw of senseless.filter((_, i) => i % 3 === 0)) {
      const { results } = await t.mutation(api.notes.pushChanges, push("a", [raw]));
      expect(results).toMatchObject([{ id: "a", status: "refused", code: "invalidChange" }]);
    }
    const { results } = await t.mutation(
      api.notes.pushChanges,
      push("a", Automerge.getChanges(base, honest)),
    );
    expect(results).toEqual([{ id: "a", status: "accepted" }]);
  });

  test("is removed by the check of rows if it came on the fast path, with the changes that depend on it", async () => {
    const [bad] = await (finding ??= findSenseless());
    const t = backend();
    await t.mutation(api.notes.pushChanges, push("a", Automerge.getAllChanges(base)));
    const accepted = [{ id: "a", status: "accepted" }];
    expect((await t.mutation(api.notes.pushChanges, push("a", [bad!], { n: 2 }))).results).toEqual(accepted);
    // The next change of its writer, which depends on it.
    const next = Automerge.getChanges(
      left,
      edit(Automerge.clone(left, { actor: "02".repeat(16) }), { n: 3 }),
    )[0]!;
    const child = based(next, readChange(Automerge.getChanges(base, left)[0]!).hash, readChange(bad!).hash);
    expect((await t.mutation(api.notes.pushChanges, push("a", [child], { n: 3 }))).results).toEqual(accepted);
    const pull = async (checkpoint: { ts: bigint; ordinal: number }) =>
      await t.query(api.notes.pullDeltas, { checkpoint });
    const start = { ts: 0n, ordinal: 0 };
    const before = await pull(start);
    expect(before.deltas).toHaveLength(3);

    await t.mutation(internal.notes.checkRows, { ids: ["a"] });
    const after = await pull(start);
    expect(after.deltas).toHaveLength(1);
    expect(after.checkpoint).toEqual(before.checkpoint);
    expect((await pull(before.checkpoint)).deltas).toEqual([]);
    const opened = Automerge.load<Fields>(new Uint8Array(after.deltas[0]!.bytes));
    expect(Automerge.getHeads(opened)).toEqual(Automerge.getHeads(base));
    const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
    expect(rows).toMatchObject([{ id: "a", n: 1, version: 1 }]);

    // It stays out, and so do changes that depend on it; other writers go on, on the fast path too.
    for (const raw of [bad!, child]) {
      const again = await t.mutation(api.notes.pushChanges, push("a", [raw], { n: 2 }));
      expect(again.results).toMatchObject([{ status: "refused", code: "invalidChange" }]);
    }
    const good = push("a", Automerge.getChanges(base, honest), { honest: true });
    expect((await t.mutation(api.notes.pushChanges, good)).results).toEqual(accepted);
    expect(await t.mutation(internal.notes.checkRows, { ids: ["a"] })).toBe(0);
    const page = await t.query(api.notes.pullChanges, {
      collectionName: "",
      checkpoint: { lastModified: 0 },
    });
    expect(Automerge.load(new Uint8Array(page.changes[0]!.crdtBytes))).toEqual(
      Automerge.load(Automerge.save(honest)),
    );
  });

  test("leaves no row if it was the only change", async () => {
    const automerge = await loadAutomerge();
    const raw = Automerge.getAllChanges(document({ n: 1 }, "05".repeat(16)))[0]!;
    const all = Array.from({ length: 10 }, (_, i) => forged(raw, raw.length - 1 - i, 77));
    const bad = all.find((change) => {
      try {
        const doc = automerge.loadIncremental(automerge.init<Fields>(), change);
        return savedIfSound(automerge, doc) === null;
      } catch {
        return true;
      }
    });
    const t = backend();
    const pushed = await t.mutation(api.notes.pushChanges, push("a", [bad!], { n: 1 }));
    expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
    await t.mutation(internal.notes.checkRows, { ids: ["a"] });
    expect(await t.run(async (ctx) => await ctx.db.query("notes").collect())).toEqual([]);
    const documents = [{ id: "a", changes: changes(honest), fields: { n: 1 } }];
    expect((await t.mutation(api.notes.pushChanges, { documents })).results).toEqual([
      { id: "a", status: "accepted" },
    ]);
  });

  test("is in no snapshot: its log is compacted once it is removed", async () => {
    const [bad] = await (finding ??= findSenseless());
    const t = backend();
    const accepted = [{ id: "a", status: "accepted" }];
    expect(
      (await t.mutation(api.notes.pushChanges, push("a", Automerge.getAllChanges(base)))).results,
    ).toEqual(accepted);
    expect((await t.mutation(api.notes.pushChanges, push("a", [bad!], { n: 2 }))).results).toEqual(accepted);
    const rows = async () =>
      (await t.query(api.notes.pullDeltas, { checkpoint: { ts: 0n, ordinal: 0 } })).deltas.length;
    const later = Date.now() + 60_000;
    const compact = async () =>
      await t.run(
        async (ctx) =>
          await ctx.runMutation(components.replicate.compaction.compact, {
            collection: "notes",
            id: "a",
            before: later,
          }),
      );
    expect(await compact()).toEqual({ compacted: 0, hasMore: false });
    expect(await rows()).toBe(2);
    await t.mutation(internal.notes.checkRows, { ids: ["a"] });
    const others = push("a", Automerge.getChanges(base, honest), { honest: true });
    expect((await t.mutation(api.notes.pushChanges, others)).results).toEqual(accepted);
    expect(await compact()).toEqual({ compacted: 2, hasMore: false });
    expect(await rows()).toBe(1);
  });

  test("delays the compaction of its log only until it is removed", async () => {
    const [bad] = await (finding ??= findSenseless());
    const t = backend();
    /** Appends as a push on the fast path does. Returns when compaction is due. */
    const append = async (raw: Uint8Array[]) => {
      const changes = raw.map((bytes) => ({ bytes: buffer(bytes) }));
      const documents = [{ id: "a", changes, checkDue: Date.now() }];
      const args = { collection: "notes", documents, compact: { rows: 2, after: 3_600_000 } };
      await t.run(async (ctx) => void (await ctx.runMutation(components.replicate.log.append, args)));
      return (await known(t, "a"))?.compactDue;
    };
    /** Runs scheduled functions, some time later. */
    const later = async () => {
      const now = Date.now();
      while (Date.now() <= now + 1) await new Promise((resolve) => setTimeout(resolve, 1));
      return await compact(t, "a");
    };
    expect(await append(Automerge.getAllChanges(base))).toBeUndefined();
    expect(await append([bad!])).toBeGreaterThan(Date.now());
    expect(await later()).toEqual({ compacted: 0, hasMore: false });
    expect((await known(t, "a"))?.compactDue).toBeUndefined();
    await t.mutation(internal.notes.checkRows, { ids: ["a"] });
    // Its log is one snapshot now. With the next change it is due again, once.
    const due = await append(Automerge.getChanges(base, honest));
    expect(due).toBeGreaterThan(Date.now());
    const more = edit(Automerge.clone(honest, { actor: "03".repeat(16) }), { more: true });
    expect(await append(Automerge.getChanges(honest, more))).toBe(due);
    expect(await later()).toEqual({ compacted: 3, hasMore: false });
  });

  test("does not keep a document from being repaired, wherever it is in the log", async () => {
    const automerge = await loadAutomerge();
    const senseless = await (finding ??= findSenseless());
    const [first] = Automerge.getAllChanges(base) as [Uint8Array];
    const [good] = Automerge.getChanges(base, honest) as [Uint8Array];
    for (const raw of senseless.filter((_, i) => i % 7 === 0)) {
      for (const chunks of [
        [first, raw, good],
        [first, good, raw],
      ]) {
        const left = repair(automerge, chunks);
        expect(left?.heads).toEqual(Automerge.getHeads(honest));
        expect(left?.removed).toEqual([readChange(raw).hash]);
      }
    }
    expect(repair(automerge, [first, good])?.removed).toEqual([]);
  });
});

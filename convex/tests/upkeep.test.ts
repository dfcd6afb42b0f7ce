import * as Automerge from "@automerge/automerge";
import { describe, expect, test } from "vitest";
import { COMPACT_FROM_ROWS, SCHEDULED_LATE } from "../src/component/limits";
import { api, components, internal } from "./app/_generated/api";
import { type Backend, backend, compact, inside, known } from "./backend";
import { changes, document, edit, type Fields } from "./documents";

type Position = { ts: bigint; ordinal: number };
const START: Position = { ts: 0n, ordinal: 0 };

async function push(
  t: Backend,
  id: string,
  doc: Automerge.Doc<Fields>,
  before?: Automerge.Doc<Fields>,
  fields?: Fields,
) {
  const documents = [{ id, changes: changes(doc, before), ...(fields === undefined ? {} : { fields }) }];
  const { results } = await t.mutation(api.notes.pushChanges, { documents });
  expect(results).toEqual([{ id, status: "accepted" }]);
}

async function pull(t: Backend, checkpoint: Position) {
  return await t.query(api.notes.pullDeltas, { checkpoint });
}

async function rows(t: Backend): Promise<Fields[]> {
  return await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
}

/** Time passes: what was written before counts as older than now. */
async function tick() {
  const now = Date.now();
  while (Date.now() <= now + 1) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe("checking rows", () => {
  test("wrong fields of a writer are corrected, and a right row is not written", async () => {
    const t = backend();
    await push(t, "liar", document({ title: "milk" }), undefined, { title: "lies" });
    await push(t, "honest", document({ title: "milk" }), undefined, { title: "milk" });
    expect(await rows(t)).toMatchObject([{ title: "lies" }, { title: "milk" }]);
    expect(await t.mutation(internal.notes.checkRows, { ids: ["liar", "honest", "unknown"] })).toBe(1);
    expect(await rows(t)).toMatchObject([{ title: "milk" }, { title: "milk" }]);
  });

  test("fields that a push removes are gone, and fields that it does not name stay", async () => {
    const t = backend();
    const doc = document({ a: 1, b: 2, c: "x" });
    await push(t, "d", doc, undefined, { a: 1, b: 2, c: "x" });
    const next = Automerge.change(Automerge.clone(doc), (draft) => {
      delete draft.a;
      draft.b = 3;
    });
    const documents = [{ id: "d", changes: changes(next, doc), fields: { b: 3 }, removed: ["a"] }];
    await t.mutation(api.notes.pushChanges, { documents });
    const [row] = await rows(t);
    expect(row).toMatchObject({ id: "d", b: 3, c: "x", version: 2 });
    expect(row).not.toHaveProperty("a");
    expect(await t.mutation(internal.notes.checkRows, { ids: ["d"] })).toBe(0);
  });

  test("a field that one push removes and sets is set", async () => {
    const t = backend();
    const doc = document({ a: 1 });
    await push(t, "d", doc, undefined, { a: 1 });
    const next = edit(Automerge.clone(doc), { a: 2 });
    const documents = [{ id: "d", changes: changes(next, doc), fields: { a: 2 }, removed: ["a"] }];
    await t.mutation(api.notes.pushChanges, { documents });
    expect(await rows(t)).toMatchObject([{ a: 2 }]);
    expect(await t.mutation(internal.notes.checkRows, { ids: ["d"] })).toBe(0);
  });

  test("a row lacks the fields of the merged document that the schema refuses, and the others are corrected", async () => {
    const t = backend();
    const documents = [
      { id: "misfit", changes: changes(document({ title: 5 })), fields: { title: "five" } },
      { id: "liar", changes: changes(document({ title: "milk" })), fields: { title: "lies" } },
    ];
    await t.mutation(api.strict.pushChanges, { documents });
    expect(await t.mutation(internal.strict.checkRows, { ids: ["misfit", "liar"] })).toBe(2);
    const found = await t.run(async (ctx) => await ctx.db.query("strict").collect());
    expect(found).toMatchObject([{ notInRow: ["title"] }, { title: "milk" }]);
    expect(found[0]).not.toHaveProperty("title");
    expect((await known(t, "misfit", "strict"))?.checkDue).toBeUndefined();
    expect(await t.mutation(internal.strict.checkRows, { ids: ["misfit", "liar"] })).toBe(0);
  });

  test("a failed check is scheduled again by a later push, and the row is corrected", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    await push(t, "a", doc, undefined, { title: "lies" });
    const due = (await known(t, "a"))?.checkDue;
    expect(due).toBeGreaterThan(Date.now());
    // The next push does not schedule a check that is still to run.
    const second = edit(Automerge.clone(doc), { n: 1 });
    await push(t, "a", second, doc, { n: 1 });
    expect((await known(t, "a"))?.checkDue).toBe(due);

    await inside(t, async (db) => {
      const { _id } = (await db.query("documents").first())!;
      await db.patch(_id, { checkDue: Date.now() - SCHEDULED_LATE - 1 });
    });
    const third = edit(Automerge.clone(second), { n: 2 });
    await push(t, "a", third, second, { n: 2 });
    expect((await known(t, "a"))?.checkDue).toBeGreaterThan(Date.now());
    expect(await t.mutation(internal.notes.checkRows, { ids: ["a"] })).toBe(1);
    expect(await rows(t)).toMatchObject([{ title: "milk", n: 2 }]);
    expect((await known(t, "a"))?.checkDue).toBeUndefined();
  });
});

describe("compaction", () => {
  test("no reader misses a change, and a reader that is up to date is sent nothing", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    await push(t, "a", doc);
    const middle = (await pull(t, START)).checkpoint;
    await push(t, "other", document({ x: 1 }));
    for (let n = 1; n < 10; n++) {
      const next = edit(Automerge.clone(doc), { n });
      await push(t, "a", next, doc);
      doc = next;
    }
    const upToDate = (await pull(t, START)).checkpoint;
    await tick();
    expect(await compact(t, "a")).toEqual({ compacted: 10, hasMore: false });

    expect((await pull(t, upToDate)).deltas).toEqual([]);
    const page = await pull(t, START);
    expect(page.deltas.map((delta) => delta.id)).toEqual(["other", "a"]);
    expect(page.checkpoint).toEqual(upToDate);
    expect(Automerge.load(new Uint8Array(page.deltas[1]!.bytes))).toEqual(doc);
    expect((await pull(t, middle)).deltas.map((delta) => delta.id)).toEqual(["other", "a"]);

    // The log still knows every change: a repeat is not stored again, and edits go on.
    await push(t, "a", doc);
    expect((await pull(t, upToDate)).deltas).toEqual([]);
    const next = edit(Automerge.clone(doc), { n: 99 });
    await push(t, "a", next, doc);
    expect((await pull(t, upToDate)).deltas).toHaveLength(1);
    const { changes: whole } = await t.query(api.notes.pullChanges, {
      collectionName: "",
      checkpoint: { lastModified: 0 },
    });
    const found = whole.find((change) => change.documentId === "a");
    expect(Automerge.load(new Uint8Array(found!.crdtBytes))).toEqual({ n: 99 });
    expect(found!.version).toBe(11);
  });

  test("readers of the document's scope get the snapshot, and readers of other scopes do not", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    const send = async (id: string, scope: string, pushed: ReturnType<typeof changes>) =>
      await t.mutation(api.notes.pushChanges, { documents: [{ id, changes: pushed }], scope });
    await send("a", "red", changes(doc));
    await send("b", "blue", changes(document({ n: 0 })));
    for (let n = 1; n < 4; n++) {
      const next = edit(Automerge.clone(doc), { n });
      await send("a", "red", changes(next, doc));
      doc = next;
    }
    const read = async (scope: string) => await t.query(api.notes.pullDeltas, { checkpoint: START, scope });
    const before = await read("red");
    expect(before.deltas).toHaveLength(4);
    await tick();
    expect(await compact(t, "a")).toMatchObject({ compacted: 4 });
    const after = await read("red");
    expect(after.deltas).toHaveLength(1);
    expect(after.checkpoint).toEqual(before.checkpoint);
    expect(Automerge.load(new Uint8Array(after.deltas[0]!.bytes))).toEqual(doc);
    expect((await read("blue")).deltas.map((delta) => delta.id)).toEqual(["b"]);
  });

  test("a long log schedules its compaction, and a push the check of its row", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    await t.mutation(api.tasks.pushChanges, {
      documents: [{ id: "a", changes: changes(doc), fields: { n: "lies" } }],
    });
    for (let n = 1; n < 8; n++) {
      await tick();
      const next = edit(Automerge.clone(doc), { n });
      await t.mutation(api.tasks.pushChanges, { documents: [{ id: "a", changes: changes(next, doc) }] });
      doc = next;
    }
    const settled = async () => {
      await t.finishInProgressScheduledFunctions();
      const { deltas } = await t.query(api.tasks.pullDeltas, { checkpoint: START });
      return deltas.length < 8;
    };
    for (const deadline = Date.now() + 30_000; !(await settled()); await tick()) {
      expect(Date.now()).toBeLessThan(deadline);
    }
    expect(await t.run(async (ctx) => (await ctx.db.query("tasks").collect()) as Fields[])).toMatchObject([
      { n: 7 },
    ]);
  });

  test("a failed compaction is scheduled again by a later push", async () => {
    const t = backend();
    let doc = document({ title: "" });
    for (let n = 1; n < COMPACT_FROM_ROWS; n++) doc = edit(doc, { title: `${n}` });
    const documents = (some: ReturnType<typeof changes>) => [{ id: "a", changes: some }];
    await t.mutation(api.strict.pushChanges, { documents: documents(changes(doc)) });
    const due = (await known(t, "a", "strict"))?.compactDue;
    expect(due).toBeGreaterThan(Date.now());
    await inside(t, async (db) => {
      const { _id } = (await db.query("documents").first())!;
      await db.patch(_id, { compactDue: Date.now() - SCHEDULED_LATE - 1 });
    });
    const next = edit(Automerge.clone(doc), { title: "last" });
    await t.mutation(api.strict.pushChanges, { documents: documents(changes(next, doc)) });
    expect((await known(t, "a", "strict"))?.compactDue).toBeGreaterThanOrEqual(due!);
  });

  test("a snapshot in parts takes the positions before its last row", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    await push(t, "a", doc);
    for (let n = 1; n < 5; n++) {
      const next = edit(Automerge.clone(doc), { [`blob${n}`]: noise(n) });
      await push(t, "a", next, doc, { n });
      doc = next;
    }
    expect((await pull(t, START)).hasMore).toBe(true);
    await tick();
    expect(await compact(t, "a")).toMatchObject({ compacted: 5 });
    const pieces: Uint8Array[] = [];
    let checkpoint = START;
    for (let hasMore = true; hasMore;) {
      const page = await t.query(api.notes.pullDeltas, { checkpoint, limit: 1 });
      for (const delta of page.deltas) {
        expect(delta.part?.index).toBe(pieces.length);
        pieces.push(new Uint8Array(delta.bytes));
      }
      ({ checkpoint, hasMore } = page);
    }
    expect(pieces.length).toBeGreaterThan(1);
    expect(Automerge.load(Buffer.concat(pieces))).toEqual(doc);
  });
});

test("a renewed epoch is in every answer", async () => {
  const t = backend();
  await push(t, "a", document({ n: 1 }));
  const { epoch } = await pull(t, START);
  const renewed = await t.run(async (ctx) => await ctx.runMutation(components.replicate.log.renewEpoch, {}));
  expect(renewed).not.toBe(epoch);
  expect((await pull(t, START)).epoch).toBe(renewed);
});

/** Bytes that do not compress, always the same. */
function noise(seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: 150_000 }, () => (state = (state * 48271) % 0x7fffffff) >> 8);
}

/** Pruning drops documents deleted long ago: no reader keeps half of one, and each call stays within a transaction. */
import * as Automerge from "@automerge/automerge";
import { describe, expect, test, vi } from "vitest";
import { CHUNK_BYTES, LOG_ROWS, ORDINAL_STEP } from "../src/component/limits";
import { api, components, internal } from "./app/_generated/api";
import { appendAlone } from "./alone";
import { type Backend, backend, inside } from "./backend";
import { changes, document, edit, type Fields, save } from "./documents";

type Position = { ts: bigint; ordinal: number };
type Doc = Automerge.Doc<Fields>;
const START: Position = { ts: 0n, ordinal: 0 };

async function push(t: Backend, id: string, doc: Doc, before?: Doc, fields?: Fields) {
  const documents = [{ id, changes: changes(doc, before), ...(fields === undefined ? {} : { fields }) }];
  const { results } = await t.mutation(api.notes.pushChanges, { documents });
  expect(results).toEqual([{ id, status: "accepted" }]);
}

/** Appends to the log alone, so that nothing compacts it. */
async function append(t: Backend, id: string, doc: Doc, before?: Doc, deleted = false) {
  await appendAlone(t, [{ id, changes: changes(doc, before), deleted }]);
}

async function pull(t: Backend, checkpoint: Position) {
  return await t.query(api.notes.pullDeltas, { checkpoint });
}

async function rows(t: Backend): Promise<Fields[]> {
  return await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
}

/** One call of the component's function, which schedules no other. */
async function prune(t: Backend, before = Date.now()) {
  const args = { collection: "notes", before };
  return await t.run(async (ctx) => await ctx.runMutation(components.replicate.pruning.prune, args));
}

/** How many rows the component's tables have. */
async function stored(t: Backend) {
  return await inside(t, async (db) => ({
    chunks: (await db.query("chunks").collect()).length,
    changes: (await db.query("changes").collect()).length,
    parts: (await db.query("parts").collect()).length,
    incomplete: (await db.query("incomplete").collect()).length,
  }));
}

/** Time passes: what was written before counts as older than now. */
async function tick() {
  const now = Date.now();
  while (Date.now() <= now + 1) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A client that reads deltas page by page, and starts over if the backend tells it to. */
class Reader {
  startedOver = 0;
  private at: { checkpoint: Position; pruned?: bigint } = { checkpoint: START };
  private documents = new Map<string, Doc>();

  constructor(
    private readonly t: Backend,
    private readonly limit: number,
  ) {}

  /** Returns whether there is more. */
  async read(): Promise<boolean> {
    try {
      const page = await this.t.query(api.notes.pullDeltas, { ...this.at, limit: this.limit });
      for (const { id, bytes } of page.deltas) {
        const doc = this.documents.get(id) ?? Automerge.init<Fields>();
        this.documents.set(id, Automerge.loadIncremental(doc, new Uint8Array(bytes)));
      }
      const { checkpoint, pruned, hasMore } = page;
      this.at = pruned === undefined ? { checkpoint } : { checkpoint, pruned };
      return hasMore;
    } catch (error) {
      expect(error).toMatchObject({ data: { code: "checkpointUnknown" } });
      this.startedOver += 1;
      this.at = { checkpoint: START };
      this.documents.clear();
      return true;
    }
  }

  shows(id: string, field: string): unknown {
    return this.documents.get(id)?.[field];
  }
}

/** Bytes that do not compress, in pieces of 100 KiB. */
function noises(count: number): Uint8Array[] {
  let state = 1;
  const next = () => (state = (state * 48271) % 0x7fffffff) >> 8;
  return Array.from({ length: count }, () => Uint8Array.from({ length: 100 * 1_024 }, next));
}

/** A user of the collection `homes`. */
type Someone = { user: string; t: ReturnType<Backend["withIdentity"]> };

describe("pruning", () => {
  test("a tombstone older than the retention is gone, and an old client starts over", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    await push(t, "a", doc);
    const old = (await pull(t, START)).checkpoint;
    await push(t, "b", document({ title: "bread" }));
    await t.mutation(api.notes.deleteDocument, { collectionName: "notes", documentId: "a" });
    const current = (await pull(t, START)).checkpoint;
    await tick();
    expect(await t.mutation(internal.notes.prune, {})).toEqual({ pruned: ["a"], hasMore: false });

    expect((await rows(t)).map((row) => row.id)).toEqual(["b"]);
    expect((await pull(t, START)).deltas.map((delta) => delta.id)).toEqual(["b"]);
    expect((await pull(t, current)).deltas).toEqual([]);
    await expect(pull(t, old)).rejects.toMatchObject({ data: { code: "checkpointUnknown" } });
    expect(await t.query(api.notes.changeStream, {})).toMatchObject({ count: 1 });

    const back = await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(doc) }] });
    expect(back.results).toMatchObject([{ id: "a", status: "refused", code: "pruned" }]);
    const args = {
      collectionName: "notes",
      documentId: "a",
      crdtBytes: save(doc),
      materializedDoc: {},
      version: 1,
    };
    await expect(t.mutation(api.notes.insertDocument, args)).rejects.toMatchObject({
      data: { code: "pruned" },
    });
    expect(await t.mutation(internal.notes.prune, {})).toEqual({ pruned: [], hasMore: false });
  });

  test("a reader that begins after the pruning gets all pages, and a reader that was away in the middle starts over", async () => {
    const t = backend();
    for (const id of ["a", "b", "c", "gone"]) await push(t, id, document({ title: id }));
    await t.mutation(api.notes.deleteDocument, { collectionName: "notes", documentId: "gone" });
    await push(t, "d", document({ title: "d" }));
    const before = await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 1 });
    expect(before).not.toHaveProperty("pruned");
    await tick();
    expect(await t.mutation(internal.notes.prune, {})).toMatchObject({ pruned: ["gone"] });

    const ids = [];
    let page = await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 1 });
    ids.push(...page.deltas.map((delta) => delta.id));
    const first = page;
    while (page.hasMore) {
      const { checkpoint, pruned } = page;
      page = await t.query(api.notes.pullDeltas, { checkpoint, pruned, limit: 1 });
      ids.push(...page.deltas.map((delta) => delta.id));
    }
    expect(ids).toEqual(["a", "b", "c", "d"]);

    const { checkpoint, pruned } = first;
    const refused = { data: { code: "checkpointUnknown" } };
    await expect(t.query(api.notes.pullDeltas, { checkpoint })).rejects.toMatchObject(refused);
    const other = { checkpoint, pruned: (pruned ?? 0n) - 1n };
    await expect(t.query(api.notes.pullDeltas, other)).rejects.toMatchObject(refused);
  });

  test("a caller outside its scope does not learn of a pruned document", async () => {
    const t = backend();
    const [ada, eve] = ["ada", "eve"].map((subject) => ({
      user: `replicate|${subject}`,
      t: t.withIdentity({ issuer: "replicate", subject, tokenIdentifier: `replicate|${subject}` }),
    })) as [Someone, Someone];
    const doc = document({ title: "milk" });
    const push = async ({ user, t }: Someone) =>
      (
        await t.mutation(api.homes.pushChanges, {
          documents: [{ id: "a", changes: changes(doc) }],
          scope: user,
        })
      ).results;
    expect(await push(ada)).toEqual([{ id: "a", status: "accepted" }]);
    const deleted = edit(doc, { deleted: true });
    const documents = [{ id: "a", changes: changes(deleted, doc) }];
    await ada.t.mutation(api.homes.pushChanges, { documents, scope: ada.user });
    await tick();
    const before = Date.now();
    const pruned = await t.run(
      async (ctx) =>
        await ctx.runMutation(components.replicate.pruning.prune, { collection: "homes", before }),
    );
    expect(pruned).toMatchObject({ pruned: ["a"] });

    // `tests/backend/prune.rs` expects the same of the embedded backend.
    expect(await push(ada)).toMatchObject([{ id: "a", status: "refused", code: "pruned" }]);
    expect(await push(eve)).toMatchObject([{ id: "a", status: "refused", code: "notAuthorized" }]);
    for (const { t } of [ada, eve]) {
      const args = { collectionName: "homes", documentId: "a" };
      await expect(t.mutation(api.homes.deleteDocument, args)).rejects.toMatchObject({
        data: { code: t === ada.t ? "unknownDocument" : "notAuthorized" },
      });
    }
  });

  test("a reader that has a part of the pruned commit starts over, and a reader that has all of it does not", async () => {
    const t = backend();
    await push(t, "gone", document({ n: 1 }));
    const { ts } = (await pull(t, START)).checkpoint;
    const base = document({ n: 1 });
    const documents = [
      { id: "stays", changes: changes(base) },
      { id: "gone", changes: changes(document({ deleted: true })) },
    ];
    await t.mutation(api.notes.pushChanges, { documents });
    const after = { ts, ordinal: ORDINAL_STEP };
    const half = await t.query(api.notes.pullDeltas, { checkpoint: after, limit: 1 });
    expect([half.deltas[0]!.id, half.hasMore]).toEqual(["stays", true]);
    const all = (await pull(t, half.checkpoint)).checkpoint;
    expect(all.ts).toBe(half.checkpoint.ts);
    await tick();
    expect(await prune(t)).toEqual({ pruned: ["gone"], alive: [], hasMore: false });

    await expect(pull(t, half.checkpoint)).rejects.toMatchObject({ data: { code: "checkpointUnknown" } });
    expect((await pull(t, all)).deltas).toEqual([]);
    expect((await pull(t, START)).deltas.map(({ id }) => id)).toEqual(["stays"]);
  });

  test("a reader between two pages starts over when more of one commit is pruned", async () => {
    const t = backend();
    const ids = Array.from({ length: 12 }, (_, i) => `d${i}`);
    const docs = ids.map((id) => ({ id, doc: document({ id }) }));
    await t.mutation(api.notes.pushChanges, {
      documents: docs.map(({ id, doc }) => ({ id, changes: changes(doc) })),
    });
    const deleted = docs.map(({ id, doc }) => ({
      id,
      changes: changes(edit(Automerge.clone(doc), { deleted: true }), doc),
    }));
    await t.mutation(api.notes.pushChanges, { documents: deleted });
    await tick();
    const first = await prune(t);
    expect(first.hasMore).toBe(true);
    const left = ids.filter((id) => !first.pruned.includes(id));
    const page = await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 1 });
    expect(left).toContain(page.deltas[0]!.id);
    while ((await prune(t)).hasMore);

    const { checkpoint, pruned } = page;
    await expect(t.query(api.notes.pullDeltas, { checkpoint, pruned })).rejects.toMatchObject({
      data: { code: "checkpointUnknown" },
    });
    expect((await pull(t, START)).deltas).toEqual([]);
  });

  test("the longest log is dropped in portions, and no reader keeps the document as not deleted", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    while (Automerge.getHistory(doc).length < LOG_ROWS - 1) {
      const before = doc;
      for (let n = 0; n < 2_000 - (before.n === 0 ? 2 : 0); n++) doc = edit(doc, { n: n + 1 });
      await append(t, "a", doc, before.n === 0 ? undefined : before);
    }
    const last = edit(Automerge.clone(doc), { deleted: true });
    await append(t, "a", last, doc, true);
    await push(t, "b", document({ n: 1 }));
    await tick();

    const slow = new Reader(t, 1);
    await slow.read();
    let calls = 0;
    for (let hasMore = true; hasMore; calls++) {
      ({ hasMore } = await prune(t));
      const fresh = new Reader(t, 4_000);
      while (await fresh.read());
      expect([undefined, true]).toContain(fresh.shows("a", "deleted"));
      expect(fresh.shows("b", "n")).toBe(1);
      const pushed = await t.mutation(api.notes.pushChanges, {
        documents: [{ id: "a", changes: changes(doc).slice(-1) }],
      });
      expect(["accepted", "refused"]).toContain(pushed.results[0]!.status);
      await slow.read();
    }
    while (await slow.read());
    expect(calls).toBeGreaterThan(4);
    expect(slow.startedOver).toBe(1);
    expect(slow.shows("a", "deleted")).toBeUndefined();
    expect(await stored(t)).toEqual({ chunks: 1, changes: 1, parts: 0, incomplete: 0 });
  }, 240_000);

  test("a document that only its writer calls deleted is kept, and its row is corrected", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    await push(t, "lie", doc, undefined, { title: "milk", deleted: true });
    await push(t, "true", document({ deleted: true }), undefined, { deleted: true });
    await tick();
    const pruned: string[] = [];
    for (let hasMore = true; hasMore;) {
      const done = await t.mutation(internal.notes.prune, {});
      pruned.push(...done.pruned);
      ({ hasMore } = done);
    }
    expect(pruned).toEqual(["true"]);
    await vi.waitFor(
      async () => {
        await t.finishInProgressScheduledFunctions();
        const [row, ...others] = await rows(t);
        expect([row?.id, row?.title, row?.deleted, others]).toEqual(["lie", "milk", undefined, []]);
      },
      { timeout: 30_000 },
    );
    expect((await pull(t, START)).deltas.map(({ id }) => id)).toEqual(["lie"]);
  });

  test("large rows with small logs are dropped in as many calls as their reads need", async () => {
    const t = backend();
    const doc = document({ deleted: true });
    for (let i = 0; i < 12; i++) {
      const fields = { deleted: true, blob: new ArrayBuffer(1_040_000) };
      await push(t, `d${i}`, doc, undefined, fields);
    }
    await tick();
    const pruned: string[] = [];
    for (let hasMore = true; hasMore;) {
      const done = await t.mutation(internal.notes.prune, {});
      expect(done.pruned.length).toBeLessThan(8);
      pruned.push(...done.pruned);
      ({ hasMore } = done);
    }
    expect(pruned).toHaveLength(12);
    expect(await rows(t)).toEqual([]);
  }, 60_000);

  test("waiting parts are left to the next call if the logs were much to read", async () => {
    const t = backend();
    const half = (id: string, change: number) => ({
      id,
      changes: [
        {
          bytes: new ArrayBuffer(CHUNK_BYTES),
          part: { hash: new Uint8Array(32).fill(change).buffer, index: 0, count: 2 },
        },
      ],
    });
    for (let i = 0; i < 30; i++) await t.mutation(api.notes.pushChanges, { documents: [half("waits", i)] });
    let doc = document({ deleted: true });
    for (const blob of noises(6)) doc = edit(doc, { blob });
    await append(t, "gone", doc, undefined, true);
    await tick();
    const done = await prune(t);
    expect(done).toEqual({ pruned: ["gone"], alive: [], hasMore: true });
    expect(await stored(t)).toMatchObject({ parts: 30, incomplete: 30 });
    while ((await prune(t)).hasMore);
    expect(await stored(t)).toEqual({ chunks: 0, changes: 0, parts: 0, incomplete: 0 });
  });

  test("a part that comes again waits as long as a new one", async () => {
    const t = backend();
    const part = (index: number) => ({
      bytes: new ArrayBuffer(1_000),
      part: { hash: new ArrayBuffer(32), index, count: 3 },
    });
    const send = async (index: number) =>
      await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: [part(index)] }] });
    await send(0);
    await send(1);
    await tick();
    const before = Date.now();
    await tick();
    await send(0);
    expect(await prune(t, before)).toEqual({ pruned: [], alive: [], hasMore: false });
    expect(await stored(t)).toMatchObject({ parts: 2, incomplete: 1 });
    await tick();
    expect(await prune(t)).toEqual({ pruned: [], alive: [], hasMore: false });
    expect(await stored(t)).toMatchObject({ parts: 0, incomplete: 0 });
  });
});

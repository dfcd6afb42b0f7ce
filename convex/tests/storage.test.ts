import * as Automerge from "@automerge/automerge";
import { v } from "convex/values";
import { describe, expect, test, vi } from "vitest";
import { pruneHelper, replicatedTable, ReplicateStorage } from "../src/client/index";
import { loadCollection } from "../src/client/load";
import { COMPACT_FROM_ROWS, COMPACT_ROWS } from "../src/component/limits";
import { api, components } from "./app/_generated/api";
import { type Backend, backend, compact, known } from "./backend";
import { changes, document, edit, type Fields, save } from "./documents";

const START = { ts: 0n, ordinal: 0 };

async function rowOf(t: Backend, id: string): Promise<Fields | undefined> {
  const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
  return rows.find((row) => row.id === id);
}

describe("a collection without a table", () => {
  const storage = new ReplicateStorage<{ title: string }>(components.replicate, "drafts");

  test("accepts whole documents and changes, and returns both", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    const edited = edit(Automerge.clone(doc), { title: "oat milk" });
    await t.run(async (ctx) => {
      expect(await storage.insertDocument(ctx, "a", save(doc))).toEqual({ success: true });
    });
    await t.run(async (ctx) => {
      const pushed = await storage.pushChanges(ctx, [
        { id: "b", changes: changes(document({ title: "b" })) },
      ]);
      expect(pushed.results).toEqual([{ id: "b", status: "accepted" }]);
      expect(await storage.updateDocument(ctx, "a", save(edited))).toEqual({ success: true });
    });
    await t.run(async (ctx) => {
      expect(await storage.getDocument(ctx, "a")).toEqual({ title: "oat milk" });
      expect(await storage.getDocument(ctx, "unknown")).toBeNull();
      const { deltas, hasMore } = await storage.pullDeltas(ctx, { checkpoint: START });
      expect([deltas.length, hasMore]).toEqual([3, false]);
      const page = await storage.pullChanges(ctx, { lastModified: 0 });
      const texts = page.changes.map(({ documentId, crdtBytes }) => [
        documentId,
        Automerge.load<Fields>(new Uint8Array(crdtBytes)).title,
      ]);
      expect(new Map(texts as [string, string][])).toEqual(
        new Map([
          ["a", "oat milk"],
          ["b", "b"],
        ]),
      );
      expect((await storage.changeStream(ctx)).count).toBe(2);
    });
  });

  test("deletes with a tombstone, and fails for an unknown document", async () => {
    const t = backend();
    await t.run(async (ctx) => await storage.insertDocument(ctx, "a", save(document({ title: "milk" }))));
    await t.run(async (ctx) => {
      expect(await storage.deleteDocument(ctx, "a")).toEqual({ success: true });
      await expect(storage.deleteDocument(ctx, "b")).rejects.toMatchObject({
        data: { code: "unknownDocument" },
      });
    });
    await t.run(async (ctx) => {
      expect(await storage.getDocument(ctx, "a")).toEqual({ title: "milk", deleted: true });
    });
  });
});

describe("the upkeep of a collection without a table, or with a module made by hand", () => {
  const storage = new ReplicateStorage<{ title: string }>(components.replicate, "drafts");
  const push = async (t: Backend, id: string, doc: Automerge.Doc<Fields>, before?: Automerge.Doc<Fields>) => {
    const documents = [{ id, changes: changes(doc, before) }];
    const { results } = await t.run(async (ctx) => await storage.pushChanges(ctx, documents));
    expect(results).toEqual([{ id, status: "accepted" }]);
  };
  const tick = async () => {
    const now = Date.now();
    while (Date.now() <= now + 1) await new Promise((resolve) => setTimeout(resolve, 1));
  };

  test("a pushed deletion is pruned, and a deletion that was taken back is not", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    const deleted = edit(Automerge.clone(doc), { deleted: true });
    const restored = edit(Automerge.clone(deleted), { deleted: false });
    for (const id of ["gone", "back", "taken back"]) await push(t, id, doc);
    for (const id of ["gone", "back"]) await push(t, id, deleted, doc);
    await t.run(async (ctx) => await storage.deleteDocument(ctx, "taken back"));
    await push(t, "back", restored, deleted);
    const bytes = await t.run(async (ctx) => (await storage.pullChanges(ctx, { lastModified: 0 })).changes);
    const theirs = bytes.find(({ documentId }) => documentId === "taken back")!.crdtBytes;
    const tombstone = Automerge.load<Fields>(new Uint8Array(theirs));
    await push(t, "taken back", edit(Automerge.clone(tombstone), { deleted: false }), tombstone);
    await tick();
    expect(await t.run(async (ctx) => await storage.prune(ctx, 0))).toEqual({
      pruned: ["gone"],
      hasMore: false,
    });
    expect(await t.run(async (ctx) => await storage.prune(ctx))).toEqual({ pruned: [], hasMore: false });
    await t.run(async (ctx) => {
      expect(await storage.getDocument(ctx, "back")).toMatchObject({ title: "milk" });
      expect(await storage.getDocument(ctx, "taken back")).toMatchObject({ title: "milk" });
    });
  });

  test("a document's value has what Convex can store of it", async () => {
    const t = backend();
    await push(t, "a", document({ title: "milk" }));
    const documents = [{ id: "a", changes: changes(document({ ["$title"]: 1, n: 2 })) }];
    const { results } = await t.run(async (ctx) => await storage.pushChanges(ctx, documents));
    expect(results).toEqual([{ id: "a", status: "accepted" }]);
    expect(await t.run(async (ctx) => await storage.getDocument(ctx, "a"))).toEqual({ title: "milk", n: 2 });
  });

  test("its log is compacted when it has grown, without a call of the app", async () => {
    const t = backend();
    let doc = document({ text: "" });
    for (let n = 1; n < COMPACT_FROM_ROWS; n++) doc = edit(doc, { text: `${n}` });
    await push(t, "a", doc);
    const now = Date.now();
    expect((await known(t, "a", "drafts"))?.compactDue).toBeGreaterThan(now);

    const args = { documentId: "b", collectionName: "", materializedDoc: {}, version: 1 };
    await t.mutation(api.legacy.insertDocument, { ...args, crdtBytes: save(doc) });
    expect((await known(t, "b", "legacy"))?.compactDue).toBeGreaterThan(now);
    for (let n = 0; n < COMPACT_ROWS; n++) doc = edit(doc, { text: `again ${n}` });
    await t.mutation(api.legacy.updateDocument, { ...args, crdtBytes: save(doc) });
    await vi.waitFor(
      async () => expect((await known(t, "b", "legacy"))?.rows).toBeLessThan(COMPACT_FROM_ROWS),
      { timeout: 60_000 },
    );
    const { changes: whole } = await t.query(api.legacy.pullChanges, {
      collectionName: "",
      checkpoint: { lastModified: 0 },
    });
    expect(Automerge.load(new Uint8Array(whole[0]!.crdtBytes))).toEqual(doc);
  }, 120_000);

  test("documents that a module made by hand deletes are pruned from log and table", async () => {
    const t = backend();
    const args = { documentId: "a", collectionName: "", materializedDoc: {}, version: 1 };
    await t.mutation(api.legacy.insertDocument, { ...args, crdtBytes: save(document({ text: "milk" })) });
    await t.mutation(api.legacy.deleteDocument, { documentId: "a", collectionName: "" });
    await tick();
    const prune = async () =>
      await t.run(async (ctx) => await pruneHelper(ctx, components, "legacy", { retention: 0 }));
    expect(await prune()).toEqual({ pruned: ["a"], hasMore: false });
    expect(await t.run(async (ctx) => await ctx.db.query("legacy").collect())).toEqual([]);
    expect(await prune()).toEqual({ pruned: [], hasMore: false });
  });
});

describe("rules", () => {
  const whole = (id: string) => ({
    collectionName: "any",
    documentId: id,
    crdtBytes: save(document({ n: 1 })),
    materializedDoc: {},
    version: 1,
  });
  const everything = { collectionName: "any", checkpoint: { lastModified: 0 } };

  test("hold for the functions of the original library: nobody gets in without signing in", async () => {
    const t = backend();
    const refused = { data: { code: "unauthenticated" } };
    await expect(t.mutation(api.members.insertDocument, whole("a"))).rejects.toMatchObject(refused);
    await expect(t.mutation(api.members.updateDocument, whole("a"))).rejects.toMatchObject(refused);
    await expect(t.query(api.members.pullChanges, everything)).rejects.toMatchObject(refused);
    await expect(t.query(api.members.changeStream, {})).rejects.toMatchObject(refused);
    const ada = t.withIdentity({ subject: "ada" });
    await ada.mutation(api.members.insertDocument, whole("a"));
    expect((await ada.query(api.members.pullChanges, everything)).changes).toHaveLength(1);
  });

  test("hold for the functions of the original library: a document's scope is its own", async () => {
    const t = backend();
    const [ada, bob] = [t.withIdentity({ subject: "ada" }), t.withIdentity({ subject: "bob" })];
    const refused = { data: { code: "notAuthorized" } };
    await expect(ada.mutation(api.rooms.insertDocument, whole("new"))).rejects.toMatchObject(refused);
    await expect(ada.query(api.rooms.pullChanges, everything)).rejects.toMatchObject(refused);
    await expect(ada.query(api.rooms.changeStream, {})).rejects.toMatchObject(refused);
    const documents = [{ id: "adas", changes: changes(document({ n: 1 })) }];
    await ada.mutation(api.rooms.pushChanges, { documents, scope: "ada" });
    await expect(bob.mutation(api.rooms.updateDocument, whole("adas"))).rejects.toMatchObject(refused);
    expect(await ada.mutation(api.rooms.updateDocument, whole("adas"))).toEqual({ success: true });
  });
});

test("an app's fields may not have the names of the table's own columns", () => {
  for (const name of ["id", "version", "timestamp", "deleted"]) {
    expect(() => replicatedTable({ [name]: v.string() })).toThrow(name);
  }
});

test("a string in a row is plain, whichever kind of string the document has", async () => {
  const t = backend();
  const doc = document({ name: new Automerge.ImmutableString("scalar"), text: "text" });
  await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(doc) }] });
  expect(await rowOf(t, "a")).toMatchObject({ name: "scalar", text: "text" });
});

describe("loadCollection", () => {
  const client = (t: Backend) => ({
    query: async (
      _: unknown,
      args: { collectionName: string; checkpoint: { lastModified: number }; limit?: number },
    ) => await t.query(api.notes.pullChanges, args),
  });
  const insert = async (t: Backend, ...ids: string[]) => {
    const documents = ids.map((id) => ({ id, changes: changes(document({ n: id })) }));
    await t.mutation(api.notes.pushChanges, { documents });
  };

  test("stops at its limit, and a client that goes on from its checkpoint misses nothing", async () => {
    const t = backend();
    await insert(t, "a");
    await insert(t, "b", "c", "d");
    await insert(t, "e");
    for (const limit of [1, 2, 3, 100]) {
      const loaded = await loadCollection<{ id: string }>(client(t), {
        api: api.notes,
        collection: "notes",
        limit,
      });
      const ids = loaded.documents.map(({ id }) => id);
      expect(ids.length).toBeGreaterThanOrEqual(Math.min(limit, 5));
      const { checkpoint } = loaded;
      const rest = await t.query(api.notes.pullChanges, { collectionName: "notes", checkpoint });
      const all = new Set([...ids, ...rest.changes.map(({ documentId }) => documentId)]);
      expect(all).toEqual(new Set(["a", "b", "c", "d", "e"]));
    }
  });

  test("opens documents that were compacted", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(doc) }] });
    for (let n = 1; n <= 5; n += 1) {
      const next = edit(Automerge.clone(doc), { n });
      await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(next, doc) }] });
      doc = next;
    }
    await compact(t, "a");
    expect((await t.query(api.notes.pullDeltas, { checkpoint: START })).deltas.length).toBeLessThan(6);
    const loaded = await loadCollection(client(t), { api: api.notes, collection: "notes" });
    expect(loaded.documents).toEqual([{ id: "a", n: 5 }]);
  });
});

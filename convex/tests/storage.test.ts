import * as Automerge from "@automerge/automerge";
import { v } from "convex/values";
import { describe, expect, test } from "vitest";
import { replicatedTable, ReplicateStorage } from "../client/index";
import { loadCollection } from "../client/load";
import { api, components, internal } from "./app/_generated/api";
import { type Backend, backend } from "./backend";
import { changes, document, edit, type Fields, save } from "./documents";

const START = { ts: 0n, ordinal: 0 };

async function rowOf(t: Backend, id: string): Promise<Fields | undefined> {
  const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
  return rows.find((row) => row.id === id);
}

describe("a collection without a table", () => {
  const storage = new ReplicateStorage<{ title: string }>(components.replicate, "drafts");

  test("takes whole documents and changes, and gives both", async () => {
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

  test("deletes with a tombstone, and says where it knows no such document", async () => {
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

test("a table's own columns are not for the app's fields", () => {
  for (const name of ["id", "version", "timestamp", "deleted"]) {
    expect(() => replicatedTable({ [name]: v.string() })).toThrow(name);
  }
});

test("a string in a row is plain, whatever its kind in the document", async () => {
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

  test("stops at its limit, and whoever goes on from its checkpoint misses nothing", async () => {
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
      const ids = loaded.map(({ id }) => id);
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
    await t.mutation(internal.notes.compact, { id: "a", now: true });
    expect((await t.query(api.notes.pullDeltas, { checkpoint: START })).deltas.length).toBeLessThan(6);
    const loaded = await loadCollection(client(t), { api: api.notes, collection: "notes" });
    expect([...loaded]).toEqual([{ id: "a", n: 5 }]);
  });
});

import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { CHUNK_BYTES, WAITING_BYTES } from "../src/component/limits";
import { api, internal } from "./app/_generated/api";
import { type Backend, backend } from "./backend";
import { buffer, changes, document, edit, type Fields, save } from "./documents";

const START = { ts: 0n, ordinal: 0 };

async function rowOf(
  t: Backend,
  table: "notes" | "strict" | "rooms" | "legacy",
  id: string,
): Promise<Fields | null> {
  return await t.run(async (ctx) => {
    const rows: Fields[] = await ctx.db.query(table).collect();
    return rows.find((row) => row.id === id) ?? null;
  });
}

describe("pushChanges", () => {
  test("a new document enters the log and the table", async () => {
    const t = backend();
    const doc = document({ title: "milk", done: false });
    const pushed = await t.mutation(api.notes.pushChanges, {
      documents: [{ id: "a", changes: changes(doc), fields: { title: "milk", done: false } }],
    });
    expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
    expect(await rowOf(t, "notes", "a")).toMatchObject({ id: "a", title: "milk", done: false, version: 1 });
    const page = await t.query(api.notes.pullDeltas, { checkpoint: START });
    expect(page.deltas).toHaveLength(1);
    expect(page.epoch).toBe(pushed.epoch);
    expect(page.hasMore).toBe(false);
    expect(Automerge.load(new Uint8Array(page.deltas[0]!.bytes))).toEqual({ title: "milk", done: false });
  });

  test("a concurrent edit is merged into the row, not written over it", async () => {
    const t = backend();
    const base = document({ title: "milk", done: false });
    const left = edit(Automerge.clone(base), { title: "oat milk" });
    const right = edit(Automerge.clone(base), { done: true });
    const push = (doc: Automerge.Doc<Fields>, before: Automerge.Doc<Fields> | undefined, fields: Fields) =>
      t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(doc, before), fields }] });
    await push(base, undefined, { title: "milk", done: false });
    await push(left, base, { title: "oat milk" });
    await push(right, base, { done: true });
    expect(await rowOf(t, "notes", "a")).toMatchObject({ title: "oat milk", done: true, version: 3 });
  });

  test("a row keeps the edits between a repeated push and the next one", async () => {
    const t = backend();
    const base = document({ title: "milk", done: false });
    const one = edit(Automerge.clone(base), { title: "oat milk" });
    const two = edit(Automerge.clone(one), { title: "rice milk" });
    const three = edit(Automerge.clone(two), { done: true });
    const push = (pushed: ReturnType<typeof changes>, fields: Fields) =>
      t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: pushed, fields }] });
    await push(changes(base), { title: "milk", done: false });
    await push(changes(one, base), { title: "oat milk" });
    await push(changes(two, one), { title: "rice milk" });
    await push([...changes(one, base), ...changes(three, two)], { title: "oat milk", done: true });
    expect(await rowOf(t, "notes", "a")).toMatchObject({ title: "rice milk", done: true, version: 4 });
  });

  test("a repeat is accepted and not stored again", async () => {
    const t = backend();
    const documents = [{ id: "a", changes: changes(document({ n: 1 })), fields: { n: 1 } }];
    await t.mutation(api.notes.pushChanges, { documents });
    const again = await t.mutation(api.notes.pushChanges, { documents });
    expect(again.results).toEqual([{ id: "a", status: "accepted" }]);
    expect((await t.query(api.notes.pullDeltas, { checkpoint: START })).deltas).toHaveLength(1);
    expect(await t.query(api.notes.changeStream, {})).toMatchObject({ count: 1 });
  });

  test("a rule that throws fails the whole call with its own error, and nothing is written", async () => {
    const t = backend();
    const ada = t.withIdentity({ subject: "ada" });
    const base = document({ n: 1 });
    const shut = document({ n: 0 });
    const before = [
      { id: "open", changes: changes(base), fields: { n: 1 } },
      { id: "closed", changes: changes(shut), fields: { n: 0 } },
    ];
    await ada.mutation(api.rooms.pushChanges, { documents: before, scope: "ada" });
    const state = async () => ({
      row: await rowOf(t, "rooms", "open"),
      log: await ada.query(api.rooms.pullDeltas, { checkpoint: START, scope: "ada" }),
    });
    const was = await state();
    const closed = { data: { code: "closed" } };
    const edited = edit(Automerge.clone(base), { n: 2 });
    const forced = edit(Automerge.clone(shut), { n: 4 });
    const documents = [
      { id: "open", changes: changes(edited, base), fields: { n: 2 } },
      { id: "new", changes: changes(document({ n: 3 })), fields: { n: 3 } },
      { id: "closed", changes: changes(forced, shut), fields: { n: 4 } },
    ];
    await expect(ada.mutation(api.rooms.pushChanges, { documents, scope: "ada" })).rejects.toMatchObject(
      closed,
    );
    const whole = {
      collectionName: "",
      documentId: "closed",
      crdtBytes: save(forced),
      materializedDoc: {},
      version: 1,
    };
    await expect(ada.mutation(api.rooms.insertDocument, whole)).rejects.toMatchObject(closed);
    const gone = { collectionName: "", documentId: "closed" };
    await expect(ada.mutation(api.rooms.deleteDocument, gone)).rejects.toMatchObject(closed);
    expect(await state()).toEqual(was);
    expect(await rowOf(t, "rooms", "new")).toBeNull();
    // The other documents are accepted without the one for which the rule throws.
    const { results } = await ada.mutation(api.rooms.pushChanges, {
      documents: documents.slice(0, 2),
      scope: "ada",
    });
    expect(results.map(({ status }) => status)).toEqual(["accepted", "accepted"]);
  });

  test("a change of nearly 4 MiB stays within what a transaction may read and write", async () => {
    const t = backend();
    const noise = new Uint8Array(15 * CHUNK_BYTES).map((_, i) => (i * 2_654_435_761) >>> 24);
    const doc = Automerge.change(document({ n: 1 }), { time: 0 }, (draft) => {
      draft.noise = noise;
      delete draft.noise;
    });
    const [first, raw] = Automerge.getAllChanges(doc) as [Uint8Array, Uint8Array];
    expect(raw.length).toBeGreaterThan(15 * CHUNK_BYTES);
    const hash = buffer(createHash("sha256").update(raw).digest());
    const count = Math.ceil(raw.length / CHUNK_BYTES);
    const parts = Array.from({ length: count }, (_, index) => ({
      bytes: buffer(raw.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)),
      part: { hash, index, count },
    }));
    await t.mutation(api.notes.pushChanges, {
      documents: [{ id: "a", changes: [{ bytes: buffer(first) }] }],
    });
    for (let at = 0; at < count; at += 4) {
      const documents = [{ id: "a", changes: parts.slice(at, at + 4) }];
      const pushed = await t.mutation(api.notes.pushChanges, { documents });
      expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
    }
    expect(await rowOf(t, "notes", "a")).toMatchObject({ n: 1, version: 2 });
  }, 240_000);

  test("only so many bytes of a document wait for their missing parts", async () => {
    const t = backend();
    const part = (change: number, index: number) => {
      const hash = new Uint8Array(32).fill(change).buffer;
      const documents = [
        { id: "a", changes: [{ bytes: new ArrayBuffer(CHUNK_BYTES), part: { hash, index, count: 2 } }] },
      ];
      return t.mutation(api.notes.pushChanges, { documents });
    };
    const most = WAITING_BYTES / CHUNK_BYTES;
    for (let change = 0; change < most; change++) {
      expect((await part(change, 0)).results).toEqual([{ id: "a", status: "accepted" }]);
    }
    expect((await part(most, 0)).results).toMatchObject([
      { id: "a", status: "refused", code: "tooLarge", limit: WAITING_BYTES },
    ]);
    // Stored parts may come again.
    expect((await part(0, 0)).results).toEqual([{ id: "a", status: "accepted" }]);
    // After the retention they are dropped, and there is room again.
    while ((await t.mutation(internal.notes.prune, {})).hasMore);
    expect((await part(most, 0)).results).toEqual([{ id: "a", status: "accepted" }]);
  });

  test("a thousand changes fit in one push and are repeated within the limits of a transaction", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    for (let n = 1; n < 1000; n++) doc = edit(doc, { n });
    const documents = [{ id: "a", changes: changes(doc), fields: { n: 999 } }];
    for (let round = 0; round < 2; round++) {
      const pushed = await t.mutation(api.notes.pushChanges, { documents });
      expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
    }
    expect(await rowOf(t, "notes", "a")).toMatchObject({ n: 999, version: 1000 });
  });

  test("a large change travels and is logged in parts", async () => {
    const t = backend();
    const doc = document({ text: new Automerge.ImmutableString(noise(600_000)) });
    const [whole] = changes(doc);
    const bytes = new Uint8Array(whole!.bytes);
    const size = 256 * 1024;
    const count = Math.ceil(bytes.length / size);
    expect(count).toBe(3);
    const hash = await crypto.subtle.digest("SHA-256", bytes);
    const parts = [...Array(count).keys()].map((index) => ({
      bytes: bytes.slice(index * size, (index + 1) * size).buffer,
      part: { hash, index, count },
    }));
    const push = (part: (typeof parts)[number]) =>
      t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: [part] }] });
    for (const part of [parts[2]!, parts[0]!, parts[0]!]) {
      expect((await push(part)).results).toEqual([{ id: "a", status: "accepted" }]);
      expect((await t.query(api.notes.pullDeltas, { checkpoint: START })).deltas).toEqual([]);
    }
    await push(parts[1]!);
    await push(parts[1]!);
    let checkpoint = START;
    const pieces: Uint8Array[] = [];
    for (let hasMore = true; hasMore;) {
      const page = await t.query(api.notes.pullDeltas, { checkpoint });
      pieces.push(...page.deltas.map((delta) => new Uint8Array(delta.bytes)));
      ({ checkpoint, hasMore } = page);
    }
    expect(pieces).toHaveLength(3);
    expect(Automerge.load(Buffer.concat(pieces))).toEqual(doc);
  });
});

describe("the original API", () => {
  test("a whole-document client loads what a delta client pushes, and the reverse", async () => {
    const t = backend();
    const doc = document({ title: "milk" });
    await t.mutation(api.notes.pushChanges, { documents: [{ id: "a", changes: changes(doc) }] });
    const pulled = await t.query(api.notes.pullChanges, {
      collectionName: "notes",
      checkpoint: { lastModified: 0 },
    });
    expect(pulled.changes).toHaveLength(1);
    let web = Automerge.load<Fields>(new Uint8Array(pulled.changes[0]!.crdtBytes));
    expect(web).toEqual({ title: "milk" });
    web = edit(web, { done: true });
    const args = {
      collectionName: "notes",
      documentId: "a",
      crdtBytes: save(web),
      materializedDoc: {},
      version: 9,
    };
    expect(await t.mutation(api.notes.updateDocument, args)).toEqual({ success: true });
    expect(await rowOf(t, "notes", "a")).toMatchObject({ title: "milk", done: true, version: 2 });
    await t.mutation(api.notes.deleteDocument, { collectionName: "notes", documentId: "a" });
    expect(await rowOf(t, "notes", "a")).toMatchObject({ deleted: true, version: 3 });
    const page = await t.query(api.notes.pullDeltas, { checkpoint: START });
    expect(page.deltas).toHaveLength(3);
    const merged = Automerge.load<Fields>(
      Buffer.concat(page.deltas.map((delta) => new Uint8Array(delta.bytes))),
    );
    expect(merged).toEqual({ title: "milk", done: true, deleted: true });
  });

  test("the helpers write log and table", async () => {
    const t = backend();
    const doc = document({ text: "milk", isCompleted: false });
    const args = {
      collectionName: "x",
      documentId: "a",
      crdtBytes: save(doc),
      materializedDoc: {},
      version: 1,
    };
    expect(await t.mutation(api.legacy.insertDocument, args)).toEqual({ success: true });
    expect(await rowOf(t, "legacy", "a")).toMatchObject({ text: "milk", version: 1 });
    const pulled = await t.query(api.legacy.pullChanges, {
      collectionName: "x",
      checkpoint: { lastModified: 0 },
    });
    expect(pulled.changes).toMatchObject([{ documentId: "a", version: 1 }]);
    const bad = document({ text: 5, isCompleted: true });
    await t.mutation(api.legacy.updateDocument, { ...args, documentId: "b", crdtBytes: save(bad) });
    expect(await rowOf(t, "legacy", "b")).toMatchObject({ isCompleted: true, notInRow: ["text"] });
    expect(await t.query(api.legacy.changeStream, { collectionName: "x" })).toMatchObject({ count: 2 });
    await t.mutation(api.legacy.deleteDocument, { collectionName: "x", documentId: "a" });
    expect(await rowOf(t, "legacy", "a")).toMatchObject({ deleted: true });
  });
});

/** Text that does not compress, always the same. */
function noise(length: number): string {
  let state = 1;
  const next = () => (state = (state * 48271) % 0x7fffffff) % 94;
  return Array.from({ length }, () => String.fromCharCode(33 + next())).join("");
}

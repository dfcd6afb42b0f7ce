/**
 * The largest calls stay within Convex's limits for a transaction: `convex-test` counts, and fails a call that exceeds
 * them.
 */
import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  CHANGE_BYTES,
  CHUNK_BYTES,
  COMMIT_BYTES,
  DELETION_OPERATIONS,
  DOCUMENT_BYTES,
  DOCUMENT_OPERATIONS,
  LOG_BYTES,
  PUSH_READ_BYTES,
} from "../src/component/limits";
import { insertDocumentHelper } from "../src/client/index";
import { api, components, internal } from "./app/_generated/api";
import { type Backend, backend, compact } from "./backend";
import { buffer, changes, document, edit, type Fields, save } from "./documents";

type Doc = Automerge.Doc<Fields>;
type Chunk = { bytes: ArrayBuffer; part?: { hash: ArrayBuffer; index: number; count: number } };

const START = { ts: 0n, ordinal: 0 };

/** Bytes that do not compress, always the same. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => (state = (state * 48271) % 0x7fffffff) >> 8);
}

function chunksOf(raw: Uint8Array): Chunk[] {
  if (raw.length <= CHUNK_BYTES) return [{ bytes: buffer(raw) }];
  const hash = buffer(createHash("sha256").update(raw).digest());
  const count = Math.ceil(raw.length / CHUNK_BYTES);
  return Array.from({ length: count }, (_, index) => ({
    bytes: buffer(raw.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)),
    part: { hash, index, count },
  }));
}

/** Pushes the changes of `doc` since `before`, in several pushes if need be. Returns the last result. */
async function push(t: Backend, id: string, doc: Doc, before?: Doc, fields?: Fields) {
  const raw = before === undefined ? Automerge.getAllChanges(doc) : Automerge.getChanges(before, doc);
  const chunks = raw.flatMap(chunksOf);
  let last: unknown;
  for (let at = 0; at < chunks.length;) {
    const most = chunks[at]!.bytes.byteLength > CHUNK_BYTES / 2 || chunks.length < 1_000 ? 4 : 1_000;
    const some = chunks.slice(at, at + most);
    at += most;
    const documents = [{ id, changes: some, ...(fields === undefined ? {} : { fields }) }];
    [last] = (await t.mutation(api.notes.pushChanges, { documents })).results;
  }
  return last;
}

async function whole(t: Backend): Promise<Doc> {
  const page = await t.query(api.notes.pullChanges, { collectionName: "", checkpoint: { lastModified: 0 } });
  return Automerge.load<Fields>(new Uint8Array(page.changes[0]!.crdtBytes));
}

/** The documents of each page of the original API, one page after the other. */
async function allWhole(t: Backend): Promise<string[]> {
  const ids: string[] = [];
  let checkpoint = { lastModified: 0 };
  for (let hasMore = true; hasMore;) {
    const page = await t.query(api.notes.pullChanges, { collectionName: "", checkpoint });
    if (page.hasMore) expect(page.checkpoint.lastModified).toBeGreaterThan(checkpoint.lastModified);
    ids.push(...page.changes.map((change) => change.documentId));
    ({ hasMore, checkpoint } = page);
  }
  return ids;
}

/**
 * A document with the largest row and log that the largest change may come to, and that change, which leaves the row as
 * large.
 */
async function largest(t: Backend, id: string): Promise<{ id: string; before: Doc; raw: Uint8Array }> {
  const before = document({ blob: noise(LOG_BYTES - CHANGE_BYTES - 10_000, 1) });
  expect(await push(t, id, before)).toEqual({ id, status: "accepted" });
  const after = Automerge.change(Automerge.clone(before), { time: 0 }, (draft) => {
    draft.passing = new Uint8Array(CHANGE_BYTES - 1_000);
    delete draft.passing;
    draft.n = 1;
  });
  return { id, before, raw: Automerge.getChanges(before, after)[0]! };
}

function one(id: string, changes: Chunk[]) {
  return { documents: [{ id, changes }] };
}

async function rowsOf(t: Backend): Promise<number> {
  let rows = 0;
  let checkpoint = START;
  for (let hasMore = true; hasMore;) {
    const page = await t.query(api.notes.pullDeltas, { checkpoint, limit: 4_000 });
    rows += page.deltas.length;
    ({ hasMore, checkpoint } = page);
  }
  return rows;
}

const accepted = { id: "a", status: "accepted" };

describe("a document", () => {
  test("over the limit is refused, and one with that much history is not; both stay whole", async () => {
    const t = backend();
    // Set again and again to what compresses: much in the log, little in the document. The sent fields are taken until
    // it is long.
    let doc = document({ blob: new Uint8Array(900_000) });
    expect(await push(t, "a", doc, undefined, { blob: new ArrayBuffer(900_000) })).toEqual(accepted);
    const step = async (blob: Uint8Array) => {
      const next = edit(Automerge.clone(doc), { blob });
      const result = await push(t, "a", next, doc, { blob: buffer(blob) });
      return { next, result };
    };
    for (let n = 1; n < 8; n++) {
      const { next, result } = await step(new Uint8Array(900_000).fill(n));
      expect(result).toEqual(accepted);
      doc = next;
    }
    expect(Automerge.getHeads(await whole(t))).toEqual(Automerge.getHeads(doc));

    let refused: unknown;
    for (let seed = 1; seed < 10 && refused === undefined; seed++) {
      const { next, result } = await step(noise(900_000, seed));
      if ((result as { status: string }).status === "accepted") doc = next;
      else refused = result;
    }
    expect(refused).toMatchObject({ status: "refused", code: "tooLarge", limit: DOCUMENT_BYTES });
    expect(Automerge.save(doc).length).toBeGreaterThan(DOCUMENT_BYTES - 1_000_000);
    expect(Automerge.getHeads(await whole(t))).toEqual(Automerge.getHeads(doc));
    // The largest document is checked, compacted and made smaller.
    expect(await t.mutation(internal.notes.checkRows, { ids: ["a"] })).toBe(0);
    await compact(t, "a");
    const small = edit(Automerge.clone(doc), { blob: new Uint8Array(1) });
    expect(await push(t, "a", small, doc)).toEqual(accepted);
    expect(Automerge.getHeads(await whole(t))).toEqual(Automerge.getHeads(small));
  }, 240_000);

  test("whose log grows by thousands is compacted by the pushes that make it grow, and stays within a merge", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    for (let n = 1; n < 5_000; n++) doc = edit(doc, { n });
    expect(await push(t, "a", doc)).toEqual(accepted);
    expect(await rowsOf(t)).toBeLessThan(4_000);
    expect(Automerge.getHeads(await whole(t))).toEqual(Automerge.getHeads(doc));
    const checkpoint = (await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 4_000 })).checkpoint;
    const concurrent = edit(Automerge.clone(doc), { other: 1 });
    expect(await push(t, "a", concurrent, doc)).toEqual(accepted);
    expect((await t.query(api.notes.pullDeltas, { checkpoint })).deltas).toHaveLength(1);
  }, 240_000);
});

describe("within the limits of a transaction", () => {
  test("a push of a thousand changes to a hundred documents, all of them merged", async () => {
    const t = backend();
    const bases = Array.from({ length: 100 }, (_, i) => document({ i }));
    const first = bases.map((doc, i) => ({ id: `d${i}`, changes: changes(doc), fields: { i } }));
    await t.mutation(api.notes.pushChanges, { documents: first });
    const left = bases.map((doc) => edit(Automerge.clone(doc), { left: true }));
    await t.mutation(api.notes.pushChanges, {
      documents: left.map((doc, i) => ({ id: `d${i}`, changes: changes(doc, bases[i]) })),
    });
    const documents = bases.map((base, i) => {
      let doc = Automerge.clone(base);
      for (let n = 0; n < 10; n++) doc = edit(doc, { n });
      return { id: `d${i}`, changes: changes(doc, base), fields: { n: 9 } };
    });
    const pushed = await t.mutation(api.notes.pushChanges, { documents });
    expect(pushed.results).toEqual(documents.map(({ id }) => ({ id, status: "accepted" })));
    const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
    for (const row of rows) expect(row).toMatchObject({ left: true, n: 9, version: 12 });
  }, 240_000);

  test("a push to more large rows than a transaction may replace: the others go in when they are sent again", async () => {
    const t = backend();
    const docs = Array.from({ length: 8 }, (_, i) =>
      document({ blob: noise(200 * 1_024, i + 1), big: "x", i }),
    );
    for (const [i, doc] of docs.entries()) {
      const long = "y".repeat(700_000);
      const fields = { blob: noise(200 * 1_024, i + 1).buffer, big: long, i };
      const pushed = await t.mutation(api.notes.pushChanges, {
        documents: [{ id: `d${i}`, changes: changes(doc), fields }],
      });
      expect(pushed.results).toEqual([{ id: `d${i}`, status: "accepted" }]);
    }
    let left = docs.map((doc, i) => ({
      id: `d${i}`,
      changes: changes(edit(Automerge.clone(doc), { n: 1 }), doc),
      fields: { n: 1 },
    }));
    const pushes = [];
    while (left.length > 0) {
      const { results } = await t.mutation(api.notes.pushChanges, { documents: left });
      const refused = results.filter(({ status }) => status === "refused");
      for (const one of refused) expect(one).toMatchObject({ code: "tooLarge", limit: PUSH_READ_BYTES });
      expect(refused.length).toBeLessThan(left.length);
      pushes.push(left.length);
      left = left.filter(({ id }) => refused.some((one) => one.id === id));
    }
    expect(pushes.length).toBe(2);
    const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
    for (const row of rows) expect(row).toMatchObject({ n: 1, version: 2 });
  }, 240_000);

  test("whose history is too long to be merged in time is refused, and can be deleted", async () => {
    const t = backend();
    const letters = (length: number) => "the quick brown fox ".repeat(length / 20);
    const full = document({ text: letters(DOCUMENT_OPERATIONS - 100) });
    expect(await push(t, "a", full, undefined, { text: "" })).toEqual(accepted);
    const more = Automerge.change(Automerge.clone(full), { time: 0 }, (draft) => {
      Automerge.splice(draft, ["text"], 0, 0, letters(100));
    });
    const tooMany = { code: "tooLarge", limit: DOCUMENT_OPERATIONS };
    const whole = (doc: Doc) => ({
      collectionName: "",
      documentId: "a",
      crdtBytes: save(doc),
      materializedDoc: {},
      version: 1,
    });
    expect(await push(t, "a", more, full, { text: "" })).toMatchObject({ status: "refused", ...tooMany });
    await expect(t.mutation(api.notes.updateDocument, whole(more))).rejects.toMatchObject({ data: tooMany });
    const huge = document({ text: letters(DOCUMENT_OPERATIONS + DELETION_OPERATIONS) });
    expect(await push(t, "b", huge, undefined, { text: "" })).toMatchObject({
      status: "refused",
      ...tooMany,
    });

    // A full document accepts no more fields on the writer's word either.
    const filled = Automerge.change(Automerge.clone(full), { time: 0 }, (draft) => {
      Automerge.splice(draft, ["text"], 0, 0, letters(80));
    });
    expect(await push(t, "a", filled, full, { text: "" })).toEqual(accepted);
    const fields = (count: number): Fields =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`f${n}`, n]));
    const lie = edit(Automerge.clone(filled), fields(400));
    expect(await push(t, "a", lie, filled, { deleted: true })).toMatchObject({
      status: "refused",
      ...tooMany,
    });
    const deleted = edit(Automerge.clone(filled), { deleted: true, ...fields(100) });
    expect(await push(t, "a", deleted, filled)).toEqual(accepted);
    await expect(
      t.mutation(api.notes.updateDocument, whole(edit(Automerge.clone(deleted), { deleted: false }))),
    ).rejects.toMatchObject({
      data: tooMany,
    });
    const found = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
    expect(found).toMatchObject([{ id: "a", deleted: true }]);
  }, 120_000);

  test("the largest change, to a document with the largest log beside it and a large row", async () => {
    const t = backend();
    const { id, before, raw } = await largest(t, "a");
    expect(raw.length).toBeGreaterThan(CHANGE_BYTES - CHUNK_BYTES);
    const parts = chunksOf(raw);
    for (const part of parts.slice(0, -1)) await t.mutation(api.notes.pushChanges, one(id, [part]));
    // Parts that come again are compared with the stored ones.
    const { results } = await t.mutation(api.notes.pushChanges, one(id, parts.slice(-4)));
    expect(results).toEqual([accepted]);
    expect(Automerge.getHeads(await whole(t))).not.toEqual(Automerge.getHeads(before));
    expect(await t.mutation(internal.notes.checkRows, { ids: [id] })).toBe(0);
    await compact(t, id);
    expect(await rowsOf(t)).toBeLessThan(parts.length);
    expect((await whole(t)).n).toBe(1);
  }, 240_000);

  test("two of them that become whole in one push, after others that are merged", async () => {
    const t = backend();
    const merged = document({ blob: noise(700_000, 9), n: 0 });
    for (const id of ["m1", "m2"]) expect(await push(t, id, merged)).toEqual({ id, status: "accepted" });
    const other = edit(Automerge.clone(merged), { other: 1 });
    for (const id of ["m1", "m2"])
      expect(await push(t, id, other, merged)).toEqual({ id, status: "accepted" });
    const last: { id: string; changes: Chunk[] }[] = [];
    for (const id of ["x", "y"]) {
      const { raw } = await largest(t, id);
      const parts = chunksOf(raw);
      for (const part of parts.slice(0, -1)) await t.mutation(api.notes.pushChanges, one(id, [part]));
      last.push({ id, changes: parts.slice(-1) });
    }
    const concurrent = edit(Automerge.clone(merged), { n: 1 });
    const merges = ["m1", "m2"].map((id) => ({ id, changes: changes(concurrent, merged) }));
    let left = [...merges, ...last];
    const pushes: string[][] = [];
    while (left.length > 0) {
      const { results } = await t.mutation(api.notes.pushChanges, { documents: left });
      const refused = results.filter(({ status }) => status === "refused");
      for (const one of refused) expect(one).toMatchObject({ code: "tooLarge" });
      expect(results[0]!.status).toBe("accepted");
      pushes.push(results.filter(({ status }) => status === "accepted").map(({ id }) => id));
      left = left.filter(({ id }) => refused.some((one) => one.id === id));
    }
    expect(pushes.flat().sort()).toEqual(["m1", "m2", "x", "y"]);
    expect(pushes.length).toBeGreaterThan(1);
    const rows = await t.run(async (ctx) => (await ctx.db.query("notes").collect()) as Fields[]);
    expect(rows.map(({ n }) => n)).toEqual([1, 1, 1, 1]);
  }, 240_000);

  test("a commit to many large documents, which has to be one page of whole documents", async () => {
    const t = backend();
    const docs = Array.from({ length: 100 }, (_, i) => document({ blob: noise(120_000, i + 1) }));
    for (let at = 0; at < 100; at += 8) {
      const some = docs.slice(at, at + 8).map((doc, i) => ({
        id: `d${at + i}`,
        changes: changes(doc),
        fields: { blob: new ArrayBuffer(1) },
      }));
      const { results } = await t.mutation(api.notes.pushChanges, { documents: some });
      expect(results.every(({ status }) => status === "accepted")).toBe(true);
    }
    let left = docs.map((doc, i) => ({
      id: `d${i}`,
      changes: changes(edit(Automerge.clone(doc), { n: 1 }), doc),
      fields: { n: 1 },
    }));
    const pushes = [];
    while (left.length > 0) {
      const { results } = await t.mutation(api.notes.pushChanges, { documents: left });
      const refused = results.filter(({ status }) => status === "refused");
      for (const one of refused) expect(one).toMatchObject({ code: "tooLarge", limit: COMMIT_BYTES });
      pushes.push(results.length - refused.length);
      left = left.filter(({ id }) => refused.some((one) => one.id === id));
    }
    const fit = Math.floor(COMMIT_BYTES / (120_000 + 300));
    expect(pushes).toEqual([fit, 100 - fit]);
    const ids = await allWhole(t);
    expect(new Set(ids).size).toBe(100);
    expect(ids).toHaveLength(100);
  }, 240_000);

  test("documents that one mutation of an app's own changes are held together, too", async () => {
    const t = backend();
    const doc = (n: number) => {
      let made = document({ blob: new Uint8Array(900_000) });
      for (let time = 1; time < 5; time++)
        made = edit(made, { blob: new Uint8Array(900_000).fill(time + n) });
      return { id: `d${n}`, crdtBytes: buffer(Automerge.save(made)) };
    };
    const insert = (ids: number[]) =>
      t.run(async (ctx) => {
        for (const n of ids) await insertDocumentHelper(ctx, components, "notes", doc(n));
      });
    await expect(insert([1, 2])).rejects.toMatchObject({
      data: { code: "tooLarge", document: "d2", limit: COMMIT_BYTES },
    });
    expect(await allWhole(t)).toEqual([]);
    await insert([1]);
    await insert([2]);
    expect(await allWhole(t)).toEqual(["d1", "d2"]);
  }, 240_000);

  test("a page of the largest limit, and one of documents with long logs", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    for (let n = 1; n < 1_900; n++) doc = edit(doc, { n });
    for (let i = 0; i < 5; i++)
      expect(await push(t, `d${i}`, doc)).toEqual({ id: `d${i}`, status: "accepted" });
    const page = await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 4_000 });
    expect(page.deltas).toHaveLength(4_000);
    const ids = await allWhole(t);
    expect(ids).toEqual(["d0", "d1", "d2", "d3", "d4"]);
  }, 240_000);

  test("a document of the original API with as many changes as one call may bring", async () => {
    const t = backend();
    let doc = document({ n: 0 });
    for (let n = 1; n < 4_000; n++) doc = edit(doc, { n });
    const insert = (id: string, doc: Doc) =>
      t.mutation(api.notes.insertDocument, {
        collectionName: "",
        documentId: id,
        crdtBytes: buffer(Automerge.save(doc)),
        materializedDoc: {},
        version: 1,
      });
    expect(await insert("a", doc)).toEqual({ success: true });
    let more = Automerge.clone(doc);
    for (let n = 0; n < 4_000; n++) more = edit(more, { m: n });
    expect(await insert("a", more)).toEqual({ success: true });
    await expect(insert("b", edit(Automerge.clone(doc), { one: "more" }))).rejects.toMatchObject({
      data: { code: "tooLarge", document: "b", limit: 4_000 },
    });
  }, 240_000);
});

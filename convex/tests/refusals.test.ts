/** A refusal, for any reason, leaves every table as it was: the log's and the app's. */
import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { CHANGE_BYTES, CHUNK_BYTES } from "../src/component/limits";
import { api } from "./app/_generated/api";
import { type Backend, backend } from "./backend";
import { buffer, changes, document, edit, type Fields, save } from "./documents";

const TABLES = ["epochs", "documents", "chunks", "changes", "parts", "incomplete", "waiting", "counts"];

type Db = { query(table: string): { collect(): Promise<unknown[]> } };
type Inside = { runInComponent<T>(path: string, look: (ctx: { db: Db }) => Promise<T>): Promise<T> };

async function everything(t: Backend): Promise<unknown> {
  const rows = await t.run(async (ctx) => await ctx.db.query("notes").collect());
  const log = await (t as unknown as Inside).runInComponent("replicate", async ({ db }) => {
    const found: Record<string, unknown> = {};
    for (const table of TABLES) found[table] = await db.query(table).collect();
    return found;
  });
  return { rows, log };
}

const base = document({ title: "milk" });
const after = (fields: Fields) => edit(Automerge.clone(base), fields);
const [edited] = changes(after({ title: "oat milk" }), base);
const raw = new Uint8Array(edited!.bytes);
const cutOff = buffer(raw.slice(0, raw.length - 1));
const forged = buffer(raw.map((byte, at) => (at === 5 ? byte ^ 0xff : byte)));
const whole = (documentId: string, crdtBytes: ArrayBuffer) => ({
  collectionName: "",
  documentId,
  crdtBytes,
  materializedDoc: {},
  version: 1,
});
const one = (bytes: ArrayBuffer, id = "a") => [[{ id, changes: [{ bytes }] }]];
const wrongHash = { hash: buffer(createHash("sha256").digest()), index: 0, count: 1 };

describe("a push leaves nothing behind", () => {
  const next = edit(after({ n: 1 }), { n: 2 });
  test.each([
    ["of bytes cut off", "invalidChange", one(cutOff)],
    ["with a forged checksum", "invalidChange", one(forged)],
    [
      "of a part with another's hash",
      "invalidChange",
      [[{ id: "a", changes: [{ bytes: edited!.bytes, part: wrongHash }] }]],
    ],
    ["of a chunk too large", "tooLarge", one(new ArrayBuffer(CHUNK_BYTES + 1))],
    [
      "without what it depends on",
      "missingDependencies",
      [[{ id: "a", changes: changes(next, base).slice(1) }]],
    ],
    [
      "of good changes and a bad one",
      "invalidChange",
      [[{ id: "a", changes: [edited!, { bytes: forged }] }]],
    ],
    ["to a document without a name", "invalidChange", one(edited!.bytes, "")],
    ["to one with too long a name", "tooLarge", one(edited!.bytes, "x".repeat(129))],
    ["of fields that are not an object", "forbiddenField", [[{ id: "a", changes: [edited!], fields: 5 }]]],
  ])("%s", async (_, code, pushes) => {
    const t = backend();
    await t.mutation(api.notes.pushChanges, {
      documents: [{ id: "a", changes: changes(base), fields: { title: "milk" } }],
    });
    const before = await everything(t);
    for (const documents of pushes) {
      const { results } = await t.mutation(api.notes.pushChanges, { documents });
      expect(results).toMatchObject([{ status: "refused", code }]);
      expect(results[0]).toHaveProperty("message");
      expect(await everything(t)).toEqual(before);
    }
  });
});

describe("a call of the original API leaves nothing behind", () => {
  const cut = save(base).slice(0, -1);
  test.each([
    ["of bytes cut off", "invalidChange", cut],
    ["of no document's bytes", "invalidChange", new ArrayBuffer(100)],
    ["of too many bytes", "tooLarge", new ArrayBuffer(CHANGE_BYTES + 1)],
    ["of changes without what they depend on", "missingDependencies", edited!.bytes, "new"],
  ])("%s", async (_, code, crdtBytes, id = "a") => {
    const t = backend();
    await t.mutation(api.notes.insertDocument, whole("a", save(base)));
    const before = await everything(t);
    for (const call of [api.notes.insertDocument, api.notes.updateDocument]) {
      await expect(t.mutation(call, whole(id, crdtBytes))).rejects.toMatchObject({
        data: { code, document: id },
      });
      expect(await everything(t)).toEqual(before);
    }
  });

  test("to a document that is unknown", async () => {
    const t = backend();
    await t.mutation(api.notes.insertDocument, whole("a", save(base)));
    const before = await everything(t);
    await expect(
      t.mutation(api.notes.deleteDocument, { collectionName: "", documentId: "b" }),
    ).rejects.toMatchObject({ data: { code: "unknownDocument", document: "b" } });
    expect(await everything(t)).toEqual(before);
  });
});

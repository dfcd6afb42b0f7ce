/** A row lacks values that the app's schema refuses. They never keep a document from the log. */
import * as Automerge from "@automerge/automerge";
import { describe, expect, test } from "vitest";
import { api, internal } from "./app/_generated/api";
import { type Backend, backend } from "./backend";
import { changes, document, edit, type Fields } from "./documents";

type Table = "strict" | "narrow" | "notes";

async function rowOf(t: Backend, table: Table, id = "a"): Promise<Fields | null> {
  return await t.run(async (ctx) => {
    const rows: Fields[] = await ctx.db.query(table).collect();
    const found = rows.find((row) => row.id === id);
    if (found === undefined) return null;
    const { _id, _creationTime, timestamp: _, version: _version, id: _name, ...fields } = found;
    return fields;
  });
}

const accepted = [{ id: "a", status: "accepted" }];

/** The row of a document that is pushed to a table: merged, and then from the fields that are sent. */
async function rowsFor(table: "strict" | "narrow", fields: Fields): Promise<(Fields | null)[]> {
  const found = [];
  for (const sent of [{}, { fields }]) {
    const t = backend();
    const documents = [{ id: "a", changes: changes(document(fields)), ...sent }];
    expect((await t.mutation(api[table].pushChanges, { documents })).results).toEqual(accepted);
    const page = await t.query(api[table].pullDeltas, { checkpoint: { ts: 0n, ordinal: 0 } });
    expect(page.deltas.map(({ id }) => id)).toEqual(["a"]);
    found.push(await rowOf(t, table));
    await t.mutation(internal[table].checkRows, { ids: ["a"] });
    found.push(await rowOf(t, table));
  }
  return found;
}

describe("a row lacks the values that the schema refuses", () => {
  test.each<[string, "strict" | "narrow", Fields, Fields | null]>([
    ["another type", "strict", { title: 5 }, { notInRow: ["title"] }],
    ["null for v.optional", "strict", { title: null }, { notInRow: ["title"] }],
    [
      "fields it does not have",
      "strict",
      { title: "x", a: 1, b: 2, c: 3 },
      { title: "x", notInRow: ["a", "b", "c"] },
    ],
    [
      "nor what Convex does not",
      "strict",
      { title: "x", _a: 1, b: 2 },
      { title: "x", notInRow: ['["_a"]', "b"] },
    ],
    ["a digit string", "strict", { title: 2n ** 60n }, { title: "1152921504606846976" }],
    ["without a column to say so", "narrow", { title: "x", _a: 1 }, { title: "x" }],
    [
      "null, among fields that are required",
      "narrow",
      { title: "x", note: null, done: null },
      { title: "x" },
    ],
    [
      "only what is refused",
      "narrow",
      { title: "x", note: "y", done: null },
      { title: "x", note: "y", done: null },
    ],
    [
      "another type beside required fields",
      "narrow",
      { title: "x", note: 5, done: true },
      { title: "x", done: true },
    ],
    ["several fields beside required ones", "narrow", { title: "x", a: 1, b: 2, note: null }, { title: "x" }],
    ["a map with a wrong entry", "narrow", { title: "x", settings: { theme: null } }, { title: "x" }],
    ["no required field: no row", "narrow", { note: "y" }, null],
    ["a required field of another type: no row", "narrow", { title: 5 }, null],
  ])("%s", async (_, table, fields, row) => {
    for (const found of await rowsFor(table, fields)) expect(found).toEqual(row);
  });

  test("many fields, within a transaction's limits", async () => {
    const fields = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, i]));
    const t = backend();
    const documents = [{ id: "a", changes: changes(document({ ...fields, title: "x" })) }];
    expect((await t.mutation(api.strict.pushChanges, { documents })).results).toEqual(accepted);
    expect((await rowOf(t, "strict"))?.notInRow).toContain("f0");
  });
});

test("a document has a row only while it has the required fields, and other documents are not affected", async () => {
  const t = backend();
  const first = document({ title: "x" });
  const without = edit(Automerge.clone(first), { title: 5 });
  const again = edit(Automerge.clone(without), { title: "y" });
  const push = async (doc: typeof first, since?: typeof first) => {
    const documents = [
      { id: "a", changes: changes(doc, since) },
      { id: "b", changes: changes(document({ title: "b" })) },
    ];
    const { results } = await t.mutation(api.narrow.pushChanges, { documents });
    expect(results).toEqual([...accepted, { id: "b", status: "accepted" }]);
  };
  await push(first);
  await push(without, first);
  expect(await rowOf(t, "narrow")).toBeNull();
  expect(await rowOf(t, "narrow", "b")).toEqual({ title: "b" });
  await push(again, without);
  expect(await rowOf(t, "narrow")).toEqual({ title: "y" });
});

test("a rule is given the row that a document without one would have", async () => {
  const t = backend();
  // Two wrong types beside a required field: no row is found that the schema takes.
  const doc = document({ title: "locked", note: 5, settings: 6 });
  const push = async (changed: typeof doc, since?: typeof doc) => {
    const documents = [{ id: "a", changes: changes(changed, since) }];
    return (await t.mutation(api.narrow.pushChanges, { documents })).results;
  };
  expect(await push(doc)).toEqual(accepted);
  expect(await rowOf(t, "narrow")).toBeNull();
  expect(await push(edit(Automerge.clone(doc), { title: "open" }), doc)).toMatchObject([
    { code: "notAuthorized" },
  ]);
  const whole = { collectionName: "", documentId: "a" };
  await expect(t.mutation(api.narrow.deleteDocument, whole)).rejects.toMatchObject({
    data: { code: "notAuthorized" },
  });
});

/**
 * Which transactions would conflict. Convex runs a transaction again if another one has written into a range that it
 * has read and has committed meanwhile. `convex-test` runs transactions one after the other, so these tests record the
 * ranges that one reads and compare them with the rows that another writes.
 */
import * as Automerge from "@automerge/automerge";
import { compareValues, jsonToConvex, type JSONValue, type Value } from "convex/values";
import { beforeAll, describe, expect, test } from "vitest";
import { COUNT_SHARDS } from "../src/component/limits";
import componentSchema from "../src/component/schema";
import { api } from "./app/_generated/api";
import { type Backend, backend, inside } from "./backend";
import { changes, document, edit, type Fields } from "./documents";

/** Rows of an index between two ends, or a whole table. */
type Range = { table: string; bounds: { type: string; fieldPath: string; value: JSONValue }[] };
type Row = Record<string, Value> & { _id: string };
type Written = { table: string; row: Row };

const START = { ts: 0n, ordinal: 0 };

let noted: Range[] = [];

type Runtime = { syscall(op: string, args: string): string };
beforeAll(() => {
  // The first backend sets this once, and it looks up the test behind it at each use.
  backend();
  const { Convex } = globalThis as unknown as { Convex: Runtime };
  Object.defineProperty(globalThis, "Convex", {
    value: new Proxy(Convex, {
      get(target, name) {
        if (name !== "syscall") return Reflect.get(target, name) as unknown;
        return (op: string, args: string) => {
          if (op === "1.0/queryStream") note(args);
          return target.syscall(op, args);
        };
      },
    }),
  });
});

function note(args: string): void {
  const { source } = (JSON.parse(args) as { query: { source: Record<string, unknown> } }).query;
  if (source.type === "IndexRange") {
    const table = (source.indexName as string).split(".")[0]!;
    noted.push({ table, bounds: source.range as Range["bounds"] });
  } else {
    noted.push({ table: source.tableName as string, bounds: [] });
  }
}

/** The ranges that a transaction reads. */
async function readBy(work: () => Promise<unknown>): Promise<Range[]> {
  noted = [];
  await work();
  const read = noted;
  noted = [];
  return read;
}

/** The rows that a transaction writes, as they were before and as they are after. */
async function writtenBy(t: Backend, work: () => Promise<unknown>): Promise<Written[]> {
  const before = await everything(t);
  await work();
  const after = await everything(t);
  const changed = (some: Map<string, Written>, others: Map<string, Written>) =>
    [...some].filter(([key]) => !others.has(key)).map(([, written]) => written);
  return [...changed(before, after), ...changed(after, before)];
}

async function everything(t: Backend): Promise<Map<string, Written>> {
  const found = new Map<string, Written>();
  const add = (table: string, rows: unknown[]) => {
    for (const row of rows as Row[]) {
      const text = JSON.stringify(row, (_, value: unknown) =>
        typeof value === "bigint" ? `${value}n` : value,
      );
      found.set(`${table} ${text}`, { table, row });
    }
  };
  add("notes", await t.run(async (ctx) => await ctx.db.query("notes").collect()));
  await inside(t, async (db) => {
    for (const table of Object.keys(componentSchema.tables) as (keyof typeof componentSchema.tables)[]) {
      add(table, await db.query(table).collect());
    }
  });
  return found;
}

/** The tables in which one transaction has written into a range that another has read. */
function meeting(read: Range[], written: Written[]): string[] {
  const tables = written
    .filter(({ table, row }) => read.some((range) => range.table === table && covers(range, row)))
    .map(({ table }) => table);
  return [...new Set(tables)].sort();
}

function covers({ bounds }: Range, row: Row): boolean {
  return bounds.every(({ type, fieldPath, value }) => {
    const order = compareValues(row[fieldPath], jsonToConvex(value));
    if (type === "Eq") return order === 0;
    if (type === "Gt") return order > 0;
    if (type === "Gte") return order >= 0;
    return type === "Lt" ? order < 0 : order <= 0;
  });
}

describe("pushes", () => {
  const send = (
    t: Backend,
    id: string,
    doc: Automerge.Doc<Fields>,
    before?: Automerge.Doc<Fields>,
    fields?: Fields,
  ) =>
    t.mutation(api.notes.pushChanges, {
      documents: [{ id, changes: changes(doc, before), ...(fields && { fields }) }],
    });
  const doc = document({ n: 0 });
  const next = edit(Automerge.clone(doc), { n: 1 });

  test("to different documents do not conflict, on the fast path or merged", async () => {
    const t = backend();
    for (const id of ["a", "b"]) await send(t, id, doc);
    for (const fields of [{ n: 1 }, undefined]) {
      const from = fields === undefined ? edit(Automerge.clone(next), { m: 1 }) : next;
      const base = fields === undefined ? next : doc;
      const read = await readBy(() => send(t, "a", from, base, fields));
      const written = await writtenBy(t, () => send(t, "b", from, base, fields));
      expect(read.length).toBeGreaterThan(5);
      expect(new Set(written.map(({ table }) => table))).toEqual(
        new Set(["notes", "documents", "chunks", "changes"]),
      );
      expect(meeting(read, written)).toEqual([]);
    }
  });

  test("of new documents conflict in the count alone, and only if they share one of its shards", async () => {
    const t = backend();
    await send(t, "first", doc);
    const read = await readBy(() => send(t, "a", doc));
    const met: string[][] = [];
    for (let n = 0; n < 32; n++) met.push(meeting(read, await writtenBy(t, () => send(t, `n${n}`, doc))));
    const meetings = met.filter((tables) => tables.length > 0);
    expect(new Set(meetings.flat())).toEqual(new Set(["counts"]));
    // One in sixteen is expected.
    expect(meetings.length).toBeLessThan(12);
  });

  test("to one document conflict", async () => {
    const t = backend();
    await send(t, "a", doc);
    const read = await readBy(() => send(t, "a", next, doc, { n: 1 }));
    const written = await writtenBy(t, () =>
      send(t, "a", edit(Automerge.clone(next), { n: 2 }), next, { n: 2 }),
    );
    expect(meeting(read, written)).toEqual(["documents", "notes"]);
  });

  test("to another collection or scope do not run a subscription again", async () => {
    const t = backend();
    const scoped = (id: string, scope: string) =>
      t.mutation(api.notes.pushChanges, { documents: [{ id, changes: changes(doc) }], scope });
    for (const scope of ["red", "blue"]) await scoped(scope, scope);
    const { checkpoint } = await t.query(api.notes.pullDeltas, { checkpoint: START, scope: "red" });
    const read = await readBy(() => t.query(api.notes.pullDeltas, { checkpoint, scope: "red" }));
    expect(meeting(read, await writtenBy(t, () => scoped("more", "blue")))).toEqual([]);
    expect(meeting(read, await writtenBy(t, () => scoped("mine", "red")))).toEqual(["chunks"]);
    const documents = [{ id: "a", changes: changes(doc) }];
    expect(meeting(read, await writtenBy(t, () => t.mutation(api.tasks.pushChanges, { documents })))).toEqual(
      [],
    );
  });
});

test("a page and changeStream read only what they return, however large the collection", async () => {
  const t = backend();
  for (const size of [20, 200]) {
    const documents = Array.from({ length: Math.min(100, size) }, (_, n) => ({
      id: `${size} ${n}`,
      changes: changes(document({ n })),
    }));
    await t.mutation(api.notes.pushChanges, { documents });
    const { checkpoint } = await t.query(api.notes.pullDeltas, { checkpoint: START, limit: 10 });
    const [page, stream] = await t.run(async (ctx) => {
      const read = async () => (await ctx.meta.getTransactionMetrics()).documentsRead.used;
      await ctx.runQuery(api.notes.pullDeltas, { checkpoint, limit: 5 });
      const page = await read();
      await ctx.runQuery(api.notes.changeStream, {});
      return [page, (await read()) - page];
    });
    // The rows that it returns, the row after them, and the epoch's.
    expect(page).toBe(5 + 1 + 1);
    // The newest document, and the shards of the count.
    expect(stream).toBeLessThanOrEqual(1 + COUNT_SHARDS);
  }
});

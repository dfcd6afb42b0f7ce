import * as Automerge from "@automerge/automerge";
import replicate from "bevy-convex-replicate/test";
import { convexTest } from "convex-test";
import { expect, test } from "vitest";
import { api, components, internal } from "../convex/_generated/api";
import schema from "../convex/schema";

const modules = import.meta.glob("../convex/**/*.*s");

function backend() {
  const t = convexTest({ schema, modules });
  replicate.register(t);
  return t;
}

const buffer = (bytes: Uint8Array) => new Uint8Array(bytes).buffer;

test("a pushed change is in the log and in the table", async () => {
  const t = backend();
  const fields = { text: "Buy milk", isCompleted: false };
  const doc = Automerge.from(fields);
  const changes = Automerge.getAllChanges(doc).map((bytes) => ({ bytes: buffer(bytes) }));
  const { results } = await t.mutation(api.tasks.pushChanges, {
    documents: [{ id: "milk", changes, fields }],
  });
  expect(results).toEqual([{ id: "milk", status: "accepted" }]);
  expect(await t.query(api.tasks.open, {})).toMatchObject([{ id: "milk", text: "Buy milk" }]);

  const { deltas } = await t.query(api.tasks.pullDeltas, { checkpoint: { ts: 0n, ordinal: 0 } });
  expect(deltas.map(({ bytes }) => buffer(new Uint8Array(bytes)))).toEqual(changes.map(({ bytes }) => bytes));
});

test("documents are merged, checked, compacted and deleted", async () => {
  const t = backend();
  const whole = (doc: Automerge.Doc<unknown>) => ({
    collectionName: "tasks",
    documentId: "milk",
    crdtBytes: buffer(Automerge.save(doc)),
    materializedDoc: {},
    version: 1,
  });
  const base = Automerge.from<Record<string, unknown>>({ text: "Buy milk" });
  const mine = Automerge.change(Automerge.clone(base), (draft) => void (draft.text = "Buy bread"));
  const other = Automerge.change(Automerge.clone(base), (draft) => void (draft.isCompleted = true));
  await t.mutation(api.tasks.insertDocument, whole(mine));
  await t.mutation(api.tasks.updateDocument, whole(other));
  expect(await t.mutation(internal.tasks.checkRows, { ids: ["milk"] })).toBe(0);
  const [row] = await t.run(async (ctx) => await ctx.db.query("tasks").collect());
  expect(row).toMatchObject({ id: "milk", text: "Buy bread", isCompleted: true });

  const log = { collection: "tasks", id: "milk", before: Date.now() + 1 };
  await t.run(async (ctx) => await ctx.runMutation(components.replicate.compaction.compact, log));
  await t.mutation(api.tasks.deleteDocument, { collectionName: "tasks", documentId: "milk" });
  const [deleted] = await t.run(async (ctx) => await ctx.db.query("tasks").collect());
  expect(deleted).toMatchObject({ deleted: true });
});

/** The functions as Convex would run them: bundled with its conditions, in a context without Node. */
import * as Automerge from "@automerge/automerge";
import { Script } from "node:vm";
import { expect, test } from "vitest";
import { bareContext, bundle } from "./bare";
import { buffer, changes, document, edit, save } from "./documents";

test("every function of the app and the component bundles without Node", async () => {
  const modules = [
    "src/component/log",
    "src/component/merge",
    "src/component/pages",
    "src/component/compaction",
    "src/component/pruning",
    "app/cards",
    "app/crons",
  ];
  const source = modules
    .map((path) => `export * as ${path.replaceAll("/", "_")} from "./${path}";`)
    .join("\n");
  const code = await bundle(source);
  const context = bareContext();
  new Script(code).runInContext(context);
  expect(new Script("Object.keys(bundled.app_cards)").runInContext(context)).toContain("pushChanges");
});

test("functions that do not merge do not bring Automerge", async () => {
  for (const path of ["src/component/log", "src/component/pages", "app/cards"]) {
    expect((await bundle(`export * from "./${path}";`)).length, path).toBeLessThan(300_000);
  }
});

test("Automerge loads and merges in a bare context, without asynchronous compilation", async () => {
  const code = await bundle(`
    import { loadAutomerge } from "./src/component/automerge";
    import { materialize } from "./src/component/materialize";
    export async function merge(saved: Uint8Array, change: Uint8Array): Promise<string> {
      const automerge = await loadAutomerge();
      const doc = automerge.loadIncremental(automerge.load(saved), change);
      const deleted = automerge.change(automerge.clone(doc, { actor: "ab".repeat(16) }), (draft) => { draft.deleted = true; });
      return JSON.stringify(materialize(automerge.toJS(deleted)).fields);
    }
  `);
  const context = bareContext();
  const asynchronous = ["compile", "instantiate", "instantiateStreaming", "compileStreaming"];
  new Script(`
    for (const name of ${JSON.stringify(asynchronous)}) WebAssembly[name] = () => { throw new Error(name + " is asynchronous"); };
  `).runInContext(context);
  new Script(code).runInContext(context);
  const base = document({ title: "milk", count: new Automerge.Counter(1), when: new Date(5) });
  const next = edit(Automerge.clone(base), { done: true });
  Object.assign(context, {
    saved: new Uint8Array(save(base)),
    edited: new Uint8Array(changes(next, base)[0]!.bytes),
  });
  new Script(
    "bundled.merge(saved, edited).then((value) => (result = value), (error) => (result = String(error)))",
  ).runInContext(context);
  expect(JSON.parse(context.result as string)).toEqual({
    title: "milk",
    count: 1,
    when: 5,
    done: true,
    deleted: true,
  });
});

test("a change's header is read in a bare context", async () => {
  const code = await bundle(`export { readChange } from "./src/component/chunk";`);
  const context = bareContext();
  new Script(code).runInContext(context);
  const doc = document({ title: "milk" });
  const raw = changes(doc)[0]!.bytes;
  Object.assign(context, { raw: new Uint8Array(buffer(new Uint8Array(raw))) });
  const header = JSON.parse(
    new Script("JSON.stringify(bundled.readChange(raw))").runInContext(context) as string,
  ) as unknown;
  const { hash, actor, seq, startOp, deps, ops } = Automerge.decodeChange(new Uint8Array(raw));
  expect(header).toEqual({ hash, actor, seq, startOp, lastOp: startOp + ops.length - 1, deps });
});

/** The app and the component as the official command line deploys them: `npx convex dev` in this folder. */
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import replicate from "../src/test";
import { evaluate, type Function, functionsOf, type Push, pushedBy, refused } from "./pushed";

const root = fileURLToPath(new URL("..", import.meta.url));

let push: Push;

beforeAll(async () => {
  push = await pushed();
}, 240_000);

/** Runs `convex dev --once` on a copy of this folder: it writes `_generated`. */
async function pushed(): Promise<Push> {
  const folder = mkdtempSync(join(tmpdir(), "replicate-deploy-"));
  for (const name of ["app", "src", "convex.json", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  try {
    return await pushedBy(folder, ["dev", "--once", "--typecheck", "disable"], () => refused);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const shapeOf = (functions: Record<string, Function>) =>
  Object.fromEntries(
    Object.entries(functions).map(([name, { type, visibility }]) => [name, `${visibility} ${type}`]),
  );

test("the app uses one component, and nothing of it needs Node", () => {
  expect(push.nodeDependencies).toEqual([]);
  expect(push.appDefinition.dependencies).toEqual(["../src/component"]);
  expect(push.componentDefinitions.map(({ definitionPath }) => definitionPath)).toEqual(["../src/component"]);
  const all = [...push.appDefinition.changedModules, ...push.componentDefinitions[0]!.functions];
  expect(new Set(all.map(({ environment }) => environment))).toEqual(new Set(["isolate"]));
  const bytes = all.reduce((sum, { source }) => sum + source.length, 0);
  expect(bytes, "Convex takes 32 MiB of code").toBeLessThan(32 * 1024 * 1024);
});

test.each(["cards", "columns", "people"])("%s has every function with its validators", async (name) => {
  const functions = await functionsOf(push.appDefinition.changedModules, `${name}.js`);
  expect(shapeOf(functions)).toEqual({
    pushChanges: "public mutation",
    pullDeltas: "public query",
    insertDocument: "public mutation",
    updateDocument: "public mutation",
    deleteDocument: "public mutation",
    pullChanges: "public query",
    changeStream: "public query",
    checkRows: "internal mutation",
    prune: "internal mutation",
    // Nobody needs to be seen in the columns.
    ...(name === "columns" ? {} : { setPresence: "public mutation", listPresence: "public query" }),
  });
  for (const [path, { args, returns }] of Object.entries(functions)) {
    expect(args, `${path} says what it takes`).toMatchObject({ type: "object" });
    expect(returns, `${path} says what it answers`).not.toMatchObject({ type: "any" });
  }
  expect(functions.pullDeltas!.args).toMatchObject({
    value: { checkpoint: { fieldType: { value: { ts: { fieldType: { type: "bigint" } } } } } },
  });
});

test("the schemas and definitions are what a deployment reads", async () => {
  const { appDefinition, componentDefinitions } = push;
  const [component] = componentDefinitions;
  const schema = (await evaluate([appDefinition.schema], "schema.js", "JSON.parse(it.default.export())")) as {
    tables: { tableName: string; indexes: { indexDescriptor: string }[] }[];
  };
  expect(schema.tables.map(({ tableName }) => tableName).sort()).toEqual(["cards", "columns", "people"]);
  for (const { indexes } of schema.tables) {
    expect(indexes.map(({ indexDescriptor }) => indexDescriptor)).toEqual(["by_user_id", "by_timestamp"]);
  }
  const log = (await evaluate(
    [component!.schema],
    "schema.js",
    "JSON.parse(it.default.export())",
  )) as typeof schema;
  expect(log.tables.map(({ tableName }) => tableName)).toContain("chunks");

  expect(
    await evaluate([component!.definition], component!.definition.path, "it.default.export()"),
  ).toMatchObject({
    name: "replicate",
  });
  expect(
    await evaluate([appDefinition.definition], appDefinition.definition.path, "it.default.export()"),
  ).toMatchObject({
    childComponents: [{ name: "replicate", path: "../src/component" }],
  });
});

test("the component's functions are all there, and every call of an app reaches one", async () => {
  const { functions } = push.componentDefinitions[0]!;
  const found: Record<string, string[]> = {};
  for (const { path } of functions.filter(({ path }) => !path.includes("/"))) {
    const exported = await functionsOf(functions, path);
    const module = path.replace(".js", "");
    if (Object.keys(exported).length > 0) found[module] = Object.keys(exported).sort();
    for (const [name, { args, returns }] of Object.entries(exported)) {
      expect(args, `${module}:${name}`).toMatchObject({ type: "object" });
      expect(returns, `${module}:${name}`).not.toMatchObject({ type: "any" });
    }
  }
  expect(found).toEqual({
    compaction: ["compact", "compactOnce"],
    log: ["append", "checked", "examine", "renewEpoch", "restored", "status"],
    merge: ["deletion", "preview", "split"],
    pages: ["changeStream", "pullDeltas", "pullDocuments"],
    presence: ["expire", "list", "set"],
    pruning: ["prune"],
    quarantine: ["isolate"],
  });
  const registered = Object.keys(replicate.modules).map((path) => path.replace("./component/", ""));
  expect(registered.filter((path) => !path.includes("/")).sort(), "what `./test` registers").toEqual(
    Object.keys(found)
      .map((module) => `${module}.js`)
      .sort(),
  );
});

test("crons prune every collection", async () => {
  const crons = (await evaluate(
    push.appDefinition.changedModules,
    "crons.js",
    "JSON.parse(it.default.export())",
  )) as Record<string, { name: string }>;
  expect(
    Object.values(crons)
      .map(({ name }) => name)
      .sort(),
  ).toEqual(["cards:prune", "columns:prune", "people:prune"]);
});

/**
 * What `npx convex dev` sends to a deployment: the official command line bundles the app and the component and pushes them to a server that
 * takes the push down. What it sent is then looked at as a deployment does, in a context with nothing of Node.
 */
import { build, type Plugin } from "esbuild";
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { brotliDecompressSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import { bareContext } from "./bare";

type Module = { path: string; source: string; environment: string };
type Definition = { definition: Module; dependencies: string[]; schema: Module };
type Push = {
  appDefinition: Definition & { changedModules: Module[] };
  componentDefinitions: (Definition & { definitionPath: string; functions: Module[] })[];
  nodeDependencies: unknown[];
};
type Function = { type: string; visibility: string; args: unknown; returns: unknown };

const root = fileURLToPath(new URL("..", import.meta.url));

let push: Push;

beforeAll(async () => {
  push = await pushed();
}, 240_000);

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  const body = Buffer.concat(pieces);
  return request.headers["content-encoding"] === "br" ? brotliDecompressSync(body) : body;
}

/** Runs `convex dev --once` on a copy of this folder (it writes `_generated`), as for a self-hosted deployment. */
async function pushed(): Promise<Push> {
  let taken: Push | undefined;
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const answer = (status: number, value: unknown) =>
        response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
      if (request.url === "/api/get_config_hashes") {
        return answer(200, {
          config: { functions: "app/" },
          moduleHashes: [],
          nodeDependencies: [],
          udfServerVersion: "1.48.0",
        });
      }
      if (request.url !== "/api/deploy2/start_push") return answer(200, {});
      taken = JSON.parse(body.toString()) as Push;
      return answer(400, { code: "TakenDown", message: "this is no deployment" });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const folder = mkdtempSync(join(tmpdir(), "replicate-deploy-"));
  for (const name of ["app", "src", "convex.json", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const { port } = server.address() as AddressInfo;
  const cli = spawn(
    process.execPath,
    ["node_modules/convex/bin/main.js", "dev", "--once", "--typecheck", "disable"],
    {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        CI: "1",
        CONVEX_SELF_HOSTED_URL: `http://127.0.0.1:${port}`,
        CONVEX_SELF_HOSTED_ADMIN_KEY: "test|key",
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  cli.stdout.on("data", (data: Buffer) => (said += data.toString()));
  cli.stderr.on("data", (data: Buffer) => (said += data.toString()));
  await new Promise((resolve) => cli.on("close", resolve));
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
  if (taken === undefined) throw new Error(`the command line pushed nothing:\n${said}`);
  return taken;
}

/** Evaluates one of the modules that were sent, and answers what `expression` makes of its exports, `it`. */
async function evaluate(modules: Module[], entry: string, expression: string): Promise<unknown> {
  const byPath = new Map(modules.map((module) => [module.path, module.source]));
  const sent: Plugin = {
    name: "sent",
    setup(build) {
      build.onResolve({ filter: /.*/ }, ({ path, importer, kind }) => {
        if (kind === "entry-point") return { path, namespace: "sent" };
        if (path.includes("_componentDeps/")) return { path, namespace: "component" };
        const { pathname } = new URL(path, `https://sent/${importer}`);
        if (!byPath.has(pathname.slice(1))) return { errors: [{ text: `${path} was not sent` }] };
        return { path: pathname.slice(1), namespace: "sent" };
      });
      build.onLoad({ filter: /.*/, namespace: "sent" }, ({ path }) => ({
        contents: byPath.get(path)!,
        loader: "js",
      }));
      // What a deployment puts in the place of a component that an app uses.
      build.onLoad({ filter: /.*/, namespace: "component" }, () => ({
        contents: 'export default { componentDefinitionPath: "../src/component", defaultName: "replicate" };',
      }));
    },
  };
  const { outputFiles } = await build({
    entryPoints: [entry],
    plugins: [sent],
    bundle: true,
    format: "iife",
    globalName: "it",
    target: "esnext",
    write: false,
    logLevel: "silent",
  });
  const context = bareContext();
  new Script(outputFiles[0]!.text).runInContext(context);
  return JSON.parse(new Script(`JSON.stringify(${expression})`).runInContext(context) as string);
}

/** A module's functions as the analysis of a push sees them. */
async function functionsOf(modules: Module[], path: string): Promise<Record<string, Function>> {
  return (await evaluate(
    modules,
    path,
    `Object.fromEntries(Object.entries(it).filter(([, f]) => typeof f.exportArgs === "function").map(([name, f]) => [name, {
      type: f.isQuery ? "query" : f.isMutation ? "mutation" : "action",
      visibility: f.isPublic ? "public" : f.isInternal ? "internal" : "none",
      args: JSON.parse(f.exportArgs()),
      returns: JSON.parse(f.exportReturns()),
    }]))`,
  )) as Record<string, Function>;
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
  for (const module of ["compaction", "log", "merge", "pages", "pruning", "quarantine"]) {
    const exported = await functionsOf(functions, `${module}.js`);
    found[module] = Object.keys(exported).sort();
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
    pruning: ["prune"],
    quarantine: ["isolate"],
  });
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

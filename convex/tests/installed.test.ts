/**
 * The npm package as an app outside the repository has it: packed, installed from the tarball with the oldest `convex`
 * of the peer range, bundled by the official command line, type-checked with the bindings that it generates, and
 * called. The other tests use the newest.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Answer, functionsOf, type Push, pushedBy } from "./pushed";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  name: string;
  peerDependencies: { convex: string };
  devDependencies: Record<string, string>;
};
const oldest = manifest.peerDependencies.convex.replace("^", "");

let app: string;
let push: Push;

/** Runs a command and returns its output. Throws with the output if the command fails. */
async function run(command: string[], folder: string, env: Record<string, string> = {}): Promise<string> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  child.stdout.on("data", (data: Buffer) => (printed += data.toString()));
  child.stderr.on("data", (data: Buffer) => (printed += data.toString()));
  const status = await new Promise((resolve) => child.on("close", resolve));
  if (status !== 0) throw new Error(`${command.join(" ")} ended with ${String(status)}:\n${printed}`);
  return printed;
}

/** A deployment's answer to a push, as far as the command line needs it to generate an app's bindings. */
function accepted({ componentDefinitions }: Push): Answer {
  const path = componentDefinitions[0]!.definitionPath;
  const definition = (path: string, definitionType: object, childComponents: object[]) => ({
    definition: {
      path,
      definitionType,
      childComponents,
      httpMounts: {},
      exports: { type: "branch", branch: [] },
    },
    schema: null,
    functions: {},
    udfConfig: { serverVersion: oldest },
  });
  const component = (definitionPath: string, componentPath: string, childComponents: object) => ({
    definitionPath,
    componentPath,
    args: {},
    childComponents,
    httpRoutes: { httpModuleRoutes: null, mounts: [] },
    exports: {},
  });
  const body = {
    environmentVariables: {},
    externalDepsId: null,
    componentDefinitionPackages: {},
    appAuth: [],
    analysis: {
      "": definition("", { type: "app" }, [{ name: "replicate", path }]),
      [path]: definition(path, { type: "childComponent", name: "replicate" }, []),
    },
    app: component("", "", { replicate: component(path, "replicate", {}) }),
    schemaChange: { allocatedComponentIds: {}, schemaIds: {} },
  };
  return { status: 200, body };
}

beforeAll(async () => {
  app = mkdtempSync(join(tmpdir(), "replicate-installed-"));
  cpSync(join(root, "tests/installed"), app, { recursive: true });
  await run(["npm", "pack", "--silent", "--pack-destination", app], root);
  const tarball = readdirSync(app).find((name) => name.endsWith(".tgz"))!;
  const tools = ["@types/node", "convex-test", "typescript", "vitest"].map(
    (name) => `${name}@${manifest.devDependencies[name]}`,
  );
  const quick = ["--no-audit", "--no-fund", "--prefer-offline"];
  await run(["npm", "install", ...quick, `./${tarball}`, `convex@${oldest}`, ...tools], app);
  push = await pushedBy(app, ["codegen", "--typecheck", "disable"], accepted);
}, 480_000);

afterAll(() => rmSync(app, { recursive: true }));

test("the package has what an app needs, and the licences", () => {
  const installed = join(app, "node_modules", manifest.name);
  expect(readdirSync(installed).sort()).toEqual([
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "dist",
    "package.json",
    "src",
  ]);
  for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) {
    const ours = readFileSync(join(root, "..", name), "utf8");
    expect(readFileSync(join(installed, name), "utf8"), name).toBe(ours);
  }
});

test("the command line bundles the installed component with the app", async () => {
  const path = `../node_modules/${manifest.name}/dist/component`;
  expect(push.appDefinition.dependencies).toEqual([path]);
  expect(push.componentDefinitions.map(({ definitionPath }) => definitionPath)).toEqual([path]);
  expect(push.nodeDependencies).toEqual([]);
  const { functions } = push.componentDefinitions[0]!;
  const all = [...push.appDefinition.changedModules, ...functions];
  expect(new Set(all.map(({ environment }) => environment))).toEqual(new Set(["isolate"]));
  expect(Object.keys(await functionsOf(functions, "log.js"))).toContain("append");
  expect(Object.keys(await functionsOf(push.appDefinition.changedModules, "tasks.js"))).toContain(
    "checkRows",
  );
});

test("the app type-checks with the bindings that the command line generates", async () => {
  const bindings = readFileSync(join(app, "convex/_generated/api.d.ts"), "utf8");
  expect(bindings).toContain(`import("${manifest.name}/_generated/component.js").ComponentApi<"replicate">`);
  await run([process.execPath, "node_modules/typescript/bin/tsc", "--noEmit"], app);
}, 240_000);

test("the app's functions run under convex-test, and behind the host", async () => {
  const component = join(app, "node_modules", manifest.name, "dist/component");
  const host = spawn(
    process.execPath,
    [
      "--import",
      "tsx",
      "host/main.ts",
      "--listen",
      "127.0.0.1:0",
      "--app",
      join(app, "convex"),
      "--component",
      component,
    ],
    { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let printed = "";
      host.stdout.on("data", (data: Buffer) => {
        printed += data.toString();
        const found = /listening on (\S+)\n/.exec(printed)?.[1];
        if (found !== undefined) resolve(found);
      });
      host.on("close", () => reject(new Error(`the host ended:\n${printed}`)));
    });
    const printed = await run(
      [process.execPath, "node_modules/vitest/vitest.mjs", "run", "--reporter=json"],
      app,
      { DEPLOYMENT_URL: url },
    );
    const report = JSON.parse(printed.slice(printed.indexOf("{"))) as {
      numPassedTests: number;
      success: boolean;
    };
    expect(report).toMatchObject({ success: true, numPassedTests: 3 });
  } finally {
    host.kill();
  }
}, 240_000);

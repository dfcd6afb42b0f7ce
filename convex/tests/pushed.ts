/**
 * Records what the official command line sends to a deployment: it bundles an app and its component and pushes them to
 * a server that keeps the push. The modules can then be evaluated as a deployment does, in a context without Node.
 */
import { build, type Plugin } from "esbuild";
import { spawn } from "node:child_process";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Script } from "node:vm";
import { brotliDecompressSync } from "node:zlib";
import { bareContext } from "./bare";

export type Module = { path: string; source: string; environment: string };
export type Definition = { definition: Module; dependencies: string[]; schema: Module };
export type Push = {
  appDefinition: Definition & { changedModules: Module[] };
  componentDefinitions: (Definition & { definitionPath: string; functions: Module[] })[];
  nodeDependencies: unknown[];
};
export type Function = { type: string; visibility: string; args: unknown; returns: unknown };

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  const body = Buffer.concat(pieces);
  return request.headers["content-encoding"] === "br" ? brotliDecompressSync(body) : body;
}

/** The server's answer to a push: its status and body. */
export type Answer = { status: number; body: unknown };

/** Ends the command after its push. */
export const refused: Answer = { status: 400, body: { code: "TakenDown", message: "this is no deployment" } };

/**
 * Runs the command line of the `convex` package in an app's folder, as for a self-hosted deployment, and returns what
 * it pushed.
 */
export async function pushedBy(
  folder: string,
  command: string[],
  answerTo: (push: Push) => Answer,
): Promise<Push> {
  let taken: Push | undefined;
  const server = createServer((request, response) => {
    void bodyOf(request).then((bytes) => {
      const answer = ({ status, body }: Answer) =>
        response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
      if (request.url === "/api/get_config_hashes") {
        const config = { functions: "convex/" };
        const body = { config, moduleHashes: [], nodeDependencies: [], udfServerVersion: "1.48.0" };
        return answer({ status: 200, body });
      }
      if (request.url !== "/api/deploy2/start_push") return answer({ status: 200, body: {} });
      taken = JSON.parse(bytes.toString()) as Push;
      return answer(answerTo(taken));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cli = spawn(process.execPath, ["node_modules/convex/bin/main.js", ...command], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      CI: "1",
      CONVEX_SELF_HOSTED_URL: `http://127.0.0.1:${port}`,
      CONVEX_SELF_HOSTED_ADMIN_KEY: "test|key",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  cli.stdout.on("data", (data: Buffer) => (printed += data.toString()));
  cli.stderr.on("data", (data: Buffer) => (printed += data.toString()));
  await new Promise((resolve) => cli.on("close", resolve));
  server.close();
  server.closeAllConnections();
  if (taken === undefined) throw new Error(`the command line pushed nothing:\n${printed}`);
  return taken;
}

/** Evaluates one of the modules that were sent, and returns the value of `expression`, in which `it` is its exports. */
export async function evaluate(modules: Module[], entry: string, expression: string): Promise<unknown> {
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
      // A deployment replaces a component that an app uses with this.
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
  // Convex has this global of Node's. The bindings that its command line generates for an app read it.
  Object.assign(context, { process: { env: {} } });
  new Script(outputFiles[0]!.text).runInContext(context);
  return JSON.parse(new Script(`JSON.stringify(${expression})`).runInContext(context) as string);
}

/** A module's functions as the analysis of a push sees them. */
export async function functionsOf(modules: Module[], path: string): Promise<Record<string, Function>> {
  return (await evaluate(
    modules,
    path,
    `Object.fromEntries(Object.entries(it ?? {}).filter(([, f]) => typeof f.exportArgs === "function").map(([name, f]) => [name, {
      type: f.isQuery ? "query" : f.isMutation ? "mutation" : "action",
      visibility: f.isPublic ? "public" : f.isInternal ? "internal" : "none",
      args: JSON.parse(f.exportArgs()),
      returns: JSON.parse(f.exportReturns()),
    }]))`,
  )) as Record<string, Function>;
}

import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { createContext } from "node:vm";

/** A context with the globals of Convex's default runtime that these functions use. */
export function bareContext() {
  return createContext(
    {
      atob,
      btoa,
      TextEncoder,
      TextDecoder,
      console,
      crypto: {
        randomUUID: () => crypto.randomUUID(),
        getRandomValues: (array: Uint8Array) => crypto.getRandomValues(array),
      },
    },
    // Microtasks run as part of the script: work that is unfinished when it ends would need an event loop.
    { codeGeneration: { strings: false, wasm: true }, microtaskMode: "afterEvaluate" },
  );
}

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * The bundle of a module, which may import from `convex/` by `./`, with the options of Convex's bundler for its default
 * runtime.
 */
export async function bundle(source: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: "ts" },
    bundle: true,
    platform: "browser",
    format: "iife",
    globalName: "bundled",
    target: "esnext",
    conditions: ["convex", "module"],
    define: { "process.env.NODE_ENV": '"production"' },
    write: false,
    logLevel: "silent",
  });
  return outputFiles[0]!.text;
}

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Modules } from "./deployment";

/** The modules under a folder, as `convex-test` wants them. */
export function modulesUnder(directory: string): Modules {
  const modules: Modules = {};
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    if (!/\.[jt]s$/.test(name) || name.endsWith(".d.ts")) continue;
    const file = join(directory, name);
    modules[file] = () => import(pathToFileURL(file).href) as Promise<unknown>;
  }
  return modules;
}

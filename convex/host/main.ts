/** `npm run host -- --listen 127.0.0.1:3210 --app app`; `--component` names the folder of an installed component. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Deployment, type DeploymentOptions } from "./deployment";
import { modulesUnder } from "./modules";
import { Host } from "./server";

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:3210" },
    app: { type: "string", default: resolve(import.meta.dirname, "../app") },
    component: { type: "string", default: resolve(import.meta.dirname, "../src/component") },
  },
});

/** The schema and the modules in a folder. An installed component is JavaScript. */
async function loadFrom(folder: string): Promise<DeploymentOptions["component"]> {
  const written = resolve(folder, "schema.ts");
  const file = existsSync(written) ? written : resolve(folder, "schema.js");
  const { default: schema } = (await import(pathToFileURL(file).href)) as {
    default: DeploymentOptions["schema"];
  };
  return { schema, modules: modulesUnder(folder) };
}

const [address = "127.0.0.1", port = "3210"] = values.listen.split(":");
const app = await loadFrom(resolve(values.app));
const component = await loadFrom(resolve(values.component));
const host = await Host.listen(new Deployment({ ...app, component }), Number(port), address);
// The process that started this one reads the line to know that the host is ready, and its URL.
console.log(`listening on ${host.url}`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void host.close().then(() => process.exit(0)));
}

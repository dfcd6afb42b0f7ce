/** `npm run host -- --listen 127.0.0.1:3210 --app app` */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import componentSchema from "../src/component/schema";
import { Deployment, type DeploymentOptions } from "./deployment";
import { modulesUnder } from "./modules";
import { Host } from "./server";

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:3210" },
    app: { type: "string", default: resolve(import.meta.dirname, "../app") },
  },
});

const [address = "127.0.0.1", port = "3210"] = values.listen.split(":");
const app = resolve(values.app);
const { default: schema } = (await import(pathToFileURL(resolve(app, "schema.ts")).href)) as {
  default: DeploymentOptions["schema"];
};
const component = {
  schema: componentSchema,
  modules: modulesUnder(resolve(import.meta.dirname, "../src/component")),
};
const host = await Host.listen(
  new Deployment({ schema, modules: modulesUnder(app), component }),
  Number(port),
  address,
);
// Whoever started this reads the line to know that it is ready, and where.
console.log(`listening on ${host.url}`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void host.close().then(() => process.exit(0)));
}

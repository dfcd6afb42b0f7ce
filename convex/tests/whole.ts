/**
 * The functions behind a host, for whole apps to be tested against: `tsx tests/whole.ts --listen 127.0.0.1:0
 * --collections tasks,notes`.
 *
 * Each collection has a module that `defineReplicate` makes, for documents of any shape, and beside it `rows`, the
 * app's table. The host ends when its standard input does, so that it never outlives the test that started it.
 */
import {
  componentsGeneric,
  defineSchema,
  defineTable,
  type GenericDataModel,
  type QueryBuilder,
  queryGeneric,
} from "convex/server";
import { v } from "convex/values";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { defineReplicate } from "../src/client/index";
import type { ComponentApi } from "../src/component/_generated/component";
import componentSchema from "../src/component/schema";
import { Deployment, type Modules } from "../host/deployment";
import { modulesUnder } from "../host/modules";
import { Host } from "../host/server";

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    collections: { type: "string", default: "tasks" },
    /** Whether callers have to be signed in. */
    "signed-in": { type: "boolean", default: false },
  },
});

const components = componentsGeneric() as unknown as { replicate: ComponentApi };
const query: QueryBuilder<GenericDataModel, "public"> = queryGeneric;
const names = values.collections.split(",");

const open = () => defineTable(v.any()).index("by_user_id", ["id"]).index("by_timestamp", ["timestamp"]);

/** A collection's module. Rows are checked soon, so that a test sees the result. */
function module(table: string) {
  const functions = defineReplicate({
    component: components.replicate,
    table,
    public: !values["signed-in"],
    checkAfter: 100,
    compactAfter: 0,
  });
  const rows = query({ args: {}, handler: async (ctx) => await ctx.db.query(table).collect() });
  return { ...functions, rows };
}

const modules: Modules = { "/whole/_generated/api.js": () => Promise.resolve({}) };
for (const name of names) {
  const made = module(name);
  modules[`/whole/${name}.js`] = () => Promise.resolve(made);
}

const [address = "127.0.0.1", port = "0"] = values.listen.split(":");
const host = await Host.listen(
  new Deployment({
    schema: defineSchema(Object.fromEntries(names.map((name) => [name, open()]))),
    modules,
    component: {
      schema: componentSchema,
      modules: modulesUnder(resolve(import.meta.dirname, "../src/component")),
    },
  }),
  Number(port),
  address,
);
// The process that started this one reads the line to know that the host is ready, and its URL.
console.log(`listening on ${host.url}`);
process.stdin.resume().on("end", () => process.exit());

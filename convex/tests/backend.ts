/** A deployment of the test app for one test: its functions, and the component behind them. */
import { convexTest } from "convex-test";
import type { GenericDatabaseWriter } from "convex/server";
import type { DataModel as ComponentModel } from "../src/component/_generated/dataModel";
import componentSchema from "../src/component/schema";
import { components } from "./app/_generated/api";
import schema from "./app/schema";

const modules = import.meta.glob("./app/**/*.ts");
const componentModules = import.meta.glob("../src/component/**/*.ts");

export function backend() {
  const test = convexTest({ schema, modules, transactionLimits: true });
  test.registerComponent("replicate", componentSchema, componentModules);
  return test;
}

export type Backend = ReturnType<typeof backend>;

/** Compacts a document's log, up to now. */
export async function compact(t: Backend, id: string, collection = "notes") {
  const args = { collection, id, before: Date.now() };
  return await t.run(async (ctx) => await ctx.runMutation(components.replicate.compaction.compact, args));
}

/** A method of `convex-test` that its types lack: access to a component's own tables. */
type Inside = {
  runInComponent<T>(
    path: string,
    look: (ctx: { db: GenericDatabaseWriter<ComponentModel> }) => Promise<T>,
  ): Promise<T>;
};

/** Reads the log's tables, or puts rows there that should not exist. */
export async function inside<T>(
  t: Backend,
  look: (db: GenericDatabaseWriter<ComponentModel>) => Promise<T>,
): Promise<T> {
  return await (t as unknown as Inside).runInComponent("replicate", async ({ db }) => await look(db));
}

/** The log's row of a document. */
export async function known(t: Backend, id: string, collection = "notes") {
  return await inside(
    t,
    async (db) =>
      await db
        .query("documents")
        .withIndex("by_document", (q) => q.eq("collection", collection).eq("id", id))
        .unique(),
  );
}

/** Registers the component with `convex-test`, so that an app's tests can call functions that use it. */
import type { TestConvex } from "convex-test";
import type { GenericSchema, SchemaDefinition } from "convex/server";
import schema from "./component/schema.js";

/** The component's modules by path. They are listed, not found by a bundler, so that any test runner can load them. */
const modules: Record<string, () => Promise<unknown>> = {
  "./component/_generated/api.js": () => import("./component/_generated/api.js"),
  "./component/compaction.js": () => import("./component/compaction.js"),
  "./component/log.js": () => import("./component/log.js"),
  "./component/merge.js": () => import("./component/merge.js"),
  "./component/pages.js": () => import("./component/pages.js"),
  "./component/presence.js": () => import("./component/presence.js"),
  "./component/pruning.js": () => import("./component/pruning.js"),
  "./component/quarantine.js": () => import("./component/quarantine.js"),
};

/**
 * Registers the component under the name that the app gives it.
 *
 * ```ts
 * const t = convexTest({ schema, modules });
 * replicateTest.register(t);
 * ```
 */
export function register(t: TestConvex<SchemaDefinition<GenericSchema, boolean>>, name = "replicate"): void {
  t.registerComponent(name, schema, modules);
}

export default { register, schema, modules };

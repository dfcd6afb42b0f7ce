/** All the functions of a collection's module. */
import type { GenericDataModel } from "convex/server";
import type { Authorize } from "./access.js";
import { deltaFunctions } from "./deltas.js";
import { type ReplicateOptions, withDefaults } from "./options.js";
import { originalFunctions } from "./original.js";
import { presenceFunctions } from "./presence.js";
import { Rules } from "./rules.js";
import { upkeepFunctions } from "./upkeep.js";

/**
 * The functions of a collection's module.
 *
 * ```ts
 * export const {
 *   pushChanges, pullDeltas,
 *   insertDocument, updateDocument, deleteDocument, pullChanges, changeStream,
 *   checkRows, prune, setPresence, listPresence,
 * } = defineReplicate<DataModel>({ component: components.replicate, table: "tasks", authorize });
 * ```
 *
 * Export all of them under these names. `checkRows` and `prune` are internal, and `pushChanges` schedules `checkRows`. An
 * app whose clients show each other nothing may leave out `setPresence` and `listPresence`.
 */
export function defineReplicate<DataModel extends GenericDataModel>(options: ReplicateOptions<DataModel>) {
  const { component, table, collection, checkAfter, compactRows, compactAfter, retention, presenceRate } =
    withDefaults(options);
  const target = { component, collection, table };
  const compact = { rows: compactRows, after: compactAfter };
  const authorize = options.authorize as Authorize<GenericDataModel> | undefined;
  const rules = new Rules(target, authorize ?? (options.public === true ? "everyone" : "signedIn"));
  return {
    ...deltaFunctions(target, rules, { checkAfter, compact }),
    ...originalFunctions(target, rules, compact),
    ...upkeepFunctions(target, retention),
    ...presenceFunctions(target, rules, presenceRate),
  };
}

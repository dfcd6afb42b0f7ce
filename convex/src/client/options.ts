/** What an app says about a collection, and what holds where it says nothing. */
import type { GenericDataModel, TableNamesInDataModel } from "convex/server";
import type { ComponentApi } from "../component/_generated/component.js";
import { COMPACT_AFTER, COMPACT_FROM_ROWS, RETENTION } from "../component/limits.js";
import type { Authorize } from "./access.js";

/** The options of `defineReplicate`. */
export type ReplicateOptions<DataModel extends GenericDataModel> = {
  /** The installed component, `components.replicate`. */
  component: ComponentApi;
  /** The app's table, made with `replicatedTable`. */
  table: TableNamesInDataModel<DataModel>;
  /** The collection's name in the log; the table's unless given. */
  collection?: string;
  /** When a row written from a client's word is compared with the merged document, in milliseconds. */
  checkAfter?: number;
  /** The log rows of one document that are worth compacting. */
  compactRows?: number;
  /** How old log rows are before they are compacted, in milliseconds: readers that are up to date have passed them. */
  compactAfter?: number;
  /** How long a tombstone is kept, in milliseconds. A client that was away for longer starts over. */
  retention?: number;
} & (
  | {
      /** Who may read and write. */
      authorize: Authorize<DataModel>;
      public?: false;
    }
  | {
      authorize?: undefined;
      /** Whether everyone may read and write everything. Unless it says so, who is signed in may, and nobody else. */
      public?: boolean;
    }
);

const SECOND = 1_000;

const DEFAULTS = {
  checkAfter: 10 * SECOND,
  compactRows: COMPACT_FROM_ROWS,
  compactAfter: COMPACT_AFTER,
  retention: RETENTION,
};

/** The options with the defaults of those that are absent. An option that is present but undefined counts as absent. */
export function withDefaults<DataModel extends GenericDataModel>(options: ReplicateOptions<DataModel>) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return {
    ...DEFAULTS,
    collection: options.table,
    ...(Object.fromEntries(given) as typeof options),
  };
}

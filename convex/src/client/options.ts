/** The options of a collection, and their defaults. */
import type { GenericDataModel, TableNamesInDataModel } from "convex/server";
import type { ComponentApi } from "../component/_generated/component.js";
import {
  COMPACT_AFTER,
  COMPACT_FROM_ROWS,
  PRESENCE_RATE,
  PRESENCE_RATE_USUAL,
  RETENTION,
} from "../component/limits.js";
import type { Authorize } from "./access.js";

/** The options of `defineReplicate`. */
export type ReplicateOptions<DataModel extends GenericDataModel> = {
  /** The installed component, `components.replicate`. */
  component: ComponentApi;
  /** The app's table, made with `replicatedTable`. */
  table: TableNamesInDataModel<DataModel>;
  /** The collection's name in the log. The default is the table's name. */
  collection?: string;
  /** The delay in milliseconds after which a row written from a client's word is compared with the merged document. */
  checkAfter?: number;
  /** From how many log rows on a document is compacted. */
  compactRows?: number;
  /** The age in milliseconds at which log rows are compacted: readers that are up to date have passed them. */
  compactAfter?: number;
  /** How long a tombstone is kept, in milliseconds. A client that was away for longer starts over. */
  retention?: number;
  /**
   * How many values a client may show others per second, up to 30. The default is 4. Each is a mutation, and a run of
   * the query of each reader.
   */
  presenceRate?: number;
} & (
  | {
      /** The rule for reads and writes. */
      authorize: Authorize<DataModel>;
      public?: false;
    }
  | {
      authorize?: undefined;
      /** Whether everyone may read and write everything. Otherwise only users who are signed in may. */
      public?: boolean;
    }
);

const SECOND = 1_000;

const DEFAULTS = {
  checkAfter: 10 * SECOND,
  compactRows: COMPACT_FROM_ROWS,
  compactAfter: COMPACT_AFTER,
  retention: RETENTION,
  presenceRate: PRESENCE_RATE_USUAL,
};

/** The options with the defaults of those that are absent. An option that is present but undefined counts as absent. */
export function withDefaults<DataModel extends GenericDataModel>(options: ReplicateOptions<DataModel>) {
  const { presenceRate: rate } = options;
  if (rate !== undefined && !(rate > 0 && rate <= PRESENCE_RATE)) {
    throw new Error(`presenceRate is ${rate}; it has to be more than 0 and at most ${PRESENCE_RATE}.`);
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return {
    ...DEFAULTS,
    collection: options.table,
    ...(Object.fromEntries(given) as typeof options),
  };
}

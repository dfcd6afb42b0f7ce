import { defineTable, type TableDefinition } from "convex/server";
import { type ObjectType, type PropertyValidators, v, type VObject } from "convex/values";

/** The fields that every replicated table has beside its own. */
const columns = {
  /** The document's name, given by the client that made it. */
  id: v.string(),
  /** The number of changes in the document. */
  version: v.number(),
  /** When it was last written, in microseconds. */
  timestamp: v.number(),
  /** Present if the document is a tombstone. */
  deleted: v.optional(v.boolean()),
  /** Present if the row lacks values of its document: their places, as JavaScript writes them. */
  notInRow: v.optional(v.array(v.string())),
};

type Columns = typeof columns;

type DocumentOf<Fields extends PropertyValidators> = VObject<ObjectType<Fields & Columns>, Fields & Columns>;

/** A table with the columns and indexes of replication. */
export type ReplicatedTable<Fields extends PropertyValidators> = TableDefinition<
  DocumentOf<Fields>,
  { by_user_id: ["id", "_creationTime"]; by_timestamp: ["timestamp", "_creationTime"] }
>;

/**
 * The table of a collection: `fields`, and the `id`, `version`, `timestamp`, `deleted`, `notInRow` and indexes that
 * replication needs.
 *
 * Declare every field that some documents lack as `v.optional(..)`: an older app may have written a tombstone without
 * it.
 */
export function replicatedTable<Fields extends PropertyValidators>(fields: Fields): ReplicatedTable<Fields> {
  for (const name of Object.keys(columns)) {
    if (name in fields) throw new Error(`replicatedTable adds the field \`${name}\`; take it out of yours.`);
  }
  // The index methods take field names that the compiler knows, and it does not know those of a type parameter.
  const table = defineTable({ ...fields, ...columns }) as unknown as TableDefinition;
  return table
    .index("by_user_id", ["id"])
    .index("by_timestamp", ["timestamp"]) as unknown as ReplicatedTable<Fields>;
}

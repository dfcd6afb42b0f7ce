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
  /** Present where the document is a tombstone. */
  deleted: v.optional(v.boolean()),
  /** Present where the row lacks something of its document: the places of it, as JavaScript writes them. */
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
 * Give every field that not each document has as `v.optional(..)`: a tombstone may have been written by an older app.
 */
export function replicatedTable<Fields extends PropertyValidators>(fields: Fields): ReplicatedTable<Fields> {
  for (const name of Object.keys(columns)) {
    if (name in fields) throw new Error(`replicatedTable adds the field \`${name}\`; take it out of yours.`);
  }
  // The index methods want field names that the compiler knows, which those of a type parameter are not.
  const table = defineTable({ ...fields, ...columns }) as unknown as TableDefinition;
  return table
    .index("by_user_id", ["id"])
    .index("by_timestamp", ["timestamp"]) as unknown as ReplicatedTable<Fields>;
}

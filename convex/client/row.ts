/** The row that an app's table holds for a document. */
import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import type { GenericId, Value } from "convex/values";
import { Refused } from "../component/errors";
import { checkRowSize, rowOf } from "../component/materialize";

/** Any row of any table. */
export type Row = Record<string, Value> & { _id: GenericId<string>; _creationTime: number };

type Reader = Pick<GenericQueryCtx<GenericDataModel>, "db">;
type Writer = Pick<GenericMutationCtx<GenericDataModel>, "db">;

const MICROSECONDS = 1_000;

/** The row of a document, or null. */
export async function readRow(ctx: Reader, table: string, id: string): Promise<Row | null> {
  const row: unknown = await ctx.db
    .query(table)
    .withIndex("by_user_id", (q) => q.eq("id", id))
    .unique();
  return row as Row | null;
}

/** The row's fields without what Convex adds. */
export function ownFields(row: Row): Record<string, Value> {
  const { _id, _creationTime, ...fields } = row;
  return fields;
}

/**
 * Makes the row say `fields` and nothing else. Throws `Refused` where the app's schema does not take it; nothing is
 * written then.
 */
export async function writeRow(
  ctx: Writer,
  table: string,
  current: Row | null,
  id: string,
  version: number,
  fields: Record<string, Value>,
): Promise<void> {
  const row = rowOf(fields, { id, version, timestamp: Date.now() * MICROSECONDS });
  checkRowSize(row);
  try {
    if (current === null) await ctx.db.insert(table, row);
    else await ctx.db.replace(current._id, row);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Refused("rowRefused", `The table ${table} does not take the document's row: ${reason}`);
  }
}

/** Deletes the rows of documents that the log has dropped. */
export async function deleteRows(ctx: Writer, table: string, ids: string[]): Promise<void> {
  for (const id of ids) {
    const row = await readRow(ctx, table, id);
    if (row !== null) await ctx.db.delete(row._id);
  }
}

/** Whether a row says what the merged document does; when it was written does not count. */
export function saysTheSame(row: Row, merged: Record<string, Value>): boolean {
  const shown = comparable(ownFields(row));
  const wanted = comparable(merged);
  return JSON.stringify(shown) === JSON.stringify(wanted);
}

function comparable(fields: Record<string, Value>): unknown {
  const { id: _id, version: _version, timestamp: _timestamp, deleted, ...rest } = fields;
  return sorted(deleted === true ? { ...rest, deleted } : rest);
}

/** A value in which equal things are written equally. */
function sorted(value: Value): unknown {
  if (value instanceof ArrayBuffer) return { $bytes: [...new Uint8Array(value)] };
  if (typeof value === "bigint") return { $integer: value.toString() };
  if (typeof value === "number" && !Number.isFinite(value)) return { $float: String(value) };
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, field]) => [name, sorted(field as Value)]);
}

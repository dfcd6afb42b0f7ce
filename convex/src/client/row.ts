/** Reads and writes the row that an app's table holds for a document. */
import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import { type GenericId, getConvexSize, type Value } from "convex/values";
import { placeName, type Plain, rowOf, withPlaces } from "../component/materialize.js";

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
 * Writes the document's values into its row, as far as the app's schema takes them, and returns the row as it is now.
 * If the schema requires a field that the document lacks, the document has no row: null.
 *
 * A row never refuses a document. A write that the schema refuses fails before anything is written, and can be caught,
 * because Convex validates first (`insert_pending_document` and `replace_inner` in `crates/database/src/transaction.rs`
 * of get-convex/convex-backend).
 */
export async function writeRow(
  ctx: Writer,
  table: string,
  current: Row | null,
  id: string,
  version: number,
  plain: Plain,
): Promise<Record<string, Value> | null> {
  const whole = rowOf(plain, { id, version, timestamp: Date.now() * MICROSECONDS });
  let written = current?._id;
  let taken: Record<string, Value> | null = null;
  let reason = "";
  const write = async (row: Record<string, Value>): Promise<string | null> => {
    try {
      if (written === undefined) written = await ctx.db.insert(table, row);
      else await ctx.db.replace(written, row);
      taken = row;
      return null;
    } catch (error) {
      const refusal = error instanceof Error ? error.message : String(error);
      reason ||= refusal;
      return refusal;
    }
  };
  if ((await write(whole)) === null) return whole;
  const lacking = await writeWhatFits(write, whole, attemptsFor(current));
  if (lacking === null) {
    if (written !== undefined) await ctx.db.delete(written);
    console.error(
      `${table}/${id}: no row, because the schema requires fields that the document lacks: ${reason}`,
    );
  } else if (lacking.length > 0) {
    console.warn(`${table}/${id}: the row lacks ${lacking.join(", ")}, which the schema refuses: ${reason}`);
  }
  return taken;
}

/** Columns that are not fields of the document. */
const COLUMNS = new Set(["id", "version", "timestamp", "deleted", "notInRow"]);

/** How often a refused row is tried again with fewer fields. */
const ATTEMPTS = { least: 6, most: 48 };
/**
 * The bytes that these attempts read: each replacement reads the current row again, and a transaction may read 16 MiB.
 */
const ATTEMPTED_BYTES = 256 * 1024;

function attemptsFor(current: Row | null): number {
  const most = current === null ? ATTEMPTS.most : Math.floor(ATTEMPTED_BYTES / getConvexSize(current));
  return Math.min(ATTEMPTS.most, Math.max(ATTEMPTS.least, most));
}

/** Writes a row. Returns null, or the reason for which the schema refuses it. */
type Write = (row: Record<string, Value>) => Promise<string | null>;

/**
 * Finds fields without which the schema takes a row. The last row that it took stays written. Returns the names of
 * these fields; null if the schema took no row. The functions do not know the schema, so they try rows. A schema
 * decides about each field by itself, unless it is a union.
 */
async function writeWhatFits(
  write: Write,
  whole: Record<string, Value>,
  attempts: number,
): Promise<string[] | null> {
  const names = Object.keys(whole).filter((name) => !COLUMNS.has(name));
  const { notInRow = [], ...rest } = whole;
  // A table made by hand may have no column `notInRow`.
  let ways = [true, false];
  let refusal = "";
  const without = (kept: ReadonlySet<string>) => names.filter((name) => !kept.has(name));
  const takes = async (kept: ReadonlySet<string>) => {
    const entries = Object.entries(rest).filter(([name]) => kept.has(name) || COLUMNS.has(name));
    const row = Object.fromEntries(entries);
    const lacking = without(kept).map((name) => placeName([name]));
    for (const told of ways) {
      if (attempts-- <= 0) return false;
      const refused = await write(told ? withPlaces(row, [...(notInRow as string[]), ...lacking]) : row);
      if (refused === null) {
        ways = [told];
        return true;
      }
      refusal = refused;
    }
    return false;
  };

  // First without nulls: Rust writes `None` as null, which `v.optional` refuses. Then without the fields that Convex's
  // errors name, as long as they name one.
  const all = new Set(names);
  const set = new Set(names.filter((name) => whole[name] !== null));
  for (const from of set.size < all.size ? [all, set] : [all]) if (await takes(from)) return without(from);
  for (const enough = attempts / 2; attempts > enough;) {
    const name = refusedField(refusal);
    if (name === undefined || !set.delete(name)) break;
    if (await takes(set)) return without(set);
  }

  let kept = new Set<string>();
  if (await takes(kept)) {
    // Adds halves, and halves of refused halves: mostly few fields are refused.
    const add = async (some: string[]): Promise<void> => {
      const more = new Set([...kept, ...some]);
      if (more.size === kept.size) return;
      if (await takes(more)) kept = more;
      else if (some.length > 1) {
        const middle = some.length >> 1;
        await add(some.slice(0, middle));
        await add(some.slice(middle));
      }
    };
    await add([...set]);
    await add(names.filter((name) => !set.has(name)));
    return without(kept);
  }
  // A field is required, so the empty row is refused. Perhaps a single other field is the refused one.
  for (const name of set) {
    kept = new Set(set);
    kept.delete(name);
    if (await takes(kept)) return without(kept);
  }
  return null;
}

/** The root field that a refusal names, if it does: `Path: .title` or, without a path, an extra field. */
function refusedField(refusal: string): string | undefined {
  const path = /Path: \.([A-Za-z][A-Za-z0-9_]*)/.exec(refusal);
  return (path ?? /(?:extra|Unexpected) field `([^`]+)`/.exec(refusal))?.[1];
}

/** Deletes the rows of documents that the log has dropped. */
export async function deleteRows(ctx: Writer, table: string, ids: string[]): Promise<void> {
  for (const id of ids) {
    const row = await readRow(ctx, table, id);
    if (row !== null) await ctx.db.delete(row._id);
  }
}

/** Whether a row has the values of the merged document; the time of writing does not count. */
export function saysTheSame(row: Row, merged: Record<string, Value>): boolean {
  const shown = comparable(ownFields(row));
  const wanted = comparable(merged);
  return JSON.stringify(shown) === JSON.stringify(wanted);
}

function comparable(fields: Record<string, Value>): unknown {
  const { id: _id, version: _version, timestamp: _timestamp, deleted, ...rest } = fields;
  return sorted(deleted === true ? { ...rest, deleted } : rest);
}

/** A form in which equal values have equal JSON. */
function sorted(value: Value): unknown {
  if (value instanceof ArrayBuffer) return { $bytes: [...new Uint8Array(value)] };
  if (typeof value === "bigint") return { $integer: value.toString() };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $float: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, field]) => [name, sorted(field as Value)]);
}

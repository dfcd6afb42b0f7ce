/** The check after a push: it makes rows equal their merged documents, and removes invalid changes from logs. */
import type { GenericDataModel, GenericMutationCtx } from "convex/server";
import type { Value } from "convex/values";
import { LOG_ROWS, MERGE_BYTES } from "../component/limits.js";
import { rowOf } from "../component/materialize.js";
import type { Merged, Refusal } from "../component/shapes.js";
import { readRow, saysTheSame, writeRow } from "./row.js";
import type { AppTable, Target } from "./append.js";

type Ctx = GenericMutationCtx<GenericDataModel>;

/** The result of a check. `later` and `repair` need calls of their own, because one transaction cannot read it all. */
export type Checked = { corrected: number; later: string[]; repair: string[] };

/**
 * A document up to this size is checked, repaired and checked again within one transaction's reads; a larger one in
 * two.
 */
const REPAIR_AT_ONCE = MERGE_BYTES / 2;

/** Compares rows with their merged documents, and corrects them. */
export async function checkRows(ctx: Ctx, target: AppTable, ids: string[]): Promise<Checked> {
  const { component, collection } = target;
  const { now, bytes } = await first(ctx, target, ids);
  const checked: Checked = { corrected: 0, later: ids.filter((id) => !now.includes(id)), repair: [] };
  const preview = async (some: string[]) => {
    const documents = some.map((id) => ({ id, changes: [] }));
    return await ctx.runQuery(component.merge.preview, { collection, documents });
  };
  for (let found of await preview(now)) {
    const { id } = found;
    if (found.status === "refused" && found.code === "invalidChange") {
      if (bytes > REPAIR_AT_ONCE) {
        checked.repair.push(id);
        continue;
      }
      if (await repair(ctx, target, id)) found = (await preview([id]))[0]!;
    }
    if (await correct(ctx, target, found)) checked.corrected += 1;
  }
  return checked;
}

/** Removes invalid changes from a document's log. Returns whether there were any; its row then needs a check. */
export async function repair(ctx: Ctx, { component, collection }: Target, id: string): Promise<boolean> {
  const left = await ctx.runMutation(component.quarantine.isolate, { collection, id });
  if (left === null || left.removed.length === 0) return false;
  console.error(`${collection}/${id}: removed from the log: invalid changes ${left.removed.join(", ")}`);
  return true;
}

/**
 * The documents that one transaction can load, and their bytes. Their logs may have grown since the check was
 * scheduled.
 */
async function first(ctx: Ctx, { component, collection }: Target, ids: string[]) {
  const documents = ids.map((id) => ({ id, changes: [] }));
  const { results } = await ctx.runQuery(component.log.examine, { collection, documents });
  const now: string[] = [];
  let [bytes, rows] = [0, 0];
  for (const found of results) {
    const log = found.status === "accepted" ? found : { bytes: 0, rows: 0 };
    if (now.length > 0 && (bytes + log.bytes > MERGE_BYTES || rows + log.rows > LOG_ROWS)) continue;
    now.push(found.id);
    bytes += log.bytes;
    rows += log.rows;
  }
  return { now, bytes };
}

/** Corrects a row from its merged document. Returns whether it was wrong. */
async function correct(
  ctx: Ctx,
  { component, collection, table }: AppTable,
  found: Merged | Refusal,
): Promise<boolean> {
  const { id } = found;
  const row = await readRow(ctx, table, id);
  if (found.status === "refused") {
    // Pruning deleted its row.
    if (found.code === "pruned") return false;
    console.error(`${collection}/${id}: the row cannot be checked: ${found.message}`);
    return false;
  }
  if (found.version === 0) {
    // It never had a change that makes sense.
    if (row !== null) await ctx.db.delete(row._id);
    return false;
  }
  const { version, leftOut } = found;
  const fields = found.fields as Record<string, Value>;
  const whole = rowOf({ fields, leftOut }, { id, version, timestamp: 0 });
  const isWhole = row !== null && row.version === version && saysTheSame(row, whole);
  // The row lacks fields that the schema refuses. Writing the row again shows which.
  const written = isWhole ? null : await writeRow(ctx, table, row, id, version, { fields, leftOut });
  const deleted = fields.deleted === true;
  await ctx.runMutation(component.log.checked, { collection, id, version, deleted });
  if (row === null || written === null) return !isWhole && row !== written;
  return row.version !== version || !saysTheSame(row, written);
}

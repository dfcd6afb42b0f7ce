/** The writes of the original API: whole documents, and deletes by the server. */
import type { Value } from "convex/values";
import { refusalError, refuse } from "../component/errors.js";
import type { Chunk, CompactionPolicy } from "../component/shapes.js";
import { append, type Target } from "./append.js";
import type { MutationCtx } from "./builders.js";
import { readRow, writeRow } from "./row.js";

type Options = { scope?: string; compact?: CompactionPolicy };

/** Insert and update: merges the changes of `crdtBytes` that the log lacks. */
export async function writeDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  crdtBytes: ArrayBuffer,
  options?: Options,
): Promise<void> {
  const { component, collection } = target;
  const split = await ctx.runQuery(component.merge.split, { collection, id, crdtBytes });
  if (split.status === "refused") throw refusalError(split);
  await writeSplit(ctx, target, id, split, options);
}

/** Delete: appends a change by an actor of the server's own. */
export async function deleteDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  options?: Options,
): Promise<void> {
  const { component, collection } = target;
  const actor = crypto.randomUUID().replaceAll("-", "");
  const split = await ctx.runQuery(component.merge.deletion, { collection, id, actor });
  if (split === null) {
    throw refuse({
      code: "unknownDocument",
      message: `There is no document ${id} in ${collection}. Insert it first.`,
      document: id,
    });
  }
  if (split.status === "refused") throw refusalError(split);
  await writeSplit(ctx, target, id, split, options);
}

/** The result of `merge.split` and `merge.deletion`. */
type Split = { changes: Chunk[]; fields: Record<string, unknown>; leftOut: string[]; version: number };

/** Writes the changes that the log has split off, and the row with them. */
async function writeSplit(
  ctx: MutationCtx,
  target: Target,
  id: string,
  { changes, version, leftOut, ...split }: Split,
  options: Options = {},
): Promise<void> {
  if (changes.length === 0) return;
  const fields = split.fields as Record<string, Value>;
  if (target.table !== null) {
    await writeRow(ctx, target.table, await readRow(ctx, target.table, id), id, version, { fields, leftOut });
  }
  const documents = [{ id, changes, deleted: fields.deleted === true }];
  await append(ctx, target, { ...options, documents });
}

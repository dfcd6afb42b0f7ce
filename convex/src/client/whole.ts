/** The writes of the original API: whole documents, and deletes by the server. */
import type { Value } from "convex/values";
import { refusalError, refuse } from "../component/errors.js";
import type { Chunk, CompactionPolicy, Effect } from "../component/shapes.js";
import { notAuthorized } from "./access.js";
import { append, type Target } from "./append.js";
import type { MutationCtx } from "./builders.js";
import type { Rights } from "./rules.js";
import { readRow, writeRow } from "./row.js";

type Options = {
  compact?: CompactionPolicy;
  /** The rights of the caller. If absent, it may write everything. */
  rights?: Rights;
};

/** Insert and update: merges the changes of `crdtBytes` that the log lacks. */
export async function writeDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  crdtBytes: ArrayBuffer,
  options: Options = {},
): Promise<void> {
  const { component, collection } = target;
  const home = await enter(ctx, target, id, options.rights);
  const effects = options.rights?.looksAtRows === true;
  const split = await ctx.runQuery(component.merge.split, { collection, id, crdtBytes, effects });
  if (split.status === "refused") throw refusalError(split);
  await writeSplit(ctx, target, id, home, split, options);
}

/** Delete: appends a change by an actor of the server's own. */
export async function deleteDocument(
  ctx: MutationCtx,
  target: Target,
  id: string,
  options: Options = {},
): Promise<void> {
  const { component, collection } = target;
  const home = await enter(ctx, target, id, options.rights);
  const effects = options.rights?.looksAtRows === true;
  const actor = crypto.randomUUID().replaceAll("-", "");
  const split = await ctx.runQuery(component.merge.deletion, { collection, id, actor, effects });
  if (split === null) {
    throw refuse({
      code: "unknownDocument",
      message: `There is no document ${id} in ${collection}. Insert it first.`,
      document: id,
    });
  }
  if (split.status === "refused") throw refusalError(split);
  await writeSplit(ctx, target, id, home, split, options);
}

/** Throws if the caller may not enter the document's scope, and returns that scope. A new document has none. */
async function enter(
  ctx: MutationCtx,
  { component, collection }: Target,
  id: string,
  rights: Rights | undefined,
): Promise<string | undefined> {
  if (rights === undefined) return undefined;
  const home = (await ctx.runQuery(component.log.status, { collection, id }))?.scope;
  if (!(await rights.mayEnter(home))) throw notAuthorized({ kind: "write", document: id });
  return home;
}

/** The result of `merge.split` and `merge.deletion`. */
type Split = {
  changes: Chunk[];
  fields: Record<string, unknown>;
  leftOut: string[];
  version: number;
  effect?: Effect;
};

/** Writes the changes that the log has split off, and the row with them. */
async function writeSplit(
  ctx: MutationCtx,
  target: Target,
  id: string,
  home: string | undefined,
  { changes, version, leftOut, effect, ...split }: Split,
  { rights, compact }: Options,
): Promise<void> {
  if (changes.length === 0) return;
  const judged = { ...split, leftOut, ...(effect === undefined ? {} : { effect }) };
  if (rights !== undefined && !(await rights.mayWrite(id, home, judged))) {
    throw notAuthorized({ kind: "write", document: id });
  }
  const fields = split.fields as Record<string, Value>;
  if (target.table !== null) {
    await writeRow(ctx, target.table, await readRow(ctx, target.table, id), id, version, { fields, leftOut });
  }
  const documents = [{ id, changes, deleted: fields.deleted === true }];
  await append(ctx, target, { compact, documents });
}

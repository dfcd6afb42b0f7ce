/**
 * The dual-storage helpers of convex-replicate 0.2, with its signatures: they write log and table together. New modules
 * use `defineReplicate`, which does the same and has the delta functions besides.
 */
import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import type { ComponentApi } from "../component/_generated/component.js";
import { RETENTION } from "../component/limits.js";
import { pruneDocuments } from "./prune.js";
import { ReplicateStorage } from "./storage.js";
import { deleteDocument, writeDocument } from "./whole.js";

/** The app's `components`. */
export type Components = { replicate: ComponentApi };

type QueryCtx<DataModel extends GenericDataModel> = Pick<GenericQueryCtx<DataModel>, "runQuery">;
type MutationCtx<DataModel extends GenericDataModel> = GenericMutationCtx<DataModel>;

/** A document as a client of the original API sends it. Only `id` and `crdtBytes` are used. */
export type DocumentArgs = {
  id: string;
  crdtBytes: ArrayBuffer;
  materializedDoc?: unknown;
  version?: number;
};

/** Merges a whole document into log and table. */
export async function insertDocumentHelper<DataModel extends GenericDataModel>(
  ctx: MutationCtx<DataModel>,
  components: Components,
  tableName: string,
  args: DocumentArgs,
): Promise<{ success: boolean }> {
  const target = { component: components.replicate, collection: tableName, table: tableName };
  await writeDocument(plain(ctx), target, args.id, args.crdtBytes);
  return { success: true };
}

/** The same as {@link insertDocumentHelper}: a repeat is a merge. */
export const updateDocumentHelper = insertDocumentHelper;

/** Marks a document as deleted in log and table. */
export async function deleteDocumentHelper<DataModel extends GenericDataModel>(
  ctx: MutationCtx<DataModel>,
  components: Components,
  tableName: string,
  args: { id: string },
): Promise<{ success: boolean }> {
  const target = { component: components.replicate, collection: tableName, table: tableName };
  await deleteDocument(plain(ctx), target, args.id);
  return { success: true };
}

/** Whole documents modified at or after the checkpoint, oldest first. */
export async function pullChangesHelper<DataModel extends GenericDataModel>(
  ctx: QueryCtx<DataModel>,
  components: Components,
  tableName: string,
  args: { checkpoint: { lastModified: number }; limit?: number },
) {
  return await new ReplicateStorage(components.replicate, tableName).pullChanges(
    ctx,
    args.checkpoint,
    args.limit,
  );
}

/** When the collection last changed and how many documents it has. */
export async function changeStreamHelper<DataModel extends GenericDataModel>(
  ctx: QueryCtx<DataModel>,
  components: Components,
  tableName: string,
) {
  return await new ReplicateStorage(components.replicate, tableName).changeStream(ctx);
}

/**
 * Drops documents that were deleted longer ago than `retention` (milliseconds, 90 days unless given) from log and
 * table, as many as one transaction can. Call it from a cron, and again while `hasMore`. Returns their ids. The
 * original library keeps deleted documents forever.
 */
export async function pruneHelper<DataModel extends GenericDataModel>(
  ctx: MutationCtx<DataModel>,
  components: Components,
  tableName: string,
  args: { retention?: number } = {},
): Promise<{ pruned: string[]; hasMore: boolean }> {
  const target = { component: components.replicate, collection: tableName, table: tableName };
  const { pruned, hasMore } = await pruneDocuments(plain(ctx), target, args.retention ?? RETENTION);
  return { pruned, hasMore };
}

/** The table's name is a value here, so the context is not typed by the app's data model. */
function plain<DataModel extends GenericDataModel>(ctx: MutationCtx<DataModel>) {
  return ctx as unknown as GenericMutationCtx<GenericDataModel>;
}

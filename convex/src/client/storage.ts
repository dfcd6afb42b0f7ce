import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import type { ComponentApi } from "../component/_generated/component.js";
import { refusalError } from "../component/errors.js";
import { RETENTION } from "../component/limits.js";
import type { Chunk, Position } from "../component/shapes.js";
import type { Target } from "./append.js";
import { pruneDocuments } from "./prune.js";
import { deleteDocument, writeDocument } from "./whole.js";
import { pushDocuments, type PushResult } from "./write.js";

type QueryCtx = Pick<GenericQueryCtx<GenericDataModel>, "runQuery">;
type MutationCtx = GenericMutationCtx<GenericDataModel>;

/** A whole document in a page of the original API. Times are microseconds. */
export type DocumentChange = {
  documentId: string;
  /** Opens with `Automerge.load`. */
  crdtBytes: ArrayBuffer;
  /** The number of changes in it. */
  version: number;
  timestamp: number;
};

/** A row of the log: an Automerge change or snapshot, or a part of one. */
export type Delta = Chunk & { id: string; ts: bigint; ordinal: number; author?: string };

/**
 * One collection in the component's log, without a table of the app. A collection with a table uses `defineReplicate`
 * or the helpers, which keep both in step.
 *
 * ```ts
 * const tasks = new ReplicateStorage<Task>(components.replicate, "tasks");
 * ```
 */
export class ReplicateStorage<T extends object = Record<string, unknown>> {
  private readonly target: Target;

  constructor(
    private readonly component: ComponentApi,
    private readonly collection: string,
  ) {
    this.target = { component, collection, table: null };
  }

  /** Merges a whole saved document into the log. `version` is ignored: the log counts. */
  async insertDocument(ctx: MutationCtx, documentId: string, crdtBytes: ArrayBuffer, _version?: number) {
    await writeDocument(ctx, this.target, documentId, crdtBytes);
    return { success: true };
  }

  /** The same as `insertDocument`: a repeat is a merge. */
  async updateDocument(ctx: MutationCtx, documentId: string, crdtBytes: ArrayBuffer, version?: number) {
    return await this.insertDocument(ctx, documentId, crdtBytes, version);
  }

  /** Marks a document as deleted. Fails with `unknownDocument` if the log does not know it. */
  async deleteDocument(ctx: MutationCtx, documentId: string) {
    await deleteDocument(ctx, this.target, documentId);
    return { success: true };
  }

  /** Whole documents modified at or after the checkpoint, oldest first. */
  async pullChanges(
    ctx: QueryCtx,
    checkpoint: { lastModified: number },
    limit?: number,
  ): Promise<{ changes: DocumentChange[]; checkpoint: { lastModified: number }; hasMore: boolean }> {
    const { collection } = this;
    const { lastModified } = checkpoint;
    return await ctx.runQuery(this.component.pages.pullDocuments, {
      collection,
      lastModified,
      ...(limit === undefined ? {} : { limit }),
    });
  }

  /** When the collection last changed, in microseconds, and how many documents it has, tombstones included. */
  async changeStream(ctx: QueryCtx): Promise<{ timestamp: number; count: number }> {
    return await ctx.runQuery(this.component.pages.changeStream, { collection: this.collection });
  }

  /**
   * Appends changes, each document accepted or refused on its own. Each is merged, to know whether it is deleted now.
   */
  async pushChanges(
    ctx: MutationCtx,
    documents: { id: string; changes: Chunk[] }[],
    scope?: string,
  ): Promise<{ epoch: string; results: PushResult[] }> {
    const { epoch, results } = await pushDocuments(
      ctx,
      this.target,
      documents,
      scope === undefined ? {} : { scope },
    );
    return { epoch, results };
  }

  /**
   * Drops documents that were deleted longer ago than `retention` (milliseconds), as many as one transaction can. Call
   * it from a cron, and again while `hasMore`. Returns their ids.
   */
  async prune(ctx: MutationCtx, retention = RETENTION): Promise<{ pruned: string[]; hasMore: boolean }> {
    const { pruned, hasMore } = await pruneDocuments(ctx, this.target, retention);
    return { pruned, hasMore };
  }

  /** The log after a checkpoint, in commit order. */
  async pullDeltas(
    ctx: QueryCtx,
    args: { checkpoint: Position; limit?: number; scope?: string; pruned?: bigint },
  ): Promise<{ deltas: Delta[]; checkpoint: Position; hasMore: boolean; epoch: string; pruned?: bigint }> {
    return await ctx.runQuery(this.component.pages.pullDeltas, { collection: this.collection, ...args });
  }

  /** The merged document as plain values; null if the log does not know it. It is not checked against `T`. */
  async getDocument(ctx: QueryCtx, documentId: string): Promise<T | null> {
    const { collection } = this;
    const [found] = await ctx.runQuery(this.component.merge.preview, {
      collection,
      documents: [{ id: documentId, changes: [] }],
    });
    if (found === undefined) return null;
    if (found.status === "refused") throw refusalError(found);
    return found.version === 0 ? null : (found.fields as T);
  }
}

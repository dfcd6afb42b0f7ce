import type { FunctionReference } from "convex/server";
import { loadAutomerge } from "../component/automerge.js";
import { materialize } from "../component/materialize.js";
import type { DocumentChange } from "./storage.js";

type Checkpoint = { lastModified: number };

/** The functions of a collection's module that loading calls. */
export type CollectionApi = {
  pullChanges: FunctionReference<
    "query",
    "public",
    { collectionName: string; checkpoint: Checkpoint; limit?: number },
    { changes: DocumentChange[]; checkpoint: Checkpoint; hasMore: boolean }
  >;
};

/** Calls functions over HTTP: Convex's `ConvexHttpClient`. */
export type HttpClient = {
  query(
    reference: CollectionApi["pullChanges"],
    args: { collectionName: string; checkpoint: Checkpoint; limit?: number },
  ): Promise<{ changes: DocumentChange[]; checkpoint: Checkpoint; hasMore: boolean }>;
};

/**
 * Documents as plain values, and the checkpoint from which a client goes on. It is a plain object, so that both reach
 * the page in JSON.
 */
export type LoadedCollection<T> = { documents: T[]; checkpoint: Checkpoint };

const DOCUMENTS = 100;

/**
 * The documents of a collection for a page rendered on the server: the first `limit` (100 unless given) and those
 * written in the same commit as the last of them, without deleted ones. They have the fields of the clients' documents
 * and their `id`, and are not checked against `T`.
 */
export async function loadCollection<T extends object>(
  httpClient: HttpClient,
  { api, collection, limit = DOCUMENTS }: { api: CollectionApi; collection: string; limit?: number },
): Promise<LoadedCollection<T>> {
  const automerge = await loadAutomerge();
  const documents = new Map<string, T>();
  let checkpoint: Checkpoint = { lastModified: 0 };
  for (let hasMore = true; hasMore && documents.size < limit;) {
    const page = await httpClient.query(api.pullChanges, { collectionName: collection, checkpoint, limit });
    for (const { documentId, crdtBytes } of page.changes) {
      const doc = automerge.load<Record<string, unknown>>(new Uint8Array(crdtBytes));
      const { fields } = materialize(automerge.toJS(doc));
      automerge.free(doc);
      if (fields.deleted === true) documents.delete(documentId);
      else documents.set(documentId, { ...fields, id: documentId } as T);
    }
    ({ checkpoint, hasMore } = page);
  }
  // The page is not cut off at `limit`: a client that goes on from the checkpoint would never see the rest.
  return { documents: [...documents.values()], checkpoint };
}

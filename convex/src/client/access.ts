/** The requests that an app's rule decides about. */
import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import type { Value } from "convex/values";
import { refuse } from "../component/errors.js";

/** Asks whether the caller may read a collection, or one scope of it. */
export type ReadRequest = { kind: "read"; collection: string; scope: string | undefined };

/** Asks whether the caller may write a document. */
export type WriteRequest = {
  kind: "write";
  operation: "push" | "insert" | "update" | "delete";
  collection: string;
  document: string;
  /** The scope the document is in, or would enter. */
  scope: string | undefined;
  /**
   * Its row before the write, or the row it would have if the table's schema takes none; null if the document is new.
   */
  row: Record<string, Value> | null;
};

/** The argument of an app's `authorize`. */
export type AccessRequest = ReadRequest | WriteRequest;

/**
 * Decides about a request. Return false to refuse; throw a `ConvexError` to refuse the whole call in your own words.
 */
export type Authorize<DataModel extends GenericDataModel> = (
  ctx: GenericQueryCtx<DataModel> | GenericMutationCtx<DataModel>,
  request: AccessRequest,
) => boolean | Promise<boolean>;

/** The rule of an app that gives none: users who are signed in may read and write. Throws for others. */
export async function signedIn(ctx: Pick<GenericQueryCtx<GenericDataModel>, "auth">): Promise<boolean> {
  if ((await ctx.auth.getUserIdentity()) === null) {
    throw refuse({ code: "unauthenticated", message: "Sign in first: this collection is not public." });
  }
  return true;
}

/** The error of a call that the app's rules refuse. */
export function notAuthorized(request: AccessRequest) {
  const what =
    request.kind === "read"
      ? `read the collection ${request.collection}`
      : `write the document ${request.document}`;
  return refuse({
    code: "notAuthorized",
    message: `You may not ${what}.`,
    ...(request.kind === "write" ? { document: request.document } : {}),
  });
}

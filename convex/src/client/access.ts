/** Who may read and write. */
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
   * Its row before the write, or what that would say where the table's schema takes none; null where the document is
   * new.
   */
  row: Record<string, Value> | null;
};

/** What an app's `authorize` is asked. */
export type AccessRequest = ReadRequest | WriteRequest;

/** Decides about a request. Answer false to refuse; throw a `ConvexError` to refuse the whole call in your own words. */
export type Authorize<DataModel extends GenericDataModel> = (
  ctx: GenericQueryCtx<DataModel> | GenericMutationCtx<DataModel>,
  request: AccessRequest,
) => boolean | Promise<boolean>;

/** Where an app gives no rule: whoever is signed in may read and write. */
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

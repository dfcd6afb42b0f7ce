/** The requests that an app's rule decides about, and rules that are ready for use. */
import type { GenericDataModel, GenericMutationCtx, GenericQueryCtx } from "convex/server";
import type { Value } from "convex/values";
import { refuse } from "../component/errors.js";

/** Asks whether the caller may read a collection, or one scope of it, and enter the scope to write in it. */
export type ReadRequest = {
  kind: "read";
  /** The caller: `tokenIdentifier`, which is `issuer|subject`. Null: the caller is not signed in. */
  user: string | null;
  collection: string;
  /** The scope; undefined for the whole collection, with the documents of every scope. */
  scope: string | undefined;
};

/**
 * Asks whether the caller may write a document. A read request for the document's scope was allowed before, so that
 * nobody writes into a scope that the rule does not let them read.
 */
export type WriteRequest = {
  kind: "write";
  operation: "push" | "insert" | "update" | "delete";
  /** The effect of the write: `deleted` makes a tombstone of the document, and `restored` takes that back. */
  change: "new" | "changed" | "deleted" | "restored";
  /** The caller, as in a read request. */
  user: string | null;
  collection: string;
  document: string;
  /** The scope the document is in, or would enter. A document stays in the scope that it was first pushed to. */
  scope: string | undefined;
  /** The document's fields before the write; null if it is new. */
  before: Record<string, Value> | null;
  /**
   * The document's fields after the write, merged by the log: never values that the client only claims. Values that
   * Convex cannot store are left out and named in `notInRow`; values that the table's schema refuses are here.
   */
  after: Record<string, Value>;
  /** The root fields whose values the write changes, sorted. `deleted` is not among them: see `change`. */
  changed: string[];
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

/**
 * A rule: users who are signed in may read everything, and write only documents of their own. A root field of the
 * document, such as `owner`, has to be the user's `tokenIdentifier` before and after the write. So nobody takes a
 * document over, gives one away, or makes one in another's name.
 */
export function ownRows(field: string) {
  return (_ctx: unknown, request: AccessRequest): boolean => {
    const { user } = request;
    if (user === null) throw signInFirst();
    if (request.kind === "read") return true;
    const owns = (fields: Record<string, Value>) => Object.hasOwn(fields, field) && fields[field] === user;
    return owns(request.after) && (request.before === null || owns(request.before));
  };
}

/** The error of a call whose caller has to be signed in. */
export function signInFirst() {
  return refuse({ code: "unauthenticated", message: "Sign in first: this collection is not public." });
}

/** The error of a call that the app's rules refuse. */
export function notAuthorized(request: ReadRequest | { kind: "write"; document: string }) {
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

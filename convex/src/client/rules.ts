/** The app's rule, applied to one collection and one caller. */
import type { GenericDataModel } from "convex/server";
import type { Value } from "convex/values";
import { rowOf } from "../component/materialize.js";
import type { Effect } from "../component/shapes.js";
import { type Authorize, notAuthorized, type ReadRequest, signInFirst, type WriteRequest } from "./access.js";
import type { AppTable } from "./append.js";
import type { MutationCtx, QueryCtx } from "./builders.js";

/** The app's rule: a function, everyone, or everyone who is signed in. */
export type Rule = Authorize<GenericDataModel> | "everyone" | "signedIn";

/** A document after a write, and the effect of the write. */
export type Judged = { fields: unknown; leftOut: string[]; effect?: Effect };

/** The rights of one caller in one collection. */
export class Rights {
  private readonly entered = new Map<string | undefined, boolean>();

  constructor(
    private readonly collection: string,
    /** Whether writes have to be merged before the rule is asked. */
    readonly looksAtRows: boolean,
    private readonly operation: WriteRequest["operation"],
    private readonly ask: (
      request: Omit<ReadRequest, "user"> | Omit<WriteRequest, "user">,
    ) => Promise<boolean>,
  ) {}

  /** Whether the caller may enter a scope to write in it. */
  async mayEnter(scope: string | undefined): Promise<boolean> {
    const known = this.entered.get(scope);
    if (known !== undefined) return known;
    const may = await this.ask({ kind: "read", collection: this.collection, scope });
    this.entered.set(scope, may);
    return may;
  }

  /**
   * Whether the caller may write a document. Asks for its scope as well, so that no write can forget it. A write without
   * an effect is judged as the document is.
   */
  async mayWrite(document: string, scope: string | undefined, written: Judged): Promise<boolean> {
    if (!(await this.mayEnter(scope))) return false;
    if (!this.looksAtRows) return true;
    const { effect } = written;
    if (effect === undefined) throw new Error("a rule is asked about a write without its effect");
    const after = shown(document, written);
    const before = effect.before === null ? null : shown(document, effect.before);
    return await this.ask({
      kind: "write",
      operation: this.operation,
      change: changeOf(before, after),
      collection: this.collection,
      document,
      scope,
      before,
      after,
      changed: effect.changed,
    });
  }
}

export class Rules {
  constructor(
    private readonly target: AppTable,
    private readonly rule: Rule,
  ) {}

  /** Throws if the caller may not read the collection, or the scope. */
  async checkRead(ctx: QueryCtx, scope?: string): Promise<void> {
    const request = { kind: "read" as const, collection: this.target.collection, scope };
    if (!(await this.allows(ctx, request))) throw notAuthorized({ ...request, user: null });
  }

  /** Throws if callers have to be signed in and this one is not: then the whole push fails, not each document. */
  async checkSignedIn(ctx: MutationCtx): Promise<void> {
    if (this.rule === "signedIn" && (await ctx.auth.getUserIdentity()) === null) throw signInFirst();
  }

  /** The rights of the caller of a mutation. */
  of(ctx: MutationCtx, operation: WriteRequest["operation"]): Rights {
    const ask = (request: Omit<ReadRequest, "user"> | Omit<WriteRequest, "user">) =>
      this.allows(ctx, request);
    return new Rights(this.target.collection, typeof this.rule === "function", operation, ask);
  }

  private async allows(
    ctx: QueryCtx | MutationCtx,
    request: Omit<ReadRequest, "user"> | Omit<WriteRequest, "user">,
  ): Promise<boolean> {
    if (this.rule === "everyone") return true;
    const user = (await ctx.auth.getUserIdentity())?.tokenIdentifier ?? null;
    if (this.rule === "signedIn") {
      if (user === null) throw signInFirst();
      return true;
    }
    return await this.rule(ctx, { ...request, user });
  }
}

/** A document's fields as a rule is given them. */
function shown(id: string, { fields, leftOut }: { fields: unknown; leftOut: string[] }) {
  const plain = { fields: fields as Record<string, Value>, leftOut };
  const {
    id: _id,
    version: _version,
    timestamp: _timestamp,
    ...own
  } = rowOf(plain, {
    id,
    version: 0,
    timestamp: 0,
  });
  return own as Record<string, Value>;
}

function changeOf(
  before: Record<string, Value> | null,
  after: Record<string, Value>,
): WriteRequest["change"] {
  if (before === null) return "new";
  const [was, is] = [before.deleted === true, after.deleted === true];
  if (was === is) return "changed";
  return is ? "deleted" : "restored";
}

/** The app's rule, applied to one collection. */
import type { GenericDataModel } from "convex/server";
import { type AccessRequest, type Authorize, notAuthorized, signedIn, type WriteRequest } from "./access.js";
import type { AppTable } from "./append.js";
import type { MutationCtx, QueryCtx } from "./builders.js";
import { documentAsRow, ownFields, readRow, type Shown } from "./row.js";

/** The app's rule: a function, everyone, or everyone who is signed in. */
export type Rule = Authorize<GenericDataModel> | "everyone" | "signedIn";

export class Rules {
  constructor(
    private readonly target: AppTable,
    private readonly rule: Rule,
  ) {}

  /** Throws if the caller may not read the collection, or the scope. */
  async checkRead(ctx: QueryCtx, scope?: string): Promise<void> {
    const request: AccessRequest = { kind: "read", collection: this.target.collection, scope };
    if (!(await this.allows(ctx, request))) throw notAuthorized(request);
  }

  /** Throws if callers have to be signed in and this one is not: then the whole push fails, not each document. */
  async checkSignedIn(ctx: MutationCtx): Promise<void> {
    if (this.rule === "signedIn") await signedIn(ctx);
  }

  /** Whether the caller may write a document. `row` is its row before the write, or null if the document is new. */
  async mayWrite(
    ctx: MutationCtx,
    operation: WriteRequest["operation"],
    document: string,
    scope: string | undefined,
    row: Shown | null,
  ): Promise<boolean> {
    const { collection } = this.target;
    const fields = row === null ? null : ownFields(row);
    return await this.allows(ctx, { kind: "write", operation, collection, document, scope, row: fields });
  }

  /** Throws if the caller may not write a document. */
  async checkWrite(ctx: MutationCtx, operation: WriteRequest["operation"], document: string): Promise<void> {
    const { component, collection, table } = this.target;
    const status = await ctx.runQuery(component.log.status, { collection, id: document });
    const stored = await readRow(ctx, table, document);
    const row = stored ?? (status === null ? null : await documentAsRow(ctx, this.target, document));
    const scope = status?.scope;
    if (await this.mayWrite(ctx, operation, document, scope, row)) return;
    throw notAuthorized({ kind: "write", operation, collection, document, scope, row: null });
  }

  private async allows(ctx: QueryCtx | MutationCtx, request: AccessRequest): Promise<boolean> {
    if (this.rule === "everyone") return true;
    if (this.rule === "signedIn") return await signedIn(ctx);
    return await this.rule(ctx, request);
  }
}

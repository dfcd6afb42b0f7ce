/** The functions of clients that push and pull single changes. */
import { v } from "convex/values";
import { refuse } from "../component/errors.js";
import { PUSH_BYTES, PUSH_CHANGES, PUSH_DOCUMENTS, SCOPE_BYTES } from "../component/limits.js";
import { chunk, type CompactionPolicy, part, position, refusal } from "../component/shapes.js";
import type { AppTable } from "./append.js";
import { mutation, query, sibling } from "./builders.js";
import type { Rules } from "./rules.js";
import { pushDocuments, type PushedDocument } from "./write.js";

/**
 * `checkAfter` is the delay in milliseconds after which `checkRows` compares the rows of a push with the merged
 * documents.
 */
export function deltaFunctions(
  target: AppTable,
  rules: Rules,
  { checkAfter, compact }: { checkAfter: number; compact: CompactionPolicy },
) {
  const { component, collection } = target;

  const pushChanges = mutation({
    args: {
      documents: v.array(
        v.object({
          id: v.string(),
          changes: v.array(chunk),
          fields: v.optional(v.any()),
          removed: v.optional(v.array(v.string())),
        }),
      ),
      scope: v.optional(v.string()),
    },
    returns: v.object({
      epoch: v.string(),
      results: v.array(v.union(v.object({ id: v.string(), status: v.literal("accepted") }), refusal)),
    }),
    handler: async (ctx, { documents, scope }) => {
      checkPush(documents);
      checkScope(scope);
      await rules.checkSignedIn(ctx);
      const pushed = await pushDocuments(ctx, target, documents, {
        ...(scope === undefined ? {} : { scope }),
        rights: rules.of(ctx, "push"),
        compact,
        checkDue: Date.now() + checkAfter,
      });
      if (pushed.unchecked.length > 0) {
        const check = await sibling(ctx, "checkRows");
        for (const ids of pushed.unchecked) await ctx.scheduler.runAfter(checkAfter, check, { ids });
      }
      return { epoch: pushed.epoch, results: pushed.results };
    },
  });

  const pullDeltas = query({
    args: {
      checkpoint: position,
      limit: v.optional(v.number()),
      scope: v.optional(v.string()),
      pruned: v.optional(v.int64()),
    },
    returns: v.object({
      deltas: v.array(
        v.object({
          id: v.string(),
          ts: v.int64(),
          ordinal: v.number(),
          bytes: v.bytes(),
          part: v.optional(part),
          author: v.optional(v.string()),
        }),
      ),
      checkpoint: position,
      hasMore: v.boolean(),
      epoch: v.string(),
      pruned: v.optional(v.int64()),
    }),
    handler: async (ctx, args) => {
      checkScope(args.scope);
      await rules.checkRead(ctx, args.scope);
      return await ctx.runQuery(component.pages.pullDeltas, { collection, ...args });
    },
  });

  return { pushChanges, pullDeltas };
}

/** Refuses a scope whose name is too long: it becomes part of every document in it. */
export function checkScope(scope: string | undefined): void {
  if (scope === undefined) return;
  const bytes = new TextEncoder().encode(scope).length;
  if (bytes <= SCOPE_BYTES) return;
  throw refuse({
    code: "tooLarge",
    message: `The scope has ${bytes} bytes; at most ${SCOPE_BYTES}.`,
    limit: SCOPE_BYTES,
  });
}

/** A push over a limit fails as a whole: which document to refuse could not be decided cheaply. */
function checkPush(documents: PushedDocument[]): void {
  const changes = documents.reduce((sum, document) => sum + document.changes.length, 0);
  const bytes = documents.reduce(
    (sum, document) => document.changes.reduce((all, { bytes }) => all + bytes.byteLength, sum),
    0,
  );
  const over = (what: string, limit: number) =>
    refuse({
      code: "pushTooLarge",
      message: `A push has at most ${limit} ${what}; send it in several.`,
      limit,
    });
  if (documents.length > PUSH_DOCUMENTS) throw over("documents", PUSH_DOCUMENTS);
  if (changes > PUSH_CHANGES) throw over("changes", PUSH_CHANGES);
  if (bytes > PUSH_BYTES) throw over("bytes of chunks", PUSH_BYTES);
}

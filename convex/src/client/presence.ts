/** The functions by which connected apps show each other what is not stored. */
import { v } from "convex/values";
import type { Target } from "./append.js";
import { mutation, query } from "./builders.js";
import { checkScope } from "./deltas.js";
import type { Rules } from "./rules.js";

/** `rate` is the number of values that a peer may show per second. */
export function presenceFunctions({ component, collection }: Target, rules: Rules, rate: number) {
  const setPresence = mutation({
    args: { session: v.string(), scope: v.optional(v.string()), value: v.optional(v.string()) },
    returns: v.object({ peer: v.string(), rate: v.number(), ttl: v.number() }),
    handler: async (ctx, args) => {
      checkScope(args.scope);
      await rules.checkRead(ctx, args.scope);
      // The caller whom Convex has verified, and never what a client says.
      const user = (await ctx.auth.getUserIdentity())?.tokenIdentifier;
      const shown = { collection, rate, ...args, ...(user === undefined ? {} : { user }) };
      return await ctx.runMutation(component.presence.set, shown);
    },
  });

  const listPresence = query({
    args: { scope: v.optional(v.string()) },
    returns: v.object({
      peers: v.array(v.object({ peer: v.string(), user: v.optional(v.string()), value: v.string() })),
    }),
    handler: async (ctx, args) => {
      checkScope(args.scope);
      await rules.checkRead(ctx, args.scope);
      return await ctx.runQuery(component.presence.list, { collection, ...args });
    },
  });

  return { setPresence, listPresence };
}

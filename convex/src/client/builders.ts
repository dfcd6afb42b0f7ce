/**
 * The builders of the functions that an app exports. The table's name is a value here, so these functions are not typed
 * by the app's data model.
 */
import {
  type GenericDataModel,
  type GenericMutationCtx,
  type GenericQueryCtx,
  internalMutationGeneric,
  makeFunctionReference,
  type MutationBuilder,
  mutationGeneric,
  type QueryBuilder,
  queryGeneric,
} from "convex/server";

export const mutation: MutationBuilder<GenericDataModel, "public"> = mutationGeneric;
export const internalMutation: MutationBuilder<GenericDataModel, "internal"> = internalMutationGeneric;
export const query: QueryBuilder<GenericDataModel, "public"> = queryGeneric;

export type QueryCtx = GenericQueryCtx<GenericDataModel>;
export type MutationCtx = GenericMutationCtx<GenericDataModel>;

/** Another function of the module that is running. */
export async function sibling(ctx: MutationCtx, name: string) {
  const { name: running } = await ctx.meta.getFunctionMetadata();
  const module = running.split(":")[0]!.replace(/\.js$/, "");
  return makeFunctionReference<"mutation">(`${module}:${name}`);
}

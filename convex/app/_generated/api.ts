/* eslint-disable */
/** The functions of this app, as `convex codegen` writes them. */
import type * as cards from "../cards.js";
import type * as columns from "../columns.js";
import type * as crons from "../crons.js";
import type * as people from "../people.js";
import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
import { anyApi, componentsGeneric } from "convex/server";

const fullApi: ApiFromModules<{
  cards: typeof cards;
  columns: typeof columns;
  crons: typeof crons;
  people: typeof people;
}> = anyApi as any;

export const api: FilterApi<typeof fullApi, FunctionReference<any, "public">> = anyApi as any;
export const internal: FilterApi<typeof fullApi, FunctionReference<any, "internal">> = anyApi as any;

export const components = componentsGeneric() as unknown as {
  replicate: import("../../src/component/_generated/component.js").ComponentApi<"replicate">;
};

/* eslint-disable */
/** The functions of this component, as `convex codegen` writes them. */
import type * as log from "../log.js";
import type * as merge from "../merge.js";
import type * as pages from "../pages.js";
import type * as quarantine from "../quarantine.js";
import type * as upkeep from "../upkeep.js";
import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
import { anyApi, componentsGeneric } from "convex/server";

const fullApi: ApiFromModules<{
  log: typeof log;
  merge: typeof merge;
  pages: typeof pages;
  quarantine: typeof quarantine;
  upkeep: typeof upkeep;
}> = anyApi as any;

export const api: FilterApi<typeof fullApi, FunctionReference<any, "public">> = anyApi as any;
export const internal: FilterApi<typeof fullApi, FunctionReference<any, "internal">> = anyApi as any;

export const components = componentsGeneric() as unknown as {};

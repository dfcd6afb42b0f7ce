/* eslint-disable */
/** The functions of this component, as `convex codegen` writes them. */
import type * as compaction from "../compaction.js";
import type * as log from "../log.js";
import type * as merge from "../merge.js";
import type * as pages from "../pages.js";
import type * as presence from "../presence.js";
import type * as pruning from "../pruning.js";
import type * as quarantine from "../quarantine.js";
import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
import { anyApi, componentsGeneric } from "convex/server";

const fullApi: ApiFromModules<{
  compaction: typeof compaction;
  log: typeof log;
  merge: typeof merge;
  pages: typeof pages;
  presence: typeof presence;
  pruning: typeof pruning;
  quarantine: typeof quarantine;
}> = anyApi as any;

export const api: FilterApi<typeof fullApi, FunctionReference<any, "public">> = anyApi as any;
export const internal: FilterApi<typeof fullApi, FunctionReference<any, "internal">> = anyApi as any;

export const components = componentsGeneric() as unknown as {};

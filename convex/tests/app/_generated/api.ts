/* eslint-disable */
/** The functions of this app, as `convex codegen` writes them. */
import type * as homes from "../homes.js";
import type * as legacy from "../legacy.js";
import type * as members from "../members.js";
import type * as narrow from "../narrow.js";
import type * as notes from "../notes.js";
import type * as owned from "../owned.js";
import type * as rooms from "../rooms.js";
import type * as strict from "../strict.js";
import type * as tasks from "../tasks.js";
import type { ApiFromModules, FilterApi, FunctionReference } from "convex/server";
import { anyApi, componentsGeneric } from "convex/server";

const fullApi: ApiFromModules<{
  homes: typeof homes;
  legacy: typeof legacy;
  members: typeof members;
  narrow: typeof narrow;
  notes: typeof notes;
  owned: typeof owned;
  rooms: typeof rooms;
  strict: typeof strict;
  tasks: typeof tasks;
}> = anyApi as any;

export const api: FilterApi<typeof fullApi, FunctionReference<any, "public">> = anyApi as any;
export const internal: FilterApi<typeof fullApi, FunctionReference<any, "internal">> = anyApi as any;

export const components = componentsGeneric() as unknown as {
  replicate: import("../../../src/component/_generated/component.js").ComponentApi<"replicate">;
};

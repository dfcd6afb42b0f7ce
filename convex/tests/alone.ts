import { type GenericMutationCtx, makeFunctionReference } from "convex/server";
import type { DataModel } from "../src/component/_generated/dataModel";
import type { DocumentChanges } from "../src/component/shapes";

/** A method of `convex-test` that its types lack: a transaction within a component. */
type Place = {
  runInComponent(path: string, work: (ctx: GenericMutationCtx<DataModel>) => Promise<void>): Promise<void>;
};

/**
 * Appends to the log of `notes` as pushes would, without the scheduled compaction, so that the log stays as long as it
 * becomes.
 */
export async function appendAlone(
  place: unknown,
  documents: (DocumentChanges & { deleted?: boolean })[],
): Promise<void> {
  const append = makeFunctionReference<"mutation">("log:append");
  await (place as Place).runInComponent("replicate", async ({ db, scheduler, runMutation }) => {
    await runMutation(append, { collection: "notes", documents });
    for (const { _id, state } of await db.system.query("_scheduled_functions").collect()) {
      if (state.kind === "pending") await scheduler.cancel(_id);
    }
  });
}

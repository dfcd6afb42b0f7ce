import { defineReplicate } from "../../src/client/index.js";
import { components } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";

// The rule of the README, word for word.
export const {
  pushChanges,
  pullDeltas,
  insertDocument,
  updateDocument,
  deleteDocument,
  pullChanges,
  changeStream,
  checkRows,
  prune,
  setPresence,
  listPresence,
} = defineReplicate<DataModel>({
  component: components.replicate,
  table: "homes",
  authorize: (_, request) => {
    if (request.user === null) return false;
    if (request.kind === "read") return request.scope === request.user;
    return !request.changed.includes("score");
  },
});

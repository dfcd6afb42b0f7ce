import { defineReplicate } from "../../src/client/index.js";
import { components } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";

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
} = defineReplicate<DataModel>({
  component: components.replicate,
  table: "narrow",
  authorize: (_, request) =>
    request.kind === "read" || request.before === null || request.before.title !== "locked",
});

import { defineReplicate, ownRows } from "../../src/client/index.js";
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
  setPresence,
  listPresence,
} = defineReplicate<DataModel>({
  component: components.replicate,
  table: "owned",
  authorize: ownRows("owner"),
});

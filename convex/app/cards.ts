import { defineReplicate } from "../src/client/index.js";
import { components } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";

/** The board is open to everyone who has its address. Give `authorize` instead of `public` to change that. */
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
} = defineReplicate<DataModel>({ component: components.replicate, table: "cards", public: true });

/**
 * The functions that an app imports: see the README of this package.
 *
 * `defineReplicate` makes a collection's functions and `replicatedTable` its table; `ReplicateStorage` and the helpers
 * are the calls of convex-replicate 0.2.
 */
export {
  type AccessRequest,
  type Authorize,
  ownRows,
  type ReadRequest,
  type WriteRequest,
} from "./access.js";
export { defineReplicate } from "./define.js";
export {
  changeStreamHelper,
  type Components,
  deleteDocumentHelper,
  type DocumentArgs,
  insertDocumentHelper,
  pruneHelper,
  pullChangesHelper,
  updateDocumentHelper,
} from "./helpers.js";
export type { ReplicateOptions } from "./options.js";
export { type Delta, type DocumentChange, ReplicateStorage } from "./storage.js";
export { replicatedTable } from "./table.js";
export type { PushResult } from "./write.js";

/**
 * Compares a push with the log: which changes are new, and whether they may enter.
 *
 * Reads only indexed rows of the one document, so that transactions on different documents do not conflict.
 */
import type { QueryCtx } from "./_generated/server.js";
import { keepNew } from "./admission.js";
import { readDocument } from "./documents.js";
import { Refused } from "./errors.js";
import type { Incoming, NewChange } from "./incoming.js";
import { DOCUMENT_ID_BYTES } from "./limits.js";
import { readChunk, takeAssembled } from "./parts.js";
import type { DocumentChanges, Sender } from "./shapes.js";
import { checkLog } from "./size.js";
import { checkWaiting, senderKey } from "./waiting.js";

/**
 * Examines one document of a push. Throws {@link Refused} if it may not enter. Of the parts that wait, it looks at those
 * of this sender alone. `assembling` counts the bytes of stored
 * parts that a call reads to complete changes, because deleting the parts reads them once more.
 */
export async function examineDocument(
  ctx: QueryCtx,
  collection: string,
  { id, changes }: DocumentChanges,
  sender: Sender,
  assembling = { bytes: 0 },
): Promise<Incoming> {
  checkId(id);
  const document = await readDocument(ctx, collection, id);
  if (document?.pruned) {
    throw new Refused("pruned", `The document ${id} was deleted so long ago that its history is gone.`);
  }
  const incoming: Incoming = {
    document,
    changes: [],
    direct: false,
    heads: document?.heads ?? [],
    headOps: document?.headOps ?? [],
    parts: [],
    repeated: new Set(),
    usedParts: [],
    usedBytes: 0,
    completed: [],
    whole: [],
  };
  const place = { collection, id, sender: senderKey(sender) };
  const offered: NewChange[] = [];
  for (const [at, chunk] of changes.entries()) {
    const change =
      "pieces" in chunk
        ? takeAssembled(chunk, incoming)
        : await readChunk(ctx, place, chunk, at, incoming, assembling);
    if (change !== null) offered.push(change);
  }
  if (incoming.parts.length > 0) await checkWaiting(ctx, place, incoming);
  await keepNew(ctx, collection, id, offered, incoming);
  checkLog(incoming);
  return incoming;
}

function checkId(id: string): void {
  const bytes = new TextEncoder().encode(id).length;
  if (bytes === 0) throw new Refused("invalidChange", "A document's id may not be empty.");
  if (bytes > DOCUMENT_ID_BYTES) {
    throw new Refused(
      "tooLarge",
      `A document's id has at most ${DOCUMENT_ID_BYTES} bytes.`,
      DOCUMENT_ID_BYTES,
    );
  }
}

/** The size of a document's log with the changes of a push, and its limits. */
import { operationsOf } from "./chunk.js";
import { Refused } from "./errors.js";
import type { Incoming } from "./incoming.js";
import {
  CHUNK_BYTES,
  COMPACT_ROWS,
  DELETION_OPERATIONS,
  DOCUMENT_BYTES,
  DOCUMENT_OPERATIONS,
  LOG_BYTES,
  LOG_ROWS,
} from "./limits.js";

/**
 * The size of a document's log with its new changes. A change enters a `long` log only after it was merged with the
 * document.
 */
type Log = { rows: number; bytes: number; operations: number; long: boolean };

export function logOf({ document, changes }: Incoming): Log {
  let rows = document?.rows ?? 0;
  let bytes = document?.bytes ?? 0;
  let operations = document?.operations ?? 0;
  for (const change of changes) {
    operations += operationsOf(change);
    rows += Math.ceil(change.bytes.length / CHUNK_BYTES);
    bytes += change.bytes.length;
  }
  const long = isLong({ rows, bytes }) || operations > DOCUMENT_OPERATIONS;
  return { rows, bytes, operations, long };
}

/** Whether a log has to be compacted at once, before it outgrows what a transaction can load. */
export function isLong({ rows, bytes }: { rows: number; bytes: number }): boolean {
  return rows > COMPACT_ROWS || bytes > DOCUMENT_BYTES;
}

/** Refuses changes that would make the log too large to load in one transaction. Compaction makes room again. */
export function checkLog(incoming: Incoming): void {
  if (incoming.changes.length === 0) return;
  const { rows, bytes, operations } = logOf(incoming);
  const over = (what: string, limit: number) =>
    new Refused(
      "tooLarge",
      `The document's log would have ${what}; at most ${limit} fit before it is compacted. Send this again later.`,
      limit,
    );
  if (rows > LOG_ROWS) throw over(`${rows} rows`, LOG_ROWS);
  if (bytes > LOG_BYTES) throw over(`${bytes} bytes`, LOG_BYTES);
  if (operations > DOCUMENT_OPERATIONS + DELETION_OPERATIONS) throw tooManyOperations(operations);
}

/** The refusal of a document whose history would take too long to merge. Such a document can still be deleted. */
export function tooManyOperations(operations: number): Refused {
  return new Refused(
    "tooLarge",
    `The document would have ${operations} operations in its history; at most ${DOCUMENT_OPERATIONS} can be merged in time. Go on in a new document.`,
    DOCUMENT_OPERATIONS,
  );
}

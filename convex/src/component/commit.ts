/** The limit on what one transaction changes, for the readers of whole documents. */
import type { QueryCtx } from "./_generated/server.js";
import { COMMIT_BYTES, COMMIT_ROWS } from "./limits.js";
import { Refused } from "./errors.js";

/** The value of a pending commit timestamp in indexes, within its own transaction: the largest int64. */
export const PENDING_TS = 2n ** 63n - 1n;

type Log = { rows: number; bytes: number };

/**
 * The documents of a collection that this transaction changes. The original API returns all of them in one page,
 * because its checkpoint cannot be between two of them, so they have to fit into one page.
 */
export class ChangedDocuments {
  private constructor(private readonly logs: Map<string, Log>) {}

  /** Reads the documents that this transaction has changed already. */
  static async read(ctx: QueryCtx, collection: string): Promise<ChangedDocuments> {
    const logs = new Map<string, Log>();
    const pending = ctx.db
      .query("documents")
      .withIndex("by_ts", (q) => q.eq("collection", collection).eq("pruned", false).eq("ts", PENDING_TS));
    for await (const { id, rows, bytes } of pending) logs.set(id, { rows, bytes });
    return new ChangedDocuments(logs);
  }

  /**
   * Adds a document and the size of its log. Throws {@link Refused} if it is too much beside the others; one alone
   * always fits.
   */
  add(id: string, log: Log): void {
    let { rows, bytes } = log;
    let alone = true;
    for (const [other, its] of this.logs) {
      if (other === id) continue;
      alone = false;
      rows += its.rows;
      bytes += its.bytes;
    }
    if (!alone && (bytes > COMMIT_BYTES || rows > COMMIT_ROWS)) {
      throw new Refused(
        "tooLarge",
        "The documents of one commit would be too large to be pulled together. Send this one again by itself.",
        COMMIT_BYTES,
      );
    }
    this.logs.set(id, { rows: log.rows, bytes: log.bytes });
  }
}

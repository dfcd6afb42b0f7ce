/** Reads the chunks of a push. A chunk in parts waits until all parts are there, and is then put together. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { Doc, Id } from "./_generated/dataModel.js";
import type { QueryCtx } from "./_generated/server.js";
import { NotAChange, concatenate, readChange } from "./chunk.js";
import { Refused } from "./errors.js";
import type { Incoming, NewChange } from "./incoming.js";
import { CHANGE_BYTES, CHANGE_PARTS, CHUNK_BYTES } from "./limits.js";
import type { Assembled, Chunk } from "./shapes.js";
import { type Place, readIncomplete, readWaiting, total } from "./waiting.js";

/** The change in a chunk; null if other parts are missing or the log has it already. */
export async function readChunk(
  ctx: QueryCtx,
  place: Place,
  chunk: Chunk,
  at: number,
  incoming: Incoming,
  assembling: { bytes: number },
): Promise<NewChange | null> {
  if (chunk.bytes.byteLength > CHUNK_BYTES) {
    throw new Refused(
      "tooLarge",
      `A chunk has ${chunk.bytes.byteLength} bytes. Cut chunks over ${CHUNK_BYTES} bytes into parts.`,
      CHUNK_BYTES,
    );
  }
  if (chunk.part === undefined) return parse(new Uint8Array(chunk.bytes));
  const { collection, id, sender } = place;
  const { index, count } = chunk.part;
  const hash = bytesToHex(new Uint8Array(chunk.part.hash));
  checkPart(hash, index, count);
  const known = await ctx.db
    .query("changes")
    .withIndex("by_whole", (q) => q.eq("collection", collection).eq("id", id).eq("whole", hash))
    .first();
  if (known !== null) return null;

  // Reads only the one part: all of them would be up to 8 MiB, for each part of a push.
  const incomplete = await readIncomplete(ctx, place, hash);
  const here = incoming.parts.filter((other) => other.hash === hash);
  const announced = (incomplete ?? here[0])?.count ?? count;
  if (announced !== count) {
    throw new Refused(
      "invalidChange",
      `A part gives ${count} as the number of parts, and an earlier one gave another number.`,
    );
  }
  const same =
    here.find((other) => other.index === index) ??
    (incomplete === null
      ? null
      : await ctx.db
          .query("parts")
          .withIndex("by_part", (q) =>
            q
              .eq("collection", collection)
              .eq("id", id)
              .eq("sender", sender)
              .eq("hash", hash)
              .eq("index", index),
          )
          .unique());
  if (same !== null) {
    if (!sameBytes(same.bytes, chunk.bytes)) {
      throw new Refused("invalidChange", `Part ${index} came before with other bytes.`);
    }
    incoming.repeated.add(hash);
    return null;
  }
  if ((incomplete?.have ?? 0) + here.length + 1 < count) {
    incoming.parts.push({ hash, index, count, bytes: chunk.bytes });
    return null;
  }

  await checkAssembling(ctx, place, incomplete?.have ?? 0, assembling);
  const stored =
    incomplete === null
      ? []
      : await ctx.db
          .query("parts")
          .withIndex("by_part", (q) =>
            q.eq("collection", collection).eq("id", id).eq("sender", sender).eq("hash", hash),
          )
          .take(CHANGE_PARTS);
  const pieces = [...stored, ...here, { index, bytes: chunk.bytes }].sort((a, b) => a.index - b.index);
  const change = {
    hash,
    pieces: pieces.map((piece) => piece.bytes),
    parts: stored.map((row) => row._id),
    stored: total(stored),
  };
  const taken = takeAssembled(change, incoming);
  incoming.completed.push({ at, change });
  return taken;
}

/**
 * Refuses a change before its parts are read, if this transaction could not read them twice: deleting them reads them
 * again.
 */
async function checkAssembling(
  ctx: QueryCtx,
  place: Place,
  parts: number,
  assembling: { bytes: number },
): Promise<void> {
  if (parts === 0) return;
  const waiting = (await readWaiting(ctx, place))?.bytes ?? 0;
  const most = Math.min(parts * CHUNK_BYTES, waiting);
  if (assembling.bytes + most > CHANGE_BYTES) {
    throw new Refused(
      "tooLarge",
      "Too many changes in parts are completed in one push. Send this document again by itself.",
      CHANGE_BYTES,
    );
  }
  assembling.bytes += most;
}

/** A change whose parts are all there. */
export function takeAssembled({ hash, pieces, parts, stored }: Assembled, incoming: Incoming): NewChange {
  const bytes = concatenate(pieces.map((piece) => new Uint8Array(piece)));
  if (bytesToHex(sha256(bytes)) !== hash) {
    throw new Refused("invalidChange", "The SHA-256 of the joined parts is not the hash that they give.");
  }
  incoming.parts = incoming.parts.filter((other) => other.hash !== hash);
  incoming.usedParts.push(...(parts as Id<"parts">[]));
  incoming.usedBytes += stored;
  incoming.whole.push(hash);
  return { ...parse(bytes), whole: hash };
}

function checkPart(hash: string, index: number, count: number): void {
  if (count > CHANGE_PARTS) {
    throw new Refused("tooLarge", `A change has at most ${CHANGE_BYTES} bytes.`, CHANGE_BYTES);
  }
  const whole = Number.isInteger(index) && Number.isInteger(count) && index >= 0 && index < count;
  if (!whole || hash.length !== 64) {
    throw new Refused(
      "invalidChange",
      "A part needs a SHA-256 of 32 bytes, and an index from 0 to one less than its count.",
    );
  }
}

function parse(bytes: Uint8Array): NewChange {
  try {
    return { ...readChange(bytes), bytes };
  } catch (error) {
    if (error instanceof NotAChange) throw new Refused("invalidChange", `Not a change: ${error.message}.`);
    throw error;
  }
}

function sameBytes(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const left = new Uint8Array(a);
  const right = new Uint8Array(b);
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}

/** Cuts a chunk into the log rows that hold it. */
export function cut(raw: Uint8Array): Pick<Doc<"chunks">, "bytes" | "part">[] {
  const piece = (from: number, to: number) => raw.slice(from, to).buffer;
  if (raw.length <= CHUNK_BYTES) return [{ bytes: piece(0, raw.length) }];
  const hash = bytesToHex(sha256(raw));
  const count = Math.ceil(raw.length / CHUNK_BYTES);
  return Array.from({ length: count }, (_, index) => ({
    bytes: piece(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
    part: { hash, index, count },
  }));
}

/**
 * Reads the header of an Automerge change without Automerge. The log needs a change's hash, dependencies, actor and
 * sequence number, and loading the WASM for them on every push would cost a hundred milliseconds. The format:
 * https://automerge.org/automerge-binary-format-spec/
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { Refused } from "./errors.js";
import { CHANGE_OPERATIONS, OPERATION_NUMBER } from "./limits.js";

/**
 * The header of a change. Hashes and actors are lower-case hexadecimal; `startOp` and `lastOp` number its operations.
 */
export type ChangeHeader = {
  hash: string;
  actor: string;
  seq: number;
  startOp: number;
  lastOp: number;
  deps: string[];
};

/** Thrown for bytes that are not a change, with the reason. */
export class NotAChange extends Error {}

const MAGIC = [0x85, 0x6f, 0x4a, 0x83];
const CHANGE = 1;
const COMPRESSED_CHANGE = 2;
const HASH_BYTES = 32;
/** The column with the action of each operation. */
const ACTION_COLUMN = 66;
/** The bit of a column's specification for compressed bytes. A change's columns are never compressed. */
const COMPRESSED_COLUMN = 8;

/** How many operations a change has. */
export function operationsOf({ startOp, lastOp }: Pick<ChangeHeader, "startOp" | "lastOp">): number {
  return lastOp - startOp + 1;
}

/** Reads one uncompressed change, the whole of `bytes`. Throws {@link NotAChange}. */
export function readChange(bytes: Uint8Array): ChangeHeader {
  const input = new Reader(bytes);
  const magic = input.take(4);
  if (!MAGIC.every((byte, i) => magic[i] === byte)) {
    throw new NotAChange("these bytes do not start like an Automerge chunk");
  }
  const checksum = input.take(4);
  const kind = input.byte();
  if (kind === COMPRESSED_CHANGE) throw new NotAChange("a compressed change; send the uncompressed bytes");
  if (kind !== CHANGE) throw new NotAChange(`an Automerge chunk of type ${kind}, not a change`);
  const length = input.number();
  if (length > input.left()) throw new NotAChange("the change is cut off");
  if (length < input.left()) throw new NotAChange("bytes follow the change; send one change per chunk");
  const hash = sha256(bytes.subarray(8));
  if (!checksum.every((byte, i) => hash[i] === byte)) throw new NotAChange("the checksum is wrong");

  const deps: string[] = [];
  for (let left = input.count(HASH_BYTES); left > 0; left--) deps.push(bytesToHex(input.take(HASH_BYTES)));
  const actor = bytesToHex(input.take(input.number()));
  const seq = input.number();
  if (seq < 1) throw new NotAChange("sequence numbers start at 1");
  const startOp = input.number();
  if (startOp < 1) throw new NotAChange("operation counters start at 1");
  input.skipSigned(); // time
  input.take(input.number()); // message
  for (let left = input.count(1); left > 0; left--) input.take(input.number()); // other actors
  const { operations, rows } = countOperations(input);
  // There are at least as many rows as operations, and both are bounded.
  if (startOp + rows > OPERATION_NUMBER) {
    throw new Refused(
      "tooLarge",
      `A change whose operations are numbered from ${startOp} on.`,
      OPERATION_NUMBER,
    );
  }
  return { hash: bytesToHex(hash), actor, seq, startOp, lastOp: startOp + operations - 1, deps };
}

/**
 * Checks that bytes are whole chunks of any kind, one after the other, with right checksums. Throws {@link NotAChange}.
 */
export function checkChunks(bytes: Uint8Array): void {
  const input = new Reader(bytes);
  do {
    const start = bytes.length - input.left();
    const magic = input.take(4);
    if (!MAGIC.every((byte, i) => magic[i] === byte)) throw new NotAChange("a chunk does not start like one");
    const checksum = input.take(4);
    const kind = input.byte();
    input.take(input.number());
    // The checksum of a compressed change is that of its uncompressed bytes, so Automerge checks it.
    if (kind === COMPRESSED_CHANGE) continue;
    const hash = sha256(bytes.subarray(start + 8, bytes.length - input.left()));
    if (!checksum.every((byte, i) => hash[i] === byte)) throw new NotAChange("a checksum is wrong");
  } while (input.left() > 0);
}

/** The number of operations of a change, and of the rows that its longest column claims. */
function countOperations(input: Reader): { operations: number; rows: number } {
  const columns: { column: number; length: number }[] = [];
  let total = 0;
  let previous = -1;
  for (let left = input.count(2); left > 0; left--) {
    const column = input.number();
    if (column & COMPRESSED_COLUMN) throw new NotAChange("a column of the change is compressed");
    if (column <= previous) throw new NotAChange("the columns of the change are out of order");
    previous = column;
    const length = input.number();
    columns.push({ column, length });
    total += length;
  }
  if (total > input.left()) throw new NotAChange("the columns of the change are cut off");
  let operations = 0;
  let most = 0;
  for (const { column, length } of columns) {
    const rows = countRows(column & 7, new Reader(input.take(length)));
    if (rows > CHANGE_OPERATIONS) {
      throw new Refused("tooLarge", `A change that claims ${rows} operations.`, CHANGE_OPERATIONS);
    }
    if (column === ACTION_COLUMN) operations = rows;
    most = Math.max(most, rows);
  }
  return { operations, rows: most };
}

/** How many rows a column of this kind claims to have. None of them is made. */
function countRows(kind: number, input: Reader): number {
  switch (kind) {
    case 0: // A group: its values are the row counts of the columns grouped by it.
      return countRuns(input, () => input.number());
    case 3:
      return countRuns(input, () => (input.skipSigned(), 1));
    case 4: {
      let rows = 0;
      while (input.left() > 0) rows += input.number();
      return rows;
    }
    case 5:
      return countRuns(input, () => (input.take(input.number()), 1));
    case 7: // Raw values claim no rows.
      return 0;
    default:
      return countRuns(input, () => (input.number(), 1));
  }
}

/** The rows of a run-length encoded column: one per value, or `weigh` of it if that is more. */
function countRuns(input: Reader, weigh: () => number): number {
  let rows = 0;
  while (input.left() > 0) {
    const run = input.signed();
    if (run === 0) rows += input.number();
    else if (run > 0) rows += run * Math.max(1, weigh());
    else for (let left = -run; left > 0; left--) rows += Math.max(1, weigh());
  }
  return rows;
}

class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  left(): number {
    return this.bytes.length - this.at;
  }

  take(count: number): Uint8Array {
    if (count > this.left()) throw new NotAChange("the change is cut off");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  /** An unsigned LEB128 number. */
  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > Number.MAX_SAFE_INTEGER || shift > 63) throw new NotAChange("a number is too large");
      if (byte < 0x80) return value;
    }
  }

  /** A count of items that follow, each of at least `size` bytes. */
  count(size: number): number {
    const value = this.number();
    if (value * size > this.left()) throw new NotAChange("the change is cut off");
    return value;
  }

  /** A signed LEB128 number, rounded to a float64. */
  signed(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (shift > 63) throw new NotAChange("a number is too large");
      if (byte < 0x80) return byte & 0x40 ? value - 2 ** (shift + 7) : value;
    }
  }

  skipSigned(): void {
    for (let bytes = 1; this.byte() >= 0x80; bytes++) {
      if (bytes === 10) throw new NotAChange("a number is too large");
    }
  }
}

/** Concatenates byte arrays. */
export function concatenate(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

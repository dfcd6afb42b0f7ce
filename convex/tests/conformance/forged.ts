/** Bytes that are not a change, or claim too much. */
import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import { type Case, changesOf, chunk, pull, push, refused, START, stream } from "./cases";
import { base, left } from "./documents";

/** The same change with some of its bytes changed. */
export function forged(raw: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = raw.slice();
  change(copy);
  return copy;
}

/** The same contents with the right checksum. */
export function resealed(raw: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update(raw.subarray(8)).digest();
  return forged(raw, (copy) => copy.set(digest.subarray(0, 4), 4));
}

export const one = changesOf(base)[0]!;
const invalid = (name: string, raw: Uint8Array): Case => ({
  name,
  steps: [
    push([{ id: "a", changes: [chunk(raw)] }], [refused("a", "invalidChange")]),
    pull([], { to: START }),
    stream(0, 0),
  ],
});

export const forgeries: Case[] = [
  invalid("no bytes are not a change", new Uint8Array()),
  invalid(
    "bytes of another kind are not a change",
    new TextEncoder().encode("not a change, though long enough"),
  ),
  invalid("a change cut off is refused", one.subarray(0, one.length - 1)),
  invalid(
    "a change with bytes behind it is refused",
    forged(new Uint8Array([...one, 0]), () => {}),
  ),
  invalid("two changes in one chunk are refused", new Uint8Array([...one, ...changesOf(left, base)[0]!])),
  invalid(
    "a forged checksum is refused",
    forged(one, (b) => (b[5]! ^= 0xff)),
  ),
  invalid(
    "changed contents are refused",
    forged(one, (b) => (b[b.length - 1]! ^= 1)),
  ),
  invalid("a whole document is not a change", Automerge.save(base)),
  invalid("a change whose header makes no sense is refused", resealed(forged(one, (b) => b.fill(0xff, 11)))),
  {
    name: "operations numbered over 2^31 are refused",
    steps: [
      push([{ id: "a", changes: [chunk(claiming(1, 2 ** 31))] }], [refused("a", "tooLarge", 2 ** 31)]),
      pull([], { to: START }),
    ],
  },
  {
    name: "a change that claims more operations than 1.25 Mi is refused, however few bytes it has",
    steps: [
      push(
        [{ id: "a", changes: [chunk(claiming(1_280 * 1024 + 1))] }],
        [refused("a", "tooLarge", 1_280 * 1024)],
      ),
      push([{ id: "a", changes: [chunk(claiming(2 ** 40))] }], [refused("a", "tooLarge", 1_280 * 1024)]),
      pull([], { to: START }),
    ],
  },
];

/** A change by actor 1 with so many equal operations, numbered from `startOp` on. */
function claiming(operations: number, startOp = 1): Uint8Array {
  const actions = [...leb128(operations, 64), 1];
  // No dependencies; actor, sequence number, first operation, time, message, other actors; one column, of actions.
  const data = [0, 1, 1, 1, ...leb128(startOp, 128), 0, 0, 0, 1, 66, actions.length, ...actions];
  return resealed(new Uint8Array([0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1, data.length, ...data]));
}

/** A number as LEB128: the last byte is below 64 if it is signed, and below 128 if it is not. */
function leb128(value: number, last: 64 | 128): number[] {
  return value < last ? [value] : [(value % 128) + 128, ...leb128(Math.floor(value / 128), last)];
}

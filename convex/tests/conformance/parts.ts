/** Changes over 256 KiB, in parts. */
import { createHash } from "node:crypto";
import {
  accepted,
  bind,
  bytes,
  type Case,
  changesOf,
  create,
  type Json,
  partial,
  pull,
  push,
  refused,
  START,
  stream,
  use,
} from "./cases";
import { CHANGE_BYTES, CHANGE_PARTS, WAITING_BYTES } from "../../src/component/limits";
import { base } from "./documents";

const CHUNK = 256 * 1024;

/** A change over 256 KiB, always the same. */
const large = create(6, { blob: new Uint8Array(300_000).map((_, i) => (i * 7919 + (i >> 8)) & 0xff) });
const largeBytes = changesOf(large)[0]!;

function partsOf(raw: Uint8Array, size = CHUNK): { bytes: Json; part: Record<string, Json> }[] {
  const hash = bytes(createHash("sha256").update(raw).digest());
  const count = Math.ceil(raw.length / size);
  return Array.from({ length: count }, (_, index) => ({
    bytes: use(index === 0 ? "head" : "tail"),
    part: { hash, index, count },
  }));
}

/** Values that several cases use, by name. */
export const values: Record<string, Json> = {
  head: bytes(largeBytes.subarray(0, CHUNK)),
  tail: bytes(largeBytes.subarray(CHUNK)),
  zeros: bytes(new Uint8Array(CHUNK)),
  zerosAndOne: bytes(new Uint8Array(CHUNK + 1)),
};

const [head, tail] = partsOf(largeBytes) as [{ bytes: Json; part: Record<string, Json> }, Json];
const partRow = (index: number) => partial({ id: "a", part: partial({ index, count: 2 }) });

export const parts: Case[] = [
  {
    name: "a chunk over 256 KiB is refused",
    steps: [push([{ id: "a", changes: [{ bytes: use("zerosAndOne") }] }], [refused("a", "tooLarge", CHUNK)])],
  },
  {
    name: "a change in parts enters with its last part",
    steps: [
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      pull([], { to: START }),
      push([{ id: "a", changes: [tail] }], [accepted("a")]),
      pull([partRow(0), partRow(1)]),
    ],
  },
  {
    name: "all parts may come in one push",
    steps: [
      push([{ id: "a", changes: [head, tail] }], [accepted("a")]),
      pull([partRow(0), partRow(1)]),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "parts may come in any order, and again",
    steps: [
      push([{ id: "a", changes: [tail] }], [accepted("a")]),
      push([{ id: "a", changes: [tail] }], [accepted("a")]),
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      pull([partRow(0), partRow(1)]),
    ],
  },
  {
    name: "a change that fits into one row is one, though it came in parts",
    steps: [
      push([{ id: "a", changes: halves(changesOf(base)[0]!).slice(1) }], [accepted("a")]),
      pull([], { to: START }),
      push([{ id: "a", changes: halves(changesOf(base)[0]!).slice(0, 1) }], [accepted("a")]),
      pull([
        {
          id: "a",
          bytes: bytes(changesOf(base)[0]!),
          ts: { $any: "integer" },
          ordinal: { $any: "number" },
        },
      ]),
    ],
  },
  {
    name: "a part that came before with other bytes is refused",
    steps: [
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      push(
        [{ id: "a", changes: [{ ...head, bytes: bytes(new Uint8Array(10)) }] }],
        [refused("a", "invalidChange")],
      ),
    ],
  },
  {
    name: "parts that do not make up their chunk are refused",
    steps: [
      push(
        [
          {
            id: "a",
            changes: [head, { ...head, bytes: bytes(new Uint8Array(10)), part: { ...head.part, index: 1 } }],
          },
        ],
        [refused("a", "invalidChange")],
      ),
      pull([], { to: START }),
    ],
  },
  {
    name: "a part that disagrees about their number is refused",
    steps: [
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, index: 1, count: 3 } }] }],
        [refused("a", "invalidChange")],
      ),
    ],
  },
  {
    name: "a part beyond their number is refused",
    steps: [
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, index: 2 } }] }],
        [refused("a", "invalidChange")],
      ),
    ],
  },
  {
    name: "a part with a broken index is refused",
    steps: [
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, index: 0.5 } }] }],
        [refused("a", "invalidChange")],
      ),
    ],
  },
  {
    name: "a part whose hash is no SHA-256 is refused",
    steps: [
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, hash: bytes(new Uint8Array(5)) } }] }],
        [refused("a", "invalidChange")],
      ),
    ],
  },
  {
    name: "more parts than the largest change has are refused",
    steps: [
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, count: CHANGE_PARTS + 1 } }] }],
        [refused("a", "tooLarge", CHANGE_BYTES)],
      ),
    ],
  },
  {
    name: "the waiting parts that one scope fills leave the room of another",
    steps: [
      ...Array.from({ length: 8 }, (_, at) =>
        push([{ id: "a", changes: [0, 1, 2, 3].map((more) => lost(4 * at + more)) }], [accepted("a")], {
          scope: "theirs",
        }),
      ),
      push([{ id: "a", changes: [lost(32)] }], [refused("a", "tooLarge", WAITING_BYTES)], {
        scope: "theirs",
      }),
      push([{ id: "a", changes: [head] }], [accepted("a")], { scope: "ours" }),
      push([{ id: "a", changes: [head] }], [accepted("a")]),
      push([{ id: "a", changes: [tail] }], [accepted("a")], { scope: "ours" }),
      pull([partRow(0), partRow(1)], { scope: "ours" }),
      // The document is in `ours` now. The room of the others is the same.
      push([{ id: "a", changes: [lost(32)] }], [refused("a", "tooLarge", WAITING_BYTES)], {
        scope: "theirs",
      }),
      push([{ id: "a", changes: [lost(32)] }], [accepted("a")]),
    ],
  },
  {
    name: "parts that came with another scope neither complete a change nor spoil it",
    steps: [
      push([{ id: "a", changes: [{ ...head, bytes: bytes(new Uint8Array(10)) }] }], [accepted("a")], {
        scope: "theirs",
      }),
      push(
        [{ id: "a", changes: [{ ...head, part: { ...head.part, index: 2, count: 3 } }] }],
        [accepted("a")],
      ),
      push([{ id: "a", changes: [tail] }], [accepted("a")], { scope: "ours" }),
      pull([], { to: START }),
      push([{ id: "a", changes: [head] }], [accepted("a")], { scope: "ours" }),
      pull([partRow(0), partRow(1)]),
    ],
  },
];

/** The first of two parts, 256 KiB, of a change of which no other part comes. */
function lost(number: number): Json {
  return { bytes: use("zeros"), part: { hash: bytes(new Uint8Array(32).fill(number)), index: 0, count: 2 } };
}

/** A chunk in two parts. */
function halves(raw: Uint8Array): Json[] {
  const hash = bytes(createHash("sha256").update(raw).digest());
  const middle = Math.ceil(raw.length / 2);
  return [raw.slice(0, middle), raw.slice(middle)].map((piece, index) => ({
    bytes: bytes(piece),
    part: { hash, index, count: 2 },
  }));
}

import * as Automerge from "@automerge/automerge";
import { createHash } from "node:crypto";
import {
  accepted,
  bind,
  bytes,
  type Case,
  changesOf,
  chunk,
  chunks,
  create,
  type Doc,
  edit,
  error,
  failing,
  type Json,
  more,
  partial,
  pull,
  push,
  put,
  refused,
  rowsOf,
  START,
  stream,
  use,
} from "./cases";

const base = create(1, { title: "milk", done: false });
const left = edit(base, 2, (d) => (d.title = "oat milk"));
const right = edit(base, 3, (d) => (d.done = true));
const both = edit(Automerge.merge(Automerge.clone(left), right), 4, (d) => (d.seen = true));
const other = create(5, { title: "bread" });

const CHUNK = 256 * 1024;

/** A change over 256 KiB, always the same. */
const large = create(6, { blob: new Uint8Array(300_000).map((_, i) => (i * 7919 + (i >> 8)) & 0xff) });
const largeBytes = changesOf(large)[0]!;

function parts(raw: Uint8Array, size = CHUNK): { bytes: Json; part: Record<string, Json> }[] {
  const hash = bytes(createHash("sha256").update(raw).digest());
  const count = Math.ceil(raw.length / size);
  return Array.from({ length: count }, (_, index) => ({
    bytes: use(index === 0 ? "head" : "tail"),
    part: { hash, index, count },
  }));
}

/** What several cases use, by name. */
export const values: Record<string, Json> = {
  head: bytes(largeBytes.subarray(0, CHUNK)),
  tail: bytes(largeBytes.subarray(CHUNK)),
  zeros: bytes(new Uint8Array(CHUNK)),
  zerosAndOne: bytes(new Uint8Array(CHUNK + 1)),
};

const [head, tail] = parts(largeBytes) as [{ bytes: Json; part: Record<string, Json> }, Json];
const partRow = (index: number) => partial({ id: "a", part: partial({ index, count: 2 }) });

/** The same change with something changed in its bytes. */
function forged(raw: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = raw.slice();
  change(copy);
  return copy;
}

/** The same contents with a checksum that fits. */
function resealed(raw: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update(raw.subarray(8)).digest();
  return forged(raw, (copy) => copy.set(digest.subarray(0, 4), 4));
}

const one = changesOf(base)[0]!;
const invalid = (name: string, raw: Uint8Array): Case => ({
  name,
  steps: [
    push([{ id: "a", changes: [chunk(raw)] }], [refused("a", "invalidChange")]),
    pull([], { to: START }),
    stream(0, 0),
  ],
});

const longHistory = Array.from({ length: 1000 }).reduce<Doc>(
  (doc, _, n) => more(doc, (d) => (d.n = n)),
  create(7, { start: true }),
);

export const pushes: Case[] = [
  { name: "an empty push is accepted", steps: [push([], [])] },
  {
    name: "a document without changes is accepted and stays unknown",
    steps: [push([{ id: "a", changes: [] }], [accepted("a")]), stream(0, 0)],
  },
  { name: "a new document enters the log", steps: [put("a", base), pull(rowsOf("a", base))] },
  {
    name: "fields may be sent beside the changes",
    steps: [
      push([{ id: "a", changes: chunks(base), fields: { title: "milk", done: false } }], [accepted("a")]),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "removed fields may be named",
    steps: [
      put("a", base),
      push(
        [
          {
            id: "a",
            changes: chunks(
              more(base, (d) => delete d.done),
              base,
            ),
            fields: {},
            removed: ["done"],
          },
        ],
        [accepted("a")],
      ),
    ],
  },
  {
    name: "a repeat is accepted and not stored again",
    steps: [put("a", base), put("a", base), pull(rowsOf("a", base)), stream(bind("ts"), 1)],
  },
  {
    name: "a repeat within one push is stored once",
    steps: [
      push(
        [{ id: "a", changes: [...(chunks(base) as Json[]), ...(chunks(base) as Json[])] }],
        [accepted("a")],
      ),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "changes of several documents are in the order of the push",
    steps: [
      push(
        [
          { id: "b", changes: chunks(other) },
          { id: "a", changes: chunks(base) },
        ],
        [accepted("b"), accepted("a")],
      ),
      pull([...rowsOf("b", other), ...rowsOf("a", base)]),
    ],
  },
  {
    name: "a history enters in one push",
    steps: [push([{ id: "a", changes: chunks(both) }], [accepted("a")]), pull(rowsOf("a", both))],
  },
  {
    name: "a history enters in several pushes",
    steps: [
      put("a", base),
      put("a", left, base),
      put("a", right, base),
      put("a", both, Automerge.merge(Automerge.clone(left), right)),
    ],
  },
  {
    name: "concurrent changes are both kept",
    steps: [
      put("a", base),
      put("a", left, base),
      put("a", right, base),
      pull([...rowsOf("a", base), ...rowsOf("a", left, base), ...rowsOf("a", right, base)]),
    ],
  },
  {
    name: "a document may come twice in one push, building on itself",
    steps: [
      push(
        [
          { id: "a", changes: chunks(base) },
          { id: "a", changes: chunks(left, base) },
        ],
        [accepted("a"), accepted("a")],
      ),
      pull(rowsOf("a", left)),
    ],
  },
  {
    name: "a push that repeats what is known beside something new stores the new",
    steps: [
      put("a", base),
      push([{ id: "a", changes: chunks(left) }], [accepted("a")]),
      pull(rowsOf("a", left)),
    ],
  },
  {
    name: "a missing dependency is refused",
    steps: [
      push([{ id: "a", changes: chunks(left, base) }], [refused("a", "missingDependencies")]),
      pull([], { to: START }),
      stream(0, 0),
    ],
  },
  {
    name: "a dependency on another document's change is missing",
    steps: [
      put("a", base),
      push([{ id: "b", changes: chunks(left, base) }], [refused("b", "missingDependencies")]),
    ],
  },
  {
    name: "dependents before dependencies are refused",
    steps: [
      push([{ id: "a", changes: (chunks(left) as Json[]).reverse() }], [refused("a", "missingDependencies")]),
    ],
  },
  {
    name: "a refused document leaves the others alone",
    steps: [
      push(
        [
          { id: "a", changes: chunks(base) },
          { id: "b", changes: chunks(left, base) },
          { id: "c", changes: chunks(other) },
        ],
        [accepted("a"), refused("b", "missingDependencies"), accepted("c")],
      ),
      pull([...rowsOf("a", base), ...rowsOf("c", other)]),
      stream(bind("ts"), 2),
    ],
  },
  {
    name: "a document is taken whole or not at all",
    steps: [
      push(
        [{ id: "a", changes: [...(chunks(base) as Json[]), chunk(forged(one, (b) => (b[4]! ^= 1)))] }],
        [refused("a", "invalidChange")],
      ),
      pull([], { to: START }),
    ],
  },
  {
    name: "what was refused may come again with what it lacked",
    steps: [
      push([{ id: "a", changes: chunks(left, base) }], [refused("a", "missingDependencies")]),
      put("a", left),
      pull(rowsOf("a", left)),
    ],
  },
  {
    name: "a reused sequence number is refused",
    steps: [
      put("a", base),
      push([{ id: "a", changes: chunks(create(1, { title: "other" })) }], [refused("a", "reusedSequence")]),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "a sequence number reused within one push is refused",
    steps: [
      push(
        [
          {
            id: "a",
            changes: [...(chunks(base) as Json[]), ...(chunks(create(1, { title: "other" })) as Json[])],
          },
        ],
        [refused("a", "reusedSequence")],
      ),
      pull([], { to: START }),
    ],
  },
  {
    name: "the same actor and sequence number in another document are fine",
    steps: [put("a", base), put("b", create(1, { title: "other" }))],
  },
  {
    name: "collections are apart",
    steps: [
      put("a", base),
      pull([], { path: "tasks", to: START }),
      stream(0, 0, "tasks"),
      put("a", create(1, { x: 1 }), undefined, { path: "tasks" }),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "deleted among the fields makes a tombstone, which counts",
    steps: [
      put("a", base),
      push(
        [
          {
            id: "a",
            changes: chunks(
              edit(base, 2, (d) => (d.deleted = true)),
              base,
            ),
            fields: { deleted: true },
          },
        ],
        [accepted("a")],
      ),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "a thousand changes fit in one push",
    steps: [push([{ id: "a", changes: (chunks(longHistory) as Json[]).slice(0, 1000) }], [accepted("a")])],
  },
  {
    name: "more than a thousand changes do not",
    steps: [
      failing(push([{ id: "a", changes: chunks(longHistory) }], []), error("pushTooLarge", { limit: 1000 })),
      stream(0, 0),
    ],
  },
  {
    name: "a push has at most a hundred documents",
    steps: [
      failing(
        push(
          Array.from({ length: 101 }, (_, n) => ({ id: `d${n}`, changes: [] })),
          [],
        ),
        error("pushTooLarge", { limit: 100 }),
      ),
    ],
  },
  {
    name: "a push has at most a mebibyte of chunks",
    steps: [
      failing(
        push([{ id: "a", changes: Array.from({ length: 5 }, () => ({ bytes: use("zeros") })) }], []),
        error("pushTooLarge", { limit: 1024 * 1024 }),
      ),
    ],
  },
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
        [{ id: "a", changes: [{ ...head, part: { ...head.part, count: 33 } }] }],
        [refused("a", "tooLarge", 8 * 1024 * 1024)],
      ),
    ],
  },
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
  {
    name: "an empty id is refused",
    steps: [push([{ id: "", changes: chunks(base) }], [refused("", "invalidChange")])],
  },
  { name: "an id of 128 bytes is accepted", steps: [put("é".repeat(64), base)] },
  {
    name: "a longer id is refused",
    steps: [
      push(
        [{ id: `${"é".repeat(64)}x`, changes: chunks(base) }],
        [refused(`${"é".repeat(64)}x`, "tooLarge", 128)],
      ),
    ],
  },
  {
    name: "a field name that Convex does not store is refused",
    steps: [
      push([{ id: "a", changes: chunks(create(8, { _secret: 1 })) }], [refused("a", "forbiddenField")]),
      pull([], { to: START }),
    ],
  },
  {
    name: "so is one within a map",
    steps: [
      push(
        [{ id: "a", changes: chunks(create(8, { map: { naïve: 1 } })) }],
        [refused("a", "forbiddenField")],
      ),
    ],
  },
  {
    name: "and an empty one",
    steps: [
      push(
        [{ id: "a", changes: chunks(create(8, { map: { list: [{ "": 1 }] } })) }],
        [refused("a", "forbiddenField")],
      ),
    ],
  },
  {
    name: "fields that are not an object are refused",
    steps: [push([{ id: "a", changes: chunks(base), fields: "milk" }], [refused("a", "forbiddenField")])],
  },
  {
    name: "a forbidden field that is sent is refused",
    steps: [
      push(
        [{ id: "a", changes: chunks(base), fields: { _title: "milk" } }],
        [refused("a", "forbiddenField")],
      ),
      pull([], { to: START }),
    ],
  },
  {
    name: "nesting over 64 levels is refused",
    steps: [
      push([{ id: "a", changes: chunks(create(8, { deep: nested(70) })) }], [refused("a", "tooLarge", 64)]),
      stream(0, 0),
    ],
  },
  {
    name: "so is an empty map too deep, and a list",
    steps: [
      push(
        [{ id: "a", changes: chunks(create(8, { deep: nested(63, {}) })) }],
        [refused("a", "tooLarge", 64)],
      ),
      push(
        [{ id: "a", changes: chunks(create(8, { deep: nested(63, []) })) }],
        [refused("a", "tooLarge", 64)],
      ),
      stream(0, 0),
      put("a", create(8, { deep: nested(62, {}) })),
      put("b", create(8, { deep: nested(62, []) })),
      put("c", create(8, { deep: nested(63, 1) })),
    ],
  },
  {
    name: "what is refused for its depth leaves the document as it was",
    steps: [
      put("a", base),
      push(
        [
          {
            id: "a",
            changes: chunks(
              edit(base, 8, (d) => (d.deep = nested(70))),
              base,
            ),
          },
        ],
        [refused("a", "tooLarge", 64)],
      ),
      pull(rowsOf("a", base)),
      put("a", left, base),
    ],
  },
  {
    name: "a list of 8,192 elements is accepted, and a longer one refused",
    steps: [
      put("a", create(8, { list: Array<number>(8_192).fill(0) })),
      push(
        [{ id: "b", changes: chunks(create(8, { list: Array<number>(8_193).fill(0) })) }],
        [refused("b", "tooLarge", 8_192)],
      ),
    ],
  },
  {
    name: "a map of 1,024 fields is accepted, and a larger one refused",
    steps: [
      put("a", create(8, { map: fieldsOf(1_024) })),
      push(
        [{ id: "b", changes: chunks(create(8, { map: fieldsOf(1_025) })) }],
        [refused("b", "tooLarge", 1_024)],
      ),
    ],
  },
  { name: "nesting of 60 levels is accepted", steps: [put("a", create(8, { deep: nested(60) }))] },
  { name: "a row over a mebibyte is refused, and the change that makes it so is not kept", steps: bigRow() },
  {
    name: "the epoch stays",
    steps: [
      {
        ...push([{ id: "a", changes: chunks(base) }], []),
        returns: { epoch: bind("epoch"), results: [accepted("a")] },
      },
      { ...pull(rowsOf("a", base)), returns: partial({ epoch: bind("epoch") }) },
      {
        ...push([{ id: "b", changes: chunks(other) }], []),
        returns: { epoch: bind("epoch"), results: [accepted("b")] },
      },
    ],
  },
  {
    name: "a document keeps its scope",
    steps: [
      put("a", base, undefined, { scope: "x" }),
      put("a", left, base, { scope: "y" }),
      pull(rowsOf("a", left), { scope: "x" }),
      pull([], { scope: "y", to: START }),
    ],
  },
  {
    name: "scopes are apart, and together without one",
    steps: [
      put("a", base, undefined, { scope: "x" }),
      put("b", other, undefined, { scope: "y" }),
      put("c", create(9, { n: 1 })),
      pull(rowsOf("a", base), { scope: "x", to: bind("x") }),
      pull(rowsOf("b", other), { scope: "y", to: bind("y") }),
      pull([...rowsOf("a", base), ...rowsOf("b", other), ...rowsOf("c", create(9, { n: 1 }))]),
    ],
  },
];

/** A value under so many maps. */
function nested(levels: number, leaf: unknown = { leaf: true }): unknown {
  return levels === 0 ? leaf : { d: nested(levels - 1, leaf) };
}

/** A change by actor 1 with so many operations, which all do the same. */
function claiming(operations: number): Uint8Array {
  const run: number[] = [];
  for (let left = operations; ; left = Math.floor(left / 128)) {
    const bits = left % 128;
    if (left < 64) {
      run.push(bits);
      break;
    }
    run.push(bits + 128);
  }
  const actions = [...run, 1];
  // No dependencies; actor, sequence number, first operation, time, message, other actors; one column, of actions.
  const data = [0, 1, 1, 1, 1, 0, 0, 0, 1, 66, actions.length, ...actions];
  return resealed(new Uint8Array([0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1, data.length, ...data]));
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

function fieldsOf(count: number): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, 0]));
}

function bigRow() {
  const blob = (n: number) => new Uint8Array(200_000).fill(n);
  let doc = create(8, { b0: blob(0) });
  const steps = [put("a", doc)];
  for (let n = 1; n < 5; n++) {
    const next = more(doc, (d) => (d[`b${n}`] = blob(n)));
    steps.push(put("a", next, doc));
    doc = next;
  }
  const over = more(doc, (d) => (d.b5 = blob(5)));
  steps.push(push([{ id: "a", changes: chunks(over, doc) }], [refused("a", "tooLarge", 1024 * 1024)]));
  const small = edit(doc, 2, (d) => (d.small = 1));
  steps.push(put("a", small, doc));
  return steps;
}

const three = [create(1, { n: 1 }), create(2, { n: 2 }), create(3, { n: 3 })] as const;
const rows3 = three.flatMap((doc, i) => rowsOf("abc"[i]!, doc));
const pushThree = push(
  three.map((doc, i) => ({ id: "abc"[i]!, changes: chunks(doc) })),
  [..."abc"].map(accepted),
);

export const pulls: Case[] = [
  { name: "an empty log", steps: [pull([], { to: START })] },
  {
    name: "a checkpoint is exclusive",
    steps: [put("a", base), pull(rowsOf("a", base)), pull([], { after: use("end"), to: bind("end") })],
  },
  {
    name: "what follows a checkpoint, and nothing before it",
    steps: [
      put("a", base),
      pull(rowsOf("a", base)),
      put("a", left, base),
      pull(rowsOf("a", left, base), { after: use("end"), to: bind("next") }),
    ],
  },
  {
    name: "a page may end within one commit",
    steps: [
      pushThree,
      pull([rows3[0]!], { limit: 1, to: bind("one"), hasMore: true }),
      pull([rows3[1]!], { after: use("one"), limit: 1, to: bind("two"), hasMore: true }),
      pull([rows3[2]!], { after: use("two"), limit: 1, to: bind("three") }),
      pull([], { after: use("three"), to: bind("three") }),
    ],
  },
  {
    name: "the rest of a commit follows a page that ended within it",
    steps: [
      pushThree,
      pull(rows3.slice(0, 2), { limit: 2, to: bind("two"), hasMore: true }),
      put("d", other),
      pull([rows3[2]!, ...rowsOf("d", other)], { after: use("two") }),
    ],
  },
  { name: "hasMore is false where a page is exactly full", steps: [pushThree, pull(rows3, { limit: 3 })] },
  {
    name: "a limit below one is one",
    steps: [
      pushThree,
      pull([rows3[0]!], { limit: 0, hasMore: true }),
      pull([rows3[0]!], { limit: -5, hasMore: true }),
    ],
  },
  {
    name: "a limit is rounded down",
    steps: [pushThree, pull(rows3.slice(0, 2), { limit: 2.9, hasMore: true })],
  },
  { name: "a limit above 4,000 is 4,000", steps: [pushThree, pull(rows3, { limit: 1e9 })] },
  {
    name: "a page has at most 512 KiB",
    steps: [
      ...[1, 2, 3].map((n) => put(`d${n}`, halfPage(n))),
      pull([partial({ id: "d1" }), partial({ id: "d2" })], { to: bind("two"), hasMore: true }),
      pull([partial({ id: "d3" })], { after: use("two") }),
    ],
  },
  {
    name: "pages within a scope",
    steps: [
      push(
        three.map((doc, i) => ({ id: "abc"[i]!, changes: chunks(doc) })),
        [..."abc"].map(accepted),
        { scope: "x" },
      ),
      put("d", other),
      pull([rows3[0]!], { scope: "x", limit: 1, to: bind("one"), hasMore: true }),
      pull(rows3.slice(1), { scope: "x", after: use("one"), to: bind("all") }),
      pull([], { scope: "x", after: use("all"), to: bind("all") }),
    ],
  },
  { name: "an unknown scope is empty", steps: [put("a", base), pull([], { scope: "nowhere", to: START })] },
  {
    name: "a checkpoint ahead of the log is unknown",
    steps: [put("a", base), failing(pull([], { after: ahead() }), error("checkpointUnknown"))],
  },
  {
    name: "a checkpoint in an empty log is unknown",
    steps: [failing(pull([], { after: ahead() }), error("checkpointUnknown"))],
  },
  {
    name: "a checkpoint ahead within its commit is unknown",
    steps: [
      put("a", base),
      {
        ...pull([]),
        returns: {
          deltas: rowsOf("a", base),
          checkpoint: { ts: bind("ts"), ordinal: bind("ordinal") },
          hasMore: false,
          epoch: { $any: "string" },
        },
      },
      failing(pull([], { after: { ts: use("ts"), ordinal: 4_000_000_000 } }), error("checkpointUnknown")),
    ],
  },
  {
    name: "a broken checkpoint is unknown",
    steps: [
      put("a", base),
      failing(pull([], { after: { ts: START_TS(), ordinal: 0.5 } }), error("checkpointUnknown")),
    ],
  },
];

function START_TS(): Json {
  return (START as { ts: Json }).ts;
}

function ahead(): Json {
  const far = Buffer.alloc(8);
  far.writeBigInt64LE(9_000_000_000_000_000_000n);
  return { ts: { $integer: far.toString("base64") }, ordinal: 0 };
}

function halfPage(n: number): Doc {
  return create(n, { blob: new Uint8Array(200_000).fill(n) });
}

export { base, left, other, right, three };

/** pullDeltas: order, pages, scopes and checkpoints. */
import {
  accepted,
  bind,
  type Case,
  chunks,
  create,
  type Doc,
  error,
  failing,
  type Json,
  partial,
  pull,
  push,
  put,
  rowsOf,
  START,
  use,
} from "./cases";
import { base, left, other, three } from "./documents";

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
    name: "a scope has at most 128 bytes",
    steps: [
      put("a", base, undefined, { scope: "x".repeat(128) }),
      pull(rowsOf("a", base), { scope: "x".repeat(128) }),
      failing(pull([], { scope: "ü".repeat(65) }), error("tooLarge", { limit: 128 })),
      failing(put("b", base, undefined, { scope: "x".repeat(129) }), error("tooLarge", { limit: 128 })),
      pull(rowsOf("a", base)),
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

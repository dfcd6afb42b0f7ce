/** Rows of the app's table: no value of a document is refused, and a row names the values that it lacks. */
import * as Automerge from "@automerge/automerge";
import { convexToJson } from "convex/values";
import {
  accepted,
  any,
  bytes,
  type Case,
  chunks,
  create,
  type Doc,
  edit,
  type Json,
  more,
  pull,
  push,
  put,
  refused,
  remove,
  rowsOf,
  shows,
  START,
  type Step,
  table,
} from "./cases";
import { base, left, right } from "./documents";

export const rows: Case[] = [
  ...leavesOut(
    "root fields of names that Convex does not store",
    { "👍": 1, Zoë: 2, _me: 3, ok: 4 },
    { ok: 4 },
    ['["Zoë"]', '["_me"]', '["👍"]'],
    { sendable: false },
  ),
  ...leavesOut(
    "root fields of names that are Convex's own",
    { _id: 1, _me: 3, ok: { _me: 4 } },
    { ok: { _me: 4 } },
    ['["_id"]', '["_me"]'],
  ),
  ...leavesOut(
    "entries of maps of names that Convex does not store; those that start with an underscore stay",
    { names: { "👍": 1, Zoë: { a: 1 }, _me: 3, $me: 3, a: 4, "b c": [{ "": 1, _: 0 }, 2] } },
    { names: { _me: 3, a: 4, "b c": [{ _: 0 }, 2] } },
    ['names["$me"]', 'names["Zoë"]', 'names["b c"][0][""]', 'names["👍"]'],
    { sendable: false },
  ),
  ...leavesOut(
    "a name that is too long, whose place is cut",
    { map: { ["x".repeat(1_025)]: 1, ["x".repeat(1_024)]: 2 } },
    { map: { ["x".repeat(1_024)]: 2 } },
    [`map.${"x".repeat(196)}..`],
    { sendable: false },
  ),
  ...leavesOut(
    "a list of more than 8,192 elements",
    { points: Array<number>(8_193).fill(0), few: Array<number>(8_192).fill(0), within: [[0], []] },
    { few: Array<number>(8_192).fill(0), within: [[0], []] },
    ["points"],
  ),
  ...leavesOut(
    "a map of more than 1,024 entries, not counting those of other names",
    { many: fieldsOf(1_025), enough: { ...fieldsOf(1_024), Ä: 0 }, list: [1, fieldsOf(1_025), 3] },
    { enough: fieldsOf(1_024), list: [1, null, 3] },
    ['enough["Ä"]', "list[1]", "many"],
    { sendable: false },
  ),
  ...leavesOut(
    "what is nested deeper than 16 levels, a list's element as null",
    { a: nested(14, {}), b: nested(15, {}), c: nested(14, [[], 1]), d: nested(16, 1), e: nested(70) },
    {
      a: nested(14, {}),
      b: nested(14, {}),
      c: nested(14, [null, 1]),
      d: nested(14, {}),
      e: nested(14, {}),
    },
    [`b${".d".repeat(15)}`, `c${".d".repeat(14)}[0]`, `d${".d".repeat(15)}`, `e${".d".repeat(15)}`],
  ),
  ...leavesOut(
    "what comes after the first 1,017 root fields in the order of their names",
    { ...fieldsOf(1_019), version: 7, zz: 1 },
    Object.fromEntries(
      Object.keys({ ...fieldsOf(1_019), zz: 1 })
        .sort()
        .slice(0, 1_017)
        .map((name) => [name, name === "zz" ? 1 : 0]),
    ),
    Object.keys({ ...fieldsOf(1_019), zz: 1 })
      .sort()
      .slice(1_017),
  ),
  ...leavesOut(
    "and of very many things the first 64 are named",
    { map: Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`ä${i + 10}`, 0])) },
    { map: {} },
    [...Array.from({ length: 64 }, (_, i) => `map["ä${i + 10}"]`), ".."],
    { sendable: false },
  ),
  {
    name: "a row over a mebibyte lacks its largest fields, and has them again when they fit",
    steps: bigRow(),
  },
  {
    name: "a field that is left out is there again when it fits, whatever fields are sent",
    steps: fitsAgain(),
  },
  {
    name: "integers that a float64 would round are strings of digits, and every other number is itself",
    steps: [
      put(
        "a",
        create(8, {
          safe: 9007199254740991n,
          id: 5,
          int: 9007199254740993n,
          negative: -9007199254740993n,
          uint: 18446744073709551615n,
          list: [9223372036854775807n, 1],
          nan: NaN,
          infinite: -Infinity,
          half: 0.5,
          counter: new Automerge.Counter(3),
          time: new Date(5),
        }),
      ),
      table(
        shows("a", {
          safe: 9007199254740991,
          int: "9007199254740993",
          negative: "-9007199254740993",
          uint: "18446744073709551615",
          list: ["9223372036854775807", 1],
          nan: convexToJson(NaN),
          infinite: convexToJson(-Infinity),
          half: 0.5,
          counter: 3,
          time: 5,
        }),
      ),
    ],
  },
  {
    name: "a map is a map, whatever keys it has, and a scalar string is a string",
    steps: [
      put(
        "a",
        create(8, {
          counted: { value: 3, increment: 2 },
          held: { val: "x" },
          scalar: new Automerge.ImmutableString("y"),
          raw: new Uint8Array([1, 2]),
          nothing: null,
        }),
      ),
      table(
        shows("a", {
          counted: { value: 3, increment: 2 },
          held: { val: "x" },
          scalar: "y",
          raw: bytes(new Uint8Array([1, 2])),
          nothing: null,
        }),
      ),
    ],
  },
  {
    name: "a row's own columns win over the document's fields",
    steps: [
      put(
        "a",
        create(8, { id: "x", version: { _a: 1 }, timestamp: 2, deleted: "no", notInRow: ["y"], ok: 1 }),
      ),
      table(shows("a", { ok: 1 })),
    ],
  },
  {
    name: "what a row lacks is deleted and merged as anything else",
    steps: [
      put("a", base),
      push([{ id: "a", changes: chunks(withDeep(left), base) }], [accepted("a")]),
      put("a", right, base),
      remove("a"),
    ],
  },
  {
    name: "fields that are not an object are refused",
    steps: [
      push([{ id: "a", changes: chunks(base), fields: "milk" }], [refused("a", "forbiddenField")]),
      pull([], { to: START }),
    ],
  },
  {
    name: "also where they would not be used",
    steps: [
      put("a", base),
      push([{ id: "a", changes: chunks(base), fields: [1] }], [refused("a", "forbiddenField")]),
      put("a", left, base),
      push([{ id: "a", changes: chunks(right, base), fields: null }], [refused("a", "forbiddenField")]),
      pull(rowsOf("a", left)),
    ],
  },
];

/** Two cases: the row of a document that is merged, and of a document whose fields are sent along. */
function leavesOut(
  what: string,
  document: Record<string, unknown>,
  row: Record<string, unknown>,
  notInRow: string[],
  { sendable = true } = {},
): Case[] {
  const doc = create(8, document);
  const shown = table(shows("a", { ...(plain(row) as Record<string, Json>), notInRow }));
  const merged = { name: `a row lacks ${what}`, steps: [put("a", doc), pull(rowsOf("a", doc)), shown] };
  if (!sendable) return [merged];
  return [
    merged,
    {
      name: `a row lacks ${what}, where they are sent too`,
      steps: [
        push([{ id: "a", changes: chunks(doc), fields: document as Json }], [accepted("a")]),
        pull(rowsOf("a", doc)),
        shown,
      ],
    },
  ];
}

/** Without undefined fields. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** A value within so many maps. */
function nested(levels: number, leaf: unknown = { leaf: true }): unknown {
  return levels === 0 ? leaf : { d: nested(levels - 1, leaf) };
}

function withDeep(doc: Doc): Doc {
  return edit(doc, 8, (draft) => (draft.deep = nested(70)));
}

function fieldsOf(count: number): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, 0]));
}

function bigRow(): Step[] {
  const blob = (n: number) => new Uint8Array(200_000).fill(n);
  const field = (n: number) => ({ [`b${n}`]: any("bytes") });
  const five = { ...field(0), ...field(1), ...field(2), ...field(3), ...field(4) };
  let doc = create(8, { b0: blob(0) });
  const steps = [put("a", doc)];
  for (let n = 1; n < 5; n++) {
    const next = more(doc, (d) => (d[`b${n}`] = blob(n)));
    steps.push(put("a", next, doc));
    doc = next;
  }
  steps.push(table(shows("a", five, 5)));
  const over = more(doc, (d) => (d.b5 = blob(5)));
  const { b0: _, ...rest } = five;
  steps.push(put("a", over, doc));
  steps.push(table(shows("a", { ...rest, ...field(5), notInRow: ["b0"] }, 6)));
  const less = edit(over, 2, (d) => (d.b3 = 1));
  steps.push(put("a", less, over));
  steps.push(table(shows("a", { ...five, ...field(5), b3: 1 }, 7)));
  return steps;
}

function fitsAgain(): Step[] {
  const first = create(8, { list: Array<number>(8_193).fill(0), n: 1 });
  const other = more(first, (d) => (d.n = 2));
  const shorter = more(other, (d) => (d.list = [1]));
  const after = more(shorter, (d) => (d.n = 3));
  const sent = (doc: Doc, since: Doc, fields: Json) =>
    push([{ id: "a", changes: chunks(doc, since), fields }], [accepted("a")]);
  return [
    put("a", first),
    sent(other, first, { n: 2 }),
    table(shows("a", { n: 2, notInRow: ["list"] }, 2)),
    sent(shorter, other, { list: [1] }),
    table(shows("a", { n: 2, list: [1] }, 3)),
    sent(after, shorter, { n: 3 }),
    table(shows("a", { n: 3, list: [1] }, 4)),
  ];
}

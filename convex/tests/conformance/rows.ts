/** What may be a row of the app's table. */
import {
  any,
  type Case,
  chunks,
  create,
  edit,
  error,
  failing,
  type Json,
  more,
  pull,
  push,
  put,
  refused,
  remove,
  rowsOf,
  START,
  stream,
} from "./cases";
import { base, left, right } from "./documents";

export const rows: Case[] = [
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
      pull([], { to: START }),
    ],
  },
  {
    name: "and an empty one",
    steps: [
      push(
        [{ id: "a", changes: chunks(create(8, { map: { list: [{ "": 1 }] } })) }],
        [refused("a", "forbiddenField")],
      ),
      pull([], { to: START }),
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
      stream(any("number"), 1),
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
      stream(any("number"), 1),
    ],
  },
  {
    name: "a row has 1,024 fields with its own five, and a sixth where it is deleted",
    steps: [
      put("a", create(8, fieldsOf(1_019))),
      push([{ id: "b", changes: chunks(create(8, fieldsOf(1_020))) }], [refused("b", "tooLarge", 1_024)]),
      push(
        [{ id: "b", changes: chunks(create(8, fieldsOf(1_020))), fields: fieldsOf(1_020) as Json }],
        [refused("b", "tooLarge", 1_024)],
      ),
      failing(remove("a"), error("tooLarge", { document: "a", limit: 1_024 })),
      stream(any("number"), 1),
      put("c", create(8, { ...fieldsOf(1_018), id: "x", version: 1 })),
      remove("c"),
    ],
  },
  { name: "nesting of 60 levels is accepted", steps: [put("a", create(8, { deep: nested(60) }))] },
  { name: "a row over a mebibyte is refused, and the change that makes it so is not kept", steps: bigRow() },
];

/** A value under so many maps. */
function nested(levels: number, leaf: unknown = { leaf: true }): unknown {
  return levels === 0 ? leaf : { d: nested(levels - 1, leaf) };
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

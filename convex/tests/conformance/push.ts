/** Pushes: the changes that enter the log, and their order. */
import * as Automerge from "@automerge/automerge";
import {
  accepted,
  bind,
  type Case,
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
import { base, left, right, other, both } from "./documents";
import { forged, one } from "./forged";

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

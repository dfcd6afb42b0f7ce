/** The history of a change: dependencies, sequence numbers and the numbers of operations. */
import * as Automerge from "@automerge/automerge";
import {
  type Case,
  changesOf,
  chunk,
  chunks,
  create,
  edit,
  type Json,
  more,
  pull,
  push,
  put,
  refused,
  rowsOf,
  START,
  stream,
} from "./cases";
import { base, left } from "./documents";
import { forged, one, resealed } from "./forged";

/** A change with another sequence number or first operation, both below 128, and the right checksum. */
function renumbered(raw: Uint8Array, { seq, startOp }: { seq?: number; startOp?: number }): Uint8Array {
  const { actor, deps } = Automerge.decodeChange(raw);
  // Magic, checksum, type and a length of one or two bytes; the number of dependencies, and the dependencies; the length
  // of the actor, and the actor.
  const length = raw[9]! < 128 ? 1 : 2;
  const at = 9 + length + 1 + 32 * deps.length + 1 + actor.length / 2;
  const made = resealed(
    forged(raw, (copy) => {
      if (seq !== undefined) copy[at] = seq;
      if (startOp !== undefined) copy[at + 1] = startOp;
    }),
  );
  const read = Automerge.decodeChange(made);
  if ((seq ?? read.seq) !== read.seq || (startOp ?? read.startOp) !== read.startOp)
    throw new Error("the wrong bytes");
  return made;
}

/** An edit by the actor of `base`: its second change. */
const second = more(base, (d) => (d.done = true));
const secondRaw = changesOf(second, base)[0]!;
const leftRaw = changesOf(left, base)[0]!;

export const histories: Case[] = [
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
    name: "a gap in an actor's sequence numbers is refused",
    steps: [
      put("a", base),
      push(
        [{ id: "a", changes: [chunk(renumbered(secondRaw, { seq: 3 }))] }],
        [refused("a", "missingDependencies")],
      ),
      push(
        [{ id: "a", changes: [chunk(renumbered(leftRaw, { seq: 2 }))] }],
        [refused("a", "missingDependencies")],
      ),
      pull(rowsOf("a", base)),
      put("a", second, base),
    ],
  },
  {
    name: "a gap within one push is refused too, and in a document that is new",
    steps: [
      push(
        [{ id: "a", changes: [...(chunks(base) as Json[]), chunk(renumbered(secondRaw, { seq: 5 }))] }],
        [refused("a", "missingDependencies")],
      ),
      push(
        [{ id: "b", changes: [chunk(renumbered(one, { seq: 2 }))] }],
        [refused("b", "missingDependencies")],
      ),
      stream(0, 0),
    ],
  },
  {
    name: "operations numbered like earlier ones are refused",
    steps: [
      put("a", base),
      push(
        [{ id: "a", changes: [chunk(renumbered(leftRaw, { startOp: 1 }))] }],
        [refused("a", "invalidChange")],
      ),
      push(
        [{ id: "a", changes: [chunk(renumbered(secondRaw, { startOp: 2 }))] }],
        [refused("a", "invalidChange")],
      ),
      pull(rowsOf("a", base)),
      put("a", left, base),
    ],
  },
  {
    name: "so are those of a push that builds on itself, and of an actor that does not build on its own",
    steps: [
      push(
        [{ id: "a", changes: [...(chunks(base) as Json[]), chunk(renumbered(leftRaw, { startOp: 3 }))] }],
        [refused("a", "invalidChange")],
      ),
      put("a", left),
      push([{ id: "a", changes: [chunk(unrelated())] }], [refused("a", "invalidChange")]),
      pull(rowsOf("a", left)),
    ],
  },
  {
    name: "the same on the fast path",
    steps: [
      put("a", base),
      push(
        [{ id: "a", changes: [chunk(renumbered(leftRaw, { startOp: 1 }))], fields: { title: "oat milk" } }],
        [refused("a", "invalidChange")],
      ),
      push(
        [{ id: "a", changes: [chunk(renumbered(secondRaw, { seq: 3 }))], fields: { done: true } }],
        [refused("a", "missingDependencies")],
      ),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "a repeat of what is known does not hide a gap behind it",
    steps: [
      put("a", left),
      push(
        [{ id: "a", changes: [...(chunks(left) as Json[]), chunk(renumbered(leftRaw, { seq: 3 }))] }],
        [refused("a", "missingDependencies")],
      ),
      pull(rowsOf("a", left)),
    ],
  },
  {
    name: "what lacks a dependency and reuses a sequence number lacks a dependency",
    steps: [
      put("a", create(2, { title: "another" })),
      push([{ id: "a", changes: chunks(left, base) }], [refused("a", "missingDependencies")]),
    ],
  },
];

/** The second change of the actor of `left` that depends on `base` alone, with operations numbered as in the first. */
function unrelated(): Uint8Array {
  return renumbered(
    changesOf(
      edit(base, 2, (d) => (d.title = "soy milk")),
      base,
    )[0]!,
    { seq: 2 },
  );
}

/**
 * Documents near the limits. They are sent through the original API, which takes them compressed: a few kilobytes here
 * stand for megabytes.
 */
import {
  accepted,
  any,
  bind,
  type Case,
  chunks,
  create,
  type Doc,
  edit,
  type Fields,
  type Json,
  more,
  partial,
  pullWhole,
  push,
  put,
  refused,
  save,
  shows,
  type Step,
  table,
  use,
} from "./cases";

const MIB = 1024 * 1024;
/**
 * The size of the row of the document `a` without a field `blob`, as Convex counts: names, ids, times and markers.
 */
const BESIDE_BLOB = 112;
/** The size of `deleted: true`. */
const DELETED = 9;
/** The size of a number under a name of one letter. */
const NUMBER = 11;

export const large: Case[] = [
  {
    name: "a row of exactly a mebibyte is whole, and one of a byte more lacks its largest field",
    steps: [
      save("a", blob(MIB - BESIDE_BLOB)),
      save("b", blob(MIB - BESIDE_BLOB + 1)),
      table(shows("a", { blob: any("bytes") }), shows("b", { notInRow: ["blob"] })),
    ],
  },
  {
    name: "a tombstone's mark counts, and what the document has under the row's own names does not",
    steps: [
      save("a", blob(MIB - BESIDE_BLOB - DELETED, { deleted: true, id: "x".repeat(1_000) })),
      save("b", blob(MIB - BESIDE_BLOB - DELETED + 1, { deleted: true })),
      table(
        shows("a", { blob: any("bytes"), deleted: true }),
        shows("b", { deleted: true, notInRow: ["blob"] }),
      ),
    ],
  },
  {
    name: "the same where the row is taken as sent",
    steps: [
      ...grown("a", MIB - BESIDE_BLOB - NUMBER, accepted("a")),
      ...grown("b", MIB - BESIDE_BLOB - NUMBER + 1, accepted("b")),
      table(shows("a", { blob: any("bytes"), n: 1 }, 2), shows("b", { n: 1, notInRow: ["blob"] }, 2)),
    ],
  },
  {
    name: "documents that are each more than a page come one by one, and the next is reached",
    steps: [
      save("a", rewritten(1, 5)),
      save("b", rewritten(2, 5)),
      pullWhole([whole("a")], { to: bind("one"), hasMore: true }),
      pullWhole([whole("b")], { after: use("one"), to: bind("two") }),
      save("c", rewritten(3, 5)),
      // The next commit may have been in the same microsecond: the last document comes again, and then the next.
      pullWhole([whole("b")], { after: use("two"), to: bind("three"), hasMore: true }),
      pullWhole([whole("c")], { after: use("three") }),
    ],
  },
  {
    name: "what would be too large to be pulled together is not changed together",
    steps: changedTogether(),
  },
];

function whole(documentId: string): Json {
  return partial({ documentId });
}

/** A document of one field with so many bytes. */
function blob(bytes: number, fields: Fields = {}): Doc {
  return create(1, { blob: new Uint8Array(bytes), ...fields });
}

/** A document whose log has `times` 900,000 bytes. */
function rewritten(n: number, times: number): Doc {
  let doc = create(n, { blob: new Uint8Array(900_000) });
  for (let time = 1; time < times; time++)
    doc = more(doc, (d) => (d.blob = new Uint8Array(900_000).fill(time)));
  return doc;
}

/** A document, and an edit that a backend writes to the row as sent: it adds a number. */
function grown(id: string, bytes: number, result: Json): Step[] {
  const doc = blob(bytes);
  const next = edit(doc, 2, (d) => (d.n = 1));
  return [save(id, doc), push([{ id, changes: chunks(next, doc), fields: { n: 1 } }], [result])];
}

function changedTogether(): Step[] {
  const ids = ["a", "b", "c"];
  const docs = ids.map((_, i) => rewritten(i + 1, 4));
  const edited = docs.map((doc) => edit(doc, 9, (d) => (d.n = 1)));
  const documents = ids.map((id, i) => ({ id, changes: chunks(edited[i]!, docs[i]), fields: { n: 1 } }));
  return [
    ...ids.map((id, i) => save(id, docs[i]!)),
    push(documents, [accepted("a"), accepted("b"), refused("c", "tooLarge", 8 * MIB)]),
    put("c", edited[2]!, docs[2]),
    pullWhole([whole("a"), whole("b")], { to: bind("one"), hasMore: true }),
    pullWhole([whole("c")], { after: use("one") }),
  ];
}

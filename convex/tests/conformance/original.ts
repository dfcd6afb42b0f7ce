import * as Automerge from "@automerge/automerge";
import {
  any,
  bind,
  bytes,
  type Case,
  changesOf,
  create,
  edit,
  error,
  failing,
  partial,
  pull,
  pullWhole,
  push,
  put,
  remove,
  rowsOf,
  save,
  shows,
  START,
  type CallStep,
  stream,
  table,
  use,
  whole,
} from "./cases";
import { base, left, other, right, three } from "./documents";

const merged = Automerge.merge(Automerge.clone(left), right);
const garbage = new TextEncoder().encode("this is no document");

export const originals: Case[] = [
  {
    name: "an inserted document can be pulled",
    steps: [save("a", base), pullWhole([whole("a", { title: "milk", done: false }, 1)])],
  },
  { name: "its changes are in the log one by one", steps: [save("a", left), pull(rowsOf("a", left))] },
  {
    name: "materializedDoc and version are not believed",
    steps: [
      save("a", base, { version: 77, materializedDoc: { title: "lies" } }),
      pullWhole([whole("a", { title: "milk", done: false }, 1)]),
    ],
  },
  {
    name: "a repeat is a merge",
    steps: [
      save("a", base),
      save("a", base),
      save("a", base, { update: true }),
      pull(rowsOf("a", base)),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "an update of a document that is new inserts it",
    steps: [save("a", base, { update: true }), stream(bind("ts"), 1)],
  },
  {
    name: "concurrent updates are merged",
    steps: [
      save("a", base),
      save("a", left, { update: true }),
      save("a", right, { update: true }),
      pullWhole([whole("a", { title: "oat milk", done: true }, 3)]),
    ],
  },
  {
    name: "an older document changes nothing",
    steps: [
      save("a", merged),
      stream(bind("ts"), 1),
      save("a", base, { update: true }),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "a concatenation of changes is a document too",
    steps: [
      save("a", Buffer.concat(changesOf(left))),
      pullWhole([whole("a", { title: "oat milk", done: false }, 2)]),
    ],
  },
  {
    name: "changes alone update a document",
    steps: [
      save("a", base),
      save("a", changesOf(left, base)[0]!, { update: true }),
      pullWhole([whole("a", { title: "oat milk", done: false }, 2)]),
    ],
  },
  {
    name: "changes whose dependencies are missing are refused",
    steps: [
      failing(save("a", changesOf(left, base)[0]!), error("missingDependencies", { document: "a" })),
      stream(0, 0),
    ],
  },
  {
    name: "bytes that are no document are refused",
    steps: [failing(save("a", garbage), error("invalidChange", { document: "a" })), stream(0, 0)],
  },
  {
    name: "a document cut off is refused",
    steps: [
      failing(save("a", Automerge.save(merged).slice(0, 60)), error("invalidChange", { document: "a" })),
      stream(0, 0),
    ],
  },
  {
    name: "what is cut off of a document that exists is refused, and changes nothing",
    steps: [
      save("a", base),
      stream(bind("ts"), 1),
      ...[Automerge.save(merged), Automerge.save(merged).slice(0, 60), changesOf(left, base)[0]!].map((raw) =>
        failing(save("a", raw.slice(0, -1), { update: true }), error("invalidChange", { document: "a" })),
      ),
      stream(bind("ts"), 1),
      pullWhole([whole("a", { title: "milk", done: false }, 1)]),
    ],
  },
  {
    name: "a document with a field of a name that Convex does not store is accepted",
    steps: [
      save("a", create(1, { $x: 1, ok: 2 })),
      stream(any("number"), 1),
      table(shows("a", { ok: 2, notInRow: ['["$x"]'] })),
    ],
  },
  {
    name: "a reused sequence number is refused",
    steps: [
      save("a", base),
      failing(save("a", create(1, { title: "other" })), error("reusedSequence", { document: "a" })),
      pull(rowsOf("a", base)),
    ],
  },
  {
    name: "no bytes are no document",
    steps: [failing(save("a", new Uint8Array()), error("invalidChange")), stream(0, 0)],
  },
  { name: "an empty id is refused", steps: [failing(save("", base), error("invalidChange"))] },
  {
    name: "what deltas push, whole documents show",
    steps: [
      put("a", base),
      put("a", left, base),
      pullWhole([whole("a", { title: "oat milk", done: false }, 2)]),
      save("a", right, { update: true }),
      pull([...rowsOf("a", left), ...rowsOf("a", right, base)]),
    ],
  },
  {
    name: "a delete makes a tombstone",
    steps: [
      save("a", base),
      remove("a"),
      pullWhole([whole("a", { title: "milk", done: false, deleted: true }, 2)]),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "a delete is a change that deltas see",
    steps: [
      put("a", base),
      remove("a"),
      pull([...rowsOf("a", base), partial({ id: "a", bytes: any("bytes") })]),
    ],
  },
  {
    name: "a second delete changes nothing",
    steps: [save("a", base), remove("a"), stream(bind("ts"), 1), remove("a"), stream(bind("ts"), 1)],
  },
  {
    name: "an unknown document cannot be deleted",
    steps: [failing(remove("a"), error("unknownDocument", { document: "a" })), stream(0, 0)],
  },
  {
    name: "a tombstone can be edited and restored",
    steps: [
      save(
        "a",
        edit(base, 2, (d) => (d.deleted = true)),
      ),
      save(
        "a",
        edit(
          edit(base, 2, (d) => (d.deleted = true)),
          3,
          (d) => delete d.deleted,
        ),
        { update: true },
      ),
      pullWhole([whole("a", { title: "milk", done: false }, 3)]),
    ],
  },
  { name: "an empty collection", steps: [pullWhole([], { to: 0 }), stream(0, 0)] },
  {
    name: "documents come oldest change first",
    steps: [
      ...three.map((doc, i) => put("abc"[i]!, doc)),
      put(
        "a",
        edit(three[0], 9, (d) => (d.n = 9)),
        three[0],
      ),
      pullWhole([whole("b", { n: 2 }, 1), whole("c", { n: 3 }, 1), whole("a", { n: 9 }, 2)]),
    ],
  },
  {
    name: "a page never ends within a commit",
    steps: [
      push(
        three.map((doc, i) => ({
          id: "abc"[i]!,
          changes: changesOf(doc).map((raw) => ({ bytes: bytes(raw) })),
        })),
        [..."abc"].map((id) => ({ id, status: "accepted" })),
      ),
      pullWhole([partial({ documentId: "a" }), partial({ documentId: "b" }), partial({ documentId: "c" })], {
        limit: 1,
      }),
    ],
  },
  {
    name: "a checkpoint is inclusive, and a page begins after the one before it",
    steps: [
      ...three.map((doc, i) => put("abc"[i]!, doc)),
      pullWhole([partial({ documentId: "a" })], { limit: 1, to: bind("one"), hasMore: true }),
      pullWhole([partial({ documentId: "b" })], {
        after: use("one"),
        limit: 1,
        to: bind("two"),
        hasMore: true,
      }),
      pullWhole([partial({ documentId: "c" })], {
        after: use("two"),
        limit: 1,
        to: bind("three"),
      }),
      pullWhole([partial({ documentId: "c" })], { after: use("three"), to: bind("three") }),
    ],
  },
  {
    name: "the checkpoint is the stream's timestamp",
    steps: [
      put("a", base),
      pullWhole([partial({ timestamp: bind("ts") })], { to: bind("ts") }),
      stream(bind("ts"), 1),
    ],
  },
  {
    name: "a checkpoint ahead gets nothing",
    steps: [put("a", base), pullWhole([], { after: 9e15, to: 9e15 })],
  },
  {
    name: "a limit below one is one",
    steps: [
      put("a", base),
      put("b", other),
      pullWhole([partial({ documentId: "a" })], { limit: 0, hasMore: true }),
    ],
  },
  {
    name: "the collection's name is ignored",
    steps: [
      { ...put("a", base), path: "tasks:pushChanges" },
      { ...stream(0, 0), args: { collectionName: "tasks" } },
      { ...stream(any("number"), 1), path: "tasks:changeStream", args: {} },
    ],
  },
  {
    name: "values of every kind survive",
    steps: [
      put(
        "a",
        create(1, {
          text: "t",
          scalar: new Automerge.ImmutableString("s"),
          count: new Automerge.Counter(3),
          when: new Date(5),
          float: 1.5,
          list: [1, "two", null, [true]],
          map: { a: { b: false } },
          blob: new Uint8Array([1, 2, 3]),
        }),
      ),
      pullWhole([
        whole(
          "a",
          {
            text: "t",
            scalar: "s",
            count: 3,
            when: 5,
            float: 1.5,
            list: [1, "two", null, [true]],
            map: { a: { b: false } },
            blob: { $bytes: "AQID" },
          },
          1,
        ),
      ]),
    ],
  },
];

const argument = (
  path: string,
  args: CallStep["args"],
  call: CallStep["call"],
  message: string[],
): CallStep => ({
  call,
  path: `notes:${path}`,
  args,
  fails: { message: ["ArgumentValidationError", ...message] },
});

export const refusals: Case[] = [
  {
    name: "a missing argument",
    steps: [argument("pullDeltas", {}, "query", ["missing the required field `checkpoint`"])],
  },
  {
    name: "an unknown argument",
    steps: [argument("pullDeltas", { checkpoint: START, colour: "red" }, "query", ["extra field `colour`"])],
  },
  {
    name: "a float64 is not an int64",
    steps: [
      argument("pullDeltas", { checkpoint: { ts: 0, ordinal: 0 } }, "query", [
        "does not match",
        "Path: .checkpoint.ts",
        "v.int64()",
      ]),
    ],
  },
  {
    name: "an int64 is not a float64",
    steps: [
      argument(
        "pullDeltas",
        { checkpoint: { ts: { $integer: "AAAAAAAAAAA=" }, ordinal: { $integer: "AAAAAAAAAAA=" } } },
        "query",
        ["Path: .checkpoint.ordinal", "v.float64()"],
      ),
    ],
  },
  {
    name: "an int64 is no limit",
    steps: [
      argument("pullDeltas", { checkpoint: START, limit: { $integer: "AQAAAAAAAAA=" } }, "query", [
        "Path: .limit",
      ]),
    ],
  },
  {
    name: "null is not absent",
    steps: [argument("pullDeltas", { checkpoint: START, scope: null }, "query", ["Path: .scope"])],
  },
  {
    name: "a missing field deep within",
    steps: [
      argument("pushChanges", { documents: [{ id: "a", changes: [{}] }] }, "mutation", [
        "missing the required field `bytes`",
        "Path: .documents[0].changes[0]",
      ]),
    ],
  },
  {
    name: "text is not bytes",
    steps: [
      argument("pushChanges", { documents: [{ id: "a", changes: [{ bytes: "AAAA" }] }] }, "mutation", [
        "Path: .documents[0].changes[0].bytes",
        "v.bytes()",
      ]),
    ],
  },
  {
    name: "a number is no id",
    steps: [
      argument("pushChanges", { documents: [{ id: 5, changes: [] }] }, "mutation", [
        "Path: .documents[0].id",
        "v.string()",
      ]),
    ],
  },
  {
    name: "removed fields are text",
    steps: [
      argument("pushChanges", { documents: [{ id: "a", changes: [], removed: [1] }] }, "mutation", [
        "Path: .documents[0].removed[0]",
      ]),
    ],
  },
  {
    name: "documents are a list",
    steps: [argument("pushChanges", { documents: {} }, "mutation", ["Path: .documents"])],
  },
  {
    name: "an extra field of a document",
    steps: [
      argument("pushChanges", { documents: [{ id: "a", changes: [], scope: "x" }] }, "mutation", [
        "extra field `scope`",
        "Path: .documents[0]",
      ]),
    ],
  },
  {
    name: "insertDocument wants its document",
    steps: [
      argument(
        "insertDocument",
        { collectionName: "notes", documentId: "a", materializedDoc: {}, version: 1 },
        "mutation",
        ["`crdtBytes`"],
      ),
    ],
  },
  {
    name: "version is a float64",
    steps: [
      argument(
        "updateDocument",
        {
          collectionName: "notes",
          documentId: "a",
          crdtBytes: bytes(new Uint8Array()),
          materializedDoc: {},
          version: { $integer: "AQAAAAAAAAA=" },
        },
        "mutation",
        ["Path: .version"],
      ),
    ],
  },
  {
    name: "collectionName is text",
    steps: [
      argument("deleteDocument", { collectionName: 1, documentId: "a" }, "mutation", [
        "Path: .collectionName",
      ]),
    ],
  },
  {
    name: "a checkpoint later than any time is answered with nothing",
    steps: [
      save("a", base),
      pullWhole([], { after: 1e300, to: 1e300 }),
      pullWhole([], { after: 1e16, to: 1e16 }),
    ],
  },
  {
    name: "lastModified is a float64",
    steps: [
      argument(
        "pullChanges",
        { collectionName: "notes", checkpoint: { lastModified: { $integer: "AQAAAAAAAAA=" } } },
        "query",
        ["Path: .checkpoint.lastModified"],
      ),
    ],
  },
  {
    name: "changeStream takes no more",
    steps: [
      argument("changeStream", { collectionName: "notes", limit: 1 }, "query", ["extra field `limit`"]),
    ],
  },
  {
    name: "an unknown function",
    steps: [
      {
        call: "query",
        path: "notes:pullEverything",
        args: {},
        fails: { message: ["Could not find public function for 'notes:pullEverything'"] },
      },
    ],
  },
  {
    name: "a query is not a mutation",
    steps: [
      {
        call: "mutation",
        path: "notes:pullDeltas",
        args: { checkpoint: START },
        fails: { message: ["Trying to execute notes:pullDeltas as Mutation, but it is defined as Query."] },
      },
    ],
  },
  {
    name: "a mutation is not a query",
    steps: [
      {
        call: "query",
        path: "notes:deleteDocument",
        args: { collectionName: "notes", documentId: "a" },
        fails: {
          message: ["Trying to execute notes:deleteDocument as Query, but it is defined as Mutation."],
        },
      },
    ],
  },
];

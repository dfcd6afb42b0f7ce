/** The sync protocol, message by message. */
import {
  any,
  type Case,
  chunks,
  create,
  edit,
  type Json,
  partial,
  push,
  accepted,
  START,
  type SyncStep,
  whole,
} from "./cases";
import { pullWhole } from "./cases";

const FIRST = "11111111-1111-4111-8111-111111111111";
const SECOND = "22222222-2222-4222-8222-222222222222";

const connect = (sessionId: string, connectionCount = 0): Json => ({
  type: "Connect",
  sessionId,
  connectionCount,
  lastCloseReason: "InitialConnect",
  clientTs: 1_000,
});

const mutation = (requestId: number, udfPath: string, args: Json): Json => ({
  type: "Mutation",
  requestId,
  udfPath,
  args: [args],
});

const sync = (socket: string, send: Json[], until: Json[]): SyncStep => ({
  call: "sync",
  socket,
  send,
  until,
});

const version = (querySet: number): Json => ({ querySet, identity: 0, ts: any("string") });

/** A transition has exactly these fields: one that is null would not be absent. */
const transition = (from: number, to: number, modifications: Json[]): Json => ({
  type: "Transition",
  startVersion: version(from),
  endVersion: version(to),
  modifications,
});

const answered = (requestId: number): Json => partial({ type: "MutationResponse", requestId, success: true });

const draft = create(1, { text: "a" });
/** It was made beside the deletion by the server, and has a later number, so it wins. */
const restored = edit(draft, 2, (fields) => {
  for (let n = 0; n < 9; n += 1) fields.n = n;
  fields.deleted = false;
});
const remove = (requestId: number): Json =>
  mutation(requestId, "notes:deleteDocument", { collectionName: "notes", documentId: "a" });
const kept = { text: "a", n: 8, deleted: false };

export const syncs: Case[] = [
  {
    name: "a transition has no field that is null",
    steps: [
      sync(
        "one",
        [
          connect(FIRST),
          {
            type: "ModifyQuerySet",
            baseVersion: 0,
            newVersion: 1,
            modifications: [
              { type: "Add", queryId: 0, udfPath: "notes:pullDeltas", args: [{ checkpoint: START }] },
            ],
          },
        ],
        [transition(0, 1, [partial({ type: "QueryUpdated", queryId: 0 })])],
      ),
      sync(
        "one",
        [
          {
            type: "ModifyQuerySet",
            baseVersion: 1,
            newVersion: 2,
            modifications: [{ type: "Remove", queryId: 0 }],
          },
        ],
        [transition(1, 2, [{ type: "QueryRemoved", queryId: 0 }])],
      ),
    ],
  },
  {
    name: "a mutation that is sent again after a reconnect is not run again",
    steps: [
      push([{ id: "a", changes: chunks(draft) }], [accepted("a")]),
      sync("one", [connect(FIRST), remove(7)], [answered(7)]),
      push([{ id: "a", changes: chunks(restored, draft) }], [accepted("a")]),
      pullWhole([whole("a", kept, 3)]),
      // The client did not read the answer, and sends the mutation again over its next connection.
      sync("two", [connect(FIRST, 1), remove(7)], [answered(7)]),
      pullWhole([whole("a", kept, 3)]),
      sync("one", [remove(7)], [answered(7)]),
      pullWhole([whole("a", kept, 3)]),
    ],
  },
  {
    name: "the same request of another session is another request",
    steps: [
      push([{ id: "a", changes: chunks(draft) }], [accepted("a")]),
      sync("one", [connect(FIRST), remove(7)], [answered(7)]),
      push([{ id: "a", changes: chunks(restored, draft) }], [accepted("a")]),
      sync("two", [connect(SECOND), remove(7)], [answered(7)]),
      pullWhole([whole("a", { ...kept, deleted: true }, 4)]),
    ],
  },
  {
    name: "a mutation that failed is run again",
    steps: [
      sync(
        "one",
        [connect(FIRST), remove(7)],
        [partial({ type: "MutationResponse", requestId: 7, success: false, result: any("string") })],
      ),
      push([{ id: "a", changes: chunks(draft) }], [accepted("a")]),
      sync("two", [connect(FIRST, 1), remove(7)], [answered(7)]),
      pullWhole([whole("a", { text: "a", deleted: true }, 2)]),
    ],
  },
  {
    name: "an action fails with a message",
    steps: [
      sync(
        "one",
        [connect(FIRST), { type: "Action", requestId: 3, udfPath: "notes:nothing", args: [{}] }],
        [partial({ type: "ActionResponse", requestId: 3, success: false, result: any("string") })],
      ),
    ],
  },
];

/** Presence: the values of connected apps. */
import { peerOf } from "../../src/component/presence";
import { any, type CallStep, type Case, error, failing, type Json, partial, stream, table } from "./cases";

const ADA = "replicate|ada";
const SECRETS = ["a".repeat(16), "b".repeat(16), "c".repeat(16)] as const;
const [a, b, c] = SECRETS;

type Where = { path?: string; scope?: string; as?: "ada" | "eve" };

const call = (name: string, args: Record<string, Json>, returns: Json, where: Where): CallStep => ({
  call: name === "listPresence" ? "query" : "mutation",
  path: `${where.path ?? "notes"}:${name}`,
  args: { ...args, ...(where.scope === undefined ? {} : { scope: where.scope }) },
  returns,
  ...(where.as === undefined ? {} : { as: where.as }),
});

const set = (session: string, value: string, where: Where = {}): CallStep =>
  call(
    "setPresence",
    { session, value },
    { peer: peerOf(session), rate: any("number"), ttl: any("number") },
    where,
  );
const leave = (session: string, where: Where = {}): CallStep =>
  call("setPresence", { session }, { peer: peerOf(session), rate: any("number"), ttl: any("number") }, where);
const list = (peers: [session: string, value: string, user?: string][], where: Where = {}): CallStep => {
  const shown = peers.map(([session, value, user]) => ({
    peer: peerOf(session),
    value,
    ...(user === undefined ? {} : { user }),
  }));
  shown.sort((one, other) => (one.peer < other.peer ? -1 : 1));
  return call("listPresence", {}, { peers: shown }, where);
};

export const presences: Case[] = [
  {
    name: "peers show values, change them and leave, and nothing is in the log or the table",
    steps: [
      list([]),
      set(a, "1"),
      list([[a, "1"]]),
      set(b, '{"x":1}'),
      list([
        [a, "1"],
        [b, '{"x":1}'],
      ]),
      set(a, "2"),
      set(a, "2"),
      list([
        [a, "2"],
        [b, '{"x":1}'],
      ]),
      leave(a),
      leave(a),
      list([[b, '{"x":1}']]),
      leave(c),
      list([[b, '{"x":1}']]),
      stream(0, 0),
      table(),
    ],
  },
  {
    name: "a collection and a scope are an area of their own",
    steps: [
      set(a, "1"),
      set(a, "2", { scope: "x" }),
      set(b, "3", { scope: "x" }),
      set(c, "4", { path: "tasks" }),
      list([[a, "1"]]),
      list(
        [
          [a, "2"],
          [b, "3"],
        ],
        { scope: "x" },
      ),
      list([], { scope: "y" }),
      list([], { scope: "" }),
      list([[c, "4"]], { path: "tasks" }),
      leave(a, { scope: "x" }),
      list([[a, "1"]]),
      list([[b, "3"]], { scope: "x" }),
    ],
  },
  {
    name: "the rule for reads decides, and a peer's user is the one who is verified",
    steps: [
      failing(set(a, "1", { path: "homes", scope: ADA, as: "eve" }), error("notAuthorized")),
      failing(list([], { path: "homes", scope: ADA, as: "eve" }), error("notAuthorized")),
      failing(leave(a, { path: "homes", scope: ADA, as: "eve" }), error("notAuthorized")),
      failing(set(a, "1", { path: "homes", as: "ada" }), error("notAuthorized")),
      set(a, "1", { path: "homes", scope: ADA, as: "ada" }),
      list([[a, "1", ADA]], { path: "homes", scope: ADA, as: "ada" }),
      set(b, "2", { path: "owned", as: "eve" }),
      list([[b, "2", "replicate|eve"]], { path: "owned", as: "ada" }),
      // Somebody else with the same secret is shown as who that is.
      set(b, "2", { path: "owned", as: "ada" }),
      list([[b, "2", ADA]], { path: "owned", as: "eve" }),
    ],
  },
  {
    name: "a value, a scope and a secret have bounds",
    steps: [
      set(a, "x".repeat(4_096)),
      failing(set(a, "x".repeat(4_097)), error("tooLarge", { limit: 4_096 })),
      failing(set(a, "é".repeat(2_049)), error("tooLarge", { limit: 4_096 })),
      failing(set("short", "1"), error("invalidSession")),
      failing(set("x".repeat(129), "1"), error("invalidSession")),
      failing(leave("short"), error("invalidSession")),
      failing(set(a, "1", { scope: "s".repeat(129) }), error("tooLarge", { limit: 128 })),
      failing(list([], { scope: "s".repeat(129) }), error("tooLarge", { limit: 128 })),
      list([[a, "x".repeat(4_096)]]),
    ],
  },
  {
    name: "arguments of another shape are refused",
    steps: [
      failing(
        { ...set(a, "1"), args: { session: a, value: 1 } },
        { message: ["ArgumentValidationError", "Path: .value"] },
      ),
      failing(
        { ...set(a, "1"), args: { value: "1" } },
        { message: ["ArgumentValidationError", "missing the required field `session`"] },
      ),
      failing(
        { ...set(a, "1"), args: { session: a, value: "1", user: ADA } },
        { message: ["ArgumentValidationError", "extra field `user`"] },
      ),
      failing(
        { ...list([]), args: { collection: "tasks" } },
        { message: ["ArgumentValidationError", "extra field `collection`"] },
      ),
    ],
  },
];

/** A transition that shows these values, in any order of the peers. */
const shows = (values: Json): Json =>
  partial({ type: "Transition", modifications: [partial({ type: "QueryUpdated", value: values })] });

export const presenceSync: Case = {
  name: "presence that changes is told to a reader",
  steps: [
    {
      call: "sync",
      socket: "reader",
      send: [
        {
          type: "Connect",
          sessionId: "6d4f6f0e-52f5-4a7e-8f0b-1f4b1cc0a001",
          connectionCount: 0,
          lastCloseReason: "InitialConnect",
        },
        {
          type: "ModifyQuerySet",
          baseVersion: 0,
          newVersion: 1,
          modifications: [{ type: "Add", queryId: 0, udfPath: "notes:listPresence", args: [{}] }],
        },
      ],
      until: [shows({ peers: [] })],
    },
    set(a, "1"),
    {
      call: "sync",
      socket: "reader",
      send: [],
      until: [shows({ peers: [{ peer: peerOf(a), value: "1" }] })],
    },
    leave(a),
    { call: "sync", socket: "reader", send: [], until: [shows({ peers: [] })] },
  ],
};

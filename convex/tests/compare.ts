/**
 * Makes random sequences of calls and compares what this package's functions and another backend answer: `npm run
 * compare -- ../target/debug/examples/compared --runs 50 --seed 7`. The backend is a program that serves and shows its
 * tables (`tests/conformance/compared.rs`), so that rows are compared too, after each call that writes; or a URL, where
 * they are not. A difference prints the shortest sequence that shows it.
 */
import * as Automerge from "@automerge/automerge";
import { convexToJson, type JSONValue, type Value } from "convex/values";
import fc from "fast-check";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import componentSchema from "../src/component/schema";
import { materialize } from "../src/component/materialize";
import { Deployment, type Outcome } from "../host/deployment";
import { modulesUnder } from "../host/modules";
import schema from "./app/schema";
import { bytes, chunk, START } from "./conformance/cases";
import { type Caller, newSuffix, remote } from "./conformance/run";

type Doc = Automerge.Doc<Record<string, unknown>>;

const DOCUMENTS = ["a", "b", "c"];
const REPLICAS = 3;
const SCOPES = [undefined, "x", "y"];

const replica = fc.nat(REPLICAS - 1);
const id = fc.constantFrom(...DOCUMENTS);
const value = fc.oneof(
  fc.boolean(),
  fc.integer({ min: -9, max: 9 }),
  fc.string({ maxLength: 5 }),
  fc.constant(null),
);
/** Values that a row holds as they are, in part, or not. */
const odd = fc.constantFrom(
  { value: 1, increment: 2 },
  { _x: 1, y: [{ "": 1 }, 2] },
  Array<number>(8_193).fill(0),
  Array.from({ length: 20 }).reduce<object>((inner) => ({ d: inner }), {}),
);
const limit = fc.constantFrom(undefined, 1, 2, 5);
/** An edit within a value, which is made first if it is absent. */
const inner = fc.oneof(
  fc.record({ field: fc.constant("count" as const), by: fc.integer({ min: -9, max: 9 }) }),
  fc.record({ field: fc.constant("text" as const), at: fc.nat(5), insert: fc.string({ maxLength: 3 }) }),
  fc.record({ field: fc.constant("list" as const), at: fc.nat(5), insert: value }),
  fc.record({ field: fc.constant("map" as const), key: fc.constantFrom("x", "y"), value }),
);
type Inner = typeof inner extends fc.Arbitrary<infer T> ? T : never;

/** The commands of a sequence. `last` pushes only the newest change, and `stale` one that the log has already. */
const command = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("edit" as const),
      replica,
      id,
      field: fc.constantFrom("p", "q", "deleted", "_bad", "notInRow"),
      value: fc.oneof({ weight: 4, arbitrary: value }, { weight: 1, arbitrary: odd }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("change" as const), replica, id, what: inner }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("push" as const),
      replica,
      ids: fc.uniqueArray(id, { minLength: 1 }),
      what: fc.constantFrom("all", "all", "last", "reversed", "broken", "parts", "half"),
      fields: fc.boolean(),
      scope: fc.constantFrom(...SCOPES),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("save" as const), replica, id, insert: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), id }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("pull" as const),
      replica,
      limit,
      scope: fc.constantFrom(...SCOPES),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("pullWhole" as const), limit }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("stream" as const) }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** Replicas that edit and merge. Both backends are sent the same. */
class Replicas {
  private readonly docs = Array.from({ length: REPLICAS }, () => new Map<string, Doc>());
  private actors = 0;
  /**
   * Documents that the backends deleted themselves, each with a change of its own, which must not be sent to the other
   * side.
   */
  readonly deleted = new Set<string>();

  get(replica: number, id: string): Doc {
    return this.docs[replica]!.get(id) ?? Automerge.init(this.actor());
  }

  edit(replica: number, id: string, field: string, value: unknown): void {
    const doc = this.get(replica, id);
    this.docs[replica]!.set(
      id,
      Automerge.change(doc, { time: 0 }, (draft) => void (draft[field] = value)),
    );
  }

  change(replica: number, id: string, what: Inner): void {
    const doc = this.get(replica, id);
    const there = doc[what.field] !== undefined;
    this.docs[replica]!.set(
      id,
      Automerge.change(doc, { time: 0 }, (draft) => {
        if (what.field === "count") {
          if (there) (draft.count as Automerge.Counter).increment(what.by);
          else draft.count = new Automerge.Counter(what.by);
        } else if (what.field === "text") {
          if (!there) draft.text = "";
          const at = Math.min(what.at, (draft.text as string).length);
          Automerge.splice(draft, ["text"], at, at % 2, what.insert);
        } else if (what.field === "list") {
          if (!there) draft.list = [];
          const list = draft.list as unknown[];
          list.splice(Math.min(what.at, list.length), what.at % 2, what.insert);
        } else {
          if (!there) draft.map = {};
          (draft.map as Record<string, unknown>)[what.key] = what.value;
        }
      }),
    );
  }

  receive(replica: number, id: string, raw: Uint8Array): void {
    if (this.deleted.has(id)) return;
    this.docs[replica]!.set(id, Automerge.loadIncremental(this.get(replica, id), raw));
  }

  private actor(): string {
    return (++this.actors).toString(16).padStart(32, "0");
  }
}

/** The call that a command makes, if any. Checkpoints are each backend's own. */
function callOf(
  command: Command,
  replicas: Replicas,
): { kind: "Query" | "Mutation"; path: string; args: Record<string, JSONValue> } | null {
  switch (command.do) {
    case "edit":
      replicas.edit(command.replica, command.id, command.field, command.value);
      return null;
    case "change":
      replicas.change(command.replica, command.id, command.what);
      return null;
    case "push": {
      const documents = command.ids.map((id) => {
        const doc = replicas.get(command.replica, id);
        const changes = picked(command.what, Automerge.getAllChanges(doc));
        // The fast path, if the backend takes it. Each backend corrects wrong fields in its own time, which its own tests
        // show.
        const fields: Record<string, JSONValue> =
          command.fields && command.what !== "half" ? { fields: sent(doc) } : {};
        return { id, changes: chunksOf(command.what, changes), ...fields };
      });
      const scope: Record<string, JSONValue> = command.scope === undefined ? {} : { scope: command.scope };
      return { kind: "Mutation", path: "notes:pushChanges", args: { documents, ...scope } };
    }
    case "save": {
      const crdtBytes = bytes(Automerge.save(replicas.get(command.replica, command.id)));
      const args = {
        collectionName: "notes",
        documentId: command.id,
        crdtBytes,
        materializedDoc: {},
        version: 1,
      };
      return { kind: "Mutation", path: `notes:${command.insert ? "insert" : "update"}Document`, args };
    }
    case "delete": {
      replicas.deleted.add(command.id);
      const args = { collectionName: "notes", documentId: command.id };
      return { kind: "Mutation", path: "notes:deleteDocument", args };
    }
    case "pull": {
      const options: Record<string, JSONValue> = {};
      if (command.limit !== undefined) options.limit = command.limit;
      if (command.scope !== undefined) options.scope = command.scope;
      return { kind: "Query", path: "notes:pullDeltas", args: options };
    }
    case "pullWhole": {
      const options: Record<string, JSONValue> = command.limit === undefined ? {} : { limit: command.limit };
      const args = { collectionName: "notes", checkpoint: { lastModified: 0 }, ...options };
      return { kind: "Query", path: "notes:pullChanges", args };
    }
    case "stream":
      return { kind: "Query", path: "notes:changeStream", args: {} };
  }
}

/** A document's fields as a client sends them beside its changes. */
function sent(doc: Doc): JSONValue {
  const plain = Object.entries(Automerge.toJS(doc)).map(([name, value]) => [
    name,
    value instanceof Automerge.Counter ? value.value : value,
  ]);
  return Object.fromEntries(plain) as JSONValue;
}

function picked(what: string, changes: Uint8Array[]): Uint8Array[] {
  if (what === "last") return changes.slice(-1);
  if (what === "reversed") return [...changes].reverse();
  if (what === "broken") return changes.map((raw, i) => (i === changes.length - 1 ? raw.slice(0, -1) : raw));
  return changes;
}

/** Changes as they travel: whole, in two parts, or with only the first part of the last one. */
function chunksOf(what: string, changes: Uint8Array[]): JSONValue[] {
  if (what !== "parts" && what !== "half") return changes.map(chunk);
  return changes.flatMap((raw, i) => {
    const hash = bytes(createHash("sha256").update(raw).digest());
    const middle = Math.ceil(raw.length / 2);
    const parts = [raw.slice(0, middle), raw.slice(middle)].map((piece, index) => ({
      bytes: bytes(piece),
      part: { hash, index, count: 2 },
    }));
    return what === "half" && i === changes.length - 1 ? parts.slice(0, 1) : parts;
  });
}

/** One side of the comparison: its checkpoints, and its times as the order in which they were first seen. */
class Side {
  private readonly checkpoints = new Map<string, JSONValue>();
  private readonly times = new Map<string, number>();

  constructor(
    private readonly call: Caller,
    private readonly replicas: Replicas,
    /** The rows of the app's table; null if this backend does not show them. */
    readonly rows: () => Promise<JSONValue[] | null>,
  ) {}

  async ask(
    command: Command,
    { kind, path, args }: NonNullable<ReturnType<typeof callOf>>,
  ): Promise<Outcome> {
    if (command.do !== "pull") return await this.call(kind, path, args);
    const key = `${command.replica}/${command.scope ?? ""}`;
    const outcome = await this.call(kind, path, { ...args, checkpoint: this.checkpoints.get(key) ?? START });
    if (outcome.ok) this.checkpoints.set(key, (outcome.value as { checkpoint: JSONValue }).checkpoint);
    return outcome;
  }

  /** An answer without the parts that may differ: error texts, times and ids of the log. Whole documents are opened. */
  plain(value: JSONValue, name = ""): JSONValue {
    if (name === "message" || name === "epoch") return null;
    if (name === "crdtBytes") {
      const raw = Buffer.from((value as { $bytes: string }).$bytes, "base64");
      return JSON.stringify(materialize(Automerge.toJS(Automerge.load<Record<string, unknown>>(raw))).fields);
    }
    if (name === "lastModified" || name === "timestamp")
      return value === 0 ? 0 : this.rank(`us${JSON.stringify(value)}`);
    if (Array.isArray(value)) return value.map((item) => this.plain(item));
    if (typeof value !== "object" || value === null) return value;
    const { ts, ordinal, ...rest } = value as Record<string, JSONValue>;
    if (rest.bytes !== undefined && this.replicas.deleted.has(rest.id as string)) rest.bytes = null;
    const plain = Object.fromEntries(
      Object.keys(rest)
        .sort()
        .map((key) => [key, this.plain(rest[key]!, key)]),
    );
    return ts === undefined
      ? plain
      : { ...plain, position: this.rank(`${JSON.stringify(ts)}/${JSON.stringify(ordinal)}`) };
  }

  private rank(time: string): number {
    const found = this.times.get(time) ?? this.times.size + 1;
    this.times.set(time, found);
    return found;
  }
}

function shown(side: Side, outcome: Outcome): JSONValue {
  if (outcome.ok) return { answers: side.plain(outcome.value) };
  if (outcome.data !== undefined) return { refuses: side.plain(outcome.data) };
  return { fails: outcome.message.split("\n")[0]! };
}

/**
 * Rows in the order of their documents, without the fields that Convex adds, and without times, which are each
 * backend's own.
 */
function plainRows(rows: JSONValue[]): string {
  const plain = rows.map((row) => {
    const { _id, _creationTime, timestamp: _, ...fields } = row as Record<string, JSONValue>;
    return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return JSON.stringify(plain.sort((a, b) => ((a.id as string) < (b.id as string) ? -1 : 1)));
}

/** Runs a sequence on both sides. Throws if they differ. */
async function compare(commands: Command[], replicas: Replicas, mine: Side, theirs: Side): Promise<void> {
  const ending: Command[] = [
    { do: "pull", replica: 99, limit: undefined, scope: undefined },
    { do: "pullWhole", limit: undefined },
    { do: "stream" },
  ];
  for (const [i, command] of [...commands, ...ending].entries()) {
    const call = callOf(command, replicas);
    if (call === null) continue;
    const ours = await mine.ask(command, call);
    const others = await theirs.ask(command, call);
    const [a, b] = [JSON.stringify(shown(mine, ours)), JSON.stringify(shown(theirs, others))];
    if (a !== b) throw new Error(`call ${i}, ${JSON.stringify(command)}:\n  here:  ${a}\n  there: ${b}`);
    if (call.kind === "Mutation") {
      const [here, there] = [await mine.rows(), await theirs.rows()];
      const [a, b] = [plainRows(here ?? []), plainRows(there ?? here ?? [])];
      if (a !== b)
        throw new Error(`rows after call ${i}, ${JSON.stringify(command)}:\n  here:  ${a}\n  there: ${b}`);
    }
    if (command.do === "pull" && command.replica < REPLICAS && ours.ok) {
      const { deltas } = ours.value as { deltas: { id: string; bytes: { $bytes: string } }[] };
      for (const delta of deltas)
        replicas.receive(command.replica, delta.id, Buffer.from(delta.bytes.$bytes, "base64"));
    }
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "50" }, seed: { type: "string" } },
});
const [other] = positionals;
if (other === undefined)
  throw new Error("Say what the other backend is: npm run compare -- ../target/debug/examples/compared");

/** The other backend: its URL, and the rows of a collection's table if it shows them. */
type Other = { url: string; rows: (collection: string) => Promise<JSONValue[] | null> };

async function start(program: string): Promise<Other> {
  const child = spawn(resolve(program), { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const next: IteratorResult<string, unknown> = await lines.next();
    if (next.done === true) throw new Error(`${program} ended`);
    return next.value;
  };
  const url = (await line()).replace("listening on ", "");
  const rows = async (collection: string) => {
    child.stdin.write(`${collection}\n`);
    return JSON.parse(await line()) as JSONValue[];
  };
  return { url, rows };
}

const { url, rows } = /^https?:/.test(other)
  ? { url: other, rows: () => Promise.resolve(null) }
  : await start(other);

const modules = modulesUnder(resolve(import.meta.dirname, "app"));
const component = {
  schema: componentSchema,
  modules: modulesUnder(resolve(import.meta.dirname, "../src/component")),
};

const result = await fc.check(
  fc.asyncProperty(fc.array(command, { maxLength: 25, size: "max" }), async (commands) => {
    const deployment = new Deployment({ schema, modules, component });
    const table = async () =>
      await deployment.test.run(async (ctx) =>
        ((await ctx.db.query("notes").collect()) as Value[]).map((row) => convexToJson(row)),
      );
    const suffix = newSuffix();
    const replicas = new Replicas();
    await compare(
      commands,
      replicas,
      new Side((kind, path, args) => deployment.call(kind, path, args), replicas, table),
      new Side(remote(url, suffix), replicas, () => rows(`notes${suffix}`)),
    );
  }),
  { numRuns: Number(values.runs), ...(values.seed === undefined ? {} : { seed: Number(values.seed) }) },
);
if (result.failed) {
  console.log(`seed ${result.seed}: the backends differ.`);
  console.log(JSON.stringify(result.counterexample?.[0], null, 1));
  console.log(String(result.errorInstance));
  process.exitCode = 1;
} else {
  console.log(`${result.numRuns} sequences, no difference (seed ${result.seed})`);
}
process.exit();

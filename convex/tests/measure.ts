/**
 * Prints the costs of an edit, of another client and of an idle client, and those of the worst calls: `npm run
 * measure`. It counts bytes at the socket, reads and writes as `convex-test` counts them for a transaction, and calls
 * where functions make them. Times are this machine's.
 */
import * as Automerge from "@automerge/automerge";
import { ConvexClient } from "convex/browser";
import { resolve } from "node:path";
import WebSocket from "ws";
import componentSchema from "../src/component/schema";
import { Deployment } from "../host/deployment";
import { modulesUnder } from "../host/modules";
import { Host } from "../host/server";
import { api, internal } from "./app/_generated/api";
import { appendAlone } from "./alone";
import schema from "./app/schema";
import { changes, document, edit, type Fields, save } from "./documents";
import { type Inside, isolated, mebibytes, type Taken } from "./isolate";
import { type Worst, worst } from "./worst";

const START = { ts: 0n, ordinal: 0 };
/** How long an idle client is measured. */
const IDLE_MS = 5_000;

const deployment = new Deployment({
  schema,
  modules: modulesUnder(resolve(import.meta.dirname, "app")),
  component: {
    schema: componentSchema,
    modules: modulesUnder(resolve(import.meta.dirname, "../src/component")),
  },
});
const host = await Host.listen(deployment);

/** A socket that counts its bytes. */
let counted = { sent: 0, received: 0 };
class CountingSocket extends WebSocket {
  constructor(url: string) {
    super(url);
    this.on("message", (data: Buffer) => (counted.received += data.length));
  }
  override send(data: string): void {
    counted.sent += data.length;
    super.send(data);
  }
}

async function bytes(work: () => Promise<unknown>): Promise<string> {
  counted = { sent: 0, received: 0 };
  await work();
  return `${counted.sent} bytes sent, ${counted.received} received`;
}

/**
 * Calls of functions by functions, as they are asked for: `convex-test` sets this once, and looks up the test behind it
 * at each use.
 */
const runtime = (globalThis as unknown as { Convex: Runtime }).Convex;
type Runtime = { asyncSyscall: (op: string, args: string) => Promise<string> };
let called = { inside: 0, scheduled: 0 };
Object.defineProperty(globalThis, "Convex", {
  value: new Proxy(runtime, {
    get(target, name) {
      if (name !== "asyncSyscall") return Reflect.get(target, name) as unknown;
      const ask = target.asyncSyscall;
      return (op: string, args: string) => {
        if (op === "1.0/runUdf") called.inside += 1;
        if (op === "1.0/schedule") called.scheduled += 1;
        return ask(op, args);
      };
    },
  }),
});

/** The reads, writes and calls of a transaction. */
async function transaction(work: Parameters<typeof deployment.test.run>[0]): Promise<string> {
  called = { inside: 0, scheduled: 0 };
  const { bytesRead, bytesWritten, databaseQueries, documentsRead, documentsWritten } =
    await deployment.test.run(async (ctx) => {
      await work(ctx);
      return await ctx.meta.getTransactionMetrics();
    });
  return (
    `${documentsRead.used} rows (${bytesRead.used} bytes) read in ${databaseQueries.used} ranges, ` +
    `${documentsWritten.used} rows (${bytesWritten.used} bytes) written; ` +
    // The first is the call that is measured.
    `${called.inside - 1} calls inside, ${called.scheduled} scheduled`
  );
}

const settled = () => new Promise((done) => setTimeout(done, 500));

const client = new ConvexClient(host.url, { webSocketConstructor: CountingSocket as never, logger: false });
const other = new ConvexClient(host.url, { webSocketConstructor: WebSocket as never, logger: false });

let doc = document({ title: "milk", isDone: false, order: "a0" });
const push = (id: string, fields: Fields, next = edit(doc, fields)) => {
  const documents = [{ id, changes: changes(next, doc), fields }];
  doc = next;
  return documents;
};
await other.mutation(api.notes.pushChanges, {
  documents: [{ id: "a", changes: changes(doc), fields: { title: "milk", isDone: false, order: "a0" } }],
});

console.log("over the socket");
const first = push("a", { isDone: true });
console.log(`  an edit of one field: a change of ${first[0]!.changes[0]!.bytes.byteLength} bytes;`);
console.log(`    ${await bytes(() => client.mutation(api.notes.pushChanges, { documents: first }))}`);

const { checkpoint } = await other.query(api.notes.pullDeltas, { checkpoint: START });
client.onUpdate(api.notes.pullDeltas, { checkpoint }, () => undefined);
await settled();
const remote = push("a", { isDone: false });
console.log(`  another client's edit, for one that subscribes to deltas:`);
console.log(
  `    ${await bytes(async () => {
    await other.mutation(api.notes.pushChanges, { documents: remote });
    await settled();
  })}`,
);
console.log(`  an idle client, in ${IDLE_MS / 1000} seconds:`);
console.log(`    ${await bytes(() => new Promise((done) => setTimeout(done, IDLE_MS)))}`);
const web = edit(doc, { isDone: true });
console.log("  an edit through the original API:");
const args = { collectionName: "", documentId: "a", crdtBytes: save(web), materializedDoc: {}, version: 1 };
console.log(`    ${await bytes(() => client.mutation(api.notes.updateDocument, args))}`);
doc = web;

// From here on nobody subscribes, so only the measured functions make calls.
await client.close();
await other.close();
await host.close();

console.log("in the database");
await deployment.test.mutation(internal.notes.checkRows, { ids: ["a"] });
const fast = push("a", { isDone: false });
console.log(
  `  an edit of one field:\n    ${await transaction((ctx) => ctx.runMutation(api.notes.pushChanges, { documents: fast }))}`,
);
// Two concurrent edits: the second is merged.
const [left, right] = ["oat milk", "soy milk"].map((title) => edit(Automerge.clone(doc), { title }));
await deployment.test.mutation(api.notes.pushChanges, {
  documents: [{ id: "a", changes: changes(left!, doc), fields: { title: "oat milk" } }],
});
const concurrent = [{ id: "a", changes: changes(right!, doc), fields: { title: "soy milk" } }];
console.log(
  `  a concurrent one, with ${Automerge.getAllChanges(doc).length + 1} changes in the document:\n    ` +
    (await transaction((ctx) => ctx.runMutation(api.notes.pushChanges, { documents: concurrent }))),
);
console.log(
  `  the check of its row:\n    ${await transaction((ctx) => ctx.runMutation(internal.notes.checkRows, { ids: ["a"] }))}`,
);
console.log(
  `  a page of one delta:\n    ${await transaction((ctx) => ctx.runQuery(api.notes.pullDeltas, { checkpoint: START, limit: 1 }))}`,
);
console.log(`  changeStream:\n    ${await transaction((ctx) => ctx.runQuery(api.notes.changeStream, {}))}`);

console.log(
  `  pullChanges, one document:\n    ${await transaction((ctx) =>
    ctx.runQuery(api.notes.pullChanges, { collectionName: "", checkpoint: { lastModified: 0 } }),
  )}`,
);
const whole = edit(Automerge.load<Fields>(new Uint8Array(save(doc))), { title: "tea" });
const update = { ...args, crdtBytes: save(whole) };
console.log(
  `  an edit through the original API:\n    ${await transaction((ctx) => ctx.runMutation(api.notes.updateDocument, update))}`,
);

console.log(
  "the worst calls of the component, each in a JavaScript heap of 64 MiB; times are of calls that were not looked into",
);
const chosen = process.argv[2] ?? "";
for (const { name, path, prepare } of worst.filter((found) =>
  `${found.path}, ${found.name}`.includes(chosen),
)) {
  const [{ startMs, callMs }, { heapBytes, bufferBytes, wasmBytes }] = [
    await takenBy(path, prepare, false),
    await takenBy(path, prepare, true),
  ];
  console.log(
    `  ${path}, ${name}:\n    ${Math.round(callMs)} ms and ${Math.round(startMs)} to start; ` +
      `heap ${mebibytes(heapBytes)}, buffers ${mebibytes(bufferBytes)}, WASM ${mebibytes(wasmBytes)}`,
  );
}
process.exit();

/** The cost of a call on a log of its own. */
async function takenBy(path: string, prepare: Worst["prepare"], probing: boolean): Promise<Taken> {
  const { test: place } = new Deployment({
    schema,
    modules: modulesUnder(resolve(import.meta.dirname, "app")),
    component: {
      schema: componentSchema,
      modules: modulesUnder(resolve(import.meta.dirname, "../src/component")),
    },
  });
  const args = await prepare(async (id, some) => await appendAlone(place, [{ id, changes: some }]));
  return (await isolated(place as unknown as Inside, path, args, { probing })).taken;
}

/**
 * Runs one function of the component as Convex does: bundled, in a JavaScript heap of its own that is bounded, and with
 * the database elsewhere, behind the system calls that the `convex` package makes. The database is `convex-test`'s.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Worker } from "node:worker_threads";
import { type Value, convexToJson } from "convex/values";
import { bundle } from "./bare";

/**
 * The JavaScript heap of a function on Convex: 64 MiB. `ArrayBuffer`s and WASM's memory are not part of it.
 */
export const HEAP_MIB = 64;

/** The cost of a call. Bytes of buffers are the most that was seen between two system calls. */
export type Taken = {
  /** Milliseconds in which its thread was busy: starting the bundle, and the call. */
  startMs: number;
  callMs: number;
  heapBytes: number;
  bufferBytes: number;
  wasmBytes: number;
};

/** The answer of a call: its result as JSON, or its error. */
export type Answer = { taken: Taken; result: string };

/** A `convex-test` backend; this part of it is not in its types. */
export type Inside = { runInComponent<T>(path: string, work: () => Promise<T>): Promise<T> };

type Syscall = (op: string, args: string) => unknown;

const MIB = 1024 * 1024;
/** New objects have a part of the heap to themselves: a quarter. */
const YOUNG = 1 / 4;
const MODULES = ["compaction", "log", "merge", "pages", "pruning", "quarantine"];

/** The worker, in plain JavaScript. It has nothing but its heap, the bundle and the port to the database. */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
const { performance } = require("node:perf_hooks");
const { getHeapStatistics } = require("node:v8");

let memory = null;
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct(target, args) {
    const instance = Reflect.construct(target, args);
    memory = instance.exports.memory ?? memory;
    return instance;
  },
});

const waiting = new Map();
let [heapBytes, bufferBytes, calls, streams] = [0, 0, 0, 0];
function look() {
  if (!workerData.probing) return;
  heapBytes = Math.max(heapBytes, getHeapStatistics().used_heap_size);
  bufferBytes = Math.max(bufferBytes, process.memoryUsage().arrayBuffers);
}
parentPort.on("message", ({ call, value, error }) => {
  const { resolve, reject } = waiting.get(call);
  waiting.delete(call);
  look();
  if (error === undefined) resolve(value);
  else reject(new Error(error));
});
globalThis.Convex = {
  asyncSyscall(op, args) {
    look();
    const call = calls++;
    return new Promise((resolve, reject) => {
      waiting.set(call, { resolve, reject });
      parentPort.postMessage({ call, op, args });
    });
  },
  // A query starts when its first row is requested.
  syscall(op, args) {
    if (op === "1.0/queryCleanup") return "{}";
    if (op !== "1.0/queryStream") throw new Error(op + " is not for these functions");
    const queryId = streams++;
    parentPort.postMessage({ stream: queryId, op, args });
    return JSON.stringify({ queryId });
  },
};

const busy = () => performance.eventLoopUtilization().active;
async function run() {
  const started = performance.now();
  (0, eval)(workerData.code + ";globalThis.bundled = bundled;");
  const startMs = performance.now() - started;
  const before = busy();
  const found = bundled[workerData.name];
  const invoke = found.invokeMutation ?? found.invokeQuery;
  const result = await invoke(workerData.args);
  look();
  const wasmBytes = memory === null ? 0 : memory.buffer.byteLength;
  return { result, taken: { startMs, callMs: busy() - before, heapBytes, bufferBytes, wasmBytes } };
}
// Busy time is counted only once the event loop runs.
setImmediate(() => run().then(
  (answer) => { parentPort.postMessage({ answer }); parentPort.close(); },
  (error) => { parentPort.postMessage({ failed: String(error) }); parentPort.close(); },
));
`;

type FromWorker =
  | { call: number; op: string; args: string }
  | { stream: number; op: string; args: string }
  | { answer: Answer }
  | { failed: string };

/**
 * Calls a function of the component, in a transaction of its own. Fails if its heap is too small. Measuring its memory
 * at each system call takes time, so `probing: false` gives right times without memory.
 */
export async function isolated(
  t: Inside,
  path: string,
  args: Record<string, Value>,
  { heapMib = HEAP_MIB, probing = true }: { heapMib?: number; probing?: boolean } = {},
): Promise<Answer> {
  const [module = "", name = ""] = path.split(":");
  if (!MODULES.includes(module)) throw new Error(`the component has no module ${module}`);
  const code = await bundle(`export * from "./src/component/${module}";`);
  return await t.runInComponent("replicate", async () => {
    const within = AsyncLocalStorage.snapshot();
    const database = (globalThis as unknown as { Convex: { syscall: Syscall; asyncSyscall: Syscall } })
      .Convex;
    const queries = new Map<number, number>();
    const worker = new Worker(WORKER, {
      eval: true,
      workerData: { code, name, args: JSON.stringify([convexToJson(args)]), probing },
      resourceLimits: {
        maxOldGenerationSizeMb: heapMib * (1 - YOUNG),
        maxYoungGenerationSizeMb: heapMib * YOUNG,
      },
    });
    const serve = async (op: string, args: string): Promise<unknown> => {
      if (op !== "1.0/queryStreamNext") return await within(() => database.asyncSyscall(op, args));
      const { queryId } = JSON.parse(args) as { queryId: number };
      return await within(() => database.asyncSyscall(op, JSON.stringify({ queryId: queries.get(queryId) })));
    };
    try {
      return await new Promise<Answer>((resolve, reject) => {
        worker.on("error", reject);
        worker.on("exit", (status) => reject(new Error(`${path} ended with ${status}`)));
        worker.on("message", (message: FromWorker) => {
          if ("answer" in message) resolve(message.answer);
          else if ("failed" in message) reject(new Error(`${path}: ${message.failed}`));
          else if ("stream" in message) {
            const started = within(() => database.syscall(message.op, message.args)) as string;
            queries.set(message.stream, (JSON.parse(started) as { queryId: number }).queryId);
          } else {
            serve(message.op, message.args).then(
              (value) => worker.postMessage({ call: message.call, value }),
              (error: unknown) => worker.postMessage({ call: message.call, error: String(error) }),
            );
          }
        });
      });
    } finally {
      await worker.terminate();
    }
  });
}

/** A number of bytes as text. */
export function mebibytes(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

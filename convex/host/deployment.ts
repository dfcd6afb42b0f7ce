/** An app's real functions, run by `convex-test`, called by path as a client calls them. */
import { convexTest, type TestConvex } from "convex-test";
import type { GenericSchema, SchemaDefinition, UserIdentity } from "convex/server";
import { makeFunctionReference } from "convex/server";
import { convexToJson, type JSONValue, jsonToConvex, type ValidatorJSON, type Value } from "convex/values";
import { ArgumentValidationError, validateArgs } from "./validate";

/** Modules by path, each with a function that loads it, as Vite's `import.meta.glob` returns them. */
export type Modules = Record<string, () => Promise<unknown>>;

type Schema = SchemaDefinition<GenericSchema, boolean>;

/** The parts of a deployment. */
export type DeploymentOptions = {
  schema: Schema;
  modules: Modules;
  component: { schema: Schema; modules: Modules };
};

/** The outcome of a call. `data` is present if the function threw a `ConvexError`. */
export type Outcome = { ok: true; value: JSONValue } | { ok: false; message: string; data?: JSONValue };

export type FunctionKind = "Query" | "Mutation" | "Action";

/** The name under which a client may send a mutation again: its session id, and the number of the request. */
export type RequestKey = { session: string; request: number };

/** How many outcomes the host keeps. */
const OUTCOMES = 1_024;

/** A Convex function, as far as the host looks at it. */
type Registered = {
  isPublic?: boolean;
  isQuery?: boolean;
  isMutation?: boolean;
  isAction?: boolean;
  exportArgs?: () => string;
};

export class Deployment {
  readonly test: TestConvex<Schema>;
  private readonly modules: Modules;
  /**
   * The outcomes of mutations that clients may send again, and their commits. Convex keeps them for two weeks; this host
   * is in memory and keeps the newest.
   */
  private readonly outcomes = new Map<string, { value: JSONValue; ts: bigint }>();

  constructor({ schema, modules, component }: DeploymentOptions) {
    this.test = convexTest({ schema, modules, transactionLimits: true });
    this.test.registerComponent("replicate", component.schema, component.modules);
    this.modules = modules;
  }

  /** Calls a public function. `args` are in Convex's JSON encoding. */
  async call(
    kind: FunctionKind,
    path: string,
    args: JSONValue,
    identity: Partial<UserIdentity> | null = null,
  ): Promise<Outcome> {
    try {
      const found = await this.find(kind, path);
      const values = jsonToConvex(args);
      validateArgs(JSON.parse(found.exportArgs?.() ?? '{"type":"any"}') as ValidatorJSON, values);
      const caller = identity === null ? this.test : this.test.withIdentity(identity);
      const name = canonical(path);
      const given = values as Record<string, Value>;
      let value: unknown;
      if (kind === "Query") value = await caller.query(makeFunctionReference<"query">(name), given);
      else if (kind === "Mutation")
        value = await caller.mutation(makeFunctionReference<"mutation">(name), given);
      else value = await caller.action(makeFunctionReference<"action">(name), given);
      return { ok: true, value: convexToJson((value ?? null) as Value) };
    } catch (error) {
      return failure(error);
    }
  }

  /**
   * Calls a public mutation, unless one of the same name has succeeded before: then its outcome is the answer. As on
   * Convex, a mutation that failed has no outcome and runs again.
   */
  async mutateOnce(
    key: RequestKey | null,
    path: string,
    args: JSONValue,
    identity: Partial<UserIdentity> | null,
  ): Promise<{ outcome: Outcome; ts: bigint }> {
    const name = key === null ? null : `${key.session}/${key.request}`;
    const known = name === null ? undefined : this.outcomes.get(name);
    if (known !== undefined) return { outcome: { ok: true, value: known.value }, ts: known.ts };
    const outcome = await this.call("Mutation", path, args, identity);
    const ts = await this.now();
    if (outcome.ok && name !== null) {
      this.outcomes.set(name, { value: outcome.value, ts });
      const [oldest] = this.outcomes.keys();
      if (this.outcomes.size > OUTCOMES && oldest !== undefined) this.outcomes.delete(oldest);
    }
    return { outcome, ts };
  }

  /** The kind of a public function; null if there is none at this path. */
  async kindOf(path: string): Promise<FunctionKind | null> {
    for (const kind of ["Query", "Mutation", "Action"] as const) {
      try {
        await this.find(kind, path);
        return kind;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
      }
    }
    return null;
  }

  /** The newest commit, in nanoseconds. */
  async now(): Promise<bigint> {
    return await this.test.query((ctx) => Promise.resolve(ctx.meta.getSnapshotTs()));
  }

  /**
   * Waits for the clock to pass the newest commit: on a deployment, commits are microseconds apart, here they may not
   * be.
   */
  private async passTheClock(): Promise<void> {
    const newest = await this.now();
    while (BigInt(Date.now()) * 1_000_000n <= newest) await new Promise(setImmediate);
  }

  private async find(kind: FunctionKind, path: string): Promise<Registered> {
    const [module = "", name = "default"] = canonical(path).split(":");
    const load = Object.entries(this.modules).find(
      ([file]) => file.replace(/\.[jt]s$/, "").endsWith(`/${module}`) && !file.includes("_generated"),
    )?.[1];
    const exports = (await load?.()) as Record<string, Registered | undefined> | undefined;
    const found = exports?.[name];
    if (found?.isPublic !== true) {
      throw new CallError(
        `Could not find public function for '${canonical(path)}'. Did you forget to run \`npx convex dev\` or \`npx convex deploy\`?`,
      );
    }
    const defined = found.isQuery ? "Query" : found.isMutation ? "Mutation" : "Action";
    if (defined !== kind) {
      throw new CallError(
        `Trying to execute ${canonical(path)} as ${kind}, but it is defined as ${defined}.`,
      );
    }
    return found;
  }
}

/** A call that reaches no function. */
class CallError extends Error {}

/** `tasks.js:list` and `tasks:list` are the same function. */
function canonical(path: string): string {
  return path.replace(/\.js(?=:|$)/, "");
}

function failure(error: unknown): Outcome {
  if (error instanceof CallError || error instanceof ArgumentValidationError) {
    return { ok: false, message: error.message };
  }
  if (typeof error === "object" && error !== null && "data" in error && error instanceof Error) {
    const data = convexToJson(error.data as Value);
    return { ok: false, message: `Uncaught ConvexError: ${JSON.stringify(data)}`, data };
  }
  return { ok: false, message: `Uncaught Error: ${error instanceof Error ? error.message : String(error)}` };
}

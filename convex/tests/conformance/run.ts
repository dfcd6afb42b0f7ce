/** Runs conformance cases against any backend. */
import type { JSONValue } from "convex/values";
import type { Outcome } from "../../host/deployment";
import type { Case, Json, Step } from "./cases";
import { type Bindings, fill, mismatch } from "./match";
import { request, Sockets, type Wire } from "./wire";

/** Calls a function of a backend. */
export type Caller = (
  kind: "Query" | "Mutation",
  path: string,
  args: JSONValue,
  user?: string,
) => Promise<Outcome>;
/**
 * The rows of a table, in the order of their documents and without the fields that Convex adds; null if this backend
 * does not show them.
 */
export type Table = (name: string) => Promise<JSONValue[] | null>;

/** Runs a case. Returns the first failure, or null. */
export async function runCase(
  { steps }: Case,
  values: Record<string, Json>,
  call: Caller,
  table: Table = () => Promise.resolve(null),
  wire?: Wire,
): Promise<string | null> {
  const bindings: Bindings = new Map(Object.entries(values));
  const sockets = new Sockets(wire);
  try {
    return await runSteps(steps, bindings, call, table, sockets, wire);
  } finally {
    sockets.close();
  }
}

async function runSteps(
  steps: Step[],
  bindings: Bindings,
  call: Caller,
  table: Table,
  sockets: Sockets,
  wire: Wire | undefined,
): Promise<string | null> {
  for (const [i, step] of steps.entries()) {
    if (step.call === "http" || step.call === "sync") {
      if (wire === undefined) throw new Error("this runner has no URL for a case that needs one");
      const found =
        step.call === "http" ? await request(step, bindings, wire) : await sockets.run(step, bindings);
      if (found !== null) return `step ${i}, ${step.call === "http" ? step.path : step.socket}: ${found}`;
      continue;
    }
    if (step.call === "rows") {
      const rows = await table(step.path);
      const found = rows === null || !("returns" in step) ? null : mismatch(step.returns, rows, bindings);
      if (found !== null) return `step ${i}, the rows of ${step.path}: ${found}`;
      continue;
    }
    const outcome = await call(
      step.call === "query" ? "Query" : "Mutation",
      step.path,
      fill(step.args, bindings),
      step.as,
    );
    const where = `step ${i}, ${step.path}`;
    if ("returns" in step) {
      if (!outcome.ok) return `${where} failed: ${outcome.message}`;
      const found = mismatch(step.returns, outcome.value, bindings);
      if (found !== null) return `${where}: ${found}`;
    } else if (outcome.ok) {
      return `${where} did not fail`;
    } else if ("data" in step.fails) {
      if (outcome.data === undefined) return `${where} failed without data: ${outcome.message}`;
      const found = mismatch(step.fails.data, outcome.data, bindings);
      if (found !== null) return `${where}: ${found}`;
    } else {
      const missing = step.fails.message.find((part) => !outcome.message.includes(part));
      if (missing !== undefined)
        return `${where}: ${JSON.stringify(outcome.message)} lacks ${JSON.stringify(missing)}`;
    }
  }
  return null;
}

let collections = 0;

/** Makes the names of a caller's collections unique. */
export function newSuffix(): string {
  return `${Date.now()}x${collections++}`;
}

/**
 * A backend behind Convex's HTTP API. Its collections outlive a case, so each caller gets some of its own: `notes` here
 * is `notes1x17` there.
 */
export function remote(url: string, suffix = newSuffix()): Caller {
  return async (kind, path, args) => {
    const [module = "", name = ""] = path.split(":");
    const response = await fetch(new URL(kind === "Query" ? "/api/query" : "/api/mutation", url), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        path: `${module}${suffix}:${name}`,
        args: [args],
        format: "convex_encoded_json",
      }),
    });
    const text = await response.text();
    const body = parse(text);
    if (body.status === "success") return { ok: true, value: body.value ?? null };
    const message = (body.errorMessage ?? `${response.status}: ${text}`).replaceAll(suffix, "");
    return { ok: false, message, ...(body.errorData === undefined ? {} : { data: body.errorData }) };
  };
}

type Body = { status?: string; value?: JSONValue; errorMessage?: string; errorData?: JSONValue };

function parse(text: string): Body {
  try {
    return JSON.parse(text) as Body;
  } catch {
    return {};
  }
}

/**
 * Convex's HTTP API: the routes, statuses and codes of `crates/local_backend/src/public_api.rs` and `router.rs` of
 * get-convex/convex-backend.
 */
import type { UserIdentity } from "convex/server";
import { type JSONValue, jsonToConvex, type Value } from "convex/values";
import type { IncomingMessage } from "node:http";
import type { Deployment, FunctionKind, Outcome } from "./deployment";
import { identityOf } from "./identity";

/** The largest message or body that Convex accepts. */
export const FRAME_BYTES = 16 * 1024 * 1024;

/** The version and the name of this deployment. */
const NAME = "host";

type Answer = { status: number; body: JSONValue };
type Call = { path: string; args: JSONValue; format?: string; ts?: string };
type Caller = Partial<UserIdentity> | null;

/** A request that reaches no function. */
class Failure extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Answers a request. `changed` is called after a function that may have written. */
export async function respondTo(
  request: IncomingMessage,
  deployment: Deployment,
  changed: () => void,
): Promise<Answer> {
  try {
    return await route(request, deployment, changed);
  } catch (error) {
    const { status, code, message } =
      error instanceof Failure ? error : new Failure(500, "InternalServerError", String(error));
    return { status, body: { code, message } };
  }
}

async function route(request: IncomingMessage, deployment: Deployment, changed: () => void): Promise<Answer> {
  const url = new URL(request.url ?? "/", "http://localhost");
  const path = url.pathname;
  const { method = "GET" } = request;
  const call = async (kind: FunctionKind | null, { path, args, format }: Call): Promise<Answer> => {
    const form = formOf(format);
    const found = kind ?? (await deployment.kindOf(pathOfFunction(path))) ?? "Query";
    const outcome = await deployment.call(found, pathOfFunction(path), first(args), caller(request));
    if (found !== "Query") changed();
    return { status: 200, body: bodyOfOutcome(outcome, form) };
  };
  const post = async (run: () => Promise<Answer>): Promise<Answer> => {
    if (method !== "POST") throw wrongMethod(path, method);
    return await run();
  };
  switch (path) {
    case "/":
      return { status: 200, body: "This is the host. It speaks Convex's protocols at /api." };
    case "/version":
    case "/instance_version":
    case "/instance_name":
      return { status: 200, body: NAME };
    case "/api/query":
      if (method === "GET") return await call("Query", callOfUrl(url.searchParams));
      return await post(async () => await call("Query", await bodyOf<Call>(request, ["path", "args"])));
    case "/api/mutation":
      return await post(async () => await call("Mutation", await bodyOf<Call>(request, ["path", "args"])));
    case "/api/action":
      return await post(async () => await call("Action", await bodyOf<Call>(request, ["path", "args"])));
    case "/api/function":
      return await post(async () => await call(null, await bodyOf<Call>(request, ["path", "args"])));
    case "/api/query_ts":
      return await post(async () => ({ status: 200, body: { ts: encodeTs(await deployment.now()) } }));
    case "/api/query_at_ts":
      return await post(async () => {
        const asked = await bodyOf<Required<Call>>(request, ["path", "args", "ts"]);
        await checkTs(deployment, asked.ts);
        return await call("Query", asked);
      });
    case "/api/query_batch":
      return await post(async () => {
        const { queries } = await bodyOf<{ queries: Call[] }>(request, ["queries"]);
        const results: JSONValue[] = [];
        for (const query of queries) results.push((await call("Query", query)).body);
        return { status: 200, body: { results } };
      });
  }
  if (path.startsWith("/api/run/")) {
    return await post(async () => {
      const asked = await bodyOf<Omit<Call, "path">>(request, ["args"]);
      const steps = path.slice("/api/run/".length).split("/").map(decodeURIComponent);
      const name = steps.pop();
      if (steps.length === 0 || name === undefined) {
        throw new Failure(
          400,
          "MissingIdentifier",
          "The URL has to name a function: /api/run/tasks/pullDeltas.",
        );
      }
      return await call(null, { ...asked, path: `${steps.join("/")}:${name}` });
    });
  }
  throw new Failure(404, "NotFound", `Nothing is at ${path}.`);
}

export function pathOf(request: IncomingMessage): string {
  return new URL(request.url ?? "/", "http://localhost").pathname;
}

function wrongMethod(path: string, method: string): Failure {
  return new Failure(405, "MethodNotAllowed", `${path} does not take the method ${method}.`);
}

/** The official clients send the arguments as a list of one object. */
function first(args: JSONValue): JSONValue {
  return Array.isArray(args) ? (args[0] ?? {}) : args;
}

function pathOfFunction(path: string): string {
  if (/^[\w./-]+(:[\w]+)?$/.test(path)) return path;
  throw new Failure(
    400,
    "BadConvexFunctionIdentifier",
    `${JSON.stringify(path)} is not the path of a function.`,
  );
}

function callOfUrl(parameters: URLSearchParams): Call {
  const needed = (name: string): string => {
    const value = parameters.get(name);
    if (value === null) throw new Failure(400, "BadQueryArgs", `the parameter ${name} is missing`);
    return value;
  };
  const format = parameters.get("format");
  const call = { path: needed("path"), args: parse(needed("args"), "BadQueryArgs") };
  return format === null ? call : { ...call, format };
}

/** Who calls. Tokens are read, not verified. */
function caller(request: IncomingMessage): Caller {
  const { authorization } = request.headers;
  if (authorization === undefined) return null;
  const token = /^Bearer (.+)$/.exec(authorization)?.[1];
  const identity = token === undefined ? null : identityOf(token);
  if (identity !== null) return identity;
  throw new Failure(401, "Unauthenticated", "Not a JSON Web Token with a subject.");
}

function encodeTs(ts: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(ts);
  return bytes.toString("base64");
}

/** Functions run on the newest commit only, so an earlier time is refused as one that Convex has deleted. */
async function checkTs(deployment: Deployment, encoded: string): Promise<void> {
  const bytes = Buffer.from(encoded, "base64");
  const now = await deployment.now();
  if (bytes.length !== 8 || bytes.readBigUInt64LE() > now) {
    throw new Failure(400, "BadTimestamp", "That is no timestamp of /api/query_ts.");
  }
  if (bytes.readBigUInt64LE() < now) {
    throw new Failure(503, "OutOfRetention", "The host reads its newest commit only: make a new client.");
  }
}

type Format = (value: JSONValue) => JSONValue;

/** The form of the values in an answer, from the form of the sync protocol. */
function formOf(format: string | undefined): Format {
  switch (format) {
    case "convex_encoded_json":
    case "convex_json":
      return (value) => value;
    case undefined:
    case "json":
    case "convex_clean_json":
      return (value) => clean(jsonToConvex(value));
    case "export_json":
      return exported;
    default:
      throw new Failure(
        400,
        "BadFormat",
        `the format has to be convex_encoded_json, json or export_json, and not ${JSON.stringify(format)}`,
      );
  }
}

function clean(value: Value): JSONValue {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, clean(field as Value)]));
}

/** Plain JSON in which an int64 is a number. */
function exported(value: JSONValue): JSONValue {
  if (Array.isArray(value)) return value.map(exported);
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.$integer === "string") return Number(jsonToConvex(value));
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, exported(field)]));
}

function bodyOfOutcome(outcome: Outcome, form: Format): JSONValue {
  // Convex leaves out `logLines` where a function has logged nothing. This host does not read them.
  if (outcome.ok) return { status: "success", value: form(outcome.value) };
  const data: Record<string, JSONValue> = outcome.data === undefined ? {} : { errorData: form(outcome.data) };
  return { status: "error", errorMessage: outcome.message, ...data };
}

/** Reads a body of JSON with these fields. Like Convex, this asks for its content type. */
async function bodyOf<T>(request: IncomingMessage, needed: string[]): Promise<T> {
  const type = (request.headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();
  if (!/^application\/(.+\+)?json$/.test(type)) {
    throw new Failure(
      400,
      "BadJsonBody",
      "Expected a body with the header `Content-Type: application/json`.",
    );
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > FRAME_BYTES)
      throw new Failure(400, "BadJsonBody", `A body has at most ${FRAME_BYTES} bytes.`);
    pieces.push(piece);
  }
  const body = parse(Buffer.concat(pieces).toString(), "BadJsonBody");
  const lacking = needed.find((name) => typeof body !== "object" || body === null || !(name in body));
  if (lacking !== undefined) throw new Failure(400, "BadJsonBody", `not a call: it lacks \`${lacking}\``);
  return body as T;
}

function parse(text: string, code: string): JSONValue {
  try {
    return JSON.parse(text) as JSONValue;
  } catch (error) {
    throw new Failure(400, code, `not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

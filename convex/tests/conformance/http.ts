/** The HTTP API: every route that the official clients and people call, and what is refused. */
import {
  accepted,
  any,
  bind,
  type Case,
  chunks,
  type HttpStep,
  type Json,
  partial,
  START,
  stream,
  use,
} from "./cases";
import { base, other } from "./documents";

const JSON_BODY = { "content-type": "application/json" };

const post = (path: string, body: Json, status: number, answers: Json): HttpStep => ({
  call: "http",
  method: "POST",
  path,
  headers: JSON_BODY,
  body,
  status,
  answers,
});

const get = (path: string, status: number, answers: Json): HttpStep => ({
  call: "http",
  method: "GET",
  path,
  status,
  answers,
});

const succeeds = (value: Json): Json => partial({ status: "success", value });
const fails: Json = partial({ status: "error", errorMessage: any("string") });
const refusedWith = (code: string): Json => ({ code, message: any("string") });

const counting = { path: "notes:changeStream", args: {} };
const counted = (count: number): Json => succeeds({ timestamp: any("number"), count });
const pushing = (id: string, doc = base): Json => ({
  path: "notes:pushChanges",
  args: { documents: [{ id, changes: chunks(doc) }] },
  format: "convex_encoded_json",
});
const pushed = (id: string): Json => succeeds({ epoch: any("string"), results: [accepted(id)] });
const { args: pushArgs } = pushing("c") as { args: Json };
const pulling = (format?: string): Json => ({
  path: "notes:pullDeltas",
  args: { checkpoint: START },
  ...(format === undefined ? {} : { format }),
});
const page = (ts: Json, bytes: Json): Json =>
  succeeds({
    deltas: [{ id: "a", ts, ordinal: any("number"), bytes }],
    checkpoint: { ts, ordinal: any("number") },
    hasMore: false,
    epoch: any("string"),
  });
const at = (ts: Json, call: Json = counting): Json => ({ ...(call as Record<string, Json>), ts });

export const https: Case[] = [
  {
    name: "a query by each of its routes",
    steps: [
      post("/api/query", counting, 200, counted(0)),
      get("/api/query?path=notes%3AchangeStream&args=%7B%7D", 200, counted(0)),
      get("/api/query?path=notes%3AchangeStream&args=%7B%7D&format=json", 200, counted(0)),
      post("/api/function", counting, 200, counted(0)),
      post("/api/run/notes/changeStream", { args: {} }, 200, counted(0)),
      post("/api/query_batch", { queries: [counting, counting] }, 200, { results: [counted(0), counted(0)] }),
    ],
  },
  {
    name: "an outcome has no other fields: a function that logs nothing has no log lines",
    steps: [
      post("/api/query", counting, 200, { status: "success", value: { timestamp: 0, count: 0 } }),
      post("/api/query", { path: "notes:nothing", args: {} }, 200, {
        status: "error",
        errorMessage: any("string"),
      }),
      post("/api/query_batch", { queries: [counting] }, 200, {
        results: [{ status: "success", value: { timestamp: 0, count: 0 } }],
      }),
    ],
  },
  {
    name: "arguments are an object or a list of one object",
    steps: [
      post("/api/query", { ...counting, args: [{}] }, 200, counted(0)),
      post("/api/query", { ...counting, args: [] }, 200, counted(0)),
    ],
  },
  {
    name: "a mutation by each of its routes",
    steps: [
      post("/api/mutation", pushing("a"), 200, pushed("a")),
      post("/api/function", pushing("b"), 200, pushed("b")),
      post("/api/run/notes/pushChanges", { args: pushArgs, format: "convex_encoded_json" }, 200, pushed("c")),
      stream(any("number"), 3),
    ],
  },
  {
    name: "a call of the wrong kind fails and does nothing",
    steps: [
      post("/api/query", pushing("a"), 200, fails),
      post("/api/action", pushing("a"), 200, fails),
      post("/api/mutation", counting, 200, fails),
      post("/api/action", counting, 200, fails),
      post("/api/action", { path: "notes:nothing", args: {} }, 200, fails),
      post("/api/function", { path: "notes:nothing", args: {} }, 200, fails),
      post("/api/run/notes/nothing", { args: {} }, 200, fails),
      stream(0, 0),
    ],
  },
  {
    name: "a batch has an outcome for each query",
    steps: [
      post("/api/query_batch", { queries: [counting, { path: "notes:nothing", args: {} }] }, 200, {
        results: [counted(0), fails],
      }),
      post("/api/query_batch", { queries: [] }, 200, { results: [] }),
    ],
  },
  {
    name: "values have the form that is asked for",
    steps: [
      post("/api/mutation", pushing("a"), 200, pushed("a")),
      post("/api/query", pulling("convex_encoded_json"), 200, page(any("integer"), any("bytes"))),
      post("/api/query", pulling("convex_json"), 200, page(any("integer"), any("bytes"))),
      post("/api/query", pulling("json"), 200, page(any("string"), any("string"))),
      post("/api/query", pulling("convex_clean_json"), 200, page(any("string"), any("string"))),
      post("/api/query", pulling(), 200, page(any("string"), any("string"))),
      post("/api/query", pulling("export_json"), 200, page(any("number"), any("bytes"))),
      post(
        "/api/run/notes/pullDeltas",
        { args: { checkpoint: START } },
        200,
        page(any("string"), any("string")),
      ),
    ],
  },
  {
    name: "an unknown form is refused, and a mutation with it does nothing",
    steps: [
      post("/api/query", pulling("xml"), 400, refusedWith("BadFormat")),
      post("/api/query_at_ts", at("AAAAAAAAAAA=", pulling("xml")), 400, refusedWith("BadFormat")),
      post("/api/query_batch", { queries: [pulling("xml")] }, 400, refusedWith("BadFormat")),
      post("/api/mutation", { ...(pushing("a") as object), format: "xml" }, 400, refusedWith("BadFormat")),
      post("/api/action", { ...counting, format: "xml" }, 400, refusedWith("BadFormat")),
      post("/api/function", { ...counting, format: "xml" }, 400, refusedWith("BadFormat")),
      post("/api/run/notes/changeStream", { args: {}, format: "xml" }, 400, refusedWith("BadFormat")),
      get("/api/query?path=notes%3AchangeStream&args=%7B%7D&format=xml", 400, refusedWith("BadFormat")),
      stream(0, 0),
    ],
  },
  {
    name: "a query at the time of the newest commit",
    steps: [
      post("/api/mutation", pushing("a"), 200, pushed("a")),
      post("/api/query_ts", {}, 200, { ts: bind("ts") }),
      post("/api/query_at_ts", at(use("ts")), 200, counted(1)),
      post("/api/query_at_ts", at(use("ts"), pulling("json")), 200, page(any("string"), any("string"))),
      post("/api/query_at_ts", at(use("ts"), { path: "notes:nothing", args: {} }), 200, fails),
    ],
  },
  {
    name: "a time that is none, or not yet, is refused",
    steps: [
      post("/api/query_at_ts", at("/////////38="), 400, refusedWith("BadTimestamp")),
      post("/api/query_at_ts", at("AAAA"), 400, refusedWith("BadTimestamp")),
      post("/api/query_at_ts", counting, 400, refusedWith("BadJsonBody")),
    ],
  },
  {
    name: "a body that is no call is refused",
    steps: [
      post("/api/query", "not json", 400, refusedWith("BadJsonBody")),
      post("/api/query", { path: "notes:changeStream" }, 400, refusedWith("BadJsonBody")),
      post("/api/query", { args: {} }, 400, refusedWith("BadJsonBody")),
      post("/api/mutation", [], 400, refusedWith("BadJsonBody")),
      post("/api/query_batch", {}, 400, refusedWith("BadJsonBody")),
      {
        ...post("/api/query", counting, 400, refusedWith("BadJsonBody")),
        headers: { "content-type": "text/plain" },
      },
      {
        ...post("/api/query", counting, 200, counted(0)),
        headers: { "content-type": "application/json; charset=utf-8" },
      },
      get("/api/query?args=%7B%7D", 400, refusedWith("BadQueryArgs")),
      get("/api/query?path=notes%3AchangeStream", 400, refusedWith("BadQueryArgs")),
    ],
  },
  {
    name: "a path that names no function is refused",
    steps: [
      post("/api/query", { path: "not a path!", args: {} }, 400, refusedWith("BadConvexFunctionIdentifier")),
      post(
        "/api/mutation",
        { path: "not a path!", args: {} },
        400,
        refusedWith("BadConvexFunctionIdentifier"),
      ),
      post("/api/action", { path: "not a path!", args: {} }, 400, refusedWith("BadConvexFunctionIdentifier")),
      post("/api/run/notes", { args: {} }, 400, refusedWith("MissingIdentifier")),
    ],
  },
  {
    name: "a URL that leads nowhere, and a method that it does not take",
    steps: [
      get("/api/nothing", 404, refusedWith("NotFound")),
      get("/nothing/at/all", 404, refusedWith("NotFound")),
      post("/api/storage/upload", {}, 404, refusedWith("NotFound")),
      get("/api/mutation", 405, refusedWith("MethodNotAllowed")),
      get("/api/query_ts", 405, refusedWith("MethodNotAllowed")),
    ],
  },
  {
    name: "what the command line asks for first",
    steps: [
      get("/instance_name", 200, any("string")),
      get("/instance_version", 200, any("string")),
      get("/version", 200, any("string")),
      get("/", 200, any("string")),
    ],
  },
  {
    name: "a question what a page may send is answered without an origin and for any path, too",
    steps: [
      {
        call: "http",
        method: "OPTIONS",
        path: "/api/query",
        status: 200,
        answerHeaders: { "access-control-max-age": "86400" },
      },
      {
        call: "http",
        method: "OPTIONS",
        path: "/nothing/at/all",
        headers: { origin: "http://page.example" },
        status: 200,
        answerHeaders: { "access-control-allow-origin": "http://page.example" },
      },
    ],
  },
  {
    name: "a page of another origin may send what it asks for",
    steps: [
      {
        call: "http",
        method: "OPTIONS",
        path: "/api/query",
        headers: {
          origin: "http://page.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,content-type,convex-client,x-of-a-page",
        },
        status: 200,
        answerHeaders: {
          "access-control-allow-origin": "http://page.example",
          "access-control-allow-credentials": "true",
          "access-control-allow-headers": "authorization,content-type,convex-client,x-of-a-page",
          "access-control-allow-methods": "GET,POST,OPTIONS,PATCH,DELETE,PUT",
          "access-control-max-age": "86400",
        },
      },
      {
        ...post("/api/mutation", pushing("a", other), 200, pushed("a")),
        headers: { ...JSON_BODY, origin: "http://page.example" },
        answerHeaders: { "access-control-allow-origin": "http://page.example" },
      },
      {
        ...get("/api/nothing", 404, refusedWith("NotFound")),
        headers: { origin: "http://page.example" },
        answerHeaders: { "access-control-allow-origin": "http://page.example" },
      },
    ],
  },
];

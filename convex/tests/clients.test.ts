/** The official JavaScript clients against the real functions. */
import { ConvexHttpClient } from "convex/browser";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadCollection } from "../src/client/ssr";
import type { Deployment } from "../host/deployment";
import type { Host } from "../host/server";
import { api } from "./app/_generated/api";
import { changes, document, edit } from "./documents";
import { testBevyApp, testMissingCollection } from "./native";
import { serve, until } from "./serve";
import { type Place, testNativeApp, testWebApps, WebApp } from "./webapp";

async function place(): Promise<Place> {
  const { host } = await serve();
  return {
    url: host.url,
    collection: "notes",
    notes: api.notes,
    disconnectAll: () => host.disconnectAll(),
    close: () => host.close(),
  };
}

describe("web apps on a collection made with defineReplicate", () => {
  testWebApps(place, ({ notes }) => notes);
});

describe("web apps on a collection made with the helpers", () => {
  testWebApps(place, () => api.legacy);
});

testNativeApp(place);
testBevyApp(place);
testMissingCollection(place);

let host: Host;
let deployment: Deployment;

beforeEach(async () => {
  ({ host, deployment } = await serve());
});

afterEach(async () => {
  await host.close();
});

test("documents that came as changes arrive, more than a page of them", async () => {
  const http = new ConvexHttpClient(host.url, { logger: false });
  for (const start of [0, 80]) {
    const documents = Array.from({ length: 80 }, (_, i) => ({
      id: `d${start + i}`,
      changes: changes(document({ n: start + i })),
    }));
    await http.mutation(api.notes.pushChanges, { documents });
  }
  const app = new WebApp(host.url, api.notes);
  await until("all arrive", () => app.documents.size === 160);
  expect(app.shows("d159")).toEqual({ n: 159 });
  await app.close();
});

test("loadCollection returns documents without deleted ones, and the next checkpoint", async () => {
  const http = new ConvexHttpClient(host.url, { logger: false });
  for (const id of ["a", "b", "c"]) {
    await http.mutation(api.notes.pushChanges, {
      documents: [{ id, changes: changes(document({ text: id })) }],
    });
  }
  await http.mutation(api.notes.deleteDocument, { collectionName: "notes", documentId: "b" });
  const loaded = await loadCollection<{ id: string; text: string }>(http, {
    api: api.notes,
    collection: "notes",
  });
  expect(loaded.documents).toEqual([
    { id: "a", text: "a" },
    { id: "c", text: "c" },
  ]);
  // A page gets it as JSON.
  expect(JSON.parse(JSON.stringify(loaded))).toEqual(loaded);
  const stream = await http.query(api.notes.changeStream, {});
  expect(loaded.checkpoint.lastModified).toBe(stream.timestamp);
});

/** A token as an identity provider would issue it, but without a right signature, which the host does not check. */
function token(subject: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub: subject, iss: "https://test" })}.`;
}

test("authorization: by sign-in, scope and row, for reads and writes", async () => {
  const guest = new ConvexHttpClient(host.url, { logger: false });
  const ada = new ConvexHttpClient(host.url, { logger: false, auth: token("ada") });
  const checkpoint = { ts: 0n, ordinal: 0 };
  const documents = [{ id: "a", changes: changes(document({ n: 1 })), fields: { n: 1 } }];
  const unauthenticated = { data: { code: "unauthenticated" } };
  await expect(guest.query(api.members.pullDeltas, { checkpoint })).rejects.toMatchObject(unauthenticated);
  await expect(guest.mutation(api.members.pushChanges, { documents })).rejects.toMatchObject(unauthenticated);
  await expect(guest.query(api.members.changeStream, {})).rejects.toMatchObject(unauthenticated);
  expect((await ada.mutation(api.members.pushChanges, { documents })).results).toMatchObject([
    { status: "accepted" },
  ]);

  const refused = { data: { code: "notAuthorized" } };
  await expect(ada.query(api.rooms.pullDeltas, { checkpoint })).rejects.toMatchObject(refused);
  await expect(ada.query(api.rooms.pullDeltas, { checkpoint, scope: "bob" })).rejects.toMatchObject(refused);
  expect((await ada.mutation(api.rooms.pushChanges, { documents, scope: "bob" })).results).toMatchObject([
    { status: "refused", code: "notAuthorized" },
  ]);
  expect((await ada.mutation(api.rooms.pushChanges, { documents, scope: "ada" })).results).toMatchObject([
    { status: "accepted" },
  ]);
  expect((await ada.query(api.rooms.pullDeltas, { checkpoint, scope: "ada" })).deltas).toHaveLength(1);

  // Another's document stays out of reach, whatever scope the push names.
  const bob = new ConvexHttpClient(host.url, { logger: false, auth: token("bob") });
  const doc = document({ n: 1 });
  await bob.mutation(api.rooms.pushChanges, {
    documents: [{ id: "bobs", changes: changes(doc) }],
    scope: "bob",
  });
  const stolen = [{ id: "bobs", changes: changes(edit(doc, { n: 2 }), doc) }];
  expect(
    (await ada.mutation(api.rooms.pushChanges, { documents: stolen, scope: "ada" })).results,
  ).toMatchObject([{ status: "refused", code: "notAuthorized" }]);
  await expect(
    ada.mutation(api.rooms.deleteDocument, { collectionName: "rooms", documentId: "bobs" }),
  ).rejects.toMatchObject(refused);

  // A row may lock its document.
  const locked = document({ locked: true });
  await bob.mutation(api.rooms.pushChanges, {
    documents: [{ id: "l", changes: changes(locked) }],
    scope: "bob",
  });
  const late = [{ id: "l", changes: changes(edit(locked, { n: 1 }), locked) }];
  expect((await bob.mutation(api.rooms.pushChanges, { documents: late })).results).toMatchObject([
    { status: "refused", code: "notAuthorized" },
  ]);
});

test("the host answers wrong calls as a deployment does", async () => {
  const http = new ConvexHttpClient(host.url, { logger: false });
  await expect(
    http.query(api.notes.pullDeltas, { checkpoint: { ts: 0, ordinal: 0 } } as never),
  ).rejects.toThrow(/ArgumentValidationError: Value does not match validator\.\nPath: \.checkpoint\.ts/);
  await expect(http.mutation(api.notes.pullDeltas as never, {})).rejects.toThrow(/defined as Query/);
  const direct = await deployment.call("Query", "notes:checkRows", {});
  expect(direct).toMatchObject({ ok: false });
  const text = await (await fetch(`${host.url}/version`)).text();
  expect(text).toBe("host");
});

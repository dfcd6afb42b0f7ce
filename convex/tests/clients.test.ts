/** The official JavaScript clients, as a web app written for convex-replicate 0.2 uses them, against the real functions. */
import * as Automerge from "@automerge/automerge";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import type { FunctionReturnType } from "convex/server";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { loadCollection } from "../client/ssr";
import type { Deployment } from "../host/deployment";
import type { Host } from "../host/server";
import { api } from "./app/_generated/api";
import { changes, document, edit, type Fields, save } from "./documents";
import { serve, until } from "./serve";

let host: Host;
let deployment: Deployment;
let clients: WebApp[] = [];

beforeEach(async () => {
  ({ host, deployment } = await serve());
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
  await host.close();
});

type Collection = typeof api.notes | typeof api.legacy;

/** What a page keeps: whole documents, pulled when the stream says so, and pushed whole. */
class WebApp {
  readonly documents = new Map<string, Automerge.Doc<Fields>>();
  private readonly socket: ConvexClient;
  private readonly http: ConvexHttpClient;
  private checkpoint = { lastModified: 0 };
  private pulling = Promise.resolve();

  constructor(
    url: string,
    private readonly api: Collection,
  ) {
    this.socket = new ConvexClient(url, { webSocketConstructor: WebSocket as never, logger: false });
    this.http = new ConvexHttpClient(url, { logger: false });
    this.socket.onUpdate(this.api.changeStream, { collectionName: "any" }, () => {
      this.pulling = this.pulling.then(() => this.pull());
    });
    clients.push(this);
  }

  async insert(id: string, fields: Fields): Promise<void> {
    await this.write(this.api.insertDocument, id, document(fields));
  }

  async update(id: string, fields: Fields): Promise<void> {
    await this.write(this.api.updateDocument, id, edit(this.documents.get(id)!, fields));
  }

  async delete(id: string): Promise<void> {
    await this.socket.mutation(this.api.deleteDocument, { collectionName: "any", documentId: id });
  }

  /** Edits without sending, as a page that is offline does. */
  editLocally(id: string, fields: Fields): void {
    this.documents.set(id, edit(this.documents.get(id)!, fields));
  }

  async sendAll(): Promise<void> {
    for (const [id, doc] of this.documents) await this.write(this.api.updateDocument, id, doc);
  }

  shows(id: string): Fields | undefined {
    const doc = this.documents.get(id);
    return doc === undefined ? undefined : Automerge.toJS(doc);
  }

  async close(): Promise<void> {
    await this.socket.close();
  }

  private async write(
    mutation: Collection["insertDocument"],
    id: string,
    doc: Automerge.Doc<Fields>,
  ): Promise<void> {
    this.documents.set(id, doc);
    await this.socket.mutation(mutation, {
      collectionName: "any",
      documentId: id,
      crdtBytes: save(doc),
      materializedDoc: Automerge.toJS(doc),
      version: Automerge.getAllChanges(doc).length,
    });
  }

  private async pull(): Promise<void> {
    for (let hasMore = true; hasMore;) {
      const page: FunctionReturnType<Collection["pullChanges"]> = await this.http.query(
        this.api.pullChanges,
        {
          collectionName: "any",
          checkpoint: this.checkpoint,
          limit: 100,
        },
      );
      for (const { documentId, crdtBytes } of page.changes) {
        const theirs = Automerge.load<Fields>(new Uint8Array(crdtBytes));
        const mine = this.documents.get(documentId);
        this.documents.set(documentId, mine === undefined ? theirs : Automerge.merge(mine, theirs));
      }
      ({ checkpoint: this.checkpoint, hasMore } = page);
    }
  }
}

describe.each([
  ["defineReplicate", api.notes],
  ["the helpers", api.legacy],
])("two web apps on a collection made with %s", (_, collection) => {
  test("see what the other inserts, updates and deletes", async () => {
    const [left, right] = [new WebApp(host.url, collection), new WebApp(host.url, collection)];
    await left.insert("a", { text: "milk", isCompleted: false });
    await until("the insert arrives", () => right.shows("a")?.text === "milk");
    await right.update("a", { isCompleted: true });
    await until("the update arrives", () => left.shows("a")?.isCompleted === true);
    await left.delete("a");
    await until("the delete arrives", () => right.shows("a")?.deleted === true);
    expect(right.shows("a")).toEqual({ text: "milk", isCompleted: true, deleted: true });
  });

  test("edit two fields at once, and both survive", async () => {
    const [left, right] = [new WebApp(host.url, collection), new WebApp(host.url, collection)];
    await left.insert("a", { text: "milk", isCompleted: false });
    await until("the insert arrives", () => right.shows("a"));
    await Promise.all([left.update("a", { text: "oat milk" }), right.update("a", { isCompleted: true })]);
    for (const app of [left, right]) {
      await until(
        "both edits are there",
        () => app.shows("a")?.text === "oat milk" && app.shows("a")?.isCompleted,
      );
    }
  });
});

test("more documents than a page arrive", async () => {
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
});

test("a client that lost its connection catches up, and sends what it did meanwhile", async () => {
  const [left, right] = [new WebApp(host.url, api.notes), new WebApp(host.url, api.notes)];
  await left.insert("a", { text: "milk", isCompleted: false });
  await until("the insert arrives", () => right.shows("a"));
  host.disconnectAll();
  right.editLocally("a", { isCompleted: true });
  await left.update("a", { text: "oat milk" });
  await until("the connection is back", () => right.shows("a")?.text === "oat milk");
  await right.sendAll();
  await until("the offline edit arrives", () => left.shows("a")?.isCompleted === true);
  expect(left.shows("a")).toEqual({ text: "oat milk", isCompleted: true });
});

test("a web app and a delta client edit one document", async () => {
  const app = new WebApp(host.url, api.notes);
  const native = new ConvexClient(host.url, { webSocketConstructor: WebSocket as never, logger: false });
  let theirs = Automerge.init<Fields>();
  const stop = native.onUpdate(api.notes.pullDeltas, { checkpoint: { ts: 0n, ordinal: 0 } }, ({ deltas }) => {
    for (const delta of deltas) theirs = Automerge.loadIncremental(theirs, new Uint8Array(delta.bytes));
  });
  await app.insert("a", { text: "milk", isCompleted: false });
  await until("the native app sees the web app's insert", () => theirs.text === "milk");
  const before = theirs;
  theirs = edit(Automerge.clone(theirs), { isCompleted: true });
  const pushed = await native.mutation(api.notes.pushChanges, {
    documents: [{ id: "a", changes: changes(theirs, before), fields: { isCompleted: true } }],
  });
  expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
  await until("the web app sees the native app's edit", () => app.shows("a")?.isCompleted === true);
  stop();
  await native.close();
});

test("loadCollection gives documents without those deleted, and where to go on", async () => {
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
  expect([...loaded]).toEqual([
    { id: "a", text: "a" },
    { id: "c", text: "c" },
  ]);
  const stream = await http.query(api.notes.changeStream, {});
  expect(loaded.checkpoint.lastModified).toBe(stream.timestamp);
});

/** A token as an identity provider would give out, but for its signature, which the host does not look at. */
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

test("the host answers as a deployment does where a call is wrong", async () => {
  const http = new ConvexHttpClient(host.url, { logger: false });
  await expect(
    http.query(api.notes.pullDeltas, { checkpoint: { ts: 0, ordinal: 0 } } as never),
  ).rejects.toThrow(/ArgumentValidationError: Value does not match validator\.\nPath: \.checkpoint\.ts/);
  await expect(http.mutation(api.notes.pullDeltas as never, {})).rejects.toThrow(/defined as Query/);
  const direct = await deployment.call("Query", "notes:checkRows", {});
  expect(direct).toMatchObject({ ok: false });
  const text = await (await fetch(`${host.url}/version`)).text();
  expect(text).toBe('"host"');
});

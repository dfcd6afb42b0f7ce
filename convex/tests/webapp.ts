/**
 * A web app as written for convex-replicate 0.2, with the official JavaScript clients, and the tests that it passes on
 * every backend.
 */
import * as Automerge from "@automerge/automerge";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import type { FunctionReturnType } from "convex/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import WebSocket from "ws";
import { api } from "./app/_generated/api";
import { changes, document, edit, type Fields, save } from "./documents";
import { until } from "./serve";

/** The functions of a collection that a web app calls. */
export type Collection = typeof api.notes | typeof api.legacy;

/** A backend with an empty collection. */
export interface Place {
  url: string;
  /** The name of that collection. */
  collection: string;
  /** The functions of the collection that web apps and delta clients share. */
  notes: typeof api.notes;
  disconnectAll(): void;
  close(): Promise<void>;
}

/** The delay before a page sends a request again. */
const RETRY_MS = 20;

/** Whether `fetch` had no answer at all; a refusal is an answer. */
function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError && error.message === "fetch failed";
}

/** The documents of a page: pulled whole when the stream says so, and pushed whole. */
export class WebApp {
  readonly documents = new Map<string, Automerge.Doc<Fields>>();
  private readonly socket: ConvexClient;
  private readonly http: ConvexHttpClient;
  private checkpoint = { lastModified: 0 };
  private pulling = Promise.resolve();
  private closed = false;

  constructor(
    url: string,
    private readonly api: Collection,
  ) {
    this.socket = new ConvexClient(url, { webSocketConstructor: WebSocket as never, logger: false });
    this.http = new ConvexHttpClient(url, { logger: false });
    this.socket.onUpdate(this.api.changeStream, { collectionName: "any" }, () => {
      this.pulling = this.pulling.then(() => this.pull());
    });
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
    this.closed = true;
    await this.socket.close();
    await this.pulling;
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

  /**
   * The next page. It is requested again if the connection breaks, because the stream says only once that there is
   * something new.
   */
  private async page(): Promise<FunctionReturnType<Collection["pullChanges"]>> {
    for (;;) {
      try {
        return await this.http.query(this.api.pullChanges, {
          collectionName: "any",
          checkpoint: this.checkpoint,
          limit: 100,
        });
      } catch (error) {
        if (this.closed || !isNetworkError(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  private async pull(): Promise<void> {
    for (let hasMore = true; hasMore;) {
      const page = await this.page();
      for (const { documentId, crdtBytes } of page.changes) {
        const theirs = Automerge.load<Fields>(new Uint8Array(crdtBytes));
        const mine = this.documents.get(documentId);
        this.documents.set(documentId, mine === undefined ? theirs : Automerge.merge(mine, theirs));
      }
      ({ checkpoint: this.checkpoint, hasMore } = page);
    }
  }
}

/**
 * The tests of two web apps, and of a web app and a native one, on the collection that `find` returns for a backend.
 */
export function testWebApps(open: () => Promise<Place>, find: (place: Place) => Collection): void {
  let place: Place;
  let apps: WebApp[] = [];

  beforeEach(async () => {
    place = await open();
  });

  afterEach(async () => {
    await Promise.all(apps.map((app) => app.close()));
    apps = [];
    await place.close();
  });

  function webApp(): WebApp {
    const app = new WebApp(place.url, find(place));
    apps.push(app);
    return app;
  }

  test("see what the other inserts, updates and deletes", async () => {
    const [left, right] = [webApp(), webApp()];
    await left.insert("a", { text: "milk", isCompleted: false });
    await until("the insert arrives", () => right.shows("a")?.text === "milk");
    await right.update("a", { isCompleted: true });
    await until("the update arrives", () => left.shows("a")?.isCompleted === true);
    await left.delete("a");
    await until("the delete arrives", () => right.shows("a")?.deleted === true);
    expect(right.shows("a")).toEqual({ text: "milk", isCompleted: true, deleted: true });
  });

  test("edit two fields at once, and both survive", async () => {
    const [left, right] = [webApp(), webApp()];
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

  test("more documents than a page arrive", async () => {
    const [left, right] = [webApp(), webApp()];
    const all = Array.from({ length: 160 }, (_, i) =>
      left.insert(`d${i}`, { text: `${i}`, isCompleted: false }),
    );
    await Promise.all(all);
    await until("all arrive", () => right.documents.size === 160);
    expect(right.shows("d159")).toEqual({ text: "159", isCompleted: false });
  });

  test("the HTTP client reads at one time, and an action fails with a message", async () => {
    const http = new ConvexHttpClient(place.url, { logger: false });
    const { changeStream } = find(place);
    const asked = { collectionName: place.collection };
    const app = webApp();
    await app.insert("a", { text: "milk", isCompleted: false });
    const first = await http.consistentQuery(changeStream, asked);
    expect(first.count).toBe(1);
    expect(await http.consistentQuery(changeStream, asked)).toEqual(first);
    await app.insert("b", { text: "bread", isCompleted: false });
    expect((await http.query(changeStream, asked)).count).toBe(2);
    expect((await new ConvexHttpClient(place.url).consistentQuery(changeStream, asked)).count).toBe(2);
    await expect(http.action(changeStream as never, asked as never)).rejects.toThrow("as Action");
  });

  test("a client that lost its connection catches up, and sends its edits", async () => {
    const [left, right] = [webApp(), webApp()];
    await left.insert("a", { text: "milk", isCompleted: false });
    await until("the insert arrives", () => right.shows("a"));
    place.disconnectAll();
    right.editLocally("a", { isCompleted: true });
    await left.update("a", { text: "oat milk" });
    await until("the connection is back", () => right.shows("a")?.text === "oat milk");
    await right.sendAll();
    await until("the offline edit arrives", () => left.shows("a")?.isCompleted === true);
    expect(left.shows("a")).toEqual({ text: "oat milk", isCompleted: true });
  });
}

/** The test of a web app and a native one on one collection. */
export function testNativeApp(open: () => Promise<Place>): void {
  test("a web app and a delta client edit one document", async () => {
    const place = await open();
    const app = new WebApp(place.url, place.notes);
    const native = new ConvexClient(place.url, { webSocketConstructor: WebSocket as never, logger: false });
    let theirs = Automerge.init<Fields>();
    const stop = native.onUpdate(
      place.notes.pullDeltas,
      { checkpoint: { ts: 0n, ordinal: 0 } },
      ({ deltas }) => {
        for (const delta of deltas) theirs = Automerge.loadIncremental(theirs, new Uint8Array(delta.bytes));
      },
    );
    await app.insert("a", { text: "milk", isCompleted: false });
    await until("the native app sees the web app's insert", () => theirs.text === "milk");
    const before = theirs;
    theirs = edit(Automerge.clone(theirs), { isCompleted: true });
    const pushed = await native.mutation(place.notes.pushChanges, {
      documents: [{ id: "a", changes: changes(theirs, before), fields: { isCompleted: true } }],
    });
    expect(pushed.results).toEqual([{ id: "a", status: "accepted" }]);
    await until("the web app sees the native app's edit", () => app.shows("a")?.isCompleted === true);
    stop();
    await Promise.all([app.close(), native.close()]);
    await place.close();
  });
}

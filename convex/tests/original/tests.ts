/**
 * A page of the original library, beside a Bevy app and a second page: what it can do on every backend, and what it
 * cannot. `docs/web.md` names both.
 *
 * Its protocol runs here as `anew.ts` has it. After `tests/original/fetch.sh`, its own source runs as well.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as Automerge from "@automerge/automerge";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { changes, document } from "../documents";
import { NativeApp } from "../native";
import { until } from "../serve";
import type { Place } from "../webapp";
import { convexCollectionOptions as anew, type Config } from "./anew";
import { type CollectionOptions, type Row, type Rows, versions } from "./tanstack";

type Client = (config: Config) => CollectionOptions;

const fetched = fileURLToPath(new URL("fetched/src/collection.ts", import.meta.url));

async function clients(): Promise<[name: string, client: Client][]> {
  const own: [string, Client][] = [["its protocol", anew]];
  if (!existsSync(fetched)) return own;
  const source = (await import(/* @vite-ignore */ fetched)) as { convexCollectionOptions: Client };
  return [...own, ["its own source", source.convexCollectionOptions]];
}

/** More than two pages of the original client. */
const MANY = 250;
/** Documents that a page inserts in one transaction. */
const BATCH = 50;
/** For the test of many documents: the client merges a page of them after each of its commits. */
const MANY_MS = 240_000;

/** A page: an official client, and a table of rows that the original library fills. */
class Page {
  readonly rows: Rows;
  private readonly socket: ConvexClient;

  constructor(place: Place, client: Client, create: (options: CollectionOptions) => Rows) {
    this.socket = new ConvexClient(place.url, { webSocketConstructor: WebSocket as never, logger: false });
    this.rows = create(
      client({
        convexClient: this.socket,
        api: place.notes,
        collectionName: place.collection,
        getKey: (row) => row.id,
      }),
    );
  }

  async insert(...rows: Row[]): Promise<void> {
    await this.rows.insert(rows).isPersisted.promise;
  }

  async update(id: string, fields: Record<string, unknown>): Promise<void> {
    await this.rows.update(id, (draft) => void Object.assign(draft, fields)).isPersisted.promise;
  }

  async close(): Promise<void> {
    await this.rows.cleanup();
    await this.socket.close();
  }
}

/**
 * The tests, if `REPLICATE_NATIVE` gives the path of the Bevy app. A slow place gets the many documents only from the
 * newest version of the table: with the others it would take minutes.
 */
export async function testOriginalClient(open: () => Promise<Place>, isSlow = false): Promise<void> {
  for (const [name, client] of await clients()) {
    for (const [version, create] of versions) {
      const title = `the original client (${name}) with @tanstack/db ${version}`;
      const hasMany = !isSlow || create === versions.at(-1)![1];
      testPages(title, open, (place) => new Page(place, client, create), hasMany);
    }
  }
}

function testPages(
  title: string,
  open: () => Promise<Place>,
  page: (place: Place) => Page,
  hasMany: boolean,
): void {
  const program = process.env.REPLICATE_NATIVE;
  describe.runIf(program !== undefined)(title, () => {
    let place: Place;
    let folder: string;
    let native: NativeApp;
    let pages: Page[];

    beforeEach(async () => {
      pages = [];
      place = await open();
      folder = await mkdtemp(join(tmpdir(), "original-"));
      native = new NativeApp(program!, place.url, place.collection, join(folder, "native.store"));
    });

    afterEach(async () => {
      await Promise.all([...pages.map((page) => page.close()), native.close()]);
      await place.close();
      await rm(folder, { recursive: true });
    });

    const start = async () => {
      const started = page(place);
      pages.push(started);
      await started.rows.preload();
      return started;
    };
    const note = (id: string, text = id) => ({ id, text, isCompleted: false });
    const everywhere = async (what: string, id: string, text: string, isCompleted: boolean) => {
      await until(`${what}: in the Bevy app`, () => {
        return native.notes[id]?.text === text && native.notes[id].isCompleted === isCompleted;
      });
      await until(`${what}: in every page`, () => {
        return pages.every(({ rows }) => {
          return rows.get(id)?.text === text && rows.get(id)?.isCompleted === isCompleted;
        });
      });
    };

    test("inserts and updates, and sees those of others", async () => {
      const [left] = [await start(), await start()];
      await left.insert(note("a", "milk"));
      await everywhere("the page's insert", "a", "milk", false);
      native.ask({ do: "insert", id: "b", text: "bread" });
      await everywhere("the Bevy app's insert", "b", "bread", false);
      await left.update("b", { text: "brown bread" });
      await everywhere("the page's update", "b", "brown bread", false);
      native.ask({ do: "edit", id: "a", isCompleted: true });
      await everywhere("the Bevy app's edit", "a", "milk", true);
    });

    test("edits two fields of one document at once with others, and both edits stay", async () => {
      const left = await start();
      await left.insert(note("a", "milk"));
      await everywhere("the insert", "a", "milk", false);
      native.ask({ do: "edit", id: "a", isCompleted: true });
      await left.update("a", { text: "oat milk" });
      await everywhere("both edits", "a", "oat milk", true);
    });

    test.runIf(hasMany)(
      "sends 250 documents; a page that opens later gets one page of them with each change",
      async () => {
        const left = await start();
        const ids = Array.from({ length: MANY }, (_, at) => `d${at}`);
        // The client answers each of its own commits with a pull, so all at once would be 250 pulls of the same page.
        for (let at = 0; at < MANY; at += BATCH) {
          await left.insert(...ids.slice(at, at + BATCH).map((id) => note(id)));
        }
        await until("all are in the Bevy app", () => Object.keys(native.notes).length === MANY);
        expect(left.rows.size).toBe(MANY);
        const right = await start();
        await until("it has a page", () => right.rows.size >= 100);
        for (let round = 0; right.rows.size < MANY; round++) {
          const before = right.rows.size;
          expect(round).toBeLessThan(MANY);
          native.ask({ do: "edit", id: "d0", text: `${round}` });
          await until("the change brings more", () => right.rows.size > before);
        }
      },
      MANY_MS,
    );

    test("is offline and back, and has the edits of both", async () => {
      const left = await start();
      await left.insert(note("a", "milk"));
      await everywhere("the insert", "a", "milk", false);
      native.ask({ do: "offline" });
      native.ask({ do: "edit", id: "a", isCompleted: true });
      await until("the Bevy app's own edit", () => native.notes.a?.isCompleted);
      place.disconnectAll();
      await Promise.all([left.update("a", { text: "oat milk" }), left.insert(note("b", "bread"))]);
      native.ask({ do: "online" });
      await everywhere("both edits", "a", "oat milk", true);
      await everywhere("the insert from offline", "b", "bread", false);
    });

    test("sees deletions, and cannot delete", async () => {
      const left = await start();
      await left.insert(note("a"), note("b"));
      await everywhere("the insert", "a", "a", false);
      await everywhere("the insert", "b", "b", false);
      native.ask({ do: "delete", id: "a" });
      await until("the page sees the deletion", () => left.rows.get("a") === undefined);
      await left.rows.delete("b").isPersisted.promise;
      await until("it is gone from the page", () => left.rows.get("b") === undefined);
      // The deletion was not sent: neither with the next edit, which arrives, ..
      await left.insert(note("c"));
      await until("the next insert arrives", () => native.notes.c);
      expect(Object.keys(native.notes)).toEqual(["b", "c"]);
      // .. nor does the backend know of it.
      const right = await start();
      await until("a new page has what is left", () => right.rows.size === 2);
    });

    test("fails in every write after it touched a document with one of Automerge's classes", async () => {
      const http = new ConvexHttpClient(place.url, { logger: false });
      const counted = document({ ...note("a"), deleted: false, count: new Automerge.Counter(1) });
      await http.mutation(place.notes.pushChanges, { documents: [{ id: "a", changes: changes(counted) }] });
      const left = await start();
      await until("the page has it", () => left.rows.get("a"));
      await left.insert(note("b"));
      const refused = /is not a supported Convex type/;
      await expect(left.update("a", { text: "milk" })).rejects.toThrow(refused);
      await expect(left.insert(note("c"))).rejects.toThrow(refused);
      await expect(left.update("b", { text: "bread" })).rejects.toThrow(refused);
    });
  });
}

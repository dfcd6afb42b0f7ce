/** A whole Bevy app beside a web app on one collection: each shows the other's writes. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { until } from "./serve";
import { type Place, WebApp } from "./webapp";

type Note = { text: string; isCompleted: boolean };
type Ask =
  | { do: "insert"; id: string; text: string }
  | { do: "edit"; id: string; text?: string; isCompleted?: boolean }
  | { do: "delete"; id: string }
  | { do: "offline" | "online" };

/** The program of `tests/conformance/native.rs`. */
export class NativeApp {
  /** The entities of its world. */
  notes: Record<string, Note> = {};
  /** Its state and its failures, as it prints them. */
  readonly complaints: string[] = [];
  private readonly child: ChildProcess;

  constructor(
    program: string,
    ...arguments_: [url: string, collection: string, store: string, second?: string]
  ) {
    this.child = spawn(
      resolve(program),
      arguments_.filter((argument) => argument !== undefined),
    );
    createInterface({ input: this.child.stderr! }).on("line", (line) => this.complaints.push(line));
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      this.notes = JSON.parse(line) as Record<string, Note>;
    });
  }

  ask(command: Ask): void {
    this.child.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  async close(): Promise<void> {
    const closed = new Promise((done) => this.child.once("exit", done));
    this.child.stdin!.end();
    await closed;
  }
}

/** The tests, if `REPLICATE_NATIVE` gives the program's path. */
export function testBevyApp(open: () => Promise<Place>): void {
  const program = process.env.REPLICATE_NATIVE;
  describe.runIf(program !== undefined)("a web app and a Bevy app", () => {
    let place: Place;
    let folder: string;
    let web: WebApp;
    let native: NativeApp;

    beforeEach(async () => {
      place = await open();
      folder = await mkdtemp(join(tmpdir(), "native-"));
      web = new WebApp(place.url, place.notes);
      native = new NativeApp(program!, place.url, place.collection, join(folder, "native.store"));
    });

    afterEach(async () => {
      await Promise.all([web.close(), native.close()]);
      await place.close();
      await rm(folder, { recursive: true });
    });

    /** A document as the original library writes it: with its id, and whether it is deleted. */
    const note = (id: string, text: string) => ({ id, text, isCompleted: false, deleted: false });
    const both = async (what: string, id: string, wanted: Note) => {
      await until(`${what}: in the Bevy app`, () => isSame(native.notes[id], wanted));
      await until(`${what}: in the web app`, () => isSame(web.shows(id), wanted));
    };

    test("show each other's inserts and edits, and keep fields that only the other knows", async () => {
      await web.insert("a", note("a", "milk"));
      native.ask({ do: "insert", id: "b", text: "bread" });
      await both("the web app's", "a", { text: "milk", isCompleted: false });
      await both("the Bevy app's", "b", { text: "bread", isCompleted: false });
      native.ask({ do: "edit", id: "a", isCompleted: true });
      await web.update("b", { text: "brown bread" });
      await both("the Bevy app's edit", "a", { text: "milk", isCompleted: true });
      await both("the web app's edit", "b", { text: "brown bread", isCompleted: false });
      expect(web.shows("a")).toEqual({ ...note("a", "milk"), isCompleted: true });
    });

    test("edit two fields of one document at once, and both edits stay", async () => {
      await web.insert("a", note("a", "milk"));
      await both("the insert", "a", { text: "milk", isCompleted: false });
      native.ask({ do: "edit", id: "a", isCompleted: true });
      await web.update("a", { text: "oat milk" });
      await both("both edits", "a", { text: "oat milk", isCompleted: true });
    });

    test("delete each other's documents", async () => {
      await web.insert("a", note("a", "milk"));
      native.ask({ do: "insert", id: "b", text: "bread" });
      await both("the web app's", "a", { text: "milk", isCompleted: false });
      await both("the Bevy app's", "b", { text: "bread", isCompleted: false });
      native.ask({ do: "delete", id: "a" });
      await web.delete("b");
      await until("it is deleted in the web app", () => web.shows("a")?.deleted === true);
      await until("both are gone from the Bevy app", () => Object.keys(native.notes).length === 0);
      await until("the other is deleted in the web app", () => web.shows("b")?.deleted === true);
    });

    test("exchange more documents than a page has", async () => {
      await Promise.all(
        Array.from({ length: 120 }, async (_, i) => await web.insert(`w${i}`, note(`w${i}`, `${i}`))),
      );
      for (let i = 0; i < 120; i++) native.ask({ do: "insert", id: `n${i}`, text: `${i}` });
      await until("all are in the Bevy app", () => Object.keys(native.notes).length === 240);
      await until("all are in the web app", () => web.documents.size === 240);
      await both("the last", "w119", { text: "119", isCompleted: false });
      await both("the last", "n119", { text: "119", isCompleted: false });
    });

    test("catch up after either was away, with the edits of both", async () => {
      await web.insert("a", note("a", "milk"));
      await both("the insert", "a", { text: "milk", isCompleted: false });
      native.ask({ do: "offline" });
      native.ask({ do: "edit", id: "a", isCompleted: true });
      native.ask({ do: "insert", id: "b", text: "made offline" });
      await until("its own edits are there at once", () => native.notes.b && native.notes.a?.isCompleted);
      await web.update("a", { text: "oat milk" });
      place.disconnectAll();
      native.ask({ do: "online" });
      await both("both edits", "a", { text: "oat milk", isCompleted: true });
      await both("what was made offline", "b", { text: "made offline", isCompleted: false });
    });
  });
}

/** The test of an app that knows a collection which the deployment does not have. */
export function testMissingCollection(open: () => Promise<Place>): void {
  const program = process.env.REPLICATE_NATIVE;
  test.runIf(program !== undefined)(
    "a collection that cannot be read keeps no other from being live",
    async () => {
      const place = await open();
      const folder = await mkdtemp(join(tmpdir(), "native-"));
      const native = new NativeApp(program!, place.url, place.collection, join(folder, "store"), "missing");
      const web = new WebApp(place.url, place.notes);
      native.ask({ do: "insert", id: "a", text: "milk" });
      await until("the web app has it", () => web.shows("a")?.text === "milk");
      await web.insert("b", { id: "b", text: "bread", isCompleted: false, deleted: false });
      await until("the Bevy app has it", () => native.notes.b?.text === "bread");
      const told = await until("it is told", () =>
        native.complaints.find((line) => line.startsWith("missing: ")),
      );
      expect(told).toMatch(/^missing: the deployment does not send this collection: .*missing/);
      await until("it is live", () => native.complaints.includes("Live"));
      await Promise.all([web.close(), native.close()]);
      await place.close();
      await rm(folder, { recursive: true });
    },
  );
}

function isSame(shown: Record<string, unknown> | undefined, { text, isCompleted }: Note): boolean {
  return shown?.text === text && shown.isCompleted === isCompleted;
}

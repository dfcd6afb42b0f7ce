/**
 * Pages in a real browser, and the programs that they meet. The pages have an origin of their own, which the backend
 * has to allow.
 *
 * `CHROMIUM` gives the path of the browser, and `REPLICATE_PROGRAMS` the folder of the crate's programs
 * (`target/debug`).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { serve as serveExample } from "../../../examples/web/serve.js";
import { until } from "../serve";

const programs = resolve(process.env.REPLICATE_PROGRAMS ?? "../target/debug");
const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));

export async function launch(): Promise<Browser> {
  const names = [process.env.CHROMIUM ?? "/usr/bin/chromium", "/usr/bin/chromium-browser"];
  const executablePath = names.find((name) => existsSync(name));
  if (executablePath === undefined)
    throw new Error("there is no Chromium: apt-get install chromium, or set CHROMIUM");
  return await chromium.launch({ executablePath });
}

/** The page of `examples/web` with the packages of this folder, on a port of its own. */
export async function servePage(): Promise<{ origin: string; close: () => Promise<unknown> }> {
  return await serveExample(0, modules);
}

/** A program that prints lines, and ends with its input or by a signal. */
class Program {
  protected readonly child: ChildProcess;
  private readonly complaints: string[] = [];

  constructor(name: string, ...options: string[]) {
    this.child = spawn(join(programs, name), options);
    createInterface({ input: this.child.stderr! }).on("line", (line) => this.complaints.push(line));
    createInterface({ input: this.child.stdout! }).on("line", (line) => this.read(line));
  }

  protected read(_line: string): void {}

  /** Waits until `look` finds something. Fails with what the program said if that never happens. */
  protected async until<T>(what: string, look: () => T | undefined | false): Promise<T> {
    return await until(what, look).catch((error: unknown) => {
      throw new Error([String(error), ...this.complaints].join("\n"));
    });
  }

  async close(): Promise<void> {
    const closed = new Promise((done) => this.child.once("exit", done));
    if (this.child.exitCode !== null) return;
    this.child.stdin!.end();
    this.child.kill();
    await closed;
  }
}

/** `replicate-backend`, with its data in memory. */
export class Backend extends Program {
  private url: string | undefined;

  constructor(origin: string, ...options: string[]) {
    super("replicate-backend", "--listen", "127.0.0.1:0", "--allow-origin", origin, ...options);
  }

  async listens(): Promise<string> {
    return await this.until("the backend listens", () => this.url);
  }

  protected override read(line: string): void {
    this.url ??= /^listening on (.*)$/.exec(line)?.[1];
  }
}

interface Card {
  title: string;
  column: string;
  order: string;
  isDone: boolean;
  label?: string;
}

type Ask =
  | { do: "addColumn"; id: string; title: string; order: string }
  | { do: "addCard"; id: string; title: string; column: string; order: string }
  | { do: "rename"; id: string; title: string }
  | { do: "tick"; id: string; isDone: boolean }
  | { do: "delete"; id: string };

/** The program of `tests/conformance/board.rs`: the task board without its window. */
export class Board extends Program {
  private cards: Record<string, Card> = {};

  constructor(url: string, store: string) {
    super("examples/board", url, store);
  }

  ask(command: Ask): void {
    this.child.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  /** The first card for which the condition holds, once there is one. */
  async card(what: string, is: (card: Card, id: string) => boolean): Promise<[id: string, card: Card]> {
    return await this.until(`the Bevy app has ${what}`, () => {
      return Object.entries(this.cards).find(([id, card]) => is(card, id));
    });
  }

  async lacks(id: string): Promise<void> {
    await this.until(`the Bevy app lacks ${id}`, () => !(id in this.cards));
  }

  protected override read(line: string): void {
    this.cards = JSON.parse(line) as Record<string, Card>;
  }
}

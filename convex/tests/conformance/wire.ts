/** Runs the steps of cases that are about the protocols themselves. */
import { randomUUID } from "node:crypto";
import type { JSONValue } from "convex/values";
import { WebSocket } from "ws";
import type { HttpStep, SyncStep } from "./cases";
import { type Bindings, fill, mismatch } from "./match";

/** Where a backend listens, and the ending of its collections' names: `notes` here is `notes1x17` there. */
export type Wire = { url: string; suffix: string };

/** How long a step may wait for a message, in milliseconds. */
const DEADLINE = 60_000;

/** A step with the names of the backend's collections. */
function named<T>(step: T, { suffix }: Wire): T {
  if (suffix === "") return step;
  const text = JSON.stringify(step).replaceAll(/\b(notes|tasks)(?=:|\/|%3A)/g, `$1${suffix}`);
  return JSON.parse(text) as T;
}

/** Sends a request. Returns the first deviation of the answer, or null. */
export async function request(step: HttpStep, bindings: Bindings, wire: Wire): Promise<string | null> {
  const { method, path, headers = {}, body, status, answers, answerHeaders = {} } = named(step, wire);
  const given = body === undefined ? undefined : fill(body, bindings);
  const response = await fetch(new URL(path, wire.url), {
    method,
    headers,
    ...(given === undefined ? {} : { body: typeof given === "string" ? given : JSON.stringify(given) }),
  });
  const text = await response.text();
  if (response.status !== status) return `the status is ${response.status}, not ${status}: ${text}`;
  for (const [name, value] of Object.entries(answerHeaders)) {
    const found = response.headers.get(name);
    if (found !== value) return `the header ${name} is ${found}, not ${value}`;
  }
  return answers === undefined ? null : mismatch(answers, parse(text), bindings);
}

function parse(text: string): JSONValue {
  try {
    return JSON.parse(text) as JSONValue;
  } catch {
    return text;
  }
}

/** A WebSocket, and its messages that no step has waited for yet. */
type Open = { socket: WebSocket; arrived: JSONValue[]; wake: () => void };

/** The WebSockets of a case, by the names that its steps give them. */
export class Sockets {
  private readonly open = new Map<string, Open>();
  /** The sessions of this case, by the names in its text. A backend that outlives the case remembers their requests. */
  private readonly sessions = new Map<string, string>();

  constructor(private readonly wire: Wire | undefined) {}

  close(): void {
    for (const { socket } of this.open.values()) socket.terminate();
  }

  /** Sends messages, and waits until messages have come that match the patterns, one after the other. */
  async run(step: SyncStep, bindings: Bindings): Promise<string | null> {
    const { socket, send, until } = named(step, this.wire!);
    const open = this.open.get(socket) ?? (await this.connect(socket));
    for (const message of send) open.socket.send(JSON.stringify(this.ofCase(fill(message, bindings))));
    for (const pattern of until) {
      const found = await next(open, pattern, bindings);
      if (found !== null) return found;
    }
    return null;
  }

  /** A message with a session that no other case has. */
  private ofCase(message: JSONValue): JSONValue {
    if (message === null || typeof message !== "object" || Array.isArray(message)) return message;
    const { sessionId } = message;
    if (typeof sessionId !== "string") return message;
    const own = this.sessions.get(sessionId) ?? randomUUID();
    this.sessions.set(sessionId, own);
    return { ...message, sessionId: own };
  }

  private async connect(name: string): Promise<Open> {
    const socket = new WebSocket(new URL("/api/1.28.0/sync", this.wire!.url.replace(/^http/, "ws")));
    const open: Open = { socket, arrived: [], wake: () => undefined };
    socket.on("message", (data: Buffer) => {
      open.arrived.push(JSON.parse(data.toString()) as JSONValue);
      open.wake();
    });
    socket.on("close", () => open.wake());
    await new Promise<void>((resolve, reject) => socket.once("open", resolve).once("error", reject));
    this.open.set(name, open);
    return open;
  }
}

/** Takes messages until one matches. Returns the deviation of each if none does. */
async function next(open: Open, pattern: JSONValue, bindings: Bindings): Promise<string | null> {
  const passed: string[] = [];
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const message = open.arrived.shift();
    if (message !== undefined) {
      const found = mismatch(pattern, message, bindings);
      if (found === null) return null;
      passed.push(`${found} in ${JSON.stringify(message).slice(0, 400)}`);
      continue;
    }
    const left = deadline - Date.now();
    if (left <= 0 || open.socket.readyState !== WebSocket.OPEN)
      return `no message matches: ${passed.join("; ")}`;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, left);
      open.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

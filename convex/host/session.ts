/** One client's connection: Convex's sync protocol, from the server's side. */
import type { UserIdentity } from "convex/server";
import type { JSONValue } from "convex/values";
import type { WebSocket } from "ws";
import type { Deployment, Outcome } from "./deployment";
import { identityOf } from "./identity";

type AddQuery = { type: "Add"; queryId: number; udfPath: string; args: JSONValue[] };
type Modification = AddQuery | { type: "Remove"; queryId: number };
type Call = { requestId: number; udfPath: string; args: JSONValue[] };

type ClientMessage =
  | { type: "Connect"; sessionId: string }
  | { type: "Event" }
  | { type: "Authenticate"; tokenType: "Admin" | "User" | "None"; value?: string; baseVersion: number }
  | { type: "ModifyQuerySet"; baseVersion: number; newVersion: number; modifications: Modification[] }
  | ({ type: "Mutation" | "Action" } & Call);

type Subscription = { path: string; args: JSONValue; sent: string | null };

/** A session tells the server that something may have changed for all sessions. */
export type SessionEvents = { changed: () => void };

export class Session {
  private readonly queries = new Map<number, Subscription>();
  private identity: Partial<UserIdentity> | null = null;
  /** The id that the client has given itself. It keeps the id when it connects again. */
  private session: string | null = null;
  private version = { querySet: 0, identity: 0, ts: 0n };
  /** Messages are handled one after the other. */
  private work: Promise<void> = Promise.resolve();
  private refreshing = false;

  constructor(
    private readonly socket: WebSocket,
    private readonly deployment: Deployment,
    private readonly events: SessionEvents,
  ) {
    socket.on("message", (data: Buffer) => this.then(() => this.receive(data.toString())));
  }

  /** Runs the open queries again and sends the results that differ. */
  refresh(): void {
    if (this.refreshing) return;
    this.refreshing = true;
    this.then(async () => {
      this.refreshing = false;
      await this.transition({}, false);
    });
  }

  ping(): void {
    this.send({ type: "Ping" });
  }

  private then(step: () => Promise<void>): void {
    this.work = this.work.then(step).catch((error: unknown) => {
      this.send({ type: "FatalError", error: error instanceof Error ? error.message : String(error) });
      this.socket.close(1008);
    });
  }

  private async receive(text: string): Promise<void> {
    const message = JSON.parse(text) as ClientMessage;
    switch (message.type) {
      case "Connect":
        this.session = message.sessionId;
        return;
      case "Event":
        return;
      case "Authenticate":
        return await this.authenticate(message);
      case "ModifyQuerySet":
        return await this.modify(message.baseVersion, message.newVersion, message.modifications);
      case "Mutation":
      case "Action":
        return await this.call(message.type, message);
      default:
        throw new Error(`Unknown message ${text.slice(0, 200)}`);
    }
  }

  private async authenticate(message: Extract<ClientMessage, { type: "Authenticate" }>): Promise<void> {
    const { tokenType, value = "", baseVersion } = message;
    const identity = tokenType === "User" ? identityOf(value) : null;
    if (tokenType === "Admin" || (tokenType === "User" && identity === null)) {
      const error = "Could not parse the token: it is not a JSON Web Token with a subject.";
      this.send({ type: "AuthError", error, baseVersion, authUpdateAttempted: true });
      return;
    }
    this.identity = identity;
    await this.transition({ identity: baseVersion + 1 }, true);
  }

  private async modify(
    baseVersion: number,
    newVersion: number,
    modifications: Modification[],
  ): Promise<void> {
    if (baseVersion !== this.version.querySet) {
      throw new Error(`The query set is at version ${this.version.querySet}, not ${baseVersion}.`);
    }
    const removed: JSONValue[] = [];
    for (const modification of modifications) {
      const { queryId } = modification;
      if (modification.type === "Add") {
        const [args = {}] = modification.args;
        this.queries.set(queryId, { path: modification.udfPath, args, sent: null });
      } else {
        this.queries.delete(queryId);
        removed.push({ type: "QueryRemoved", queryId });
      }
    }
    await this.transition({ querySet: newVersion }, true, removed);
  }

  private async call(kind: "Mutation" | "Action", { requestId, udfPath, args }: Call): Promise<void> {
    const given = args[0] ?? {};
    const key = this.session === null ? null : { session: this.session, request: requestId };
    const { outcome, ts } =
      kind === "Mutation"
        ? await this.deployment.mutateOnce(key, udfPath, given, this.identity)
        : { outcome: await this.deployment.call(kind, udfPath, given, this.identity), ts: 0n };
    this.send({ type: `${kind}Response`, requestId, logLines: [], ...responseTo(kind, outcome, ts) });
    // Every mutation is followed by a transition: the client waits for one that includes it.
    await this.transition({}, true);
    this.events.changed();
  }

  private async transition(
    to: { querySet?: number; identity?: number },
    always: boolean,
    modifications: JSONValue[] = [],
  ): Promise<void> {
    const ts = await this.deployment.now();
    for (const [queryId, query] of this.queries) {
      const outcome = await this.deployment.call("Query", query.path, query.args, this.identity);
      const sent = JSON.stringify(outcome);
      if (sent === query.sent) continue;
      query.sent = sent;
      modifications.push(updateOf(queryId, outcome));
    }
    if (!always && modifications.length === 0) return;
    const start = this.version;
    this.version = { ...start, ...to, ts: ts > start.ts ? ts : start.ts };
    this.send({
      type: "Transition",
      startVersion: encoded(start),
      endVersion: encoded(this.version),
      modifications,
    });
  }

  private send(message: JSONValue): void {
    if (this.socket.readyState === this.socket.OPEN) this.socket.send(JSON.stringify(message));
  }
}

function responseTo(kind: "Mutation" | "Action", outcome: Outcome, ts: bigint): Record<string, JSONValue> {
  if (!outcome.ok) {
    const data: Record<string, JSONValue> = outcome.data === undefined ? {} : { errorData: outcome.data };
    return { success: false, result: outcome.message, ...data };
  }
  return { success: true, result: outcome.value, ...(kind === "Mutation" ? { ts: base64(ts) } : {}) };
}

function updateOf(queryId: number, outcome: Outcome): JSONValue {
  const common = { queryId, logLines: [], journal: null };
  if (outcome.ok) return { type: "QueryUpdated", value: outcome.value, ...common };
  const data: Record<string, JSONValue> = outcome.data === undefined ? {} : { errorData: outcome.data };
  return { type: "QueryFailed", errorMessage: outcome.message, ...data, ...common };
}

function encoded({ querySet, identity, ts }: { querySet: number; identity: number; ts: bigint }): JSONValue {
  return { querySet, identity, ts: base64(ts) };
}

/** An unsigned 64-bit number as the protocol writes it. */
function base64(value: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.toString("base64");
}

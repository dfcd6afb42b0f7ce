/** A deployment behind Convex's sync protocol and HTTP API. The README lists what it lacks. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { JSONValue } from "convex/values";
import { WebSocketServer } from "ws";
import type { Deployment, FunctionKind } from "./deployment";
import { identityOf } from "./identity";
import { Session } from "./session";

/** The largest message or body that Convex accepts. */
const FRAME_BYTES = 16 * 1024 * 1024;
/** How often a quiet connection is pinged: clients give up after 30 seconds. */
const PING_MS = 15_000;
/** How often the host looks whether a scheduled function has changed something. */
const WATCH_MS = 100;

/** The status of Convex's response if a function failed. */
const FUNCTION_FAILED = 560;

const KINDS: Record<string, FunctionKind> = {
  "/api/query": "Query",
  "/api/mutation": "Mutation",
  "/api/action": "Action",
};

export class Host {
  private readonly sessions = new Set<Session>();
  private seen = 0n;

  private constructor(
    private readonly deployment: Deployment,
    private readonly http: Server,
    private readonly sockets: WebSocketServer,
    private readonly timers: NodeJS.Timeout[],
  ) {}

  /** Listens; port 0 is any that is free. */
  static async listen(deployment: Deployment, port = 0, address = "127.0.0.1"): Promise<Host> {
    const http = createServer();
    const sockets = new WebSocketServer({ noServer: true, maxPayload: FRAME_BYTES });
    const host = new Host(deployment, http, sockets, []);
    http.on("request", (request, response) => void host.respond(request, response));
    http.on("upgrade", (request, socket, head) => {
      if (!/^\/api\/([^/]+\/)?sync$/.test(pathOf(request))) return void socket.destroy();
      sockets.handleUpgrade(request, socket, head, (client) =>
        host.join(new Session(client, deployment, host), client),
      );
    });
    await new Promise<void>((resolve, reject) => {
      http.once("error", reject).listen(port, address, resolve);
    });
    host.timers.push(setInterval(() => host.sessions.forEach((session) => session.ping()), PING_MS));
    host.timers.push(setInterval(() => void host.watch(), WATCH_MS));
    return host;
  }

  /** The URL that it listens on. */
  get url(): string {
    const { address, port } = this.http.address() as AddressInfo;
    return `http://${address}:${port}`;
  }

  /** Cuts every connection, as a network does; clients connect again. */
  disconnectAll(): void {
    for (const client of this.sockets.clients) client.terminate();
  }

  async close(): Promise<void> {
    this.timers.forEach(clearInterval);
    this.disconnectAll();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  /** Something may have changed. */
  changed(): void {
    for (const session of this.sessions) session.refresh();
  }

  private join(session: Session, client: { on(event: "close", listener: () => void): unknown }): void {
    this.sessions.add(session);
    client.on("close", () => this.sessions.delete(session));
  }

  private async watch(): Promise<void> {
    const now = await this.deployment.now();
    if (now === this.seen) return;
    this.seen = now;
    this.changed();
  }

  private async respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathOf(request);
    const kind = KINDS[path];
    const answer = (status: number, body: JSONValue) => {
      response.writeHead(status, { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" });
      response.end(JSON.stringify(body));
    };
    if (path === "/version") return answer(200, "host");
    if (kind === undefined || request.method !== "POST")
      return answer(404, { code: "NotFound", message: path });
    try {
      const { path: name, args } = JSON.parse(await bodyOf(request)) as { path: string; args: JSONValue };
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
      const identity = token === undefined ? null : identityOf(token);
      if (request.headers.authorization !== undefined && identity === null) {
        return answer(401, { code: "Unauthenticated", message: "Not a JSON Web Token with a subject." });
      }
      const outcome = await this.deployment.call(kind, name, Array.isArray(args) ? args[0]! : args, identity);
      if (kind !== "Query") this.changed();
      if (outcome.ok) return answer(200, { status: "success", value: outcome.value, logLines: [] });
      const data: Record<string, JSONValue> = outcome.data === undefined ? {} : { errorData: outcome.data };
      answer(FUNCTION_FAILED, { status: "error", errorMessage: outcome.message, ...data, logLines: [] });
    } catch (error) {
      answer(400, { code: "BadRequest", message: error instanceof Error ? error.message : String(error) });
    }
  }
}

function pathOf(request: IncomingMessage): string {
  return new URL(request.url ?? "/", "http://localhost").pathname;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > FRAME_BYTES) throw new Error(`A body has at most ${FRAME_BYTES} bytes.`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

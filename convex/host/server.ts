/** A deployment behind Convex's sync protocol and HTTP API. The README lists what it lacks. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { Deployment } from "./deployment";
import { FRAME_BYTES, pathOf, respondTo } from "./http";
import { Session } from "./session";

/** How often a quiet connection is pinged: clients give up after 30 seconds. */
const PING_MS = 15_000;
/** How often the host looks whether a scheduled function has changed something. */
const WATCH_MS = 100;

/** How long a browser may remember what a page may send, in seconds, as on Convex. */
const MAX_AGE = 86_400;

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
    allowPages(request, response);
    // A browser asks what a page may send, before it sends it.
    if (request.method === "OPTIONS") return void response.writeHead(200).end();
    const answer = await respondTo(request, this.deployment, () => this.changed());
    const isText = typeof answer.body === "string";
    response.writeHead(answer.status, { "Content-Type": isText ? "text/plain" : "application/json" });
    response.end(isText ? answer.body : JSON.stringify(answer.body));
  }
}

/** Lets every page read the response, and send every header that it asks for, as Convex does. */
function allowPages(request: IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers;
  if (origin !== undefined) response.setHeader("Access-Control-Allow-Origin", origin);
  response.setHeader("Access-Control-Allow-Credentials", "true");
  response.setHeader("Vary", "origin, access-control-request-method, access-control-request-headers");
  if (request.method !== "OPTIONS") return;
  response.setHeader("Access-Control-Allow-Methods", "GET,POST,OPTIONS,PATCH,DELETE,PUT");
  response.setHeader("Access-Control-Max-Age", MAX_AGE);
  const asked = request.headers["access-control-request-headers"];
  if (asked !== undefined) response.setHeader("Access-Control-Allow-Headers", asked);
}

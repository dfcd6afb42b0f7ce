/**
 * The web apps' tests against a running backend: `REPLICATE_URL=http://127.0.0.1:3210 npm run clients:remote`. It has
 * to accept any collection name, as the embedded backend does, because each test uses a new one.
 */
import { randomUUID } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { anyApi } from "convex/server";
import { describe } from "vitest";
import type { api } from "./app/_generated/api";
import { testBevyApp } from "./native";
import { testOriginalClient } from "./original/tests";
import { type Place, testNativeApp, testWebApps } from "./webapp";

const url = process.env.REPLICATE_URL;
if (url === undefined) throw new Error("Say where the backend is: REPLICATE_URL=http://127.0.0.1:3210");
const backend = new URL(url);

/** The backend behind a proxy whose connections can be cut. */
async function place(): Promise<Place> {
  const sockets = new Set<Socket>();
  const proxy = createServer((inside) => {
    const outside = connect(Number(backend.port), backend.hostname);
    for (const [socket, other] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  const collection = `notes${randomUUID().replaceAll("-", "")}`;
  return {
    collection,
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    notes: anyApi[collection] as unknown as typeof api.notes,
    disconnectAll: cut,
    close: async () => {
      const closed = new Promise((resolve) => proxy.close(resolve));
      cut();
      await closed;
    },
  };
}

await testOriginalClient(place);

describe("web apps on a collection of the embedded backend", () => {
  testWebApps(place, ({ notes }) => notes);
  testNativeApp(place);
  testBevyApp(place);
});

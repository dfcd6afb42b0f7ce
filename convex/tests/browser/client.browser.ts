/** The official client in a page of another origin than the backend's, which the backend allows, with and without a token. */
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Backend, launch, servePage } from "./browser";

let browser: Browser;
let site: Awaited<ReturnType<typeof servePage>>;
let backend: Backend | undefined;
let url: string;

beforeAll(async () => {
  browser = await launch();
  site = await servePage();
});

afterEach(async () => {
  await backend?.close();
  await Promise.all(browser.contexts().map((context) => context.close()));
});

afterAll(async () => {
  await browser.close();
  await site.close();
});

/** What a call of a page needs to know. */
interface Settings {
  url: string;
  token?: string;
}

/** The packages of the page, as its script offers them to what runs in it. */
interface Packages {
  Automerge: typeof import("@automerge/automerge");
  convex: typeof import("convex/browser");
  anyApi: typeof import("convex/server").anyApi;
}

/** The page. Its import map is that of the example, for the same server. */
async function html(origin: string): Promise<string> {
  const example = await (await fetch(origin)).text();
  return example.replace(
    /<script type="module">[^]*<\/script>/,
    `<script type="module">
      import * as Automerge from "@automerge/automerge";
      import * as convex from "convex/browser";
      import { anyApi } from "convex/server";
      globalThis.packages = { Automerge, convex, anyApi };
    </script>`,
  );
}

/** A page of this origin that does nothing by itself. */
async function page(origin = site.origin): Promise<Page> {
  const opened = await browser.newPage();
  // The content comes after any file of the origin, because Chromium takes a page that the test answers for a public
  // one, which it lets into no network of this machine.
  await opened.goto(`${origin}/node_modules/convex/package.json`);
  await opened.setContent(await html(origin));
  await opened.waitForFunction(() => "packages" in globalThis);
  return opened;
}

/** Writes a note through the WebSocket, and waits until the subscription and an HTTP query show it. */
async function writes(opened: Page, settings: Settings, id: string): Promise<string> {
  return await opened.evaluate(
    async ({ url, token, id }) => {
      const { Automerge, convex, anyApi } = (globalThis as unknown as { packages: Packages }).packages;
      const client = new convex.ConvexClient(url);
      const http = new convex.ConvexHttpClient(url);
      if (token !== undefined) {
        client.setAuth(() => Promise.resolve(token));
        http.setAuth(token);
      }
      type Answer = { count: number };
      const counted = new Promise<number>((seen, failed) => {
        client.onUpdate(
          anyApi.notes!.changeStream!,
          { collectionName: "notes" },
          ({ count }: Answer) => void (count > 0 && seen(count)),
          failed,
        );
      });
      const document = Automerge.from({ id, text: "milk" });
      const changes = Automerge.getAllChanges(document).map((bytes) => ({
        bytes: new Uint8Array(bytes).buffer,
      }));
      const pushed = client.mutation(anyApi.notes!.pushChanges!, { documents: [{ id, changes }] });
      // A call that is not let in fails here.
      await Promise.all([pushed, counted]);
      const page = (await http.query(anyApi.notes!.pullChanges!, {
        collectionName: "notes",
        checkpoint: { lastModified: 0 },
      })) as { changes: { documentId: string; crdtBytes: ArrayBuffer }[] };
      const found = page.changes.find(({ documentId }) => documentId === id)!;
      const { text } = Automerge.load<{ text: string }>(new Uint8Array(found.crdtBytes));
      await client.close();
      return text;
    },
    { ...settings, id },
  );
}

/** The message with which the page's call over HTTP fails. */
async function fails(opened: Page, settings: Settings): Promise<string> {
  return await opened.evaluate(async ({ url, token }) => {
    const { convex, anyApi } = (globalThis as unknown as { packages: Packages }).packages;
    const http = new convex.ConvexHttpClient(url);
    if (token !== undefined) http.setAuth(token);
    return await http.query(anyApi.notes!.changeStream!, { collectionName: "notes" }).then(
      () => "it does not fail",
      (error: unknown) => String(error),
    );
  }, settings);
}

/** Whether a WebSocket to the backend opens. */
async function opens(opened: Page): Promise<boolean> {
  return await opened.evaluate(
    async (address) =>
      await new Promise<boolean>((answer) => {
        const socket = new WebSocket(address);
        socket.onopen = () => answer(true);
        socket.onerror = () => answer(false);
      }),
    `${url.replace("http", "ws")}/api/1.48.0/sync`,
  );
}

describe("without a token", () => {
  beforeEach(async () => {
    backend = new Backend(site.origin);
    url = await backend.listens();
  });

  test("a page of an allowed origin subscribes and writes", async () => {
    expect(await writes(await page(), { url }, "a")).toBe("milk");
  });

  test("a page of another origin gets nothing", async () => {
    const other = await servePage();
    const stranger = await page(other.origin);
    expect(await fails(stranger, { url })).toMatch(/Failed to fetch/);
    expect(await opens(stranger)).toBe(false);
    expect(await opens(await page())).toBe(true);
    await other.close();
  });
});

describe("with a token", () => {
  beforeEach(async () => {
    backend = new Backend(site.origin, "--token", "open sesame");
    url = await backend.listens();
  });

  test("a page that has it subscribes and writes", async () => {
    expect(await writes(await page(), { url, token: "open sesame" }, "a")).toBe("milk");
  });

  test("a page without it, or with another, is told so", async () => {
    const opened = await page();
    expect(await fails(opened, { url })).toMatch(/token|unauthenticated/i);
    expect(await fails(opened, { url, token: "guess" })).toMatch(/token|unauthenticated/i);
    await expect(writes(opened, { url }, "a")).rejects.toThrow(/token|unauthenticated/i);
  });
});

/** The page of `examples/web` in a browser, beside a Bevy app with the task board's components. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Backend, Board, launch, servePage } from "./browser";

let browser: Browser;
let site: Awaited<ReturnType<typeof servePage>>;
let backend: Backend;
let board: Board;
let folder: string;
let page: Page;
const errors: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "board-"));
  [browser, site] = await Promise.all([launch(), servePage()]);
  backend = new Backend(site.origin);
  const url = await backend.listens();
  board = new Board(url, join(folder, "board.store"));
  page = await browser.newPage({ viewport: { width: 1100, height: 620 } });
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(`${site.origin}/#backend=${encodeURIComponent(url)}`);
});

afterEach(async () => {
  await browser.close();
  await Promise.all([board.close(), backend.close(), site.close()]);
  await rm(folder, { recursive: true });
});

test("shows the board's cards, and adds, renames, ticks and deletes them", async () => {
  const column = (id: string) => page.locator(`section[data-id="${id}"]`);
  const titles = (id: string) => column(id).locator(".title");
  const shows = async (id: string, wanted: string[]) => {
    await expect
      .poll(
        async () =>
          await titles(id).evaluateAll((all) => all.map((title) => (title as HTMLInputElement).value)),
        { timeout: 60_000 },
      )
      .toEqual(wanted);
  };

  board.ask({ do: "addColumn", id: "todo", title: "To do", order: "a0" });
  board.ask({ do: "addColumn", id: "done", title: "Done", order: "a1" });
  board.ask({ do: "addCard", id: "rain", title: "Rain on the deck", column: "done", order: "a0" });
  board.ask({ do: "addCard", id: "boat", title: "Name the boat", column: "todo", order: "a0" });
  await shows("todo", ["Name the boat"]);
  await shows("done", ["Rain on the deck"]);
  await page.getByText("live").waitFor();
  expect(await page.locator("h2").allTextContents()).toEqual(["To do", "Done"]);

  // The page adds a card, which is in the board's column and order.
  await column("todo").getByLabel("Add a card").fill("Order more stickers");
  await column("todo").getByLabel("Add a card").press("Enter");
  const [id, card] = await board.card("the new card", ({ title }) => title === "Order more stickers");
  expect(card).toMatchObject({ column: "todo", order: "a1", isDone: false });
  await shows("todo", ["Name the boat", "Order more stickers"]);

  // It renames a card while the other app ticks it, and both edits stay.
  board.ask({ do: "tick", id: "boat", isDone: true });
  await titles("todo").first().fill("Name the lighthouse boat");
  await board.card("both edits", ({ title, isDone }, at) => {
    return at === "boat" && title === "Name the lighthouse boat" && isDone;
  });
  await expect.poll(async () => await column("todo").getByLabel("Done").first().isChecked()).toBe(true);

  // It ticks a card, and leaves alone what it does not show.
  await column("done").getByLabel("Done").check();
  const [, rain] = await board.card("the tick", ({ isDone }, at) => at === "rain" && isDone);
  expect(rain.label).toBe("amber");

  // Edits and deletions of the other app appear, and deletions of the page arrive there.
  board.ask({ do: "rename", id, title: "Order stickers" });
  await shows("todo", ["Name the lighthouse boat", "Order stickers"]);
  await page.screenshot({ path: process.env.SCREENSHOT ?? join(folder, "page.png") });
  board.ask({ do: "delete", id: "rain" });
  await shows("done", []);
  await column("todo").getByLabel("Delete").last().click();
  await board.lacks(id);
  await shows("todo", ["Name the lighthouse boat"]);
  expect(errors).toEqual([]);
});

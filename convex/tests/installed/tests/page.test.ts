import * as Automerge from "@automerge/automerge";
import { ConvexHttpClient } from "convex/browser";
import { expect, test } from "vitest";
import { api } from "../convex/_generated/api";
import { texts } from "../page";

const url = process.env.DEPLOYMENT_URL!;

test("a page rendered on a server shows what a client of the deployment pushed", async () => {
  const fields = { text: "Buy milk" };
  const changes = Automerge.getAllChanges(Automerge.from(fields)).map((bytes) => ({
    bytes: new Uint8Array(bytes).buffer,
  }));
  const client = new ConvexHttpClient(url);
  const { results } = await client.mutation(api.tasks.pushChanges, {
    documents: [{ id: "milk", changes, fields }],
  });
  expect(results).toEqual([{ id: "milk", status: "accepted" }]);
  expect(await client.query(api.tasks.open, {})).toMatchObject([{ text: "Buy milk" }]);
  expect(await texts(url)).toEqual(["Buy milk"]);
});

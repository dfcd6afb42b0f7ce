/** The texts of the tasks of the deployment at `url`, for a page rendered on a server. */
import { loadCollection } from "bevy-convex-replicate/ssr";
import { ConvexHttpClient } from "convex/browser";
import { api } from "./convex/_generated/api";

type Task = { id: string; text?: string };

export async function texts(url: string): Promise<(string | undefined)[]> {
  const client = new ConvexHttpClient(url);
  const { documents } = await loadCollection<Task>(client, { api: api.tasks, collection: "tasks" });
  return documents.map(({ text }) => text);
}

/**
 * The protocol of the client of convex-replicate 0.2 (`convexCollectionOptions`), written anew: which functions it
 * calls, when, with which arguments, and how it uses the answers. Where it loses something, so does this.
 */
import * as Automerge from "@automerge/automerge";
import type { ConvexClient } from "convex/browser";
import type { FunctionReturnType } from "convex/server";
import type { api } from "../app/_generated/api";
import { buffer } from "../documents";
import type { CollectionOptions, Row, SyncParameters } from "./tanstack";

/** The page that it asks for. It never asks for the next one. */
const PAGE = 100;

type Functions = typeof api.notes;
type Page = FunctionReturnType<Functions["pullChanges"]>;

/** What an app configures. */
export interface Config {
  convexClient: ConvexClient;
  api: Functions;
  collectionName: string;
  getKey: (row: Row) => string;
}

export function convexCollectionOptions(config: Config): CollectionOptions {
  const { convexClient: client, api: functions, collectionName, getKey } = config;
  const documents = new Map<string, Automerge.Doc<Row>>();
  /** Stays until a call succeeded, and goes with each later call. */
  const unsent = new Set<string>();
  let checkpoint = { lastModified: 0 };
  let table: SyncParameters | undefined;

  /** The row as an app sees it: only the root is copied, so values that are classes stay what they are. */
  const shown = (id: string): (Row & { deleted?: boolean }) | undefined => {
    const document = documents.get(id);
    if (document === undefined) return undefined;
    const row: Row & { deleted?: boolean } = { ...document };
    return row.deleted ? undefined : row;
  };

  const show = (rows: { type: "insert" | "update"; id: string }[]) => {
    table?.begin();
    for (const { type, id } of rows) {
      const row = shown(id);
      table?.write(row === undefined ? { type: "delete", value: { id } } : { type, value: row });
    }
    table?.commit();
  };

  const pull = async (): Promise<Page["changes"]> => {
    const page = await client.query(functions.pullChanges, { collectionName, checkpoint, limit: PAGE });
    checkpoint = page.checkpoint;
    return page.changes;
  };

  const merge = (changes: Page["changes"]) => {
    if (changes.length === 0) return;
    for (const { documentId: id, crdtBytes } of changes) {
      const theirs = Automerge.load<Row>(new Uint8Array(crdtBytes));
      const mine = documents.get(id);
      documents.set(id, mine === undefined ? theirs : Automerge.merge(mine, theirs));
    }
    show(changes.map(({ documentId: id }) => ({ type: "update", id })));
  };

  const send = async (operation: "insertDocument" | "updateDocument") => {
    // A deleted document is not among them: its deletion is never sent.
    const rows = [...unsent].flatMap((id) => shown(id) ?? []);
    await Promise.all(
      rows.map(async (row) => {
        const document = documents.get(row.id)!;
        await client.mutation(functions[operation], {
          collectionName,
          documentId: row.id,
          crdtBytes: buffer(Automerge.save(document)),
          materializedDoc: row,
          version: Automerge.getHeads(document).length,
        });
      }),
    );
    for (const { id } of rows) unsent.delete(id);
  };

  const edit = (id: string, change: (draft: Row & { deleted?: boolean }) => void) => {
    const document = documents.get(id);
    if (document === undefined) return;
    documents.set(id, Automerge.change(document, change));
    unsent.add(id);
    show([{ type: "update", id }]);
  };

  return {
    id: collectionName,
    getKey,
    sync: {
      sync: (parameters) => {
        table = parameters;
        let isStarted = false;
        const waiting: Page["changes"] = [];
        const changed = async () => {
          const changes = await pull();
          if (isStarted) merge(changes);
          else waiting.push(...changes);
        };
        const report = (error: unknown) => console.error(`the page cannot pull: ${String(error)}`);
        const stop = client.onUpdate(functions.changeStream, { collectionName }, () => {
          changed().catch(report);
        });
        changed()
          .then(() => {
            isStarted = true;
            merge(waiting.splice(0));
          })
          .catch(report)
          .finally(() => parameters.markReady());
        return stop;
      },
    },
    onInsert: async ({ transaction }) => {
      for (const { modified } of transaction.mutations) {
        const { id, ...fields } = modified;
        documents.set(id, Automerge.from<Row>({ ...fields, id, deleted: false }));
        unsent.add(id);
        show([{ type: "insert", id }]);
      }
      await send("insertDocument");
    },
    onUpdate: async ({ transaction }) => {
      for (const { key, changes } of transaction.mutations) {
        edit(key, (draft) => void Object.assign(draft, changes));
      }
      await send("updateDocument");
    },
    onDelete: async ({ transaction }) => {
      for (const { key } of transaction.mutations) edit(key, (draft) => void (draft.deleted = true));
      await send("updateDocument");
    },
  };
}

/* eslint-disable */
/**
 * The functions that an app may call, as references: what `convex codegen` writes, by hand, so that building needs no
 * deployment. `npx convex dev` overwrites this file with the same.
 */
import type { FunctionReference } from "convex/server";
import type {
  Chunk,
  DocumentChanges,
  Effect,
  Examined,
  Merged,
  Position,
  Refusal,
  Sender,
} from "../shapes.js";

type Split = {
  status: "split";
  changes: Chunk[];
  fields: Record<string, unknown>;
  leftOut: string[];
  version: number;
  effect?: Effect;
};

export type ComponentApi<Name extends string | undefined = string | undefined> = {
  compaction: {
    compact: FunctionReference<
      "mutation",
      "internal",
      { collection: string; id: string; before: number; bytes?: number },
      { compacted: number; hasMore: boolean },
      Name
    >;
  };
  log: {
    examine: FunctionReference<
      "query",
      "internal",
      { collection: string; documents: DocumentChanges[]; sender?: Sender },
      { epoch: string; results: (Examined | Refusal)[] },
      Name
    >;
    append: FunctionReference<
      "mutation",
      "internal",
      {
        collection: string;
        scope?: string;
        documents: (DocumentChanges & { deleted?: boolean; checkDue?: number })[];
        compact?: { rows: number; after: number };
        author?: string;
      },
      { epoch: string; long: string[] },
      Name
    >;
    checked: FunctionReference<
      "mutation",
      "internal",
      { collection: string; id: string; version: number; deleted: boolean },
      null,
      Name
    >;
    status: FunctionReference<
      "query",
      "internal",
      { collection: string; id: string },
      { scope?: string; version: number; heads: string[]; deleted: boolean; pruned: boolean } | null,
      Name
    >;
    renewEpoch: FunctionReference<"mutation", "internal", {}, string, Name>;
  };
  presence: {
    set: FunctionReference<
      "mutation",
      "internal",
      { collection: string; scope?: string; session: string; value?: string; user?: string; rate: number },
      { peer: string; rate: number; ttl: number },
      Name
    >;
    list: FunctionReference<
      "query",
      "internal",
      { collection: string; scope?: string },
      { peers: { peer: string; user?: string; value: string }[] },
      Name
    >;
  };
  pruning: {
    prune: FunctionReference<
      "mutation",
      "internal",
      { collection: string; before: number },
      { pruned: string[]; alive: string[]; hasMore: boolean },
      Name
    >;
  };
  quarantine: {
    isolate: FunctionReference<
      "mutation",
      "internal",
      { collection: string; id: string },
      { removed: string[]; version: number } | null,
      Name
    >;
  };
  merge: {
    preview: FunctionReference<
      "query",
      "internal",
      { collection: string; documents: DocumentChanges[]; sender?: Sender; effects?: boolean },
      (Merged | Refusal)[],
      Name
    >;
    split: FunctionReference<
      "query",
      "internal",
      { collection: string; id: string; crdtBytes: ArrayBuffer; effects?: boolean },
      Split | Refusal,
      Name
    >;
    deletion: FunctionReference<
      "query",
      "internal",
      { collection: string; id: string; actor: string; effects?: boolean },
      Split | Refusal | null,
      Name
    >;
  };
  pages: {
    pullDeltas: FunctionReference<
      "query",
      "internal",
      { collection: string; checkpoint: Position; limit?: number; scope?: string; pruned?: bigint },
      {
        deltas: (Chunk & { id: string; ts: bigint; ordinal: number; author?: string })[];
        checkpoint: Position;
        hasMore: boolean;
        epoch: string;
        pruned?: bigint;
      },
      Name
    >;
    pullDocuments: FunctionReference<
      "query",
      "internal",
      { collection: string; lastModified: number; limit?: number },
      {
        changes: { documentId: string; crdtBytes: ArrayBuffer; version: number; timestamp: number }[];
        checkpoint: { lastModified: number };
        hasMore: boolean;
      },
      Name
    >;
    changeStream: FunctionReference<
      "query",
      "internal",
      { collection: string },
      { timestamp: number; count: number },
      Name
    >;
  };
};

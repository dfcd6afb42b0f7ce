/**
 * The part of `@tanstack/db` that the original client and its pages use, in every version from 0.4 on. The version
 * that the client names (0.4.13) is no longer on npm.
 */
import * as nearest from "tanstack-db-nearest";
import * as newest from "tanstack-db-newest";

export type Row = { id: string; [field: string]: unknown };

interface Mutation {
  key: string;
  modified: Row;
  changes: Record<string, unknown>;
}

type Handler = (parameters: { transaction: { mutations: Mutation[] } }) => Promise<unknown>;

export interface SyncParameters {
  begin(): void;
  write(message: { type: "insert" | "update" | "delete"; value: Row }): void;
  commit(): void;
  markReady(): void;
}

/** What `createCollection` takes. */
export interface CollectionOptions {
  id: string;
  getKey: (row: Row) => string;
  sync: { sync: (parameters: SyncParameters) => () => void };
  onInsert: Handler;
  onUpdate: Handler;
  onDelete: Handler;
}

/** A write of a page. The promise settles when the page's handler has sent it, or has failed. */
interface Written {
  isPersisted: { promise: Promise<unknown> };
}

/** What `createCollection` returns. */
export interface Rows {
  readonly size: number;
  get(id: string): Row | undefined;
  insert(row: Row): Written;
  insert(rows: Row[]): Written;
  update(id: string, edit: (draft: Row) => void): Written;
  delete(id: string): Written;
  preload(): Promise<void>;
  cleanup(): Promise<void>;
}

type CreateCollection = (options: CollectionOptions) => Rows;

export const versions: [version: string, createCollection: CreateCollection][] = [
  ["0.4", nearest.createCollection],
  ["0.15", newest.createCollection],
];

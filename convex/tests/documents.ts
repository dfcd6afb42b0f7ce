/** Documents and their changes, as clients make them. */
import * as Automerge from "@automerge/automerge";

export type Fields = Record<string, unknown>;

/** A document by an actor of its own. */
export function document(fields: Fields, actor?: string): Automerge.Doc<Fields> {
  const options = actor === undefined ? undefined : actor;
  return Automerge.change(Automerge.init<Fields>(options), { time: 0 }, (draft) =>
    Object.assign(draft, fields),
  );
}

/** An edit. */
export function edit(doc: Automerge.Doc<Fields>, fields: Fields): Automerge.Doc<Fields> {
  return Automerge.change(doc, { time: 0 }, (draft) => Object.assign(draft, fields));
}

/** The changes of `doc` since `before`, as a push carries them. */
export function changes(
  doc: Automerge.Doc<Fields>,
  before?: Automerge.Doc<Fields>,
): { bytes: ArrayBuffer }[] {
  const found = before === undefined ? Automerge.getAllChanges(doc) : Automerge.getChanges(before, doc);
  return found.map((bytes) => ({ bytes: buffer(bytes) }));
}

export function save(doc: Automerge.Doc<Fields>): ArrayBuffer {
  return buffer(Automerge.save(doc));
}

export function buffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

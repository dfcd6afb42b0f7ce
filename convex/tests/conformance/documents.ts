/** Documents that many cases use. */
import * as Automerge from "@automerge/automerge";
import { create, edit } from "./cases";

export const base = create(1, { title: "milk", done: false });
export const left = edit(base, 2, (d) => (d.title = "oat milk"));
export const right = edit(base, 3, (d) => (d.done = true));
export const both = edit(Automerge.merge(Automerge.clone(left), right), 4, (d) => (d.seen = true));
export const other = create(5, { title: "bread" });
export const three = [create(1, { n: 1 }), create(2, { n: 2 }), create(3, { n: 3 })] as const;

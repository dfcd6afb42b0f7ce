/** What users may read and write, and attacks on the rules of the collections `homes` and `owned`. */
import { createHash } from "node:crypto";
import {
  accepted,
  bind,
  bytes,
  type CallStep,
  type Case,
  changesOf,
  chunks,
  create,
  type Doc,
  edit,
  error,
  failing,
  type Fields,
  type Json,
  more,
  partial,
  pull,
  pullWhole,
  push,
  put,
  refused,
  remove,
  row,
  save,
  START,
  type Step,
  stream,
} from "./cases";

const ADA = "replicate|ada";
const EVE = "replicate|eve";
const by = (user: "ada" | "eve", step: Step): Step => ({ ...(step as CallStep), as: user });
const path = "homes";
const denied = error("notAuthorized");

const adas = create(1, { title: "mine" });
const stolen = edit(adas, 2, (draft) => {
  draft.title = "stolen";
});
const begin = by("ada", put("adas", adas, undefined, { path, scope: ADA }));
/** Ada's log has nothing but her own change, by herself. */
const end = by(
  "ada",
  pull([partial({ id: "adas", bytes: bytes(changesOf(adas)[0]!), author: ADA })], { path, scope: ADA }),
);
const attack = (name: string, ...steps: Step[]): Case => ({
  name,
  steps: [begin, ...steps.map((step) => by("eve", step)), end],
});
const deniedPush = (id: string, changes: Json, options: { path?: string; scope?: string }): Step =>
  push([{ id, changes }], [refused(id, "notAuthorized")], options);

const owned = "owned";
const mine = create(3, { owner: ADA, title: "mine" });
const ownedBegin = by("ada", put("a", mine, undefined, { path: owned }));
const ownedEnd = by("ada", pull([partial({ id: "a", author: ADA })], { path: owned }));
const edits = (change: (draft: Fields) => void): Json => chunks(edit(mine, 4, change), mine);
const ownedAttack = (name: string, ...steps: Step[]): Case => ({
  name,
  steps: [ownedBegin, ...steps.map((step) => by("eve", step)), ownedEnd],
});
const claim = (id: string, doc: Doc, fields: Json, since?: Doc): Step =>
  push([{ id, changes: chunks(doc, since), fields }], [refused(id, "notAuthorized")], { path: owned });
/** A change in two parts. */
function piecesOf(raw: Uint8Array): Json[] {
  const hash = bytes(createHash("sha256").update(raw).digest());
  const middle = raw.length >> 1;
  return [raw.subarray(0, middle), raw.subarray(middle)].map((piece, index) => ({
    bytes: bytes(piece),
    part: { hash, index, count: 2 },
  }));
}
const mines = piecesOf(changesOf(mine)[0]!) as [Record<string, Json>, Json];
const next = (doc: Doc): Json[] => {
  const edited = more(doc, (draft) => {
    draft.note = "more";
  });
  return piecesOf(changesOf(edited, doc)[0]!);
};

export const rights: Case[] = [
  {
    name: "the log names the user who wrote each row",
    steps: [
      by("ada", put("adas", adas, undefined, { path, scope: ADA })),
      by("eve", put("eves", stolen, undefined, { path, scope: EVE })),
      by("ada", pull([partial({ id: "adas", author: ADA })], { path, scope: ADA })),
      by(
        "eve",
        pull(
          [1, 2].map(() => partial({ id: "eves", author: EVE })),
          { path, scope: EVE, to: bind("eves") },
        ),
      ),
    ],
  },
  {
    name: "a row that nobody with a name wrote has no author",
    steps: [
      put("a", adas),
      pull([{ ...(row("a", changesOf(adas)[0]!) as { $partial: Record<string, Json> }).$partial }]),
    ],
  },
  attack(
    "a new document does not enter the scope of another",
    deniedPush("new", chunks(adas), { path, scope: ADA }),
    deniedPush("new", chunks(adas), { path }),
  ),
  attack(
    "a document is not edited from any scope",
    ...[ADA, EVE, ""].map((scope) => deniedPush("adas", chunks(stolen, adas), { path, scope })),
    deniedPush("adas", chunks(stolen, adas), { path }),
  ),
  attack(
    "whether a change is in another's log, or is valid, is not told",
    deniedPush("adas", chunks(adas), { path, scope: EVE }),
    deniedPush("adas", [{ bytes: bytes(new Uint8Array(9)) }], { path, scope: EVE }),
    deniedPush("adas", [], { path, scope: EVE }),
    push([{ id: "adas", changes: [], fields: 1 }], [refused("adas", "notAuthorized")], { path, scope: EVE }),
    // Nor whether a name could be one.
    deniedPush("", [], { path, scope: ADA }),
    deniedPush("x".repeat(129), [], { path, scope: ADA }),
    failing(save("", adas, { path }), denied),
  ),
  attack(
    "parts do not wait in another's scope",
    ...next(adas).flatMap((piece) => [
      deniedPush("adas", [piece], { path, scope: EVE }),
      deniedPush("new", [piece], { path, scope: ADA }),
    ]),
  ),
  attack(
    "the original API does not reach another's scope",
    failing(save("adas", stolen, { path, update: true }), denied),
    failing(save("adas", stolen, { path }), denied),
    failing(save("new", stolen, { path }), denied),
    failing(remove("adas", path), denied),
    failing(remove("nobodys", path), denied),
    failing(pullWhole([], { path }), denied),
    failing(stream(0, 0, path), denied),
  ),
  attack(
    "another's scope and the whole collection are not read",
    failing(pull([], { path, scope: ADA }), denied),
    failing(pull([], { path }), denied),
  ),
  attack(
    "a refused document does not affect the others of its push",
    push(
      [
        { id: "adas", changes: chunks(stolen, adas) },
        { id: "eves", changes: chunks(adas) },
        { id: "adas", changes: chunks(stolen, adas) },
      ],
      [refused("adas", "notAuthorized"), accepted("eves"), refused("adas", "notAuthorized")],
      { path, scope: EVE },
    ),
  ),
  {
    name: "a field that no client may change is not changed, whatever the push says about it",
    steps: [
      begin,
      by(
        "ada",
        push(
          [
            {
              id: "adas",
              changes: chunks(
                edit(adas, 5, (draft) => {
                  draft.score = 100;
                }),
                adas,
              ),
              fields: { title: "mine" },
            },
          ],
          [refused("adas", "notAuthorized")],
          { path, scope: ADA },
        ),
      ),
      end,
      by("ada", put("adas", stolen, adas, { path, scope: ADA })),
    ],
  },
  ownedAttack(
    "another's document is not edited or taken over",
    deniedPush(
      "a",
      edits((draft) => (draft.title = "stolen")),
      { path: owned },
    ),
    deniedPush(
      "a",
      edits((draft) => (draft.owner = EVE)),
      { path: owned },
    ),
    deniedPush(
      "a",
      edits((draft) => (draft.deleted = true)),
      { path: owned },
    ),
    deniedPush(
      "a",
      edits((draft) => delete draft.owner),
      { path: owned },
    ),
  ),
  ownedAttack(
    "a claim about the row does not count",
    claim(
      "a",
      edit(mine, 4, (draft) => (draft.title = "stolen")),
      { owner: EVE },
      mine,
    ),
    claim("new", create(4, { owner: ADA }), { owner: EVE }),
    claim("new", create(4, { title: "nobody's" }), { owner: EVE }),
  ),
  ownedAttack(
    "a new document names its writer",
    deniedPush("new", chunks(create(4, { owner: ADA })), { path: owned }),
    deniedPush("new", chunks(create(4, { title: "nobody's" })), { path: owned }),
    deniedPush("new", chunks(create(4, { owner: [EVE] })), { path: owned }),
  ),
  ownedAttack(
    "the original API asks the same",
    failing(
      save(
        "a",
        edit(mine, 4, (draft) => (draft.title = "stolen")),
        { path: owned, update: true },
      ),
      denied,
    ),
    failing(save("new", create(4, { owner: ADA }), { path: owned }), denied),
    failing(remove("a", owned), denied),
  ),
  {
    name: "another's parts of a new document neither complete a change nor spoil it",
    steps: [
      by(
        "eve",
        push([{ id: "a", changes: [{ ...mines[0], bytes: bytes(new Uint8Array(9)) }] }], [accepted("a")], {
          path: owned,
        }),
      ),
      by("ada", push([{ id: "a", changes: [mines[1]] }], [accepted("a")], { path: owned })),
      by("ada", pull([], { path: owned, to: START })),
      by("ada", push([{ id: "a", changes: [mines[0]] }], [accepted("a")], { path: owned })),
      ownedEnd,
    ],
  },
  ownedAttack(
    "parts do not wait in another's document",
    ...next(mine).map((piece) => deniedPush("a", [piece], { path: owned })),
  ),
  {
    name: "an owner edits, repeats a push, sends parts, and deletes, and does not give a document away",
    steps: [
      ownedBegin,
      ownedBegin,
      by(
        "ada",
        deniedPush(
          "a",
          edits((draft) => (draft.owner = EVE)),
          { path: owned },
        ),
      ),
      ...next(mine).map((piece) =>
        by("ada", push([{ id: "a", changes: [piece] }], [accepted("a")], { path: owned })),
      ),
      by("ada", save("b", create(6, { owner: ADA }), { path: owned })),
      by("ada", remove("a", owned)),
      by("eve", put("c", create(7, { owner: EVE }), undefined, { path: owned })),
    ],
  },
];

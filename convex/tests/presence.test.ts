import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { defineReplicate } from "../src/client/index";
import { peerOf } from "../src/component/presence";
import { PRESENCE_PEERS, PRESENCE_RATE_USUAL, PRESENCE_TTL } from "../src/component/limits";
import { api, components } from "./app/_generated/api";
import { type Backend, backend, inside } from "./backend";

const SECRET = "0123456789abcdef";
const SECOND = 1_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const set = async (t: Backend, value?: string, session = SECRET) =>
  await t.mutation(api.notes.setPresence, { session, ...(value === undefined ? {} : { value }) });
const values = async (t: Backend) =>
  (await t.query(api.notes.listPresence, {})).peers.map(({ value }) => value);
/** Lets time pass, and runs what is due. */
const wait = async (t: Backend, milliseconds: number) => {
  vi.advanceTimersByTime(milliseconds);
  await t.finishInProgressScheduledFunctions();
};
const rows = async (t: Backend) =>
  await inside(t, async (db) => ({
    presence: (await db.query("presence").collect()).length,
    leases: (await db.query("presenceLeases").collect()).length,
    counts: (await db.query("presenceCounts").collect()).map(({ peers }) => peers),
  }));

test("a peer has the name that the Rust client computes", () => {
  expect(peerOf(SECRET)).toBe("d448084c8681203ed237c4b8487f678b");
});

test("a peer that is not heard of goes after its time, and nothing of it is left", async () => {
  const t = backend();
  expect(await set(t, "1")).toEqual({ peer: peerOf(SECRET), rate: PRESENCE_RATE_USUAL, ttl: PRESENCE_TTL });
  await wait(t, PRESENCE_TTL - 1);
  expect(await values(t)).toEqual(["1"]);
  await wait(t, 2);
  expect(await values(t)).toEqual([]);
  expect(await rows(t)).toEqual({ presence: 0, leases: 0, counts: [] });
});

test("the same value again keeps a peer, and does not write the row that readers read", async () => {
  const t = backend();
  await set(t, "1");
  const row = async () => await inside(t, async (db) => await db.query("presence").first());
  const before = await row();
  for (let passed = 0; passed < 4 * PRESENCE_TTL; passed += PRESENCE_TTL / 3) {
    await wait(t, PRESENCE_TTL / 3);
    await set(t, "1");
  }
  expect(await values(t)).toEqual(["1"]);
  expect(await row()).toEqual(before);
  await wait(t, PRESENCE_TTL + 1);
  await wait(t, PRESENCE_TTL + 1);
  expect(await values(t)).toEqual([]);
});

test("a peer that left is gone at once, and its schedule does not remove it when it has come back", async () => {
  const t = backend();
  await set(t, "1");
  await wait(t, PRESENCE_TTL / 2);
  await set(t);
  expect(await rows(t)).toEqual({ presence: 0, leases: 0, counts: [] });
  await set(t, "2");
  await wait(t, PRESENCE_TTL / 2 + 1);
  expect(await values(t)).toEqual(["2"]);
});

test("a peer shows at most its rate, after a burst", async () => {
  const t = backend();
  let shown = 0;
  // A hundred values in ten seconds.
  for (let n = 0; n < 100; n += 1) {
    try {
      await set(t, String(n));
      shown += 1;
    } catch (error) {
      expect(error).toMatchObject({ data: { code: "tooOften", limit: PRESENCE_RATE_USUAL } });
    }
    vi.advanceTimersByTime(SECOND / 10);
  }
  expect(shown).toBeGreaterThanOrEqual(10 * PRESENCE_RATE_USUAL);
  expect(shown).toBeLessThanOrEqual(11 * PRESENCE_RATE_USUAL + 1);
});

test("a full area refuses others, and not those who are in it", async () => {
  const t = backend();
  const secret = (n: number) => String(n).padStart(16, "0");
  for (let n = 0; n < PRESENCE_PEERS; n += 1) await set(t, "1", secret(n));
  const full = { data: { code: "areaFull", limit: PRESENCE_PEERS } };
  await expect(set(t, "1", secret(PRESENCE_PEERS))).rejects.toMatchObject(full);
  expect(await rows(t)).toEqual({
    presence: PRESENCE_PEERS,
    leases: PRESENCE_PEERS,
    counts: [PRESENCE_PEERS],
  });
  await set(t, "2", secret(0));
  await set(t, undefined, secret(0));
  await set(t, "1", secret(PRESENCE_PEERS));
});

test("callers have to be signed in where the collection asks for it", async () => {
  const t = backend();
  const shown = { session: SECRET, value: "1" };
  const unauthenticated = { data: { code: "unauthenticated" } };
  await expect(t.mutation(api.members.setPresence, shown)).rejects.toMatchObject(unauthenticated);
  await expect(t.query(api.members.listPresence, {})).rejects.toMatchObject(unauthenticated);
  const ada = t.withIdentity({ tokenIdentifier: "replicate|ada" });
  await ada.mutation(api.members.setPresence, shown);
  const { peers } = await ada.query(api.members.listPresence, {});
  expect(peers).toEqual([{ peer: peerOf(SECRET), user: "replicate|ada", value: "1" }]);
});

test("a rate that cannot be is an error where the collection is defined", () => {
  const define = (presenceRate: number) => () =>
    defineReplicate({ component: components.replicate, table: "notes", public: true, presenceRate });
  for (const rate of [0, -1, 31, NaN]) expect(define(rate)).toThrow("presenceRate");
  define(30)();
});

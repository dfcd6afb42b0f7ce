/** The worst calls, each in a heap as small as on Convex. A call that does not fit ends with an error. */
import { describe, expect, test } from "vitest";
import { appendAlone } from "./alone";
import { type Backend, backend } from "./backend";
import { type Inside, isolated } from "./isolate";
import { type Worst, worst } from "./worst";

describe("within 64 MiB of heap", () => {
  test.each(worst.map((found) => [found.name, found] as const))(
    "%s",
    async (_, found) => {
      const t = backend();
      const args = await prepared(t, found);
      const { result } = await isolated(t as unknown as Inside, found.path, args);
      expect(result).not.toContain("refused");
    },
    120_000,
  );

  test("a function that needs more than it has ends", async () => {
    const t = backend();
    const args = await prepared(
      t,
      worst.find(({ path }) => path === "pages:pullDeltas")!,
    );
    const call = isolated(t as unknown as Inside, "pages:pullDeltas", args, { heapMib: 8 });
    await expect(call).rejects.toMatchObject({ code: "ERR_WORKER_OUT_OF_MEMORY" });
  });
});

/** Fills the log for a call, and returns its arguments. */
async function prepared(t: Backend, { prepare }: Worst) {
  return await prepare(async (id, changes) => await appendAlone(t, [{ id, changes }]));
}

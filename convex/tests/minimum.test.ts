/** The oldest `convex` that the component works with. */
import { afterEach, expect, test, vi } from "vitest";

afterEach(() => {
  vi.doUnmock("convex/values");
  vi.resetModules();
});

test("a convex without commit timestamps is refused, with the version that is needed", async () => {
  vi.resetModules();
  vi.doMock("convex/values", async (original) => {
    const values = await original<typeof import("convex/values")>();
    const { commitTs: _commitTs, ...older } = values.v;
    return { ...values, v: older };
  });
  await expect(import("../src/component/convex.config")).rejects.toThrow(
    "needs the package convex 1.43.0 or newer",
  );
});

test("the present convex is taken", async () => {
  expect((await import("../src/component/convex.config")).default).toBeDefined();
});

import { createContext } from "node:vm";

/** What Convex's default runtime has beside JavaScript, as far as these functions use it. */
export function bareContext() {
  return createContext(
    {
      atob,
      btoa,
      TextEncoder,
      TextDecoder,
      console,
      crypto: {
        randomUUID: () => crypto.randomUUID(),
        getRandomValues: (array: Uint8Array) => crypto.getRandomValues(array),
      },
    },
    // Microtasks run as part of the script: what is not done when it ends would need an event loop.
    { codeGeneration: { strings: false, wasm: true }, microtaskMode: "afterEvaluate" },
  );
}

/**
 * Loads Automerge in Convex's default runtime, which has no Node, no file system and no asynchronous compilation.
 * Automerge's "slim" entry point leaves loading the WASM to its user, but calls `WebAssembly.instantiate`, which needs
 * the event loop. So a synchronous function takes its place while Automerge starts.
 *
 * Loading takes about a hundred milliseconds, so only functions that merge import this.
 */
import * as Automerge from "@automerge/automerge/slim";
import { automergeWasmBase64 } from "@automerge/automerge/automerge.wasm.base64";

let loading: Promise<void> | undefined;

/** The library, ready to use. */
export async function loadAutomerge(): Promise<typeof Automerge> {
  if (!Automerge.isWasmInitialized()) await (loading ??= start());
  return Automerge;
}

async function start(): Promise<void> {
  const text = atob(automergeWasmBase64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);

  const runtime = WebAssembly as { instantiate: unknown };
  const asynchronous = runtime.instantiate;
  runtime.instantiate = (source: BufferSource, imports: WebAssembly.Imports) => {
    const module = new WebAssembly.Module(source);
    return Promise.resolve({ module, instance: new WebAssembly.Instance(module, imports) });
  };
  try {
    await Automerge.initializeWasm(bytes);
  } finally {
    runtime.instantiate = asynchronous;
  }
}

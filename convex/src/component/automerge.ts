/**
 * Automerge, as Convex's default runtime allows it: no Node, no file system, no asynchronous compilation. Its "slim" entry
 * point leaves loading the WASM to us, but asks `WebAssembly.instantiate` for it, which answers from the event loop; so that
 * stands aside for a synchronous one while Automerge starts.
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

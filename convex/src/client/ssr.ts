/** For pages rendered on a server. An entry point of its own, because it imports Automerge's WASM. */
export { type CollectionApi, type HttpClient, loadCollection, type LoadedCollection } from "./load.js";

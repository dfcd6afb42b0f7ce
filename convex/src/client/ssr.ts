/** For pages rendered on a server. Kept apart from the functions' imports, for it brings Automerge's WASM. */
export { type CollectionApi, type HttpClient, loadCollection, type LoadedCollection } from "./load.js";

import { defineComponent } from "convex/server";

/** The CRDT log. An app installs it with `app.use(replicate)`. */
const component = defineComponent("replicate");

export default component;

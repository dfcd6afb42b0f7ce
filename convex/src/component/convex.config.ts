import { defineComponent } from "convex/server";

/** The log of changes. An app installs it with `app.use(replicate)`. */
const component = defineComponent("replicate");

export default component;

import { version } from "convex";
import { defineComponent } from "convex/server";
import { v } from "convex/values";

// The log is in the order of commit timestamps. Without this check, an older package fails in the schema, with words
// that name no version.
if (!("commitTs" in v)) {
  throw new Error(
    `bevy-convex-replicate needs the package convex 1.43.0 or newer; this is ${version}. A self-hosted backend has to be ` +
      "of the release precompiled-2026-07-22-723cd3e or newer.",
  );
}

/** The log of changes. An app installs it with `app.use(replicate)`. */
const component = defineComponent("replicate");

export default component;

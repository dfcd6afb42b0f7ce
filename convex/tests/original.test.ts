/** The original library's client against the real functions. */
import { api } from "./app/_generated/api";
import { testOriginalClient } from "./original/tests";
import { serve } from "./serve";

await testOriginalClient(async () => {
  const { host } = await serve();
  return {
    url: host.url,
    collection: "notes",
    notes: api.notes,
    disconnectAll: () => host.disconnectAll(),
    close: () => host.close(),
  };
}, true);

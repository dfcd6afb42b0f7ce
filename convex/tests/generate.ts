/** Writes the conformance cases: `npm run conformance:generate`. */
import { writeFileSync } from "node:fs";
import { files } from "./conformance/files";

for (const [name, text] of files()) {
  writeFileSync(new URL(`../../tests/conformance/${name}`, import.meta.url), text);
}

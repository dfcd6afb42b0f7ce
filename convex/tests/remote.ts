/** Runs the conformance cases against a backend: `npm run conformance:remote -- http://127.0.0.1:3210`. */
import { readdirSync, readFileSync } from "node:fs";
import type { CaseFile } from "./conformance/cases";
import { newSuffix, remote, runCase } from "./conformance/run";

const url = process.argv[2];
if (url === undefined)
  throw new Error("Say where the backend is: npm run conformance:remote -- http://127.0.0.1:3210");

const directory = new URL("../../tests/conformance/", import.meta.url);
let failed = 0;
let run = 0;
for (const name of readdirSync(directory).filter((file) => file.endsWith(".json"))) {
  const { values = {}, cases } = JSON.parse(readFileSync(new URL(name, directory), "utf8")) as CaseFile;
  for (const found of cases) {
    // A backend that is only known by its URL has no users and rules for these.
    if (found.steps.some((step) => "as" in step)) continue;
    run += 1;
    const suffix = newSuffix();
    const problem = await runCase(found, values, remote(url, suffix), undefined, { url, suffix });
    if (problem === null) continue;
    failed += 1;
    console.log(`${name}: ${found.name}\n    ${problem}`);
  }
}
console.log(`${run} cases, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

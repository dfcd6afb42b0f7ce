import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import componentSchema from "../component/schema";
import { Deployment } from "../host/deployment";
import schema from "./app/schema";
import type { CaseFile } from "./conformance/cases";
import { files } from "./conformance/files";
import { runCase } from "./conformance/run";

const directory = new URL("../../tests/conformance/", import.meta.url);
const modules = import.meta.glob("./app/**/*.ts");
const componentModules = import.meta.glob("../component/**/*.ts");

test("the cases are what the generator makes", () => {
  for (const [name, text] of files()) expect(readFileSync(new URL(name, directory), "utf8"), name).toBe(text);
});

for (const name of readdirSync(directory).filter((file) => file.endsWith(".json"))) {
  const { about, values, cases } = JSON.parse(readFileSync(new URL(name, directory), "utf8")) as CaseFile;
  describe(`${name}: ${about}`, () => {
    test.each(cases.map((found) => [found.name, found] as const))("%s", async (_, found) => {
      const component = { schema: componentSchema, modules: componentModules };
      const deployment = new Deployment({ schema, modules, component });
      expect(await runCase(found, values ?? {}, (...call) => deployment.call(...call))).toBeNull();
    });
  });
}

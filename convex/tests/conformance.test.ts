import { convexToJson, type Value } from "convex/values";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import componentSchema from "../src/component/schema";
import { Deployment } from "../host/deployment";
import { Host } from "../host/server";
import schema from "./app/schema";
import type { CaseFile } from "./conformance/cases";
import { files } from "./conformance/files";
import { type Caller, runCase } from "./conformance/run";

const directory = new URL("../../tests/conformance/", import.meta.url);
const modules = import.meta.glob("./app/**/*.ts");
const componentModules = import.meta.glob("../src/component/**/*.ts");

test("the cases are what the generator makes", () => {
  for (const [name, text] of files()) expect(readFileSync(new URL(name, directory), "utf8"), name).toBe(text);
});

for (const name of readdirSync(directory).filter((file) => file.endsWith(".json"))) {
  const { about, values, cases } = JSON.parse(readFileSync(new URL(name, directory), "utf8")) as CaseFile;
  describe(`${name}: ${about}`, () => {
    test.each(cases.map((found) => [found.name, found] as const))("%s", async (_, found) => {
      const component = { schema: componentSchema, modules: componentModules };
      const deployment = new Deployment({ schema, modules, component });
      const table = async (name: string) => {
        const rows = (await deployment.test.run(
          async (ctx): Promise<unknown> => await ctx.db.query(name).collect(),
        )) as Record<string, Value>[];
        return rows
          .sort((a, b) => (a.id! < b.id! ? -1 : 1))
          .map(({ _id, _creationTime, ...fields }) => convexToJson(fields));
      };
      const isAboutTheWire = found.steps.some(({ call }) => call === "http" || call === "sync");
      const host = isAboutTheWire ? await Host.listen(deployment) : null;
      const wire = host === null ? undefined : { url: host.url, suffix: "" };
      try {
        const call: Caller = async (kind, path, args, user) =>
          await deployment.call(
            kind,
            path,
            args,
            user === undefined ? null : { issuer: "replicate", subject: user },
          );
        expect(await runCase(found, values ?? {}, call, table, wire)).toBeNull();
      } finally {
        await host?.close();
      }
    });
  });
}

/** The test app behind the host, for one test. */
import componentSchema from "../src/component/schema";
import { Deployment } from "../host/deployment";
import { Host } from "../host/server";
import schema from "./app/schema";

const modules = import.meta.glob("./app/**/*.ts");
const componentModules = import.meta.glob("../src/component/**/*.ts");

export async function serve(): Promise<{ host: Host; deployment: Deployment }> {
  const component = { schema: componentSchema, modules: componentModules };
  const deployment = new Deployment({ schema, modules, component });
  return { host: await Host.listen(deployment), deployment };
}

/** Waits until a condition holds. */
export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    const found = look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never happened: ${what}`);
}

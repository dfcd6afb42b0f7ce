/** A deployment of the test app for one test: its functions, and the component behind them. */
import { convexTest } from "convex-test";
import componentSchema from "../component/schema";
import schema from "./app/schema";

const modules = import.meta.glob("./app/**/*.ts");
const componentModules = import.meta.glob("../component/**/*.ts");

export function backend() {
  const test = convexTest({ schema, modules, transactionLimits: true });
  test.registerComponent("replicate", componentSchema, componentModules);
  return test;
}

export type Backend = ReturnType<typeof backend>;

import { defineConfig } from "vitest/config";
import config from "./vitest.config";

/** Tests that need a backend which runs already. */
export default defineConfig({ test: { ...config.test, include: ["tests/served.ts"] } });

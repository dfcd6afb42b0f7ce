import { defineConfig } from "vitest/config";
import config from "./vitest.config";

/** Tests that need Chromium, and the programs of this repository's Rust crate. */
export default defineConfig({ test: { ...config.test, include: ["tests/browser/*.browser.ts"] } });

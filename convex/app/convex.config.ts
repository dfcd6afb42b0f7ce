import { defineApp } from "convex/server";
import replicate from "../src/component/convex.config.js";

const app = defineApp();
app.use(replicate);

export default app;

import replicate from "bevy-convex-replicate/convex.config";
import { defineApp } from "convex/server";

const app = defineApp();
app.use(replicate);

export default app;

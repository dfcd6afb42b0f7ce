import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.daily("prune tasks", { hourUTC: 3, minuteUTC: 0 }, internal.tasks.prune, {});

export default crons;

import { cronJobs } from "convex/server";
import { internal } from "./_generated/api.js";

const crons = cronJobs();

// Documents deleted longer ago than the retention, once a day.
crons.daily("prune cards", { hourUTC: 3, minuteUTC: 10 }, internal.cards.prune, {});
crons.daily("prune columns", { hourUTC: 3, minuteUTC: 20 }, internal.columns.prune, {});
crons.daily("prune people", { hourUTC: 3, minuteUTC: 30 }, internal.people.prune, {});

export default crons;

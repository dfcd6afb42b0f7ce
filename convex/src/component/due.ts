/** Whether scheduled functions are still to run. */
import { SCHEDULED_LATE } from "./limits.js";

/** Whether a function that was scheduled for `due` will still run. Both are milliseconds. */
export function isComing(due: number | undefined, now: number): boolean {
  return due !== undefined && due > now - SCHEDULED_LATE;
}

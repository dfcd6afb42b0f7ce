import type { CaseFile } from "./cases";
import { originals, refusals } from "./original";
import { forgeries } from "./forged";
import { https } from "./http";
import { histories } from "./history";
import { large } from "./large";
import { parts, values } from "./parts";
import { presences, presenceSync } from "./presence";
import { pulls } from "./pull";
import { pushes } from "./push";
import { rights } from "./rights";
import { rows } from "./rows";
import { syncs } from "./sync";

/** The case files by name, as they are checked in. */
export function files(): Map<string, string> {
  const all: Record<string, CaseFile> = {
    "push.json": {
      about: "pushChanges: what enters the log, and what is refused",
      values,
      cases: [...pushes, ...histories, ...parts, ...forgeries, ...rows],
    },
    "pull.json": { about: "pullDeltas: order, pages, scopes and checkpoints", cases: pulls },
    "original.json": {
      about: "The functions of convex-replicate 0.2, and both ways of writing together",
      cases: [...originals, ...large],
    },
    "rights.json": { about: "Rules: what users may read and write", cases: rights },
    "presence.json": {
      about: "setPresence and listPresence: what connected apps show each other",
      cases: [...presences, presenceSync],
    },
    "http.json": { about: "Convex's HTTP API: routes, formats, statuses and codes", cases: https },
    "sync.json": { about: "Convex's sync protocol: transitions, and mutations sent again", cases: syncs },
    "arguments.json": { about: "Calls with the wrong arguments, or to the wrong function", cases: refusals },
  };
  return new Map(Object.entries(all).map(([name, file]) => [name, print(file)]));
}

/** One line per step: long, but a difference shows where it is. */
function print({ about, values = {}, cases }: CaseFile): string {
  const printed = cases.map(({ name, steps }) => {
    const lines = steps.map((step) => `        ${JSON.stringify(step)}`);
    return `    {\n      "name": ${JSON.stringify(name)},\n      "steps": [\n${lines.join(",\n")}\n      ]\n    }`;
  });
  const shared = Object.entries(values)
    .map(([name, value]) => `\n    ${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join(",");
  return `{\n  "about": ${JSON.stringify(about)},\n  "values": {${shared}},\n  "cases": [\n${printed.join(",\n")}\n  ]\n}\n`;
}

/** Patterns of conformance cases. */
import * as Automerge from "@automerge/automerge";
import { convexToJson, type JSONValue } from "convex/values";
import { materialize } from "../../src/component/materialize";

export type Bindings = Map<string, JSONValue>;

type JsonObject = { [key: string]: JSONValue };

/** `args` with the values that earlier patterns bound, in place of their names. */
export function fill(args: JSONValue, bindings: Bindings): JSONValue {
  if (Array.isArray(args)) return args.map((item) => fill(item, bindings));
  if (!isObject(args)) return args;
  if (typeof args.$use === "string") {
    const value = bindings.get(args.$use);
    if (value === undefined) throw new Error(`nothing is bound to ${args.$use}`);
    return value;
  }
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, fill(value, bindings)]));
}

/** The first place at which a value does not match its pattern, or null. */
export function mismatch(
  pattern: JSONValue,
  value: JSONValue,
  bindings: Bindings,
  path = "$",
): string | null {
  if (isObject(pattern)) {
    if (typeof pattern.$bind === "string") {
      const bound = bindings.get(pattern.$bind);
      if (bound === undefined) bindings.set(pattern.$bind, value);
      return bound === undefined ? null : mismatch(bound, value, bindings, path);
    }
    if (typeof pattern.$any === "string") {
      return typeOf(value) === pattern.$any ? null : `${path} is a ${typeOf(value)}, not a ${pattern.$any}`;
    }
    if (isObject(pattern.$partial)) return fields(pattern.$partial, value, bindings, path, false);
    if (isObject(pattern.$document)) {
      if (!isObject(value) || typeof value.$bytes !== "string") return `${path} is not bytes`;
      const doc = Automerge.load<Record<string, unknown>>(Buffer.from(value.$bytes, "base64"));
      return mismatch(
        pattern.$document,
        convexToJson(materialize(Automerge.toJS(doc)).fields),
        bindings,
        `${path}(opened)`,
      );
    }
    return fields(pattern, value, bindings, path, true);
  }
  if (Array.isArray(pattern)) {
    if (!Array.isArray(value)) return `${path} is not a list`;
    if (value.length !== pattern.length) return `${path} has ${value.length} elements, not ${pattern.length}`;
    for (const [i, item] of pattern.entries()) {
      const found = mismatch(item, value[i]!, bindings, `${path}[${i}]`);
      if (found !== null) return found;
    }
    return null;
  }
  return pattern === value ? null : `${path} is ${JSON.stringify(value)}, not ${JSON.stringify(pattern)}`;
}

function fields(
  pattern: JsonObject,
  value: JSONValue,
  bindings: Bindings,
  path: string,
  exact: boolean,
): string | null {
  if (!isObject(value)) return `${path} is ${JSON.stringify(value)}, not an object`;
  const extra = Object.keys(value).find((name) => !(name in pattern));
  if (exact && extra !== undefined) return `${path} has the field ${extra}`;
  for (const [name, part] of Object.entries(pattern)) {
    const field = value[name];
    if (field === undefined) return `${path} lacks the field ${name}`;
    const found = mismatch(part, field, bindings, `${path}.${name}`);
    if (found !== null) return found;
  }
  return null;
}

function typeOf(value: JSONValue): string {
  if (isObject(value) && "$integer" in value) return "integer";
  if (isObject(value) && "$bytes" in value) return "bytes";
  if (isObject(value) && "$float" in value) return "number";
  return typeof value;
}

function isObject(value: JSONValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

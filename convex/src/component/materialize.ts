/**
 * An Automerge document as the row that an app's table holds. The row is a read model: it holds what Convex can store
 * of the document, and names what it lacks in the column `notInRow`. Nothing about a row refuses a change. The embedded
 * backend does the same (`src/backend/log/row.rs`), and docs/wire.md has the table of it.
 */
import { getConvexSize, getDocumentSize, type Value } from "convex/values";
import { Refused } from "./errors.js";
import {
  FIELD_NAME_BYTES,
  LEFT_OUT,
  LEFT_OUT_LETTERS,
  LIST_ELEMENTS,
  OBJECT_FIELDS,
  ROW_BYTES,
  ROW_FIELDS,
  ROW_NESTING,
} from "./limits.js";

/** A document's root fields as plain values, and the names of the places that are left out of them. */
export type Plain = { fields: Record<string, Value>; leftOut: string[] };

/** Root fields that the row holds under a meaning of its own. */
export const RESERVED: ReadonlySet<string> = new Set(["id", "version", "timestamp", "deleted", "notInRow"]);

/** The part of a document that Convex can store. */
export function materialize(document: object): Plain {
  const leftOut: string[] = [];
  const fields: Record<string, Value> = {};
  let count = 0;
  for (const name of Object.keys(document).sort()) {
    const own = RESERVED.has(name);
    const source = (document as Record<string, unknown>)[name];
    if (source === undefined) continue;
    const isColumn = isStorable(name) && !name.startsWith("_");
    const made = isColumn ? value(source, [name], 2, own ? [] : leftOut) : undefined;
    if (made !== undefined && (own || ++count <= ROW_FIELDS)) fields[name] = made;
    else if (!own) leftOut.push(placeName([name]));
  }
  return { fields, leftOut: firstPlaces(leftOut) };
}

/** The refusal of a document whose `fields` are no object. */
export const notFields = new Refused(
  "forbiddenField",
  "`fields` has to be an object: root fields and their new values.",
);

/** Whether a value that a client sent is an object. */
export function isObject(value: unknown): value is object {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof ArrayBuffer)
  );
}

/** The columns of a row that are no fields of its document. */
export type OwnColumns = { id: string; version: number; timestamp: number };

/**
 * The row of a document. The row's own columns win over the document's fields of the same names. If the row would be
 * too large, the largest fields are left out, and of fields of one size the first by name.
 */
export function rowOf({ fields, leftOut }: Plain, own: OwnColumns): Record<string, Value> {
  const { id: _id, version: _version, timestamp: _timestamp, deleted, notInRow: _column, ...rest } = fields;
  const columns = { ...own, ...(deleted === true ? { deleted } : {}) };
  const sizes = Object.entries(rest)
    .map(([name, value]) => ({ name, bytes: name.length + 1 + getConvexSize(value) }))
    .sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
  let bytes = sizes.reduce((sum, field) => sum + field.bytes, 0);
  let places = leftOut;
  for (const field of sizes) {
    if (bytes + getDocumentSize(withPlaces(columns, places)) <= ROW_BYTES) break;
    delete rest[field.name];
    bytes -= field.bytes;
    places = firstPlaces([...places, placeName([field.name])]);
  }
  return withPlaces({ ...rest, ...columns }, places);
}

/** The row with the names of the places that it lacks, if there are any. */
export function withPlaces(row: Record<string, Value>, places: string[]): Record<string, Value> {
  if (places.length === 0) return row;
  const names = firstPlaces(places);
  return { ...row, notInRow: names.length > LEFT_OUT ? [...names.slice(0, LEFT_OUT), ".."] : names };
}

/** The first of these places by name, and one more to show that there are more. */
function firstPlaces(places: string[]): string[] {
  return [...new Set(places)].sort(byLetter).slice(0, LEFT_OUT + 1);
}

/** Whether a row lacks something of its document. */
export function lacksSomething(row: Record<string, unknown>): boolean {
  return row.notInRow !== undefined;
}

type Step = string | number;

function object(source: object, path: Step[], depth: number, leftOut: string[]): Record<string, Value> {
  const plain: Record<string, Value> = {};
  for (const [name, child] of Object.entries(source) as [string, unknown][]) {
    if (child === undefined) continue;
    path.push(name);
    const made = isStorable(name) ? value(child, path, depth + 1, leftOut) : undefined;
    if (made === undefined) leftOut.push(placeName(path));
    else plain[name] = made;
    path.pop();
  }
  return plain;
}

/**
 * Converts a value, which is at `depth` if it is a list or a map. Returns undefined if Convex cannot store it; the
 * caller names it.
 */
function value(source: unknown, path: Step[], depth: number, leftOut: string[]): Value | undefined {
  switch (typeof source) {
    case "string":
    case "boolean":
    case "number":
      return source;
    case "bigint":
      return integer(source);
    case "object":
      break;
    default:
      return undefined;
  }
  if (source === null) return null;
  if (source instanceof Date) return source.getTime();
  if (source instanceof ArrayBuffer) return source;
  if (source instanceof Uint8Array) return new Uint8Array(source).buffer;
  if (Array.isArray(source)) {
    if (depth > ROW_NESTING || source.length > LIST_ELEMENTS) return undefined;
    return source.map((item: unknown, index) => {
      path.push(index);
      const made = value(item, path, depth + 1, leftOut);
      if (made === undefined) leftOut.push(placeName(path));
      path.pop();
      // Null keeps the items after it at their indexes.
      return made ?? null;
    });
  }
  if (!isPlain(source)) return scalarOf(source);
  if (depth > ROW_NESTING || Object.keys(source).filter(isStorable).length > OBJECT_FIELDS) return undefined;
  return object(source, path, depth, leftOut);
}

/** An integer as a float64, or a string of its digits where that would round it. */
function integer(source: bigint): Value {
  const number = Number(source);
  return Number.isSafeInteger(number) ? number : source.toString();
}

/**
 * Whether this is a map, which may have any keys. Automerge represents counters and scalar strings as class instances.
 */
function isPlain(source: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(source);
  return prototype === Object.prototype || prototype === null;
}

/**
 * The marks of Automerge's `Counter` and `ImmutableString`, by which its `isCounter` and `isImmutableString` recognise
 * them too. Importing these functions here would load Automerge for every push.
 */
const COUNTER = Symbol.for("_am_counter");
const IMMUTABLE_STRING = Symbol.for("_am_immutableString");

/** The value of Automerge's `Counter` and `ImmutableString`; undefined for any other class. */
function scalarOf(source: object): Value | undefined {
  if (Object.hasOwn(source, COUNTER)) {
    const { value } = source as { value: unknown };
    return typeof value === "bigint" ? integer(value) : typeof value === "number" ? value : undefined;
  }
  if (Object.hasOwn(source, IMMUTABLE_STRING)) {
    const { val } = source as { val: unknown };
    return typeof val === "string" ? val : undefined;
  }
  return undefined;
}

/**
 * Whether Convex takes a field of this name in a call, and in an object within a row. A root field of a row must not
 * start with `_` either (`is_valid_field_name` in `crates/convex/sync_types/src/identifier.rs` and
 * `DocumentValidationError::SystemField` in `crates/common/src/document.rs` of get-convex/convex-backend).
 */
function isStorable(name: string): boolean {
  return name.length <= FIELD_NAME_BYTES && /^(?!\$)[\x20-\x7e]+$/.test(name);
}

/** A place in a document as JavaScript would write it, cut where it is long. */
export function placeName(path: Step[]): string {
  let name = "";
  for (const step of path) {
    if (typeof step === "number") name += `[${step}]`;
    else if (/^[A-Za-z][A-Za-z0-9_]*$/.test(step)) name += name === "" ? step : `.${step}`;
    else name += `[${JSON.stringify(letters(step, LEFT_OUT_LETTERS))}]`;
    const cut = letters(name, LEFT_OUT_LETTERS);
    if (cut !== name) return `${cut}..`;
  }
  return name;
}

/** The first letters of a text. */
function letters(text: string, count: number): string {
  if (text.length <= count) return text;
  let first = "";
  for (const letter of text) {
    if (count-- === 0) break;
    first += letter;
  }
  return first;
}

/**
 * Compares by Unicode code points, as the embedded backend does. JavaScript's own order compares UTF-16 units, which
 * differs for letters that need two of them.
 */
function byLetter(a: string, b: string): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (left !== right) return Number(isHalf(left)) - Number(isHalf(right)) || left - right;
  }
  return a.length - b.length;
}

/** Whether a unit is half of a letter beyond the first 65,536. */
function isHalf(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

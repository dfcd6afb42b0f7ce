/** An Automerge document as the row that an app's table holds. */
import { getDocumentSize, type Value } from "convex/values";
import { Refused } from "./errors";
import { FIELD_NAME_BYTES, LIST_ELEMENTS, NESTING, OBJECT_FIELDS, ROW_BYTES } from "./limits";

/** Plain values for a document's root fields. Throws `Refused` where Convex could not store them. */
export function materialize(document: object): Record<string, Value> {
  return object(document, "", 1);
}

/** Checks values that a client sent as they would be stored, and makes every number a float64. */
export function plainFields(fields: unknown): Record<string, Value> {
  if (!isObject(fields)) throw notFields;
  return object(fields, "", 1);
}

/** What a document whose `fields` are none is refused with. */
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

/** The row of a document with these root fields: its own meaning of a name wins over the document's. */
export function rowOf(
  fields: Record<string, Value>,
  own: { id: string; version: number; timestamp: number },
): Record<string, Value> {
  const { deleted, ...rest } = fields;
  return { ...rest, ...own, ...(deleted === true ? { deleted } : {}) };
}

/** The fields that Convex adds to a row: `_id` and `_creationTime`. */
const SYSTEM_FIELDS = 2;

/** Checks that a row fits in Convex, with what Convex adds to it. */
export function checkRowSize(row: Record<string, Value>): void {
  const fields = Object.keys(row).length + SYSTEM_FIELDS;
  if (fields > OBJECT_FIELDS) {
    throw new Refused(
      "tooLarge",
      `The row would have ${fields} fields with its own; Convex stores ${OBJECT_FIELDS}.`,
      OBJECT_FIELDS,
    );
  }
  const size = getDocumentSize(row);
  if (size > ROW_BYTES) {
    throw new Refused("tooLarge", `The row would have ${size} bytes; Convex stores ${ROW_BYTES}.`, ROW_BYTES);
  }
}

function object(source: object, path: string, depth: number): Record<string, Value> {
  checkDepth(path, depth);
  const entries = Object.entries(source);
  if (entries.length > OBJECT_FIELDS) {
    throw new Refused(
      "tooLarge",
      `${describe(path)} has ${entries.length} fields; Convex stores ${OBJECT_FIELDS}.`,
      OBJECT_FIELDS,
    );
  }
  const plain: Record<string, Value> = {};
  for (const [name, child] of entries) {
    checkName(name, path);
    const made = value(child, path === "" ? name : `${path}.${name}`, depth + 1);
    if (made !== undefined) plain[name] = made;
  }
  return plain;
}

function value(source: unknown, path: string, depth: number): Value | undefined {
  switch (typeof source) {
    case "string":
    case "boolean":
    case "number":
      return source;
    case "bigint":
      return Number(source);
    case "undefined":
      return undefined;
    case "object":
      break;
    default:
      throw new Refused("invalidChange", `${describe(path)} is a ${typeof source}, which cannot be stored.`);
  }
  if (source === null) return null;
  if (source instanceof Date) return source.getTime();
  if (source instanceof ArrayBuffer) return source;
  if (source instanceof Uint8Array) return new Uint8Array(source).buffer;
  if (Array.isArray(source)) {
    checkDepth(path, depth);
    if (source.length > LIST_ELEMENTS) {
      throw new Refused(
        "tooLarge",
        `${describe(path)} has ${source.length} elements; Convex stores ${LIST_ELEMENTS}.`,
        LIST_ELEMENTS,
      );
    }
    return source.map((item, i) => value(item, `${path}[${i}]`, depth + 1) ?? null);
  }
  // A counter counts, and an immutable string is a string.
  if ("increment" in source && "value" in source && typeof source.value === "number") return source.value;
  if (
    "val" in source &&
    typeof source.val === "string" &&
    Object.getPrototypeOf(source) !== Object.prototype
  ) {
    return source.val;
  }
  return object(source, path, depth);
}

function checkDepth(path: string, depth: number): void {
  if (depth > NESTING) {
    throw new Refused("tooLarge", `${describe(path)} is nested more than ${NESTING} levels deep.`, NESTING);
  }
}

function checkName(name: string, path: string): void {
  if (name === "" || /^[$_]/.test(name) || !/^[\x20-\x7e]*$/.test(name) || name.length > FIELD_NAME_BYTES) {
    throw new Refused(
      "forbiddenField",
      `Convex does not store the field ${JSON.stringify(name)} of ${describe(path)}: a name is printable ASCII, ` +
        `does not start with $ or _, and has 1 to ${FIELD_NAME_BYTES} bytes.`,
    );
  }
}

function describe(path: string): string {
  return path === "" ? "the document" : `\`${path}\``;
}

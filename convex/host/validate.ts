/** Checks arguments as Convex does, with its error texts. `convex-test` checks them too, but with shorter texts. */
import { compareValues, convexToJson, type ValidatorJSON, type Value } from "convex/values";

/** Throws Convex's `ArgumentValidationError` if `args` do not match. */
export function validateArgs(validator: ValidatorJSON, args: Value): void {
  const problem = check(validator, args, "");
  if (problem !== null) throw new ArgumentValidationError(`ArgumentValidationError: ${problem}`);
}

/** Arguments of the wrong shape. */
export class ArgumentValidationError extends Error {}

/** The first mismatch, or null. Fields are checked in the order of their names, as Convex does. */
function check(validator: ValidatorJSON, value: Value | undefined, path: string): string | null {
  if (value === undefined) return mismatch(validator, null, path);
  switch (validator.type) {
    case "any":
      return null;
    case "object":
      return checkObject(validator, value, path);
    case "array": {
      if (!Array.isArray(value)) return mismatch(validator, value, path);
      for (const [i, item] of value.entries()) {
        const problem = check(validator.value, item, `${path}[${i}]`);
        if (problem !== null) return problem;
      }
      return null;
    }
    case "record": {
      if (!isObject(value)) return mismatch(validator, value, path);
      for (const [name, item] of Object.entries(value)) {
        const problem = check(validator.values.fieldType, item, `${path}.${name}`);
        if (problem !== null) return problem;
      }
      return null;
    }
    case "union":
      return validator.value.some((option) => check(option, value, path) === null)
        ? null
        : mismatch(validator, value, path);
    case "literal":
      return compareValues(validator.value, value) === 0 ? null : mismatch(validator, value, path);
    default:
      return kindOf(value) === SCALARS[validator.type] ? null : mismatch(validator, value, path);
  }
}

/** The kind of value that each scalar validator accepts. */
const SCALARS: Record<string, string> = {
  null: "null",
  number: "number",
  bigint: "bigint",
  commitTs: "bigint",
  boolean: "boolean",
  string: "string",
  id: "string",
  bytes: "bytes",
};

function checkObject(
  validator: Extract<ValidatorJSON, { type: "object" }>,
  value: Value,
  path: string,
): string | null {
  if (!isObject(value)) return mismatch(validator, value, path);
  const fields = Object.entries(validator.value).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { fieldType, optional }] of fields) {
    const field = value[name];
    if (field === undefined) {
      if (optional) continue;
      return (
        `Object is missing the required field \`${name}\`. Consider wrapping the field validator in ` +
        `\`v.optional(...)\` if this is expected.\n${located(path)}\nObject: ${shown(value)}\nValidator: ${written(validator)}`
      );
    }
    const problem = check(fieldType, field, `${path}.${name}`);
    if (problem !== null) return problem;
  }
  const extra = Object.keys(value).find((name) => !(name in validator.value));
  if (extra === undefined) return null;
  return (
    `Object contains extra field \`${extra}\` that is not in the validator.\n${located(path)}\n` +
    `Object: ${shown(value)}\nValidator: ${written(validator)}`
  );
}

function mismatch(validator: ValidatorJSON, value: Value, path: string): string {
  return `Value does not match validator.\n${located(path)}\nValue: ${shown(value)}\nValidator: ${written(validator)}`;
}

function located(path: string): string {
  return path === "" ? "" : `Path: ${path}`;
}

const SHOWN_CHARACTERS = 1_000;

function shown(value: Value): string {
  const text = JSON.stringify(convexToJson(value));
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}..` : text;
}

/** A validator as it is written in code. */
function written(validator: ValidatorJSON): string {
  switch (validator.type) {
    case "number":
      return "v.float64()";
    case "bigint":
      return "v.int64()";
    case "array":
      return `v.array(${written(validator.value)})`;
    case "union":
      return `v.union(${validator.value.map(written).join(", ")})`;
    case "literal":
      return `v.literal(${JSON.stringify(validator.value)})`;
    case "id":
      return `v.id("${validator.tableName}")`;
    case "record":
      return `v.record(${written(validator.keys)}, ${written(validator.values.fieldType)})`;
    case "object": {
      const fields = Object.entries(validator.value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, { fieldType, optional }]) => {
          const inner = written(fieldType);
          return `${name}: ${optional ? `v.optional(${inner})` : inner}`;
        });
      return `v.object({${fields.join(", ")}})`;
    }
    default:
      return `v.${validator.type}()`;
  }
}

function kindOf(value: Value): string {
  if (value === null) return "null";
  return value instanceof ArrayBuffer ? "bytes" : typeof value;
}

function isObject(value: Value): value is Record<string, Value> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof ArrayBuffer)
  );
}

// What a form needs to know of a function's `inputSchema`: the fields of one object.

export interface Field {
  name: string;
  kind: "text" | "number" | "boolean" | "choice" | "json";
  isInteger: boolean;
  description: string;
  isRequired: boolean;
  choices: string[];
  minimum: number | undefined;
  maximum: number | undefined;
  maxLength: number | undefined;
  /** What the field begins with. */
  first: string;
  /** Whether it begins with an empty text, which is one, too. */
  mayBeEmpty: boolean;
  /** Of JSON what it looks like. */
  example: string;
}

/** What is wrong with the body of a request, and where. */
export interface Wrong {
  pointer: string;
  message: string;
}

export type Schema = Record<string, unknown>;

/** The fields of the object that the schema describes; none where it describes another thing, or names no fields. */
export function fieldsOf(schema: Schema | undefined, input: Record<string, unknown> | undefined): Field[] {
  const properties = schema?.properties;
  if (typeof properties !== "object" || properties === null) return [];
  const required = Array.isArray(schema?.required) ? (schema.required as unknown[]) : [];
  const fields = Object.entries(properties as Record<string, Schema>).map(([name, one]) => {
    const field = fieldOf(name, resolve(one, schema), required.includes(name));
    const given = input && name in input ? input[name] : one.default;
    const first = given === undefined || given === null ? "" : written(field.kind, given);
    return { ...field, first, mayBeEmpty: given === "", example: field.kind === "json" ? exampleOf(one, schema) : "" };
  });
  // What must be there comes first.
  return fields.sort((a, b) => Number(b.isRequired) - Number(a.isRequired));
}

/** A schema that is elsewhere in the same document. */
function resolve(schema: Schema, root: Schema | undefined): Schema {
  const path = typeof schema.$ref === "string" ? schema.$ref : undefined;
  if (!path?.startsWith("#/")) return schema;
  const parts = path.slice(2).split("/");
  const found = parts.reduce<unknown>((at, part) => (at as Schema | undefined)?.[part], root);
  return typeof found === "object" && found !== null ? (found as Schema) : schema;
}

function fieldOf(name: string, schema: Schema, isRequired: boolean): Omit<Field, "first" | "mayBeEmpty" | "example"> {
  const types = [schema.type].flat().filter((type) => type !== "null");
  const type = types.length === 1 ? types[0] : undefined;
  const choices = Array.isArray(schema.enum) ? schema.enum.filter((one) => typeof one === "string") : [];
  const isNumber = type === "number" || type === "integer";
  const kind = choices.length > 0 ? "choice" : isNumber ? "number" : type === "boolean" ? "boolean" : type === "string" ? "text" : "json";
  const number = (key: string) => (typeof schema[key] === "number" ? schema[key] : undefined);
  const description = typeof schema.description === "string" ? schema.description : "";
  const bounds = { minimum: number("minimum"), maximum: number("maximum"), maxLength: number("maxLength") };
  return { name, kind, isInteger: type === "integer", description, isRequired, choices, ...bounds };
}

function written(kind: Field["kind"], value: unknown): string {
  if (kind === "json") return JSON.stringify(value, null, 2);
  return String(value);
}

const DEEP = 6;

/** The example or default that a schema has, else its properties with their types. */
export function exampleOf(schema: Schema, root: Schema | undefined): string {
  const { examples, default: usual } = resolve(schema, root);
  const given = Array.isArray(examples) && examples.length > 0 ? (examples[0] as unknown) : usual;
  const shown = given ?? skeleton(schema, root, DEEP);
  return shown === undefined ? "" : JSON.stringify(shown, null, 2);
}

/** A value that names the types where values would be; nothing, where the schema tells none. */
function skeleton(schema: Schema, root: Schema | undefined, deep: number): unknown {
  const one = resolve(schema, root);
  const { properties, items, enum: choices, const: only } = one;
  if (only !== undefined) return only;
  if (Array.isArray(choices)) return choices[0] as unknown;
  if (isSchema(properties)) {
    if (deep === 0) return {};
    const parts = Object.entries(properties).map(([name, part]) => [name, isSchema(part) ? (skeleton(part, root, deep - 1) ?? null) : null]);
    return Object.fromEntries(parts) as unknown;
  }
  if (isSchema(items)) return deep === 0 ? [] : [skeleton(items, root, deep - 1)].filter((part) => part !== undefined);
  const either = one.anyOf ?? one.oneOf;
  if (Array.isArray(either) && isSchema(either[0])) return deep === 0 ? undefined : skeleton(either[0], root, deep - 1);
  const type = [one.type].flat().find((type) => type !== "null");
  return type === "array" ? [] : type === "object" ? {} : type;
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The input that the fields say, and what is wrong with them. An empty field is left out. */
export function inputOf(fields: Field[], values: Record<string, string>): { input: Record<string, unknown>; wrong: Wrong[] } {
  const [input, wrong]: [Record<string, unknown>, Wrong[]] = [{}, []];
  for (const { name, kind, isRequired, mayBeEmpty } of fields) {
    const value = values[name] ?? "";
    const pointer = pointerTo("input", name);
    if (value === "" && !(kind === "text" && mayBeEmpty)) {
      if (isRequired) wrong.push({ pointer, message: "this is required" });
    } else if (kind === "boolean") input[name] = value === "true";
    else if (kind === "number") input[name] = Number(value);
    else if (kind === "json") {
      const { value: json, why } = parsed(value);
      if (why === undefined) input[name] = json;
      else wrong.push({ pointer, message: why });
    } else input[name] = value;
  }
  return { input, wrong };
}

/** What text says as JSON, or why it says none. */
export function parsed(text: string): { value?: unknown; why?: string } {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { why: `this is not JSON: ${error instanceof Error ? error.message : "it cannot be read"}` };
  }
}

/** What each field shows for an input; or why the fields cannot say that input. */
export function valuesOf(fields: Field[], input: unknown): { values?: Record<string, string>; why?: string } {
  if (!isSchema(input)) return { why: "the fields are those of an object" };
  const strange = Object.keys(input).filter((name) => !fields.some((field) => field.name === name && fits(field, input[name])));
  if (strange.length > 0) return { why: `no field can say this: ${strange.join(", ")}` };
  const values = fields.map(({ name, kind }) => [name, name in input ? written(kind, input[name]) : ""]);
  return { values: Object.fromEntries(values) as Record<string, string> };
}

function fits({ kind, choices }: Field, value: unknown): boolean {
  if (kind === "json") return true;
  if (kind === "choice") return choices.includes(value as string);
  return typeof value === (kind === "text" ? "string" : kind);
}

/** A JSON pointer (RFC 6901). */
export function pointerTo(...parts: string[]): string {
  return parts.map((part) => `/${part.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** What is said of one place: what is wrong with it, and with what is below it. */
export function wrongAt(wrong: Wrong[], pointer: string): string {
  const at = wrong.filter((one) => one.pointer === pointer || one.pointer.startsWith(`${pointer}/`));
  return at.map((one) => (one.pointer === pointer ? one.message : `${one.pointer.slice(pointer.length)}: ${one.message}`)).join("\n");
}

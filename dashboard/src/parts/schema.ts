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
}

type Schema = Record<string, unknown>;

/** The fields of the object that the schema describes; none where it describes another thing, or names no fields. */
export function fieldsOf(schema: Schema | undefined, input: Record<string, unknown> | undefined): Field[] {
  const properties = schema?.properties;
  if (typeof properties !== "object" || properties === null) return [];
  const required = Array.isArray(schema?.required) ? (schema.required as unknown[]) : [];
  const fields = Object.entries(properties as Record<string, Schema>).map(([name, one]) => {
    const field = fieldOf(name, resolve(one, schema), required.includes(name));
    const given = input && name in input ? input[name] : one.default;
    return { ...field, first: given === undefined || given === null ? "" : written(field.kind, given) };
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

function fieldOf(name: string, schema: Schema, isRequired: boolean): Omit<Field, "first"> {
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

/** The input that the fields say. An empty field is left out, unless it is a text that must be there. */
export function inputOf(fields: Field[], values: Record<string, string>): Record<string, unknown> {
  const input: Record<string, unknown> = {};
  for (const { name, kind, isRequired } of fields) {
    const value = values[name] ?? "";
    if (kind === "boolean") {
      if (value !== "") input[name] = value === "true";
    } else if (value === "" && !(isRequired && kind === "text")) continue;
    else if (kind === "number") input[name] = Number(value);
    else if (kind === "json") input[name] = parsed(name, value);
    else input[name] = value;
  }
  return input;
}

function parsed(name: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : "no JSON"}`);
  }
}

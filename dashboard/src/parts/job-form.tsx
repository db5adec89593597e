// A form made from a function's `inputSchema`, that submits a job.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { pathOf, post, Refused, requestKey, wordsOf } from "../api/client";
import type { ComputeFunction, Job } from "../api/types";
import { hrefOf } from "../router";
import { count, seconds, visible } from "../text";
import { Refusal, Text } from "./common";
import { JobFiles, namedOf, send, sendAll, wrongNames } from "./job-files";
import { OPTION_POINTERS, Options, optionsOf, specOf, type JobOptions } from "./job-options";
import { exampleOf, fieldsOf, inputOf, parsed, pointerTo, valuesOf, wrongAt, type Field, type Schema, type Wrong } from "./schema";

interface Properties {
  namespace: string;
  of: ComputeFunction;
  /** A job whose spec it begins with. */
  from: Job | undefined;
}

export function JobForm({ namespace, of, from }: Properties) {
  const { spec, metadata } = of;
  const form = useRef<HTMLFormElement>(null);
  const writing = useInput(spec.inputSchema as Schema | undefined, from?.spec.input);
  const [file, setFile] = useState<File | undefined>();
  const [keptBlob, setKeptBlob] = useState(from?.spec.inputBlob);
  const [files, setFiles] = useState(() => namedOf(from?.spec.files));
  const [options, setOptions] = useState(() => optionsOf(from));
  const [refused, setRefused] = useState<unknown>();
  const [wrong, setWrong] = useState<Wrong[]>([]);
  const [isBusy, setBusy] = useState(false);
  const isWritten = file === undefined && keptBlob === undefined;

  const refuse = (wrong: Wrong[], why?: unknown) => {
    setWrong(wrong);
    setRefused(why);
    setBusy(false);
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    const [input, asked] = [isWritten ? writing.read() : { wrong: [] }, specOf(options)];
    const found = [...unreadable(form.current), ...input.wrong, ...wrongNames(files), ...asked.wrong];
    if (found.length > 0) return refuse(found.filter((one, at) => found.findIndex(({ pointer }) => pointer === one.pointer) === at));
    setBusy(true);
    try {
      const blob = file === undefined ? keptBlob : await send(namespace, file);
      const retryOf = from && { retryOf: from.metadata.name };
      const body = { ...keptOf(from, options), ...retryOf, function: metadata.name, files: await sendAll(namespace, files), ...(blob ? { inputBlob: blob } : { input: input.input }), ...asked.spec };
      // A name makes a request that is sent twice one job, as a key does.
      const answer = await post(pathOf(namespace, "jobs"), body, asked.spec.name ? {} : { "Idempotency-Key": requestKey() });
      const job = (await answer.json()) as Job;
      location.hash = hrefOf(namespace, "jobs", job.metadata.name);
    } catch (error) {
      refuse(wrongOf(error, asked.spec.name !== undefined), error);
    }
  };
  useEffect(() => {
    const first = form.current?.querySelector<HTMLElement>('[aria-invalid="true"]');
    first?.scrollIntoView({ block: "center" });
    first?.focus({ preventScroll: true });
  }, [wrong]);
  const shown = [...OPTION_POINTERS, "/files", ...(isWritten ? writing.pointers : [])];
  return (
    <form class="job-form" ref={form} onSubmit={(event) => void submit(event)} noValidate>
      {from && <From namespace={namespace} job={from} kept={keptOf(from, options)} />}
      {(spec.inputTypes ?? []).length > 0 && <FileField types={spec.inputTypes ?? []} set={setFile} />}
      {file === undefined && keptBlob !== undefined && (
        <p class="field">
          The input of {from?.metadata.name}: <Text>{keptBlob.mediaType}</Text>, {keptBlob.bytes.toLocaleString("en")} bytes{" "}
          <button type="button" class="quiet" onClick={() => setKeptBlob(undefined)}>
            Write another input
          </button>
        </p>
      )}
      {isWritten && <Input writing={writing} wrong={wrong} refuse={refuse} />}
      <JobFiles files={files} set={setFiles} wrong={wrong} />
      <Options namespace={namespace} options={options} set={setOptions} function={spec} wrong={wrong} />
      <Refusal>{restOf(refused, wrong, shown)}</Refusal>
      <button type="submit" class="primary" disabled={isBusy}>
        {isBusy ? "Submitting" : "Submit"}
      </button>
    </form>
  );
}

/** What a refusal says is wrong. A conflict is about the name, where the job has one. */
function wrongOf(error: unknown, isNamed: boolean): Wrong[] {
  if (!(error instanceof Refused)) return [];
  const { problems = [], detail } = error.problem;
  if (isNamed && error.status === 409 && problems.length === 0) return [{ pointer: "/name", message: detail ?? "this name is taken" }];
  return problems;
}

/** What was refused and no field shows. */
function restOf(refused: unknown, wrong: Wrong[], shown: string[]): string | undefined {
  if (refused === undefined) return undefined;
  const rest = wrong.filter(({ pointer }) => !shown.some((place) => pointer === place || pointer.startsWith(`${place}/`)));
  if (wrong.length === 0 || rest.length === wrong.length) return wordsOf(refused);
  return rest.map(({ pointer, message }) => `${pointer}: ${message}`).join("\n") || undefined;
}

/** What the browser cannot read as a number, and so has no value. */
function unreadable(form: HTMLFormElement | null): Wrong[] {
  const fields = [...(form?.elements ?? [])].filter((field): field is HTMLInputElement => field instanceof HTMLInputElement);
  return fields.filter((field) => field.validity.badInput).map((field) => ({ pointer: field.name, message: "this is not a number" }));
}

/** The input as it is written: by fields, or as JSON. */
function useInput(schema: Schema | undefined, given: Record<string, unknown> | undefined) {
  const fields = useMemo(() => fieldsOf(schema, given), [schema, given]);
  const [values, setValues] = useState(() => Object.fromEntries(fields.map(({ name, first }) => [name, first])));
  const [raw, setRaw] = useState(() => JSON.stringify(given ?? {}, null, 2));
  const [isRaw, setIsRaw] = useState(fields.length === 0);
  const read = (): { input?: unknown; wrong: Wrong[] } => {
    if (!isRaw) return inputOf(fields, values);
    const { value, why } = parsed(raw);
    return { input: value, wrong: why === undefined ? [] : [{ pointer: "/input", message: why }] };
  };
  const toRaw = () => {
    const { input, wrong } = inputOf(fields, values);
    // What is empty is no hindrance: it can be written there.
    const broken = wrong.filter(({ pointer }) => fields.some(({ name }) => pointer === pointerTo("input", name) && values[name]));
    if (broken.length > 0) return broken;
    setRaw(JSON.stringify(input, null, 2));
    setIsRaw(true);
    return [];
  };
  const toFields = () => {
    const { value, why } = parsed(raw);
    const found = why === undefined ? valuesOf(fields, value) : { why };
    if (!found.values) return [{ pointer: "/input", message: found.why ?? "" }];
    setValues(found.values);
    setIsRaw(false);
    return [];
  };
  const example = fields.length === 0 && schema ? exampleOf(schema, schema) : "";
  const pointers = isRaw ? ["/input"] : fields.map(({ name }) => pointerTo("input", name));
  return { fields, values, setValues, raw, setRaw, isRaw, read, toRaw, toFields, example, pointers };
}

interface InputProperties {
  writing: ReturnType<typeof useInput>;
  wrong: Wrong[];
  refuse: (wrong: Wrong[]) => void;
}

function Input({ writing, wrong, refuse }: InputProperties) {
  const { fields, values, setValues, raw, setRaw, isRaw } = writing;
  if (!isRaw) {
    return (
      <>
        {fields.map((field) => (
          <InputField
            key={field.name}
            field={field}
            value={values[field.name] ?? ""}
            set={(value) => setValues({ ...values, [field.name]: value })}
            wrong={wrongAt(wrong, pointerTo("input", field.name))}
          />
        ))}
        <button type="button" onClick={() => refuse(writing.toRaw())}>
          Write it as JSON
        </button>
      </>
    );
  }
  const why = wrongAt(wrong, "/input");
  return (
    <>
      <div class="field">
        <label for="input">Input, as JSON</label>
        <textarea
          id="input"
          rows={12}
          spellcheck={false}
          value={raw}
          aria-invalid={why !== ""}
          aria-describedby="input-about"
          onInput={(event) => setRaw(event.currentTarget.value)}
        />
        <div id="input-about">
          <Example>{writing.example}</Example>
          <Refusal>{why || undefined}</Refusal>
        </div>
      </div>
      {fields.length > 0 && (
        <button type="button" onClick={() => refuse(writing.toFields())}>
          Write it in fields
        </button>
      )}
    </>
  );
}

const EXAMPLE_LINES = 24;

/** What JSON of a field looks like. */
function Example({ children }: { children: string }) {
  if (!children) return null;
  const lines = children.split("\n");
  const shown = lines.length > EXAMPLE_LINES ? [...lines.slice(0, EXAMPLE_LINES), "…"] : lines;
  return (
    <pre class="example muted text">
      <Text>{`Such as ${shown.join("\n")}`}</Text>
    </pre>
  );
}

function FileField({ types, set }: { types: string[]; set: (file: File | undefined) => void }) {
  return (
    <label class="field">
      <span>Input from a file</span>
      <input type="file" accept={types.includes("*/*") ? undefined : types.join()} onChange={(event) => set(event.currentTarget.files?.[0])} />
      <small class="muted">
        <Text>{types.join(", ")}</Text>
      </small>
    </label>
  );
}

interface FieldProperties {
  field: Field;
  value: string;
  set: (value: string) => void;
  wrong: string;
}

function InputField({ field, value, set, wrong }: FieldProperties) {
  const { name, kind, description, isRequired } = field;
  const id = `field-${name}`;
  const common = { id, name: pointerTo("input", name), "aria-describedby": `${id}-about`, "aria-invalid": wrong !== "", required: isRequired };
  const typed = (event: Event & { currentTarget: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement }) => set(event.currentTarget.value);
  return (
    <div class="field">
      <label for={id}>
        <Text>{name}</Text>
        {isRequired && <span class="muted"> required</span>}
      </label>
      {kind === "choice" || kind === "boolean" ? (
        <select {...common} value={value} onChange={typed}>
          {!(isRequired && value) && <option value="">–</option>}
          {(kind === "boolean" ? ["true", "false"] : field.choices).map((choice) => (
            <option key={choice} value={choice}>
              {visible(choice)}
            </option>
          ))}
        </select>
      ) : kind === "number" ? (
        <input {...common} type="number" step={field.isInteger ? 1 : "any"} min={field.minimum} max={field.maximum} value={value} onInput={typed} />
      ) : (
        <textarea {...common} rows={kind === "json" ? 6 : Math.min(8, value.split("\n").length)} maxLength={field.maxLength} spellcheck={kind === "text"} value={value} onInput={typed} />
      )}
      <div id={`${id}-about`}>
        <small class="muted">
          {kind === "json" && "JSON. "}
          <Text>{description}</Text>
          {field.minimum !== undefined && field.maximum !== undefined && ` · from ${field.minimum} to ${field.maximum}`}
        </small>
        <Example>{field.example}</Example>
        <Refusal>{wrong || undefined}</Refusal>
      </div>
    </div>
  );
}

/** Which job the form begins with, and what is sent of it that no field shows. */
function From({ namespace, job, kept }: { namespace: string; job: Job; kept: Kept }) {
  const { name } = job.metadata;
  const told = [
    kept.retries !== undefined && `retries ${kept.retries}`,
    kept.timeoutSeconds !== undefined && `timeout ${seconds(kept.timeoutSeconds)}`,
    kept.minParallelism !== undefined && `at least ${count(kept.minParallelism, "CPU")}`,
    kept.ttlSecondsAfterFinished !== undefined && `deleted ${seconds(kept.ttlSecondsAfterFinished)} after its end`,
  ].filter(Boolean);
  return (
    <p class="from">
      from{" "}
      <a href={hrefOf(namespace, "jobs", name)}>
        <Text>{name}</Text>
      </a>
      {told.length > 0 && <span class="muted">, with its {told.join(", ")}</span>}
    </p>
  );
}

type Kept = Partial<Pick<Job["spec"], "retries" | "timeoutSeconds" | "minParallelism" | "ttlSecondsAfterFinished">>;

/** What a job that is submitted once more keeps of its spec, beside what the form shows. */
function keptOf(from: Job | undefined, { parallelism }: JobOptions): Kept {
  if (from === undefined) return {};
  const { retries, timeoutSeconds, minParallelism, ttlSecondsAfterFinished } = from.spec;
  const isBelow = minParallelism !== undefined && minParallelism <= Number(parallelism);
  return {
    ...(retries !== undefined && { retries }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(isBelow && { minParallelism }),
    ttlSecondsAfterFinished,
  };
}

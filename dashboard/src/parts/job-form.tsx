// A form made from a function's `inputSchema`, that submits a job.
import { useMemo, useState } from "preact/hooks";
import { ask, pathOf, post, Refused, requestKey, wordsOf } from "../api/client";
import type { BlobRef, ComputeFunction, Job } from "../api/types";
import { hrefOf } from "../router";
import { visible } from "../text";
import { Refusal, Text } from "./common";
import { fieldsOf, inputOf, type Field } from "./schema";

interface Properties {
  namespace: string;
  of: ComputeFunction;
  /** A job whose spec it begins with. */
  from: Job | undefined;
}

export function JobForm({ namespace, of, from }: Properties) {
  const { spec, metadata } = of;
  const fields = useMemo(() => fieldsOf(spec.inputSchema as Record<string, unknown> | undefined, from?.spec.input), [of, from]);
  const [values, setValues] = useState(() => Object.fromEntries(fields.map(({ name, first }) => [name, first])));
  const [raw, setRaw] = useState(() => JSON.stringify(from?.spec.input ?? {}, null, 2));
  const [isRaw, setIsRaw] = useState(fields.length === 0);
  const [file, setFile] = useState<File | undefined>();
  const [keptBlob, setKeptBlob] = useState(from?.spec.inputBlob);
  const [files, setFiles] = useState(from?.spec.files ?? {});
  const [options, setOptions] = useState(() => optionsOf(from));
  const [refused, setRefused] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const takesFiles = (spec.inputTypes ?? []).length > 0;

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setRefused(undefined);
    try {
      const input = isRaw ? (JSON.parse(raw) as unknown) : inputOf(fields, values);
      const blob = file === undefined ? keptBlob : await send(namespace, file);
      const body = { ...keptOf(from, options), function: metadata.name, files, ...(blob ? { inputBlob: blob } : { input }), ...specOf(options) };
      const answer = await post(pathOf(namespace, "jobs"), body, { "Idempotency-Key": requestKey() });
      const job = (await answer.json()) as Job;
      location.hash = hrefOf(namespace, "jobs", job.metadata.name);
    } catch (error) {
      setRefused(error);
      setBusy(false);
    }
  };
  const problems = refused instanceof Refused ? (refused.problem.problems ?? []) : [];
  const toRaw = () => {
    try {
      setRaw(JSON.stringify(inputOf(fields, values), null, 2));
      setIsRaw(true);
    } catch (error) {
      setRefused(error);
    }
  };
  return (
    <form class="job-form" onSubmit={(event) => void submit(event)} noValidate>
      {takesFiles && <FileField types={spec.inputTypes ?? []} set={setFile} />}
      {file === undefined && keptBlob !== undefined && (
        <p class="field">
          The input of {from?.metadata.name}: <Text>{keptBlob.mediaType}</Text>, {keptBlob.bytes.toLocaleString("en")} bytes{" "}
          <button type="button" class="quiet" onClick={() => setKeptBlob(undefined)}>
            Write another input
          </button>
        </p>
      )}
      {file === undefined &&
        keptBlob === undefined &&
        (isRaw ? (
          <label class="field">
            <span>Input, as JSON</span>
            <textarea rows={12} spellcheck={false} value={raw} onInput={(event) => setRaw(event.currentTarget.value)} />
          </label>
        ) : (
          <>
            {fields.map((field) => (
              <InputField
                key={field.name}
                field={field}
                value={values[field.name] ?? ""}
                set={(value) => setValues({ ...values, [field.name]: value })}
                wrong={problems
                  .filter(({ pointer }) => pointer === `/input/${field.name}` || pointer.startsWith(`/input/${field.name}/`))
                  .map(({ message }) => message)
                  .join("\n")}
              />
            ))}
            <button type="button" class="quiet" onClick={toRaw}>
              Write it as JSON
            </button>
          </>
        ))}
      {Object.entries(files).map(([name, { bytes }]) => (
        <p key={name} class="field">
          File <Text>{name}</Text>, {bytes.toLocaleString("en")} bytes{" "}
          <button type="button" class="quiet" onClick={() => setFiles(Object.fromEntries(Object.entries(files).filter(([other]) => other !== name)))}>
            Leave it out
          </button>
        </p>
      ))}
      <Options options={options} set={setOptions} function={spec} />
      <Refusal>{refused === undefined ? undefined : wordsOf(refused)}</Refusal>
      <button type="submit" class="primary" disabled={isBusy}>
        {isBusy ? "Submitting" : "Submit"}
      </button>
    </form>
  );
}

/** Sends a file, of which the server makes the digest. */
async function send(namespace: string, file: File): Promise<BlobRef> {
  const mediaType = file.type || "application/octet-stream";
  const headers = { "Content-Type": mediaType };
  const answer = await ask(pathOf(namespace, "blobs"), { method: "POST", body: file, headers });
  const { sha256, bytes } = (await answer.json()) as BlobRef;
  return { sha256, bytes, mediaType };
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
  const common = { id, "aria-describedby": `${id}-about`, "aria-invalid": wrong !== "", required: isRequired };
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
      <small class="muted" id={`${id}-about`}>
        {kind === "json" && "JSON. "}
        <Text>{description}</Text>
        {field.minimum !== undefined && field.maximum !== undefined && ` · from ${field.minimum} to ${field.maximum}`}
      </small>
      <Refusal>{wrong || undefined}</Refusal>
    </div>
  );
}

/** What a job that is submitted once more keeps of its spec, beside what the form shows. */
function keptOf(from: Job | undefined, { parallelism }: JobOptions): Record<string, unknown> {
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

interface JobOptions {
  parallelism: string;
  queue: string;
  priority: string;
  labels: string;
}

function optionsOf(from: Job | undefined): JobOptions {
  const { parallelism, queue, priority } = from?.spec ?? {};
  const labels = Object.entries(from?.metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return {
    parallelism: parallelism === undefined ? "" : String(parallelism),
    queue: queue ?? "",
    priority: priority ? String(priority) : "",
    labels: labels.join(" "),
  };
}

/** What the options say of a job's spec. What is wrong with them the server says. */
function specOf({ parallelism, queue, priority, labels }: JobOptions): Record<string, unknown> {
  const pairs = labels.split(/[\s,]+/).filter(Boolean);
  const labelled = pairs.map((pair) => {
    const at = pair.indexOf("=");
    return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  return {
    ...(parallelism && { parallelism: Number(parallelism) }),
    ...(queue && { queue }),
    ...(priority && { priority: Number(priority) }),
    ...(pairs.length > 0 && { labels: Object.fromEntries(labelled) as Record<string, string> }),
  };
}

interface OptionsProperties {
  options: JobOptions;
  set: (options: JobOptions) => void;
  function: ComputeFunction["spec"];
}

function Options({ options, set, function: spec }: OptionsProperties) {
  const fields: [keyof JobOptions, string, string, string][] = [
    ["parallelism", "CPUs", "number", `${spec.parallelism?.default ?? 1}`],
    ["queue", "Queue", "text", "default"],
    ["priority", "Priority", "number", "0"],
    ["labels", "Labels", "text", "team=blue"],
  ];
  return (
    <div class="options">
      {fields.map(([key, title, type, hint]) => (
        <label key={key}>
          <span>{title}</span>
          <input type={type} value={options[key]} placeholder={hint} onInput={(event) => set({ ...options, [key]: event.currentTarget.value })} />
        </label>
      ))}
    </div>
  );
}

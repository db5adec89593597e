// What a form asks of a job beside its input: its name, CPUs, queue, priority and labels.
import { pathOf } from "../api/client";
import type { ComputeFunction, Job, Queue } from "../api/types";
import { useAnswer } from "../live/ask";
import { Refusal } from "./common";
import { wrongAt, type Wrong } from "./schema";

export interface JobOptions {
  name: string;
  parallelism: string;
  queue: string;
  priority: string;
  labels: string;
}

/** Each with its title, its kind, and the places of a job that it is about. */
const OPTIONS: [keyof JobOptions, string, "text" | "number", string[]][] = [
  ["name", "Name", "text", ["/name"]],
  ["parallelism", "CPUs", "number", ["/parallelism", "/minParallelism"]],
  ["queue", "Queue", "text", ["/queue"]],
  ["priority", "Priority", "number", ["/priority"]],
  ["labels", "Labels", "text", ["/labels"]],
];

export const OPTION_POINTERS = OPTIONS.flatMap(([, , , pointers]) => pointers);

/** Those of a job that is submitted once more, but its name, which is taken. */
export function optionsOf(from: Job | undefined): JobOptions {
  const { parallelism, queue, priority } = from?.spec ?? {};
  const labels = Object.entries(from?.metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return {
    name: "",
    parallelism: parallelism === undefined ? "" : String(parallelism),
    queue: queue ?? "",
    priority: priority ? String(priority) : "",
    labels: labels.join(" "),
  };
}

/** What the options say of a job, and what is wrong with its labels. All else the server says. */
export function specOf({ name, parallelism, queue, priority, labels }: JobOptions): { spec: Record<string, unknown>; wrong: Wrong[] } {
  const pairs = labels.split(/[\s,]+/).filter(Boolean);
  const isPair = (pair: string) => pair.indexOf("=") > 0 && !pair.endsWith("=");
  const wrong = pairs.filter((pair) => !isPair(pair)).map((pair) => ({ pointer: "/labels", message: `"${pair}" is no label: write name=value` }));
  const labelled = pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]);
  const spec = {
    ...(name.trim() && { name: name.trim() }),
    ...(parallelism && { parallelism: Number(parallelism) }),
    ...(queue.trim() && { queue: queue.trim() }),
    ...(priority && { priority: Number(priority) }),
    ...(pairs.length > 0 && { labels: Object.fromEntries(labelled) as Record<string, string> }),
  };
  return { spec, wrong };
}

interface Properties {
  namespace: string;
  options: JobOptions;
  set: (options: JobOptions) => void;
  function: ComputeFunction["spec"];
  wrong: Wrong[];
}

export function Options({ namespace, options, set, function: spec, wrong }: Properties) {
  const queues = useAnswer<{ items: Queue[] }>(pathOf(namespace, "queues")).value?.items.map(({ metadata }) => metadata.name);
  const hints = { name: "by the server", parallelism: `${spec.parallelism?.default ?? 1}`, queue: "default", priority: "0", labels: "team=blue" };
  const queue = options.queue.trim();
  const isNoQueue = queue !== "" && queue !== "default" && queues !== undefined && !queues.includes(queue);
  return (
    <div class="options">
      {OPTIONS.map(([key, title, type, pointers]) => {
        const why = pointers.map((pointer, at) => told(wrongAt(wrong, pointer), at)).filter(Boolean).join("\n");
        const id = `option-${key}`;
        return (
          <div class="option" key={key}>
            <label for={id}>{title}</label>
            <input
              id={id}
              name={pointers[0]}
              type={type}
              list={key === "queue" ? "queues" : undefined}
              value={options[key]}
              placeholder={hints[key]}
              aria-invalid={why !== ""}
              aria-describedby={`${id}-about`}
              onInput={(event) => set({ ...options, [key]: event.currentTarget.value })}
            />
            <div id={`${id}-about`}>
              {key === "queue" && isNoQueue && <small class="muted">There is no such queue here now: the job would wait for it.</small>}
              <Refusal>{why || undefined}</Refusal>
            </div>
          </div>
        );
      })}
      <datalist id="queues">
        {queues?.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </div>
  );
}

/** The second place of an option is its minimum. */
function told(why: string, at: number): string {
  return at > 0 && why !== "" ? `At least: ${why}` : why;
}

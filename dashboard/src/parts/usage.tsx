// How many CPUs and how much memory a job uses, over its time.
import { pathOf } from "../api/client";
import { isFinished, type Job, type UsageOverTime } from "../api/types";
import { useAnswer } from "../live/ask";
import { bytes, seconds } from "../text";

const AGAIN_MS = 2000;
const WIDTH = 600;
const HEIGHT = 56;

export function Usage({ namespace, job }: { namespace: string; job: Job }) {
  const isOver = isFinished(job.status.phase);
  const path = pathOf(namespace, "jobs", job.metadata.name, "usage");
  const { value } = useAnswer<UsageOverTime>(path, isOver ? undefined : AGAIN_MS);
  const samples = value?.samples ?? [];
  if (!value || samples.length === 0) return null;
  const length = seconds(samples.length * value.intervalSeconds);
  const [cpus, memory] = [samples.map((sample) => sample.cpus), samples.map((sample) => sample.memoryBytes)];
  const [granted, peak] = [value.granted ?? 1, Math.max(...memory)];
  const mean = cpus.reduce((sum, value) => sum + value, 0) / cpus.length;
  const top = Math.max(granted, ...cpus);
  const told = `${mean.toFixed(1)} of ${granted} CPUs in use on average`;
  return (
    <section aria-label="CPUs and memory">
      <h2>CPUs and memory</h2>
      <p>
        {told} in {length} of attempt {value.attempt}; the line is what was granted.
      </p>
      <Area values={cpus} top={top} line={granted} label={told} />
      <p>At most {bytes(peak)} of memory at a sample.</p>
      <Area values={memory} top={Math.max(peak, 1)} label={`At most ${bytes(peak)} of memory`} />
    </section>
  );
}

/** Values from left to right, and what they are held against. */
function Area({ values, top, line, label }: { values: number[]; top: number; line?: number; label: string }) {
  const heightOf = (value: number) => HEIGHT - 1 - (value / top) * (HEIGHT - 2);
  const width = WIDTH / values.length;
  const steps = values.map((value, at) => `L${at * width},${heightOf(value)}H${(at + 1) * width}`).join("");
  return (
    <svg class="history" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="is-used" d={`M0,${HEIGHT}${steps}V${HEIGHT}Z`} />
      {line !== undefined && <path class="is-granted" d={`M0,${heightOf(line)}H${WIDTH}`} />}
    </svg>
  );
}

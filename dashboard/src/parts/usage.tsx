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
      <Area values={cpus} top={top} words={(value) => `${Number(value.toFixed(1))}`} line={granted} label={told} />
      <p>At most {bytes(peak)} of memory at a sample.</p>
      <Area values={memory} top={Math.max(peak, 1)} words={bytes} label={`At most ${bytes(peak)} of memory`} />
    </section>
  );
}

interface AreaProperties {
  values: number[];
  /** The value at the upper edge. */
  top: number;
  words: (value: number) => string;
  line?: number;
  label: string;
}

/** Values from left to right with their scale, and what they are held against. */
function Area({ values, top, words, line, label }: AreaProperties) {
  const heightOf = (value: number) => HEIGHT - 1 - (value / top) * (HEIGHT - 2);
  const width = WIDTH / values.length;
  const steps = values.map((value, at) => `L${at * width},${heightOf(value)}H${(at + 1) * width}`).join("");
  return (
    <div class="scaled">
      <div class="scale" aria-hidden="true">
        <span>{words(top)}</span>
        <span>0</span>
      </div>
      <svg class="history" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
        <path class="is-used" d={`M0,${HEIGHT}${steps}V${HEIGHT}Z`} />
        {line !== undefined && <path class="is-granted" d={`M0,${heightOf(line)}H${WIDTH}`} />}
      </svg>
    </div>
  );
}

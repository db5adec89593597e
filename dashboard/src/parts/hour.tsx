// How the last hour of a function was, of the jobs that the page has.
import { useMemo } from "preact/hooks";
import type { Row } from "../live/jobs";
import { histogram, lastHour, quantile, type Bar } from "../live/statistics";
import { now, useStore } from "../store";
import { count, seconds, span } from "../text";
import { Axis, InWords } from "./chart";

const AGAIN_MS = 5000;
const MINUTE_MS = 60_000;

export function LastHour({ rows }: { rows: Row[] }) {
  const current = useStore(now);
  const hour = useMemo(() => lastHour(rows, current), [rows, Math.floor(current / AGAIN_MS)]);
  return (
    <section aria-label="The last hour">
      <h2>The last hour</h2>
      <p>
        {count(hour.finished, "job")} ended
        {hour.failed > 0 && <span class="bad">, {hour.failed} failed</span>}
      </p>
      {hour.finished > 0 && <Bars bars={hour.bars} />}
      <Spread sorted={hour.runs} />
      {hour.runs.length > 1 && <Times sorted={hour.runs} />}
    </section>
  );
}

function Spread({ sorted }: { sorted: number[] }) {
  const [half, most] = [quantile(sorted, 0.5), quantile(sorted, 0.95)];
  if (half === undefined || most === undefined) return null;
  return (
    <p>
      Half ran at most {seconds(half)}, 95 % at most {seconds(most)}.
    </p>
  );
}

/** How many ended in each minute. */
function Bars({ bars }: { bars: Bar[] }) {
  const most = Math.max(1, ...bars.map((bar) => bar.succeeded + bar.failed));
  const all = bars.reduce((sum, bar) => sum + bar.succeeded + bar.failed, 0);
  const [first, last] = [bars[0]?.from ?? 0, (bars.at(-1)?.from ?? 0) + MINUTE_MS];
  const told = (bar: Bar) => `${span(bar.from, bar.from + MINUTE_MS)}: ${bar.succeeded + bar.failed} ended, ${bar.failed} failed`;
  return (
    <>
      <div class="hour" role="img" aria-label={`${all} jobs ended in the last hour, at most ${most} in a minute`}>
        {bars.map((bar) => (
          <span key={bar.from} title={told(bar)}>
            <span class="is-failed" style={{ height: `${(bar.failed * 100) / most}%` }} />
            <span class="is-succeeded" style={{ height: `${(bar.succeeded * 100) / most}%` }} />
          </span>
        ))}
      </div>
      <Axis from={first} to={last} />
      <InWords label="How many jobs ended in the last hour" bars={bars.filter((bar) => bar.succeeded + bar.failed > 0).map(told)} />
    </>
  );
}

/** How many ran how long. */
function Times({ sorted }: { sorted: number[] }) {
  const bars = histogram(sorted);
  const most = Math.max(...bars.map((bar) => bar.count));
  return (
    <table class="times" aria-label="How long jobs ran">
      <tbody>
        {bars.map(({ below, count: jobs }) => (
          <tr key={below}>
            <th scope="row">below {seconds(below)}</th>
            <td class="number">{jobs.toLocaleString("en")}</td>
            <td class="bar">
              <span style={{ width: `${(jobs * 100) / most}%` }} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

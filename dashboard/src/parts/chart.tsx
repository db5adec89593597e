// What is around the bars of a chart over time: its first and last time, and each bar in words.
import { minute } from "../text";

/** Lines by which what has failed is told where its color is not seen. */
export function Hatch({ id }: { id: string }) {
  return (
    <defs>
      <pattern id={id} width="4" height="4" patternUnits="userSpaceOnUse">
        <rect class="is-failed" width="4" height="4" />
        <rect class="is-hatch" width="4" height="1.5" />
      </pattern>
    </defs>
  );
}

/** The first and the last time, below the bars. */
export function Axis({ from, to, hasDay = false }: { from: number; to: number; hasDay?: boolean }) {
  return (
    <p class="axis muted">
      <time dateTime={new Date(from).toISOString()}>{minute(from, hasDay)}</time>
      <time dateTime={new Date(to).toISOString()}>{minute(to, hasDay)} UTC</time>
    </p>
  );
}

/** What the titles of the bars say, for whoever does not see them. */
export function InWords({ label, bars }: { label: string; bars: string[] }) {
  return (
    <ul class="unseen" aria-label={label}>
      {bars.map((bar) => (
        <li key={bar}>{bar}</li>
      ))}
    </ul>
  );
}

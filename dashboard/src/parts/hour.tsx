// How many jobs ended in each minute of the last hour.
import type { Bar } from "../pages/statistics";

export function HourBars({ bars }: { bars: Bar[] }) {
  const most = Math.max(1, ...bars.map((bar) => bar.succeeded + bar.failed));
  const all = bars.reduce((sum, bar) => sum + bar.succeeded + bar.failed, 0);
  return (
    <div class="hour" role="img" aria-label={`${all} jobs ended in the last hour, at most ${most} in a minute`}>
      {bars.map((bar) => (
        <span key={bar.from} title={`${new Date(bar.from).toISOString().slice(11, 16)} UTC: ${bar.succeeded + bar.failed} ended, ${bar.failed} failed`}>
          <span class="is-failed" style={{ height: `${(bar.failed * 100) / most}%` }} />
          <span class="is-succeeded" style={{ height: `${(bar.succeeded * 100) / most}%` }} />
        </span>
      ))}
    </div>
  );
}

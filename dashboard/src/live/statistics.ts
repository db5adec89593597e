// Numbers from the jobs that the page has: what runs, what waits, what failed, and how the last hour was.
import { isFinished, type Estimates } from "../api/types";
import type { Row } from "./jobs";

const HOUR_MS = 3_600_000;
const BARS = 60;

export interface Bar {
  from: number;
  succeeded: number;
  failed: number;
}

export interface LastHour {
  finished: number;
  failed: number;
  /** Seconds of running, in their order. */
  runs: number[];
  bars: Bar[];
}

export function lastHour(rows: Row[], now: number): LastHour {
  const width = HOUR_MS / BARS;
  const end = Math.ceil(now / width) * width;
  const bars = Array.from({ length: BARS }, (_, at) => ({ from: end - HOUR_MS + at * width, succeeded: 0, failed: 0 }));
  const hour: LastHour = { finished: 0, failed: 0, runs: [], bars };
  for (const row of rows) {
    if (row.finished === undefined || !isFinished(row.phase)) continue;
    const bar = bars[Math.floor((row.finished - (end - HOUR_MS)) / width)];
    if (!bar) continue;
    hour.finished += 1;
    if (row.phase === "Failed") [hour.failed, bar.failed] = [hour.failed + 1, bar.failed + 1];
    else bar.succeeded += 1;
    if (row.running !== undefined && row.phase === "Succeeded") hour.runs.push((row.finished - row.running) / 1000);
  }
  hour.runs.sort((a, b) => a - b);
  return hour;
}

/** How many of these times are below each bound and not below the one before. Bounds double, or grow faster where there would
 * be more than ten. */
export function histogram(sorted: number[]): { below: number; count: number }[] {
  const stepOf = (seconds: number) => Math.floor(Math.log2(Math.max(seconds, 0.001) * 1000));
  const [first, last] = [stepOf(sorted[0] ?? 0), stepOf(sorted[sorted.length - 1] ?? 0)];
  const width = Math.ceil((last - first + 1) / 10);
  const bars = Array.from({ length: Math.floor((last - first) / width) + 1 }, (_, at) => ({ below: 2 ** (first + (at + 1) * width) / 1000, count: 0 }));
  for (const time of sorted) {
    const bar = bars[Math.floor((stepOf(time) - first) / width)];
    if (bar) bar.count += 1;
  }
  return bars;
}

/** The rows with what is estimated of their jobs. */
export function withEstimates(rows: Row[], estimates: Estimates | undefined): Row[] {
  if (!estimates) return rows;
  const byName = new Map(estimates.items.map((told) => [told.name, told]));
  return rows.map((row) => {
    const told = byName.get(row.name);
    if (!told) return row;
    const start = told.estimatedStartTime === undefined ? row.estimatedStart : Date.parse(told.estimatedStartTime);
    return { ...row, position: told.position ?? row.position, estimatedStart: start };
  });
}

/** How many rows there are of each kind. */
export function countBy<Kind>(rows: Row[], kindOf: (row: Row) => Kind): Map<Kind, number> {
  const counts = new Map<Kind, number>();
  for (const row of rows) {
    const kind = kindOf(row);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

/** The value that this part of all is below or at. */
export function quantile(sorted: number[], part: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

export interface FailureGroup {
  function: string;
  reason: string;
  count: number;
  latest: Row;
}

/** The failed jobs by function and reason, the most first. */
export function failures(rows: Row[]): FailureGroup[] {
  const groups = new Map<string, FailureGroup>();
  for (const row of rows) {
    if (row.phase !== "Failed") continue;
    const reason = row.reason ?? "unknown";
    const group = groups.get(`${row.function} ${reason}`);
    if (!group) groups.set(`${row.function} ${reason}`, { function: row.function, reason, count: 1, latest: row });
    else {
      group.count += 1;
      if ((row.finished ?? 0) > (group.latest.finished ?? 0)) group.latest = row;
    }
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

/** Who holds CPUs, the most first. */
export function holders(rows: Row[]): Row[] {
  const hold = rows.filter(isHolding);
  return hold.sort((a, b) => (b.granted ?? 0) - (a.granted ?? 0));
}

export function isAnyHolding(rows: Row[]): boolean {
  return rows.some(isHolding);
}

function isHolding({ phase }: Row): boolean {
  return phase === "Running" || phase === "Starting";
}

/** Who waits: first those with a place in a line, by it; then the oldest. */
export function waiting(rows: Row[]): Row[] {
  const wait = rows.filter((row) => row.phase === "Queued" || row.phase === undefined);
  return wait.sort((a, b) => (a.position ?? Infinity) - (b.position ?? Infinity) || a.created - b.created);
}

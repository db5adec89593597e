// Which jobs are shown: the filters of the address.
import type { Row } from "../live/jobs";

export const FILTERS = ["q", "phase", "function", "queue", "since"] as const;
export type Filters = Record<(typeof FILTERS)[number], string>;

export const SINCE: [string, string, number][] = [
  ["", "any time", 0],
  ["10m", "last 10 minutes", 600_000],
  ["1h", "last hour", 3_600_000],
  ["1d", "last day", 86_400_000],
];

export function filtersOf(query: URLSearchParams): Filters {
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""])) as Filters;
}

export function isFiltered(filters: Filters): boolean {
  return FILTERS.some((name) => filters[name] !== "");
}

/** What a word such as `phase=Failed` can ask of a row. */
const FACTS = ["phase", "function", "queue", "reason"] as const;

/** Whether a word, in lower case, is in the name, the function or a label (`key=value`), or says a fact (`phase=failed`). */
function has(row: Row, word: string): boolean {
  if (row.words.includes(word)) return true;
  const at = word.indexOf("=");
  const fact = FACTS.find((name) => name === word.slice(0, at));
  return fact !== undefined && (row[fact] ?? "").toLowerCase().startsWith(word.slice(at + 1));
}

/** The rows that are wanted. Each word must be true of them. */
export function select(rows: Row[], filters: Filters, now: number): Row[] {
  if (!isFiltered(filters)) return rows;
  const words = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  const past = SINCE.find(([name]) => name === filters.since)?.[2] ?? 0;
  return rows.filter(
    (row) =>
      (filters.phase === "" || row.phase === filters.phase) &&
      (filters.function === "" || row.function === filters.function) &&
      (filters.queue === "" || row.queue === filters.queue) &&
      (past === 0 || row.created >= now - past) &&
      words.every((word) => has(row, word)),
  );
}

export function valuesOf(rows: Row[], key: "function" | "queue", chosen: string): string[] {
  const all = new Set(rows.map((row) => row[key]));
  if (chosen) all.add(chosen);
  return [...all].sort();
}

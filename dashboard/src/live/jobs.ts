// All jobs of a namespace, kept as they are: the stream of changes is opened, the jobs are listed, and then
// each change is applied. A stream that breaks begins this again.
import { askJson, pathOf, Refused, wordsOf } from "../api/client";
import { readEvents, type ServerEvent } from "../api/events";
import { isFinished, type Job, type Phase, type Progress } from "../api/types";
import { store } from "../store";
import { pause, untilVisible } from "./pause";

/** Most jobs that a page keeps. */
export const MAX_JOBS = 20_000;
const PAGE = 500;
/** How often a reader without the right to watch asks again. */
const POLL_MS = 10_000;
const BACKOFF_MS = [500, 5000] as const;

const FIELDS = [
  "metadata.name",
  "metadata.uid",
  "metadata.resourceVersion",
  "metadata.labels",
  "spec.function",
  "spec.queue",
  "spec.parallelism",
  "spec.cancel",
  "status.phase",
  "status.parallelism",
  "status.progress",
  "status.failure",
  "status.conditions",
  "status.waiting",
  "status.timeline",
  "status.attempt",
].join();

export interface Row {
  name: string;
  uid: string;
  version: number;
  labels: Record<string, string>;
  /** What is searched, in lower case. */
  words: string;
  function: string;
  queue: string;
  wanted: number | undefined;
  granted: number | undefined;
  cancel: boolean;
  phase: Phase | undefined;
  progress: Progress | undefined;
  reason: string | undefined;
  message: string | undefined;
  /** Why it waits, in the server's words. */
  waits: string | undefined;
  position: number | undefined;
  estimatedStart: number | undefined;
  created: number;
  admitted: number | undefined;
  running: number | undefined;
  finished: number | undefined;
  attempt: number | undefined;
}

export type Connection =
  | { state: "connecting" | "live" }
  | { state: "polling"; why: string }
  | { state: "lost"; why: string };

export interface Jobs {
  connection: Connection;
  /** Whether all jobs were listed once. */
  isListed: boolean;
  isCut: boolean;
  /** The newest first. */
  rows: Row[];
}

export const jobs = store<Jobs>({ connection: { state: "connecting" }, isListed: false, isCut: false, rows: [] });

const time = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));

export function rowOf(job: Job): Row {
  const { metadata, spec, status } = job;
  const labels = metadata.labels ?? {};
  const timeline = status?.timeline ?? {};
  const words = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return {
    name: metadata.name,
    uid: metadata.uid ?? "",
    version: Number(metadata.resourceVersion ?? 0),
    labels,
    words: [metadata.name, spec.function, ...words].join(" ").toLowerCase(),
    function: spec.function,
    queue: spec.queue ?? "default",
    wanted: spec.parallelism,
    granted: status?.parallelism,
    cancel: spec.cancel,
    phase: status?.phase,
    progress: status?.progress,
    reason: status?.failure?.reason,
    message: status?.failure?.message,
    waits: waitsOf(status),
    position: status?.waiting?.position,
    estimatedStart: time(status?.waiting?.estimatedStart),
    created: time(timeline.created) ?? 0,
    admitted: time(timeline.admitted),
    running: time(timeline.running),
    finished: time(timeline.finished),
    attempt: status?.attempt,
  };
}

/** What keeps a job from its CPUs, or its process from starting. */
function waitsOf(status: Job["status"] | undefined): string | undefined {
  const type = { Queued: "Admitted", Starting: "Running" }[status?.phase as string];
  const condition = status?.conditions?.find((condition) => condition.type === type && condition.status !== "True");
  return condition && (condition.message || condition.reason);
}

/** The rows by name and in their order. */
class Table {
  private byName = new Map<string, Row>();
  private order: Row[] = [];
  private isSorted = true;
  private isOrderOld = false;
  /** Whether there are more jobs than are kept. */
  isCut = false;

  get size(): number {
    return this.byName.size;
  }

  put(row: Row): void {
    const known = this.byName.get(row.name);
    this.byName.set(row.name, row);
    if (known?.created === row.created) this.isOrderOld = true;
    else {
      this.isOrderOld = true;
      this.isSorted = false;
      if (this.byName.size > MAX_JOBS) this.dropOldest();
    }
  }

  /** The oldest that has ended; where none has, the oldest. */
  private dropOldest(): void {
    let oldest: Row | undefined;
    const isBefore = (row: Row, other: Row) =>
      isFinished(row.phase) === isFinished(other.phase) ? row.created < other.created : isFinished(row.phase);
    for (const row of this.byName.values()) if (!oldest || isBefore(row, oldest)) oldest = row;
    if (oldest) this.byName.delete(oldest.name);
    this.isCut = true;
  }

  /** What a list has: it may be older than what the stream has told. */
  putListed(row: Row): void {
    const known = this.byName.get(row.name);
    if (!known || known.uid !== row.uid || known.version < row.version) this.put(row);
  }

  delete(name: string, uid: string): void {
    if (this.byName.get(name)?.uid === uid && this.byName.delete(name)) this.isOrderOld = true;
  }

  names(): string[] {
    return [...this.byName.keys()];
  }

  get(name: string): Row | undefined {
    return this.byName.get(name);
  }

  rows(): Row[] {
    if (this.isOrderOld) {
      if (this.isSorted) {
        // Nothing has moved: each row is replaced where it is.
        this.order = this.order.flatMap((row) => this.byName.get(row.name) ?? []);
      } else {
        this.order = [...this.byName.values()].sort((a, b) => b.created - a.created || (a.name < b.name ? 1 : -1));
      }
      [this.isSorted, this.isOrderOld] = [true, false];
    }
    return this.order;
  }
}

/** Follows the jobs of a namespace until the signal says stop. */
export async function followJobs(namespace: string, signal: AbortSignal): Promise<void> {
  const table = new Table();
  jobs.set({ connection: { state: "connecting" }, isListed: false, isCut: false, rows: [] });
  let [failures, mayWatch] = [0, true];
  while (!signal.aborted) {
    const begun = performance.now();
    const ended = new AbortController();
    const stop = () => ended.abort();
    signal.addEventListener("abort", stop);
    try {
      if (mayWatch) await followOnce(namespace, table, ended.signal);
      else await poll(namespace, table, ended.signal);
    } catch (error) {
      if (signal.aborted) return;
      // Who may neither watch nor get is told that there is nothing, as everybody who may do nothing here.
      if (mayWatch && error instanceof Refused && (error.status === 403 || error.status === 404)) {
        mayWatch = false;
        continue;
      }
      mayWatch = true;
      show(table, { connection: { state: "lost", why: wordsOf(error) } });
    } finally {
      ended.abort();
      signal.removeEventListener("abort", stop);
    }
    // A stream that has lasted ends for a reason that is no failure: its hour, or a new server.
    failures = performance.now() - begun > 10_000 ? 0 : failures + 1;
    await pause(Math.min(BACKOFF_MS[0] * 2 ** (failures - 1), BACKOFF_MS[1]), signal);
  }
}

async function followOnce(namespace: string, table: Table, signal: AbortSignal): Promise<void> {
  const path = `${pathOf(namespace, "events")}?fields=${FIELDS}`;
  const told: Told = { names: new Set(), gone: new Set() };
  let failed: (error: unknown) => void = () => {};
  const listFailed = new Promise<never>((_, reject) => (failed = reject));
  const apply = (events: ServerEvent[]) => {
    for (const { kind, data } of events) {
      if (kind === "begun") {
        list(namespace, table, told, signal).then(() => show(table, { connection: { state: "live" } }), failed);
        continue;
      }
      if (kind === "problem") throw new Refused(503, data as object);
      if (kind === "deleted") {
        const { name, uid } = data as { name: string; uid: string };
        told.gone.add(uid);
        table.delete(name, uid);
      } else {
        const row = rowOf(data as Job);
        told.names.add(row.name);
        table.put(row);
      }
    }
    showSoon(table);
  };
  await Promise.race([readEvents(path, signal, apply), listFailed]);
  throw new Error("the connection to the server has ended");
}

/** What the stream has told while the jobs were listed: a page of the list may be older. */
interface Told {
  names: Set<string>;
  /** UIDs of jobs that were deleted. */
  gone: Set<string>;
}

/** Lists all jobs; what was known and is not there any more is dropped, unless the stream has told of it. */
async function list(namespace: string, table: Table, told: Told, signal: AbortSignal): Promise<void> {
  const missing = new Set(table.names());
  let next = "";
  table.isCut = false;
  do {
    const query = new URLSearchParams({ limit: String(PAGE), fields: FIELDS, ...(next && { continue: next }) });
    type Listed = { items: Job[]; metadata: { continue?: string } };
    const page = await askJson<Listed>(`${pathOf(namespace, "jobs")}?${query}`, { signal });
    for (const job of page.items) {
      const row = rowOf(job);
      missing.delete(row.name);
      if (!told.gone.has(row.uid)) table.putListed(row);
    }
    next = page.metadata.continue ?? "";
    table.isCut = next !== "" && table.size >= MAX_JOBS;
    showSoon(table);
  } while (next !== "" && !table.isCut);
  if (!table.isCut) {
    for (const name of missing) if (!told.names.has(name)) table.delete(name, table.get(name)?.uid ?? "");
  }
  show(table, { isListed: true });
}

/** Asks again and again, for a reader who may list and not watch. */
async function poll(namespace: string, table: Table, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await list(namespace, table, { names: new Set(), gone: new Set() }, signal);
    show(table, { connection: { state: "polling", why: "you may not watch jobs here" } });
    await pause(POLL_MS, signal);
    await untilVisible(signal);
  }
}

function show(table: Table, changes: Partial<Jobs>): void {
  jobs.set({ ...jobs.get(), ...changes, isCut: table.isCut, rows: table.rows() });
}

let isDrawing = false;
function showSoon(table: Table): void {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    show(table, {});
  });
}

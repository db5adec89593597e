// One job as it changes, and where its time goes.
import { useEffect, useState } from "preact/hooks";
import { askJson, pathOf, Refused, wordsOf } from "../api/client";
import { readEvents, type ServerEvent } from "../api/events";
import { isFinished, type Explanation, type Job, type Progress } from "../api/types";
import { jobs, type Row } from "./jobs";
import { pause, untilVisible } from "./pause";

const FIELDS = [
  "metadata",
  "spec.function",
  "spec.queue",
  "spec.parallelism",
  "spec.priority",
  "spec.retries",
  "spec.timeoutSeconds",
  "spec.cancel",
  "spec.inputBlob",
  "spec.files",
  "status",
].join();

/** How often a job that has not ended is explained again. */
const EXPLAIN_MS = 2000;
const BACKOFF_MS = [500, 5000] as const;

export interface Followed {
  job: Job | undefined;
  /** Whether another job had the name before, and was shown. */
  isAnother?: boolean;
  /** Whether it was deleted while it was followed. */
  isGone?: boolean;
  /** Why it cannot be shown, in the API's words. */
  why: string | undefined;
}

export function useJob(namespace: string, name: string): Followed {
  const [followed, setFollowed] = useState<Followed>({ job: undefined, why: undefined });
  useEffect(() => {
    const stop = new AbortController();
    setFollowed({ job: undefined, why: undefined });
    void follow(namespace, name, stop.signal, setFollowed);
    return () => stop.abort();
  }, [namespace, name]);
  return followed;
}

/** Follows the job of a name, and after its deletion the next one that has it. */
async function follow(namespace: string, name: string, signal: AbortSignal, show: (now: Followed) => void): Promise<void> {
  const known = new Set<string | undefined>();
  let wasShown = false;
  while (!signal.aborted) {
    const isAnother = wasShown;
    const uid = await followOne(namespace, name, signal, (now) => show({ ...now, isAnother }));
    wasShown ||= uid !== undefined;
    known.add(uid);
    known.add(await another(name, known, signal));
  }
}

/** Waits until the list of jobs has one of this name that is not known. Its UID. */
function another(name: string, known: Set<string | undefined>, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const end = (uid?: string) => {
      unfollow();
      signal.removeEventListener("abort", aborted);
      resolve(uid);
    };
    const aborted = () => end();
    let rows: Row[] | undefined;
    const look = () => {
      // What is told of whether the list is live changes no row.
      if (jobs.get().rows === rows) return;
      rows = jobs.get().rows;
      const found = rows.find((row) => row.name === name && !known.has(row.uid));
      if (found) end(found.uid);
    };
    const unfollow = jobs.follow(look);
    signal.addEventListener("abort", aborted);
    if (signal.aborted) end();
    else look();
  });
}

/** Follows one job to its end or its deletion. Its UID, if it was ever there. */
async function followOne(
  namespace: string,
  name: string,
  signal: AbortSignal,
  show: (now: Followed) => void,
): Promise<string | undefined> {
  const path = `${pathOf(namespace, "jobs", name, "events")}?fields=${FIELDS}`;
  let [job, seen, failures] = [undefined as Job | undefined, undefined as string | undefined, 0];
  const apply = (events: ServerEvent[]) => {
    failures = 0;
    for (const { kind, id, data } of events) {
      if (kind === "problem") throw new Refused((data as { status: number }).status, data as object);
      seen = id ?? seen;
      job = kind === "progress" && job ? withProgress(job, data as ProgressData) : (data as Job);
    }
    show({ job, why: undefined });
  };
  while (!signal.aborted && !isFinished(job?.status.phase)) {
    try {
      await readEvents(path, signal, apply, seen === undefined ? {} : { "Last-Event-ID": seen });
    } catch (error) {
      if (signal.aborted) return undefined;
      const isOver = error instanceof Refused && error.status < 500 && error.status !== 429;
      const isGone = error instanceof Refused && error.status === 404 && job !== undefined;
      show({ job, why: isGone ? undefined : wordsOf(error), isGone });
      if (isOver) return job?.metadata.uid;
    }
    failures += 1;
    await pause(Math.min(BACKOFF_MS[0] * 2 ** (failures - 1), BACKOFF_MS[1]), signal);
  }
  return job?.metadata.uid;
}

interface ProgressData {
  attempt: number;
  progress: Progress;
}

function withProgress(job: Job, { attempt, progress }: ProgressData): Job {
  return { ...job, status: { ...job.status, attempt, progress } };
}

export function useExplanation(namespace: string, name: string, job: Job | undefined): Explanation | undefined {
  const [explanation, setExplanation] = useState<Explanation | undefined>();
  const version = job && `${job.metadata.uid}.${job.metadata.resourceVersion}`;
  const isOver = isFinished(job?.status.phase);
  useEffect(() => {
    if (version === undefined) return;
    const stop = new AbortController();
    const ask = async () => {
      do {
        try {
          setExplanation(await askJson<Explanation>(pathOf(namespace, "jobs", name, "explain"), { signal: stop.signal }));
        } catch {
          // The stream of the job says what is wrong.
        }
        if (isOver) return;
        await pause(EXPLAIN_MS, stop.signal);
        await untilVisible(stop.signal);
      } while (!stop.signal.aborted);
    };
    void ask();
    return () => stop.abort();
  }, [namespace, name, version, isOver]);
  return explanation;
}

// One job as it changes, and where its time goes.
import { useEffect, useState } from "preact/hooks";
import { askJson, pathOf, Refused, wordsOf } from "../api/client";
import { readEvents, type ServerEvent } from "../api/events";
import { isFinished, type Explanation, type Job, type Progress } from "../api/types";
import { pause } from "./pause";

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

async function follow(namespace: string, name: string, signal: AbortSignal, show: (now: Followed) => void): Promise<void> {
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
      await readEvents(path, signal, apply, undefined, seen === undefined ? {} : { "Last-Event-ID": seen });
    } catch (error) {
      if (signal.aborted) return;
      const isGone = error instanceof Refused && error.status < 500 && error.status !== 429;
      show({ job: isGone ? undefined : job, why: wordsOf(error) });
      if (isGone) return;
    }
    failures += 1;
    await pause(Math.min(BACKOFF_MS[0] * 2 ** (failures - 1), BACKOFF_MS[1]), signal);
  }
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
      } while (!stop.signal.aborted);
    };
    void ask();
    return () => stop.abort();
  }, [namespace, name, version, isOver]);
  return explanation;
}

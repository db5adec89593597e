// What is asked once, or now and then, and has no stream.
import { useEffect, useState } from "preact/hooks";
import { askJson, wordsOf } from "../api/client";
import { useTurn } from "./back";
import { jobs, type Row } from "./jobs";
import { pause, untilVisible } from "./pause";
import { isAnyHolding } from "./statistics";

export interface Asked<T> {
  value: T | undefined;
  why: string | undefined;
  /** Asks at once. */
  again: () => void;
}

/** How soon something is asked again that is another when jobs are: while they change or run, and while they rest. */
const BUSY_MS = 3000;
const REST_MS = 15_000;

const NOTHING = { value: undefined, why: undefined };

/** The answer to a question; with `again` the latest one: asked again after so many milliseconds, or as the jobs change. */
export function useAnswer<T>(path: string | undefined, again?: number | "with jobs"): Asked<T> {
  const [asked, setAsked] = useState<Omit<Asked<T>, "again">>(NOTHING);
  const [turn, setTurn] = useState(0);
  const back = useTurn(asked.why !== undefined);
  useEffect(() => setAsked(NOTHING), [path]);
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    const go = async () => {
      do {
        const { rows } = jobs.get();
        let isAnswered = true;
        try {
          const value = await askJson<T>(path, { signal: stop.signal });
          setAsked({ value, why: undefined });
        } catch (error) {
          if (stop.signal.aborted) return;
          isAnswered = false;
          setAsked((before) => ({ ...before, why: wordsOf(error) }));
        }
        if (again === undefined) return;
        await pause(again === "with jobs" ? BUSY_MS : again, stop.signal);
        if (again === "with jobs" && isAnswered) await restWithJobs(rows, stop.signal);
        await untilVisible(stop.signal);
      } while (!stop.signal.aborted);
    };
    void go();
    return () => stop.abort();
  }, [path, again, turn, back]);
  return { ...asked, again: () => setTurn((before) => before + 1) };
}

/** Waits while nothing runs and the jobs are those that were there when it was asked, but not for ever. */
async function restWithJobs(asked: Row[], signal: AbortSignal): Promise<void> {
  const rested = new AbortController();
  const end = () => rested.abort();
  const check = () => {
    const { rows } = jobs.get();
    if (rows !== asked || isAnyHolding(rows)) end();
  };
  const unfollow = jobs.follow(check);
  signal.addEventListener("abort", end);
  check();
  await pause(REST_MS - BUSY_MS, rested.signal);
  signal.removeEventListener("abort", end);
  unfollow();
}

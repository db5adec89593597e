// What is asked once, or now and then, and has no stream.
import { useEffect, useState } from "preact/hooks";
import { askJson, wordsOf } from "../api/client";
import { useTurn } from "./back";
import { pause, untilVisible } from "./pause";

export interface Asked<T> {
  value: T | undefined;
  why: string | undefined;
  /** Asks at once. */
  again: () => void;
}

const NOTHING = { value: undefined, why: undefined };

/** The answer to a question; with `everyMs` the latest one. */
export function useAnswer<T>(path: string | undefined, everyMs?: number): Asked<T> {
  const [asked, setAsked] = useState<Omit<Asked<T>, "again">>(NOTHING);
  const [turn, setTurn] = useState(0);
  const back = useTurn(asked.why !== undefined);
  useEffect(() => setAsked(NOTHING), [path]);
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    const go = async () => {
      do {
        try {
          const value = await askJson<T>(path, { signal: stop.signal });
          setAsked({ value, why: undefined });
        } catch (error) {
          if (stop.signal.aborted) return;
          setAsked((before) => ({ ...before, why: wordsOf(error) }));
        }
        if (everyMs !== undefined) {
          await pause(everyMs, stop.signal);
          await untilVisible(stop.signal);
        }
      } while (everyMs !== undefined && !stop.signal.aborted);
    };
    void go();
    return () => stop.abort();
  }, [path, everyMs, turn, back]);
  return { ...asked, again: () => setTurn((before) => before + 1) };
}

// What a button does, and why it was refused, for as long as that is so.
import { useEffect, useState } from "preact/hooks";
import { Refused, wordsOf } from "../api/client";
import { whenBack } from "./back";

export interface Attempted {
  /** Why the latest try did not succeed. */
  why: string | undefined;
  isBusy: boolean;
  /** Tries it. What was said of an earlier try is taken back. */
  attempt: (action: () => Promise<unknown>) => Promise<void>;
}

/** Follows tries of one kind. That a server does not answer is taken back once it does: when the stream of jobs is there
 * again, or with the next `answer` to what the page asks now and then. What it refuses stays until the next try. */
export function useAttempt(answer?: unknown): Attempted {
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const isAway = error !== undefined && (!(error instanceof Refused) || error.status >= 500);
  useEffect(() => {
    if (isAway) setError(undefined);
  }, [answer]);
  useEffect(() => (isAway ? whenBack(() => setError(undefined)) : undefined), [isAway]);
  const attempt = async (action: () => Promise<unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await action();
    } catch (refused) {
      setError(refused);
    }
    setBusy(false);
  };
  return { why: error === undefined ? undefined : wordsOf(error), isBusy, attempt };
}

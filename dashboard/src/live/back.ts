// That the server is back after it did not answer.
import { useEffect, useState } from "preact/hooks";
import { jobs } from "./jobs";

/** Calls this each time that the stream of jobs is there again. Returns what ends that. */
export function whenBack(listener: () => void): () => void {
  let before = jobs.get().connection.state;
  return jobs.follow(() => {
    const { state } = jobs.get().connection;
    const isBack = before === "lost" && state !== "lost";
    before = state;
    if (isBack) listener();
  });
}

/** A number that grows when the server is back, while something could not be read: it is then read again. */
export function useTurn(isMissing: boolean): number {
  const [turn, setTurn] = useState(0);
  useEffect(() => (isMissing ? whenBack(() => setTurn((before) => before + 1)) : undefined), [isMissing]);
  return turn;
}

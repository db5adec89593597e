// Where a job's time went: its parts one after the other, which sum to the whole.
import type { Explanation } from "../api/types";
import { known } from "../live/known";
import { useStore } from "../store";
import { exact, seconds, WALL_TIME } from "../text";
import { Text } from "./common";

const MEANING: Record<string, string> = {
  queued: "waited for CPUs, or to be tried again",
  earlier: "an attempt that failed",
  starting: "a place was found and the worker started",
  preparing: "the worker prepared the function's process",
  running: "the function ran",
};

/** How an earlier attempt ended, in words. Of one that an earlier version has seen, nobody knows why. */
function endOf({ reason, exitCode }: Pick<Explanation["parts"][number], "reason" | "exitCode">): string {
  return `failed${reason ? `: ${reason}` : ""}${exitCode === undefined ? "" : `, exit code ${exitCode}`}`;
}

export function Gantt({ explanation, isOver }: { explanation: Explanation; isOver: boolean }) {
  const current = useStore(known);
  const parts = explanation.parts.map((part) => ({ ...part, from: Date.parse(part.from), to: Date.parse(part.to) }));
  const last = parts.at(-1);
  let wall = explanation.wallSeconds;
  // What goes on is drawn up to now, so that it does not wait for the next answer. Of a server that is away nobody knows.
  if (last && !isOver) {
    const more = Math.max(0, (current - last.to) / 1000);
    last.seconds += more;
    wall += more;
  }
  const start = parts[0]?.from ?? 0;
  const earlier = parts.filter(({ name }) => name === "earlier").length;
  return (
    <table class="gantt">
      <caption class="unseen">Where its time went</caption>
      <tbody>
        {parts
          .filter((part) => part.seconds > 0)
          .map((part) => (
            <tr key={`${part.name}-${part.from}`} title={`${MEANING[part.name] ?? ""}, from ${exact(part.from)}`}>
              <th scope="row">
                {part.name === "earlier" ? "earlier attempt" : part.name}
                {part.attempt !== undefined && earlier > 1 ? ` ${part.attempt}` : ""}
                {part.name === "earlier" && <small class="bad"> {endOf(part)}</small>}
              </th>
              <td class="bar">
                <span
                  class={`part-${part.name}`}
                  style={{
                    marginLeft: `${wall > 0 ? Math.max(0, (part.from - start) / 10 / wall) : 0}%`,
                    width: `${wall > 0 ? Math.max(0.3, (part.seconds * 100) / wall) : 0}%`,
                  }}
                />
              </td>
              <td class="number">{seconds(part.seconds)}</td>
            </tr>
          ))}
        <tr class="sum" title={WALL_TIME}>
          <th scope="row">in all</th>
          <td />
          <td class="number">{seconds(wall)}</td>
        </tr>
      </tbody>
    </table>
  );
}

/** Of a traceback its last line, which says what went wrong. */
function inShort(failure: string): string {
  const lines = failure.trim().split("\n");
  return isLong(failure) ? `${lines[0]} … ${lines.at(-1)?.trim()}` : failure;
}

/** Whether a function has said more than one line before it failed. */
export function isLong(failure: string): boolean {
  return failure.trim().split("\n").length > 2;
}

/** What it waits for, or why it failed, and what helps, in the API's words, unless the page has better ones. */
export function Why({ explanation, hasWayOn }: { explanation: Explanation; hasWayOn: boolean }) {
  return (
    <>
      {explanation.waitsFor && (
        <p class="why is-waiting">
          <Text>{explanation.waitsFor}</Text>
        </p>
      )}
      {explanation.failure && (
        <p class="why is-failed">
          <Text>{inShort(explanation.failure)}</Text>
        </p>
      )}
      {explanation.advice && !hasWayOn && (
        <p class="helps">
          <strong>What helps:</strong> <Text>{explanation.advice}</Text>
        </p>
      )}
    </>
  );
}

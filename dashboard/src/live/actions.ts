// What is done to jobs, one or many, and what came of it.
import { ask, pathOf, post, requestKey, wordsOf } from "../api/client";

export type Action = "cancel" | "retry" | "delete";

export const PAST: Record<Action, string> = { cancel: "cancelled", retry: "submitted again", delete: "deleted" };

export interface Refusal {
  name: string;
  why: string;
}

export interface Outcome {
  action: Action;
  done: number;
  all: number;
  refused: Refusal[];
  isOver: boolean;
}

const AT_A_TIME = 4;

/** The job that was shown. Its name may be another job's by now. */
export interface Target {
  name: string;
  uid: string;
}

/** Acts on this job. Another one of its name is left alone: the server refuses it. */
export function act(namespace: string, { name, uid }: Target, action: Action): Promise<Response> {
  const path = pathOf(namespace, "jobs", name);
  const query = `?uid=${encodeURIComponent(uid)}`;
  if (action === "delete") return ask(path + query, { method: "DELETE" });
  if (action === "cancel") return post(`${path}/cancel${query}`);
  return post(`${path}/retry${query}`, undefined, { "Idempotency-Key": requestKey() });
}

/** The same for each of these. What is refused stops no other. */
export async function actOnAll(
  namespace: string,
  targets: Target[],
  action: Action,
  told: (outcome: Outcome) => void,
): Promise<void> {
  const [rest, refused] = [[...targets].reverse(), [] as Refusal[]];
  let done = 0;
  const tell = (isOver: boolean) => told({ action, done, all: targets.length, refused: [...refused], isOver });
  const worker = async () => {
    for (let target = rest.pop(); target !== undefined; target = rest.pop()) {
      try {
        await act(namespace, target, action);
        done += 1;
      } catch (error) {
        refused.push({ name: target.name, why: wordsOf(error) });
      }
      tell(false);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  tell(true);
}

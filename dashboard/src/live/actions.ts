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

export async function act(namespace: string, name: string, action: Action): Promise<void> {
  const path = pathOf(namespace, "jobs", name);
  if (action === "delete") await ask(path, { method: "DELETE" });
  else if (action === "cancel") await post(`${path}/cancel`);
  else await post(`${path}/retry`, undefined, { "Idempotency-Key": requestKey() });
}

/** The same for each of these. What is refused stops no other. */
export async function actOnAll(
  namespace: string,
  names: string[],
  action: Action,
  told: (outcome: Outcome) => void,
): Promise<void> {
  const [rest, refused] = [[...names].reverse(), [] as Refusal[]];
  let done = 0;
  const tell = (isOver: boolean) => told({ action, done, all: names.length, refused: [...refused], isOver });
  const worker = async () => {
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      try {
        await act(namespace, name, action);
        done += 1;
      } catch (error) {
        refused.push({ name, why: wordsOf(error) });
      }
      tell(false);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  tell(true);
}

// The queues of a namespace: what they hold, what waits in them, and the button that stops them.
import { pathOf, post } from "../api/client";
import type { Queue } from "../api/types";
import { useAnswer } from "../live/ask";
import { useAttempt } from "../live/attempt";
import { hrefOf } from "../router";
import { Name, Refusal } from "./common";

/** `isShared`: the namespace shares the CPUs of a ClusterComputeQueue, where nothing starts without a queue. */
export function Queues({ namespace, isShared }: { namespace: string; isShared: boolean }) {
  const { value, why, again } = useAnswer<{ items: Queue[] }>(pathOf(namespace, "queues"), "with jobs");
  const queues = value?.items ?? [];
  const weights = queues.reduce((sum, { spec }) => sum + (spec.weight ?? 1), 0);
  const isGuaranteed = queues.some(({ spec }) => spec.guaranteedCpus);
  return (
    <section aria-label="Queues">
      <h2>Queues</h2>
      <Refusal>{why}</Refusal>
      {value && queues.length === 0 && (
        <p class="muted">{isShared ? "There are no queues: nothing starts until there is one." : "There are no queues, and so no quota."}</p>
      )}
      {queues.length > 0 && (
        <table class={`list lines queues${isGuaranteed ? " is-guaranteed" : ""}`}>
          <Head isGuaranteed={isGuaranteed} />
          <tbody>
            {queues.map((queue) => (
              <QueueLine key={queue.metadata.name} {...{ namespace, queue, weights, isGuaranteed, again }} answer={value} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Head({ isGuaranteed }: { isGuaranteed: boolean }) {
  return (
    <thead>
      <tr>
        <th scope="col">Queue</th>
        <th scope="col">CPUs granted</th>
        <th scope="col" class="number">Free</th>
        <th scope="col" class="number">Waiting</th>
        <th scope="col" class="number" title="Of free CPUs, while all queues have jobs that wait">Share</th>
        {isGuaranteed && (
          <>
            <th scope="col" class="number">Guaranteed</th>
            <th scope="col" class="number" title="CPUs that it holds beyond what is guaranteed to it">Borrowed</th>
          </>
        )}
        <th scope="col">Preemption</th>
        <th scope="col">Hold</th>
      </tr>
    </thead>
  );
}

interface LineProperties {
  namespace: string;
  queue: Queue;
  /** The weights of all queues together. */
  weights: number;
  isGuaranteed: boolean;
  /** The answer that it is from. */
  answer: unknown;
  again: () => void;
}

/** Resumes a queue that is held, and holds another one. `answer`: the latest about it, which `again` asks for. */
export function useHold(namespace: string, name: string, isHeld: boolean, answer: unknown, again: () => void) {
  const { why, isBusy, attempt } = useAttempt(answer);
  const turn = () => void attempt(() => post(pathOf(namespace, "queues", name, isHeld ? "resume" : "hold"))).then(again);
  return { why, isBusy, turn };
}

/** One queue. What the server refuses is told below it, where it takes no room from the rest. */
function QueueLine({ namespace, queue: { metadata, spec, status }, weights, isGuaranteed, answer, again }: LineProperties) {
  const { name } = metadata;
  const { hold: isHeld = false, weight = 1, guaranteedCpus = 0 } = spec;
  const granted = status?.granted ?? 0;
  const { why, isBusy, turn } = useHold(namespace, name, isHeld, answer, again);
  return (
    <>
      <tr>
        <th scope="row">
          <a href={hrefOf(namespace, "jobs", undefined, { queue: name })}>
            <Name>{name}</Name>
          </a>
          {isHeld && <span class="bad"> on hold</span>}
        </th>
        <td class="granted">
          <meter min={0} max={spec.cpus || 1} value={granted} aria-label={`CPUs granted of ${name}`} /> {granted} of {spec.cpus}
        </td>
        <td class="number" data-label="Free">{Math.max(0, spec.cpus - granted)}</td>
        <td class="number" data-label="Waiting">{status?.waiting ?? 0}</td>
        <td class="number" data-label="Share" title={`Weight ${weight}`}>
          {Math.round((100 * weight) / weights)} %
        </td>
        {isGuaranteed && (
          <>
            <td class="number" data-label="Guaranteed">{guaranteedCpus}</td>
            <td class="number" data-label="Borrowed">{Math.max(0, granted - guaranteedCpus)}</td>
          </>
        )}
        <td data-label="Preemption">{spec.preemption ?? "none"}</td>
        <td class="hold">
          <button type="button" disabled={isBusy} onClick={turn} aria-label={`${isHeld ? "Resume" : "Hold"} ${name}`}>
            {isHeld ? "Resume" : "Hold"}
          </button>
        </td>
      </tr>
      {why !== undefined && (
        <tr class="refused">
          <td colSpan={isGuaranteed ? 9 : 7}>
            <Refusal>{why}</Refusal>
          </td>
        </tr>
      )}
    </>
  );
}

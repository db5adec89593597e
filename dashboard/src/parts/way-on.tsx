// What a job waits for whose queue is on hold or not there: it starts when somebody changes that, and how they do.
import type { ComponentChildren } from "preact";
import { pathOf } from "../api/client";
import type { Job, MachineCapacity, Queue } from "../api/types";
import { useAnswer } from "../live/ask";
import { Command, Refusal, Text } from "./common";
import { useHold } from "./queues";

type Block = "held" | "pool" | "missing";

export interface Blocked {
  by: Block;
  queue: string;
  /** Whether it has no ComputeQueues as objects, but manifests of one machine. */
  isMachine: boolean;
  pool: string | undefined;
  /** The latest answer about the queues. */
  answer: unknown;
  again: () => void;
}

/** What somebody has to change before the job starts. */
export function useBlocked(namespace: string, job: Job | undefined): Blocked | undefined {
  const admitted = job?.status.phase === "Queued" && !job.spec.cancel ? job.status.conditions?.find(({ type }) => type === "Admitted") : undefined;
  const [isMissing, waits] = [admitted?.reason === "QueueNotFound", admitted?.reason === "WaitingForCpus"];
  const path = (name: string, isAsked: boolean) => (isAsked ? pathOf(namespace, name) : undefined);
  const { value, again } = useAnswer<{ items: Queue[] }>(path("queues", waits), "with jobs");
  const { value: capacity } = useAnswer<MachineCapacity>(path("capacity", waits || isMissing), "with jobs");
  const queue = job?.spec.queue ?? "default";
  const isHeld = waits && value?.items.some(({ metadata, spec }) => metadata.name === queue && spec.hold);
  const by: Block | undefined = isMissing ? "missing" : isHeld ? "held" : waits && capacity?.shared?.hold ? "pool" : undefined;
  if (by === undefined || capacity === undefined) return undefined;
  return { by, queue, isMachine: capacity.cpus != null, pool: capacity.shared?.name, answer: value, again };
}

/** When it starts, who can bring that about, and how. */
export function WayOn({ namespace, job, blocked }: { namespace: string; job: Job; blocked: Blocked }) {
  if (blocked.by === "held") return <Held namespace={namespace} blocked={blocked} />;
  if (blocked.by === "missing") return <Missing namespace={namespace} job={job} blocked={blocked} />;
  return (
    <Starts way={`kubectl patch ccqueue ${blocked.pool} --type merge -p '{"spec": {"hold": false}}'`}>
      after the ClusterComputeQueue <Text>{blocked.pool}</Text> is resumed, which holds all its namespaces. Whoever may patch that
      may resume it:
    </Starts>
  );
}

function Starts({ way, children }: { way: string; children: ComponentChildren }) {
  return (
    <div class="helps">
      <p>
        <strong>When:</strong> it starts {children}
      </p>
      <Command>{way}</Command>
    </div>
  );
}

function Held({ namespace, blocked: { queue, isMachine, answer, again } }: { namespace: string; blocked: Blocked }) {
  const { why, isBusy, turn } = useHold(namespace, queue, true, answer, again);
  return (
    <>
      <Starts way={`windlass queues resume ${queue} --namespace ${namespace}`}>
        after its queue is resumed, and not before. {isMachine ? "The admin of this server" : "Whoever may patch the ComputeQueue"} may do
        that:{" "}
        <button type="button" disabled={isBusy} onClick={turn}>
          Resume <Text>{queue}</Text>
        </button>
      </Starts>
      <Refusal>{why}</Refusal>
    </>
  );
}

/** CPUs of a queue that somebody makes by the command that is shown, where its job needs no more. */
const CPUS = 8;

function Missing({ namespace, job, blocked: { queue, isMachine } }: { namespace: string; job: Job; blocked: Blocked }) {
  const cpus = Math.max(CPUS, job.spec.parallelism ?? 1);
  const named = isMachine ? `{name: "${queue}"}` : `{name: "${queue}", namespace: "${namespace}"}`;
  const to = isMachine ? `cat >FUNCTIONS/${queue}.yaml` : "kubectl apply -f -";
  const manifest = ["apiVersion: windlass.dev/v1alpha1", "kind: ComputeQueue", `metadata: ${named}`, `spec: {cpus: ${cpus}}`];
  return (
    <Starts way={[`${to} <<'END'`, ...manifest, "END"].join("\n")}>
      after its queue is created: until then it waits
      {!isMachine && !job.status.waiting && ", and fails if its start deadline passes before"}.{" "}
      {isMachine
        ? "A queue is a manifest in the folder of --functions, which the server reads when it changes:"
        : "Whoever may create ComputeQueues here may do that. Its CPUs are the most that its jobs hold together:"}
    </Starts>
  );
}

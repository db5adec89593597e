// What runs, what waits, what fails, and who holds the CPUs.
import type { ComponentChildren } from "preact";
import { pathOf } from "../api/client";
import { PHASES, type Estimates, type MachineCapacity, type SharedCpus } from "../api/types";
import { useAnswer } from "../live/ask";
import { jobs, type Row } from "../live/jobs";
import { known } from "../live/known";
import { countBy, failures, holders, waiting, withEstimates, type FailureGroup } from "../live/statistics";
import { Ago, Command, Empty, Name, PhaseWord, Text } from "../parts/common";
import { History } from "../parts/history";
import { Queues } from "../parts/queues";
import { hrefOf, place } from "../router";
import { useStore } from "../store";
import { count, seconds, until } from "../text";

const SHOWN = 12;

export function OverviewPage() {
  const { namespace } = useStore(place);
  const { rows, isListed } = useStore(jobs);
  const holding = holders(rows);
  const granted = holding.reduce((sum, row) => sum + (row.granted ?? 0), 0);
  const counts = countBy(rows, (row) => row.phase);
  const capacity = useAnswer<MachineCapacity>(pathOf(namespace, "capacity"), "with jobs").value ?? {};
  return (
    <div class="page">
      <div class="title">
        <h1>Overview</h1>
        <Machine {...capacity} granted={granted} />
      </div>
      <ul class="counts" aria-label="Jobs by phase">
        {PHASES.map((phase) => (
          <li key={phase}>
            <a href={hrefOf(namespace, "jobs", undefined, { phase })}>
              <strong>{(counts.get(phase) ?? 0).toLocaleString("en")}</strong> <PhaseWord phase={phase} />
            </a>
          </li>
        ))}
      </ul>
      {isListed && rows.length === 0 && (
        <Empty title="There are no jobs yet.">
          <Command>{`windlass submit echo --input '{"hello": "world"}'`}</Command>
        </Empty>
      )}
      <div class="columns">
        <div>
          <Queues namespace={namespace} isShared={capacity.shared != null} />
          <Holders namespace={namespace} all={holding} usedBy={capacity.usedBy} />
          <Waiting namespace={namespace} rows={rows} />
        </div>
        <div>
          <Failures namespace={namespace} rows={rows} />
          <History namespace={namespace} />
        </div>
      </div>
    </div>
  );
}

/** CPUs that are granted, of those of the machine where there is one, and how many of them are in use. */
function Machine({ cpus, used, shared, granted }: MachineCapacity & { granted: number }) {
  const inUse = used != null && `, ${used.toFixed(1)} used`;
  if (cpus == null) {
    return (
      <span class="muted">
        {count(granted, "CPU")} granted{inUse}
        {shared && <Shared {...shared} />}
      </span>
    );
  }
  return (
    <span>
      <meter min={0} max={cpus} value={granted} aria-label="CPUs granted of this machine" /> {granted} of {count(cpus, "CPU")} granted
      {inUse}, {Math.max(0, cpus - granted)} free
    </span>
  );
}

/** The CPUs that this namespace shares with others, and how much of them all together hold. */
function Shared({ name, cpus, granted, waiting, hold }: SharedCpus) {
  return (
    <>
      {" · "}
      <meter min={0} max={cpus || 1} value={granted} aria-label={`CPUs granted of ${name}`} /> {granted} of the {count(cpus, "CPU")} of{" "}
      <span title="ClusterComputeQueue">
        <Text>{name}</Text>
      </span>{" "}
      granted to all its namespaces, {waiting} waiting
      {hold && <span class="bad"> · on hold</span>}
    </>
  );
}

function Holders({ namespace, all, usedBy }: { namespace: string; all: Row[]; usedBy: MachineCapacity["usedBy"] }) {
  return (
    <section aria-label="Who holds the CPUs">
      <h2>Who holds the CPUs</h2>
      {all.length === 0 && <p class="muted">Nothing runs.</p>}
      <table class="list lines">
        <tbody>
          {all.slice(0, SHOWN).map((row) => (
            <JobLine key={row.name} namespace={namespace} name={row.name} cpus={row.granted ?? 0} used={usedBy?.[row.uid]}>
              <td>{row.progress ? <Progress row={row} /> : <PhaseWord phase={row.phase} />}</td>
            </JobLine>
          ))}
        </tbody>
      </table>
      <More namespace={namespace} phase="Running" more={all.length - SHOWN} />
    </section>
  );
}

function Progress({ row }: { row: Row }) {
  const left = row.progress?.estimatedRemainingSeconds;
  return (
    <>
      <progress max={1} value={row.progress?.fraction ?? 0} aria-label="Progress" /> {row.progress?.percent}
      {left !== undefined && <span class="muted"> · {seconds(left)} left</span>}
    </>
  );
}

function Waiting({ namespace, rows }: { namespace: string; rows: Row[] }) {
  const current = useStore(known);
  const { value: estimates } = useAnswer<Estimates>(pathOf(namespace, "estimates"), "with jobs");
  const all = waiting(withEstimates(rows, estimates));
  return (
    <section aria-label="What waits">
      <h2>What waits</h2>
      {all.length === 0 && <p class="muted">Nothing waits.</p>}
      <table class="list lines">
        <tbody>
          {all.slice(0, SHOWN).map((row) => (
            <JobLine key={row.name} namespace={namespace} name={row.name} cpus={row.wanted ?? 1}>
              <td class="more">
                <Text>{row.waits}</Text>
                <div class="muted">
                  <Text>{placeOf(row, current)}</Text>
                </div>
              </td>
              <td class="muted">
                <Ago time={row.created} />
              </td>
            </JobLine>
          ))}
        </tbody>
      </table>
      <More namespace={namespace} phase="Queued" more={all.length - SHOWN} />
    </section>
  );
}

/** Its place in its queue, and when it is likely to start. */
function placeOf({ queue, position, estimatedStart }: Row, current: number): string {
  const place = position === undefined ? `in queue ${queue}` : `place ${position} in queue ${queue}`;
  return estimatedStart === undefined ? place : `${place} · starts ${until(estimatedStart, current)}`;
}

function Failures({ namespace, rows }: { namespace: string; rows: Row[] }) {
  const groups = failures(rows);
  const oldest = rows.at(-1);
  return (
    <section aria-label="Failures">
      <h2>Failures</h2>
      {oldest && (
        <p class="muted">
          Of the {count(rows.length, "job")} in the list, the oldest from <Ago time={oldest.created} />
          {groups.length === 0 && ": none"}.
        </p>
      )}
      <table class="list lines">
        <tbody>
          {groups.slice(0, SHOWN).map((group) => (
            <tr key={`${group.function} ${group.reason}`}>
              <th scope="row">
                <a href={hrefOf(namespace, "jobs", undefined, { phase: "Failed", function: group.function })}>
                  <Name>{group.function}</Name>
                </a>
              </th>
              <td>
                <a class="bad" href={failedBy(namespace, group)}>{group.reason}</a>
              </td>
              <td class="number">
                <a href={failedBy(namespace, group)}>{count(group.count, "job")}</a>
              </td>
              <td class="more">
                latest <JobLink namespace={namespace} name={group.latest.name} /> <span class="muted"><Ago time={group.latest.finished} /></span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The jobs of a function that failed for a reason. */
function failedBy(namespace: string, { function: name, reason }: FailureGroup): string {
  return hrefOf(namespace, "jobs", undefined, { phase: "Failed", function: name, q: `reason=${reason}` });
}

interface LineProperties {
  namespace: string;
  name: string;
  cpus: number;
  /** How many of them it uses, where that is known. */
  used?: number | undefined;
  children: ComponentChildren;
}

/** A line about one job: its name, CPUs, and what else there is to say. */
function JobLine({ namespace, name, cpus, used, children }: LineProperties) {
  return (
    <tr>
      <th scope="row">
        <JobLink namespace={namespace} name={name} />
      </th>
      <td class="number">{used === undefined ? count(cpus, "CPU") : `${used.toFixed(1)} of ${count(cpus, "CPU")} used`}</td>
      {children}
    </tr>
  );
}

function JobLink({ namespace, name }: { namespace: string; name: string }) {
  return (
    <a href={hrefOf(namespace, "jobs", name)}>
      <Name>{name}</Name>
    </a>
  );
}

function More({ namespace, phase, more }: { namespace: string; phase: string; more: number }) {
  if (more <= 0) return null;
  return (
    <p>
      <a href={hrefOf(namespace, "jobs", undefined, { phase })}>and {more.toLocaleString("en")} more</a>
    </p>
  );
}

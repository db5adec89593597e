// What runs, what waits, what fails, and who holds the CPUs.
import { useMemo } from "preact/hooks";
import { pathOf } from "../api/client";
import { PHASES, type Queue } from "../api/types";
import { useAnswer } from "../live/ask";
import { jobs, type Row } from "../live/jobs";
import { Ago, Command, Empty, PhaseWord, Refusal, Text } from "../parts/common";
import { HourBars } from "../parts/hour";
import { hrefOf, place } from "../router";
import { now, useStore } from "../store";
import { count, seconds, until } from "../text";
import { failures, holders, lastHour, quantile, waiting } from "./statistics";

const QUEUES_MS = 3000;
const SHOWN = 12;

export function OverviewPage() {
  const { namespace } = useStore(place);
  const { rows, isListed } = useStore(jobs);
  const granted = holders(rows).reduce((sum, row) => sum + (row.granted ?? 0), 0);
  return (
    <div class="page">
      <div class="title">
        <h1>Overview</h1>
        <span class="muted">{count(granted, "CPU")} granted</span>
      </div>
      <ul class="counts" aria-label="Jobs by phase">
        {PHASES.map((phase) => (
          <li key={phase}>
            <a href={hrefOf(namespace, "jobs", undefined, { phase })}>
              <strong>{rows.filter((row) => row.phase === phase).length.toLocaleString("en")}</strong> <PhaseWord phase={phase} />
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
        <Queues namespace={namespace} />
        <Hour rows={rows} />
        <Holders namespace={namespace} rows={rows} />
        <Waiting namespace={namespace} rows={rows} />
        <Failures namespace={namespace} rows={rows} />
      </div>
    </div>
  );
}

function Queues({ namespace }: { namespace: string }) {
  const { value, why } = useAnswer<{ items: Queue[] }>(pathOf(namespace, "queues"), QUEUES_MS);
  const queues = value?.items ?? [];
  return (
    <section aria-label="Queues">
      <h2>Queues</h2>
      <Refusal>{why}</Refusal>
      {value && queues.length === 0 && <p class="muted">There are no queues, and so no quota.</p>}
      {queues.length > 0 && (
        <table class="list">
          <thead>
            <tr>
              <th scope="col">Queue</th>
              <th scope="col">CPUs granted</th>
              <th scope="col" class="number">Free</th>
              <th scope="col" class="number">Waiting</th>
              <th scope="col" class="number">Weight</th>
            </tr>
          </thead>
          <tbody>
            {queues.map(({ metadata, spec, status }) => {
              const granted = status?.granted ?? 0;
              return (
                <tr key={metadata.name}>
                  <th scope="row">
                    <a href={hrefOf(namespace, "jobs", undefined, { queue: metadata.name })}>
                      <Text>{metadata.name}</Text>
                    </a>
                  </th>
                  <td>
                    <meter min={0} max={spec.cpus || 1} value={granted} aria-label={`CPUs granted of ${metadata.name}`} /> {granted} of {spec.cpus}
                  </td>
                  <td class="number">{Math.max(0, spec.cpus - granted)}</td>
                  <td class="number">{status?.waiting ?? 0}</td>
                  <td class="number">{spec.weight ?? 1}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Hour({ rows }: { rows: Row[] }) {
  const current = useStore(now);
  const hour = useMemo(() => lastHour(rows, current), [rows, Math.floor(current / 5000)]);
  return (
    <section aria-label="The last hour">
      <h2>The last hour</h2>
      <p>
        {count(hour.finished, "job")} ended
        {hour.failed > 0 && <span class="bad">, {hour.failed} failed</span>}
      </p>
      <HourBars bars={hour.bars} />
      <Spread what="waited" sorted={hour.waits} />
      <Spread what="ran" sorted={hour.runs} />
      <p class="muted">Of the jobs that are still kept.</p>
    </section>
  );
}

export function Spread({ what, sorted }: { what: string; sorted: number[] }) {
  const [half, most] = [quantile(sorted, 0.5), quantile(sorted, 0.95)];
  if (half === undefined || most === undefined) return null;
  return (
    <p>
      Half {what} at most {seconds(half)}, 95 % at most {seconds(most)}.
    </p>
  );
}

function Holders({ namespace, rows }: { namespace: string; rows: Row[] }) {
  const all = holders(rows);
  return (
    <section aria-label="Who holds the CPUs">
      <h2>Who holds the CPUs</h2>
      {all.length === 0 && <p class="muted">Nothing runs.</p>}
      <table class="list">
        <tbody>
          {all.slice(0, SHOWN).map((row) => (
            <tr key={row.name}>
              <th scope="row">
                <JobLink namespace={namespace} name={row.name} />
              </th>
              <td class="number">{count(row.granted ?? 0, "CPU")}</td>
              <td>{row.progress ? <Progress row={row} /> : <PhaseWord phase={row.phase} />}</td>
            </tr>
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
  const current = useStore(now);
  const all = waiting(rows);
  return (
    <section aria-label="What waits">
      <h2>What waits</h2>
      {all.length === 0 && <p class="muted">Nothing waits.</p>}
      <table class="list">
        <tbody>
          {all.slice(0, SHOWN).map((row) => (
            <tr key={row.name}>
              <th scope="row">
                <JobLink namespace={namespace} name={row.name} />
              </th>
              <td class="number">{count(row.wanted ?? 1, "CPU")}</td>
              <td>
                {row.position === undefined ? <Text>{row.queue}</Text> : `place ${row.position}`}
                {row.estimatedStart !== undefined && ` · starts ${until(row.estimatedStart, current)}`}
              </td>
              <td class="muted">
                <Ago time={row.created} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <More namespace={namespace} phase="Queued" more={all.length - SHOWN} />
    </section>
  );
}

function Failures({ namespace, rows }: { namespace: string; rows: Row[] }) {
  const groups = failures(rows);
  return (
    <section aria-label="Failures">
      <h2>Failures</h2>
      {groups.length === 0 && <p class="muted">No job that is kept has failed.</p>}
      <table class="list">
        <tbody>
          {groups.slice(0, SHOWN).map((group) => (
            <tr key={`${group.function} ${group.reason}`}>
              <th scope="row">
                <a href={hrefOf(namespace, "jobs", undefined, { phase: "Failed", function: group.function })}>
                  <Text>{group.function}</Text>
                </a>
              </th>
              <td class="bad">{group.reason}</td>
              <td class="number">{count(group.count, "job")}</td>
              <td>
                latest <JobLink namespace={namespace} name={group.latest.name} /> <span class="muted"><Ago time={group.latest.finished} /></span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function JobLink({ namespace, name }: { namespace: string; name: string }) {
  return (
    <a href={hrefOf(namespace, "jobs", name)}>
      <Text>{name}</Text>
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

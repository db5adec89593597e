// Which functions there are, and a form to try one.
import { pathOf } from "../api/client";
import type { ComputeFunction, Job } from "../api/types";
import { useAnswer } from "../live/ask";
import { jobs } from "../live/jobs";
import { Command, Empty, Refusal, Text } from "../parts/common";
import { HourBars } from "../parts/hour";
import { JobForm } from "../parts/job-form";
import { hrefOf, place } from "../router";
import { now, useStore } from "../store";
import { count } from "../text";
import { Spread } from "./overview";
import { lastHour } from "./statistics";

export function FunctionsPage() {
  const { namespace } = useStore(place);
  const { rows } = useStore(jobs);
  const { value, why } = useAnswer<{ items: ComputeFunction[] }>(pathOf(namespace, "functions"));
  return (
    <div class="page">
      <div class="title">
        <h1>Functions</h1>
      </div>
      <Refusal>{why}</Refusal>
      {value?.items.length === 0 && (
        <Empty title="There are no functions.">
          <Command>windlass serve --function count="python3 count.py"</Command>
        </Empty>
      )}
      {value && value.items.length > 0 && (
        <table class="list is-wide">
          <thead>
            <tr>
              <th scope="col">Function</th>
              <th scope="col">What it does</th>
              <th scope="col" class="number">CPUs</th>
              <th scope="col" class="number">Jobs</th>
              <th scope="col" class="number">Failed</th>
            </tr>
          </thead>
          <tbody>
            {value.items.map(({ metadata, spec }) => {
              const own = rows.filter((row) => row.function === metadata.name);
              const failed = own.filter((row) => row.phase === "Failed").length;
              return (
                <tr key={metadata.name}>
                  <th scope="row">
                    <a href={hrefOf(namespace, "functions", metadata.name)}>
                      <Text>{metadata.name}</Text>
                    </a>
                  </th>
                  <td>
                    <Text>{spec.description}</Text>
                  </td>
                  <td class="number">{cpusOf(spec)}</td>
                  <td class="number">
                    <a href={hrefOf(namespace, "jobs", undefined, { function: metadata.name })}>{own.length.toLocaleString("en")}</a>
                  </td>
                  <td class={`number${failed > 0 ? " bad" : ""}`}>{failed.toLocaleString("en")}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
    </div>
  );
}

function cpusOf({ parallelism }: ComputeFunction["spec"]): string {
  const { default: usual = 1, max = usual } = parallelism ?? {};
  return usual === max ? `${max}` : `${usual}, at most ${max}`;
}

/** One function: how it does, and a form to submit a job of it. `from` names a job whose input it begins with. */
export function FunctionPage({ namespace, name }: { namespace: string; name: string }) {
  const { query } = useStore(place);
  const from = query.get("from");
  const { value, why } = useAnswer<ComputeFunction>(pathOf(namespace, "functions", name));
  const first = useAnswer<Job>(from === null ? undefined : pathOf(namespace, "jobs", from));
  const isReady = value !== undefined && (from === null || first.value !== undefined || first.why !== undefined);
  return (
    <div class="page">
      <div class="title">
        <h1>
          <Text>{name}</Text>
        </h1>
        <span class="muted">
          <Text>{value?.spec.description}</Text>
        </span>
      </div>
      <Refusal>{why}</Refusal>
      {value && <LastHour name={name} />}
      {isReady && (
        <section aria-label="Submit a job">
          <h2>Submit a job</h2>
          <Refusal>{first.why}</Refusal>
          <JobForm key={`${name} ${from ?? ""}`} namespace={namespace} of={value} from={first.value} />
        </section>
      )}
    </div>
  );
}

function LastHour({ name }: { name: string }) {
  const { rows } = useStore(jobs);
  const hour = lastHour(rows.filter((row) => row.function === name), useStore(now));
  return (
    <section aria-label="The last hour">
      <h2>The last hour</h2>
      <p>
        {count(hour.finished, "job")} ended
        {hour.failed > 0 && <span class="bad">, {hour.failed} failed</span>}
      </p>
      {hour.finished > 0 && <HourBars bars={hour.bars} />}
      <Spread what="ran" sorted={hour.runs} />
    </section>
  );
}

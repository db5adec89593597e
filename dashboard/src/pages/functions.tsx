// Which functions there are, and a form to try one.
import { useMemo } from "preact/hooks";
import { pathOf } from "../api/client";
import type { ComputeFunction, Job } from "../api/types";
import { useAnswer } from "../live/ask";
import { jobs } from "../live/jobs";
import { countBy } from "../live/statistics";
import { Command, Empty, Name, Refusal, Text } from "../parts/common";
import { LastHour } from "../parts/hour";
import { JobForm } from "../parts/job-form";
import { hrefOf, nameIn, place } from "../router";
import { useStore } from "../store";

export function FunctionsPage() {
  const { namespace } = useStore(place);
  const { rows } = useStore(jobs);
  const { value, why } = useAnswer<{ items: ComputeFunction[] }>(pathOf(namespace, "functions"));
  const counts = countBy(rows, (row) => row.function);
  const failures = countBy(rows.filter((row) => row.phase === "Failed"), (row) => row.function);
  return (
    <div class="page is-measured">
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
        <table class="list lines is-wide">
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
              const failed = failures.get(metadata.name) ?? 0;
              return (
                <tr key={metadata.name}>
                  <th scope="row">
                    <a href={hrefOf(namespace, "functions", metadata.name)}>
                      <Name>{metadata.name}</Name>
                    </a>
                  </th>
                  <td class="more">
                    <Text>{spec.description}</Text>
                  </td>
                  <td class="number" data-label="CPUs">{cpusOf(spec)}</td>
                  <td class="number" data-label="Jobs">
                    <a href={hrefOf(namespace, "jobs", undefined, { function: metadata.name })}>{(counts.get(metadata.name) ?? 0).toLocaleString("en")}</a>
                  </td>
                  <td class="number" data-label="Failed">
                    {failed === 0 ? (
                      0
                    ) : (
                      <a class="bad" href={hrefOf(namespace, "jobs", undefined, { phase: "Failed", function: metadata.name })}>
                        {failed.toLocaleString("en")}
                      </a>
                    )}
                  </td>
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
  const { rows } = useStore(jobs);
  const own = useMemo(() => rows.filter((row) => row.function === name), [rows, name]);
  const from = nameIn(query.get("from"));
  const { value, why } = useAnswer<ComputeFunction>(pathOf(namespace, "functions", name));
  const first = useAnswer<Job>(from === undefined ? undefined : pathOf(namespace, "jobs", from));
  const isReady = value !== undefined && (from === undefined || first.value !== undefined || first.why !== undefined);
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
      {value && <LastHour rows={own} />}
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

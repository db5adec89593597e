// One job: where its time went, what it says, what went in and what came out.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { askJson, pathOf, wordsOf } from "../api/client";
import { isFinished, type BlobRef, type Estimate, type Job } from "../api/types";
import { act } from "../live/actions";
import { useAttempt } from "../live/attempt";
import { useTurn } from "../live/back";
import { useExplanation, useJob } from "../live/job";
import { jobs } from "../live/jobs";
import { known } from "../live/known";
import { Bytes, Save, Shown } from "../parts/bytes";
import { Ago, Command, PhaseWord, Refusal, Text } from "../parts/common";
import { Confirm, questionOf } from "../parts/confirm";
import { shapeOf } from "../parts/content";
import { Gantt, isLong, Why } from "../parts/gantt";
import { JsonTree } from "../parts/json-tree";
import { Logs } from "../parts/log";
import { Usage } from "../parts/usage";
import { useBlocked, WayOn } from "../parts/way-on";
import { hrefOf, nameIn } from "../router";
import { useStore } from "../store";
import { bytes, seconds, until } from "../text";

export function JobPage({ namespace, name }: { namespace: string; name: string }) {
  const { job, why, isAnother = false, isGone = false } = useJob(namespace, name);
  const explanation = useExplanation(namespace, name, job);
  const blocked = useBlocked(namespace, job);
  if (!job) {
    if (why === undefined) return <div class="page" aria-busy="true" />;
    return (
      <div class="page">
        <h1>
          <Text>{name}</Text>
        </h1>
        <Refusal>{why}</Refusal>
        <Command>windlass list</Command>
      </div>
    );
  }
  const { status } = job;
  const isOver = isFinished(status.phase);
  const isPartial = status.phase === "Failed";
  const { progress } = status;
  return (
    <div class="page" key={job.metadata.uid}>
      <Fate name={name} uid={job.metadata.uid ?? ""} isAnother={isAnother} isGone={isGone} />
      <div class="title">
        <h1>
          <Text>{job.metadata.name}</Text>
        </h1>
        <PhaseWord phase={status.phase} cancel={job.spec.cancel} />
        <Actions namespace={namespace} job={job} />
      </div>
      <Refusal>{why}</Refusal>
      <RetryOf namespace={namespace} job={job} />
      {explanation && <Why explanation={explanation} hasWayOn={blocked !== undefined} />}
      {blocked && <WayOn namespace={namespace} job={job} blocked={blocked} />}
      {explanation?.estimate && !isOver && !blocked && <Estimated estimate={explanation.estimate} />}
      {progress && !isOver && (
        <div class="progress">
          <progress max={1} value={progress.fraction} aria-label="Progress" />
          <span>
            {progress.percent} · {progress.done} of {progress.total}
            {progress.estimatedRemainingSeconds !== undefined && ` · about ${seconds(progress.estimatedRemainingSeconds)} left`}
          </span>
          {progress.message && <Text>{progress.message}</Text>}
        </div>
      )}
      <Facts namespace={namespace} job={job} />
      <Section title="Time">{explanation && <Gantt explanation={explanation} isOver={isOver} />}</Section>
      {status.timeline?.running !== undefined && <Usage key={status.attempt} namespace={namespace} job={job} />}
      {status.result && (
        <Section title={isPartial ? "Computed before it failed" : "Result"}>
          <Bytes
            path={`${pathOf(namespace, "jobs", name, "result")}${isPartial ? "?partial=true" : ""}`}
            mediaType={status.result.contentType}
            size={status.result.bytes}
            name={`${name}${ENDINGS[status.result.contentType.split(";")[0] ?? ""] ?? ""}`}
            command={`windlass result ${name} --namespace ${namespace}${isPartial ? " --partial" : ""} --output FILE`}
          />
        </Section>
      )}
      {status.failure && (
        <Section title={isOver ? "Failure" : "Latest failure"}>
          <p>
            <strong class="bad">{status.failure.reason}</strong>
            {status.failure.exitCode !== undefined && `, exit code ${status.failure.exitCode}`}, attempt {status.failure.attempt},{" "}
            <Ago time={Date.parse(status.failure.time)} />
          </p>
          <Said message={status.failure.message} isInLog={isOver && status.failure.attempt === status.attempt} />
        </Section>
      )}
      <Section title="Log">
        <Logs namespace={namespace} name={name} version={`${job.metadata.uid}`} attempts={status.attempt} />
      </Section>
      <Input namespace={namespace} job={job} />
    </div>
  );
}

/** Which job it repeats. */
function RetryOf({ namespace, job }: { namespace: string; job: Job }) {
  const first = nameIn(job.metadata.annotations?.["windlass.dev/retry-of"]);
  if (first === undefined) return null;
  return (
    <p>
      <a href={hrefOf(namespace, "jobs", first)}>
        Retry of <Text>{first}</Text>
      </a>
    </p>
  );
}

/** That the job is gone, or that another one has its name now. */
function Fate({ name, uid, isAnother, isGone }: { name: string; uid: string; isAnother: boolean; isGone: boolean }) {
  const { rows, isListed, isCut, connection } = useStore(jobs);
  const isThere = useMemo(() => rows.some((row) => row.name === name && row.uid === uid), [rows, name, uid]);
  const wasThere = useRef(false);
  if (isThere) wasThere.current = true;
  const isUnlisted = isListed && !isCut && connection.state !== "lost" && !isThere && wasThere.current;
  if (isGone || isUnlisted) {
    return <p class="banner" role="status">This job was deleted. What you see is how it was.</p>;
  }
  if (!isAnother) return null;
  return <p class="banner is-mild" role="status">The job that was here was deleted. This is another one of the same name.</p>;
}

/** What a failed attempt said last: folded where it is long and the log has it. */
function Said({ message, isInLog }: { message: string; isInLog: boolean }) {
  const said = (
    <pre class="log text" tabIndex={0} role="region" aria-label="Why it failed">
      <Text>{message}</Text>
    </pre>
  );
  if (!isInLog || !isLong(message)) return said;
  return (
    <details>
      <summary>All that it said last; the log has it, too</summary>
      {said}
    </details>
  );
}

const ENDINGS: Record<string, string> = {
  "application/json": ".json",
  "image/png": ".png",
  "image/jpeg": ".jpg",
  "text/plain": ".txt",
  "text/csv": ".csv",
  "application/vnd.apache.parquet": ".parquet",
  "application/x-parquet": ".parquet",
};

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Actions({ namespace, job }: { namespace: string; job: Job }) {
  const { why, attempt } = useAttempt();
  const [asks, setAsks] = useState<"cancel" | "delete" | undefined>();
  const target = { name: job.metadata.name, uid: job.metadata.uid ?? "" };
  const isOver = isFinished(job.status.phase);
  const go = (action: () => Promise<unknown>) => {
    setAsks(undefined);
    void attempt(action);
  };
  const retry = async () => {
    const answer = await act(namespace, target, "retry");
    const { metadata } = (await answer.json()) as Job;
    location.hash = hrefOf(namespace, "jobs", metadata.name);
  };
  const remove = async () => {
    await act(namespace, target, "delete");
    location.hash = hrefOf(namespace, "jobs");
  };
  return (
    <>
      <span class="buttons">
        {isOver ? (
          <>
            <button type="button" onClick={() => go(retry)}>
              Retry
            </button>
            <a class="button" href={hrefOf(namespace, "functions", job.spec.function, { from: job.metadata.name })}>
              Retry with edits
            </a>
          </>
        ) : (
          <button type="button" disabled={job.spec.cancel} onClick={() => setAsks("cancel")}>
            Cancel
          </button>
        )}
        <button type="button" onClick={() => setAsks("delete")}>
          Delete
        </button>
      </span>
      <Refusal>{why}</Refusal>
      {asks === "cancel" && (
        <Confirm {...questionOf("cancel", [target])} yes={() => go(() => act(namespace, target, "cancel"))} no={() => setAsks(undefined)} />
      )}
      {asks === "delete" && (
        <Confirm {...questionOf("delete", [target])} yes={() => go(remove)} no={() => setAsks(undefined)} />
      )}
    </>
  );
}

/** When it is likely to start and to end, and how sure that is. */
function Estimated({ estimate }: { estimate: Estimate }) {
  const current = useStore(known);
  const between = (what: string, middle?: string, early?: string, late?: string) =>
    middle === undefined || early === undefined || late === undefined
      ? []
      : [`${what} ${until(Date.parse(middle), current)} (likely ${until(Date.parse(early), current)} to ${until(Date.parse(late), current)})`];
  const told = [
    ...(estimate.position === undefined ? [] : [`position ${estimate.position} in the line`]),
    ...between("starts", estimate.estimatedStartTime, estimate.earliestStartTime, estimate.latestStartTime),
    ...between("ends", estimate.estimatedCompletionTime, estimate.earliestCompletionTime, estimate.latestCompletionTime),
    ...(estimate.notTold === undefined ? [] : [`${estimate.estimatedStartTime === undefined ? "" : "its end is "}not estimated: ${estimate.notTold}`]),
  ];
  return <p class="muted">{told.join(" · ")}</p>;
}

function Facts({ namespace, job }: { namespace: string; job: Job }) {
  const { spec, status, metadata } = job;
  const { usage, waiting } = status;
  const { queue = "default" } = spec;
  const facts: [string, ComponentChildren][] = [
    ["Function", <a href={hrefOf(namespace, "functions", spec.function)}><Text>{spec.function}</Text></a>],
    ["Queue", <a href={hrefOf(namespace, "jobs", undefined, { queue })}><Text>{queue}</Text></a>],
    ["CPUs", status.parallelism === undefined ? `${spec.parallelism ?? "as many as its function says"}, not granted yet` : `${status.parallelism} granted`],
  ];
  if (waiting) facts.push(["Place", `${waiting.position} in its queue`]);
  if (usage) {
    facts.push(["CPU time", `${seconds(usage.cpuSeconds)}, ${Math.round(usage.efficiency * 100)} % of what was granted`]);
    facts.push(["Memory", `${bytes(usage.peakMemoryBytes)} at most`]);
  }
  if (status.attempt !== undefined) facts.push(["Attempt", `${status.attempt}`]);
  if (status.node) facts.push(["Node", <Text>{status.node}</Text>]);
  if (spec.priority) facts.push(["Priority", `${spec.priority}`]);
  facts.push(["Created", <Ago time={Date.parse(status.timeline.created ?? metadata.creationTimestamp ?? "")} />]);
  for (const [key, value] of Object.entries(metadata.labels ?? {})) facts.push([key, <Text>{value}</Text>]);
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>
            <Text>{name}</Text>
          </dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Input({ namespace, job }: { namespace: string; job: Job }) {
  const { name } = job.metadata;
  const { inputBlob, files = {} } = job.spec;
  const blob = (sha256: string) => pathOf(namespace, "blobs", `sha256:${sha256}`);
  const names = Object.keys(files).sort();
  return (
    <>
      <Section title="Input">
        {inputBlob ? (
          <Bytes
            path={blob(inputBlob.sha256)}
            mediaType={inputBlob.mediaType}
            size={inputBlob.bytes}
            name={`${name}-input`}
            command={curlOf(blob(inputBlob.sha256), `${name}-input`)}
          />
        ) : (
          <InlineInput namespace={namespace} name={name} />
        )}
      </Section>
      {names.length > 0 && (
        <Section title="Files">
          <ul class="files">
            {names.map((file) => (
              <File key={file} name={file} blob={files[file]!} path={blob(files[file]!.sha256)} />
            ))}
          </ul>
        </Section>
      )}
    </>
  );
}

/** A file beside the input: saved, and shown where its type can be. */
function File({ name, blob: { bytes: size, mediaType }, path }: { name: string; blob: BlobRef; path: string }) {
  const [isOpen, setOpen] = useState(false);
  const shape = shapeOf(mediaType, name);
  return (
    <li>
      <Text code>{name}</Text> <span class="muted">{`${mediaType} · ${bytes(size)}`}</span>{" "}
      <Save path={path} size={size} name={name} command={curlOf(path, name)} />{" "}
      {shape !== "none" && (
        <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Hide" : "Show"} <span class="unseen"><Text>{name}</Text></span>
        </button>
      )}
      {isOpen && <Shown path={path} shape={shape} mediaType={mediaType} size={size} alt={`The file ${name}`} />}
    </li>
  );
}

/** How a shell saves what is too large for a page. */
function curlOf(path: string, file: string): string {
  return `curl -H "Authorization: Bearer $WINDLASS_TOKEN" --output '${file}' '${location.origin}${path}'`;
}

function InlineInput({ namespace, name }: { namespace: string; name: string }) {
  const [input, setInput] = useState<unknown>();
  const [why, setWhy] = useState<string | undefined>();
  const turn = useTurn(why !== undefined);
  useEffect(() => {
    setWhy(undefined);
    const stop = new AbortController();
    const path = `${pathOf(namespace, "jobs", name)}?fields=spec.input`;
    askJson<{ spec?: { input?: unknown } }>(path, { signal: stop.signal })
      .then(({ spec }) => setInput(spec?.input ?? {}))
      .catch((error) => stop.signal.aborted || setWhy(wordsOf(error)));
    return () => stop.abort();
  }, [namespace, name, turn]);
  if (input === undefined) return <Refusal>{why}</Refusal>;
  return <JsonTree value={input} length={JSON.stringify(input).length} />;
}

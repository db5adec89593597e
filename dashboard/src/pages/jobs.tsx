// All jobs of a namespace, live.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isFinished, PHASES } from "../api/types";
import { actOnAll, PAST, type Action, type Outcome, type Target } from "../live/actions";
import { jobs, MAX_JOBS, type Row } from "../live/jobs";
import { known } from "../live/known";
import { Ago, Command, Empty, PhaseWord, Text } from "../parts/common";
import { Confirm, questionOf } from "../parts/confirm";
import { memo } from "../parts/memo";
import { enterList, VirtualTable } from "../parts/virtual";
import { hrefOf, place, setQuery } from "../router";
import { now, useStore } from "../store";
import { count, seconds, until, visible, WALL_TIME } from "../text";
import { filtersOf, isFiltered, select, SINCE, valuesOf, type Filters } from "./jobs-filter";

export function JobsPage() {
  const { namespace, query } = useStore(place);
  const { rows, isListed, isCut } = useStore(jobs);
  const filters = filtersOf(query);
  const current = useStore(now);
  const moment = filters.since ? Math.floor(current / 10_000) : 0;
  const shown = useMemo(() => select(rows, filters, Date.now()), [rows, query, moment]);
  // By their UIDs: a job that is made again under its name was not chosen.
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const targets = useMemo(() => shown.filter((row) => chosen.has(row.uid)), [shown, chosen]);
  const toggle = useCallback((uid: string) => {
    setChosen((before) => {
      const next = new Set(before);
      if (!next.delete(uid)) next.add(uid);
      return next;
    });
  }, []);
  const toggleAll = () => setChosen(targets.length === shown.length ? new Set() : new Set(shown.map((row) => row.uid)));
  return (
    <div class="page is-full">
      <div class="title">
        <h1>Jobs</h1>
        <span class="muted" role="status">
          {shown.length === rows.length ? count(rows.length, "job") : `${shown.length.toLocaleString("en")} of ${count(rows.length, "job")}`}
          {isListed ? "" : " so far"}
        </span>
      </div>
      <FilterBar rows={rows} filters={filters} only={shown.length === 1 ? shown[0] : undefined} />
      {isCut && <p class="banner is-mild">There are more jobs than the {count(MAX_JOBS, "job")} that a page keeps.</p>}
      <Bulk namespace={namespace} targets={targets} clear={() => setChosen(new Set())} />
      {shown.length === 0 && isListed ? (
        <NoJobs namespace={namespace} filters={filters} />
      ) : (
        <VirtualTable
          rows={shown}
          label="Jobs"
          head={<Head all={shown.length > 0 && targets.length === shown.length} some={targets.length > 0} toggle={toggleAll} />}
          draw={(row, index) => (
            <JobRow key={row.name} row={row} index={index} namespace={namespace} isChosen={chosen.has(row.uid)} toggle={toggle} />
          )}
        />
      )}
    </div>
  );
}

/** `only` is the job that is shown when no other is: Enter opens it. */
function FilterBar({ rows, filters, only }: { rows: Row[]; filters: Filters; only: Row | undefined }) {
  const { namespace } = useStore(place);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const typed = (event: KeyboardEvent) => {
      const isWriting = event.target instanceof HTMLElement && event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isWriting) return;
      event.preventDefault();
      box.current?.select();
    };
    addEventListener("keydown", typed);
    return () => removeEventListener("keydown", typed);
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    if (only && filters.q) location.hash = hrefOf(namespace, "jobs", only.name);
  };
  const leave = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") return enterList(event);
    if (event.key !== "Escape") return;
    event.preventDefault();
    document.querySelector<HTMLElement>(".tbody")?.focus();
    box.current?.blur();
  };
  const functions = useMemo(() => valuesOf(rows, "function", filters.function), [rows, filters.function]);
  const queues = useMemo(() => valuesOf(rows, "queue", filters.queue), [rows, filters.queue]);
  return (
    <form class="filters" role="search" onSubmit={submit}>
      <input
        type="search"
        ref={box}
        aria-label="Search by name, function or label"
        aria-keyshortcuts="/"
        title="/ goes here, Enter opens the only match, the arrow down goes to the first, Escape leaves. Words such as phase=Failed, queue=NAME, reason=Crashed and label=value are filters."
        placeholder="Name, function, label=value or phase=Failed"
        value={filters.q}
        onKeyDown={leave}
        onInput={(event) => setQuery({ q: event.currentTarget.value })}
      />
      <Choice label="Phase" name="phase" value={filters.phase} options={PHASES.map((phase) => [phase, phase])} all="any phase" />
      <Choice label="Function" name="function" value={filters.function} options={functions.map((one) => [one, one])} all="any function" />
      <Choice label="Queue" name="queue" value={filters.queue} options={queues.map((one) => [one, one])} all="any queue" />
      <Choice label="Time" name="since" value={filters.since} options={SINCE.slice(1).map(([name, text]) => [name, text])} all="any time" />
      {isFiltered(filters) && (
        <button type="button" class="quiet" onClick={() => setQuery({ q: "", phase: "", function: "", queue: "", since: "" })}>
          Show all
        </button>
      )}
    </form>
  );
}

interface ChoiceProperties {
  label: string;
  name: string;
  value: string;
  options: [string, string][];
  all: string;
}

function Choice({ label, name, value, options, all }: ChoiceProperties) {
  return (
    <select aria-label={label} value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
      <option value="">{all}</option>
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {visible(text)}
        </option>
      ))}
    </select>
  );
}

const ACTIONS: [Action, string][] = [
  ["cancel", "Cancel"],
  ["retry", "Retry"],
  ["delete", "Delete"],
];

interface Asked {
  action: "cancel" | "delete";
  targets: Target[];
  /** How many of the chosen have ended and cannot be cancelled. */
  ended: number;
}

/** What can be done to the chosen jobs, and what came of it. */
function Bulk({ namespace, targets, clear }: { namespace: string; targets: Row[]; clear: () => void }) {
  const [asked, setAsked] = useState<Asked | undefined>();
  const [outcome, setOutcome] = useState<Outcome | undefined>();
  const start = (action: Action, targets: Target[]) => {
    setAsked(undefined);
    void actOnAll(namespace, targets, action, setOutcome).then(clear);
  };
  const lasting = targets.filter((row) => !isFinished(row.phase));
  const choose = (action: Action) => {
    if (action === "retry") start(action, targets);
    else if (action === "delete") setAsked({ action, targets, ended: 0 });
    else setAsked({ action, targets: lasting, ended: targets.length - lasting.length });
  };
  return (
    <>
      {targets.length > 0 && (
        <div class="bulk" role="group" aria-label="Chosen jobs">
          <strong>{count(targets.length, "job")} chosen</strong>
          {ACTIONS.map(([action, title]) => {
            const isIdle = action === "cancel" && lasting.length === 0;
            return (
              <button type="button" key={action} disabled={isIdle} title={isIdle ? "All that are chosen have ended" : undefined} onClick={() => choose(action)}>
                {title}
              </button>
            );
          })}
          <button type="button" class="quiet" onClick={clear}>
            Clear selection
          </button>
        </div>
      )}
      {asked && (
        <Confirm
          {...questionOf(asked.action, asked.targets, asked.ended)}
          yes={() => start(asked.action, asked.targets)}
          no={() => setAsked(undefined)}
        />
      )}
      {outcome && <Done outcome={outcome} close={() => setOutcome(undefined)} />}
    </>
  );
}

const SHOWN_REFUSALS = 20;

function Done({ outcome: { action, done, all, refused, isOver }, close }: { outcome: Outcome; close: () => void }) {
  return (
    <div class="banner is-mild" role="status">
      <div>
        {isOver ? "" : `${done + refused.length} of ${all}: `}
        {count(done, "job")} {PAST[action]}
        {refused.length > 0 && `, ${refused.length} refused`}
        {refused.length > 0 && (
          <ul>
            {refused.slice(0, SHOWN_REFUSALS).map(({ name, why }) => (
              <li key={name}>
                <Text code>{name}</Text>: <Text>{why}</Text>
              </li>
            ))}
            {refused.length > SHOWN_REFUSALS && <li>and {refused.length - SHOWN_REFUSALS} more</li>}
          </ul>
        )}
      </div>
      <button type="button" class="quiet" onClick={close}>
        Close
      </button>
    </div>
  );
}

function Head({ all, some, toggle }: { all: boolean; some: boolean; toggle: () => void }) {
  const box = useRef<HTMLInputElement>(null);
  if (box.current) box.current.indeterminate = some && !all;
  return (
    <div class="row job-row" role="row" aria-rowindex={1}>
      <span role="columnheader">
        <input type="checkbox" ref={box} checked={all} onChange={toggle} aria-label="Choose all shown" />
      </span>
      {["Job", "Phase", "Function", "Queue", "CPUs", "Details", "Time", "Created"].map((title) => (
        <span role="columnheader" key={title} class={`of-${title.toLowerCase()}`} title={title === "Time" ? WALL_TIME : undefined}>
          {title}
        </span>
      ))}
    </div>
  );
}

/** Most characters of what a failed job has said. */
const MOST_SAID = 300;

interface RowProperties {
  row: Row;
  index: number;
  namespace: string;
  isChosen: boolean;
  toggle: (uid: string) => void;
}

const JobRow = memo(({ row, index, namespace, isChosen, toggle }: RowProperties) => {
  return (
    <div class={`row job-row${isChosen ? " is-chosen" : ""}`} role="row" aria-rowindex={index + 2}>
      <span role="cell">
        <input type="checkbox" checked={isChosen} onChange={() => toggle(row.uid)} aria-label={`Choose ${visible(row.name)}`} />
      </span>
      <span role="cell" class="of-job">
        <a href={hrefOf(namespace, "jobs", row.name)}>
          <Text>{row.name}</Text>
        </a>
      </span>
      <span role="cell" class="of-phase">
        <PhaseWord phase={row.phase} cancel={row.cancel} />
        {row.attempt !== undefined && row.attempt > 1 && <small class="muted"> {attemptsOf(row.attempt, row.phase)}</small>}
      </span>
      <span role="cell" class="of-function">
        <Text>{row.function}</Text>
      </span>
      <span role="cell" class="of-queue">
        <Text>{row.queue}</Text>
      </span>
      <span role="cell" class="of-cpus">
        {row.granted ?? row.wanted ?? "–"}
      </span>
      <span role="cell" class="of-details">
        <Details row={row} />
      </span>
      <span role="cell" class="of-time">
        <Lasted row={row} />
      </span>
      <span role="cell" class="of-created">
        <Ago time={row.created} />
      </span>
    </div>
  );
});

/** Which attempt it is that starts or runs, or how many there were. */
function attemptsOf(attempt: number, phase: Row["phase"]): string {
  return phase === "Starting" || phase === "Running" ? `attempt ${attempt}` : count(attempt, "attempt");
}

/** How far it is, what it waits for, or why it failed, and its labels. */
function Details({ row }: { row: Row }) {
  const current = useStore(known);
  if (row.phase === "Running" && row.progress) {
    const { fraction, percent, estimatedRemainingSeconds: left, message } = row.progress;
    const told = [percent, left !== undefined && `${seconds(left)} left`, message && visible(message)].filter(Boolean).join(" · ");
    return (
      <>
        <progress max={1} value={fraction} aria-label="Progress" />
        <span class="text" title={told}>
          {told}
        </span>
        <Labels labels={row.labels} />
      </>
    );
  }
  const reason = reasonOf(row, current);
  return (
    <>
      {reason !== undefined && (
        <span class={`text reason${row.phase === "Failed" ? " bad" : ""}`} title={visible(row.message ?? row.waits ?? "")}>
          {visible(reason)}
        </span>
      )}
      <Labels labels={row.labels} />
    </>
  );
}

/** Why it failed, by the last line of what it said, or what it waits for. What a function says when it is stopped is not why. */
function reasonOf(row: Row, current: number): string | undefined {
  if (row.phase === "Failed") {
    const lines = row.message?.trim().split("\n");
    const line = row.reason === "Timeout" ? lines?.[0]?.split(";")[0] : lines?.at(-1);
    const said = line?.trim().slice(0, MOST_SAID);
    return said ? `${row.reason}: ${said}` : row.reason;
  }
  if (isFinished(row.phase)) return undefined;
  if (row.position !== undefined) {
    const start = row.estimatedStart === undefined ? "" : ` · starts ${until(row.estimatedStart, current)}`;
    return `place ${row.position}${start}${row.waits ? ` · ${row.waits}` : ""}`;
  }
  if (row.attempt !== undefined && row.reason) return `again after ${row.reason}`;
  return row.waits;
}

function Labels({ labels }: { labels: Record<string, string> }) {
  if (Object.keys(labels).length === 0) return null;
  return (
    <span class="labels">
      {Object.entries(labels).map(([key, value]) => (
        <button type="button" class="label" key={key} title={`${visible(`${key}=${value}`)}: show the jobs with this label`} onClick={() => setQuery({ q: `${key}=${value}` })}>
          <Text>{`${key}=${value}`}</Text>
        </button>
      ))}
    </span>
  );
}

/** From its acceptance to its end, or as far as is known. */
function Lasted({ row }: { row: Row }) {
  const current = useStore(known);
  const { created, finished = current } = row;
  return <span title={WALL_TIME}>{created ? seconds(Math.max(0, finished - created) / 1000) : "–"}</span>;
}

function NoJobs({ namespace, filters }: { namespace: string; filters: Filters }) {
  if (isFiltered(filters)) return <Empty title="No job matches." />;
  const where = namespace === "default" ? "" : ` --namespace ${namespace}`;
  return (
    <Empty title="There are no jobs yet.">
      <p class="muted">This submits one; it appears here at once.</p>
      <Command>{`windlass submit echo --input '{"hello": "world"}'${where}`}</Command>
    </Empty>
  );
}

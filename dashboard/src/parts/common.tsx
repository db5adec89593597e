// Small pieces that all pages use. Text of strangers goes through `Text`: it is isolated, and what cannot be seen is shown.
import type { ComponentChildren } from "preact";
import type { Phase } from "../api/types";
import { now, useStore } from "../store";
import { ago, exact, visible } from "../text";

export function Text({ children, code }: { children: string | undefined; code?: boolean }) {
  if (children === undefined) return null;
  const shown = visible(children);
  return code ? <code class="text">{shown}</code> : <span class="text">{shown}</span>;
}

/** A name on one line: of one that is too long the beginning, and all of it on hover. */
export function Name({ children }: { children: string }) {
  const shown = visible(children);
  return (
    <span class="text name" title={shown}>
      {shown}
    </span>
  );
}

export function PhaseWord({ phase, cancel }: { phase: Phase | undefined; cancel?: boolean }) {
  const word = phase ?? "New";
  const isEnding = cancel && phase !== "Cancelled" && phase !== "Succeeded" && phase !== "Failed";
  return (
    <span class={`phase phase-${word.toLowerCase()}`}>
      <span class="dot" aria-hidden="true" />
      {isEnding ? "Cancelling" : word}
    </span>
  );
}

/** A time relative to now, with the exact one on hover. */
export function Ago({ time }: { time: number | undefined }) {
  const current = useStore(now);
  if (!time) return <span>–</span>;
  return (
    <time dateTime={new Date(time).toISOString()} title={exact(time)}>
      {ago(time, current)}
    </time>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p>{title}</p>
      {children}
    </div>
  );
}

/** A command to type. */
export function Command({ children }: { children: string }) {
  return (
    <pre class="command" tabIndex={0} aria-label="Command">
      {children}
    </pre>
  );
}

/** Why something was refused, in the API's words. */
export function Refusal({ children }: { children: string | undefined }) {
  if (!children) return null;
  return (
    <p class="refusal" role="alert">
      <Text>{children}</Text>
    </p>
  );
}

// What the last hour or the last day was like, as the server has counted it.
import { pathOf } from "../api/client";
import type { HistoryReport, HistorySlot, HistoryWindow } from "../api/types";
import { useAnswer } from "../live/ask";
import { place, hrefOf } from "../router";
import { now, useStore } from "../store";
import { ago, count, exact, seconds, span } from "../text";
import { Axis, Hatch, InWords } from "./chart";
import { Refusal, Text } from "./common";

const AGAIN_MS = 10_000;
const WIDTH = 600;
const HEIGHT = 56;
/** In the order in which they are stacked, from below. */
const ENDS = ["succeeded", "cancelled", "failed"] as const;

export function History({ namespace }: { namespace: string }) {
  const { query } = useStore(place);
  const current = useStore(now);
  const { value, why } = useAnswer<HistoryReport>(pathOf(namespace, "history"), AGAIN_MS);
  const isDay = query.get("window") === "day";
  const [name, window] = isDay ? ["day", value?.day] : ["hour", value?.hour];
  const since = value?.since === undefined ? undefined : Date.parse(value.since);
  return (
    <section aria-label="What has ended">
      <h2>The last {name}</h2>
      <p>
        <a href={hrefOf(namespace, "overview")} aria-current={!isDay}>Last hour</a>{" · "}
        <a href={hrefOf(namespace, "overview", undefined, { window: "day" })} aria-current={isDay}>Last day</a>
      </p>
      <Refusal>{why}</Refusal>
      {window && <Ended name={name} window={window} />}
      {since !== undefined && window && since > Date.parse(window.all.from) && (
        <p class="muted" title={exact(since)}>Counted since this gateway started, {ago(since, current)}.</p>
      )}
    </section>
  );
}

function Ended({ name, window }: { name: string; window: HistoryWindow }) {
  const { all } = window;
  const ended = all.succeeded + all.failed + all.cancelled;
  const reasons = Object.entries(all.failures).sort(([, a], [, b]) => b - a);
  const [half, most] = [all.waitP50Seconds, all.waitP95Seconds];
  return (
    <>
      <p>
        {count(ended, "job")} ended
        {all.failed > 0 && <span class="bad">, {all.failed.toLocaleString("en")} failed</span>}
        {all.cancelled > 0 && `, ${all.cancelled.toLocaleString("en")} cancelled`}
      </p>
      <Bars name={name} window={window} />
      {half !== undefined && most !== undefined && (
        <>
          <p>Half waited at most {seconds(half)}, 95 % at most {seconds(most)}.</p>
          <Waits name={name} window={window} />
        </>
      )}
      {reasons.length > 0 && (
        <table class="list" aria-label="Failed, by reason">
          <tbody>
            {reasons.map(([reason, failed]) => (
              <tr key={reason}>
                <th scope="row">
                  <a class="bad" href={hrefOf(place.get().namespace, "jobs", undefined, { phase: "Failed", q: `reason=${reason}` })}>
                    <Text>{reason}</Text>
                  </a>
                </th>
                <td class="number">{count(failed, "job")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

/** Where a slot is, as a part of the width. */
function placeOf(slot: HistorySlot, { slotSeconds, all }: HistoryWindow, slots: number): number {
  return ((Date.parse(slot.from) - Date.parse(all.from)) / 1000 / slotSeconds / slots) * WIDTH;
}

function slotsOf({ slotSeconds }: HistoryWindow): number {
  return slotSeconds === 60 ? 60 : 86400 / slotSeconds;
}

/** When a slot was. */
function spanOf(slot: HistorySlot, { slotSeconds }: HistoryWindow): string {
  const from = Date.parse(slot.from);
  return span(from, from + slotSeconds * 1000, slotSeconds > 60);
}

/** The first and the last time of a window. */
function Times({ window }: { window: HistoryWindow }) {
  const from = Date.parse(window.all.from);
  return <Axis from={from} to={from + slotsOf(window) * window.slotSeconds * 1000} hasDay={window.slotSeconds > 60} />;
}

/** How many ended in each slot. */
function Bars({ name, window }: { name: string; window: HistoryWindow }) {
  const slots = slotsOf(window);
  const sum = (slot: HistorySlot) => slot.succeeded + slot.cancelled + slot.failed;
  const most = Math.max(1, ...window.slots.map(sum));
  const told = (slot: HistorySlot) => `${spanOf(slot, window)}: ${slot.succeeded} succeeded, ${slot.failed} failed, ${slot.cancelled} cancelled`;
  return (
    <>
      <svg class="history" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
        aria-label={`${sum(window.all)} jobs ended in the last ${name}, at most ${most} in ${seconds(window.slotSeconds)}`}>
        <Hatch id="failed" />
        {window.slots.map((slot) => {
          let below = 0;
          const [x, width] = [placeOf(slot, window, slots), WIDTH / slots - 1];
          return (
            <g key={slot.from}>
              <title>{told(slot)}</title>
              <rect class="is-place" x={x} y={0} width={width} height={HEIGHT} />
              {ENDS.map((end) => {
                const height = (slot[end] / most) * HEIGHT;
                below += height;
                return <rect key={end} class={`ended-${end}`} x={x} y={HEIGHT - below} width={width} height={height} />;
              })}
            </g>
          );
        })}
      </svg>
      <Times window={window} />
      <InWords label={`How many jobs ended in the last ${name}`} bars={window.slots.filter(sum).map(told)} />
    </>
  );
}

/** How long half and 95 % of the jobs of each slot had waited at most. */
function Waits({ name, window }: { name: string; window: HistoryWindow }) {
  const slots = slotsOf(window);
  const most = Math.max(0.001, ...window.slots.map((slot) => slot.waitP95Seconds ?? 0));
  const heightOf = (value: number) => Math.max(1, (value / most) * HEIGHT);
  const shown = window.slots.flatMap((slot) => {
    const { waitP50Seconds: half, waitP95Seconds: high } = slot;
    if (half === undefined || high === undefined) return [];
    const told = `${spanOf(slot, window)}: half waited at most ${seconds(half)}, 95 % at most ${seconds(high)}`;
    return [{ from: slot.from, x: placeOf(slot, window, slots), half: heightOf(half), high: heightOf(high), told }];
  });
  const width = WIDTH / slots - 1;
  return (
    <>
      <svg class="history" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
        aria-label={`How long jobs waited in the last ${name}: 95 % at most ${seconds(most)} in the worst ${seconds(window.slotSeconds)}`}>
        {shown.map(({ from, x, half, high, told }) => (
          <g key={from}>
            <title>{told}</title>
            <rect class="is-place" x={x} y={0} width={width} height={HEIGHT} />
            <rect class="is-most" x={x} y={HEIGHT - high} width={width} height={high} />
            <rect class="is-half" x={x} y={HEIGHT - half} width={width} height={half} />
          </g>
        ))}
      </svg>
      <Times window={window} />
      <InWords label={`How long jobs waited in the last ${name}`} bars={shown.map(({ told }) => told)} />
    </>
  );
}

// What a job's function says, as it says it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, pathOf, wordsOf } from "../api/client";
import { useTurn } from "../live/back";
import { visible } from "../text";
import { Refusal } from "./common";

/** Bytes of the past that are asked for, and characters that are kept. */
const TAIL_BYTES = 65_536;
const MAX_CHARACTERS = 400_000;

interface Properties {
  namespace: string;
  name: string;
  /** Changes when another job makes another stream. */
  version: string;
  /** An earlier attempt; else the latest, as it comes. */
  attempt?: number | undefined;
  hasBegun: boolean;
}

/** The log of the latest attempt as it comes, or of the one that is chosen. `attempts` is how many have begun. */
export function Logs({ attempts = 0, ...of }: Omit<Properties, "hasBegun"> & { attempts: number | undefined }) {
  const [attempt, setAttempt] = useState<number | undefined>();
  const earlier = Array.from({ length: Math.max(0, attempts - 1) }, (_, index) => attempts - 1 - index);
  return (
    <>
      {earlier.length > 0 && (
        <p>
          <label>
            Attempt{" "}
            <select value={attempt ?? ""} onChange={(event) => setAttempt(Number(event.currentTarget.value) || undefined)}>
              <option value="">{attempts} (latest)</option>
              {earlier.map((number) => (
                <option key={number} value={number}>
                  {number}
                </option>
              ))}
            </select>
          </label>
        </p>
      )}
      <Log key={attempt ?? "latest"} {...of} attempt={attempt} hasBegun={attempts > 0} />
    </>
  );
}

function Log({ namespace, name, version, attempt, hasBegun }: Properties) {
  const box = useRef<HTMLPreElement>(null);
  const [why, setWhy] = useState<string | undefined>();
  const [isEmpty, setEmpty] = useState(true);
  const turn = useTurn(why !== undefined);
  useEffect(() => {
    const stop = new AbortController();
    const pre = box.current;
    if (!pre) return;
    setWhy(undefined);
    setEmpty(true);
    const what = attempt === undefined ? "follow=true" : `attempt=${attempt}`;
    const path = `${pathOf(namespace, "jobs", name, "logs")}?${what}&tailBytes=${TAIL_BYTES}`;
    read(path, stop.signal, appender(pre, () => setEmpty(false))).catch((error) => {
      if (!stop.signal.aborted) setWhy(wordsOf(error));
    });
    return () => stop.abort();
  }, [namespace, name, version, attempt, turn]);
  return (
    <>
      <Refusal>{why}</Refusal>
      <pre class="log text" ref={box} tabIndex={0} role="log" aria-label="Log" />
      {isEmpty && why === undefined && <p class="muted">{hasBegun ? "Nothing was printed." : "It has not begun."}</p>}
    </>
  );
}

async function read(path: string, signal: AbortSignal, append: (text: string) => void): Promise<void> {
  const answer = await ask(path, { signal });
  // A stream that was read before is replaced only once the next one is there.
  append("");
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) append(next.value);
}

/** Appends once a frame, keeps the end in view where it was, and forgets what is too long ago. */
function appender(pre: HTMLPreElement, filled: () => void): (text: string) => void {
  let [waiting, isAsked, isFirst] = ["", false, true];
  const draw = () => {
    isAsked = false;
    const isAtEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
    if (isFirst) pre.textContent = "";
    isFirst = false;
    if (waiting) {
      filled();
      pre.append(visible(waiting.slice(-MAX_CHARACTERS)));
    }
    waiting = "";
    let length = pre.textContent?.length ?? 0;
    while (length > MAX_CHARACTERS && pre.childNodes.length > 1) {
      length -= pre.firstChild?.textContent?.length ?? 0;
      pre.firstChild?.remove();
    }
    if (isAtEnd) pre.scrollTop = pre.scrollHeight;
  };
  return (text) => {
    waiting += text;
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(draw);
  };
}

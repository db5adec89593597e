// A JSON document that opens where one looks. What is closed is not drawn, and of much only a part is.
import { useState } from "preact/hooks";
import { Text } from "./common";

/** Characters of a document that is open as a whole. */
const SMALL = 2048;
/** How deep a larger one is open. */
const OPEN_DEPTH = 2;
const CHILDREN = 100;
const LONG = 2000;

/** `length` is that of its text. */
export function JsonTree({ value, length }: { value: unknown; length: number }) {
  return (
    <div class="tree">
      <Node value={value} open={length < SMALL ? Infinity : OPEN_DEPTH} />
    </div>
  );
}

/** `open` is how many levels of it are open at first. */
function Node({ value, name, open }: { value: unknown; name?: string; open: number }) {
  const label = name === undefined ? null : <span class="key"><Text>{name}</Text>: </span>;
  if (value === null || typeof value !== "object") {
    return (
      <div class="leaf">
        {label}
        <Leaf value={value} />
      </div>
    );
  }
  return <Branch label={label} value={value} levels={open} />;
}

function Branch({ label, value, levels }: { label: preact.ComponentChild; value: object; levels: number }) {
  const entries = Array.isArray(value) ? undefined : Object.keys(value);
  const length = entries?.length ?? (value as unknown[]).length;
  const [isOpen, setOpen] = useState(levels > 0 && (levels === Infinity || length <= CHILDREN));
  const [most, setMost] = useState(CHILDREN);
  const [open, close] = entries ? ["{", "}"] : ["[", "]"];
  if (length === 0) return <div class="leaf">{label}{open}{close}</div>;
  const child = (at: number) => {
    const key = entries ? (entries[at] ?? "") : String(at);
    return <Node key={key} name={key} value={(value as Record<string, unknown>)[key]} open={levels - 1} />;
  };
  return (
    <div class="branch">
      <button type="button" class="fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span aria-hidden="true">{isOpen ? "▾" : "▸"}</span> {label}
        {open}
        {isOpen ? "" : ` ${length} ${close}`}
      </button>
      {isOpen && (
        <div class="children">
          {Array.from({ length: Math.min(most, length) }, (_, at) => child(at))}
          {length > most && (
            <button type="button" class="quiet" onClick={() => setMost(most + 10 * CHILDREN)}>
              {length - most} more
            </button>
          )}
        </div>
      )}
    </div>
  );
}

function Leaf({ value }: { value: unknown }) {
  if (typeof value !== "string") return <span class={`is-${typeof value}`}>{String(value)}</span>;
  const shown = value.length > LONG ? `${value.slice(0, LONG)}… (${value.length} characters)` : value;
  return (
    <span class="is-string">
      "<Text>{shown}</Text>"
    </span>
  );
}

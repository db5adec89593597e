// Only the rows that can be seen are drawn, so that ten thousand cost what thirty do.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

const MORE = 6;

interface Properties<T> {
  rows: T[];
  label: string;
  head: ComponentChildren;
  draw: (row: T, index: number) => ComponentChildren;
}

export function VirtualTable<T>({ rows, label, head, draw }: Properties<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600, row: 32 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => {
      const row = parseFloat(getComputedStyle(element).getPropertyValue("--row")) || 32;
      const next = { top: element.scrollTop, height: element.clientHeight, row };
      setView((view) => (view.top === next.top && view.height === next.height && view.row === next.row ? view : next));
    };
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => (resized.disconnect(), element.removeEventListener("scroll", measure));
  }, []);
  const first = Math.max(0, Math.floor(view.top / view.row) - MORE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / view.row) + MORE);
  return (
    <div class="table" role="table" aria-label={label} aria-rowcount={rows.length + 1} onKeyDown={moveByArrows}>
      <div class="thead" role="rowgroup">
        {head}
      </div>
      <div class="tbody" role="rowgroup" ref={box} tabIndex={0} aria-label={`${label}, rows`}>
        <div role="presentation" style={{ height: `${first * view.row}px` }} />
        {rows.slice(first, last).map((row, at) => draw(row, first + at))}
        <div role="presentation" style={{ height: `${(rows.length - last) * view.row}px` }} />
      </div>
    </div>
  );
}

/** Goes to the link of the first row, which may have to be drawn before. */
export function enterList(event: KeyboardEvent): void {
  const box = document.querySelector<HTMLElement>(".tbody");
  if (!box) return;
  event.preventDefault();
  const go = () => box.querySelector<HTMLElement>("[role=row] a")?.focus();
  if (box.scrollTop === 0) return go();
  box.addEventListener("scroll", () => requestAnimationFrame(go), { once: true });
  box.scrollTop = 0;
}

/** The arrow keys go from a row's link to that of the next. */
function moveByArrows(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined || !(event.target instanceof HTMLElement)) return;
  if (event.target.classList.contains("tbody") && step > 0) return enterList(event);
  const here = event.target.closest("[role=row]");
  if (!here || !(event.currentTarget instanceof HTMLElement)) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>(".tbody [role=row] a")];
  const next = links[links.findIndex((link) => here.contains(link)) + step];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

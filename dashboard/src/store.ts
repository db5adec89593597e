// A value that components follow.
import { useEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  follow(listener: () => void): () => void;
}

export function store<T>(value: T): Store<T> {
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of listeners) listener();
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useStore<T>(of: Store<T>): T {
  const [, redraw] = useState(0);
  useEffect(() => of.follow(() => redraw((count) => count + 1)), [of]);
  return of.get();
}

/** The time, each second. */
export const now = store(Date.now());
setInterval(() => now.set(Date.now()), 1000);

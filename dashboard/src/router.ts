// Where the reader is: `#/NAMESPACE/PAGE/NAME?filters`. Nothing of it is sent to the server.
import { store } from "./store";

export interface Place {
  namespace: string;
  page: string;
  name: string | undefined;
  query: URLSearchParams;
}

/** A name in an address. The two that a browser takes for steps in a path are none. */
export function nameIn(text: string | null | undefined): string | undefined {
  return text && text !== "." && text !== ".." ? text : undefined;
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [namespace, page, name] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return {
    namespace: nameIn(namespace) ?? "default",
    page: page || "jobs",
    name: nameIn(name),
    query: new URLSearchParams(query),
  };
}

export const place = store(read());
addEventListener("hashchange", () => place.set(read()));
addEventListener("popstate", () => place.set(read()));

export function reread(): void {
  place.set(read());
}

export function hrefOf(namespace: string, page: string, name?: string, query: Record<string, string> = {}): string {
  const path = [namespace, page, ...(name === undefined ? [] : [name])].map(encodeURIComponent).join("/");
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return `#/${path}${words ? `?${words}` : ""}`;
}

/** Changes filters in the address, without a step in the history for each letter. */
export function setQuery(changes: Record<string, string>): void {
  const { namespace, page, name, query } = place.get();
  const all = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", hrefOf(namespace, page, name, all));
  reread();
}

// Requests to the API of the server that gave the page, with its reader's token.
import { isByIngress, session, signOut } from "../session";
import { hear } from "./heard";
import type { ProblemDocument } from "./types";

/** A refusal, in the API's own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<ProblemDocument>,
  ) {
    const places = (problem.problems ?? []).map(({ pointer, message }) =>
      pointer ? `${pointer}: ${message}` : message,
    );
    super([problem.detail ?? `the server answers ${status}`, ...places].join("\n"));
  }
}

/** What is wrong, for a person. A request that got no answer has no words of the API. */
export function wordsOf(error: unknown): string {
  if (error instanceof Refused) return error.message;
  if (error instanceof TypeError) return "the server does not answer";
  return error instanceof Error ? error.message : String(error);
}

/** The answer to a request that succeeds. */
export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const { isSignedIn, token } = session.get();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  // The API redirects nobody. An ingress whose session is over does, to where one signs in.
  const redirect = isByIngress ? "manual" : "error";
  const answer = await fetch(path, { ...options, headers, cache: "no-store", redirect });
  if (answer.ok) {
    hear();
    return answer;
  }
  if (answer.type === "opaqueredirect") {
    const refused = new Refused(401, { detail: "the ingress has signed you out" });
    signOut(refused.message);
    throw refused;
  }
  const problem = (await answer.json().catch(() => ({}))) as Partial<ProblemDocument>;
  const refused = new Refused(answer.status, problem);
  if (answer.status === 401 && isSignedIn) signOut(refused.message);
  throw refused;
}

export async function askJson<T>(path: string, options?: RequestInit): Promise<T> {
  return (await (await ask(path, options)).json()) as T;
}

export function post(path: string, body?: unknown, headers: HeadersInit = {}): Promise<Response> {
  if (body === undefined) return ask(path, { method: "POST", headers });
  const all = { "Content-Type": "application/json", ...headers };
  return ask(path, { method: "POST", body: JSON.stringify(body), headers: all });
}

/** A path below a namespace. A browser would take `.` and `..` for steps to another path, however they are written. */
export function pathOf(...parts: [namespace: string, ...string[]]): string {
  const wrong = parts.find((part) => part === "" || part === "." || part === "..");
  if (wrong !== undefined) throw new Error(`${JSON.stringify(wrong)} is no name`);
  return ["/v1/namespaces", ...parts.map(encodeURIComponent)].join("/");
}

/** A key under which a request that is sent twice is one. */
export function requestKey(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `dashboard-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// The reader's token. It is kept for this tab alone, and never in an address. Where an ingress signs its users in, that adds
// it to each request, and the page has none.
import { store } from "./store";

const KEY = "windlass.token";

/** Whether an ingress signs the reader in: the server says it in the page. */
export const isByIngress = document.querySelector('meta[name="windlass-sign-in"][content="ingress"]') !== null;

export interface Session {
  isSignedIn: boolean;
  token: string | undefined;
  /** Why there is none any more. */
  why: string | undefined;
}

const kept = sessionStorage.getItem(KEY) ?? undefined;
export const session = store<Session>({ isSignedIn: isByIngress || kept !== undefined, token: kept, why: undefined });

export function signIn(token: string): void {
  sessionStorage.setItem(KEY, token);
  session.set({ isSignedIn: true, token, why: undefined });
}

export function signOut(why?: string): void {
  sessionStorage.removeItem(KEY);
  session.set({ isSignedIn: false, token: undefined, why });
}

/** Redeems the code of a link of `windlass dashboard`. It leaves the address before it is used. */
export async function redeemCode(): Promise<void> {
  const [path = "", query = ""] = location.hash.split("?");
  const parameters = new URLSearchParams(query);
  const code = parameters.get("code");
  if (code === null) return;
  parameters.delete("code");
  const rest = parameters.toString();
  history.replaceState(null, "", rest ? `${path}?${rest}` : path || "#/");
  const headers = { Authorization: `Bearer ${code}` };
  try {
    const answer = await fetch("/v1/login", { method: "POST", headers, cache: "no-store" });
    const body = (await answer.json()) as { token?: string; detail?: string };
    if (body.token) signIn(body.token);
    else if (session.get().token === undefined) signOut(body.detail);
  } catch {
    signOut("the server does not answer");
  }
}

// What is around each page: where the reader is, and whether what they see is live.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { jobs } from "../live/jobs";
import { hrefOf, place } from "../router";
import { isByIngress, session, signIn, signOut } from "../session";
import { useStore } from "../store";
import { choose, theme, THEMES, type Theme } from "../theme";
import { Command, Refusal, Text } from "./common";

export const PAGES = [
  ["overview", "Overview"],
  ["jobs", "Jobs"],
  ["functions", "Functions"],
] as const;

export function Frame({ children }: { children: ComponentChildren }) {
  const { namespace, page } = useStore(place);
  const { connection } = useStore(jobs);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>
        Skip to content
      </a>
      <header>
        <a class="brand" href={hrefOf(namespace, "overview")}>
          Windlass
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([name, title]) => (
            <a key={name} href={hrefOf(namespace, name)} aria-current={page === name ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Namespace key={namespace} namespace={namespace} />
        <span class={`connection is-${connection.state}`} role="status">
          <span class="dot" aria-hidden="true" />
          {connection.state === "polling" ? "every 10 s" : connection.state}
        </span>
        <ThemeChoice />
        {!isByIngress && (
          <button type="button" class="quiet" onClick={() => signOut()}>
            Sign out
          </button>
        )}
      </header>
      {connection.state === "lost" && (
        <p class="banner" role="alert">
          What you see may be old: <Text>{connection.why}</Text>. Trying again.
        </p>
      )}
      {connection.state === "polling" && (
        <p class="banner is-mild">
          Asked again every 10 s: <Text>{connection.why}</Text>.
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

function ThemeChoice() {
  const chosen = useStore(theme);
  return (
    <select aria-label="Theme" title="Theme" value={chosen} onChange={(event) => choose(event.currentTarget.value as Theme)}>
      {THEMES.map((name) => (
        <option key={name} value={name}>
          {name === "system" ? "auto" : name}
        </option>
      ))}
    </select>
  );
}

function Namespace({ namespace }: { namespace: string }) {
  const go = (event: Event) => {
    event.preventDefault();
    const value = new FormData(event.currentTarget as HTMLFormElement).get("namespace");
    if (value) location.hash = hrefOf(String(value).trim(), place.get().page);
  };
  return (
    <form class="namespace" onSubmit={go}>
      <label>
        <span class="muted">Namespace</span>
        <input name="namespace" defaultValue={namespace} maxLength={63} spellcheck={false} size={12} />
      </label>
    </form>
  );
}

/** Asks for a token. */
export function SignIn() {
  const { why } = useStore(session);
  const [token, setToken] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    if (token.trim()) signIn(token.trim());
  };
  return (
    <main class="sign-in" id="main">
      <h1>Windlass</h1>
      <Refusal>{why}</Refusal>
      {isByIngress && (
        <p>
          Who you are is said by the ingress of this page. Load it again, or use a token:
        </p>
      )}
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <button type="submit">Sign in</button>
      </form>
      <p class="muted">The token stays in this tab. On the machine of the server this prints a link that needs none:</p>
      <Command>windlass dashboard</Command>
      <p class="muted">On a cluster a token of your own is good for what you may do there:</p>
      <Command>kubectl create token NAME --namespace NAMESPACE</Command>
    </main>
  );
}

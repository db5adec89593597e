// The dashboard: pages over the REST API of the server that gave them.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { followJobs } from "./live/jobs";
import { FunctionPage, FunctionsPage } from "./pages/functions";
import { JobPage } from "./pages/job";
import { JobsPage } from "./pages/jobs";
import { OverviewPage } from "./pages/overview";
import { Frame, SignIn } from "./parts/frame";
import { place, reread } from "./router";
import { redeemCode, session } from "./session";
import { useStore } from "./store";
import { followTheme } from "./theme";
import "./style.css";

function App() {
  const { isSignedIn, token } = useStore(session);
  const { namespace, page, name } = useStore(place);
  useEffect(() => {
    if (!isSignedIn) return;
    const stop = new AbortController();
    void followJobs(namespace, stop.signal);
    return () => stop.abort();
  }, [isSignedIn, token, namespace]);
  useEffect(() => {
    document.title = `${name ?? page} · Windlass`;
  }, [page, name]);
  if (!isSignedIn) return <SignIn />;
  return (
    <Frame>
      <Page />
    </Frame>
  );
}

function Page() {
  const { namespace, page, name } = useStore(place);
  if (page === "overview") return <OverviewPage />;
  if (page === "functions") {
    return name === undefined ? <FunctionsPage /> : <FunctionPage namespace={namespace} name={name} />;
  }
  return name === undefined ? <JobsPage /> : <JobPage namespace={namespace} name={name} />;
}

async function start(): Promise<void> {
  followTheme();
  await redeemCode();
  reread();
  // A link of `windlass dashboard` may be pasted into a tab that shows the page already.
  addEventListener("hashchange", () => void redeemCode().then(reread));
  const app = document.getElementById("app");
  if (app) render(<App />, app);
}

void start();

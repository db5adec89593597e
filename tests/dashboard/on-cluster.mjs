// The dashboard of a cluster's gateway: `node on-cluster.mjs URL NAMESPACE TOKEN`. The token may edit in the namespace, where
// the queues `default` and `small` and the function `misbehave` are beside those of a release.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { holdAndResume, lookAtAll, submitByForm } from "./steps.mjs";
import { go, newContext, openBrowser, section, signIn, until } from "./support.mjs";

const [url, namespace, token] = process.argv.slice(2);

async function open(page) {
  await page.goto(`${url}/dashboard/#/${namespace}/jobs`);
  await signIn(page, token);
  await page.locator(".connection.is-live").waitFor();
  // Another tab is not signed in by it, and the token is in no address.
  assert.ok(!page.url().includes(token));
}

/** From the form to the picture. */
async function render(page) {
  const scene = JSON.parse(readFileSync(new URL("../../examples/scene.json", import.meta.url), "utf8"));
  await go(page, `#/${namespace}/functions/render`);
  await page.getByRole("button", { name: "Write it as JSON" }).click();
  const input = JSON.stringify({ ...scene, width: 120, height: 80, samples: 8 });
  const name = await submitByForm(page, namespace, "render", { "Input, as JSON": input });
  await page.locator(".title .phase-succeeded").waitFor();
  await page.getByRole("img", { name: "The result" }).waitFor();
  await until("it is drawn", () => page.evaluate(() => document.querySelector("img").naturalWidth === 120));
  await page.locator(".gantt").getByRole("rowheader", { name: "running" }).waitFor();
  return name;
}

/** A form with fields, a log that is followed, and a result. */
async function talk(page) {
  await submitByForm(page, namespace, "misbehave", { mode: "talk", lines: "100", Labels: "team=blue" });
  const log = section(page, "Log").getByRole("log");
  // Whichever come while it runs: the first ones may be out of sight by then.
  await log.getByText(/line \d+ of 100/).first().waitFor();
  await page.locator(".title .phase-running").waitFor();
  await log.getByText("line 99 of 100").waitFor();
  await section(page, "Result").getByText("said").waitFor();
}

async function fail(page) {
  const name = await submitByForm(page, namespace, "misbehave", { mode: "crash" });
  await page.locator(".title .phase-failed").waitFor();
  await section(page, "Failure").getByText("exit code 3, attempt 3").waitFor();
  await page.locator(".why.is-failed").waitFor();
  await page.locator(".gantt").getByRole("rowheader", { name: "earlier attempt 2" }).waitFor();
  const log = section(page, "Log");
  await log.getByRole("log").getByText('about to "crash"').waitFor();
  // With a store, the earlier attempt's log is kept.
  await log.getByLabel("Attempt").selectOption("1");
  await log.getByRole("log").getByText('about to "crash"').waitFor();
  return name;
}

/** A job that waits for another one of its queue, until that is cancelled. */
async function wait(page) {
  const fields = { mode: "talk", lines: "6000", Queue: "small" };
  const holder = await submitByForm(page, namespace, "misbehave", fields);
  await page.locator(".title .phase-running").waitFor();
  const name = await submitByForm(page, namespace, "misbehave", { ...fields, lines: "1" });
  await page.locator(".why.is-waiting").filter({ hasText: 'queue "small" has 1' }).waitFor();
  await go(page, `#/${namespace}/overview`);
  await section(page, "Who holds the CPUs").getByRole("link", { name: holder }).waitFor();
  await section(page, "What waits").getByRole("row").filter({ hasText: name }).getByText('queue "small" has 1').waitFor();
  await section(page, "What waits").getByRole("link", { name }).click();
  await lookAtAll(page, namespace, [`jobs/${name}`, "overview", "jobs"], { [`jobs/${name}`]: ".why.is-waiting" });
  await go(page, `#/${namespace}/jobs/${holder}`);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the job" }).click();
  await page.locator(".title .phase-cancelled").waitFor();
  await go(page, `#/${namespace}/jobs/${name}`);
  await page.locator(".title .phase-succeeded").waitFor();
}

/** In the table: submitted again, and deleted. */
async function retryAndDelete(page, name) {
  await page.getByRole("link", { name: "Jobs", exact: true }).click();
  const row = page.locator(".tbody [role=row]").filter({ hasText: name });
  await row.getByText("Succeeded").waitFor();
  await page.getByLabel(`Choose ${name}`).check();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("1 job submitted again").waitFor();
  const ended = page.locator(".tbody [role=row]").filter({ hasText: "render" }).getByText("Succeeded");
  await until("another job runs and ends", async () => (await ended.count()) === 2, 120);
  await page.getByLabel(`Choose ${name}`).check();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await row.waitFor({ state: "detached" });
}

const browser = await openBrowser();
try {
  const page = await (await newContext(browser)).newPage();
  page.setDefaultTimeout(120_000);
  await open(page);
  const rendered = await render(page);
  await talk(page);
  const failed = await fail(page);
  await wait(page);
  const held = await holdAndResume(page, namespace, "small", () => submitByForm(page, namespace, "misbehave", { mode: "talk", Queue: "small" }));
  await go(page, `#/${namespace}/jobs/${held}`);
  await page.locator(".title .phase-succeeded").waitFor();
  const places = ["overview", "jobs", "functions", "functions/misbehave", `jobs/${rendered}`, `jobs/${failed}`, "jobs/nothing"];
  await lookAtAll(page, namespace, places, { [`jobs/${rendered}`]: "img", [`jobs/${failed}`]: ".why.is-failed" });
  await retryAndDelete(page, rendered);
  // Nobody is shown a namespace that is not theirs.
  await go(page, "#/kube-system/jobs");
  await page.getByText("or you may not use it").first().waitFor();
  console.log("the dashboard of the cluster does what it should");
} finally {
  await browser.close();
}

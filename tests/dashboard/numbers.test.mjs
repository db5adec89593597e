// What the server counts and samples: the last hour and day, CPUs and memory; and queues that are held.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { holdAndResume } from "./steps.mjs";
import { browser, go, openPage, openPageAs, section, Server, server, startBoth, until, violations } from "./support.mjs";

startBoth();

test("the last hour and day outlive jobs and a killed server", async () => {
  const page = await openPage(browser, server);
  await go(page, "#/default/overview");
  const history = section(page, "What has ended");
  await history.getByText("0 jobs ended").waitFor();
  const names = [await server.say({ text: "a" }), await server.say({ text: "a", exit: 1 }, { retries: 0 })];
  await server.phase(names[0], "Succeeded");
  await server.phase(names[1], "Failed");
  for (const name of names) await server.ask("DELETE", `jobs/${name}`);
  await server.kill();
  await server.run();
  await history.getByText("2 jobs ended, 1 failed").waitFor();
  await history.getByText(/^Half waited at most/).waitFor();
  await history.getByRole("row", { name: "Crashed 1 job" }).waitFor();
  await history.getByRole("img", { name: "2 jobs ended in the last hour, at most" }).waitFor();
  await history.getByRole("link", { name: "Last day" }).click();
  await history.getByRole("heading", { name: "The last day" }).waitFor();
  await history.getByText("2 jobs ended, 1 failed").waitFor();
  assert.match(page.url(), /overview\?window=day$/);
  assert.deepEqual(await violations(page), []);
});

test("bars of the last hour and day say when and how many, also without colors and without eyes", async () => {
  const page = await openPage(browser, server);
  await page.route("**/history", async (route) => {
    const json = await (await route.fetch()).json();
    for (const window of [json.hour, json.day]) {
      Object.assign(window.all, { from: "2026-01-02T03:00:00Z", succeeded: 2, failed: 1, waitP50Seconds: 1, waitP95Seconds: 2 });
      const counts = { succeeded: 2, failed: 1, cancelled: 0, waitP50Seconds: 1, waitP95Seconds: 2 };
      window.slots = [{ from: "2026-01-02T03:00:00Z", started: 3, failures: {}, ...counts }];
    }
    return route.fulfill({ json });
  });
  await go(page, "#/default/overview");
  const history = section(page, "What has ended");
  const ended = "03:00 to 03:01 UTC: 2 succeeded, 1 failed, 0 cancelled";
  await history.getByRole("list", { name: "How many jobs ended in the last hour" }).getByText(ended, { exact: true }).waitFor({ state: "attached" });
  const waited = "03:00 to 03:01 UTC: half waited at most 1 s, 95 % at most 2 s";
  await history.getByRole("list", { name: "How long jobs waited" }).getByText(waited, { exact: true }).waitFor({ state: "attached" });
  assert.deepEqual(await history.locator("svg title").allTextContents(), [ended, waited]);
  assert.deepEqual(await history.locator(".axis time").allTextContents(), ["03:00", "04:00 UTC", "03:00", "04:00 UTC"]);
  // Failed is hatched.
  assert.match(await history.locator(".ended-failed").evaluate((bar) => getComputedStyle(bar).fill), /url\(.*#failed/);
  assert.deepEqual(await violations(page), []);
  await history.getByRole("link", { name: "Last day" }).click();
  await until("the day is shown", async () => (await history.locator(".axis time").allTextContents())[0] === "01-02 03:00");
  assert.deepEqual(await history.locator(".axis time").allTextContents(), ["01-02 03:00", "01-03 03:00 UTC", "01-02 03:00", "01-03 03:00 UTC"]);
  // Those of a function, too.
  await server.say({ text: "a", exit: 65 }, { name: "hatched" });
  await server.phase("hatched", "Failed");
  await go(page, "#/default/functions/say");
  const hour = section(page, "The last hour");
  await hour.getByRole("list").getByText(/^\d\d:\d\d to \d\d:\d\d UTC: \d ended, 1 failed$/).waitFor({ state: "attached" });
  assert.match(await hour.locator(".hour .is-failed").first().evaluate((bar) => getComputedStyle(bar).backgroundImage), /gradient/);
  assert.equal(await hour.locator(".axis time").count(), 2);
  assert.deepEqual(await violations(page), []);
});

test("a queue is held and resumed, and a refusal is told", async () => {
  const page = await openPage(browser, server);
  const name = await holdAndResume(page, "default", "small", () => server.say({ text: "a" }, { queue: "small" }));
  await server.phase(name, "Succeeded");
  await page.getByRole("button", { name: "Hold small" }).waitFor();
  const key = server.key("canceller", "get,list,watch,patch");
  const other = await openPageAs(browser, `${server.url}/dashboard/#/default/overview`, key);
  await other.getByRole("button", { name: "Hold small" }).click();
  await section(other, "Queues").getByText("the caller may not patch computequeues here").waitFor();
});

test("the page of a job whose queue is on hold says when it starts, and resumes the queue", async () => {
  await server.ask("POST", "queues/small/hold");
  const name = await server.say({ text: "a" }, { queue: "small" });
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  const way = page.locator(".helps");
  await way.getByText("it starts after its queue is resumed, and not before. The admin of this server may do that").waitFor();
  assert.equal(await page.locator(".command").first().innerText(), "windlass queues resume small --namespace default");
  // Nothing general beside it.
  assert.equal(await way.count(), 1);
  assert.equal(await page.getByText("not estimated").count(), 0);
  assert.deepEqual(await violations(page), []);
  const key = server.key("reader", "get,list,watch");
  const other = await openPageAs(browser, `${server.url}/dashboard/#/default/jobs/${name}`, key);
  await other.getByRole("button", { name: "Resume small" }).click();
  await other.getByText("the caller may not patch computequeues here").waitFor();
  await page.getByRole("button", { name: "Resume small" }).click();
  await page.locator(".title .phase-succeeded").waitFor();
  assert.equal(await way.count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("the page of a job whose queue is not there says that it waits for it, and what makes the queue", async (t) => {
  const manifests = mkdtempSync(join(tmpdir(), "windlass-manifests-"));
  const own = await Server.start("--functions", manifests);
  t.after(() => own.stop());
  const name = await own.say({ text: "a" }, { queue: "later" });
  const page = await openPage(browser, own);
  let capacity;
  await page.route("**/capacity", (route) => (capacity ? route.fulfill({ json: capacity }) : route.continue()));
  const way = page.locator(".helps");
  const open = async () => {
    await go(page, "#/default/overview");
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await go(page, `#/default/jobs/${name}`);
    await way.getByText("it starts after its queue is created: until then it waits").waitFor();
    return page.locator(".command").first().innerText();
  };
  const onMachine = await open();
  // On a cluster it is an object.
  capacity = {};
  const lines = ["kubectl apply -f - <<'END'", "apiVersion: windlass.dev/v1alpha1", "kind: ComputeQueue", 'metadata: {name: "later", namespace: "default"}', "spec: {cpus: 8}", "END"];
  assert.equal(await open(), lines.join("\n"));
  await way.getByText("Whoever may create ComputeQueues here may do that").waitFor();
  assert.deepEqual(await violations(page), []);
  // What it says is what helps, on this machine.
  assert.ok(onMachine.startsWith("cat >FUNCTIONS/later.yaml <<'END'\n"), onMachine);
  execFileSync("bash", ["-c", onMachine.replace("FUNCTIONS", manifests)]);
  await page.locator(".title .phase-succeeded").waitFor();
});

test("a job that a pool on hold keeps waiting is told who can resume it", async () => {
  await server.ask("POST", "queues/small/hold");
  const name = await server.say({ text: "a" }, { queue: "small" });
  const page = await openPage(browser, server);
  await page.route("**/queues", (route) => route.fulfill({ json: { items: [] } }));
  const shared = { name: "research", cpus: 64, granted: 0, waiting: 1, hold: true };
  await page.route("**/capacity", (route) => route.fulfill({ json: { shared } }));
  await go(page, `#/default/jobs/${name}`);
  await page.locator(".helps").getByText("it starts after the ClusterComputeQueue research is resumed, which holds all its namespaces").waitFor();
  assert.equal(await page.locator(".command").first().innerText(), `kubectl patch ccqueue research --type merge -p '{"spec": {"hold": false}}'`);
  assert.deepEqual(await violations(page), []);
  await server.ask("POST", "queues/small/resume");
});

test("that a server did not answer is taken back when it does, and what it refuses is not", async () => {
  const page = await openPage(browser, server);
  await go(page, "#/default/overview");
  const told = (words) => section(page, "Queues").getByRole("alert").filter({ hasText: words });
  let answer = (route) => route.abort();
  await page.route("**/queues/small/hold", (route) => answer(route));
  const hold = () => page.getByRole("button", { name: "Hold small" }).click();
  await page.getByRole("button", { name: "Hold small" }).waitFor();
  // All else is answered again: the next answer about the queues takes it back.
  await page.route("**/queues", (route) => route.abort());
  await hold();
  await until("both are told", async () => (await told("the server does not answer").count()) === 2);
  await page.unroute("**/queues");
  await until("all is taken back", async () => (await told("the server does not answer").count()) === 0);
  // What is refused stays, whatever else is answered, until it is tried again.
  const asked = () => page.waitForResponse((response) => response.url().endsWith("/queues") && response.ok());
  answer = (route) => route.fulfill({ status: 403, contentType: "application/problem+json", json: { detail: "not for you" } });
  await hold();
  await told("not for you").waitFor();
  // A job that is new has them asked again.
  for (let turn = 0; turn < 2; turn += 1) await Promise.all([asked(), server.say({ text: "a" })]);
  await told("not for you").waitFor();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  answer = (route) => held.then(() => route.abort());
  await hold();
  await told("not for you").waitFor({ state: "detached" });
  release();
});

test("that a server did not answer a button of a job is taken back after its restart", async () => {
  const name = await server.say({ text: "a", steps: 1, exit: 3 }, { retries: 1 });
  await server.phase(name, "Failed");
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  await page.getByRole("log").getByText("step 0 of 1").waitFor();
  await server.kill();
  await page.getByText("What you see may be old").waitFor();
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  const told = page.getByRole("main").getByText("the server does not answer", { exact: true });
  // What was asked for while nothing answered is asked for again.
  await page.getByLabel("Attempt").selectOption("1");
  await told.nth(1).waitFor();
  await server.run();
  await page.locator(".connection.is-live").waitFor();
  await page.getByRole("log").getByText("step 0 of 1").waitFor();
  await until("all is taken back", async () => (await told.count()) === 0);
});

test("a queue has its share, and what it borrows beyond what is guaranteed to it", async () => {
  const page = await openPage(browser, server);
  const queue = (name, weight, guaranteedCpus, granted) => ({ metadata: { name }, spec: { cpus: 8, weight, guaranteedCpus }, status: { granted, waiting: 0 } });
  await page.route("**/queues", (route) => route.fulfill({ json: { items: [queue("a", 3, 2, 5), queue("b", 1, 4, 1)] } }));
  await go(page, "#/default/overview");
  const cells = (name) => section(page, "Queues").getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) }).locator("td.number").allInnerTexts();
  await section(page, "Queues").getByRole("columnheader", { name: "Borrowed" }).waitFor();
  assert.deepEqual(await cells("a"), ["3", "0", "75 %", "2", "3"]);
  assert.deepEqual(await cells("b"), ["7", "0", "25 %", "4", "0"]);
  assert.deepEqual(await violations(page), []);
});

test("CPUs in use are shown against those that were granted, and how long jobs of a function ran", async () => {
  const names = [await server.say({ text: "a", steps: 100 }), await server.say({ text: "a" })];
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${names[0]}`);
  const usage = section(page, "CPUs and memory");
  await usage.getByText("of 1 CPUs in use on average in").waitFor();
  await usage.getByRole("img", { name: /^At most .*iB of memory$/ }).waitFor();
  await go(page, "#/default/overview");
  await page.getByText(/1 of 2 CPUs granted, 0\.[0-9] used, 1 free/).waitFor();
  await section(page, "Who holds the CPUs").getByRole("row").filter({ hasText: names[0] }).getByText(/^0\.[0-9] of 1 CPU used$/).waitFor();
  for (const name of names) await server.phase(name, "Succeeded");
  assert.deepEqual(await violations(page), []);
  await go(page, "#/default/functions/say");
  const rows = page.getByRole("table", { name: "How long jobs ran" }).getByRole("row");
  await rows.first().waitFor();
  const counts = (await rows.locator("td.number").allInnerTexts()).map(Number);
  assert.ok(counts.reduce((sum, count) => sum + count, 0) >= 2 && counts[0] > 0 && counts.at(-1) > 0, `${counts}`);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(page.complaints, []);
});

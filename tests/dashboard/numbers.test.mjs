// What the server counts and samples: the last hour and day, CPUs and memory; and queues that are held.
import assert from "node:assert/strict";
import { test } from "node:test";
import { holdAndResume } from "./steps.mjs";
import { browser, go, openPage, openPageAs, section, server, startBoth, violations } from "./support.mjs";

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
  const names = [await server.say({ text: "a", steps: 60 }), await server.say({ text: "a" })];
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${names[0]}`);
  const usage = section(page, "CPUs and memory");
  await usage.getByText("of 1 CPUs in use on average in").waitFor();
  await usage.getByRole("img", { name: /^At most .*iB of memory$/ }).waitFor();
  await go(page, "#/default/overview");
  await page.getByText(/1 of 2 CPUs granted, 0\.[0-9] used, 1 free/).waitFor();
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

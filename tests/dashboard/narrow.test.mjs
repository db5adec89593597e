// Where there is little room: a phone, a column, long names.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, go, openPage, section, server, startBoth, violations } from "./support.mjs";

const LONG = "key-0123456789abcdef0123456789abcdef0123456789abcdef";
const PHONE = { width: 390, height: 844 };

startBoth(async () => {
  await server.say({ text: "a" }, { name: LONG, queue: "nowhere" });
  await server.say({ text: "a", steps: 600, log: "at work" }, { name: "batch-monthly" });
  await server.say({ text: "a", exit: 65, log: "no such year" }, { name: "failed-of-march" });
  await server.phase("failed-of-march", "Failed");
});

const queue = (name, spec = {}) => ({ metadata: { name }, spec: { cpus: 8, weight: 1, ...spec }, status: { granted: 1, waiting: 3 } });
const queues = (page, ...items) => page.route("**/queues", (route) => route.fulfill({ json: { items } }));

/** Which names are on more than one line, or are cut and do not say all on hover. */
function badNames() {
  const all = [...document.querySelectorAll("main a, main .name")].filter((at) => at.closest("table"));
  const isBad = (at) => at.getClientRects().length > 1 || at.getBoundingClientRect().height > 32;
  const isMute = (at) => at.scrollWidth > at.clientWidth + 1 && at.title !== at.textContent && getComputedStyle(at).display !== "inline";
  return all.filter((at) => isBad(at) || isMute(at)).map((at) => at.textContent);
}

/** How high what is in these is: more than a line, where it is broken. */
function heightsOfContents(all) {
  return all.map((at) => {
    const range = document.createRange();
    range.selectNodeContents(at);
    return range.getBoundingClientRect().height;
  });
}

/** By how much what is in the page, or in a table, is wider than its place. */
function tooWide() {
  const places = [document.documentElement, document.querySelector("main"), ...document.querySelectorAll(".columns > div")];
  return Math.max(...places.map((at) => at.scrollWidth - at.clientWidth));
}

test("no page scrolls sideways on a phone", async () => {
  const page = await openPage(browser, server, { viewport: PHONE });
  await queues(page, queue("batch", { hold: true }), queue(LONG, { guaranteedCpus: 2 }));
  for (const place of ["overview", "jobs", "functions", "functions/say", "functions/say?from=failed-of-march", "jobs/failed-of-march", `jobs/${LONG}`, "jobs/batch-monthly"]) {
    await go(page, `#/default/${place}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    if (place === "overview") await page.getByRole("button", { name: "Resume batch" }).waitFor();
    if (place === "functions") await page.getByRole("link", { name: "say", exact: true }).waitFor();
    if (place.startsWith("jobs/")) await page.locator(".gantt").waitFor();
    if (place.includes("from")) await page.getByRole("button", { name: "Submit" }).waitFor();
    const more = await page.evaluate(tooWide);
    assert.ok(more <= 0, `${place}: ${more} px too wide`);
    assert.deepEqual(await violations(page), [], place);
  }
});

test("names stay on one line, and buttons of queues in sight, however narrow a column is", async () => {
  for (const width of [390, 1000, 1180, 1280]) {
    for (const [guaranteedCpus, name] of [[undefined, "research"], [2, "research"], [2, LONG]]) {
      const page = await openPage(browser, server, { viewport: { width, height: 844 } });
      await queues(page, queue(name, { guaranteedCpus, hold: true }), queue("nightly"));
      await go(page, "#/default/overview");
      for (const label of [`Resume ${name}`, "Hold nightly"]) {
        const box = await page.getByRole("button", { name: label }).boundingBox();
        assert.ok(box.x + box.width <= width, `${label} ends at ${box.x + box.width} of ${width}`);
      }
      await section(page, "What waits").getByText('queue "nowhere" is not there').waitFor();
      await section(page, "Failures").getByText("BadInput").waitFor();
      const where = `${name} at ${width}`;
      assert.deepEqual(await page.evaluate(badNames), [], where);
      assert.ok((await page.evaluate(tooWide)) <= 0, `${where}: ${await page.evaluate(tooWide)} px too wide`);
      const granted = await section(page, "Queues").locator(".granted").evaluateAll(heightsOfContents);
      assert.ok(Math.max(...granted) < 32, `${where}: ${granted} px for what is granted`);
      await page.context().close();
    }
  }
});

test("on a phone why a job waits has the width of the page", async () => {
  const page = await openPage(browser, server, { viewport: PHONE });
  await go(page, "#/default/overview");
  const row = section(page, "What waits").getByRole("row").filter({ has: page.getByRole("link", { name: LONG }) });
  const told = row.getByRole("cell").filter({ hasText: 'queue "nowhere" is not there' });
  // Both at one moment: rows come and go above them.
  const [name, why] = await told.evaluate((at) => [at.closest("[role=row], tr").querySelector("a"), at].map((each) => each.getBoundingClientRect().toJSON()));
  assert.ok(why.width > 330 && why.y >= name.y + name.height - 1, JSON.stringify([name, why]));
});

test("labels that have no room end in dots and say all on hover", async () => {
  const labels = { "a-long-label-of-a-team": "with-a-long-value-of-its-own", team: "blue" };
  await server.say({ text: "a", steps: 600, log: "words of its own that take much room in the list" }, { name: "of-labels", labels });
  for (const width of [1280, 900, 390]) {
    const page = await openPage(browser, server, { viewport: { width, height: 800 } });
    const row = page.locator(".tbody [role=row]").filter({ hasText: "of-labels" });
    await row.getByText("left").waitFor();
    for (const [key, value] of Object.entries(labels)) {
      const label = row.getByRole("button", { name: `${key}=${value}` });
      assert.ok((await label.getAttribute("title")).startsWith(`${key}=${value}`));
      const [end, around, overflow] = await label.evaluate((at) => [at.getBoundingClientRect().right, at.closest(".of-details").getBoundingClientRect().right, getComputedStyle(at.firstElementChild).textOverflow]);
      assert.ok(end <= around + 1 && overflow === "ellipsis", `${key} ends at ${end} of ${around}, at ${width}`);
    }
    // Both at one moment: what is told here says how many seconds are left.
    const told = await row.locator(".of-details > .text").evaluate((at) => ({ title: at.title, text: at.textContent }));
    assert.ok(told.text.includes("left"), told.text);
    assert.equal(told.title, told.text);
    await page.context().close();
  }
  await server.ask("DELETE", "jobs/of-labels");
});

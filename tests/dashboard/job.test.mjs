// One job, from the form to what came out, and output of strangers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { lookAtAll } from "./steps.mjs";
import { browser, go, openPage, openSaid, section, server, startBoth, until, violations, wrongField } from "./support.mjs";

startBoth();

/** A PNG that says to have so many pixels. */
function png(width, height) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length);
    let crc = ~0;
    for (const byte of body) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    ends.writeUInt32BE(~crc >>> 0, 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([8, 0, 0, 0, 0], 8);
  const pixels = deflateSync(Buffer.alloc(Math.min(height, 100) * (width + 1)));
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

test("the life of a job, from the form to its picture, and once more with edits", async () => {
  const page = await openPage(browser, server);
  await page.getByRole("link", { name: "Functions" }).click();
  await page.getByRole("link", { name: "say", exact: true }).click();
  // The form sends what it has; the server says what is wrong with it.
  await page.getByLabel("repeat").fill("0");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByText("this is required").waitFor();
  await page.getByLabel("text", { exact: false }).first().fill("a");
  await page.getByRole("button", { name: "Submit" }).click();
  await wrongField(page, "repeat", "1");
  await page.getByLabel("repeat").fill("1");
  await page.getByLabel("text", { exact: false }).first().fill(png(40, 30).toString("base64"));
  await page.getByLabel("base64").selectOption("true");
  await page.getByLabel("type").selectOption("image/png");
  await page.getByLabel("steps").fill("15");
  await page.getByLabel("log").fill("painting");
  await page.getByLabel("Labels").fill("team=blue");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.locator(".title .phase-running").waitFor();
  await page.getByRole("log").getByText("step 3 of 15").waitFor();
  await page.getByText("painting").first().waitFor();
  await page.getByRole("img", { name: "The result" }).waitFor();
  await until("it is drawn", () => page.evaluate(() => document.querySelector("img").naturalWidth === 40));
  const name = decodeURIComponent(page.url().split("/").at(-1));
  await page.getByRole("link", { name: "Retry with edits" }).click();
  await page.getByLabel("Labels").waitFor();
  assert.equal(await page.getByLabel("Labels").inputValue(), "team=blue");
  assert.equal(await page.getByLabel("log").inputValue(), "painting");
  await page.getByLabel("steps").fill("0");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("img", { name: "The result" }).waitFor();
  assert.ok(!page.url().endsWith(name));
  assert.deepEqual(page.complaints.filter((text) => !text.includes("422")), []);
});

test("the parts of its time sum to the whole, with earlier attempts", async () => {
  const page = await openSaid({ text: "a", exit: 3, log: "the words" }, { retries: 1 });
  const name = page.url().split("/").at(-1);
  const explanation = await server.ask("GET", `jobs/${name}/explain`);
  const sum = explanation.parts.reduce((sum, part) => sum + part.seconds, 0);
  assert.ok(Math.abs(sum - explanation.wallSeconds) < 0.001);
  const gantt = page.locator(".gantt");
  await gantt.getByRole("rowheader", { name: "earlier" }).waitFor();
  const drawn = explanation.parts.filter((part) => part.seconds > 0);
  assert.equal(await gantt.getByRole("row").count(), drawn.length + 1);
  const ends = await gantt.locator(".bar span").evaluateAll((bars) => {
    const all = bars.map((bar) => bar.getBoundingClientRect());
    return [all.at(-1).right, bars[0].parentElement.getBoundingClientRect().right];
  });
  assert.ok(Math.abs(ends[0] - ends[1]) < 8, `${ends}`);
  await page.locator(".why.is-failed").getByText(explanation.failure).waitFor();
  await section(page, "Failure").getByText("the words").waitFor();
  await section(page, "Failure").getByText("exit code 3").waitFor();
  await page.getByRole("button", { name: "Retry", exact: true }).click();
  await until("another job", async () => page.url().split("/").at(-1) !== name);
  assert.equal((await server.ask("GET", `jobs/${page.url().split("/").at(-1)}`)).spec.input.log, "the words");
  await page.getByRole("link", { name: `Retry of ${name}`, exact: true }).click();
  await page.getByRole("heading", { name }).waitFor();
  assert.equal(await page.getByText("Retry of").count(), 0);
});

test("how an earlier attempt ended is said in words, and the list says how many there were", async () => {
  const name = await server.say({ text: "a", exit: 3, steps: 1 }, { retries: 2, name: "of-three-attempts" });
  await server.phase(name, "Failed");
  const page = await openPage(browser, server);
  await page.locator(".tbody [role=row]").filter({ hasText: name }).locator(".of-phase").getByText("3 attempts").waitFor();
  await go(page, `#/default/jobs/${name}`);
  const earlier = (number) => page.locator(".gantt").getByRole("rowheader").filter({ hasText: `earlier attempt ${number}` });
  for (const number of [1, 2]) await earlier(number).getByText("failed: Crashed, exit code 3", { exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
});

test("the page of a job that is deleted says so, and goes on with the next one of its name", async () => {
  await server.say({ text: "first", log: "first" }, { name: "again" });
  await server.phase("again", "Succeeded");
  const page = await openPage(browser, server);
  await go(page, "#/default/jobs/again");
  await section(page, "Result").getByText("first").waitFor();
  await server.ask("DELETE", "jobs/again");
  await page.getByText("This job was deleted.").waitFor();
  await server.say({ text: "second", log: "second", steps: 5 }, { name: "again" });
  await page.getByText("This is another one of the same name.").waitFor();
  await section(page, "Result").getByText("second").waitFor();
  await page.getByRole("log").getByText("second").first().waitFor();
  // One that runs, too.
  await server.say({ text: "a", steps: 600 }, { name: "runs" });
  await go(page, "#/default/jobs/runs");
  await page.locator(".title .phase-running").waitFor();
  await server.ask("DELETE", "jobs/runs");
  await page.getByText("This job was deleted.").waitFor();
  await server.say({ text: "a" }, { name: "runs" });
  await page.locator(".title .phase-succeeded").waitFor();
});

test("a traceback is shown once", async () => {
  const lines = ["Traceback (most recent call last):", '  File "work.py", line 3, in work', "ValueError: no such year"];
  const page = await openSaid({ text: "a", exit: 1, log: lines.join("\n") }, { retries: 0 });
  await page.getByRole("log").getByText(lines[1]).waitFor();
  await page.locator(".why.is-failed").getByText("ValueError: no such year").waitFor();
  const places = [page.locator(".why.is-failed"), section(page, "Failure"), section(page, "Log")];
  const shown = (await Promise.all(places.map((place) => place.innerText()))).join("\n");
  assert.equal(shown.split("Traceback").length, 2, shown);
  await section(page, "Failure").getByText("All that it said last").click();
  await section(page, "Failure").getByText(lines[1]).waitFor();
  assert.deepEqual(await violations(page), []);
});

test("why a job waits is said in the server's words", async () => {
  const first = await server.say({ text: "a", steps: 600 }, { queue: "small" });
  const second = await server.say({ text: "a" }, { queue: "small" });
  const { waitsFor, advice } = await server.ask("GET", `jobs/${second}/explain`);
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${second}`);
  await page.locator(".why.is-waiting").getByText(waitsFor.slice(0, 20)).waitFor();
  await page.locator(".helps").getByText(advice).waitFor();
  await section(page, "Log").getByText("It has not begun.").waitFor();
  // Who is before it.
  await page.locator(".facts").getByRole("link", { name: "small" }).click();
  await page.getByRole("link", { name: first, exact: true }).waitFor();
  await go(page, "#/default/overview");
  await page.getByText(/1 of 2 CPUs granted, [01]\.[0-9] used, 1 free/).waitFor();
  await section(page, "Queues").getByText("1 of 1").waitFor();
  await section(page, "Who holds the CPUs").getByRole("link", { name: first }).waitFor();
  const waits = section(page, "What waits").getByRole("row").filter({ hasText: second });
  await waits.getByText("place 1 in queue small").waitFor();
  await waits.getByText(waitsFor.slice(waitsFor.indexOf(": ") + 2)).waitFor();
  await section(page, "Failures").getByText("Crashed").waitFor();
  await go(page, `#/default/jobs/${first}`);
  await page.getByRole("button", { name: "Cancel" }).click();
  const dialog = page.getByRole("dialog", { name: `Cancel job ${first}?` });
  await dialog.getByRole("button", { name: "Keep it" }).waitFor();
  await dialog.getByRole("button", { name: "Cancel the job" }).click();
  await page.locator(".title .phase-cancelled").waitFor();
});

const SCRIPT = "window.hacked = true; document.title = 'hacked'";
const HOSTILE = [
  ["text/html", `<html><body onload="${SCRIPT}"><script>${SCRIPT}</script><img src=x onerror="${SCRIPT}"></body></html>`],
  ["image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="${SCRIPT}"><script>${SCRIPT}</script></svg>`],
  ["text/plain", "\u001b]0;title\u0007\u001b[31mred\u001b[2J <b>bold</b> javascript:alert(1)"],
  ["application/json", JSON.stringify({ "__proto__": 1, "<img src=x onerror=hacked=1>": "</script>", constructor: "x" })],
  ["text/csv", `a,"<script>${SCRIPT}</script>"\n=cmd(),"two\nlines"`],
];

for (const [type, text] of HOSTILE) {
  test(`${type} of a stranger is shown and never runs`, async () => {
    const page = await openSaid({ text, type, log: text });
    const result = section(page, "Result");
    const marks = { "text/html": "<script>", "image/svg+xml": "onload=", "text/plain": "\u241b[31mred" };
    await result.getByText(marks[type] ?? "script").first().waitFor();
    await page.getByRole("log").filter({ hasText: text.includes("\u001b") ? "\u241b" : "script" }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
    // The page draws usage as SVG of its own.
    for (const part of [result, page.getByRole("log")]) assert.equal(await part.locator("svg").count(), 0);
    assert.equal(await page.locator("main script, main iframe, main object, main b").count(), 0);
    assert.ok(!(await page.title()).includes("hacked"));
    assert.deepEqual(page.complaints, []);
  });
}

test("a picture that would fill the memory, and one that is none, are not drawn", async () => {
  const bomb = await openSaid({ text: png(50_000, 50_000).toString("base64"), base64: true, type: "image/png" });
  await section(bomb, "Result").getByText("50000 x 50000").waitFor();
  assert.equal(await bomb.locator("img").count(), 0);
  const fake = await openSaid({ text: "<svg onload='hacked=1'/>", type: "image/png" });
  await section(fake, "Result").getByText("is none").waitFor();
  assert.equal(await fake.locator("img").count(), 0);
});

test("large JSON and large text are bounded and the page goes on", async () => {
  const large = await openSaid({ text: "[0,1,2,3,4,5,6,7,8,9]\n", type: "text/plain", repeat: 2_000_000 });
  await section(large, "Result").getByText("This is the beginning.").waitFor();
  assert.ok((await section(large, "Result").locator("pre").textContent()).length <= 256 * 1024);
  const wide = `[${"0,".repeat(20_000)}0]`;
  const tree = await openSaid({ text: wide, type: "application/json" });
  await section(tree, "Result").getByRole("button", { name: "20001" }).click();
  await section(tree, "Result").getByRole("button", { name: "19901 more" }).waitFor();
  assert.ok((await section(tree, "Result").locator(".leaf").count()) <= 100);
  await tree.getByRole("link", { name: "Jobs" }).click();
  await tree.getByRole("heading", { name: "Jobs" }).waitFor();
});

test("JSON above the bound is shown as the beginning of a text", async () => {
  const page = await openSaid({ text: '{"a": 1},', type: "application/json", repeat: 500_000, list: true });
  await section(page, "Result").getByText("This is the beginning.").waitFor();
  assert.equal(await section(page, "Result").locator(".tree").count(), 0);
  assert.ok((await section(page, "Result").locator("pre").textContent()).length <= 256 * 1024);
  assert.deepEqual(page.complaints, []);
});

test("CSV is a table of its first rows, as RFC 4180 writes them", async () => {
  const rows = Array.from({ length: 310 }, (_, at) => `${at},"a ""${at}"", b","two\nlines",<b>`);
  const page = await openSaid({ text: `at,"the, words",lines,html\r\n${rows.join("\r\n")}`, type: "text/csv" });
  const table = section(page, "Result").getByRole("table");
  await table.waitFor();
  assert.deepEqual(await table.getByRole("columnheader").allInnerTexts(), ["at", "the, words", "lines", "html"]);
  assert.deepEqual(await table.getByRole("row").nth(8).getByRole("cell").evaluateAll((all) => all.map((cell) => cell.textContent)), ["7", 'a "7", b', "two\nlines", "<b>"]);
  assert.equal(await table.getByRole("row").count(), 301);
  await section(page, "Result").getByText("These are the first 300 rows.").waitFor();
  assert.deepEqual(page.complaints, []);
});

test("small JSON is open at once, as deep as it is", async () => {
  const page = await openSaid({ text: '{"a": {"b": {"c": [{"d": "deep"}]}}}', type: "application/json" });
  await section(page, "Result").getByText("deep").waitFor();
});

test("the time in the list is the one in all", async () => {
  const page = await openSaid({ text: "a", steps: 3 });
  const sum = page.locator(".gantt .sum");
  const [time, meaning] = [await sum.locator(".number").textContent(), await sum.getAttribute("title")];
  const name = page.url().split("/").at(-1);
  await go(page, `#/default/jobs?q=${name}`);
  const shown = page.locator(".tbody [role=row] .of-time span");
  assert.deepEqual([await shown.textContent(), await shown.getAttribute("title")], [time, meaning]);
});

test("what a page of a job shows is of one width, on a wide screen", async () => {
  const page = await openPage(browser, server, { viewport: { width: 1600, height: 900 } });
  const name = await server.say({ text: "a", steps: 25, exit: 65, log: "words" });
  await server.phase(name, "Failed");
  await go(page, `#/default/jobs/${name}`);
  await page.getByRole("img", { name: "of memory" }).waitFor();
  assert.match(await page.locator(".scale").last().innerText(), /MiB\s+0$/);
  const boxes = page.locator("section, .why, .title, section svg, section .log, .gantt");
  const ends = await boxes.evaluateAll((all) => all.map((one) => Math.round(one.getBoundingClientRect().right)));
  assert.ok(ends.length > 8 && new Set(ends).size === 1, `${ends}`);
});

test("text that turns its direction is isolated and shown", async () => {
  const page = await openSaid({ text: "safe\u202Egnp.exe", log: "log\u202Etxt" });
  await section(page, "Result").getByText("safe[U+202E]gnp.exe").waitFor();
  await page.getByRole("log").filter({ hasText: "log[U+202E]txt" }).waitFor();
  const isolated = await page.locator(".text").evaluateAll((all) => all.every((one) => getComputedStyle(one).unicodeBidi === "isolate"));
  assert.ok(isolated);
});

test("a job that is followed goes on after a restart of the server", async () => {
  const name = await server.say({ text: "done", steps: 30 });
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  await page.locator(".title .phase-running").waitFor();
  const list = await openPage(browser, server);
  await server.kill();
  const shown = [page.locator(".gantt .sum .number"), list.locator(".tbody [role=row]").filter({ hasText: name }).locator(".of-time")];
  for (const one of [page, list]) await one.getByText("What you see may be old").waitFor();
  // Nobody knows how long it has gone on since: what goes on here is how long ago it was created.
  const ago = async () => parseInt(await page.locator(".facts time").innerText(), 10) || 0;
  const pass = async (seconds) => {
    const end = (await ago()) + seconds;
    await until(`${seconds} s have passed`, async () => (await ago()) >= end);
  };
  await pass(2);
  const told = () => Promise.all(shown.map((place) => place.innerText()));
  const last = await told();
  await pass(3);
  assert.deepEqual(await told(), last);
  await server.run();
  await page.locator(".title .phase-succeeded").waitFor({ timeout: 30_000 });
  await section(page, "Result").getByText("done").waitFor();
});

test("axe finds nothing wrong with any page in either theme", async () => {
  const name = await server.say({ text: '{"a": [1, "b", true, null]}', type: "application/json", log: "said" });
  await server.phase(name, "Succeeded");
  const failed = await server.say({ text: "a", exit: 65, log: "words" });
  await server.phase(failed, "Failed");
  const places = ["overview", "functions", "functions/say", "functions/render", `jobs/${name}`, `jobs/${failed}`, "jobs/nothing"];
  for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
    const page = await openPage(browser, server, { viewport });
    await lookAtAll(page, "default", places, { [`jobs/${name}`]: ".tree" });
    await page.context().close();
  }
});

test("the log of an earlier attempt is chosen, and the server's words are shown where it is not kept", async () => {
  const name = await server.say({ text: "", log: "said by this attempt", exit: 3 }, { retries: 1 });
  await server.phase(name, "Failed");
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  const log = section(page, "Log");
  await log.getByRole("log").getByText("said by this attempt").waitFor();
  const choice = log.getByLabel("Attempt");
  const asked = page.waitForRequest((request) => request.url().includes("logs?attempt=1&"));
  await choice.selectOption("1");
  await asked;
  await log.getByRole("log").getByText("said by this attempt").waitFor();
  await choice.selectOption("");
  await log.getByRole("log").getByText("said by this attempt").waitFor();
  // As a cluster says it without a store.
  const words = "nothing is kept of what attempt 1 has said: its pod is gone";
  await page.route("**/logs?attempt=1&*", (route) => {
    const body = JSON.stringify({ type: "/problems/gone", title: "Gone", status: 410, detail: words });
    return route.fulfill({ status: 410, contentType: "application/problem+json", body });
  });
  await choice.selectOption("1");
  await log.getByRole("alert").filter({ hasText: words }).waitFor();
  assert.equal(await log.getByText("said by this attempt").count(), 0);
  assert.equal(await log.getByText("Nothing was printed.").count(), 0);
  assert.deepEqual(await violations(page), []);
});

test("where a start is estimated and the end is not, the page says which", async () => {
  const before = await server.say({ text: "a", steps: 600 }, { queue: "small" });
  const name = await server.say({ text: "a" }, { queue: "small" });
  const page = await openPage(browser, server);
  const soon = new Date(Date.now() + 60_000).toISOString();
  const start = { estimatedStartTime: soon, earliestStartTime: soon, latestStartTime: soon };
  await page.route("**/explain", async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    return route.fulfill({ response, json: { ...json, estimate: { position: 1, ...start, notTold: "too few have ended" } } });
  });
  await go(page, `#/default/jobs/${name}`);
  await page.getByText("its end is not estimated: too few have ended").waitFor();
  for (const job of [name, before]) await server.ask("DELETE", `jobs/${job}`);
});

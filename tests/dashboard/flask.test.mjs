// The page of the Flask example in a browser: what a Python developer sees in the first hour.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { Server, freePort, openBrowser, root, until } from "./support.mjs";

const example = join(root, "examples/flask/after");
const python = join(execFileSync(join(root, "clients/python/environment"), { encoding: "utf8" }).trim(), "python");
const modules = `PYTHONPATH=${join(root, "clients/python/src")}:${example}`;

let server, browser, page, flask;

/** The application of the example, which finds the server as a user's does. */
async function startFlask(port) {
  const env = { ...process.env, WINDLASS_SERVER: server.url, WINDLASS_TOKEN: server.token };
  const [name, value] = modules.split("=");
  const words = ["-m", "flask", "--app", "app", "run", "--port", `${port}`];
  const started = spawn(python, words, { cwd: example, env: { ...env, [name]: value }, stdio: "ignore" });
  flask = { port, process: started, ended: new Promise((resolve) => started.once("exit", resolve)) };
  await until("Flask answers", () => fetch(`http://127.0.0.1:${port}/`).then((r) => r.ok, () => false));
}

async function stopFlask() {
  if (!flask) return;
  flask.process.kill("SIGKILL");
  await flask.ended;
}

before(async () => {
  server = await Server.start("--function", `estimate=/usr/bin/env ${modules} ${python} -m windlass.worker estimate:estimate`);
  await startFlask(await freePort());
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await stopFlask();
  await server?.stop();
});
afterEach(async () => {
  await page?.close();
});
beforeEach(async () => {
  page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${flask.port}/`);
});

const said = () => page.locator("#said").evaluate((output) => output.value);
const bar = () => page.locator("#bar").evaluate((progress) => progress.value);
/** The mean numbers of throws for 40 samples, of which each is about 61. */
const isResult = (text) => text.split(", ").length === 40 && text.split(", ").every((mean) => Math.abs(mean - 61) < 2);

test("it shows how far the job is, then its result, and again after a reload", async () => {
  await page.getByRole("button", { name: "Start" }).click();
  const seen = new Set();
  await until("the result is shown", async () => seen.add(await bar()) && isResult(await said()), 120);
  const between = [...seen].filter((value) => value > 0 && value < 1);
  assert.ok(between.length >= 1, `progress in between: ${[...seen]}`);
  const result = await said();
  await page.reload();
  await until("the result is shown again", async () => (await said()) === result);
  assert.ok(await page.getByRole("button", { name: "Start" }).isEnabled());
});

test("its job is cancelled, and the page says so", async () => {
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("button", { name: "Stop" }).click();
  await until("it says that it was cancelled", async () => /cancelled/i.test(await said()));
  assert.ok(await page.getByRole("button", { name: "Stop" }).isDisabled());
});

test("it waits for a server that is killed, and has the result when that is back", async () => {
  await page.getByRole("button", { name: "Start" }).click();
  await until("it runs", async () => (await said()) === "Running");
  await server.kill();
  await until("it says that it waits", async () => (await said()) === "waits for the server");
  await server.run();
  await until("the result is shown", async () => isResult(await said()), 120);
});

test("an application that is away is told, and tried again", async () => {
  await stopFlask();
  await page.getByRole("button", { name: "Start" }).click();
  await until("it says so", async () => /cannot be reached/.test(await said()));
  await startFlask(flask.port);
  await page.getByRole("button", { name: "Start" }).click();
  await until("the result is shown", async () => isResult(await said()), 120);
});

test("results are shown as what they are: numbers in a line, and objects as JSON", async () => {
  const told = async (results) => {
    await page.route("**/estimates/a", (route) => route.fulfill({ json: { results } }));
    await page.goto("about:blank");
    await page.goto(`http://127.0.0.1:${flask.port}/#/estimates/a`);
    await until("a result is shown", async () => (await bar()) === 1);
    return said();
  };
  const objects = [{ mean: 61.2, by: ["x", null] }, 3];
  assert.equal(await told(objects), JSON.stringify(objects, null, 2));
  // A person sees the lines, and no more than fit beside each other.
  const lines = await page.locator("#said").evaluate((output) => output.innerText.split("\n"));
  assert.deepEqual(lines.slice(0, 3), ["[", "  {", '    "mean": 61.2,']);
  assert.equal(await told([[1, 2], [3]]), JSON.stringify([[1, 2], [3]], null, 2));
  assert.equal(await told([61.2, "many", 0]), "61.2, many, 0");
});

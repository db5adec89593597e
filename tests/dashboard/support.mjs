// A server of its own and a real browser for each file of tests.
import assert from "node:assert/strict";
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";

export const root = new URL("../..", import.meta.url).pathname;
const require = createRequire(join(root, "dashboard/package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const windlass = execFileSync(join(root, "tests/windlass"), { encoding: "utf8" }).trim();

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until something is so, for a while. */
export async function until(what, isSo, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`not in ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** How long a server or a browser may take to end. */
const ENDING_SECONDS = 30;
const LATE = Symbol("late");

/** What becomes of this, or `LATE`. */
async function within(seconds, promise) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000, LATE)));
  const first = await Promise.race([promise, late]);
  clearTimeout(timer);
  return first;
}

export class Server {
  static async start(...flags) {
    const server = new Server();
    server.data = mkdtempSync(join(tmpdir(), "windlass-dashboard-"));
    server.url = `http://127.0.0.1:${await freePort()}`;
    server.flags = flags;
    await server.run();
    server.token = readFileSync(join(server.data, "token"), "utf8").trim();
    return server;
  }

  async run() {
    const functions = join(root, "tests/dashboard/functions");
    const own = ["serve", "--data", this.data, "--listen", this.url.slice(7), "--cpus", "2", "--functions", functions];
    this.process = spawn(windlass, [...own, ...this.flags], { stdio: ["ignore", "ignore", "pipe"] });
    this.log = "";
    this.process.stderr.on("data", (text) => (this.log += text));
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    try {
      await until(`the server answers: ${this.log}`, () => fetch(`${this.url}/readyz`).then((r) => r.ok, () => false));
    } catch (error) {
      // Nobody has it who could end it, and this process would wait for it.
      await this.kill();
      throw error;
    }
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }

  async stop() {
    this.process.kill("SIGTERM");
    if ((await within(ENDING_SECONDS, this.ended)) === LATE) {
      await this.kill();
      throw new Error(`the server did not end in ${ENDING_SECONDS} s: ${this.log}`);
    }
    rmSync(this.data, { recursive: true, force: true });
  }

  /** A link that signs in. */
  link() {
    const arguments_ = ["dashboard", "--server", this.url, "--data", this.data];
    return execFileSync(windlass, arguments_, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  }

  /** A key that may do only this. */
  key(name, verbs) {
    const words = ["keys", "create", name, "--data", this.data, "--verbs", verbs];
    return execFileSync(windlass, words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  }

  async ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const answer = await fetch(`${this.url}/v1/namespaces/default/${path}`, { method, headers, body: sent });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  }

  async submit(job) {
    return (await this.ask("POST", "jobs", job)).metadata.name;
  }

  async say(input, job = {}) {
    return this.submit({ function: "say", input, ...job });
  }

  async phase(name, phase) {
    await until(`${name} is ${phase}`, async () => (await this.ask("GET", `jobs/${name}`)).status.phase === phase, 60);
  }
}

/** A browser whose `close` ends in bounded time: one that does not close by itself is killed, with all that it has started. */
export async function openBrowser() {
  const launched = await chromium.launchServer({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  const browser = await chromium.connect(launched.wsEndpoint());
  const close = async () => {
    if ((await within(ENDING_SECONDS, launched.close())) !== LATE) return;
    console.log(`the browser did not close in ${ENDING_SECONDS} s, and is killed:\n${processesOf(launched.process().pid)}`);
    // What outlives its group must not be waited for.
    if ((await within(ENDING_SECONDS, launched.kill())) === LATE) throw new Error("the browser cannot be killed");
  };
  return Object.assign(browser, { close });
}

/** The processes of a group, each with what it waits for. */
function processesOf(group) {
  const all = execFileSync("ps", ["-eo", "pgid,pid,ppid,stat,wchan:24,args"], { encoding: "utf8" }).split("\n");
  return all.filter((line) => line.trim().startsWith(`${group} `)).map((line) => line.slice(0, 200)).join("\n");
}

/** Those of a file of tests, as long as they run. */
export let server, browser;

/** Starts them before the tests of the file that calls it, has it prepare what it needs, and ends them behind. */
export function startBoth(prepare = async () => {}) {
  // One hook: those of a file begin together.
  before(async () => {
    server = await Server.start();
    browser = await openBrowser();
    await prepare();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
}

/** A browser's profile. With DASHBOARD_DIST, the output of `npx vite build`, it has that instead of what is in the program. */
export async function newContext(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const made = process.env.DASHBOARD_DIST;
  for (const file of made ? ["app.js", "app.css", "parquet.js"] : []) {
    await context.route(`**/dashboard/${file}*`, (route) => route.fulfill({ path: join(made, file) }));
  }
  return context;
}

/** A page that is signed in, and whatever it complains of. */
export async function openPage(browser, server, options = {}) {
  const context = await newContext(browser, options);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(server.link());
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.locator(".connection.is-live").waitFor();
  return Object.assign(page, { complaints });
}

/** Signs in by the form with this token. */
export async function signIn(page, token) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** This page in a profile of its own, signed in with this token. */
export async function openPageAs(browser, url, token) {
  const page = await (await newContext(browser)).newPage();
  await page.goto(url);
  await signIn(page, token);
  return page;
}

export async function go(page, hash) {
  await page.evaluate((hash) => (location.hash = hash), hash);
}

/** A part of a page, by its heading. */
export const section = (page, name) => page.getByRole("region", { name, exact: true });

/** The page of a finished job that says this. */
export async function openSaid(input, job = {}) {
  const name = await server.say(input, job);
  const phase = input.exit ? "Failed" : "Succeeded";
  await server.phase(name, phase);
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  await page.locator(`.title .phase-${phase.toLowerCase()}`).waitFor();
  return page;
}

/** What axe-core finds wrong with the page as it is. */
export async function violations(page) {
  // Through the debugger, which no policy of the page bounds.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
}

/** A field by its label, whether or not it is required. */
export function fieldOf(page, label) {
  return page.getByLabel(label, { exact: true }).or(page.getByLabel(`${label} required`, { exact: true }));
}

/** That a field is red, has the focus, says this, and nothing else does. */
export async function wrongField(page, label, words) {
  const field = fieldOf(page, label);
  await page.locator('[aria-invalid="true"]').first().waitFor();
  await until(`${label} has the focus`, () => field.evaluate((at) => at === document.activeElement && at.getAttribute("aria-invalid") === "true"));
  const about = await field.evaluate((at) => document.getElementById(at.getAttribute("aria-describedby")).innerText);
  assert.ok(about.includes(words), `${label}: ${about}`);
  const said = await page.getByRole("alert").allInnerTexts();
  assert.equal(new Set(said).size, said.length, `said twice: ${said}`);
  assert.ok(!said.some((text) => text.includes("/input") || text.includes("/parallelism")), `${said}`);
  const seen = await field.evaluate((at) => at.getBoundingClientRect().top >= 0 && at.getBoundingClientRect().bottom <= innerHeight);
  assert.ok(seen, `${label} is out of sight`);
}

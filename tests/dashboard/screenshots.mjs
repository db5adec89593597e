// Makes the pictures of docs/dashboard.md: `node tests/dashboard/screenshots.mjs`, after a build of the program.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { go, openBrowser, openPage, Server } from "./support.mjs";

const root = new URL("../..", import.meta.url).pathname;
const pictures = join(root, "docs/pictures");

/** Jobs of several kinds: some that ran, failed and wait, and one that runs. */
async function fill(server) {
  const scene = JSON.parse(readFileSync(join(root, "examples/scene.json"), "utf8"));
  const [width, height] = [320, 180];
  const render = (name, samples, more = {}) =>
    server.submit({ function: "render", name, parallelism: 2, input: { ...scene, width, height, samples }, ...more });
  for (let at = 1; at <= 4; at += 1) await server.say({ text: "a", steps: at }, { name: `report-${at}`, labels: { team: "blue" } });
  await server.say({ text: "a", exit: 65, log: "ValueError: no column 'price'" }, { name: "report-5", labels: { team: "blue" } });
  await server.say({ text: "a", exit: 1, log: "MemoryError" }, { name: "report-6", retries: 1, labels: { team: "green" } });
  await server.phase("report-6", "Failed");
  const picture = await render("picture", 24, { labels: { team: "blue" } });
  await server.phase(picture, "Succeeded");
  await server.say({ text: "a", steps: 600 }, { name: "nightly", queue: "small", labels: { team: "green" }, timeoutSeconds: 3600 });
  await server.phase("nightly", "Running");
  for (let at = 1; at <= 3; at += 1) await server.say({ text: "a" }, { name: `after-${at}`, queue: "small", labels: { team: "green" } });
  await server.say({ text: "a", steps: 500, log: "reading the second file" }, { name: "import", timeoutSeconds: 3600 });
  await server.phase("import", "Running");
}

const server = await Server.start();
const browser = await openBrowser();
try {
  await fill(server);
  const shots = [
    ["dashboard-jobs", "jobs", "light", 1180, 520],
    ["dashboard-overview", "overview", "dark", 1180, 640],
    ["dashboard-job", "jobs/picture", "light", 1180, 760],
    ["dashboard-phone", "jobs", "dark", 390, 700],
  ];
  for (const [file, place, colorScheme, width, height] of shots) {
    const page = await openPage(browser, server, { colorScheme, viewport: { width, height } });
    await go(page, `#/default/${place}`);
    await page.locator("main .row, main section, main img").last().waitFor();
    if (place === "jobs/picture") await page.getByRole("img", { name: "The result" }).waitFor();
    if (place === "overview") await page.getByRole("rowheader", { name: "nightly" }).waitFor();
    // Two frames: what has come is drawn.
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    await page.screenshot({ path: join(pictures, `${file}.png`) });
  }
} finally {
  await browser.close();
  await server.stop();
}

// Ten thousand jobs of which a hundred change each second, how soon the page is there, and what fifty readers cost. Prints
// what it measures. With WINDLASS_STRICT=1 the medians of three runs are held against what is promised, which a machine that
// is quiet and has a quick disk can keep; else one run is held against wider bounds.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { browser, go, openPage, Server, server, startBoth, until } from "./support.mjs";

const JOBS = 10_000;
startBoth(async () => {
  // It holds the queue, so that all others wait.
  await server.say({ text: "a", steps: 600 }, { queue: "small", name: "holder", timeoutSeconds: 3600 });
  await server.phase("holder", "Running");
  await inParallel(JOBS, (at) => server.submit({ function: "echo", queue: "small", name: `job-${at}`, labels: { lot: `${at % 10}` } }));
});

async function inParallel(count, work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** CPU time of a server so far, in seconds. */
function busy(of) {
  const fields = readFileSync(`/proc/${of.process.pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const isStrict = process.env.WINDLASS_STRICT === "1";

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Memory of the processes of tabs, each page they share with others divided among these, in MiB. */
async function tabMemory() {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const tabs = processInfo.filter(({ type }) => type === "renderer");
  const sizes = tabs.map(({ id }) => Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/smaps_rollup`, "utf8"))[1]) / 1024);
  return Math.max(...sizes);
}

test("the page is painted soon", async () => {
  const page = await openPage(browser, server);
  const times = [];
  for (let at = 0; at < 5; at += 1) {
    await page.reload();
    await page.getByRole("heading", { level: 1 }).waitFor();
    const read = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
    await until("it is painted", () => page.evaluate(read));
    times.push(await page.evaluate(read));
  }
  times.sort((a, b) => a - b);
  console.log(`first contentful paint of 5 loads: ${times.map((time) => time.toFixed(0)).join(", ")} ms`);
  assert.ok(isStrict ? median(times) <= 300 : times[0] <= 1000, `${times}`);
  await page.context().close();
});

/** Cancels a hundred jobs a second from this one on, four at a time, until it is over. */
async function changeFrom(first, isOver) {
  const start = Date.now();
  let changed = first;
  const cancel = async () => {
    while (!isOver()) {
      if (changed - first < ((Date.now() - start) / 1000) * 100) await server.ask("POST", `jobs/job-${changed++}/cancel`);
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await Promise.all(Array.from({ length: 4 }, cancel));
  return { changed, rate: (changed - first) / ((Date.now() - start) / 1000) };
}

/** Scrolls the table for 8 s while something goes on: how often it was drawn. */
async function scrollWhile(page, work) {
  let isOver = false;
  const working = work(() => isOver);
  const frames = await page.evaluate(async () => {
    const body = document.querySelector(".tbody");
    const times = [];
    const end = performance.now() + 8000;
    while (performance.now() < end) {
      times.push(await new Promise(requestAnimationFrame));
      body.scrollTop = (body.scrollTop + 90) % (body.scrollHeight - body.clientHeight);
    }
    const gaps = times.slice(1).map((time, at) => time - times[at]).sort((a, b) => a - b);
    const seconds = (times.at(-1) - times[0]) / 1000;
    return { perSecond: gaps.length / seconds, p99: gaps[Math.floor(gaps.length * 0.99)], longest: gaps.at(-1) };
  });
  isOver = true;
  return { ...frames, until: await working };
}

test("ten thousand jobs scroll while a hundred change each second", async () => {
  const page = await openPage(browser, server);
  const began = Date.now();
  await page.getByText(`${(JOBS + 1).toLocaleString("en")} jobs`, { exact: true }).waitFor({ timeout: 60_000 });
  console.log(`all ${JOBS} jobs are there ${Date.now() - began} ms after the page`);
  await page.getByText("so far").waitFor({ state: "detached" });
  assert.ok((await page.locator(".tbody [role=row]").count()) < 60);
  let changed = 0;
  const runs = [];
  for (let run = 0; run < (isStrict ? 3 : 1); run += 1) {
    const { perSecond, p99, longest, until } = await scrollWhile(page, (isOver) => changeFrom(changed, isOver));
    changed = until.changed;
    runs.push(perSecond);
    console.log(`${perSecond.toFixed(1)} frames a second at ${until.rate.toFixed(0)} changes a second; 99 % of gaps at most ${p99.toFixed(0)} ms, longest ${longest.toFixed(0)} ms`);
    assert.ok(!isStrict || until.rate >= 95, `${until.rate} changes a second`);
  }
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const memory = await tabMemory();
  console.log(`JavaScript's heap: ${(usedSize / 2 ** 20).toFixed(1)} MiB; the tab's process: ${memory.toFixed(0)} MiB`);
  assert.ok(median(runs) >= (isStrict ? 50 : 20), `frames: ${runs}`);
  assert.ok(memory <= 150, "memory");
  // What has changed is shown.
  await page.getByLabel("Phase").selectOption("Cancelled");
  await page.getByText(`${changed.toLocaleString("en")} of ${(JOBS + 1).toLocaleString("en")} jobs`).waitFor();
});

test("fifty readers cost an idle server next to nothing", async () => {
  const idler = await Server.start();
  const stop = new AbortController();
  const headers = { Authorization: `Bearer ${idler.token}` };
  const open = () => fetch(`${idler.url}/v1/namespaces/default/events?fields=metadata,status`, { headers, signal: stop.signal });
  const idle = async (milliseconds = 10_000) => {
    const [before, from] = [busy(idler), Date.now()];
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    return ((busy(idler) - before) / ((Date.now() - from) / 1000)) * 100;
  };
  try {
    await idler.say({ text: "a" });
    const alone = await idle();
    const streams = await Promise.all(Array.from({ length: 50 }, open));
    assert.ok(streams.every((stream) => stream.ok));
    const read = await idle();
    // As many that look at the overview, each of which asks what one page asks while it is in sight.
    const page = await openPage(browser, idler);
    await go(page, "#/default/overview");
    await page.getByText("1 job ended").waitFor();
    const ROUND_MS = 15_000;
    const asks = [];
    const from = Date.now();
    page.on("request", (request) => asks.push({ url: request.url(), at: Date.now() - from }));
    await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    await page.context().close();
    for (const what of ["capacity", "queues", "estimates", "history"]) assert.ok(asks.some(({ url }) => url.endsWith(`/${what}`)), what);
    let asked = 0;
    const look = async ({ url }, every) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * every));
      while (!stop.signal.aborted) {
        const answer = await fetch(url, { headers, signal: stop.signal });
        assert.ok(answer.ok, url);
        await answer.arrayBuffer();
        asked += 1;
        await new Promise((resolve) => setTimeout(resolve, every));
      }
    };
    const looks = streams.flatMap(() => asks.map((ask) => look(ask, ROUND_MS)));
    const ended = Promise.all(looks.map((one) => one.catch((error) => assert.ok(stop.signal.aborted, error))));
    const overviews = await idle(ROUND_MS);
    const told = `${asks.length} questions in ${ROUND_MS / 1000} s each, ${asked} answers`;
    console.log(`with 50 overviews in sight, ${told}, ${overviews.toFixed(2)} % of a CPU`);
    assert.ok(overviews - alone <= (isStrict ? 1 : 3), `${overviews}`);
    console.log(`an idle server takes ${alone.toFixed(2)} % of a CPU, with 50 readers ${read.toFixed(2)} %`);
    assert.ok(read - alone <= 1, `${read}`);
    stop.abort();
    await ended;
  } finally {
    stop.abort();
    await idler.stop();
  }
});

// Signing in, and the table of jobs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, go, newContext, openPage, openPageAs, server, signIn, startBoth, until, violations } from "./support.mjs";

startBoth();

const rows = (page) => page.locator(".tbody [role=row]");
const row = (page, name) => rows(page).filter({ hasText: name });

test("a link signs in once, and its code does not stay", async () => {
  const link = server.link();
  const page = await (await newContext(browser)).newPage();
  await page.goto(link);
  await page.locator(".connection.is-live").waitFor();
  assert.ok(!page.url().includes("code"), page.url());
  assert.equal(await page.evaluate(() => history.length), 2);
  assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  assert.ok(!server.log.includes(server.token) && !server.log.includes(link.split("code=")[1]));
  // An empty server says what to do.
  await page.getByText("windlass submit echo").waitFor();
  const again = await (await newContext(browser)).newPage();
  await again.goto(link);
  await again.getByText("the link was used before").waitFor();
  await signIn(again, server.token);
  await again.locator(".connection.is-live").waitFor();
  await again.getByRole("button", { name: "Sign out" }).click();
  await signIn(again, "wrong");
  await again.getByText("a valid bearer token is needed").waitFor();
});

test("jobs appear, change and go by themselves", async () => {
  const page = await openPage(browser, server);
  const name = await server.say({ text: "a", steps: 20, log: "at work" }, { name: "live", labels: { team: "blue" } });
  await row(page, name).getByText("Running").waitFor();
  await row(page, name).getByText("at work").waitFor();
  await row(page, name).getByText("Succeeded").waitFor();
  await row(page, name).getByText("team=blue").waitFor();
  await server.ask("DELETE", `jobs/${name}`);
  await row(page, name).waitFor({ state: "detached" });
  assert.deepEqual(page.complaints, []);
});

test("filters are in the address and select by name, label, function, phase and queue", async () => {
  await server.say({ text: "a" }, { name: "find-blue", labels: { team: "blue" } });
  await server.say({ text: "a", exit: 65 }, { name: "find-failed", queue: "small" });
  await server.submit({ function: "echo", name: "find-echo" });
  await server.phase("find-failed", "Failed");
  await server.phase("find-blue", "Succeeded");
  const page = await openPage(browser, server);
  const shown = async (...names) => {
    await until(`shown: ${names}`, async () => {
      const all = await rows(page).locator("a").allTextContents();
      return JSON.stringify(all.filter((name) => name.startsWith("find-")).sort()) === JSON.stringify(names);
    });
  };
  await shown("find-blue", "find-echo", "find-failed");
  await page.getByRole("searchbox").fill("team=blue");
  await shown("find-blue");
  assert.match(page.url(), /q=team%3Dblue/);
  await page.getByRole("searchbox").fill("find");
  await page.getByLabel("Phase").selectOption("Failed");
  await shown("find-failed");
  await page.getByText("BadInput").waitFor();
  await page.reload();
  await shown("find-failed");
  await go(page, "#/default/jobs?function=echo");
  await shown("find-echo");
  await go(page, "#/default/jobs?queue=small");
  await shown("find-failed");
  await page.getByRole("button", { name: "Show all" }).click();
  await shown("find-blue", "find-echo", "find-failed");
  // Words of a fact, and a label that is clicked.
  for (const [words, name] of [["phase=Failed", "find-failed"], ["queue=small", "find-failed"], ["function=echo", "find-echo"], ["reason=BadInput", "find-failed"]]) {
    await page.getByRole("searchbox").fill(`find ${words}`);
    await shown(name);
  }
  await page.getByRole("searchbox").fill("find");
  await row(page, "find-blue").getByRole("button", { name: "team=blue" }).click();
  await shown("find-blue");
  assert.match(page.url(), /q=team%3Dblue/);
});

test("failures of the overview lead to the jobs that failed so", async () => {
  const page = await openPage(browser, server);
  for (const [section, link] of [["Failures", "BadInput"], ["Failures", "1 job"], ["What has ended", "BadInput"]]) {
    await go(page, "#/default/overview");
    await page.getByRole("region", { name: section, exact: true }).getByRole("link", { name: link, exact: true }).click();
    await until(`one row after ${link}`, async () => (await rows(page).count()) === 1);
    await row(page, "find-failed").waitFor();
  }
});

test("a slash goes to the search, Enter opens its only match, Escape leaves it", async () => {
  const page = await openPage(browser, server);
  await rows(page).nth(1).waitFor();
  const search = page.getByRole("searchbox");
  const isIn = () => search.evaluate((box) => box === document.activeElement);
  await page.keyboard.press("/");
  assert.ok(await isIn());
  await page.keyboard.type("find-");
  await page.keyboard.press("Escape");
  assert.ok(!(await isIn()));
  assert.equal(await search.inputValue(), "find-");
  await page.keyboard.press("/");
  await page.keyboard.press("Enter");
  assert.match(page.url(), /\/jobs\?/);
  await page.keyboard.type("find-echo");
  await until("one row", async () => (await rows(page).count()) === 1);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "find-echo" }).waitFor();
});

test("many jobs are cancelled, retried and deleted, and refusals are told in the server's words", async () => {
  await Promise.all([1, 2, 3].map((at) => server.say({ text: "a", steps: 600 }, { name: `bulk-${at}` })));
  const page = await openPage(browser, server);
  await go(page, "#/default/jobs?q=bulk");
  await until("three jobs", async () => (await rows(page).count()) === 3);
  await page.getByLabel("Choose all shown").check();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("3 refused").waitFor();
  await page.getByText("only a job that has ended").first().waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByLabel("Choose all shown").check();
  await server.say({ text: "a" }, { name: "bulk-ended" });
  await server.ask("POST", "jobs/bulk-ended/cancel");
  await row(page, "bulk-ended").getByText("Cancelled").waitFor();
  await page.getByLabel("Choose bulk-ended").check();
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Cancel 3 jobs?" });
  await dialog.getByText("1 of 4 have ended").waitFor();
  await dialog.getByRole("button", { name: "Keep them" }).waitFor();
  await dialog.getByRole("button", { name: "Cancel 3 jobs" }).click();
  await until("all are cancelled", async () => (await rows(page).getByText("Cancelled").count()) === 4);
  await page.getByText("3 jobs cancelled").waitFor();
  await page.getByLabel("Choose all shown").check();
  assert.ok(await page.getByRole("button", { name: "Cancel", exact: true }).isDisabled());
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete 4 jobs" }).click();
  await page.getByText("No job matches.").waitFor();
  assert.deepEqual(page.complaints.filter((text) => !text.includes("409")), []);
});

test("a lost connection is shown and heals after a restart of the server", async () => {
  const page = await openPage(browser, server);
  await server.say({ text: "a" }, { name: "before" });
  await row(page, "before").waitFor();
  await server.kill();
  await page.getByText("What you see may be old").waitFor();
  await row(page, "before").waitFor();
  await server.run();
  await page.locator(".connection.is-live").waitFor();
  await page.getByText("What you see may be old").waitFor({ state: "detached" });
  await server.say({ text: "a" }, { name: "afterwards" });
  await row(page, "afterwards").waitFor();
});

test("a job that is deleted while the jobs are listed does not come back", async () => {
  const watcher = await openPage(browser, server);
  await server.say({ text: "a" }, { name: "short-lived" });
  await row(watcher, "short-lived").getByText("Succeeded").waitFor();
  const context = await newContext(browser);
  const page = await context.newPage();
  await page.route("**/v1/namespaces/default/jobs?*", async (route) => {
    const old = await route.fetch();
    await server.ask("DELETE", "jobs/short-lived");
    // The other page has heard of it, and so has this one.
    await row(watcher, "short-lived").waitFor({ state: "detached" });
    await server.say({ text: "a" }, { name: "later" });
    await row(page, "later").waitFor();
    await route.fulfill({ response: old });
  });
  await page.goto(server.link());
  await page.locator(".connection.is-live").waitFor();
  assert.equal(await row(page, "short-lived").count(), 0);
  await row(page, "later").waitFor();
});

test("who may list and not watch is shown the jobs all the same", async () => {
  const page = await openPageAs(browser, `${server.url}/dashboard/`, server.key("lister", "list,get"));
  await page.getByText("you may not watch jobs here").waitFor();
  await row(page, "later").waitFor();
  await page.getByLabel("Choose later").check();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByText("the caller may not delete computejobs here").waitFor();
});

test("who may list and neither get nor watch is shown the jobs, too", async () => {
  const page = await openPageAs(browser, `${server.url}/dashboard/`, server.key("list-only", "list"));
  await page.locator(".connection.is-polling").waitFor();
  await row(page, "later").waitFor();
});

test("a job that was made again under its name is not the one that was chosen", async () => {
  await server.say({ text: "a", steps: 600 }, { name: "made-again" });
  const page = await openPage(browser, server);
  await page.getByLabel("Choose made-again").check();
  await page.getByRole("button", { name: "Delete" }).click();
  const [old] = (await server.ask("GET", "jobs")).items.filter(({ metadata }) => metadata.name === "made-again");
  await server.ask("DELETE", "jobs/made-again");
  await server.say({ text: "a", steps: 600 }, { name: "made-again" });
  const dialog = page.getByRole("dialog", { name: "Delete job made-again?" });
  await dialog.getByRole("button", { name: "Keep it" }).waitFor();
  await dialog.getByRole("button", { name: "Delete the job" }).click();
  await page.getByText("was deleted and made again: nothing was done").waitFor();
  const { metadata } = await server.ask("GET", "jobs/made-again");
  assert.notEqual(metadata.uid, old.metadata.uid);
  assert.ok(!(await page.getByLabel("Choose made-again").isChecked()));
  await server.ask("DELETE", "jobs/made-again");
});

test("the list says why a job waits", async () => {
  await server.say({ text: "a", steps: 600 }, { name: "in-the-way", queue: "small" });
  await server.say({ text: "a" }, { name: "waiting", queue: "small" });
  await server.say({ text: "a" }, { name: "without-queue", queue: "nowhere" });
  const page = await openPage(browser, server);
  await row(page, "waiting").getByText('waits for 1 free CPUs: queue "small" has 1 in all, this machine 2').waitFor();
  await row(page, "without-queue").getByText('queue "nowhere" is not there').waitFor();
  await go(page, "#/default/overview");
  const waits = page.getByRole("region", { name: "What waits" });
  // With its place, too, which alone would say that it is the next.
  await waits.getByText("place 1 in queue nowhere").waitFor();
  await waits.getByText('queue "nowhere" is not there').waitFor();
  await page.setViewportSize({ width: 390, height: 800 });
  const short = page.getByRole("region", { name: "What waits" }).locator("a, time");
  for (const lines of await short.evaluateAll((all) => all.map((one) => one.getClientRects().length))) assert.equal(lines, 1);
  for (const name of ["waiting", "without-queue", "in-the-way"]) await server.ask("DELETE", `jobs/${name}`);
});

test("a step in a path is no name of an address", async () => {
  const page = await openPage(browser, server);
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  for (const name of ["..", ".", "%2e%2e"]) {
    for (const hash of [`#/default/jobs/${name}`, `#/${name}/jobs`, `#/default/functions/${name}`, `#/default/functions/say?from=${name}`]) {
      await go(page, hash);
      await page.getByRole("heading", { level: 1 }).waitFor();
    }
  }
  await go(page, "#/default/overview");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  for (const path of asked) assert.match(path, /^\/v1\/namespaces\/default\/(jobs|events|functions|queues|capacity|estimates|history)/);
  assert.deepEqual(page.complaints, []);
});

test("a page keeps twenty thousand jobs, and the newest of more", async () => {
  const page = await (await newContext(browser)).newPage();
  await page.route("**/v1/namespaces/default/jobs?*", (route) => {
    const job = (at) => ({
      metadata: { name: `old-${at}`, uid: `u${at}`, resourceVersion: "1" },
      spec: { function: "say", cancel: false },
      status: { phase: "Succeeded", timeline: { created: new Date(at * 1000).toISOString() } },
    });
    const items = Array.from({ length: 20_000 }, (_, at) => job(at));
    return route.fulfill({ json: { items, metadata: {} } });
  });
  await page.goto(server.link());
  await page.getByText("20,000 jobs", { exact: true }).waitFor();
  await server.say({ text: "a", steps: 600 }, { name: "one-more" });
  await row(page, "one-more").waitFor();
  await page.getByText("20,000 jobs", { exact: true }).waitFor();
  await page.getByText("There are more jobs than the 20,000 jobs").waitFor();
  await page.getByRole("searchbox").fill("old-0");
  await page.getByText("No job matches.").waitFor();
  await server.ask("DELETE", "jobs/one-more");
});

test("the keyboard reaches the jobs and goes from one to the next", async () => {
  const page = await openPage(browser, server);
  await rows(page).nth(1).waitFor();
  await rows(page).nth(0).locator("a").focus();
  await page.keyboard.press("ArrowDown");
  const second = await rows(page).nth(1).locator("a").textContent();
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), second);
});

test("the arrow down goes from the search and from the list to the first job", async () => {
  await Promise.all(Array.from({ length: 14 }, () => server.submit({ function: "echo" })));
  const page = await openPage(browser, server);
  await rows(page).nth(13).waitFor();
  const first = await rows(page).nth(0).locator("a").textContent();
  for (const place of [page.getByRole("searchbox"), page.locator(".tbody")]) {
    await place.focus();
    await page.keyboard.press("ArrowDown");
    await until("the first has the focus", () => page.evaluate((name) => document.activeElement?.textContent === name && document.activeElement.tagName === "A", first));
  }
  // Also where it is not drawn.
  await page.setViewportSize({ width: 1280, height: 320 });
  await page.locator(".tbody").evaluate((box) => (box.scrollTop = box.scrollHeight));
  await until("the list was scrolled", () => page.locator(".tbody").evaluate((box) => box.scrollTop > 0));
  await page.getByRole("searchbox").focus();
  await page.keyboard.press("ArrowDown");
  await until("the first has the focus", () => page.evaluate((name) => document.activeElement?.textContent === name && document.activeElement.tagName === "A", first));
});

/** Whether the ring around what has the focus is there, and cut by nothing around it. */
function isRingWhole() {
  const at = document.activeElement;
  const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(at);
  if (outlineStyle === "none") return false;
  const more = parseFloat(outlineWidth) + parseFloat(outlineOffset);
  const ring = at.getBoundingClientRect();
  const holds = (box) =>
    box.left <= ring.left - more && box.right >= ring.right + more && box.top <= ring.top - more && box.bottom >= ring.bottom + more;
  for (let around = at.parentElement; around; around = around.parentElement) {
    if (getComputedStyle(around).overflowX !== "visible" && !holds(around.getBoundingClientRect())) return false;
  }
  return true;
}

test("the focus is seen on the boxes and links of rows, and on the list", async () => {
  await server.say({ text: "a" }, { name: "ringed" });
  for (const viewport of [{ width: 1280, height: 800 }, { width: 390, height: 844 }]) {
    const page = await openPage(browser, server, { viewport });
    await row(page, "ringed").getByText("Succeeded").waitFor();
    // By the keyboard: a ring is not drawn around what a mouse chose.
    await page.keyboard.press("Tab");
    for (const place of [page.getByLabel("Choose all shown"), page.locator(".tbody"), page.getByLabel("Choose ringed"), row(page, "ringed").locator("a")]) {
      await place.focus();
      assert.ok(await page.evaluate(isRingWhole), `${place} at ${viewport.width}`);
    }
  }
});

test("why a job failed or waits has room, and its labels are beside it", async () => {
  const labels = { team: "blue" };
  await server.say({ text: "a", exit: 65, log: "Traceback\nValueError: no such year" }, { name: "told-failed", labels });
  await server.say({ text: "a" }, { name: "told-waiting", queue: "nowhere", labels });
  await server.say({ text: "a", log: "the last words", steps: 600 }, { name: "told-late", timeoutSeconds: 1, retries: 0 });
  for (const width of [1280, 390]) {
    const page = await openPage(browser, server, { viewport: { width, height: 800 } });
    const failed = row(page, "told-failed");
    await failed.getByText("BadInput: ValueError: no such year").waitFor();
    await row(page, "told-waiting").getByText('queue "nowhere" is not there').waitFor();
    await row(page, "told-late").getByText("Timeout: the function ran longer than 1 s", { exact: true }).waitFor();
    for (const one of [failed, row(page, "told-waiting")]) {
      await one.getByText("team=blue").waitFor();
      const [clip, all] = await one.locator(".reason").evaluate((reason) => [reason.clientHeight, reason.scrollHeight]);
      assert.ok(all <= clip + 1, `${all} px of text in ${clip} px at ${width}`);
    }
  }
  await server.ask("DELETE", "jobs/told-waiting");
});

test("axe finds nothing wrong in either theme, nor on a phone", async () => {
  const phone = { width: 390, height: 844 };
  await server.say({ text: "a" }, { name: "cancelled", queue: "nowhere" });
  await server.ask("POST", "jobs/cancelled/cancel");
  await server.phase("cancelled", "Cancelled");
  for (const options of [{ colorScheme: "light" }, { colorScheme: "dark" }, { colorScheme: "dark", viewport: phone }]) {
    const page = await openPage(browser, server, options);
    await rows(page).first().waitFor();
    assert.deepEqual(await violations(page), [], JSON.stringify(options));
    await page.getByLabel("Choose all shown").check();
    await row(page, "cancelled").hover();
    assert.deepEqual(await violations(page), [], `chosen: ${JSON.stringify(options)}`);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} px too wide`);
    await page.getByRole("button", { name: "Sign out" }).click();
    assert.deepEqual(await violations(page), [], "signed out");
  }
});

test("where an ingress signs its users in, the page asks for no token and sends none", async () => {
  const context = await newContext(browser);
  // As the gateway writes it with --ingress-signs-in, and as an ingress does.
  await context.route(/\/dashboard\/$/, async (route) => {
    const response = await route.fetch();
    const page = (await response.text()).replace("<head>", '<head>\n    <meta name="windlass-sign-in" content="ingress" />');
    return route.fulfill({ response, body: page });
  });
  let isSignedIn = true;
  const sent = new Set();
  await context.route("**/v1/**", (route) => {
    const headers = { ...route.request().headers() };
    sent.add(headers.authorization);
    return route.continue({ headers: isSignedIn ? { ...headers, authorization: `Bearer ${server.token}` } : headers });
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${server.url}/dashboard/#/default/functions`);
  await page.getByRole("link", { name: "say", exact: true }).waitFor();
  await page.locator(".connection.is-live").waitFor();
  assert.equal(await page.getByLabel("Token").count() + (await page.getByRole("button", { name: "Sign out" }).count()), 0);
  assert.deepEqual([...sent], [undefined]);
  // Whom the ingress does not know any more is told so.
  isSignedIn = false;
  await go(page, "#/default/functions/say");
  await page.getByText("Who you are is said by the ingress of this page.").waitFor();
  assert.deepEqual(await violations(page), []);
});

// Who reads the page: by the keyboard alone, and in the theme that they choose.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, newContext, openPage, section, server, startBoth, until, violations, wrongField } from "./support.mjs";

startBoth();

/** Presses Tab until this has the focus. */
async function tabTo(page, name) {
  for (let pressed = 0; pressed < 60; pressed += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => document.activeElement?.labels?.[0]?.innerText ?? document.activeElement?.innerText);
    if (at?.trim() === name) return;
  }
  assert.fail(`Tab does not lead to ${name}`);
}

test("from the sign-in to a cancelled job by the keyboard alone", async () => {
  await server.say({ text: "a" });
  const name = await server.say({ text: "a", steps: 600 });
  await server.phase(name, "Running");
  const page = await (await newContext(browser)).newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${server.url}/dashboard/#/default/jobs`);
  const { keyboard } = page;
  await tabTo(page, "Token");
  await keyboard.type(server.token);
  await keyboard.press("Enter");
  await page.locator(".connection.is-live").waitFor();
  await page.getByRole("link", { name, exact: true }).waitFor();
  await keyboard.press("/");
  await keyboard.type(name);
  await page.getByText(/^1 of /).waitFor();
  await keyboard.press("Enter");
  await page.locator(".title .phase-running").waitFor();
  await tabTo(page, "Cancel");
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, "Cancel the job");
  await keyboard.press("Enter");
  await page.locator(".title .phase-cancelled").waitFor();
});

test("from the functions to a job by the form of one, by the keyboard alone", async () => {
  const page = await openPage(browser, server);
  const { keyboard } = page;
  const press = async (name) => {
    await tabTo(page, name);
    await keyboard.press("Enter");
  };
  await press("Functions");
  await page.getByRole("link", { name: "say", exact: true }).waitFor();
  await press("say");
  await page.getByLabel("Labels").waitFor();
  // What is wrong has the focus.
  await press("Submit");
  await wrongField(page, "text", "this is required");
  await keyboard.type('{"by": "keys"}');
  await tabTo(page, "type");
  await keyboard.type("application/json");
  await tabTo(page, "Labels");
  await keyboard.type("team=keys");
  await press("Submit");
  await page.locator(".title .phase-succeeded").waitFor();
  await section(page, "Result").getByText('"keys"').waitFor();
  const name = decodeURIComponent(page.url().split("/").at(-1));
  const { metadata } = await server.ask("GET", `jobs/${name}`);
  assert.deepEqual(metadata.labels, { team: "keys" });
  await press("Retry with edits");
  await page.getByLabel("Labels").waitFor();
  assert.equal(await page.getByLabel("Labels").inputValue(), "team=keys");
  assert.deepEqual(page.complaints.filter((text) => !text.includes("422")), []);
});

test("a queue is held and resumed by the keyboard alone", async () => {
  const page = await openPage(browser, server);
  const press = async (name) => {
    await tabTo(page, name);
    await page.keyboard.press("Enter");
  };
  await press("Overview");
  await page.getByRole("button", { name: "Hold small" }).waitFor();
  await press("Hold");
  await section(page, "Queues").getByText("on hold").waitFor();
  const name = await server.say({ text: "a" }, { queue: "small" });
  await section(page, "What waits").getByRole("link", { name }).waitFor();
  await press("Resume");
  await server.phase(name, "Succeeded");
});

test("the theme is chosen and kept in the browser", async () => {
  const page = await openPage(browser, server, { colorScheme: "dark" });
  const color = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const [dark, light] = ["rgb(15, 19, 24)", "rgb(255, 255, 255)"];
  assert.equal(await color(), dark);
  await page.getByLabel("Theme").selectOption("light");
  assert.equal(await color(), light);
  assert.deepEqual(await violations(page), []);
  await page.reload();
  await page.locator(".connection.is-live").waitFor();
  assert.deepEqual([await color(), await page.getByLabel("Theme").inputValue()], [light, "light"]);
  // Another tab follows.
  const other = await page.context().newPage();
  await other.goto(server.link());
  await page.getByLabel("Theme").selectOption("dark");
  await until("the other tab is dark", async () => (await other.evaluate(() => getComputedStyle(document.body).backgroundColor)) === dark);
});

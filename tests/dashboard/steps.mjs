// What somebody does on the page, in both worlds.
import assert from "node:assert/strict";
import { fieldOf, go, section, until, violations } from "./support.mjs";

/** Submits a job by the form of its function with these fields, is then on its page, and tells its name. */
export async function submitByForm(page, namespace, name, fields) {
  await go(page, `#/${namespace}/functions/${name}`);
  for (const [label, value] of Object.entries(fields)) {
    const field = fieldOf(page, label);
    const isChoice = await field.evaluate((at) => at.tagName === "SELECT");
    await (isChoice ? field.selectOption(value) : field.fill(value));
  }
  await page.getByRole("button", { name: "Submit" }).click();
  await until("the page is that of a job", () => page.url().includes("/jobs/"));
  await page.locator(".title .phase").waitFor();
  return decodeURIComponent(page.url().split("/").at(-1));
}

/** Holds a queue, has a job wait in it, and resumes it. Returns the job's name. */
export async function holdAndResume(page, namespace, queue, submit) {
  const overview = async () => {
    await go(page, `#/${namespace}/overview`);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
  };
  await overview();
  await page.getByRole("button", { name: `Hold ${queue}` }).click();
  await section(page, "Queues").getByText("on hold").waitFor();
  const name = await submit();
  await overview();
  await section(page, "What waits").getByRole("row").filter({ hasText: name }).getByText(`queue "${queue}" is on hold`).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: `Resume ${queue}` }).click();
  await page.getByRole("button", { name: `Hold ${queue}` }).waitFor();
  return name;
}

/** That axe finds nothing wrong with these pages in either theme, and that they are as wide as the window. `seen` is what a
 * page has once it is there. */
export async function lookAtAll(page, namespace, places, seen = {}) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const place of places) {
      await go(page, `#/${namespace}/${place}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      if (seen[place]) await page.locator(seen[place]).first().waitFor();
      const where = `${place}, ${colorScheme}, ${page.viewportSize().width}`;
      assert.deepEqual(await violations(page), [], where);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${where}: ${overflow} px too wide`);
    }
  }
}

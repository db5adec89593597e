// The dashboard of a cluster's gateway: `node on-cluster.mjs URL NAMESPACE TOKEN`. The token may edit in the namespace.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { go, newContext, openBrowser, until, violations } from "./support.mjs";

const [url, namespace, token] = process.argv.slice(2);
const scene = JSON.parse(readFileSync(new URL("../../examples/scene.json", import.meta.url), "utf8"));
const browser = await openBrowser();
try {
  const page = await (await newContext(browser)).newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${url}/dashboard/#/${namespace}/jobs`);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".connection.is-live").waitFor();
  // Another tab is not signed in by it, and the token is in no address.
  assert.ok(!page.url().includes(token));

  await go(page, `#/${namespace}/functions/render`);
  await page.getByRole("button", { name: "Write it as JSON" }).click();
  await page.getByLabel("Input, as JSON").fill(JSON.stringify({ ...scene, width: 120, height: 80, samples: 8 }));
  await page.getByRole("button", { name: "Submit" }).click();
  await page.locator(".title .phase-succeeded").waitFor();
  await page.getByRole("img", { name: "The result" }).waitFor();
  await until("it is drawn", () => page.evaluate(() => document.querySelector("img").naturalWidth === 120));
  await page.locator(".gantt").getByRole("rowheader", { name: "running" }).waitFor();
  const name = page.url().split("/").at(-1);

  await page.getByRole("link", { name: "Jobs" }).click();
  const row = page.locator(".tbody [role=row]").filter({ hasText: name });
  await row.getByText("Succeeded").waitFor();
  await page.getByLabel(`Choose ${name}`).check();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("1 job submitted again").waitFor();
  await until("another job runs and ends", async () => (await page.getByText("Succeeded").count()) >= 3);
  await page.getByLabel(`Choose ${name}`).check();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await row.waitFor({ state: "detached" });
  for (const place of ["overview", "jobs", "functions"]) {
    await go(page, `#/${namespace}/${place}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.deepEqual(await violations(page), [], place);
  }
  // Nobody is shown a namespace that is not theirs.
  await go(page, "#/kube-system/jobs");
  await page.getByText("or you may not use it").first().waitFor();
  console.log("the dashboard of the cluster does what it should");
} finally {
  await browser.close();
}

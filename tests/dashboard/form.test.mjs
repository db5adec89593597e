// The form of a function: what is wrong is said at its field, files are sent, and a job is submitted once more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, go, openPage, section, server, startBoth, until, violations, wrongField } from "./support.mjs";

startBoth();

test("what is wrong in the form is said at its field, which gets the focus", async () => {
  const page = await openPage(browser, server, { viewport: { width: 1280, height: 500 } });
  await go(page, "#/default/functions/say");
  const submit = () => page.getByRole("button", { name: "Submit" }).click();
  await page.getByLabel("Labels").waitFor();
  await submit();
  await wrongField(page, "text", "this is required");
  assert.deepEqual(await violations(page), []);
  await page.getByLabel("text required").fill("a");
  for (const [label, value, words, right] of [
    ["Labels", "team=blue urgent", '"urgent" is no label: write name=value', "team=blue"],
    ["CPUs", "99", "2", "1"],
    ["Priority", "2000000000000", "", "0"],
    ["Name", "No Name", "", "by-the-form"],
  ]) {
    await page.getByLabel(label, { exact: true }).fill(value);
    await submit();
    await wrongField(page, label, words);
    await page.getByLabel(label, { exact: true }).fill(right);
  }
  await page.getByRole("button", { name: "Write it as JSON" }).click();
  await page.getByLabel("Input, as JSON").fill("{");
  await submit();
  await wrongField(page, "Input, as JSON", "this is not JSON");
  await page.getByLabel("Input, as JSON").fill('{"text": "b", "odd": 1}');
  await page.getByRole("button", { name: "Write it in fields" }).click();
  await wrongField(page, "Input, as JSON", "no field can say this: odd");
  await page.getByLabel("Input, as JSON").fill('{"text": "b"}');
  await page.getByRole("button", { name: "Write it in fields" }).click();
  assert.equal(await page.getByLabel("text required").inputValue(), "b");
  await page.getByLabel("Queue").fill("smal");
  await page.getByText("There is no such queue here now").waitFor();
  assert.ok((await page.locator("#queues option").evaluateAll((all) => all.map((one) => one.value))).includes("small"));
  await page.getByLabel("Queue").fill("");
  await submit();
  await page.getByRole("heading", { name: "by-the-form" }).waitFor();
  await go(page, "#/default/functions/say");
  await page.getByLabel("text required").fill("another");
  await page.getByLabel("Name", { exact: true }).fill("by-the-form");
  await submit();
  await wrongField(page, "Name", "by-the-form");
});

test("a field of JSON shows what it looks like", async () => {
  const page = await openPage(browser, server);
  const properties = { shape: { type: "object", properties: { size: { type: "number" }, names: { type: "array", items: { type: "string" } } } }, given: { type: "array", examples: [[1, 2]] } };
  await page.route("**/functions/say", async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    return route.fulfill({ response, json: { ...json, spec: { ...json.spec, inputSchema: { type: "object", properties } } } });
  });
  await go(page, "#/default/functions/say");
  const about = async (label) => JSON.parse((await page.locator(".field", { hasText: label }).locator(".example").textContent()).replace("Such as ", ""));
  assert.deepEqual(await about("shape"), { size: "number", names: ["string"] });
  assert.deepEqual(await about("given"), [1, 2]);
});

test("files are sent under their names, and a refused name is said at its file", async () => {
  const page = await openPage(browser, server);
  await go(page, "#/default/functions/list");
  const files = ["a.csv", "b.csv"].map((name) => ({ name, mimeType: "text/csv", buffer: Buffer.from(`of ${name}`) }));
  await page.getByLabel("Add files").setInputFiles(files);
  await page.getByLabel("Name of file 2").fill("a.csv");
  const submit = () => page.getByRole("button", { name: "Submit" }).click();
  await submit();
  await wrongField(page, "Add files", 'there are two files "a.csv"');
  await page.getByLabel("Name of file 2").fill("../up");
  await submit();
  await wrongField(page, "Add files", '"../up"');
  await page.getByLabel("Name of file 2").fill("renamed.csv");
  assert.deepEqual(await violations(page), []);
  await submit();
  await section(page, "Result").getByText("a.csv of a.csv").waitFor();
  await section(page, "Result").getByText("renamed.csv of b.csv").waitFor();
  const { spec } = await server.ask("GET", `jobs/${page.url().split("/").at(-1)}`);
  assert.deepEqual(Object.entries(spec.files).map(([name, { mediaType, bytes }]) => [name, mediaType, bytes]), [["a.csv", "text/csv", 8], ["renamed.csv", "text/csv", 8]]);
});

test("a job that is submitted once more with edits keeps its data, its files and its bounds", async () => {
  const send = async (text) => {
    const headers = { Authorization: `Bearer ${server.token}`, "Content-Type": "application/json" };
    return (await fetch(`${server.url}/v1/namespaces/default/blobs`, { method: "POST", headers, body: text })).json();
  };
  const { sha256, bytes } = await send(JSON.stringify({ text: "of data" }));
  const inputBlob = { sha256, bytes, mediaType: "text/plain" };
  const files = { "a.csv": { ...(await send("1,2")), mediaType: "text/csv" }, "b.csv": { ...(await send("3,4")), mediaType: "text/csv" } };
  const bounds = { retries: 1, timeoutSeconds: 77, parallelism: 2, minParallelism: 1, ttlSecondsAfterFinished: 123456 };
  const name = await server.submit({ function: "count", inputBlob, files, ...bounds });
  await server.phase(name, "Succeeded");
  const page = await openPage(browser, server);
  await go(page, `#/default/jobs/${name}`);
  await page.getByRole("link", { name: "Retry with edits" }).click();
  await page.getByText(`The input of ${name}`).waitFor();
  await page.getByText(`from ${name}, with its retries 1, timeout 1 min 17 s, at least 1 CPU, deleted 1 d 10 h after its end`, { exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Leave out b.csv" }).click();
  await page.getByRole("button", { name: "Submit" }).click();
  await page.locator(".title .phase-succeeded").waitFor();
  await until("it is another job", () => !page.url().endsWith(name) && !page.url().includes("functions"));
  const { spec, metadata } = await server.ask("GET", `jobs/${decodeURIComponent(page.url().split("/").at(-1))}`);
  assert.equal(metadata.annotations["windlass.dev/retry-of"], name);
  await page.getByRole("link", { name: `Retry of ${name}`, exact: true }).waitFor();
  const kept = Object.fromEntries(Object.keys(bounds).map((field) => [field, spec[field]]));
  assert.deepEqual({ ...kept, inputBlob: spec.inputBlob, files: Object.keys(spec.files) }, { ...bounds, inputBlob, files: ["a.csv"] });
  assert.deepEqual(page.complaints, []);
});

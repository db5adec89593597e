// Parquet files: one of another program, and those of somebody who means harm.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { browser, go, openPage, openSaid, section, server, startBoth, until, violations } from "./support.mjs";

startBoth();

// Made by files/columns.py.
const REAL = readFileSync(new URL("files/columns.parquet", import.meta.url));
const TYPE = "application/vnd.apache.parquet";
const HEAD = [
  ["name", "string"], ["price", "double"], ["large", "int64"], ["time", "timestamp"], ["day", "date"], ["tags", "list<string>"],
  ["place", "struct<x: int64, y: double>"], ["bytes", "binary"], ["small", "uint8"], ["<img src=x onerror=hacked=1>[U+202E]", "null"], ["is_even", "boolean"],
];
const ROW = ["name 151", "37.75", "1152921504606847127", "2026-01-07T19:30:00.000Z", "2026-06-01", '["a","b1"]', '{"x":"151","y":151}', "97ff", "151", "", "false"];

test("a Parquet file is a table: its columns with their types, its first rows, and how many it has", async () => {
  const page = await openSaid({ text: REAL.toString("base64"), base64: true, type: TYPE });
  const result = section(page, "Result");
  await result.getByText("400 rows, 11 columns").waitFor();
  const head = await result.getByRole("columnheader").evaluateAll((all) => all.map((one) => [one.children[0].innerText, one.children[1].innerText]));
  assert.deepEqual(head, HEAD);
  // The first is the header's. This one is of the second group of rows.
  assert.deepEqual(await result.getByRole("row").nth(152).getByRole("cell").allInnerTexts(), ROW);
  assert.equal(await result.getByRole("row").count(), 301);
  await result.getByText("These are the first 300 rows.").waitFor();
  assert.equal(await result.getByRole("alert").count(), 0);
  assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
  // A few of its rows are enough for axe, which is slow.
  await page.evaluate(() => document.querySelectorAll("tbody tr:nth-child(n + 5)").forEach((row) => row.remove()));
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(page.complaints, []);
});

test("of a large Parquet file the columns and the number of rows are shown", async () => {
  // Its end is that of a file; all before is of no meaning.
  const page = await openSaid({ text: REAL.toString("base64"), base64: true, type: "application/x-parquet", repeat: Math.ceil((17 << 20) / REAL.length) });
  const result = section(page, "Result");
  await result.getByText("400 rows, 11 columns").waitFor();
  await result.getByRole("listitem").filter({ hasText: "place" }).getByText("struct<x: int64, y: double>").waitFor();
  await result.getByText("Its rows are not shown: it is larger than 16.0 MiB.").waitFor();
  assert.equal(await result.getByRole("table").count(), 0);
});

test("what reads Parquet files is asked for when there is one, and a file's name tells what it is", async () => {
  const headers = { Authorization: `Bearer ${server.token}`, "Content-Type": "application/octet-stream" };
  const sent = await (await fetch(`${server.url}/v1/namespaces/default/blobs`, { method: "POST", headers, body: REAL })).json();
  const blob = { sha256: sent.sha256, bytes: sent.bytes, mediaType: "application/octet-stream" };
  const name = await server.submit({ function: "list", input: {}, files: { "a.bin": blob, "a.parquet": blob } });
  await server.phase(name, "Succeeded");
  const page = await openPage(browser, server);
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await go(page, `#/default/jobs/${name}`);
  const files = section(page, "Files");
  await files.getByRole("button", { name: "Show a.parquet" }).waitFor();
  assert.equal(await files.getByRole("button", { name: "Show a.bin" }).count(), 0);
  assert.ok(!asked.includes("/dashboard/parquet.js"));
  await files.getByRole("button", { name: "Show a.parquet" }).click();
  await files.getByText("400 rows, 11 columns").waitFor();
  assert.ok(asked.includes("/dashboard/parquet.js"));
  await files.getByRole("button", { name: "Hide a.parquet" }).click();
  assert.equal(await files.getByRole("table").count(), 0);
  assert.deepEqual(page.complaints, []);
});

// Thrift's compact protocol: a value is its type and its bytes, a struct its fields by number.
const varint = (value) => {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
};
const zigzag = (value) => varint(value >= 0 ? 2n * BigInt(value) : -2n * BigInt(value) - 1n);
const i32 = (value) => [5, zigzag(value)];
const i64 = (value) => [6, zigzag(value)];
const text = (value) => [8, Buffer.concat([varint(value.length), Buffer.from(value)])];
const list = (items, length = items.length) => [9, Buffer.concat([Buffer.from([0xf0 | items[0][0]]), varint(length), ...items.map(([, bytes]) => bytes)])];
function struct(fields) {
  const parts = Object.entries(fields).flatMap(([id, [type, bytes]]) => [Buffer.from([type]), zigzag(Number(id)), bytes]);
  return [12, Buffer.concat([...parts, Buffer.from([0])])];
}

const [INT32, OPTIONAL, PLAIN, RLE_DICTIONARY, SNAPPY] = [1, 1, 0, 8, 1];
const MUCH = 2 ** 31 - 1;
const root = (children) => struct({ 4: text("root"), 5: i32(children) });
const leaf = (name) => struct({ 1: i32(INT32), 3: i32(OPTIONAL), 4: text(name) });

/** A file with this schema, and columns that all have this page. */
function file({ schema, names = ["a"], codec = 0, at, size, rows = 1, page = Buffer.alloc(0), length }) {
  const chunk = (name) => {
    const bytes = i64(size ?? page.length);
    return struct({ 3: struct({ 1: i32(INT32), 2: list([i32(0)]), 3: list([text(name)]), 4: i32(codec), 5: i64(rows), 6: bytes, 7: bytes, 9: i64(at ?? 4) }) });
  };
  const group = struct({ 1: list(names.map(chunk)), 2: i64(1), 3: i64(rows) });
  const [, footer] = struct({ 1: i32(1), 2: schema ?? list([root(names.length), ...names.map(leaf)]), 3: i64(rows), 4: list([group]) });
  const end = Buffer.alloc(4);
  end.writeUInt32LE(length ?? footer.length);
  return Buffer.concat([Buffer.from("PAR1"), page, footer, end, Buffer.from("PAR1")]);
}

function page({ values = 1, compressed, uncompressed, encoding = PLAIN, body = Buffer.alloc(0) }) {
  const head = struct({ 1: i32(values), 2: i32(encoding), 3: i32(3), 4: i32(3) });
  const sizes = { 2: i32(uncompressed ?? body.length), 3: i32(compressed ?? body.length) };
  return Buffer.concat([struct({ 1: i32(0), ...sizes, 5: head })[1], body]);
}

/** A page of the second version whose indexes are 2^30 numbers of no bits. */
function endlessPage() {
  const body = Buffer.concat([Buffer.from([2, 1]), Buffer.from([0]), varint(MUCH)]);
  const head = struct({ 1: i32(1), 2: i32(0), 3: i32(1), 4: i32(RLE_DICTIONARY), 5: i32(2), 6: i32(0), 7: [2, Buffer.alloc(0)] });
  return Buffer.concat([struct({ 1: i32(3), 2: i32(body.length), 3: i32(body.length), 8: head })[1], body]);
}

/** As many values as a page may have, all in one run. */
function longRun() {
  const values = 16 << 20;
  const run = Buffer.concat([varint(values * 2), Buffer.from([0])]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(run.length);
  return page({ values, body: Buffer.concat([length, run]) });
}

const deep = list([...Array.from({ length: 3000 }, () => root(1)), leaf("a")]);
const columns = Array.from({ length: 40 }, (_, at) => `column ${at}`);
const HOSTILE = [
  ["the beginning of one", REAL.subarray(0, 9000), "does not end as a Parquet file does"],
  ["four bytes", Buffer.from("PAR1"), "does not end as a Parquet file does"],
  ["a footer that begins before the file", file({ length: MUCH }), "larger than"],
  ["a footer of two billion columns", file({ schema: list([root(1), leaf("a")], MUCH) }), "It is not shown"],
  ["a column of two billion fields", file({ schema: list([root(MUCH), leaf("a")]) }), "It is not shown"],
  ["three thousand columns inside each other", file({ schema: deep }), "deeper than"],
  ["a column outside of the file", file({ at: 2 ** 40 }), "a: "],
  ["a page of 2 GiB", file({ codec: SNAPPY, page: page({ compressed: 0, uncompressed: MUCH }) }), `a: a page says to have ${MUCH} bytes and 1 values`],
  ["a page of less than nothing", file({ page: page({ compressed: -40 }) }), "a: a page says to have"],
  ["a page of two billion values", file({ rows: MUCH, page: page({ values: MUCH }) }), `values`],
  ["a page that is read without end", file({ page: endlessPage() }), "reading it takes more than 2 seconds"],
  ["many columns of one long run", file({ names: columns, page: longRun(), rows: 16 << 20 }), "It is not shown"],
];

for (const [what, bytes, words] of HOSTILE) {
  test(`${what}: the page says why it is not shown, and goes on`, async () => {
    const page = await openSaid({ text: bytes.toString("base64"), base64: true, type: TYPE });
    const result = section(page, "Result");
    await result.getByRole("alert").filter({ hasText: words }).first().waitFor();
    await result.getByRole("button", { name: "Save" }).waitFor();
    // The thread is gone with what it had.
    await until("it has ended", () => page.workers().length === 0);
    await page.getByRole("link", { name: "Jobs", exact: true }).click();
    await page.getByRole("heading", { name: "Jobs" }).waitFor();
    assert.deepEqual(page.complaints, []);
  });
}

test("a job that is left ends what reads its file", async () => {
  const name = await server.say({ text: file({ page: endlessPage() }).toString("base64"), base64: true, type: TYPE });
  await server.phase(name, "Succeeded");
  const page = await openPage(browser, server);
  // The two seconds do not pass.
  await page.evaluate(() => {
    const all = setTimeout;
    globalThis.setTimeout = (action, after) => (after === 2000 ? 0 : all(action, after));
  });
  const started = page.waitForEvent("worker");
  await go(page, `#/default/jobs/${name}`);
  await started;
  await go(page, "#/default/jobs");
  await until("it has ended", () => page.workers().length === 0);
});

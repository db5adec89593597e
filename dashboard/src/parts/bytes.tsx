// Bytes that came out of a job, or went into it: shown by their type where that is safe, else to be saved.
import { useEffect, useState } from "preact/hooks";
import { ask, wordsOf } from "../api/client";
import { useAttempt } from "../live/attempt";
import { useTurn } from "../live/back";
import { bytes as inBytes, count } from "../text";
import { Command, Refusal, Text } from "./common";
import { BOUND, cells, MAX_PIXELS, PARQUET_END, shapeOf, sizeOf, type Shape } from "./content";
import { JsonTree } from "./json-tree";
import { readParquet, type Parquet } from "./parquet";

const ROWS = 300;
const COLUMNS = 40;

interface Properties {
  /** Where the API has them. */
  path: string;
  mediaType: string;
  size: number;
  /** The name of the file that is saved. */
  name: string;
  /** What saves them where they are too large for a page. */
  command: string;
}

export function Bytes({ path, mediaType, size, name, command }: Properties) {
  return (
    <div class="bytes">
      <p class="muted">
        <Text code>{mediaType}</Text> · {inBytes(size)} <Save path={path} size={size} name={name} command={command} />
      </p>
      <Shown path={path} shape={shapeOf(mediaType, name)} mediaType={mediaType} size={size} alt="The result" />
    </div>
  );
}

export function Save({ path, size, name, command }: Omit<Properties, "mediaType">) {
  const { why, isBusy, attempt } = useAttempt();
  if (size > BOUND.download) return <Command>{command}</Command>;
  const save = async () => {
    const content = await (await ask(path)).arrayBuffer();
    // Bytes without a type: no browser shows them.
    const url = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  };
  return (
    <>
      <button type="button" disabled={isBusy} onClick={() => void attempt(save)}>
        {isBusy ? "Saving" : "Save"}
      </button>
      <Refusal>{why}</Refusal>
    </>
  );
}

type Content =
  | { shape: "picture"; url: string; width: number; height: number }
  | { shape: "json"; value: unknown }
  | { shape: "table"; rows: string[][] }
  | { shape: "parquet"; parquet: Parquet }
  | { shape: "text"; text: string; isCut: boolean }
  | { shape: "none"; why: string };

interface ShownProperties {
  path: string;
  shape: Shape;
  mediaType: string;
  size: number;
  /** What a picture is called. */
  alt: string;
}

export function Shown({ path, shape, mediaType, size, alt }: ShownProperties) {
  const [content, setContent] = useState<Content | undefined>();
  const [why, setWhy] = useState<string | undefined>();
  const turn = useTurn(why !== undefined);
  useEffect(() => {
    setWhy(undefined);
    const stop = new AbortController();
    let url: string | undefined;
    load(path, shape, mediaType, size, stop.signal)
      .then((loaded) => {
        if (loaded.shape === "picture") url = loaded.url;
        if (stop.signal.aborted) return url && URL.revokeObjectURL(url);
        setContent(loaded);
      })
      .catch((error) => stop.signal.aborted || setWhy(wordsOf(error)));
    return () => {
      stop.abort();
      if (url) URL.revokeObjectURL(url);
    };
  }, [path, shape, mediaType, size, turn]);
  if (why !== undefined) return <Refusal>{why}</Refusal>;
  if (content === undefined) return null;
  switch (content.shape) {
    case "picture":
      return <Picture {...content} alt={alt} />;
    case "json":
      return <JsonTree value={content.value} length={size} />;
    case "table":
      return <Cells head={content.rows[0] ?? []} rows={content.rows.slice(1)} />;
    case "parquet":
      return <Columns {...content.parquet} isLarge={size > BOUND.parquet} />;
    case "text":
      return (
        <>
          <pre class="log text" tabIndex={0} role="region" aria-label="Text">
            <Text>{content.text}</Text>
          </pre>
          {content.isCut && <p class="muted">This is the beginning.</p>}
        </>
      );
    case "none":
      return <p class="muted">{content.why}</p>;
  }
}

async function load(path: string, shape: Shape, mediaType: string, size: number, signal: AbortSignal): Promise<Content> {
  if (size === 0) return { shape: "none", why: "It is empty." };
  if (shape === "none") return { shape, why: "It is not shown here." };
  if (shape === "parquet") return parquet(path, size, signal);
  if (shape !== "text" && size > BOUND[shape]) {
    if (shape === "picture") return { shape: "none", why: `It is not shown: pictures are, up to ${inBytes(BOUND.picture)}.` };
    return load(path, "text", mediaType, size, signal);
  }
  if (shape === "text") {
    const isCut = size > BOUND.text;
    const headers: HeadersInit = isCut ? { Range: `bytes=0-${BOUND.text - 1}` } : {};
    const answer = await ask(path, { signal, headers });
    // What is not asked for in part might be without end.
    if (isCut && answer.status !== 206) return { shape: "none", why: "It is too large to be shown." };
    return { shape, text: await answer.text(), isCut };
  }
  const content = await (await ask(path, { signal })).arrayBuffer();
  if (shape === "picture") return picture(content);
  const text = new TextDecoder().decode(content);
  if (shape === "json") return { shape, value: JSON.parse(text) as unknown };
  return { shape, rows: cells(text, mediaType.includes("tab-separated") ? "\t" : ",", ROWS + 1, COLUMNS) };
}

/** A Parquet file. Of one that is too large only the end is read. */
async function parquet(path: string, size: number, signal: AbortSignal): Promise<Content> {
  const isCut = size > BOUND.parquet;
  const headers: HeadersInit = isCut ? { Range: `bytes=${size - PARQUET_END}-${size - 1}` } : {};
  const answer = await ask(path, { signal, headers });
  if (isCut && answer.status !== 206) return { shape: "none", why: "It is too large to be shown." };
  const question = { content: await answer.arrayBuffer(), size, maxRows: ROWS, maxColumns: COLUMNS };
  return { shape: "parquet", parquet: await readParquet(question, signal) };
}

/** A picture, unless it says to be larger than a page can draw. Its type is what its bytes are. */
function picture(content: ArrayBuffer): Content {
  const size = sizeOf(new Uint8Array(content));
  if (!size) return { shape: "none", why: "It is called a picture and is none." };
  const { type, width, height } = size;
  if (width * height > MAX_PIXELS) {
    return { shape: "none", why: `It is not shown: ${width} x ${height} pixels would fill the memory.` };
  }
  return { shape: "picture", url: URL.createObjectURL(new Blob([content], { type })), width, height };
}

function Picture({ url, width, height, alt }: { url: string; width: number; height: number; alt: string }) {
  return (
    <figure>
      <img src={url} alt={alt} width={width} height={height} />
      <figcaption class="muted">
        {width} x {height}
      </figcaption>
    </figure>
  );
}

/** What is known of a Parquet file, and its first rows. */
function Columns({ rows, columns, columnCount, cells, unread, isLarge }: Parquet & { isLarge: boolean }) {
  const shown = columns.slice(0, COLUMNS);
  return (
    <>
      <p>
        {rows} {rows === "1" ? "row" : "rows"}, {count(columnCount, "column")}
      </p>
      {isLarge && <p class="muted">Its rows are not shown: it is larger than {inBytes(BOUND.parquet)}.</p>}
      {unread.map((why, at) => (
        <Refusal key={at}>{why}</Refusal>
      ))}
      {cells.length > 0 && <Cells head={shown.map(({ name }) => name)} types={shown.map(({ type }) => type)} rows={cells} />}
      <details open={cells.length === 0}>
        <summary>All columns and their types</summary>
        <ul class="files">
          {columns.map(({ name, type }, at) => (
            <li key={at}>
              <Text code>{name}</Text> <span class="muted"><Text>{type}</Text></span>
            </li>
          ))}
        </ul>
        {columnCount > columns.length && <p class="muted">These are the first {columns.length}.</p>}
      </details>
    </>
  );
}

function Cells({ head, types, rows }: { head: string[]; types?: string[]; rows: string[][] }) {
  return (
    <div class="cells" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {head.map((cell, at) => (
              <th key={at} scope="col">
                <Text>{cell.slice(0, 200)}</Text>
                {types && <div class="muted"><Text>{types[at]}</Text></div>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, at) => (
                <td key={at}>
                  <Text>{cell.slice(0, 200)}</Text>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length === ROWS && <p class="muted">These are the first {ROWS} rows.</p>}
    </div>
  );
}

// Reads a Parquet file of a stranger, in a thread of its own: the page ends it when it takes too long. It sends only text.
import { decompress } from "fzstd";
import { parquetMetadata, parquetRead, parquetSchema, snappyUncompress } from "hyparquet";
import type { Compressors, FileMetaData, ParquetParsers, SchemaTree } from "hyparquet/src/types.js";
import { parquetHeader } from "hyparquet/src/column.js";
import { gunzip } from "hyparquet-compressors/src/gzip.js";
import { decompressLz4, decompressLz4Raw } from "hyparquet-compressors/src/lz4.js";
import { PARQUET_END } from "./content";
import type { Column, Parquet, Question } from "./parquet";

/** Bytes and values of one page of a file: what claims to have more would fill the memory. */
const PAGE_BYTES = 64 << 20;
const PAGE_VALUES = 16 << 20;
/** A footer of so many bytes, and columns so deep inside each other, take some hundred megabytes when they are read. */
const FOOTER_BYTES = PARQUET_END - 8;
const DEPTH = 32;
/** Columns that are named, characters of a cell, and fields of a type. */
const NAMED = 1000;
const CHARACTERS = 200;
const FIELDS = 8;

const room = (length: number) => {
  if (length > PAGE_BYTES) throw new Error(`a page says to have ${length} bytes`);
  return new Uint8Array(length);
};
const checked = (length: number) => room(length).length;
const compressors: Compressors = {
  SNAPPY: (input, length) => {
    const output = room(length);
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, length) => gunzip(input, room(length)),
  ZSTD: (input, length) => decompress(input, room(length)),
  LZ4: (input, length) => decompressLz4(input, checked(length)),
  LZ4_RAW: (input, length) => decompressLz4Raw(input, checked(length)),
};

const parsers = {
  dateFromDays: (days: number) => new Date(days * 86_400_000).toISOString().slice(0, 10),
} as unknown as ParquetParsers;

/** What the file says of itself, unless that would fill the memory. */
function metadataOf(content: ArrayBuffer): FileMetaData {
  const end = new Uint8Array(content.slice(-8));
  if (end.length < 8 || String.fromCharCode(...end.subarray(4)) !== "PAR1") throw new Error("it does not end as a Parquet file does");
  const length = new DataView(end.buffer).getUint32(0, true);
  if (length > FOOTER_BYTES) throw new Error(`its footer says to be larger than ${FOOTER_BYTES} bytes`);
  const metadata = parquetMetadata(content, { geoparquet: false });
  if (typeof metadata.num_rows !== "bigint") throw new Error("it does not say how many rows it has");
  // How many children are to come, of each column that is around the next one.
  const around: number[] = [];
  for (const { num_children: children = 0 } of metadata.schema) {
    while (around.length > 0 && around.at(-1) === 0) around.pop();
    if (around.length > 0) around.push(around.pop()! - 1);
    around.push(children);
    if (around.length > DEPTH) throw new Error(`its columns are inside each other, deeper than ${DEPTH}`);
  }
  return metadata;
}

/** The pages of a column that the first rows need must each be of a size that can be read. */
function checkPages(content: ArrayBuffer, metadata: FileMetaData, name: string, rows: number): void {
  let before = 0;
  for (const group of metadata.row_groups) {
    if (before >= rows) return;
    before += Number(group.num_rows);
    for (const { meta_data: chunk } of group.columns) {
      if (chunk?.path_in_schema[0] !== name) continue;
      const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset);
      const reader = { view: new DataView(content, start, Number(chunk.total_compressed_size)), offset: 0 };
      while (reader.offset < reader.view.byteLength - 1) {
        const page = parquetHeader(reader);
        // Whatever its type says, every head that it has: which of them is read is the library's choice.
        const heads = [page.data_page_header, page.data_page_header_v2, page.dictionary_page_header];
        const values = Math.max(0, ...heads.map((head) => head?.num_values ?? 0));
        const [size, length] = [page.compressed_page_size, page.uncompressed_page_size];
        if (!(size >= 0 && length <= PAGE_BYTES && values <= PAGE_VALUES)) {
          throw new Error(`a page says to have ${length} bytes and ${values} values`);
        }
        // Each of its values may be as long as the longest, and takes a byte in the file.
        if (heads.some((head) => head && "encoding" in head && head.encoding === "DELTA_BYTE_ARRAY") && values * length > PAGE_BYTES) {
          throw new Error("a page is of texts by their common beginnings, and may be too large");
        }
        reader.offset += size;
      }
    }
  }
}

/** The type of a column, as a person writes it. */
function typeOf({ element, children }: SchemaTree): string {
  const { type, type_length, converted_type, logical_type: logical } = element;
  const word = logical?.type ?? converted_type ?? type ?? "";
  const inner = () => children.slice(0, FIELDS).map((child) => `${child.element.name}: ${typeOf(child)}`);
  const entry = children[0]?.children ?? [];
  if (word === "LIST" && entry.length === 1) return `list<${typeOf(entry[0]!)}>`;
  if ((word === "MAP" || word === "MAP_KEY_VALUE") && entry.length === 2) return `map<${typeOf(entry[0]!)}, ${typeOf(entry[1]!)}>`;
  if (children.length > 0) return `struct<${inner().join(", ")}${children.length > FIELDS ? ", …" : ""}>`;
  if (logical?.type === "INTEGER") return `${logical.isSigned ? "int" : "uint"}${logical.bitWidth}`;
  if (word === "DECIMAL") return `decimal(${element.precision}, ${element.scale ?? 0})`;
  if (word === "UTF8") return "string";
  if (word === "BYTE_ARRAY") return "binary";
  if (word === "FIXED_LEN_BYTE_ARRAY") return `binary(${type_length})`;
  return word.split("_")[0] === "TIMESTAMP" ? "timestamp" : word.toLowerCase().replace("_", "");
}

/** Bytes of which a file does not say that they are text. Many are, all the same. */
function bytesOf(bytes: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!/\p{Cc}/u.test(text)) return text;
  } catch {
    // They are none.
  }
  return Array.from(bytes.subarray(0, CHARACTERS / 2), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "no date" : value.toISOString();
  if (value instanceof Uint8Array) return bytesOf(value);
  if (typeof value !== "object") return String(value);
  return JSON.stringify(value, (_, inner: unknown) => {
    return typeof inner === "bigint" || inner instanceof Uint8Array ? textOf(inner) : inner;
  });
}

const cut = (text: string) => text.slice(0, CHARACTERS);

/** The first values of a column. Each is read by itself: what another one took is free again. */
async function valuesOf(content: ArrayBuffer, metadata: FileMetaData, name: string, rowEnd: number): Promise<string[]> {
  checkPages(content, metadata, name, rowEnd);
  const file = { byteLength: content.byteLength, slice: (start: number, end?: number) => content.slice(start, end) };
  let values: string[] = [];
  const onComplete = (rows: unknown[][]) => (values = rows.map(([value]) => cut(textOf(value))));
  await parquetRead({ file, metadata, columns: [name], rowEnd, compressors, parsers, utf8: false, onComplete });
  return values;
}

async function read({ content, size, maxRows, maxColumns }: Question): Promise<Parquet> {
  const metadata = metadataOf(content);
  const fields = parquetSchema(metadata).children;
  const columns: Column[] = fields.slice(0, NAMED).map((field) => ({ name: cut(field.element.name), type: cut(typeOf(field)) }));
  const told: Parquet = { rows: metadata.num_rows.toLocaleString("en"), columns, columnCount: fields.length, cells: [], unread: [] };
  if (content.byteLength < size) return told;
  const values: string[][] = [];
  for (const { element } of fields.slice(0, maxColumns)) {
    try {
      values.push(await valuesOf(content, metadata, element.name, maxRows));
    } catch (error) {
      values.push([]);
      told.unread.push(`${cut(element.name)}: ${cut((error as Error).message)}`);
    }
  }
  const length = Math.min(maxRows, Math.max(0, ...values.map((column) => column.length)));
  told.cells = Array.from({ length }, (_, at) => values.map((column) => column[at] ?? ""));
  return told;
}

onmessage = ({ data }: MessageEvent<Question>) => {
  read(data).then(
    (parquet) => postMessage({ parquet }),
    (error: unknown) => postMessage({ why: cut((error as Error).message) }),
  );
};
postMessage({ isReady: true });

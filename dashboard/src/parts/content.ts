// What can be shown of bytes of a stranger, by their media type and in bounds.

/** Most bytes that are read to show something, by how they are shown. */
export const BOUND = { picture: 16 << 20, json: 4 << 20, table: 2 << 20, parquet: 16 << 20, text: 256 << 10, download: 512 << 20 };
/** So much of the end of a larger Parquet file is read: its columns and how many rows it has. */
export const PARQUET_END = 2 << 20;
/** A picture of 8000 x 5000 takes 160 MB once it is drawn. */
export const MAX_PIXELS = 40_000_000;

export type Shape = "picture" | "json" | "table" | "parquet" | "text" | "none";

/** How a media type is shown; of bytes without one, the name tells. SVG and HTML are text: they could run something. */
export function shapeOf(mediaType: string, name: string): Shape {
  const type = mediaType.split(";")[0]?.trim().toLowerCase() ?? "";
  if (type === "image/png" || type === "image/jpeg") return "picture";
  if (type === "application/json" || type.endsWith("+json")) return "json";
  if (type === "text/csv" || type === "text/tab-separated-values") return "table";
  if (type === "application/vnd.apache.parquet" || type === "application/x-parquet") return "parquet";
  if (type === "application/octet-stream" && name.endsWith(".parquet")) return "parquet";
  if (type.startsWith("text/") || type.endsWith("+xml") || type === "application/xml") return "text";
  return "none";
}

/** The width and height that a PNG or JPEG says to have; nothing, where it is neither. */
export function sizeOf(bytes: Uint8Array<ArrayBuffer>): { type: string; width: number; height: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isPng = bytes.length >= 24 && view.getUint32(0) === 0x89504e47 && view.getUint32(12) === 0x49484452;
  if (isPng) return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20) };
  if (bytes.length < 4 || view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 9 <= bytes.length && bytes[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
    const marker = bytes[at + 1] ?? 0;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { type: "image/jpeg", width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
  }
  return undefined;
}

/** The cells of CSV (RFC 4180), up to so many rows and columns. */
export function cells(text: string, separator: string, maxRows: number, maxColumns: number): string[][] {
  const rows: string[][] = [];
  let [row, cell, isQuoted] = [[] as string[], "", false];
  const endCell = () => {
    if (row.length < maxColumns) row.push(cell);
    cell = "";
  };
  for (let at = 0; at < text.length && rows.length < maxRows; at += 1) {
    const character = text[at];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') cell += text[(at += 1)];
      else isQuoted = false;
    } else if (character === '"' && cell === "") isQuoted = true;
    else if (character === separator) endCell();
    else if (character === "\n") {
      endCell();
      rows.push(row);
      row = [];
    } else if (character !== "\r") cell += character;
  }
  if ((cell !== "" || row.length > 0) && rows.length < maxRows) {
    endCell();
    rows.push(row);
  }
  return rows;
}

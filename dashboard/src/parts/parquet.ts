// Has a Parquet file read by a worker, which is ended when it takes too long.
import worker from "./parquet.worker?worker&url";

export interface Column {
  name: string;
  type: string;
}

export interface Parquet {
  /** How many rows it says to have. */
  rows: string;
  /** Its first columns. */
  columns: Column[];
  columnCount: number;
  /** The first rows; none, where the file is too large. */
  cells: string[][];
  /** Columns that could not be read, and why. */
  unread: string[];
}

/** `content` is the end of a file of so many bytes, or all of it. */
export interface Question {
  content: ArrayBuffer;
  size: number;
  maxRows: number;
  maxColumns: number;
}

type Answer = { isReady: true } | { parquet: Parquet } | { why: string };

const SECONDS = 2;

interface Policy {
  createScriptURL: (url: string) => string;
}
declare const trustedTypes: { createPolicy: (name: string, policy: Policy) => Policy } | undefined;

/** The only policy of the page: it lets one script of its own server be a worker, and nothing else. */
let policy: Policy | undefined;

function startWorker(): Worker {
  const only = { createScriptURL: () => worker };
  if (typeof trustedTypes !== "undefined") policy ??= trustedTypes.createPolicy("parquet", only);
  return new Worker((policy ?? only).createScriptURL(worker));
}

export function readParquet(question: Question, signal: AbortSignal): Promise<Parquet> {
  const reader = startWorker();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const answer = new Promise<Parquet>((resolve, reject) => {
    const giveUp = (why: string) => reject(new Error(why));
    signal.addEventListener("abort", () => giveUp("it is not looked at any more"));
    reader.onerror = () => giveUp("It is not shown: what reads such files does not start, or ran out of memory.");
    reader.onmessage = ({ data }: MessageEvent<Answer>) => {
      if ("parquet" in data) return resolve(data.parquet);
      if ("why" in data) return giveUp(`It is not shown: ${data.why}.`);
      timer = setTimeout(() => giveUp(`It is not shown: reading it takes more than ${SECONDS} seconds.`), SECONDS * 1000);
      reader.postMessage(question, [question.content]);
    };
  });
  return answer.finally(() => {
    clearTimeout(timer);
    reader.terminate();
  });
}

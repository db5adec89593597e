// Server-sent events over fetch, because an EventSource cannot send a token.
import { ask } from "./client";
import { hear } from "./heard";

export interface ServerEvent {
  kind: string;
  id: string | undefined;
  data: unknown;
}

/** Longest event that is read: a job without its input is far below. */
const MAX_EVENT_CHARACTERS = 1 << 20;

/** Reads events until the stream ends. */
export async function readEvents(
  path: string,
  signal: AbortSignal,
  handle: (events: ServerEvent[]) => void,
  headers: HeadersInit = {},
): Promise<void> {
  const answer = await ask(path, { signal, headers });
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    hear();
    const blocks = (text + value).split("\n\n");
    text = blocks.pop() ?? "";
    if (text.length > MAX_EVENT_CHARACTERS) throw new Error("the server sent an event that is too long");
    const events = blocks.map(parseEvent).filter((event) => event !== undefined);
    if (events.length > 0) handle(events);
  }
}

function parseEvent(block: string): ServerEvent | undefined {
  let [kind, data, id] = ["message", "", undefined as string | undefined];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("id: ")) id = line.slice(4);
  }
  return data ? { kind, id, data: JSON.parse(data) as unknown } : undefined;
}

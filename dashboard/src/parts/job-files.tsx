// The files beside the input of a job: those that it has, and those that are sent with it, each under a name.
import { useRef } from "preact/hooks";
import { ask, pathOf } from "../api/client";
import type { BlobRef } from "../api/types";
import { Refusal, Text } from "./common";
import { pointerTo, wrongAt, type Wrong } from "./schema";

/** A file with its name: one that the server has, or one of the reader's. */
export interface Named {
  name: string;
  content: BlobRef | File;
}

/** Those of a job that is submitted once more. */
export function namedOf(files: Record<string, BlobRef> | undefined): Named[] {
  return Object.entries(files ?? {}).map(([name, content]) => ({ name, content }));
}

/** What is wrong with the names, before anything is sent. */
export function wrongNames(files: Named[]): Wrong[] {
  const twice = files.filter(({ name }, at) => files.findIndex((other) => other.name === name) < at);
  return twice.map(({ name }) => ({ pointer: "/files", message: `there are two files "${name}"` }));
}

/** Files that were sent: a form that is refused sends them once. The server keeps what no job names for an hour. */
const sent = new WeakMap<File, { namespace: string; at: number; blob: BlobRef }>();
const KEPT_MS = 30 * 60_000;

/** Sends a file, of which the server makes the digest, unless it has lately. */
export async function send(namespace: string, file: File): Promise<BlobRef> {
  const before = sent.get(file);
  if (before?.namespace === namespace && Date.now() - before.at < KEPT_MS) return before.blob;
  const mediaType = file.type || "application/octet-stream";
  const headers = { "Content-Type": mediaType };
  const answer = await ask(pathOf(namespace, "blobs"), { method: "POST", body: file, headers });
  const { sha256, bytes } = (await answer.json()) as BlobRef;
  const blob = { sha256, bytes, mediaType };
  sent.set(file, { namespace, at: Date.now(), blob });
  return blob;
}

/** All of them as a job names them: what the server does not have is sent, one after the other. */
export async function sendAll(namespace: string, files: Named[]): Promise<Record<string, BlobRef>> {
  const named: [string, BlobRef][] = [];
  for (const { name, content } of files) {
    named.push([name, content instanceof File ? await send(namespace, content) : content]);
  }
  return Object.fromEntries(named);
}

interface Properties {
  files: Named[];
  set: (files: Named[]) => void;
  wrong: Wrong[];
}

export function JobFiles({ files, set, wrong }: Properties) {
  const picker = useRef<HTMLInputElement>(null);
  const add = (chosen: FileList | null) => {
    set([...files, ...Array.from(chosen ?? [], (content) => ({ name: content.name, content }))]);
    // The same file may be chosen once more.
    if (picker.current) picker.current.value = "";
  };
  const why = wrongAt(wrong.filter(({ pointer }) => pointer === "/files"), "/files");
  return (
    <fieldset>
      <legend>Files beside the input</legend>
      {files.map(({ name, content }, at) => {
        const id = `file-${at}`;
        const wrongHere = wrongAt(wrong, pointerTo("files", name));
        const size = content instanceof File ? content.size : content.bytes;
        return (
          <div key={at} class="field named-file">
            <label for={id}>
              Name of file {at + 1} <span class="muted">{size.toLocaleString("en")} bytes</span>
            </label>
            <span class="buttons">
              <input
                id={id}
                name={pointerTo("files", name)}
                value={name}
                maxLength={128}
                spellcheck={false}
                aria-invalid={wrongHere !== ""}
                aria-describedby={`${id}-about`}
                onInput={(event) => {
                  const changed = { name: event.currentTarget.value, content };
                  set(files.map((file, other) => (other === at ? changed : file)));
                }}
              />
              <button type="button" class="quiet" onClick={() => set(files.filter((_, other) => other !== at))}>
                Leave out <Text>{name}</Text>
              </button>
            </span>
            <div id={`${id}-about`}>
              <Refusal>{wrongHere || undefined}</Refusal>
            </div>
          </div>
        );
      })}
      <div class="field">
        <label for="more-files">Add files</label>
        <input
          id="more-files"
          ref={picker}
          type="file"
          multiple
          aria-invalid={why !== ""}
          aria-describedby="more-files-about"
          onChange={(event) => add(event.currentTarget.files)}
        />
        <div id="more-files-about">
          <Refusal>{why || undefined}</Refusal>
        </div>
      </div>
    </fieldset>
  );
}

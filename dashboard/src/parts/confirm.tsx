// Asks before something that cannot be taken back.
import { useEffect, useRef } from "preact/hooks";
import type { Target } from "../live/actions";
import { count, visible } from "../text";

interface Question {
  question: string;
  note?: string;
  verb: string;
  keep: string;
}

interface Properties extends Question {
  yes: () => void;
  no: () => void;
}

export function Confirm({ question, note, verb, keep, yes, no }: Properties) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onCancel={no} aria-label={question}>
      <p class="text">{question}</p>
      {note && <p class="muted">{note}</p>}
      <div class="buttons">
        <button type="button" class="primary" onClick={yes}>
          {verb}
        </button>
        <button type="button" onClick={no}>
          {keep}
        </button>
      </div>
    </dialog>
  );
}

/** What is asked before these jobs are cancelled or deleted. `ended` others were chosen and cannot be cancelled. */
export function questionOf(action: "cancel" | "delete", targets: Target[], ended = 0): Question {
  const verb = action === "cancel" ? "Cancel" : "Delete";
  const isOne = targets.length === 1;
  const all = isOne ? `job ${visible(targets[0]?.name ?? "")}` : count(targets.length, "job");
  const lost = isOne ? "Its result and log are deleted, too." : "Their results and logs are deleted, too.";
  const leftOut = ended > 0 ? `${ended} of ${targets.length + ended} have ended and stay as they are.` : undefined;
  return {
    question: `${verb} ${all}?`,
    note: action === "delete" ? lost : leftOut,
    verb: isOne ? `${verb} the job` : `${verb} ${all}`,
    keep: isOne ? "Keep it" : "Keep them",
  };
}

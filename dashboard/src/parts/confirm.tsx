// Asks before something that cannot be taken back.
import { useEffect, useRef } from "preact/hooks";

interface Properties {
  question: string;
  verb: string;
  yes: () => void;
  no: () => void;
}

export function Confirm({ question, verb, yes, no }: Properties) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onCancel={no} aria-label={question}>
      <p>{question}</p>
      <div class="buttons">
        <button type="button" class="primary" onClick={yes}>
          {verb}
        </button>
        <button type="button" onClick={no}>
          Leave them
        </button>
      </div>
    </dialog>
  );
}

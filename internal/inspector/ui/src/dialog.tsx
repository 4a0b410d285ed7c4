import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A modal dialog; Escape and the button close it. */
export function Dialog(p: { title: string; wide?: boolean; onClose: () => void; children: ComponentChildren }): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const d = ref.current!;
    d.showModal();
    return () => d.close();
  }, []);
  return (
    <dialog
      ref={ref}
      class={p.wide ? "wide" : ""}
      aria-labelledby="dialog-title"
      onCancel={(e) => {
        e.preventDefault();
        p.onClose();
      }}
      onClick={(e) => e.target === ref.current && p.onClose()}
    >
      <div class="sheet">
        <header>
          <h2 id="dialog-title">{p.title}</h2>
          <button type="button" class="button" onClick={p.onClose}>
            Close
          </button>
        </header>
        {p.children}
      </div>
    </dialog>
  );
}

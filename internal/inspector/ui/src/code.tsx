import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

type Editor = typeof import("./editor");

/** A field for text with line numbers, search and colours for JSON. The editor is loaded when the first one is shown. */
export function CodeField(p: { label: string; text: string; onInput: (text: string) => void }): JSX.Element {
  const [editor, setEditor] = useState<Editor>();
  const [plain, setPlain] = useState(false);
  const host = useRef<HTMLDivElement>(null);
  const onInput = useRef(p.onInput);
  onInput.current = p.onInput;
  useEffect(() => {
    // What cannot be loaded, because the agent is gone, is not needed to go on.
    import("./editor").then(setEditor, () => setPlain(true));
  }, []);
  useEffect(() => {
    if (!editor || !host.current) return undefined;
    return editor.mount(host.current, { label: p.label, text: p.text, onInput: (t) => onInput.current(t) });
  }, [editor]);
  if (plain)
    return (
      <label>
        {p.label}
        <textarea rows={12} value={p.text} onInput={(e) => p.onInput(e.currentTarget.value)} spellcheck={false} />
      </label>
    );
  return (
    <div class="code">
      <span class="name" aria-hidden="true">
        {p.label}
      </span>
      <div class="editor" ref={host} aria-busy={!editor}>
        {!editor && <p class="quiet">Loading…</p>}
      </div>
    </div>
  );
}

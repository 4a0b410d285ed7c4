import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { search, searchKeymap } from "@codemirror/search";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colours = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--text)" },
  { tag: tags.string, color: "var(--string)" },
  { tag: tags.number, color: "var(--number)" },
  { tag: [tags.bool, tags.null], color: "var(--word)" },
  { tag: [tags.separator, tags.bracket], color: "var(--quiet)" },
  { tag: tags.invalid, color: "var(--server)", textDecoration: "underline wavy" },
]);

const look = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--bg)", fontSize: "13px", maxHeight: "34vh", minHeight: "140px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-gutters": { color: "var(--quiet)", backgroundColor: "var(--raised)", border: "none" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--select) 55%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--select)" },
  ".cm-foldPlaceholder": { color: "var(--quiet)", backgroundColor: "var(--raised)", border: "1px solid var(--line)" },
  ".cm-specialChar": { color: "var(--server)" },
  ".cm-matchingBracket": { backgroundColor: "var(--select)", outline: "1px solid var(--accent)" },
  ".cm-searchMatch": { backgroundColor: "var(--in)", outline: "1px solid var(--ok)" },
  ".cm-searchMatch-selected": { backgroundColor: "var(--select)" },
  ".cm-panels": { color: "var(--text)", backgroundColor: "var(--raised)", borderColor: "var(--line)" },
  ".cm-textfield": { color: "var(--text)", backgroundColor: "var(--bg)", border: "1px solid var(--quiet)", borderRadius: "6px" },
  ".cm-button": { color: "var(--text)", backgroundColor: "var(--panel)", backgroundImage: "none", border: "1px solid var(--line)", borderRadius: "6px" },
});

/**
 * Puts an editor into host and returns what takes it away. It lives in a shadow root:
 * there its styles are constructed sheets and no style elements, which the page's
 * policy does not allow.
 */
export function mount(host: HTMLElement, p: { label: string; text: string; onInput: (text: string) => void }): () => void {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const state = EditorState.create({
    doc: p.text,
    extensions: [
      // The form has this one: it sends.
      Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => true }])),
      lineNumbers(),
      foldGutter(),
      history(),
      highlightSpecialChars(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      bracketMatching(),
      search({ top: true }),
      ...(/^\s*[{["]/.test(p.text) || p.text.trim() === "" ? [json()] : []),
      syntaxHighlighting(colours),
      keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...foldKeymap]),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": p.label, spellcheck: "false", autocapitalize: "off", tabindex: "0" }),
      EditorView.domEventHandlers({
        // Where a browser itself replaces several lines it writes a style attribute,
        // which the page's policy blocks with a complaint.
        beforeinput(e, view) {
          if (e.inputType !== "insertText" || e.data === null || view.composing || view.state.selection.main.empty) return false;
          e.preventDefault();
          view.dispatch(view.state.replaceSelection(e.data), { userEvent: "input.type", scrollIntoView: true });
          return true;
        },
      }),
      EditorView.updateListener.of((u) => {
        if (u.docChanged) p.onInput(u.state.doc.toString());
      }),
      look,
    ],
  });
  const view = new EditorView({ state, parent: root, root });
  return () => view.destroy();
}

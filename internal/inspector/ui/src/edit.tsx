import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { body as loadBody } from "./api";
import type { Edit, Exchange, Field } from "./api";
import { CodeField } from "./code";
import { Dialog } from "./dialog";
import { chosen, TargetFields, useTarget } from "./target";

const own = /^(connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|relay-.*)$/i;

/** A request to change and send again. A masked value that stays is sent as it was. */
export function EditDialog(p: { x: Exchange; elsewhere: boolean; onSend: (e: Edit) => Promise<boolean>; onClose: () => void }): JSX.Element {
  const { request } = p.x;
  const [method, setMethod] = useState(request.method);
  const [path, setPath] = useState(request.target);
  const before = request.headers
    .filter((f) => !own.test(f.name))
    .map((f) => `${f.name}: ${f.value}`)
    .join("\n");
  const [headers, setHeaders] = useState(before);
  const [body, setBody] = useState<string | undefined>(request.body.size === 0 ? "" : undefined);
  const [was, setWas] = useState("");
  const [note, setNote] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const c = useTarget(p.x.endpoint);
  useEffect(() => {
    if (request.body.size === 0) return;
    // Opening the editor is the deliberate click: what is masked in a body is shown
    // here, or it could not be sent.
    loadBody(p.x.id, "request", true).then(
      (b) => {
        try {
          const text = new TextDecoder("utf-8", { fatal: true }).decode(b.bytes);
          setBody(text);
          setWas(text);
          if (b.truncated) setNote("Only the beginning of the body was kept: it is sent only if you change it.");
        } catch {
          setNote("The body is no text; it is sent as it was.");
        }
      },
      (e: unknown) => setNote(e instanceof Error ? e.message : String(e)),
    );
  }, []);
  const send = async () => {
    const fields: Field[] = [];
    for (const line of headers.split("\n")) {
      if (line.trim() === "") continue;
      const colon = line.indexOf(":");
      if (colon <= 0) {
        setError(`This header has no colon: ${line}`);
        return;
      }
      fields.push({ name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() });
    }
    const edit: Edit = chosen(c);
    if (method.trim() !== request.method) edit.method = method.trim();
    if (path !== request.target) edit.path = path;
    if (headers !== before) edit.headers = fields;
    if (body !== undefined && body !== was) edit.body = body;
    setBusy(true);
    setError("");
    try {
      await p.onSend(edit);
    } catch (e) {
      setError(e instanceof Error ? e.message : String(e));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Edit and replay" wide onClose={p.onClose}>
      <form
        class="edit"
        onSubmit={(e) => {
          e.preventDefault();
          void send();
        }}
        onKeyDown={(e) => {
          if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) void send();
        }}
      >
        <div class="line">
          <label>
            Method
            <input value={method} onInput={(e) => setMethod(e.currentTarget.value)} list="methods" autocomplete="off" spellcheck={false} />
          </label>
          <datalist id="methods">
            {["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((m) => (
              <option key={m} value={m} />
            ))}
          </datalist>
          <label class="grow">
            Path
            <input value={path} onInput={(e) => setPath(e.currentTarget.value)} autocomplete="off" spellcheck={false} />
          </label>
        </div>
        <label>
          Headers
          <textarea rows={6} value={headers} onInput={(e) => setHeaders(e.currentTarget.value)} spellcheck={false} />
        </label>
        {body !== undefined && <CodeField label="Body" text={body} onInput={setBody} />}
        <TargetFields c={c} same={p.x.endpoint ? `who has had it: ${p.x.endpoint}` : "who has had it"} focus={p.elsewhere} />
        {note && <p class="note">{note}</p>}
        {error && (
          <p class="problem" role="alert">
            {error}
          </p>
        )}
        <footer>
          <span class="quiet">{c.sign ? "It gets a new signature." : "A changed body makes old signatures wrong."}</span>
          <button type="submit" class="button main" disabled={busy}>
            {busy ? "Sending…" : "Send"}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "../dialog";
import { age, moment, visible } from "../format";
import { useDoing } from "./load";
import type { Loading } from "./load";

/** Text of strangers, on one line. */
export function Text({ s, most = 200 }: { s: string; most?: number }): JSX.Element {
  return <bdi>{visible(s.length > most ? `${s.slice(0, most)}…` : s)}</bdi>;
}

/** What was loaded, or why not. What stands there while newer things fail stays. */
export function Loaded<T>(p: { of: Loading<T>; children: (got: T) => ComponentChildren }): JSX.Element {
  const { got, error, again } = p.of;
  return (
    <>
      {error && (
        <p class="problem retry" role="alert">
          <span>{error}</span>
          <button type="button" class="button" onClick={again}>
            Try again
          </button>
        </p>
      )}
      {got === undefined && !error && (
        <p class="quiet waits" role="status">
          Loading…
        </p>
      )}
      {got !== undefined && p.children(got)}
    </>
  );
}

export function Nothing({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="blank">
      <p>{title}</p>
      {children && <p class="quiet">{children}</p>}
    </div>
  );
}

/** A time: how long ago or ahead, and in full when it is pointed at. */
export function When({ at, none = "–" }: { at: string | undefined; none?: string }): JSX.Element {
  const t = at ? Date.parse(at) : NaN;
  if (Number.isNaN(t)) return <span class="quiet">{none}</span>;
  const now = Date.now();
  const text = t > now + 1000 ? `in ${age(new Date(now).toISOString(), t)}` : ago(age(at!, now));
  return (
    <time dateTime={at} title={moment(at!)}>
      {text}
    </time>
  );
}

const ago = (a: string): string => (a === "now" ? a : `${a} ago`);

const tones: Record<string, [string, string]> = {
  delivered: ["ok", "●"],
  active: ["ok", "●"],
  valid: ["ok", "●"],
  closed: ["ok", "◆"],
  pending: ["live", "○"],
  sending: ["live", "○"],
  ordering: ["live", "○"],
  dead: ["server", "■"],
  failed: ["server", "■"],
  failing: ["server", "■"],
  expired: ["server", "■"],
  missing: ["server", "✕"],
  rejected: ["client", "▲"],
  cancelled: ["info", "✕"],
  duplicate: ["info", "⇄"],
};

/** A state by word, shape and colour. */
export function State({ is }: { is: string }): JSX.Element {
  const [tone, shape] = tones[is] ?? ["info", "◆"];
  return (
    <span class={`status ${tone} word`}>
      <span class="shape" aria-hidden="true">
        {shape}
      </span>
      {visible(is.slice(0, 40))}
    </span>
  );
}

export function Copy({ text, what }: { text: string; what: string }): JSX.Element {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return;
    const t = setTimeout(() => setSaid(""), 3000);
    return () => clearTimeout(t);
  }, [said]);
  return (
    <button
      type="button"
      class="button small"
      aria-label={`${said || "Copy"} ${what}`}
      onClick={() =>
        navigator.clipboard.writeText(text).then(
          () => setSaid("Copied"),
          () => setSaid("Not allowed here"),
        )
      }
    >
      <span role="status">{said || "Copy"}</span>
    </button>
  );
}

/** Asks before something is done to many, or that cannot be taken back; with typed, that word has to be typed first. */
export function Confirm(p: {
  title: string;
  button: string;
  typed?: string;
  harmless?: boolean;
  onYes: () => Promise<void>;
  onClose: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const [text, setText] = useState("");
  const doing = useDoing();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const ready = p.typed === undefined || text.trim() === p.typed;
  return (
    <Dialog title={p.title} onClose={p.onClose}>
      <form
        class="edit"
        onSubmit={(e) => {
          e.preventDefault();
          if (ready) doing.run(p.onYes);
        }}
      >
        <div>{p.children}</div>
        {p.typed !== undefined && (
          <label>
            <span>
              Type <b class="typed">{visible(p.typed)}</b> to go on
            </span>
            <input ref={field} value={text} onInput={(e) => setText(e.currentTarget.value)} autocomplete="off" autocapitalize="off" spellcheck={false} />
          </label>
        )}
        {doing.error && (
          <p class="problem" role="alert">
            {doing.error}
          </p>
        )}
        <footer>
          <button type="button" class="button" onClick={p.onClose}>
            Cancel
          </button>
          <button type="submit" class={`button ${p.harmless ? "main" : "danger"}`} disabled={!ready || doing.busy}>
            {doing.busy ? "One moment…" : p.button}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

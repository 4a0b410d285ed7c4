import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Summary } from "./api";
import { age, duration, moment, shapes, signature, size, tone, visible } from "./format";
import { Virtual } from "./virtual";

interface Props {
  rows: Summary[]; // the oldest first; shown the newest first
  selected: string;
  marked: string;
  narrow: boolean;
  onSelect: (id: string) => void;
}

export function Status({ x }: { x: { status: number; state: string; error?: string } }): JSX.Element {
  const t = tone(x);
  const label = x.status !== 0 ? String(x.status) : x.state === "live" ? "live" : "failed";
  return (
    <span class={`status ${t}`}>
      <span class="shape" aria-hidden="true">
        {shapes[t]}
      </span>
      {x.status !== 0 ? x.status : x.state === "live" ? "···" : "ERR"}
      {x.status === 0 && <span class="sr">{label}</span>}
    </span>
  );
}

/** What was found of its signature; nothing when nobody looked. */
export function Badge({ verified }: { verified: string | undefined }): JSX.Element | null {
  if (!verified) return null;
  const ok = verified === "ok";
  const what = visible(signature(verified.slice(0, 80)));
  return (
    <span class={`mark sig ${ok ? "ok" : "bad"}`} title={`signature: ${what}`}>
      <span aria-hidden="true">{ok ? "✓" : "✗"}</span>
      {ok ? <span class="sr">signed right</span> : <span class="what"> {what}</span>}
    </span>
  );
}

/** Renders again every few seconds, for ages. */
function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const t = setInterval(() => setNow(Date.now()), 2000);
    return () => clearInterval(t);
  }, []);
  return Math.max(now, Date.now());
}

export function List(p: Props): JSX.Element {
  const now = useNow();
  const height = p.narrow ? 60 : 40;
  const n = p.rows.length;
  const at = p.rows.findLastIndex((r) => r.id === p.selected);
  const focus = at < 0 ? -1 : n - 1 - at;
  // Who has scrolled down keeps seeing the same rows when new ones come above.
  const top = useRef<{ id: string; el: HTMLDivElement | undefined }>({ id: "", el: undefined });
  const hold = (el: HTMLDivElement) => {
    const held = top.current;
    const i = held.id === "" ? -1 : p.rows.findLastIndex((r) => r.id === held.id);
    if (el.scrollTop > 0 && i >= 0) {
      const want = (n - 1 - i) * height + (el.scrollTop % height);
      if (Math.abs(want - el.scrollTop) >= height) el.scrollTop = want;
    }
    const first = Math.floor(el.scrollTop / height);
    top.current = { id: el.scrollTop > 0 ? (p.rows[n - 1 - first]?.id ?? "") : "", el };
  };
  const remember = () => {
    const el = top.current.el;
    if (el) top.current.id = el.scrollTop > 0 ? (p.rows[n - 1 - Math.floor(el.scrollTop / height)]?.id ?? "") : "";
  };
  return (
    <Virtual
      class="list"
      count={n}
      height={height}
      focus={focus}
      focusKey={p.selected}
      hold={hold}
      attrs={{
        role: "listbox",
        "aria-label": "Requests, the newest first",
        tabIndex: 0,
        "aria-activedescendant": focus >= 0 ? `row-${p.selected}` : undefined,
        onScrollCapture: remember,
      }}
      row={(i) => {
        const x = p.rows[n - 1 - i]!;
        return (
          <div
            key={x.id}
            id={`row-${x.id}`}
            role="option"
            aria-selected={x.id === p.selected}
            aria-setsize={n}
            aria-posinset={i + 1}
            class={`row${x.id === p.selected ? " on" : ""}${x.id === p.marked ? " marked" : ""}`}
            onClick={() => p.onSelect(x.id)}
          >
            <Status x={x} />
            <span class="method">{visible(x.method)}</span>
            <span class="path" title={visible(x.target)}>
              <bdi>{visible(x.target.slice(0, 300))}</bdi>
              {x.endpoint && (
                <>
                  {" "}
                  <bdi class="endpoint">{visible(x.endpoint.slice(0, 80))}</bdi>
                </>
              )}
              {x.error && <span class="why"> {visible(x.error)}</span>}
            </span>
            <span class="marks">
              {x.id === p.marked && <span class="mark">A</span>}
              {x.replay && (
                <span class="mark" title="sent again">
                  ↻<span class="sr">replay</span>
                </span>
              )}
              <Badge verified={x.verified} />
              {!!x.frames && <span class="mark">{x.frames} msg</span>}
            </span>
            <span class="num took">{x.state === "live" ? "live" : duration(x.duration_ms)}</span>
            <span class="num bytes">{size(x.response_size)}</span>
            <time class="num age" dateTime={x.began} title={moment(x.began)}>
              {age(x.began, now)}
            </time>
          </div>
        );
      }}
    />
  );
}

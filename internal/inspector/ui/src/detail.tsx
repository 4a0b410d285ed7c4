import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { exportURL } from "./api";
import type { Exchange, Field, Frame } from "./api";
import { BodyView } from "./body";
import { duration, moment, signature, size, visible } from "./format";
import { Status } from "./list";
import { Menu } from "./menu";

/** A tab that only some requests have, and only some pages. */
export interface Extra {
  id: string;
  label: string;
  has: (x: Exchange) => boolean;
  view: (x: Exchange) => ComponentChildren;
}

export interface Actions {
  replay: () => void;
  edit: (elsewhere?: boolean) => void;
  diff: () => void;
  copy: (format: "curl" | "httpie" | "fetch") => void;
  close: () => void;
  say: (text: string) => void;
}

interface Props {
  x: Exchange;
  tab: string;
  extra: Extra[];
  others: boolean; // there are others who can get a replay
  reveal: boolean;
  busy: boolean;
  marked: string;
  setTab: (t: string) => void;
  setReveal: (on: boolean) => void;
  act: Actions;
}

export function Detail(p: Props): JSX.Element {
  const { x, act } = p;
  const frames = (x.frames?.length ?? 0) > 0 || !!x.frames_note;
  const extra = p.extra.filter((e) => e.has(x));
  const tabs: [string, string][] = [
    ["request", "Request"],
    ["response", "Response"],
    ...(frames ? ([["messages", "Messages"]] as [string, string][]) : []),
    ["timing", "Timing"],
    ...extra.map((e) => [e.id, e.label] as [string, string]),
  ];
  const tab = tabs.some(([t]) => t === p.tab) ? p.tab : "response";
  const masked = [...x.request.headers, ...(x.response?.headers ?? [])].some((f) => f.masked);
  const step = (by: number) => {
    const i = tabs.findIndex(([t]) => t === tab);
    const next = tabs[(i + by + tabs.length) % tabs.length]![0];
    p.setTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <section class="detail" aria-label="The selected request">
      <header>
        <div class="title">
          <button type="button" class="button back" onClick={act.close}>
            ‹ List
          </button>
          <Status x={{ status: x.response?.status ?? 0, state: x.state, error: x.error }} />
          <h2>
            <span class="method">{visible(x.request.method)}</span> <bdi>{visible(x.request.target.slice(0, 2000))}</bdi>
          </h2>
        </div>
        {x.error && <p class="problem">{visible(x.error)}</p>}
        <div class="actions">
          <button type="button" class="button main" disabled={p.busy} onClick={act.replay}>
            {p.busy ? "Sending…" : "Replay"}
            <kbd aria-hidden="true">r</kbd>
          </button>
          <button type="button" class="button" onClick={() => act.edit()}>
            Edit &amp; replay<kbd aria-hidden="true">e</kbd>
          </button>
          <button type="button" class="button" onClick={act.diff}>
            {p.marked === x.id ? "Unmark" : p.marked !== "" ? "Diff with A" : x.replay_of ? "Diff with original" : "Diff…"}
            <kbd aria-hidden="true">d</kbd>
          </button>
          <button type="button" class="button" onClick={() => act.copy("curl")}>
            Copy as curl<kbd aria-hidden="true">c</kbd>
          </button>
          <Menu label="More">
            {p.others && (
              <button type="button" onClick={() => act.edit(true)}>
                Replay to another…
              </button>
            )}
            <button type="button" onClick={() => act.copy("httpie")}>
              Copy as HTTPie
            </button>
            <button type="button" onClick={() => act.copy("fetch")}>
              Copy as fetch
            </button>
            <a href={exportURL(x.id, "har", p.reveal)} download={`${x.id}.har`}>
              Save as HAR
            </a>
            <a href={exportURL(x.id, "json", p.reveal)} download={`${x.id}.json`}>
              Save as JSON
            </a>
            <a href={exportURL(x.id, "fixture", p.reveal)} download={`${x.id}.fixture.json`}>
              Save as test fixture
            </a>
          </Menu>
          {(masked || p.reveal) && (
            <button type="button" class="button" aria-pressed={p.reveal} onClick={() => p.setReveal(!p.reveal)}>
              {p.reveal ? "Hide secrets" : "Show secrets"}
            </button>
          )}
        </div>
        <div class="tabs" role="tablist" aria-label="Parts of the request">
          {tabs.map(([t, label]) => (
            <button
              key={t}
              id={`tab-${t}`}
              type="button"
              role="tab"
              aria-selected={tab === t}
              aria-controls="panel"
              tabIndex={tab === t ? 0 : -1}
              onClick={() => p.setTab(t)}
              onKeyDown={(e) => {
                if (e.key === "ArrowRight") step(1);
                else if (e.key === "ArrowLeft") step(-1);
                else return;
                e.stopPropagation();
              }}
            >
              {label}
              {t === "messages" && <span class="count"> {(x.frames?.length ?? 0) + (x.frames_dropped ?? 0)}</span>}
            </button>
          ))}
        </div>
      </header>
      <div class="panel" id="panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0} key={x.id + tab}>
        {tab === "request" && (
          <>
            <Fields fields={x.request.headers} label="Headers" />
            <h3>Body</h3>
            <BodyView id={x.id} side="request" info={x.request.body} live={x.state === "live"} reveal={p.reveal} say={act.say} />
            {x.request.trailers && x.request.trailers.length > 0 && <Fields fields={x.request.trailers} label="Trailers" />}
          </>
        )}
        {tab === "response" &&
          (x.response ? (
            <>
              <Fields fields={x.response.headers} label="Headers" />
              {x.response.status !== 101 && (
                <>
                  <h3>Body</h3>
                  <BodyView id={x.id} side="response" info={x.response.body} live={x.state === "live"} reveal={p.reveal} say={act.say} />
                </>
              )}
              {x.response.trailers && x.response.trailers.length > 0 && <Fields fields={x.response.trailers} label="Trailers" />}
            </>
          ) : (
            <p class="quiet">{x.state === "live" ? "The app has not answered yet." : "There was no answer."}</p>
          ))}
        {tab === "messages" && <Messages x={x} />}
        {tab === "timing" && <Timing x={x} />}
        {extra.find((e) => e.id === tab)?.view(x)}
      </div>
    </section>
  );
}

export function Fields({ fields, label }: { fields: Field[]; label: string }): JSX.Element {
  return (
    <>
      <h3>
        {label} <span class="count">{fields.length}</span>
      </h3>
      <table class="fields">
        <tbody>
          {fields.map((f, i) => (
            <tr key={i}>
              <th scope="row">{visible(f.name)}</th>
              <td>
                {f.masked ? <span class="masked">{f.value}</span> : visible(f.value.slice(0, 8000))}
                {f.masked && <span class="sr">hidden</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Messages({ x }: { x: Exchange }): JSX.Element {
  return (
    <>
      {!!x.frames_dropped && <p class="note">{x.frames_dropped} older messages are gone.</p>}
      <ol class="frames">
        {(x.frames ?? []).map((f) => (
          <Message key={f.n} f={f} />
        ))}
      </ol>
      {x.frames_note && <p class="note">{x.frames_note}</p>}
    </>
  );
}

function Message({ f }: { f: Frame }): JSX.Element {
  const text = f.compressed ? "compressed" : (f.text ?? (f.base64 ? `${f.size} bytes, binary` : ""));
  return (
    <li class={f.from}>
      <span class="dir">{f.from === "visitor" ? "↑ visitor" : "↓ app"}</span>
      <span class="kind">
        {f.kind}
        {f.name ? ` ${visible(f.name)}` : ""}
      </span>
      <span class="num">+{duration(f.at_ms)}</span>
      <span class="num">{size(f.size)}</span>
      <pre>
        {visible(text)}
        {f.truncated ? "…" : ""}
      </pre>
    </li>
  );
}

function Timing({ x }: { x: Exchange }): JSX.Element {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (x.state !== "live") return;
    const t = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(t);
  }, [x.state]);
  const whole = x.state === "live" ? Math.max(1, now - Date.parse(x.began)) : x.duration_ms;
  const first = x.first_byte_ms > 0 ? x.first_byte_ms : whole;
  const share = Math.min(100, Math.max(1, (first / whole) * 100));
  const rows: [string, string][] = [
    ["Came", moment(x.began)],
    ["Until the answer began", x.first_byte_ms > 0 ? duration(x.first_byte_ms) : "–"],
    ["Answer took", x.first_byte_ms > 0 ? duration(Math.max(0.001, whole - first)) : "–"],
    ["Altogether", x.state === "live" ? `${duration(whole)}, not over` : duration(x.duration_ms)],
    ["Request body", size(x.request.body.size)],
    ["Answer body", size(x.response?.body.size ?? 0)],
    ["Visitor", x.visitor || "–"],
    ["URL", x.url],
    ["Relay-Request-Id", x.request_id || "–"],
    ...(x.endpoint ? ([["Endpoint", x.endpoint]] as [string, string][]) : []),
    ...(x.event_id ? ([["Event", x.event_id]] as [string, string][]) : []),
    ...(x.verified ? ([["Signature", signature(x.verified)]] as [string, string][]) : []),
    ...(x.replay_of ? ([["Repeats", x.replay_of]] as [string, string][]) : []),
  ];
  return (
    <>
      <h3>Timing</h3>
      <div class="bars" role="img" aria-label={`${duration(first)} until the answer began, ${duration(Math.max(0, whole - first))} for the answer`}>
        <span class="wait" style={{ width: `${share}%` }} />
        <span class="take" style={{ width: `${100 - share}%` }} />
      </div>
      <p class="legend">
        <span class="wait">▮ app thinks</span> <span class="take">▯ answer comes</span>
      </p>
      <table class="fields">
        <tbody>
          {rows.map(([k, v]) => (
            <tr key={k}>
              <th scope="row">{k}</th>
              <td>{visible(v)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

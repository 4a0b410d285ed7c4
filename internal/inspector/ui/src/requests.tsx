import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import * as api from "./api";
import type { Edit, Exchange } from "./api";
import { BulkDialog } from "./bulk";
import { Detail } from "./detail";
import type { Extra } from "./detail";
import { DiffDialog } from "./diff";
import { EditDialog } from "./edit";
import { size } from "./format";
import { Help } from "./help";
import { List } from "./list";
import { Menu } from "./menu";
import { Store } from "./store";

type Open =
  | { name: "help" }
  | { name: "edit"; x: Exchange; elsewhere: boolean }
  | { name: "diff"; a: string; b: string }
  | { name: "bulk"; ids: string[]; more: boolean }
  | undefined;

interface Props {
  /** Shown above the list; it is told how the stream of news is. */
  top: (store: Store, help: () => void) => ComponentChildren;
  /** Tabs that only some pages have. */
  extra?: Extra[];
  /** What to do where there is no request yet. */
  hint?: string;
  /** What the filter says at first. */
  filter?: string;
}

/** The most that one replay of many takes. */
const most = 1000;

/** The list of requests, the one that is chosen, and what can be done with them. */
export function Requests(props: Props): JSX.Element {
  const store = useMemo(() => new Store(), []);
  const [, again] = useReducer((n: number) => n + 1, 0);
  const [filter, setFilter] = useState(props.filter ?? "");
  const [selected, setSelected] = useState("");
  const [marked, setMarked] = useState("");
  const [tab, setTab] = useState("response");
  const [revealed, setRevealed] = useState("");
  const [open, setOpen] = useState<Open>();
  const [busy, setBusy] = useState(false);
  const [toast, setToast] = useState("");
  const narrow = useNarrow();
  const search = useRef<HTMLInputElement>(null);
  const reveal = revealed !== "" && revealed === selected;

  useEffect(() => store.subscribe(() => again(undefined as never)), [store]);
  useEffect(() => () => store.stop(), [store]);
  const [others, setOthers] = useState(false);
  useEffect(() => {
    // Where there is one alone, nothing else is offered; of a failure the dialog tells.
    api.targets().then((list) => setOthers(list.length > 1), () => undefined);
  }, []);
  useEffect(() => {
    const t = setTimeout(() => store.start(filter), filter === "" ? 0 : 250);
    return () => clearTimeout(t);
  }, [store, filter]);

  const say = (text: string) => setToast(text);
  useEffect(() => {
    if (toast === "") return;
    const t = setTimeout(() => setToast(""), 4000);
    return () => clearTimeout(t);
  }, [toast]);

  const { x, error } = useExchange(store, selected, reveal);

  // What Enter leads to may still be on its way.
  const entering = useRef(false);
  const enter = () => {
    const panel = document.getElementById("panel");
    entering.current = panel === null;
    panel?.focus();
  };
  useLayoutEffect(() => {
    if (x && entering.current) enter();
  }, [x]);

  const select = (id: string) => {
    entering.current = false;
    setSelected(id);
    if (id !== revealed) setRevealed("");
  };
  const move = (by: number) => {
    const rows = store.rows;
    if (rows.length === 0) return;
    const at = store.find(selected);
    const next = at < 0 ? rows.length - 1 : Math.min(rows.length - 1, Math.max(0, at - by));
    select(rows[next]!.id);
  };
  const send = async (id: string, edit?: Edit) => {
    setBusy(true);
    try {
      const r = await api.replay(id, edit);
      select(r.id);
      setTab("response");
      say(r.ended ? "Sent again." : "Sent again, and broken off after 30 seconds.");
    } finally {
      setBusy(false);
    }
  };
  const act = {
    replay: () => {
      if (selected !== "" && !busy) send(selected).catch((e: unknown) => say(api.says(e)));
    },
    edit: (elsewhere = false) => {
      if (x) setOpen({ name: "edit", x, elsewhere });
    },
    diff: () => {
      if (!x) return;
      if (marked === x.id) setMarked("");
      else if (marked !== "") {
        setOpen({ name: "diff", a: marked, b: x.id });
        setMarked("");
      } else if (x.replay_of) setOpen({ name: "diff", a: x.replay_of, b: x.id });
      else {
        setMarked(x.id);
        say("Marked as A. Choose another and press d again.");
      }
    },
    copy: (format: "curl" | "httpie" | "fetch") => {
      if (!x) return;
      const hidden = x.request.headers.some((f) => f.masked);
      const name = { curl: "curl", httpie: "HTTPie", fetch: "fetch" }[format];
      api
        .text(api.exportURL(x.id, format, reveal))
        .then((t) => navigator.clipboard.writeText(t))
        .then(
          () => say(hidden ? `Copied as ${name}; its secrets are hidden in it.` : `Copied as ${name}.`),
          (e: unknown) => say(e instanceof Error ? e.message : "The browser does not let this page copy."),
        );
    },
    close: () => select(""),
    say,
  };

  // Before the next key: an effect after the paint would still see the choice before.
  useLayoutEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const el = e.target as HTMLElement;
      if (open || e.ctrlKey || e.metaKey || e.altKey) return;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName)) {
        if (e.key === "Escape" || (e.key === "Enter" && el === search.current)) el.blur();
        return;
      }
      const list = document.querySelector<HTMLElement>(".list");
      const inList = el === document.body || el === list;
      switch (e.key) {
        case "j":
          move(1);
          break;
        case "k":
          move(-1);
          break;
        case "ArrowDown":
          if (!inList) return;
          move(1);
          break;
        case "ArrowUp":
          if (!inList) return;
          move(-1);
          break;
        case "Enter":
          if (!inList) return;
          if (selected === "") move(1);
          else enter();
          break;
        case "r":
          act.replay();
          break;
        case "e":
          act.edit();
          break;
        case "d":
          act.diff();
          break;
        case "c":
          act.copy("curl");
          break;
        case "/":
          search.current?.focus();
          break;
        case "?":
          setOpen({ name: "help" });
          break;
        case "Escape":
          if (marked !== "") setMarked("");
          else if (!inList && list) list.focus();
          else select("");
          break;
        default:
          return;
      }
      e.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  });

  const empty = store.rows.length === 0;
  // The list is still that of the filter before.
  const stale = store.loading || store.filter !== filter;
  // What is chosen now, not what the filter would choose when it is sent. The oldest
  // first, as they came; what is a replay itself is not sent again.
  const bulk = () => {
    const ids = store.rows.filter((r) => !r.replay).map((r) => r.id);
    setOpen({ name: "bulk", ids: ids.slice(-most), more: ids.length > most });
  };
  return (
    <div class={`app${selected !== "" ? " chosen" : ""}`}>
      {props.top(store, () => setOpen({ name: "help" }))}
      {!store.online && (
        <p class="banner" role="alert">
          The {api.peer.name} does not answer. What it showed is still here; this page tries again by itself.
        </p>
      )}
      <main>
        <section class="left" aria-label="Requests">
          <div class="filter">
            <input
              ref={search}
              type="search"
              value={filter}
              placeholder="Filter: status:5xx method:POST path:/hooks"
              aria-label="Filter"
              aria-invalid={store.filterError !== ""}
              aria-describedby="filter-error"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              onInput={(e) => setFilter(e.currentTarget.value)}
            />
            <Menu label="All of it">
              <button type="button" disabled={empty || stale} onClick={bulk}>
                Replay…
              </button>
              <a href={api.exportListURL("har", filter)} download="requests.har">
                Save as HAR
              </a>
              <a href={api.exportListURL("json", filter)} download="requests.json">
                Save as JSON
              </a>
              <a href={api.exportListURL("fixture", filter)} download="fixtures.jsonl">
                Save as test fixtures
              </a>
            </Menu>
          </div>
          <p id="filter-error" class={store.filterError ? "problem" : "sr"} role="alert">
            {store.filterError}
          </p>
          {store.error && <p class="problem">{store.error}</p>}
          {empty ? (
            <Empty store={store} filter={filter} hint={props.hint ?? "Send one to the public URL, and it shows up here as it comes."} />
          ) : (
            <List rows={store.rows} selected={selected} marked={marked} narrow={narrow} onSelect={select} />
          )}
          <footer class="foot">
            {store.rows.length} shown
            {store.stats && (
              <>
                {" "}
                · {store.stats.kept} kept ({size(store.stats.bytes)})
                {store.stats.dropped > 0 && <> · {store.stats.dropped} older ones are gone</>}
              </>
            )}
          </footer>
        </section>
        <div class="right">
          {x ? (
            <Detail
              x={x}
              tab={tab}
              extra={props.extra ?? []}
              others={others}
              reveal={reveal}
              busy={busy}
              marked={marked}
              setTab={setTab}
              setReveal={(on) => setRevealed(on ? x.id : "")}
              act={act}
            />
          ) : (
            <div class="nothing">
              {error ? (
                <p class="problem">{error}</p>
              ) : (
                <p class="quiet">
                  {selected ? "Loading…" : "Choose a request to see it, or press "}
                  {!selected && <kbd>j</kbd>}
                </p>
              )}
              {error && (
                <button type="button" class="button" onClick={act.close}>
                  Back to the list
                </button>
              )}
            </div>
          )}
        </div>
      </main>
      <div class="toast" role="status" aria-live="polite">
        {toast && <span>{toast}</span>}
      </div>
      {open?.name === "help" && <Help onClose={() => setOpen(undefined)} />}
      {open?.name === "edit" && (
        <EditDialog
          x={open.x}
          elsewhere={open.elsewhere}
          onClose={() => setOpen(undefined)}
          onSend={async (e) => {
            await send(open.x.id, e);
            setOpen(undefined);
            return true;
          }}
        />
      )}
      {open?.name === "bulk" && <BulkDialog ids={open.ids} more={open.more} filter={filter} onClose={() => setOpen(undefined)} />}
      {open?.name === "diff" && <DiffDialog a={open.a} b={open.b} reveal={false} onClose={() => setOpen(undefined)} />}
    </div>
  );
}

function Empty({ store, filter, hint }: { store: Store; filter: string; hint: string }): JSX.Element {
  if (store.loading)
    return (
      <div class="empty" aria-busy="true">
        <p class="quiet">Loading…</p>
      </div>
    );
  if (filter !== "")
    return (
      <div class="empty">
        <p>{store.filterError ? "This filter is not understood." : "No request fits this filter."}</p>
        <p class="quiet">
          Press <kbd>?</kbd> for what a filter can say.
        </p>
      </div>
    );
  return (
    <div class="empty">
      <p>No request yet.</p>
      <p class="quiet">{hint}</p>
    </div>
  );
}

/** The selected exchange, loaded again when there is news of it. */
function useExchange(store: Store, id: string, reveal: boolean): { x: Exchange | undefined; error: string } {
  const [got, setGot] = useState<{ key: string; x?: Exchange; error: string }>({ key: "", error: "" });
  const key = `${id} ${reveal}`;
  const at = id === "" ? -1 : store.find(id);
  const row = store.rows[at];
  // What changes in a row when the exchange does.
  const version = row ? `${row.state} ${row.status} ${row.frames ?? 0} ${row.response_size}` : "";
  const last = useRef(0);
  useEffect(() => {
    if (id === "") return;
    let gone = false;
    // Frames may come fast: no more than four times a second.
    const wait = got.key === key ? Math.max(0, last.current + 250 - Date.now()) : 0;
    const t = setTimeout(() => {
      last.current = Date.now();
      api.show(id, reveal).then(
        (x) => !gone && setGot({ key, x, error: "" }),
        (e: unknown) => !gone && setGot((was) => (was.key === key && was.x ? was : { key, error: api.says(e) })),
      );
    }, wait);
    return () => {
      gone = true;
      clearTimeout(t);
    };
  }, [key, version]);
  if (id === "") return { x: undefined, error: "" };
  // What is hidden stays until what is revealed is there, never the other way round.
  return { x: got.x?.id === id && (got.key === key || reveal) ? got.x : undefined, error: got.key === key ? got.error : "" };
}

function useNarrow(): boolean {
  const query = useMemo(() => matchMedia("(max-width: 760px)"), []);
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const on = () => setNarrow(query.matches);
    query.addEventListener("change", on);
    return () => query.removeEventListener("change", on);
  }, [query]);
  return narrow;
}

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { says } from "../api";
import { size, visible } from "../format";
import { Badge } from "../list";
import { act, endpoints, events } from "./api";
import type { Event, EventFilter, Verb } from "./api";
import { useLoad } from "./load";
import { Confirm, Loaded, Nothing, State, Text, When } from "./parts";

const states = ["pending", "delivered", "closed", "dead", "cancelled", "rejected", "duplicate"];

const verbs: Record<Verb, { label: string; title: string; what: string; button: string }> = {
  retry: { label: "Try again", title: "Try again", what: "Dead and cancelled ones begin again; those that wait are tried at once.", button: "Try again" },
  replay: { label: "Deliver once more", title: "Deliver once more", what: "They are delivered once more, whatever became of them.", button: "Deliver" },
  cancel: { label: "Give up", title: "Give up", what: "They are not delivered any more.", button: "Give them up" },
  purge: { label: "Remove", title: "Remove", what: "They are gone for good.", button: "Remove" },
};

/** What the inboxes have kept. The filter is in the address, so that it can be linked to. */
export function Events({ query }: { query: URLSearchParams }): JSX.Element {
  const filter: EventFilter = {};
  const endpoint = query.get("endpoint");
  const status = query.get("status");
  const grep = query.get("grep");
  if (endpoint) filter.endpoint = endpoint;
  if (status) filter.status = [status];
  if (grep) filter.grep = grep;
  const key = query.toString();
  const load = useLoad(key, () => events(filter, ""), 10_000);
  const names = useLoad("names", endpoints);
  const [verb, setVerb] = useState<{ verb: Verb; count: number }>();
  const [failed, setFailed] = useState("");
  const [said, setSaid] = useState("");
  const [text, setText] = useState(grep ?? "");
  useEffect(() => setText(grep ?? ""), [grep]);
  const go = (change: Record<string, string>) => {
    const q = new URLSearchParams(query);
    for (const [k, v] of Object.entries(change)) {
      if (v) q.set(k, v);
      else q.delete(k);
    }
    location.hash = `#/events${q.size > 0 ? `?${q}` : ""}`;
  };
  const ask = (v: Verb) => {
    setFailed("");
    setSaid("");
    act(v, filter, true).then(
      (count) => (count > 0 ? setVerb({ verb: v, count }) : setSaid("What the filter chooses has none for that.")),
      (e: unknown) => setFailed(says(e)),
    );
  };
  const list = [...new Set([...(names.got ?? []).map((e) => e.name), ...(endpoint ? [endpoint] : [])])];
  return (
    <>
      <h2>Events</h2>
      <form
        class="card form inline"
        aria-label="Filter of events"
        onSubmit={(e) => {
          e.preventDefault();
          go({ grep: text.trim() });
        }}
      >
        <label>
          Endpoint
          <select value={endpoint ?? ""} onChange={(e) => go({ endpoint: e.currentTarget.value })}>
            <option value="">all</option>
            {list.map((n) => (
              <option key={n} value={n}>
                {visible(n)}
              </option>
            ))}
          </select>
        </label>
        <label>
          State
          <select value={status ?? ""} onChange={(e) => go({ status: e.currentTarget.value })}>
            <option value="">all</option>
            {states.map((s) => (
              <option key={s} value={s}>
                {s}
              </option>
            ))}
          </select>
        </label>
        <label class="grow">
          Text in header or body
          <input value={text} onInput={(e) => setText(e.currentTarget.value)} autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit" class="button">
          Find
        </button>
      </form>
      <div class="bar">
        <span class="quiet">With all that the filter chooses:</span>
        {(Object.keys(verbs) as Verb[]).map((v) => (
          <button key={v} type="button" class="button small" onClick={() => ask(v)}>
            {verbs[v].label}…
          </button>
        ))}
      </div>
      {failed && (
        <p class="problem" role="alert">
          {failed}
        </p>
      )}
      <p class={said ? "note" : "sr"} role="status">
        {said}
      </p>
      <Loaded of={load}>
        {(page) =>
          page.items.length === 0 ? (
            key === "" ? (
              <Nothing title="No event yet.">
                An <a href="#/endpoints">endpoint with an inbox</a> keeps what comes.
              </Nothing>
            ) : (
              <Nothing title="No event fits this filter." />
            )
          ) : (
            <Rows key={key} first={page.items} next={page.next ?? ""} filter={filter} />
          )
        }
      </Loaded>
      {verb && (
        <Confirm
          title={verbs[verb.verb].title}
          button={verbs[verb.verb].button}
          harmless={verb.verb === "retry" || verb.verb === "replay"}
          {...(verb.verb === "purge" ? { typed: "remove" } : {})}
          onClose={() => setVerb(undefined)}
          onYes={async () => {
            const n = await act(verb.verb, filter, false);
            setVerb(undefined);
            setSaid(`Done: ${n} ${n === 1 ? "event" : "events"}.`);
            load.again();
          }}
        >
          <p>
            {verb.count} {status} {verb.count === 1 ? "event" : "events"} of {endpoint ? <Text s={endpoint} /> : "all your endpoints"}. {verbs[verb.verb].what}
          </p>
        </Confirm>
      )}
    </>
  );
}

function Rows({ first, next, filter }: { first: Event[]; next: string; filter: EventFilter }): JSX.Element {
  const [older, setOlder] = useState<{ items: Event[]; next: string }>();
  const [error, setError] = useState("");
  const seen = new Set(first.map((e) => e.id));
  const list = [...first, ...(older?.items ?? []).filter((e) => !seen.has(e.id))];
  const after = older ? older.next : next;
  const more = () =>
    events(filter, after).then(
      (page) => setOlder({ items: [...(older?.items ?? []), ...page.items], next: page.next ?? "" }),
      (e: unknown) => setError(says(e)),
    );
  return (
    <>
      <div class="card scroll" tabIndex={0} role="region" aria-label="Events, the newest first">
        <table class="grid">
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">What</th>
              <th scope="col">Endpoint</th>
              <th scope="col">Came</th>
              <th scope="col" class="num">
                Size
              </th>
            </tr>
          </thead>
          <tbody>
            {list.map((e) => (
              <tr key={e.id}>
                <td>
                  <State is={e.status} />
                </td>
                <td class="what">
                  <a href={`#/events/${encodeURIComponent(e.id)}`}>
                    <b>{visible((e.type || e.method).slice(0, 80))}</b> <Text s={e.path} />
                  </a>{" "}
                  <Badge verified={e.verified} />
                  {e.reason && (
                    <span class="why">
                      <Text s={e.reason} most={300} />
                    </span>
                  )}
                </td>
                <td>
                  <Text s={e.endpoint} most={60} />
                </td>
                <td>
                  <When at={e.received} />
                </td>
                <td class="num">{size(e.size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {error && <p class="problem">{error}</p>}
      {after && (
        <button type="button" class="button" onClick={() => void more()}>
          Older ones
        </button>
      )}
    </>
  );
}

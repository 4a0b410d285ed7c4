import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { size } from "../format";
import { createEndpoint, endpoints } from "./api";
import type { Endpoint } from "./api";
import { useDoing, useLoad } from "./load";
import { Online } from "./overview";
import { Copy, Loaded, Nothing, Text } from "./parts";

/** The user's names: list, and one more. */
export function Endpoints({ user }: { user: string }): JSX.Element {
  const load = useLoad("endpoints", endpoints, 15_000);
  return (
    <>
      <h2>Endpoints</h2>
      <p class="quiet lead">A name with its settings. One with an inbox collects from now on, whether an agent is there or not.</p>
      <Create user={user} />
      <Loaded of={load}>
        {(list) =>
          list.length === 0 ? (
            <Nothing title="No endpoint yet.">
              Make one here, or run <code>relay http 8080</code>.
            </Nothing>
          ) : (
            <ul class="cards">
              {list.map((e) => (
                <One key={e.name} e={e} />
              ))}
            </ul>
          )
        }
      </Loaded>
    </>
  );
}

function One({ e }: { e: Endpoint }): JSX.Element {
  const inbox = String(e.effective.inbox ?? "off");
  const name = encodeURIComponent(e.name);
  return (
    <li class="card">
      <header>
        <h3>
          <a href={`#/endpoints/${name}`}>
            <Text s={e.name} />
          </a>
        </h3>
        <Online live={!!e.agent} agent={e.agent} />
      </header>
      <p class="address">
        <code>
          <Text s={e.url} />
        </code>{" "}
        <Copy text={e.url} what={`the address of ${e.name}`} />
      </p>
      <p class="quiet">
        {inbox === "off" ? "no inbox" : `inbox ${inbox}`} · {verification(e)}
        {e.kept.events > 0 && (
          <>
            {" "}
            · <a href={`#/events?endpoint=${name}`}>{e.kept.events} events</a> ({size(e.kept.bytes)})
            {e.kept.pending > 0 && `, ${e.kept.pending} waiting`}
          </>
        )}{" "}
        · {e.effective.record ? <a href={`#/requests?filter=${encodeURIComponent(`endpoint:${e.name}`)}`}>requests</a> : "requests are not recorded"}
      </p>
    </li>
  );
}

function verification(e: Endpoint): string {
  const sender = e.settings.scheme ? "its own scheme" : String(e.settings.provider ?? "");
  if (!sender) return "signatures are not checked";
  if (!e.verify) return `signatures of ${sender} are not checked: no secret`;
  return `signatures of ${sender}: ${e.verify}`;
}

function Create({ user }: { user: string }): JSX.Element {
  const [name, setName] = useState("");
  const [inbox, setInbox] = useState("off");
  const doing = useDoing();
  return (
    <form
      class="card form inline"
      aria-label="A new endpoint"
      onSubmit={(e) => {
        e.preventDefault();
        doing.run(async () => {
          const made = await createEndpoint({ ...(name.trim() ? { name: name.trim() } : {}), ...(inbox === "off" ? {} : { settings: { inbox } }) });
          location.hash = `#/endpoints/${encodeURIComponent(made.name)}`;
        });
      }}
    >
      <label class="grow">
        Name
        <input
          value={name}
          placeholder={user}
          onInput={(e) => setName(e.currentTarget.value)}
          aria-invalid={doing.error !== ""}
          aria-describedby="endpoint-error"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
        />
      </label>
      <label>
        Inbox
        <select value={inbox} onChange={(e) => setInbox(e.currentTarget.value)}>
          <option value="off">off: live only</option>
          <option value="fallback">fallback: the app, or later</option>
          <option value="always">always: keep, then deliver</option>
        </select>
      </label>
      <button type="submit" class="button main" disabled={doing.busy}>
        {doing.busy ? "Making…" : "Make an endpoint"}
      </button>
      <p id="endpoint-error" class={doing.error ? "wrong" : "sr"} role="alert">
        {doing.error}
      </p>
    </form>
  );
}

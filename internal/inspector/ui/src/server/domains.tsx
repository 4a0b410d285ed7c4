import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { addDomain, domains, endpoints, removeDomain, verifyDomain } from "./api";
import type { Domain, DNSRecord } from "./api";
import { useDoing, useLoad } from "./load";
import { Confirm, Copy, Loaded, Nothing, State, Text, When } from "./parts";

/** Hosts of the user's own: list, add, look again, forget. */
export function Domains(): JSX.Element {
  const load = useLoad("domains", domains, 20_000);
  const [removing, setRemoving] = useState<Domain>();
  return (
    <>
      <h2>Domains</h2>
      <p class="quiet lead">A host of your own can lead to one of your endpoints. Its DNS shows that it is yours; the server looks by itself every few minutes.</p>
      <Add onAdded={load.again} />
      <Loaded of={load}>
        {(list) =>
          list.length === 0 ? (
            <Nothing title="No domain yet." />
          ) : (
            <ul class="cards">
              {list.map((d) => (
                <One key={d.host} d={d} onSeen={load.again} onRemove={() => setRemoving(d)} />
              ))}
            </ul>
          )
        }
      </Loaded>
      {removing && (
        <Confirm
          title="Forget a domain"
          button="Forget"
          onClose={() => setRemoving(undefined)}
          onYes={async () => {
            await removeDomain(removing.host);
            setRemoving(undefined);
            load.again();
          }}
        >
          <p>
            Forget <b><Text s={removing.host} /></b>? Its visitors reach nothing from then on.
          </p>
        </Confirm>
      )}
    </>
  );
}

function One({ d, onSeen, onRemove }: { d: Domain; onSeen: () => void; onRemove: () => void }): JSX.Element {
  const doing = useDoing();
  return (
    <li class="card domain">
      <header>
        <h3>
          <Text s={d.host} />
        </h3>
        <State is={d.state} />
        <span class="quiet">
          to <Text s={d.name} />
          {d.checked && (
            <>
              , seen <When at={d.checked} />
            </>
          )}
        </span>
        <span class="push" />
        <button
          type="button"
          class="button small"
          disabled={doing.busy}
          aria-label={`${doing.busy ? "Looking…" : "Look now"}: ${d.host}`}
          onClick={() =>
            doing.run(async () => {
              await verifyDomain(d.host);
              onSeen();
            })
          }
        >
          {doing.busy ? "Looking…" : "Look now"}
        </button>
        <button type="button" class="button small" aria-label={`Forget ${d.host}`} onClick={onRemove}>
          Forget…
        </button>
      </header>
      {doing.error && (
        <p class="problem" role="alert">
          {doing.error}
        </p>
      )}
      {d.reason && (
        <p class="reason">
          <Text s={d.reason} most={1000} />
        </p>
      )}
      {d.dropped && (
        <p class="reason">
          Unless its DNS is put right it is dropped <When at={d.dropped} />.
        </p>
      )}
      {d.state !== "active" && (
        <>
          {!!d.cname?.length && <Records title="Set this in your DNS" list={d.cname} />}
          {!!d.txt?.length && <Records title={d.cname?.length ? "Or, where there can be no CNAME" : "Set this in your DNS"} list={d.txt} />}
        </>
      )}
    </li>
  );
}

function Records({ title, list }: { title: string; list: DNSRecord[] }): JSX.Element {
  return (
    <>
      <h4>{title}</h4>
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table class="grid mono">
          <thead>
            <tr>
              <th scope="col">Type</th>
              <th scope="col">Name</th>
              <th scope="col">Value</th>
            </tr>
          </thead>
          <tbody>
            {list.map((r) => (
              <tr key={r.type + r.name + r.value}>
                <td>{r.type}</td>
                <td>
                  <Text s={r.name} /> <Copy text={r.name} what={`the name of the ${r.type} record`} />
                </td>
                <td>
                  <Text s={r.value} most={500} /> <Copy text={r.value} what={`the value of the ${r.type} record`} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Add({ onAdded }: { onAdded: () => void }): JSX.Element {
  const [host, setHost] = useState("");
  const [name, setName] = useState("");
  const names = useLoad("names", endpoints);
  const doing = useDoing();
  const [missing, setMissing] = useState(false);
  const wrong = missing ? "Give a host, like hooks.example.com." : doing.error;
  return (
    <form
      class="card form inline"
      aria-label="A new domain"
      onSubmit={(e) => {
        e.preventDefault();
        setMissing(host.trim() === "");
        if (host.trim() === "") return;
        doing.run(async () => {
          await addDomain({ host: host.trim(), ...(name ? { name } : {}) });
          setHost("");
          onAdded();
        });
      }}
    >
      <label class="grow">
        Host
        <input
          value={host}
          placeholder="hooks.example.com"
          onInput={(e) => setHost(e.currentTarget.value)}
          aria-invalid={wrong !== ""}
          aria-describedby="domain-error"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
        />
      </label>
      <label>
        Leads to
        <select value={name} onChange={(e) => setName(e.currentTarget.value)}>
          <option value="">your own name</option>
          {(names.got ?? []).map((e) => (
            <option key={e.name} value={e.name}>
              {e.name}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="button main" disabled={doing.busy}>
        {doing.busy ? "Adding…" : "Add the domain"}
      </button>
      <p id="domain-error" class={wrong ? "wrong" : "sr"} role="alert">
        {wrong}
      </p>
    </form>
  );
}

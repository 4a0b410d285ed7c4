import type { JSX } from "preact";
import { size } from "../format";
import { overview } from "./api";
import type { Certificate, Overview as Data } from "./api";
import { Chart, Table } from "./chart";
import { useLoad } from "./load";
import { Loaded, Nothing, State, Text, When } from "./parts";

/** How all is: endpoints, traffic, what waits, certificates. */
export function Overview({ admin }: { admin: boolean }): JSX.Element {
  const load = useLoad("overview", overview, 15_000);
  return (
    <>
      <h2>Overview</h2>
      <Loaded of={load}>
        {(o) => (
          <>
            <Figures o={o} />
            <section class="card" aria-label="The last 24 hours">
              <h3>The last 24 hours</h3>
              <div class="charts">
                <Chart series={o.series} of="requests" label="Requests" />
                <Chart series={o.series} of="errors" label="Errors" />
              </div>
              <p class="quiet">An error is an answer of 500 and above, or none.</p>
              <Table series={o.series} />
            </section>
            <section class="card" aria-label="Endpoints">
              <h3>Endpoints</h3>
              <Names o={o} />
            </section>
            <section class="card" aria-label="Certificates">
              <h3>Certificates</h3>
              <Certificates list={o.certificates} admin={admin} />
            </section>
          </>
        )}
      </Loaded>
    </>
  );
}

function Figures({ o }: { o: Data }): JSX.Element {
  const live = o.endpoints.filter((e) => e.live).length;
  const r = o.recorded;
  return (
    <dl class="figures">
      <div>
        <dt>Online</dt>
        <dd>
          {live} <span class="quiet">of {o.endpoints.length}</span>
        </dd>
      </div>
      <div>
        <dt>Waiting</dt>
        <dd>{o.pending > 0 ? <a href="#/events?status=pending">{o.pending}</a> : 0}</dd>
      </div>
      <div class={o.dead > 0 ? "bad" : ""}>
        <dt>Dead letters</dt>
        <dd>{o.dead > 0 ? <a href="#/events?status=dead">{o.dead}</a> : 0}</dd>
      </div>
      {r && (
        <div>
          <dt>Recorded</dt>
          <dd>
            {r.kept} <span class="quiet">{size(r.bytes)}</span>
          </dd>
          {r.dropped > 0 && <dd class="quiet small">{r.dropped} were not recorded, to hold nothing up</dd>}
        </div>
      )}
    </dl>
  );
}

function Names({ o }: { o: Data }): JSX.Element {
  if (o.endpoints.length === 0)
    return (
      <Nothing title="No endpoint yet.">
        <a href="#/endpoints">Make one</a>, or run <code>relay http 8080</code>.
      </Nothing>
    );
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Endpoints">
      <table class="grid">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Agent</th>
            <th scope="col">Inbox</th>
            <th scope="col" class="num">
              Waiting
            </th>
            <th scope="col" class="num">
              Dead
            </th>
            <th scope="col" class="num">
              Events
            </th>
          </tr>
        </thead>
        <tbody>
          {o.endpoints.map((e) => {
            const link = `#/events?endpoint=${encodeURIComponent(e.name)}`;
            return (
              <tr key={e.name}>
                <th scope="row">
                  <a href={`#/endpoints/${encodeURIComponent(e.name)}`}>
                    <Text s={e.name} />
                  </a>
                </th>
                <td>
                  <Online live={e.live} agent={e.agent} />
                </td>
                <td>{e.inbox ?? "off"}</td>
                <td class="num">{e.pending > 0 ? <a href={`${link}&status=pending`}>{e.pending}</a> : 0}</td>
                <td class="num">{e.dead > 0 ? <a href={`${link}&status=dead`}>{e.dead}</a> : 0}</td>
                <td class="num">{e.events > 0 ? <a href={link}>{e.events}</a> : 0}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function Online({ live, agent }: { live: boolean; agent: string | undefined }): JSX.Element {
  return (
    <span class={`link ${live ? "up" : "off"}`}>
      <span aria-hidden="true">{live ? "●" : "○"}</span> {live ? "online" : "offline"}
      {live && agent && (
        <span class="quiet">
          {" "}
          <Text s={agent} most={60} />
        </span>
      )}
    </span>
  );
}

function Certificates({ list, admin }: { list: Certificate[]; admin: boolean }): JSX.Element {
  if (list.length === 0)
    return <p class="quiet">{admin ? "The server does no TLS: something in front of it does, or nothing." : "None are for your names alone."}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Certificates">
      <table class="grid">
        <thead>
          <tr>
            <th scope="col">Host</th>
            <th scope="col">State</th>
            <th scope="col">Expires</th>
          </tr>
        </thead>
        <tbody>
          {list.map((c) => (
            <tr key={c.host}>
              <th scope="row">
                <Text s={c.host} />
              </th>
              <td>
                <State is={c.state} />
                {c.error && (
                  <span class="why">
                    <Text s={c.error} most={500} />
                  </span>
                )}
              </td>
              <td>
                <When at={c.expires} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

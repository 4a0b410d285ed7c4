import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { BytesView } from "../body";
import { Fields } from "../detail";
import { moment, visible } from "../format";
import { Badge } from "../list";
import { event, eventBodyURL } from "./api";
import { bytesOf, fieldsOf } from "./bytes";
import { Deliveries } from "./deliveries";
import { useLoad } from "./load";
import { Loaded, Text } from "./parts";
import { Verification } from "./verification";

/** One event: what came, why it was taken for good or not, and its ways to the app. */
export function EventPage({ id }: { id: string }): JSX.Element {
  const load = useLoad(id, () => event(id));
  const [reveal, setReveal] = useState(false);
  return (
    <>
      <p class="crumb">
        <a href="#/events">Events</a> ›
      </p>
      <Loaded of={load}>
        {(e) => {
          const fields = fieldsOf(e.header, reveal);
          const body = bytesOf(e.body);
          const facts: [string, string][] = [
            ["Came", moment(e.received)],
            ["Endpoint", e.endpoint],
            ["URL", e.url],
            ["From", e.sender],
            ...(e.provider ? ([["Sender", e.provider]] as [string, string][]) : []),
            ...(e.type ? ([["Type", e.type]] as [string, string][]) : []),
            ...(e.provider_id ? ([["The sender's id", e.provider_id]] as [string, string][]) : []),
            ...(e.again_of ? ([["Repeats", e.again_of]] as [string, string][]) : []),
            ["Id", e.id],
          ];
          return (
            <>
              <h2>
                {visible(e.method)} <Text s={e.path} most={500} /> <Badge verified={e.verified} />
              </h2>
              <section class="card panel" aria-label="Deliveries">
                <h3>Deliveries</h3>
                <Deliveries id={id} />
              </section>
              <section class="card panel" aria-label="Verification">
                <h3>Verification</h3>
                <Verification id={id} verified={e.verified} />
              </section>
              <section class="card panel" aria-label="What came">
                <h3>What came</h3>
                <table class="fields">
                  <tbody>
                    {facts.map(([k, v]) => (
                      <tr key={k}>
                        <th scope="row">{k}</th>
                        <td>{visible(v.slice(0, 2000))}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                <Fields fields={fields} label="Headers" />
                {(reveal || fields.some((f) => f.masked)) && (
                  <button type="button" class="button small" aria-pressed={reveal} onClick={() => setReveal(!reveal)}>
                    {reveal ? "Hide secrets" : "Show secrets"}
                  </button>
                )}
                <h3>Body</h3>
                {body.length === 0 ? (
                  <p class="quiet">No body.</p>
                ) : (
                  <BytesView
                    bytes={body}
                    info={{ size: e.size, type: fields.find((f) => /^content-type$/i.test(f.name))?.value ?? "" }}
                    truncated={!!e.cut}
                    encoded={fields.some((f) => /^content-encoding$/i.test(f.name))}
                    save={{ url: eventBodyURL(id), name: `${id}.bin` }}
                    say={() => undefined}
                  />
                )}
              </section>
            </>
          );
        }}
      </Loaded>
    </>
  );
}

import type { JSX } from "preact";
import { BytesView } from "../body";
import { Fields } from "../detail";
import { duration, moment, visible } from "../format";
import { Status } from "../list";
import { act, event } from "./api";
import type { Attempt, Delivery } from "./api";
import { bytesOf, fieldsOf } from "./bytes";
import { useDoing, useLoad } from "./load";
import { Loaded, State, When } from "./parts";

const open = (d: Delivery) => d.status === "pending" || d.status === "sending";

/** The ways of one event to the app, with what can be done about it. */
export function Deliveries({ id }: { id: string }): JSX.Element {
  const load = useLoad(id, () => event(id), 5000);
  const doing = useDoing();
  const run = (verb: "retry" | "cancel" | "replay") =>
    doing.run(async () => {
      await act(verb, { ids: [id] }, false);
      load.again();
    });
  return (
    <Loaded of={load}>
      {(e) => (
        <>
          <div class="bar">
            <State is={e.status} />
            {e.reason && !e.deliveries.some((d) => d.reason === e.reason) && <span class="quiet reason">{visible(e.reason.slice(0, 1000))}</span>}
            <span class="push" />
            {e.deliveries.some(open) && (
              <button type="button" class="button small" disabled={doing.busy} onClick={() => run("cancel")}>
                Give up
              </button>
            )}
            {["dead", "cancelled", "pending"].includes(e.status) && (
              <button type="button" class="button small" disabled={doing.busy} onClick={() => run("retry")}>
                {e.status === "pending" ? "Try now" : "Try again"}
              </button>
            )}
            {!e.deliveries.some(open) && e.status !== "rejected" && (
              <button type="button" class="button small" disabled={doing.busy} onClick={() => run("replay")}>
                Deliver once more
              </button>
            )}
          </div>
          {doing.error && (
            <p class="problem" role="alert">
              {doing.error}
            </p>
          )}
          {e.deliveries.length === 0 && (
            <p class="quiet">
              {e.status === "rejected" ? "It was refused, so it is not delivered." : e.status === "duplicate" ? "It repeats an earlier event, so it is not delivered again." : "There is no delivery of it."}
            </p>
          )}
          {e.deliveries.map((d) => (
            <One key={d.id} d={d} />
          ))}
        </>
      )}
    </Loaded>
  );
}

function One({ d }: { d: Delivery }): JSX.Element {
  return (
    <section class="delivery" aria-label={`Delivery ${d.id}`}>
      <header>
        <State is={d.status} />
        {d.replay && (
          <span class="mark" title="somebody asked for it once more">
            ↻ once more
          </span>
        )}
        <span class="quiet">
          asked for <When at={d.created} />
        </span>
        {d.next && (
          <span class="next">
            next try <When at={d.next} />
          </span>
        )}
      </header>
      {d.reason && d.reason !== d.attempts.at(-1)?.reason && <p class="reason">{visible(d.reason.slice(0, 1000))}</p>}
      {d.attempts.length === 0 ? (
        <p class="quiet">{d.status === "pending" ? "No try yet. It waits for its turn, or for an agent." : "No try."}</p>
      ) : (
        <ol class="attempts">
          {d.attempts.map((a, i) => (
            <Try key={i} n={i + 1} a={a} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Try({ n, a }: { n: number; a: Attempt }): JSX.Element {
  const body = bytesOf(a.body);
  const fields = fieldsOf(a.header);
  const head = (
    <>
      <span class="num">{n}.</span> <Status x={{ status: a.status, state: a.status === 0 ? "failed" : "done" }} />
      <time dateTime={a.began}>{moment(a.began)}</time>
      <span class="num quiet">{duration(a.duration_ms)}</span>
      {a.reason && <span class="why">{visible(a.reason.slice(0, 500))}</span>}
    </>
  );
  if (fields.length === 0 && body.length === 0) return <li class="try bare">{head}</li>;
  return (
    <li class="try">
      <details>
        <summary>{head}</summary>
        <Fields fields={fields} label="Headers of the answer" />
        <h3>Body</h3>
        {body.length === 0 ? (
          <p class="quiet">No body.</p>
        ) : (
          <BytesView
            bytes={body}
            info={{ size: body.length, type: fields.find((f) => /^content-type$/i.test(f.name))?.value ?? "" }}
            truncated={!!a.cut}
            encoded={fields.some((f) => /^content-encoding$/i.test(f.name))}
            say={() => undefined}
          />
        )}
      </details>
    </li>
  );
}

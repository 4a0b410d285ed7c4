import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Failure } from "../api";
import { size } from "../format";
import { changeEndpoint, endpoint, releaseEndpoint } from "./api";
import type { Endpoint } from "./api";
import { SettingsForm } from "./form";
import { useDoing, useLoad } from "./load";
import { Online } from "./overview";
import { Confirm, Copy, Loaded, Text, When } from "./parts";
import { blamed, change, defaults, plain, read } from "./settings";
import type { Values, Wrong } from "./settings";

/** One endpoint with its settings. */
export function EndpointPage({ name }: { name: string }): JSX.Element {
  const load = useLoad(name, () => endpoint(name));
  return (
    <>
      <p class="crumb">
        <a href="#/endpoints">Endpoints</a> ›
      </p>
      <h2>
        <Text s={name} />
      </h2>
      <Loaded of={load}>{(e) => <Edit e={e} />}</Loaded>
    </>
  );
}

function Edit(p: { e: Endpoint }): JSX.Element {
  const [e, setE] = useState(p.e);
  const was = useMemo(() => read(e), [e]);
  const [v, setV] = useState<Values>(was);
  const [wrong, setWrong] = useState<Wrong>({});
  const [said, setSaid] = useState("");
  const [releasing, setReleasing] = useState(false);
  const doing = useDoing();
  const places = (((e.settings.door as Record<string, unknown>) ?? {}).require_token as string[] | undefined) ?? [];
  const made = change(was, v, places);
  const kept: Values = {
    signing: e.secrets > 0 ? `${e.secrets === 1 ? "One is" : `${e.secrets} are`} kept; new ones replace ${e.secrets === 1 ? "it" : "them"}.` : "",
    handshake: e.handshake_secret ? "One is kept; a new one replaces it." : "",
    require_token: places.length > 0 ? `Needed now: ${places.join(", ")}. New ones replace them.` : "",
  };
  const save = () => {
    setSaid("");
    setWrong(made.wrong);
    const first = Object.keys(made.wrong)[0];
    if (first) {
      document.getElementById(`set-${first}`)?.focus();
      return;
    }
    doing.run(async () => {
      try {
        const next = await changeEndpoint(e.name, made.change);
        setE(next);
        setV(read(next));
        setSaid("Saved.");
      } catch (err) {
        const at = err instanceof Failure ? blamed(err.message, err.fields.map((f) => f.location)) : undefined;
        if (at === undefined) throw err;
        setWrong({ [at]: (err as Failure).fields[0]?.message || plain((err as Failure).message) });
        // It may have been hidden until it was wrong.
        setTimeout(() => document.getElementById(`set-${at}`)?.focus());
      }
    });
  };
  const troubles = Object.keys(wrong).length;
  return (
    <>
      <div class="facts">
        <Online live={!!e.agent} agent={e.agent} />
        <code>
          <Text s={e.url} />
        </code>
        <Copy text={e.url} what="the address" />
        <span class="quiet">
          {e.kept.events > 0 && (
            <>
              <a href={`#/events?endpoint=${encodeURIComponent(e.name)}`}>{e.kept.events} events</a> ({size(e.kept.bytes)}), {e.kept.pending} waiting ·{" "}
            </>
          )}
          made <When at={e.created} none="by an agent" />
        </span>
      </div>
      <form
        class="settings"
        onSubmit={(ev) => {
          ev.preventDefault();
          save();
        }}
      >
        <SettingsForm
          v={v}
          wrong={wrong}
          defaults={defaults(e)}
          kept={kept}
          set={(id, to) => {
            setV({ ...v, [id]: to });
            setSaid("");
            const { [id]: _, ...rest } = wrong;
            setWrong(rest);
          }}
        />
        <footer class="save">
          <button type="submit" class="button main" disabled={doing.busy || made.empty}>
            {doing.busy ? "Saving…" : "Save"}
          </button>
          {!made.empty && (
            <button
              type="button"
              class="button"
              onClick={() => {
                setV(was);
                setWrong({});
                doing.clear();
              }}
            >
              Undo
            </button>
          )}
          <span role="status" class={troubles > 0 ? "wrong" : "quiet"}>
            {troubles > 0 ? `Not saved: ${troubles === 1 ? "one field is" : `${troubles} fields are`} wrong.` : said || (made.empty ? "Nothing is changed." : "")}
          </span>
        </footer>
        {doing.error && (
          <p class="problem" role="alert">
            {doing.error}
          </p>
        )}
      </form>
      <section class="card release" aria-label="Release">
        <h3>Give the name back</h3>
        <p class="quiet">It goes with its settings and all that it has kept, and others may take it. Its agent has to be stopped before.</p>
        <button type="button" class="button danger" onClick={() => setReleasing(true)}>
          Release…
        </button>
      </section>
      {releasing && (
        <Confirm
          title="Release a name"
          button="Release it"
          typed={e.name}
          onClose={() => setReleasing(false)}
          onYes={async () => {
            await releaseEndpoint(e.name);
            location.hash = "#/endpoints";
          }}
        >
          <p>
            <b>
              <Text s={e.name} />
            </b>{" "}
            and {e.kept.events === 0 ? "its settings" : `its ${e.kept.events} events`} are gone for good after this.
          </p>
        </Confirm>
      )}
    </>
  );
}

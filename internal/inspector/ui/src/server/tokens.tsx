import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { createToken, revokeToken, tokens } from "./api";
import type { Token } from "./api";
import { useDoing, useLoad } from "./load";
import { Confirm, Copy, Loaded, Nothing, Text, When } from "./parts";

const lasts: [string, string][] = [
  ["", "for ever"],
  ["24h", "a day"],
  ["720h", "30 days"],
  ["2160h", "90 days"],
  ["8760h", "a year"],
];

/** The user's tokens: list, make, revoke. */
export function Tokens({ url }: { url: string }): JSX.Element {
  const load = useLoad("tokens", tokens);
  const [fresh, setFresh] = useState<Token>();
  const [revoking, setRevoking] = useState<Token>();
  return (
    <>
      <h2>Tokens</h2>
      <p class="quiet lead">With a token an agent connects, a program calls the API, and you sign in here. Make one for each machine.</p>
      <Create
        onMade={(t) => {
          setFresh(t);
          load.again();
        }}
      />
      {fresh?.token && (
        <section class="card once" aria-label="The new token">
          <h3>
            <Text s={fresh.name} />: copy it now, it is not shown again
          </h3>
          <p class="secret">
            <code>{fresh.token}</code> <Copy text={fresh.token} what="the token" />
          </p>
          <p class="quiet">On the machine that is to use it:</p>
          <p class="secret">
            <code>relay login {url}</code> <Copy text={`relay login ${url}`} what="the command" />
          </p>
          <button type="button" class="button" onClick={() => setFresh(undefined)}>
            I have it
          </button>
        </section>
      )}
      <Loaded of={load}>
        {(list) =>
          list.length === 0 ? (
            <Nothing title="No tokens." />
          ) : (
            <div class="card scroll" tabIndex={0} role="region" aria-label="Tokens">
              <table class="grid">
                <thead>
                  <tr>
                    <th scope="col">Name</th>
                    <th scope="col">Made</th>
                    <th scope="col">Last used</th>
                    <th scope="col">Expires</th>
                    <td />
                  </tr>
                </thead>
                <tbody>
                  {list.map((t) => (
                    <tr key={t.id}>
                      <th scope="row">
                        <Text s={t.name} />
                        {t.prefix && (
                          <>
                            {" "}
                            <code class="quiet">{t.prefix}…</code>
                          </>
                        )}
                        {t.current && <span class="mark">this session</span>}
                      </th>
                      <td>
                        <When at={t.created} />
                      </td>
                      <td>
                        <When at={t.last_used} none="never" />
                        {t.last_address && (
                          <span class="quiet">
                            {" "}
                            from <Text s={t.last_address} most={60} />
                          </span>
                        )}
                      </td>
                      <td>
                        <When at={t.expires} none="never" />
                      </td>
                      <td class="num">
                        <button type="button" class="button small" aria-label={`Revoke ${t.name}`} onClick={() => setRevoking(t)}>
                          Revoke…
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {revoking && (
        <Confirm
          title="Revoke a token"
          button="Revoke"
          onClose={() => setRevoking(undefined)}
          onYes={async () => {
            await revokeToken(revoking.id);
            if (fresh?.id === revoking.id) setFresh(undefined);
            setRevoking(undefined);
            load.again();
          }}
        >
          <p>
            Revoke <b><Text s={revoking.name} /></b>? Whoever uses it is turned away from now on.
            {revoking.current && " You are signed in with it, so you will be signed out."}
          </p>
        </Confirm>
      )}
    </>
  );
}

function Create({ onMade }: { onMade: (t: Token) => void }): JSX.Element {
  const [name, setName] = useState("");
  const [lasting, setLasting] = useState("");
  const doing = useDoing();
  const [missing, setMissing] = useState(false);
  const wrong = missing ? "Give it a name, like the machine that is to use it." : doing.error;
  return (
    <form
      class="card form inline"
      aria-label="A new token"
      onSubmit={(e) => {
        e.preventDefault();
        setMissing(name.trim() === "");
        if (name.trim() === "") return;
        doing.run(async () => {
          onMade(await createToken({ name: name.trim(), ...(lasting ? { expires_in: lasting } : {}) }));
          setName("");
        });
      }}
    >
      <label class="grow">
        Name
        <input value={name} placeholder="laptop" onInput={(e) => setName(e.currentTarget.value)} aria-invalid={wrong !== ""} aria-describedby="token-error" autocomplete="off" />
      </label>
      <label>
        It is good
        <select value={lasting} onChange={(e) => setLasting(e.currentTarget.value)}>
          {lasts.map(([v, label]) => (
            <option key={v} value={v}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" class="button main" disabled={doing.busy}>
        {doing.busy ? "Making…" : "Make a token"}
      </button>
      <p id="token-error" class={wrong ? "wrong" : "sr"} role="alert">
        {wrong}
      </p>
    </form>
  );
}

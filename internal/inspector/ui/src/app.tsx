import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import * as api from "./api";
import type { Session } from "./api";
import { Requests } from "./requests";
import type { Store } from "./store";

type Dashboard = ComponentType<{ session: Session | undefined }>;

/** The page: of an agent the requests alone, of a server the dashboard, which is loaded only there. */
export function App(): JSX.Element {
  const [agent, setAgent] = useState(false);
  const [server, setServer] = useState<{ Dashboard: Dashboard; session: Session | undefined }>();
  const [error, setError] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let gone = false;
    let again = 0;
    const dashboard = async (session: Session | undefined) => {
      api.peer.name = "server";
      api.peer.hint = "Is there a network?";
      const { Dashboard } = await import("./server/dashboard");
      if (!gone) setServer({ Dashboard, session });
    };
    const look = async () => {
      try {
        const s = await api.session();
        if (s.mode === "server") await dashboard(s);
        else if (!gone) setAgent(true);
      } catch (e) {
        // Only a server asks who calls.
        if (e instanceof api.Failure && e.status === 401) return dashboard(undefined);
        throw e;
      }
    };
    look().catch((e: unknown) => {
      if (gone) return;
      setError(api.says(e));
      again = setTimeout(() => setTries((n) => n + 1), 3000);
    });
    return () => {
      gone = true;
      clearTimeout(again);
    };
  }, [tries]);
  if (server) return <server.Dashboard session={server.session} />;
  if (agent) return <Requests top={(store, help) => <Top store={store} help={help} />} />;
  return (
    <div class="nothing whole" aria-busy={!error}>
      {error ? (
        <>
          <p class="problem" role="alert">
            {error}
          </p>
          <p class="quiet">This page tries again by itself.</p>
        </>
      ) : (
        <p class="quiet">Loading…</p>
      )}
    </div>
  );
}

function Top({ store, help }: { store: Store; help: () => void }): JSX.Element {
  return (
    <header class="top">
      <h1>
        <img src="favicon.svg" alt="" width="22" height="22" /> relay <span class="quiet">inspector</span>
      </h1>
      <div class="where">
        {store.target && (
          <span>
            <span class="quiet">to</span> {store.target}
          </span>
        )}
        <Live store={store} />
      </div>
      <button type="button" class="button" onClick={help} aria-label="Help" title="Help (?)">
        ?
      </button>
    </header>
  );
}

/** Whether news come. */
export function Live({ store }: { store: Store }): JSX.Element {
  return (
    <span class={`link ${store.online ? "up" : "down"}`} role="status">
      <span aria-hidden="true">{store.online ? "●" : "○"}</span> {store.online ? "live" : "not connected"}
    </span>
  );
}

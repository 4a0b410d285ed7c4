import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { signed } from "../api";
import type { Session } from "../api";
import { Live } from "../app";
import type { Extra } from "../detail";
import { Requests } from "../requests";
import { signOut } from "./api";
import { Deliveries } from "./deliveries";
import { Domains } from "./domains";
import { EndpointPage } from "./endpoint";
import { Endpoints } from "./endpoints";
import { EventPage } from "./event";
import { Events } from "./events";
import { useDoing } from "./load";
import { Overview } from "./overview";
import { Text } from "./parts";
import { Tokens } from "./tokens";
import { Verification } from "./verification";

type User = Extract<Session, { mode: "server" }>;

const pages = [
  ["requests", "Requests"],
  ["overview", "Overview"],
  ["endpoints", "Endpoints"],
  ["events", "Events"],
  ["tokens", "Tokens"],
  ["domains", "Domains"],
] as const;

const extra: Extra[] = [
  { id: "deliveries", label: "Deliveries", has: (x) => !!x.event_id, view: (x) => <Deliveries id={x.event_id!} /> },
  { id: "verification", label: "Verification", has: (x) => !!x.event_id, view: (x) => <Verification id={x.event_id!} verified={x.verified} /> },
];

/** A place in the dashboard: "#/endpoints/hooks?status=dead" is page, name and query. */
export interface Route {
  page: string;
  name: string;
  query: URLSearchParams;
}

function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const on = () => setHash(location.hash);
    addEventListener("hashchange", on);
    return () => removeEventListener("hashchange", on);
  }, []);
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", name = ""] = path.split("/", 2);
  let decoded = name;
  try {
    decoded = decodeURIComponent(name);
  } catch {
    // A link that somebody cut off: the name as it is will not be found.
  }
  return { page: page || "requests", name: decoded, query: new URLSearchParams(query) };
}

export function Shell({ session }: { session: User }): JSX.Element {
  const route = useRoute();
  const doing = useDoing();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const title = pages.find(([p]) => p === route.page)?.[1] ?? "Not found";
  useEffect(() => {
    document.title = `${title} · relay`;
    // Who has followed a link begins to read at the new page.
    if (!first.current) main.current?.focus();
    document.querySelector("nav [aria-current]")?.scrollIntoView({ inline: "nearest", block: "nearest" });
    first.current = false;
  }, [title, route.name]);
  const head = (list?: ComponentChildren) => (
    <header class="top">
      <h1>
        <img src="favicon.svg" alt="" width="22" height="22" /> relay <span class="quiet domain">{session.domain}</span>
      </h1>
      <nav aria-label="Pages">
        {pages.map(([p, label]) => (
          <a key={p} href={`#/${p}`} aria-current={route.page === p ? "page" : undefined}>
            {label}
          </a>
        ))}
      </nav>
      <div class="who">
        {list}
        <span class="user" title={`token ${session.token}`}>
          <Text s={session.user} most={40} />
          {session.admin && <span class="quiet"> admin</span>}
        </span>
        <button type="button" class="button" disabled={doing.busy} onClick={() => doing.run(async () => (await signOut(), void signed.dispatchEvent(new Event("out"))))}>
          Sign out
        </button>
      </div>
    </header>
  );
  const failed = doing.error && (
    <p class="banner" role="alert">
      You are still signed in. {doing.error}
    </p>
  );
  if (route.page === "requests") {
    const filter = route.query.get("filter") ?? "";
    return (
      <Requests
        key={filter}
        filter={filter}
        extra={extra}
        hint="Those of endpoints that are recorded show up here as they come: of all with an inbox, and of others when their settings say so."
        top={(store, help) => (
          <>
            {head(
              <>
                <Live store={store} />
                <button type="button" class="button" onClick={help} aria-label="Help" title="Help (?)">
                  ?
                </button>
              </>,
            )}
            {failed}
          </>
        )}
      />
    );
  }
  return (
    <div class="app">
      {head()}
      {failed}
      <main class="page" ref={main} tabIndex={-1} aria-label={title}>
        <Page route={route} session={session} />
      </main>
    </div>
  );
}

function Page({ route, session }: { route: Route; session: User }): JSX.Element {
  switch (route.page) {
    case "overview":
      return <Overview admin={session.admin} />;
    case "endpoints":
      return route.name ? <EndpointPage key={route.name} name={route.name} /> : <Endpoints user={session.user} />;
    case "events":
      return route.name ? <EventPage key={route.name} id={route.name} /> : <Events query={route.query} />;
    case "tokens":
      return <Tokens url={session.url} />;
    case "domains":
      return <Domains />;
  }
  return (
    <div class="blank">
      <p>There is no such page.</p>
      <p>
        <a href="#/requests">To the requests</a>
      </p>
    </div>
  );
}

// What the API answers; see internal/inspector and docs/inspector.md.

export type State = "live" | "done" | "failed";

export interface Summary {
  id: string;
  seq: number;
  state: State;
  began: string;
  duration_ms: number;
  method: string;
  target: string;
  host: string;
  visitor: string;
  status: number;
  request_size: number;
  response_size: number;
  response_type?: string;
  replay?: boolean;
  replay_of?: string;
  /** The name that it came to, where the server has recorded it. */
  endpoint?: string;
  /** The event that an inbox made of it. */
  event_id?: string;
  /** Its signature: ok, or why not; nothing when nobody looked. */
  verified?: string;
  frames?: number;
  error?: string;
}

export interface Field {
  name: string;
  value: string;
  masked?: boolean;
}

export interface Body {
  size: number;
  truncated?: boolean;
  type?: string;
  encoding?: string;
}

export interface Frame {
  n: number;
  at_ms: number;
  from: "visitor" | "app";
  kind: string;
  size: number;
  text?: string;
  base64?: string;
  truncated?: boolean;
  compressed?: boolean;
  name?: string;
  event_id?: string;
}

export interface Exchange {
  id: string;
  request_id: string;
  seq: number;
  state: State;
  began: string;
  first_byte_ms: number;
  duration_ms: number;
  visitor: string;
  replay?: boolean;
  replay_of?: string;
  endpoint?: string;
  event_id?: string;
  verified?: string;
  error?: string;
  url: string;
  request: { method: string; target: string; host: string; scheme: string; headers: Field[]; trailers?: Field[]; body: Body };
  response?: { status: number; headers: Field[]; trailers?: Field[]; body: Body };
  frames?: Frame[];
  frames_dropped?: number;
  frames_note?: string;
}

export interface Stats {
  kept: number;
  bytes: number;
  seen: number;
  dropped: number;
}

export interface News {
  items: (Summary & { match: boolean })[];
  oldest: number;
  stats: Stats;
  target?: string;
}

export interface DiffLine {
  op: "=" | "-" | "+";
  text: string;
}

export interface Comparison {
  a: Summary;
  b: Summary;
  sections: { name: string; same: boolean; lines: DiffLine[] }[];
}

export interface Edit {
  method?: string;
  path?: string;
  headers?: Field[];
  body?: string;
  to?: string;
  sign?: boolean;
}

/** Who can get a replay. */
export interface Target {
  id: string;
  name: string;
  live: boolean; // somebody is there to answer
  signs: boolean; // a secret is known, so that it can be signed anew
}

/** What became of a replay of many. */
export interface Bulk {
  count: number;
  skipped: number;
  replayed: number;
  failed: { id: string; error: string }[];
}

/** Where the page is: beside an agent, or on a server with somebody signed in. */
export type Session =
  | { mode: "agent" }
  | { mode: "server"; user: string; admin: boolean; token: string; domain: string; url: string; expires?: string };

/** A call that failed, in a sentence for people. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0, // of the answer; 0 when there was none
    /** What is wrong with single fields, by their path in the body. */
    readonly fields: { location: string; message: string }[] = [],
    readonly retryAfter = 0, // seconds; 0 when it was not said
  ) {
    super(message);
  }
}

/** Tells "out" when the server does not know who calls any more. */
export const signed = new EventTarget();

/** Who answers: the page says so when nobody does. */
export const peer = { name: "agent", hint: "Is relay http still running?" };

export const root = "api/v1/";
const base = `${root}requests`;
export const streamURL = (filter: string) => `${base}/stream?filter=${encodeURIComponent(filter)}`;
export const exportListURL = (format: string, filter: string) => `${base}/export?format=${format}&filter=${encodeURIComponent(filter)}`;
const one = (id: string) => `${base}/${encodeURIComponent(id)}`;
const shown = (reveal: boolean) => (reveal ? "1" : "0");

export type Side = "request" | "response";
export const bodyURL = (id: string, side: Side, reveal: boolean) => `${one(id)}/${side}-body?reveal=${shown(reveal)}`;
export const exportURL = (id: string, format: string, reveal: boolean) => `${one(id)}/export?format=${format}&reveal=${shown(reveal)}`;

export async function call(url: string, init?: RequestInit): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(url, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new Failure("offline", `The ${peer.name} does not answer. ${peer.hint}`);
  }
  if (!res.ok) {
    const p = (await res.json().catch(() => ({}))) as { code?: string; detail?: string; errors?: { location?: string; message?: string }[] };
    if (res.status === 401) signed.dispatchEvent(new Event("out"));
    throw new Failure(
      p.code ?? "failed",
      p.detail ?? `The ${peer.name} answered ${res.status}.`,
      res.status,
      (p.errors ?? []).map((f) => ({ location: f.location ?? "", message: f.message ?? "" })),
      Number(res.headers.get("Retry-After")) || 0,
    );
  }
  return res;
}

/** Calls with a JSON body, if there is one, and gives the JSON of the answer. */
export async function ask<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const res = await call(url, {
    method,
    ...(body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  });
  return (res.status === 204 ? undefined : await res.json()) as T;
}

export const says = (e: unknown): string => (e instanceof Error ? e.message : String(e));

export const session = (): Promise<Session> => ask("GET", `${root}session`);

export const targets = async (): Promise<Target[]> => (await ask<{ items: Target[] }>("GET", `${root}targets`)).items;

export const bulk = (what: { ids: string[]; to?: string; sign?: boolean; dry_run?: boolean }, signal?: AbortSignal): Promise<Bulk> =>
  ask("POST", `${base}/replay`, what, signal);

export const list = (filter: string, before: string, signal: AbortSignal): Promise<{ items: Summary[]; next?: string }> =>
  ask("GET", `${base}?limit=1000&filter=${encodeURIComponent(filter)}&before=${before}`, undefined, signal);

export const show = (id: string, reveal: boolean): Promise<Exchange> => ask("GET", `${one(id)}?reveal=${shown(reveal)}`);

export interface Loaded {
  bytes: Uint8Array<ArrayBuffer>;
  truncated: boolean;
  encoded: boolean;
}

export async function body(id: string, side: Side, reveal: boolean): Promise<Loaded> {
  const res = await call(`${bodyURL(id, side, reveal)}&decode=1`);
  return {
    bytes: new Uint8Array(await res.arrayBuffer()),
    truncated: res.headers.has("Relay-Body-Truncated"),
    encoded: res.headers.has("Relay-Body-Encoded"),
  };
}

export const replay = (id: string, edit?: Edit): Promise<{ id: string; ended: boolean }> => ask("POST", `${one(id)}/replay`, edit ?? {});

export const diff = (a: string, b: string, reveal: boolean): Promise<Comparison> =>
  ask("GET", `${one(a)}/diff?with=${encodeURIComponent(b)}&reveal=${shown(reveal)}`);

export async function text(url: string): Promise<string> {
  return (await call(url)).text();
}

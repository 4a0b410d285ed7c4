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
}

/** A call that failed, in a sentence for people. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const base = "api/v1/requests";
export const streamURL = (filter: string) => `${base}/stream?filter=${encodeURIComponent(filter)}`;
export const exportListURL = (format: string, filter: string) => `${base}/export?format=${format}&filter=${encodeURIComponent(filter)}`;
const one = (id: string) => `${base}/${encodeURIComponent(id)}`;
const shown = (reveal: boolean) => (reveal ? "1" : "0");

export type Side = "request" | "response";
export const bodyURL = (id: string, side: Side, reveal: boolean) => `${one(id)}/${side}-body?reveal=${shown(reveal)}`;
export const exportURL = (id: string, format: string, reveal: boolean) => `${one(id)}/export?format=${format}&reveal=${shown(reveal)}`;

async function call(url: string, init?: RequestInit): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(url, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new Failure("offline", "The agent does not answer. Is relay http still running?");
  }
  if (!res.ok) {
    const p = (await res.json().catch(() => ({}))) as { code?: string; detail?: string };
    throw new Failure(p.code ?? "failed", p.detail ?? `The agent answered ${res.status}.`);
  }
  return res;
}

export async function list(filter: string, before: string, signal: AbortSignal): Promise<{ items: Summary[]; next?: string }> {
  const res = await call(`${base}?limit=1000&filter=${encodeURIComponent(filter)}&before=${before}`, { signal });
  return (await res.json()) as { items: Summary[]; next?: string };
}

export async function show(id: string, reveal: boolean): Promise<Exchange> {
  return (await (await call(`${one(id)}?reveal=${shown(reveal)}`)).json()) as Exchange;
}

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

export async function replay(id: string, edit?: Edit): Promise<{ id: string; ended: boolean }> {
  const res = await call(`${one(id)}/replay`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(edit ?? {}),
  });
  return (await res.json()) as { id: string; ended: boolean };
}

export async function diff(a: string, b: string, reveal: boolean): Promise<Comparison> {
  return (await (await call(`${one(a)}/diff?with=${encodeURIComponent(b)}&reveal=${shown(reveal)}`)).json()) as Comparison;
}

export async function text(url: string): Promise<string> {
  return (await call(url)).text();
}

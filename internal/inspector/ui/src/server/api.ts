// What the server's API answers; see server/api and docs/inspector.md.
import { ask, root } from "../api";

/** relay.Settings, of which this page reads and writes single fields by their paths. */
export type Settings = Record<string, unknown>;

export interface Endpoint {
  name: string;
  url: string;
  agent?: string;
  settings: Settings;
  effective: Settings;
  secrets: number;
  handshake_secret: boolean;
  verify?: string;
  kept: { events: number; pending: number; dead?: number; bytes: number };
  created?: string;
}

export interface Change {
  name?: string;
  settings?: Settings;
  secrets?: Record<string, unknown>;
}

export interface Event {
  id: string;
  endpoint: string;
  status: string;
  reason?: string;
  provider?: string;
  provider_id?: string;
  type?: string;
  again_of?: string;
  verified?: string;
  method: string;
  path: string;
  url: string;
  sender: string;
  received: string;
  size: number;
}

export interface EventDetail extends Event {
  header: Record<string, string[]> | null;
  body: string | null; // base64
  cut?: boolean;
  deliveries: Delivery[];
}

export interface Delivery {
  id: string;
  status: string;
  reason?: string;
  replay?: boolean;
  created: string;
  next?: string;
  attempts: Attempt[];
}

export interface Attempt {
  began: string;
  duration_ms: number;
  status: number;
  reason?: string;
  header?: Record<string, string[]> | null;
  body?: string | null; // base64
  cut?: boolean;
}

export interface EventFilter {
  endpoint?: string;
  ids?: string[];
  status?: string[];
  grep?: string;
  type?: string;
}

export interface Token {
  id: string;
  name: string;
  prefix?: string;
  created?: string;
  last_used?: string;
  last_address?: string;
  expires?: string;
  current?: boolean; // this page uses it
  token?: string; // once, of a new one
}

export interface DNSRecord {
  type: string;
  name: string;
  value: string;
}

export interface Domain {
  host: string;
  name: string;
  url: string;
  state: string;
  reason?: string;
  checked?: string;
  dropped?: string;
  cname?: DNSRecord[];
  txt?: DNSRecord[];
}

export interface Point {
  at: string;
  requests: number;
  errors: number;
}

export interface Certificate {
  host: string;
  state: string;
  expires?: string;
  error?: string;
}

export interface Overview {
  endpoints: {
    name: string;
    url: string;
    live: boolean;
    agent?: string;
    inbox?: string;
    record?: boolean;
    pending: number;
    dead: number;
    events: number;
  }[];
  series: Point[];
  pending: number;
  dead: number;
  recorded?: { kept: number; bytes: number; dropped: number };
  certificates: Certificate[];
}

interface List<T> {
  items: T[];
  next?: string;
}

const items = async <T>(path: string): Promise<T[]> => (await ask<List<T>>("GET", root + path)).items;
const id = encodeURIComponent;

export const signIn = (token: string): Promise<void> => ask("POST", `${root}session`, { token });
export const signOut = (): Promise<void> => ask("DELETE", `${root}session`);

export const overview = (): Promise<Overview> => ask("GET", `${root}overview`);

export const endpoints = (): Promise<Endpoint[]> => items("endpoints");
export const endpoint = (name: string): Promise<Endpoint> => ask("GET", `${root}endpoints/${id(name)}`);
export const createEndpoint = (c: Change): Promise<Endpoint> => ask("POST", `${root}endpoints`, c);
export const changeEndpoint = (name: string, c: Change): Promise<Endpoint> => ask("PATCH", `${root}endpoints/${id(name)}`, c);
export const releaseEndpoint = (name: string): Promise<void> => ask("DELETE", `${root}endpoints/${id(name)}`);

export type Verb = "replay" | "retry" | "cancel" | "purge";

export function events(f: EventFilter, after: string): Promise<List<Event>> {
  const q = new URLSearchParams({ limit: "100" });
  if (f.endpoint) q.set("endpoint", f.endpoint);
  if (f.status?.length) q.set("status", f.status.join(","));
  if (f.grep) q.set("grep", f.grep);
  if (f.type) q.set("type", f.type);
  if (after) q.set("after", after);
  return ask("GET", `${root}events?${q}`);
}
export const event = (one: string): Promise<EventDetail> => ask("GET", `${root}events/${id(one)}`);
export const eventBodyURL = (one: string): string => `${root}events/${id(one)}/body`;
export const explanation = async (one: string): Promise<string> => (await ask<{ text: string }>("GET", `${root}events/${id(one)}/explanation`)).text;
export const act = async (verb: Verb, filter: EventFilter, dry: boolean): Promise<number> =>
  (await ask<{ count: number }>("POST", `${root}events/${verb}`, { filter, ...(dry ? { dry_run: true } : {}) })).count;

export const tokens = (): Promise<Token[]> => items("tokens");
export const createToken = (t: { name: string; expires_in?: string }): Promise<Token> => ask("POST", `${root}tokens`, t);
export const revokeToken = (one: string): Promise<void> => ask("DELETE", `${root}tokens/${id(one)}`);

export const domains = (): Promise<Domain[]> => items("domains");
export const addDomain = (d: { host: string; name?: string }): Promise<Domain> => ask("POST", `${root}domains`, d);
export const verifyDomain = (host: string): Promise<Domain> => ask("POST", `${root}domains/${id(host)}/verify`);
export const removeDomain = (host: string): Promise<void> => ask("DELETE", `${root}domains/${id(host)}`);

// The settings of an endpoint as fields of a form: what relay endpoint set can say.
import type { Change, Endpoint, Settings } from "./api";
import { bytes, duration, spell, spellBytes } from "./units";

export type Values = Record<string, string>;
export type Wrong = Record<string, string>;

export interface Field {
  id: string;
  /** Where it is in the settings; not there for what has rules of its own. */
  path?: string[];
  kind: "text" | "number" | "bytes" | "time" | "times" | "lines" | "choice" | "tri" | "flag" | "json" | "secret" | "secrets";
  label: string;
  hint?: string;
  options?: [string, string][];
  suggest?: "senders" | "lists";
  /** Whether it means anything, given the others. */
  when?: (v: Values) => boolean;
}

export interface Section {
  title: string;
  fields: Field[];
}

const inbox = (v: Values) => v.inbox === "fallback" || v.inbox === "always";

export const sections: Section[] = [
  {
    title: "Inbox",
    fields: [
      {
        id: "inbox",
        path: ["inbox"],
        kind: "choice",
        label: "Who answers",
        options: [
          ["off", "the app, live; nothing is kept"],
          ["fallback", "the app if it can, else the relay, which delivers later"],
          ["always", "the relay at once; it keeps and delivers"],
        ],
      },
      { id: "path", path: ["path"], kind: "text", label: "Only below the path", hint: "The rest goes live.", when: inbox },
      { id: "answer_within", path: ["answer_within"], kind: "time", label: "The app answers within", when: (v) => v.inbox === "fallback" },
      { id: "answer_status", kind: "number", label: "Status of the answer", hint: "202 if nothing is said.", when: (v) => v.inbox === "always" },
      { id: "answer_header", kind: "lines", label: "Headers of the answer", hint: "One on each line, like Content-Type: text/plain", when: (v) => v.inbox === "always" },
      { id: "answer_body", kind: "text", label: "Body of the answer", when: (v) => v.inbox === "always" },
      { id: "in_flight", path: ["in_flight"], kind: "number", label: "Deliveries at a time", hint: "1 keeps their order strictly.", when: inbox },
      { id: "timeout", path: ["timeout"], kind: "time", label: "One try takes at most", when: inbox },
      { id: "schedule", path: ["schedule"], kind: "times", label: "Waits before the tries", hint: "The longest ones, like 0s, 5s, 1m.", when: inbox },
      { id: "dedupe", path: ["dedupe"], kind: "time", label: "No repeats within", hint: "Of the sender's own id. Nothing: every repeat is delivered.", when: inbox },
    ],
  },
  {
    title: "Signatures",
    fields: [
      { id: "provider", path: ["provider"], kind: "text", label: "Sender", hint: "Like github or stripe. Where there is no inbox it makes one, fallback.", suggest: "senders" },
      { id: "scheme", path: ["scheme"], kind: "json", label: "A scheme of its own", hint: 'For a sender that has no name here, as JSON: {"header":["X-Acme-Signature"]}.' },
      {
        id: "verify",
        path: ["verify"],
        kind: "choice",
        label: "Wrong ones",
        options: [
          ["", "are refused when there are secrets (default)"],
          ["enforce", "are refused and never delivered"],
          ["observe", "are marked and delivered"],
        ],
      },
      { id: "signing", kind: "secrets", label: "Secrets", hint: "One on each line, the newest first. They are not shown again." },
      { id: "handshake", kind: "secret", label: "Token of the handshake", hint: "Where the sender has one of its own." },
      { id: "await_secret", path: ["await_secret"], kind: "flag", label: "Take the secret that the sender tells in its handshake, once" },
      { id: "no_handshake", path: ["no_handshake"], kind: "flag", label: "Let the sender's handshake through to the app" },
      { id: "local_url", path: ["local_url"], kind: "text", label: "URL by which the app knows itself", hint: "For senders that sign the URL." },
    ],
  },
  {
    title: "Door",
    fields: [
      { id: "allow_ip", path: ["door", "allow_ip"], kind: "lines", label: "Only these addresses may come", hint: "One on each line: 203.0.113.7 or 2001:db8::/32" },
      { id: "deny_ip", path: ["door", "deny_ip"], kind: "lines", label: "These may not come" },
      { id: "allow_provider_ips", path: ["door", "allow_provider_ips"], kind: "lines", label: "What these senders publish may come", hint: "github, stripe or linear", suggest: "lists" },
      { id: "require_token", kind: "secrets", label: "A token is needed", hint: "One on each line: header:NAME=TOKEN, query:NAME=TOKEN or bearer:TOKEN. They are not shown again." },
      { id: "strip", path: ["door", "strip"], kind: "flag", label: "Take the token out before the app sees the request" },
      { id: "rate", path: ["door", "rate"], kind: "text", label: "Requests in a time", hint: "Like 10/s or 600/m." },
      { id: "burst", path: ["door", "burst"], kind: "number", label: "How many of them at once" },
      { id: "max_body", path: ["door", "max_body"], kind: "bytes", label: "Largest body", hint: "Like 5 MiB. Larger ones get 413." },
    ],
  },
  {
    title: "What is kept",
    fields: [
      {
        id: "record",
        path: ["record"],
        kind: "tri",
        label: "Record requests and answers",
        options: [
          ["", "where there is an inbox (default)"],
          ["true", "yes"],
          ["false", "no"],
        ],
      },
      { id: "keep_age", path: ["keep", "age"], kind: "time", label: "Events are kept for", when: inbox },
      { id: "keep_count", path: ["keep", "count"], kind: "number", label: "Events at most", when: inbox },
      { id: "keep_bytes", path: ["keep", "bytes"], kind: "bytes", label: "Bytes at most", when: inbox },
    ],
  },
];

export const fields: Field[] = sections.flatMap((s) => s.fields);

interface Answer {
  status?: number;
  header?: Record<string, string[] | null>;
  body?: string;
}

function at(s: Settings, path: string[]): unknown {
  return path.reduce<unknown>((v, key) => (v as Record<string, unknown> | undefined)?.[key], s);
}

/** A value as text. */
function text(f: Field, v: unknown): string {
  if (v === undefined || v === null || v === "" || v === 0 || (Array.isArray(v) && v.length === 0)) return "";
  switch (f.kind) {
    case "time":
      return v === "0s" ? "" : spell(String(v));
    case "times":
      return (v as string[]).map(spell).join(", ");
    case "bytes":
      return spellBytes(Number(v));
    case "lines":
      return (v as string[]).join("\n");
    case "json":
      return JSON.stringify(v, null, 2);
    case "flag":
      return v ? "true" : "";
    default:
      return String(v);
  }
}

/** What an endpoint says, as the form shows it. What it does not say is "". */
export function read(e: Endpoint): Values {
  const v: Values = {};
  for (const f of fields) v[f.id] = f.path ? text(f, at(e.settings, f.path)) : "";
  v.inbox ||= "off";
  // One field for two settings, as on the command line.
  v.max_body ||= text({ kind: "bytes" } as Field, e.settings.max_body);
  const a = (e.settings.answer ?? {}) as Answer;
  v.answer_status = a.status ? String(a.status) : "";
  v.answer_header = Object.entries(a.header ?? {})
    .flatMap(([name, values]) => (values ?? []).map((one) => `${name}: ${one}`))
    .join("\n");
  v.answer_body = a.body ?? "";
  return v;
}

/** What holds where nothing is said, for the placeholders. */
export function defaults(e: Endpoint): Values {
  const v: Values = {};
  for (const f of fields) v[f.id] = f.path ? text(f, at(e.effective, f.path)) : "";
  return v;
}

const lines = (s: string) => s.split(/[\n]/).map((l) => l.trim()).filter((l) => l !== "");

/** A text as a value, or a sentence that says what is wrong with it. "" is the zero value: the default. */
function value(f: Field, s: string): { ok: unknown } | { wrong: string } {
  const t = s.trim();
  switch (f.kind) {
    case "number":
      if (t === "") return { ok: 0 };
      return /^\d+$/.test(t) ? { ok: Number(t) } : { wrong: "Write a number." };
    case "bytes": {
      if (t === "") return { ok: 0 };
      const n = bytes(t);
      return n === undefined ? { wrong: "Write a size like 5 MiB or 1000000." } : { ok: n };
    }
    case "time": {
      if (t === "") return { ok: "0s" };
      const d = duration(t);
      return d === undefined ? { wrong: "Write a time like 30s, 2h or 7d." } : { ok: d };
    }
    case "times": {
      const all = t === "" ? [] : t.split(/[,\s]+/).map(duration);
      return all.includes(undefined) ? { wrong: "Write times like 0s, 5s, 1m." } : { ok: all };
    }
    case "lines":
      return { ok: lines(s).flatMap((l) => l.split(",").map((p) => p.trim()).filter((p) => p !== "")) };
    case "flag":
      return { ok: t === "true" };
    case "tri":
      return { ok: t === "" ? null : t === "true" };
    case "json":
      if (t === "") return { ok: null };
      try {
        return { ok: JSON.parse(t) };
      } catch (e) {
        return { wrong: `This is no JSON: ${(e as Error).message}` };
      }
    default:
      return { ok: t };
  }
}

function put(into: Settings, path: string[], v: unknown): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) into[key] = v;
  else put((into[key] ??= {}) as Settings, rest, v);
}

/** The tokens of a door by their places, of what somebody typed. */
export function doorTokens(s: string): { tokens: Record<string, string[]>; wrong?: string } {
  const tokens: Record<string, string[]> = {};
  for (const line of lines(s)) {
    const m = /^(bearer):(.+)$/.exec(line) ?? /^((?:header|query):[^=]+)=(.+)$/.exec(line);
    if (!m) return { tokens, wrong: "Write header:NAME=TOKEN, query:NAME=TOKEN or bearer:TOKEN." };
    (tokens[m[1]!] ??= []).push(m[2]!);
  }
  return { tokens };
}

function answer(v: Values, was: Values, wrong: Wrong): Answer | null {
  const out: Answer = { status: 0, body: v.answer_body ?? "" };
  const status = v.answer_status!.trim();
  if (status !== "" && !/^[2-5]\d\d$/.test(status)) wrong.answer_status = "Write a status from 200 to 599.";
  else out.status = Number(status);
  const header: Record<string, string[] | null> = {};
  // What is not mentioned stays: what is gone has to be said.
  for (const l of lines(was.answer_header!)) header[l.slice(0, l.indexOf(":")).trim()] = null;
  for (const l of lines(v.answer_header!)) {
    const colon = l.indexOf(":");
    if (colon <= 0) {
      wrong.answer_header = `This has no colon: ${l}`;
      continue;
    }
    const name = l.slice(0, colon).trim();
    header[name] = [...(header[name] ?? []), l.slice(colon + 1).trim()];
  }
  if (Object.keys(header).length > 0) out.header = header;
  const nothing = status === "" && v.answer_body === "" && lines(v.answer_header!).length === 0;
  return nothing ? null : out;
}

/** Forgetting what is kept and not shown is said by this in the place of new values. */
export const forget = "\u0000forget";

/** The change from one state of the form to another, or what is wrong in it. */
export function change(was: Values, v: Values, places: string[]): { change: Change; wrong: Wrong; empty: boolean } {
  const wrong: Wrong = {};
  const settings: Settings = {};
  const secrets: Record<string, unknown> = {};
  for (const f of fields) {
    if (!f.path || v[f.id] === was[f.id]) continue;
    const got = value(f, v[f.id]!);
    if ("wrong" in got) wrong[f.id] = got.wrong;
    else put(settings, f.path, got.ok);
  }
  if (v.path?.trim() && !v.path.trim().startsWith("/")) wrong.path = "A path begins with a slash.";
  if (v.max_body !== was.max_body && !wrong.max_body) put(settings, ["max_body"], at(settings, ["door", "max_body"]));
  if (["answer_status", "answer_header", "answer_body"].some((id) => v[id] !== was[id])) settings.answer = answer(v, was, wrong);
  if (v.signing === forget) secrets.signing = [];
  else if (lines(v.signing!).length > 0) secrets.signing = lines(v.signing!);
  if (v.handshake === forget) secrets.handshake = "";
  else if (v.handshake!.trim() !== "") secrets.handshake = v.handshake!.trim();
  const gone = Object.fromEntries(places.map((p) => [p, null]));
  if (v.require_token === forget) {
    secrets.door = gone;
    put(settings, ["door", "require_token"], []);
  } else if (lines(v.require_token!).length > 0) {
    const d = doorTokens(v.require_token!);
    if (d.wrong) wrong.require_token = d.wrong;
    secrets.door = { ...gone, ...d.tokens };
    put(settings, ["door", "require_token"], Object.keys(d.tokens));
  }
  const out: Change = {};
  if (Object.keys(settings).length > 0) out.settings = settings;
  if (Object.keys(secrets).length > 0) out.secrets = secrets;
  return { change: out, wrong, empty: Object.keys(out).length === 0 };
}

/** A sentence of the server without what kind of mistake it is about: the field tells that. */
export function plain(sentence: string): string {
  const s = sentence.replace(/^invalid (?:(?:settings|secrets|door): )?/i, "");
  return s.charAt(0).toUpperCase() + s.slice(1);
}

/** The field that the server's sentence or a path in the body is about, if one is. */
export function blamed(sentence: string, locations: string[]): string | undefined {
  for (const l of locations) {
    const f = fields.find((one) => l.endsWith(`settings.${(one.path ?? [one.id]).join(".")}`));
    if (f) return f.id;
  }
  const s = plain(sentence).toLowerCase();
  const known: [RegExp, string][] = [
    [/^(scheme|read the scheme)/, "scheme"],
    [/^verify mode/, "verify"],
    [/provider|sender of this name|is no sender/, "provider"],
    [/secret/, "signing"],
    [/^the answer cannot have the header/, "answer_header"],
    [/^the answer's status/, "answer_status"],
    [/require_token|token/, "require_token"],
    [/^the schedule/, "schedule"],
  ];
  const named = fields.find((f) => f.path && s.startsWith(f.path.at(-1)!));
  return named?.id ?? known.find(([what]) => what.test(s))?.[1];
}

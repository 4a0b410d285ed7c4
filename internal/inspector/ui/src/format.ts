export function size(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(1)} GB`;
}

export function duration(ms: number): string {
  if (ms <= 0) return "–";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 10_000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

export function age(began: string, now: number): string {
  const s = Math.max(0, Math.floor((now - Date.parse(began)) / 1000));
  if (s < 2) return "now";
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86_400)}d`;
}

export function moment(began: string): string {
  const t = new Date(began);
  return `${t.toLocaleDateString()} ${t.toLocaleTimeString()}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

export type Tone = "ok" | "redirect" | "client" | "server" | "none" | "live" | "info";

/** A status is told by number, shape and colour. */
export function tone(x: { status: number; state: string; error?: string }): Tone {
  if (x.status === 0) return x.state === "live" ? "live" : "none";
  if (x.status >= 500) return "server";
  if (x.status >= 400) return "client";
  if (x.status >= 300) return "redirect";
  if (x.status >= 200) return x.state === "failed" ? "none" : "ok";
  return "info";
}

export const shapes: Record<Tone, string> = {
  ok: "●",
  redirect: "◆",
  client: "▲",
  server: "■",
  none: "✕",
  live: "○",
  info: "⇄",
};

/** Control characters and direction marks, made visible. */
export function visible(s: string): string {
  return s.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => {
    const n = c.charCodeAt(0);
    return n < 0x20 ? String.fromCharCode(0x2400 + n) : `\\u${n.toString(16).padStart(4, "0")}`;
  });
}

/** What was found of a signature, in words. */
export function signature(verified: string): string {
  return verified === "ok" ? "right" : verified.replaceAll("_", " ");
}

// How people write times and sizes, and how the API does. Each reader gives
// undefined for what it does not understand.

const seconds: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86_400 };

/** "7d" or "1h30m" as the API takes it, which knows no days. */
export function duration(text: string): string | undefined {
  const s = text.trim().replaceAll(" ", "");
  if (s === "0") return "0s";
  const parts = [...s.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== s) return undefined;
  return parts.map(([whole, n, unit]) => (unit === "d" ? `${(Number(n) * seconds.d!) / seconds.h!}h` : whole)).join("");
}

/** "168h0m0s" as people write it: "7d". */
export function spell(d: string): string {
  const short = d.replace(/(\d[hm])0s$/, "$1").replace(/(\dh)0m$/, "$1");
  const h = /^(\d+)h$/.exec(short);
  return h && Number(h[1]) >= 48 && Number(h[1]) % 24 === 0 ? `${Number(h[1]) / 24}d` : short;
}

const sizes: [string, number][] = [
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
];

/** "25 MiB" or "1000000" as a number of bytes. */
export function bytes(text: string): number | undefined {
  const m = /^(\d+(?:\.\d+)?)\s*(b|kb|mb|gb|kib|mib|gib|k|m|g)?$/i.exec(text.trim());
  if (!m) return undefined;
  const unit = (m[2] ?? "").toLowerCase();
  const base = unit.includes("i") ? 1024 : 1000;
  return Math.round(Number(m[1]) * base ** " kmg".indexOf(unit[0] === "b" || unit === "" ? " " : unit[0]!));
}

/** A number of bytes as people write it, exactly. */
export function spellBytes(n: number): string {
  for (const [unit, one] of sizes) if (n >= one && n % one === 0) return `${n / one} ${unit}`;
  return String(n);
}

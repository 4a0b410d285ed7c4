import type { Field } from "../api";

/** The bytes of base64 as the API writes them. */
export function bytesOf(base64: string | null | undefined): Uint8Array<ArrayBuffer> {
  const text = atob(base64 ?? "");
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

// The same that internal/capture masks, which does not see these.
const secret = /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-gitlab-token|x-telegram-bot-api-secret-token)$/i;

/** Fields of a header, one for each value; secrets are masked unless they are to be shown. */
export function fieldsOf(header: Record<string, string[]> | null | undefined, reveal = false): Field[] {
  return Object.entries(header ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, values]) => values.map((value) => (secret.test(name) && !reveal ? { name, value: "••••••••", masked: true } : { name, value })));
}

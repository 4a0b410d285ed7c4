import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { body, bodyURL } from "./api";
import type { Body as BodyInfo, Loaded, Side } from "./api";
import { size, visible } from "./format";
import { parse } from "./json";
import { Tree } from "./tree";
import { Virtual } from "./virtual";

interface Props {
  id: string;
  side: Side;
  info: BodyInfo;
  live: boolean;
  reveal: boolean;
  say: (text: string) => void;
}

export function BodyView(p: Props): JSX.Element {
  const [got, setGot] = useState<Loaded>();
  const [error, setError] = useState("");
  useEffect(() => {
    let gone = false;
    setError("");
    if (p.info.size === 0) {
      setGot(undefined);
      return;
    }
    body(p.id, p.side, p.reveal).then(
      (b) => !gone && setGot(b),
      (e: unknown) => !gone && setError(e instanceof Error ? e.message : String(e)),
    );
    return () => {
      gone = true;
    };
    // A live body grows: it is loaded again with each size that is told.
  }, [p.id, p.side, p.reveal, p.info.size]);
  if (p.info.size === 0) return <p class="quiet">{p.live ? "Nothing yet." : "No body."}</p>;
  if (error) return <p class="problem">{error}</p>;
  if (!got) return <p class="quiet">Loading…</p>;
  return (
    <BytesView
      bytes={got.bytes}
      info={p.info}
      truncated={got.truncated}
      encoded={got.encoded}
      save={{ url: bodyURL(p.id, p.side, p.reveal), name: `${p.id}-${p.side}-body.bin` }}
      say={p.say}
    />
  );
}

type Mode = "pretty" | "text" | "hex";

interface Shown {
  bytes: Uint8Array<ArrayBuffer>;
  info: BodyInfo;
  truncated: boolean;
  encoded: boolean; // it still has its Content-Encoding
  save?: { url: string; name: string };
  say: (text: string) => void;
}

/** Bytes as what they are: JSON, a form, a picture, text, or just bytes. */
export function BytesView(p: Shown): JSX.Element {
  const { bytes } = p;
  const text = useMemo(() => decode(bytes), [bytes]);
  const kind = useMemo(() => kindOf(p.info.type ?? "", bytes, text), [bytes, text, p.info.type]);
  const [wanted, setMode] = useState<Mode>();
  const mode: Mode = wanted ?? (kind.name !== "none" ? "pretty" : text === undefined ? "hex" : "text");
  const modes: [Mode, string, boolean][] = [
    ["pretty", kind.label, kind.name !== "none"],
    ["text", "Text", text !== undefined],
    ["hex", "Hex", true],
  ];
  return (
    <div class="body">
      <div class="bar">
        <div class="segments" role="group" aria-label="Show the body as">
          {modes.map(
            ([m, label, has]) =>
              has && (
                <button key={m} type="button" aria-pressed={mode === m} onClick={() => setMode(m)}>
                  {label}
                </button>
              ),
          )}
        </div>
        <span class="quiet">
          {size(p.info.size)}
          {p.info.type ? ` · ${visible(p.info.type.slice(0, 80))}` : ""}
          {p.info.encoding ? ` · ${visible(p.info.encoding.slice(0, 40))}` : ""}
        </span>
        {p.save && (
          <a class="button" href={p.save.url} download={p.save.name}>
            Save raw
          </a>
        )}
      </div>
      {p.truncated && <p class="note">Only the beginning of this body is here.</p>}
      {p.encoded && <p class="note">This encoding is not known here, or the data is not what it says: these are the bytes as they came.</p>}
      {mode === "pretty" && kind.name === "json" && <Tree root={kind.node} say={p.say} />}
      {mode === "pretty" && kind.name === "form" && <Form pairs={kind.pairs} />}
      {mode === "pretty" && kind.name === "image" && <Picture bytes={bytes} type={kind.type} />}
      {mode === "text" && <Text text={text ?? ""} />}
      {mode === "hex" && <Hex bytes={bytes} />}
    </div>
  );
}

type Kind =
  | { name: "json"; label: string; node: NonNullable<ReturnType<typeof parse>> }
  | { name: "form"; label: string; pairs: [string, string][] }
  | { name: "image"; label: string; type: string }
  | { name: "none"; label: string };

/** What the bytes are, whatever they say they are: only a hint is taken from that. */
function kindOf(type: string, bytes: Uint8Array, text: string | undefined): Kind {
  const image = imageType(bytes);
  if (image) return { name: "image", label: "Image", type: image };
  if (text !== undefined && (/json/i.test(type) || /^\s*[{[]/.test(text))) {
    const node = parse(text);
    if (node) return { name: "json", label: "JSON", node };
  }
  if (text !== undefined && /^application\/x-www-form-urlencoded/i.test(type)) {
    return { name: "form", label: "Form", pairs: [...new URLSearchParams(text.slice(0, 1 << 20))].slice(0, 2000) };
  }
  return { name: "none", label: "" };
}

/** Pictures that are only pixels, by their first bytes; never SVG, which is a document. */
function imageType(b: Uint8Array): string | undefined {
  const is = (at: number, ...want: number[]) => want.every((w, i) => b[at + i] === w);
  if (is(0, 0x89, 0x50, 0x4e, 0x47)) return "image/png";
  if (is(0, 0xff, 0xd8, 0xff)) return "image/jpeg";
  if (is(0, 0x47, 0x49, 0x46, 0x38)) return "image/gif";
  if (is(0, 0x52, 0x49, 0x46, 0x46) && is(8, 0x57, 0x45, 0x42, 0x50)) return "image/webp";
  return undefined;
}

function decode(bytes: Uint8Array): string | undefined {
  if (bytes.subarray(0, 8192).includes(0)) return undefined;
  try {
    // The last character of what was cut off may be incomplete.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return undefined;
  }
}

function Form({ pairs }: { pairs: [string, string][] }): JSX.Element {
  return (
    <table class="fields">
      <tbody>
        {pairs.map(([k, v], i) => (
          <tr key={i}>
            <th scope="row">{visible(k)}</th>
            <td>{visible(v)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Picture({ bytes, type }: { bytes: Uint8Array<ArrayBuffer>; type: string }): JSX.Element {
  const [url, setURL] = useState("");
  const [why, setWhy] = useState("");
  useEffect(() => {
    const u = URL.createObjectURL(new Blob([bytes], { type }));
    setURL(u);
    setWhy("");
    return () => URL.revokeObjectURL(u);
  }, [bytes, type]);
  if (why) return <p class="problem">{why}</p>;
  return (
    <figure class="picture">
      {url && <img src={url} alt="The body as a picture" onError={() => setWhy("This picture cannot be shown: it is damaged or incomplete.")} />}
    </figure>
  );
}

const piece = 64 << 10;

function Text({ text }: { text: string }): JSX.Element {
  const [pieces, setPieces] = useState(1);
  const shown = text.slice(0, pieces * piece);
  return (
    <>
      <pre class="text" tabIndex={0} aria-label="Body as text">
        {visible(shown)}
      </pre>
      {shown.length < text.length && (
        <button type="button" class="button" onClick={() => setPieces(pieces + 4)}>
          Show more ({size(text.length - shown.length)} left)
        </button>
      )}
    </>
  );
}

function Hex({ bytes }: { bytes: Uint8Array }): JSX.Element {
  return (
    <Virtual
      class="hex"
      count={Math.ceil(bytes.length / 16)}
      height={20}
      attrs={{ tabIndex: 0, role: "region", "aria-label": "Body as bytes" }}
      row={(i) => {
        const line = bytes.subarray(i * 16, i * 16 + 16);
        const hex = Array.from(line, (b) => b.toString(16).padStart(2, "0"));
        return (
          <div class="hexrow" key={i}>
            <span class="off">{(i * 16).toString(16).padStart(8, "0")}</span>
            <span>{`${hex.slice(0, 8).join(" ")}  ${hex.slice(8).join(" ")}`.padEnd(48)}</span>
            <span class="ascii">{Array.from(line, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "·")).join("")}</span>
          </div>
        );
      }}
    />
  );
}

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { diff } from "./api";
import type { Comparison, DiffLine, Summary } from "./api";
import { Dialog } from "./dialog";
import { moment, visible } from "./format";
import { Status } from "./list";

const names: Record<string, string> = {
  request: "Request",
  "request-headers": "Request headers",
  "request-body": "Request body",
  response: "Response",
  "response-headers": "Response headers",
  "response-body": "Response body",
};

/** How two exchanges differ, a then b. */
export function DiffDialog(p: { a: string; b: string; reveal: boolean; onClose: () => void }): JSX.Element {
  const [got, setGot] = useState<Comparison>();
  const [error, setError] = useState("");
  useEffect(() => {
    diff(p.a, p.b, p.reveal).then(setGot, (e: unknown) => setError(e instanceof Error ? e.message : String(e)));
  }, [p.a, p.b, p.reveal]);
  return (
    <Dialog title="Diff" wide onClose={p.onClose}>
      {error && <p class="problem">{error}</p>}
      {!got && !error && <p class="quiet">Comparing…</p>}
      {got && (
        <div class="diff" tabIndex={0} role="region" aria-label="Differences">
          <p class="sides">
            <Side name="A" x={got.a} /> <Side name="B" x={got.b} />
          </p>
          {got.sections.every((s) => s.same) && <p class="note">They are the same.</p>}
          {got.sections.map((s) =>
            s.same ? (
              <p key={s.name} class="same">
                {names[s.name] ?? s.name}: {s.lines.length === 0 ? "none" : "the same"}
              </p>
            ) : (
              <div key={s.name}>
                <h3>{names[s.name] ?? s.name}</h3>
                <Lines lines={s.lines} />
              </div>
            ),
          )}
        </div>
      )}
    </Dialog>
  );
}

function Side({ name, x }: { name: string; x: Summary }): JSX.Element {
  return (
    <span>
      <b>{name}</b> <Status x={x} /> {visible(x.method)} <bdi>{visible(x.target.slice(0, 200))}</bdi> <span class="quiet">{moment(x.began)}</span>
    </span>
  );
}

const around = 3; // lines that are the same are shown beside those that are not
const most = 3000; // lines are shown of one section

function Lines({ lines }: { lines: DiffLine[] }): JSX.Element {
  const near = lines.map(() => false);
  lines.forEach((l, i) => {
    if (l.op !== "=") for (let j = Math.max(0, i - around); j <= Math.min(lines.length - 1, i + around); j++) near[j] = true;
  });
  const out: JSX.Element[] = [];
  let hidden = 0;
  const gap = () => {
    if (hidden > 0) out.push(<div class="gap" key={`g${out.length}`}>{`${hidden} lines the same`}</div>);
    hidden = 0;
  };
  for (let i = 0; i < lines.length && out.length < most; i++) {
    const l = lines[i]!;
    if (!near[i]) {
      hidden++;
      continue;
    }
    gap();
    out.push(
      <div class={`d ${l.op === "+" ? "in" : l.op === "-" ? "out" : ""}`} key={i}>
        <span class="op">{l.op === "=" ? " " : l.op}</span>
        {visible(l.text)}
      </div>,
    );
  }
  gap();
  if (out.length >= most) out.push(<div class="gap" key="end">The rest is not shown.</div>);
  return <div class="lines">{out}</div>;
}

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { visible } from "./format";
import { isOpen, rows } from "./json";
import type { Node, Row } from "./json";
import { Virtual } from "./virtual";

/** A JSON document as a tree; its rows are only there in sight. */
export function Tree({ root, say }: { root: Node; say: (text: string) => void }): JSX.Element {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const shown = useMemo(() => rows(root, toggled), [root, toggled]);
  const toggle = (path: string) => {
    const next = new Set(toggled);
    if (!next.delete(path)) next.add(path);
    setToggled(next);
  };
  const copy = (text: string, what: string) =>
    navigator.clipboard.writeText(text).then(
      () => say(`Copied the ${what}.`),
      () => say("The browser does not let this page copy."),
    );
  return (
    <Virtual
      class="tree"
      count={shown.length}
      height={22}
      attrs={{ tabIndex: 0, role: "region", "aria-label": "Body as JSON" }}
      row={(i) => {
        const r = shown[i]!;
        const open = r.size > 0 && isOpen(r, toggled);
        return (
          <div class="node" key={r.end ? `${r.path}/` : r.path} style={{ paddingLeft: `${Math.min(r.depth, 30) * 16}px` }}>
            {r.size > 0 && !r.end ? (
              <button type="button" class="twist" aria-expanded={open} aria-label={`${r.path || "document"}`} onClick={() => toggle(r.path)}>
                {open ? "▾" : "▸"}
              </button>
            ) : (
              <span class="twist" />
            )}
            {r.key !== undefined && !r.end && (
              <>
                <span class="key">{visible(r.key.slice(0, 200))}</span>
                <span class="punct">: </span>
              </>
            )}
            <Value r={r} open={open} />
            {!r.end && r.path !== "" && (
              <span class="tools">
                <button type="button" onClick={() => void copy(r.path, "path")}>
                  path
                </button>
                {r.size < 0 && (
                  <button type="button" onClick={() => void copy(plain(r.node), "value")}>
                    value
                  </button>
                )}
              </span>
            )}
          </div>
        );
      }}
    />
  );
}

function plain(n: Node): string {
  return n.kind === "string" ? n.value : n.kind === "other" ? n.raw : "";
}

function Value({ r, open }: { r: Row; open: boolean }): JSX.Element {
  const [left, right] = r.node.kind === "object" ? "{}" : "[]";
  if (r.end) return <span class="punct">{right}</span>;
  switch (r.node.kind) {
    case "string": {
      const s = r.node.value;
      return (
        <span class="string">
          {visible(JSON.stringify(s.slice(0, 400)))}
          {s.length > 400 ? "…" : ""}
        </span>
      );
    }
    case "other":
      return <span class={/^[tfn]/.test(r.node.raw) ? "word" : "number"}>{r.node.raw.slice(0, 400)}</span>;
    default:
      return (
        <span class="punct">
          {open ? left : `${left}${r.size > 0 ? " … " : ""}${right}`}
          {!open && r.size > 0 && <span class="count"> {r.size}</span>}
        </span>
      );
  }
}

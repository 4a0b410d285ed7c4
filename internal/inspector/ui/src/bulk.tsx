import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "./api";
import type { Bulk } from "./api";
import { Dialog } from "./dialog";
import { visible } from "./format";
import { chosen, TargetFields, useTarget } from "./target";

/** After so many refusals at the very beginning the others are not tried: they would get the same answer. */
const enough = 3;

/** Sends many again: asks first, then shows how far it is. ids are in the order in which they came. */
export function BulkDialog(p: { ids: string[]; more: boolean; filter: string; onClose: () => void }): JSX.Element {
  const c = useTarget();
  const [dry, setDry] = useState<Bulk>();
  const [error, setError] = useState("");
  const [sent, setSent] = useState(-1); // of ids; -1 before it has begun
  const [result, setResult] = useState<Bulk>();
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  useEffect(() => {
    let gone = false;
    setError("");
    api.bulk({ ids: p.ids, ...chosen(c), dry_run: true }).then(
      (b) => !gone && setDry(b),
      (e: unknown) => !gone && (setDry(undefined), setError(api.says(e))),
    );
    return () => {
      gone = true;
    };
  }, [c.to, c.sign]);
  const go = async () => {
    const total: Bulk = { count: 0, skipped: 0, replayed: 0, failed: [] };
    setError("");
    setSent(0);
    // One in each call: the bar moves, a stop comes soon, and one that is refused
    // or gone does not keep the others.
    for (const [i, id] of p.ids.entries()) {
      try {
        const b = await api.bulk({ ids: [id], ...chosen(c) }, stop.current.signal);
        total.skipped += b.skipped;
        total.replayed += b.replayed;
        total.failed.push(...b.failed);
      } catch (e) {
        if (stop.current.signal.aborted) break;
        if (!(e instanceof api.Failure) || e.status < 400 || e.status === 401 || e.status === 429) {
          setError(api.says(e));
          break;
        }
        total.failed.push({ id, error: e.message });
        if (total.replayed === 0 && total.failed.length === enough && i + 1 < p.ids.length) {
          setError("The others were not tried: they would get the same answer.");
          break;
        }
      }
      setSent(i + 1);
      if (stop.current.signal.aborted) break;
    }
    setResult(total);
  };
  const n = dry ? dry.count - dry.skipped : 0;
  const running = sent >= 0 && !result;
  const stopped = result && sent < p.ids.length;
  return (
    <Dialog title="Replay all of the list" onClose={p.onClose}>
      <div class="edit">
        {sent < 0 && (
          <>
            <TargetFields c={c} same="whoever has had each of them" />
            {p.more && <p class="note">The list has more: these are the newest {p.ids.length}.</p>}
            {!dry && !error && <p class="quiet">Counting…</p>}
            {dry && (
              <p role="status">
                Replay {requests(n)}
                {c.name ? (
                  <>
                    {" "}
                    to <bdi>{visible(c.name.slice(0, 200))}</bdi>
                  </>
                ) : (
                  ""
                )}
                ? {dry.skipped > 0 && `${dry.skipped} cannot be sent again: they are not over, or only the beginning of their bodies was kept.`}
              </p>
            )}
            {dry && p.filter.trim() === "" && <p class="note">There is no filter: it is all that the list has.</p>}
          </>
        )}
        {sent >= 0 && (
          <>
            <progress value={sent} max={p.ids.length} aria-label="Sent" />
            <p role="status">
              {running
                ? `${sent} of ${p.ids.length}…`
                : `${stopped ? "Stopped. " : ""}${requests(result?.replayed ?? 0)} sent again.${result && result.skipped > 0 ? ` ${result.skipped} could not be.` : ""}${
                    result && result.failed.length > 0 ? ` ${result.failed.length} failed.` : ""
                  }`}
            </p>
          </>
        )}
        {result && result.failed.length > 0 && (
          <ul class="failed">
            {result.failed.slice(0, 50).map((f) => (
              <li key={f.id}>
                <code>{visible(f.id)}</code> {visible(f.error.slice(0, 500))}
              </li>
            ))}
            {result.failed.length > 50 && <li class="quiet">and {result.failed.length - 50} more</li>}
          </ul>
        )}
        {error && (
          <p class="problem" role="alert">
            {error}
          </p>
        )}
        <footer>
          <span class="quiet">{sent < 0 ? "One after the other, in the order in which they came." : ""}</span>
          {sent < 0 && (
            <button type="button" class="button main" disabled={n === 0} onClick={() => void go()}>
              Replay {n > 0 ? requests(n) : ""}
            </button>
          )}
          {running && (
            <button type="button" class="button" onClick={() => stop.current.abort()}>
              Stop
            </button>
          )}
        </footer>
      </div>
    </Dialog>
  );
}

const requests = (n: number): string => `${n} ${n === 1 ? "request" : "requests"}`;

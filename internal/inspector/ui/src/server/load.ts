import { useEffect, useRef, useState } from "preact/hooks";
import { says } from "../api";

export interface Loading<T> {
  got: T | undefined;
  error: string;
  again: () => void;
}

/**
 * Loads whenever key changes, and every so many milliseconds while the page is in
 * sight. What was loaded stays while more of the same key comes, and when that fails.
 */
export function useLoad<T>(key: string, load: () => Promise<T>, every = 0): Loading<T> {
  const [state, setState] = useState<{ key: string; got: T | undefined; error: string }>({ key, got: undefined, error: "" });
  const [tries, setTries] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const once = () => {
      if (document.hidden && every > 0) {
        timer = setTimeout(once, every);
        return;
      }
      latest
        .current()
        .then(
          (got) => !gone && setState({ key, got, error: "" }),
          (e: unknown) => !gone && setState((was) => ({ key, got: was.key === key ? was.got : undefined, error: says(e) })),
        )
        .finally(() => {
          if (!gone && every > 0) timer = setTimeout(once, every);
        });
    };
    once();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [key, tries, every]);
  const mine = state.key === key;
  return { got: mine ? state.got : undefined, error: mine ? state.error : "", again: () => setTries((n) => n + 1) };
}

/** One thing that is done at a time: whether it is under way, and why it failed. */
export function useDoing(): { busy: boolean; error: string; failure: unknown; run: (f: () => Promise<void>) => void; clear: () => void } {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const run = (f: () => Promise<void>) => {
    if (busy) return;
    setBusy(true);
    setFailure(undefined);
    f().then(
      () => setBusy(false),
      (e: unknown) => {
        setFailure(e);
        setBusy(false);
      },
    );
  };
  return { busy, error: failure === undefined ? "" : says(failure), failure, run, clear: () => setFailure(undefined) };
}

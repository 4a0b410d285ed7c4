import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { says, targets } from "./api";
import type { Target } from "./api";
import { visible } from "./format";

/** Where a replay goes, and whether it is signed anew. */
export interface Choice {
  to: string; // the id of a target; "" is who has had it
  sign: boolean;
}

export interface Choosing extends Choice {
  list: Target[] | undefined; // until they are loaded
  error: string;
  signs: boolean; // it can be signed anew
  name: string; // of the target, for people
  set: (c: Partial<Choice>) => void;
}

/** Loads the targets and keeps what is chosen. had is the endpoint that has had it, if that is known. */
export function useTarget(had?: string): Choosing {
  const [list, setList] = useState<Target[]>();
  const [error, setError] = useState("");
  const [choice, setChoice] = useState<Choice>({ to: "", sign: false });
  useEffect(() => {
    targets().then(setList, (e: unknown) => setError(says(e)));
  }, []);
  const all = list ?? [];
  const chosen = choice.to !== "" ? all.filter((t) => t.id === choice.to) : all.length === 1 ? all : all.filter((t) => t.id === had || t.name === had);
  // Of who has had it nothing may be known here: then it may sign if anybody can.
  const signs = (chosen.length > 0 ? chosen : choice.to === "" ? all : []).some((t) => t.signs);
  return {
    ...choice,
    sign: choice.sign && signs,
    list,
    error,
    signs,
    name: choice.to === "" ? "" : (chosen[0]?.name ?? choice.to),
    set: (c) => setChoice((was) => ({ ...was, ...c })),
  };
}

/** The fields of a replay that say so; they are in the body only when they say something. */
export function chosen(c: Choice): { to?: string; sign?: boolean } {
  return { ...(c.to === "" ? {} : { to: c.to }), ...(c.sign ? { sign: true } : {}) };
}

export function TargetFields({ c, same, focus }: { c: Choosing; same: string; focus?: boolean }): JSX.Element {
  const select = useRef<HTMLSelectElement>(null);
  const loaded = c.list !== undefined;
  useEffect(() => {
    if (focus && loaded) select.current?.focus();
  }, [focus, loaded]);
  if (c.error) return <p class="problem">{c.error}</p>;
  if (!c.list) return <p class="quiet">Loading…</p>;
  return (
    <div class="line target">
      {(c.list.length > 1 || focus) && (
        <label class="grow">
          Send to
          <select ref={select} value={c.to} onChange={(e) => c.set({ to: e.currentTarget.value })}>
            <option value="">{same}</option>
            {c.list.map((t) => (
              <option key={t.id} value={t.id}>
                {visible(t.name.slice(0, 200))}
                {t.live ? "" : " (nobody is there)"}
              </option>
            ))}
          </select>
        </label>
      )}
      {c.signs && (
        <label class="check">
          <input type="checkbox" checked={c.sign} onChange={(e) => c.set({ sign: e.currentTarget.checked })} />
          Sign it anew, with the secret of the sender
        </label>
      )}
    </div>
  );
}

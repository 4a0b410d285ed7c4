import type { JSX } from "preact";
import { visible } from "../format";
import { lists, senders } from "./senders";
import { forget, sections } from "./settings";
import type { Field, Values, Wrong } from "./settings";

interface Props {
  v: Values;
  wrong: Wrong;
  /** What holds where nothing is said. */
  defaults: Values;
  /** What is kept of a secret, in words; "" for nothing. */
  kept: Values;
  set: (id: string, to: string) => void;
}

/** The settings of an endpoint. */
export function SettingsForm(p: Props): JSX.Element {
  return (
    <>
      <datalist id="senders">
        {senders.map((s) => (
          <option key={s} value={s} />
        ))}
      </datalist>
      <datalist id="lists">
        {lists.map((s) => (
          <option key={s} value={s} />
        ))}
      </datalist>
      {sections.map((s) => (
        <fieldset class="card form" key={s.title}>
          <legend>{s.title}</legend>
          {s.fields.map((f) => (!f.when || f.when(p.v) || p.wrong[f.id] ? <One key={f.id} f={f} p={p} /> : null))}
        </fieldset>
      ))}
    </>
  );
}

function One({ f, p }: { f: Field; p: Props }): JSX.Element {
  const wrong = p.wrong[f.id] ?? "";
  const v = p.v[f.id] ?? "";
  const kept = p.kept[f.id] ?? "";
  const set = (e: { currentTarget: { value: string } }) => p.set(f.id, e.currentTarget.value);
  const id = `set-${f.id}`;
  const common = {
    id,
    "aria-invalid": wrong !== "",
    "aria-describedby": `${id}-hint ${id}-wrong`,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: false,
  } as const;
  const under = (
    <>
      <p class="hint" id={`${id}-hint`}>
        {kept && <span>{visible(kept)} </span>}
        {f.hint}
      </p>
      <p class={wrong ? "wrong" : "sr"} id={`${id}-wrong`} role="alert">
        {visible(wrong)}
      </p>
    </>
  );
  if (f.kind === "flag")
    return (
      <div class="field">
        <label class="check">
          <input type="checkbox" {...common} checked={v === "true"} onChange={(e) => p.set(f.id, e.currentTarget.checked ? "true" : "")} />
          {f.label}
        </label>
        {under}
      </div>
    );
  return (
    <div class="field">
      <label for={id}>{f.label}</label>
      <Input f={f} v={v} placeholder={p.defaults[f.id] ?? ""} common={common} set={set} />
      {kept && (
        <label class="check">
          <input type="checkbox" checked={v === forget} onChange={(e) => p.set(f.id, e.currentTarget.checked ? forget : "")} />
          Forget what is kept
        </label>
      )}
      {under}
    </div>
  );
}

function Input(p: {
  f: Field;
  v: string;
  placeholder: string;
  common: { id: string; autocomplete: "off"; autocapitalize: "off"; spellcheck: false };
  set: (e: { currentTarget: { value: string } }) => void;
}): JSX.Element {
  const { f, common, set } = p;
  const v = p.v === forget ? "" : p.v;
  const disabled = p.v === forget;
  switch (f.kind) {
    case "choice":
    case "tri":
      return (
        <select {...common} value={v} onChange={set}>
          {f.options!.map(([one, label]) => (
            <option key={one} value={one}>
              {one && f.kind === "choice" ? `${one}: ${label}` : label}
            </option>
          ))}
        </select>
      );
    case "lines":
    case "json":
    case "secrets":
      return <textarea {...common} class="mono" rows={f.kind === "json" ? 5 : 2} value={v} disabled={disabled} onInput={set} />;
    case "secret":
      return <input {...common} type="password" autocomplete="new-password" value={v} disabled={disabled} onInput={set} />;
    default:
      return (
        <input {...common} class="mono" inputMode={f.kind === "number" ? "numeric" : undefined} list={f.suggest} value={v} placeholder={p.placeholder} onInput={set} />
      );
  }
}

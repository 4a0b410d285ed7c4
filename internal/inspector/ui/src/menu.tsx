import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A button with things to choose from below it; a choice, Escape or a click elsewhere closes it. */
export function Menu({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  const ref = useRef<HTMLDetailsElement>(null);
  const close = () => ref.current?.removeAttribute("open");
  useEffect(() => {
    const elsewhere = (e: Event) => {
      if (!ref.current?.contains(e.target as Node)) close();
    };
    document.addEventListener("click", elsewhere);
    return () => document.removeEventListener("click", elsewhere);
  }, []);
  return (
    <details
      class="menu"
      ref={ref}
      onKeyDown={(e) => {
        if (e.key !== "Escape" || !ref.current?.open) return;
        e.stopPropagation();
        close();
        ref.current.querySelector("summary")?.focus();
      }}
    >
      <summary class="button">{label}</summary>
      <div class="items" onClick={close}>
        {children}
      </div>
    </details>
  );
}

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Props {
  count: number;
  height: number; // of a row, in pixels
  row: (i: number) => JSX.Element;
  /** This row is brought into sight whenever focusKey changes. */
  focus?: number;
  focusKey?: string;
  class?: string;
  attrs?: Record<string, unknown>;
  children?: ComponentChildren;
  /** Called with the element, to read and set its scroll position. */
  hold?: (el: HTMLDivElement) => void;
}

/** A list of which only the rows in sight are there. */
export function Virtual(p: Props): JSX.Element {
  const ref = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const look = () => {
    const el = ref.current;
    if (!el) return;
    // In steps of a few rows, so that not every pixel renders anew.
    const step = p.height * 4;
    const next = { top: Math.floor(el.scrollTop / step) * step, height: el.clientHeight };
    setView((v) => (v.top === next.top && v.height === next.height ? v : next));
  };
  useLayoutEffect(() => {
    look();
    const seen = new ResizeObserver(look);
    seen.observe(ref.current!);
    return () => seen.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (ref.current) p.hold?.(ref.current);
    look();
  });
  useLayoutEffect(() => {
    const el = ref.current;
    if (!el || p.focus === undefined || p.focus < 0) return;
    const top = p.focus * p.height;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (top + p.height > el.scrollTop + el.clientHeight) el.scrollTop = top + p.height - el.clientHeight;
  }, [p.focusKey]);
  const first = Math.max(0, Math.floor(view.top / p.height) - 4);
  const last = Math.min(p.count, Math.ceil((view.top + view.height) / p.height) + 10);
  const shown: JSX.Element[] = [];
  for (let i = first; i < last; i++) shown.push(p.row(i));
  return (
    <div class={`virtual ${p.class ?? ""}`} ref={ref} onScroll={look} {...p.attrs}>
      <div class="tall" role="presentation" style={{ height: `${p.count * p.height}px` }}>
        <div class="window" role="presentation" style={{ transform: `translateY(${first * p.height}px)` }}>
          {shown}
        </div>
      </div>
      {p.children}
    </div>
  );
}

import type { JSX } from "preact";
import type { Point } from "./api";

const width = 480;
const height = 96;

/** Bars over time. What it shows is also said in words, and in a table that can be opened. */
export function Chart(p: { series: Point[]; of: "requests" | "errors"; label: string }): JSX.Element {
  const { series, of } = p;
  const values = series.map((s) => s[of]);
  const total = values.reduce((a, b) => a + b, 0);
  const top = nice(Math.max(1, ...values));
  const step = width / Math.max(1, series.length);
  const peak = values.indexOf(Math.max(...values));
  const words =
    total === 0 ? `${p.label}: none in this time` : `${p.label}: ${total} in all, at most ${values[peak]} at ${clock(series[peak]!.at)}`;
  const marks = [0, Math.floor(series.length / 2), series.length - 1];
  return (
    <figure class={`chart ${of}`}>
      <figcaption>
        {p.label} <b>{total.toLocaleString()}</b>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={words}>
        <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} class="axis" />
        <line x1="0" x2={width} y1="0.5" y2="0.5" class="grid" />
        {series.map((s, i) =>
          s[of] > 0 ? (
            <rect key={s.at} x={i * step + step * 0.1} width={step * 0.8} y={height - (s[of] / top) * height} height={(s[of] / top) * height}>
              <title>{`${clock(s.at)}: ${s[of]}`}</title>
            </rect>
          ) : null,
        )}
      </svg>
      <p class="scale" aria-hidden="true">
        {series.length > 0 && marks.map((i) => <span key={i}>{clock(series[i]!.at)}</span>)}
        <span class="top">{top.toLocaleString()}</span>
      </p>
    </figure>
  );
}

/** The same as a table. */
export function Table({ series }: { series: Point[] }): JSX.Element {
  const rows = series.filter((s) => s.requests > 0 || s.errors > 0);
  return (
    <details class="numbers">
      <summary>As numbers</summary>
      {rows.length === 0 ? (
        <p class="quiet">No requests in this time.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Requests over time">
          <table class="grid">
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">Requests</th>
                <th scope="col">Errors</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((s) => (
                <tr key={s.at}>
                  <th scope="row">{clock(s.at)}</th>
                  <td>{s.requests}</td>
                  <td>{s.errors}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

/** The next number that is easy to read: 1, 2, 5, 10, 20 and so on. */
export function nice(n: number): number {
  const ten = 10 ** Math.floor(Math.log10(n));
  return ([1, 2, 5, 10].find((m) => m * ten >= n) ?? 10) * ten;
}

function clock(at: string): string {
  const t = new Date(at);
  return Number.isNaN(t.getTime()) ? "–" : t.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

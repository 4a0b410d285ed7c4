import type { JSX } from "preact";
import { visible } from "../format";
import { signature } from "../format";
import { explanation } from "./api";
import { useLoad } from "./load";
import { Loaded } from "./parts";

/** Why an event was taken for signed right, or not. */
export function Verification({ id, verified }: { id: string; verified: string | undefined }): JSX.Element {
  const load = useLoad(id, () => explanation(id));
  return (
    <>
      <p class={`verdict ${verified === "ok" ? "good" : verified ? "bad" : ""}`}>
        <span aria-hidden="true">{verified === "ok" ? "✓" : verified ? "✗" : "–"}</span>{" "}
        {verified === "ok" ? "The signature was right when it came." : verified ? `When it came: ${visible(signature(verified.slice(0, 80)))}.` : "Nobody looked at its signature when it came."}
      </p>
      <h3>With the secrets of now</h3>
      <Loaded of={load}>{(text) => <p class="explains">{visible(text.slice(0, 5000))}</p>}</Loaded>
    </>
  );
}

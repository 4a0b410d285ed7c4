import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { signed } from "../api";
import type { Session } from "../api";
import { Shell } from "./shell";
import { SignIn } from "./signin";
import "./style.css";
import "./form.css";
import "./overview.css";

/** The server's page: sign-in, and what there is behind it. */
export function Dashboard(p: { session: Session | undefined }): JSX.Element {
  const [session, setSession] = useState(p.session);
  const [was, setWas] = useState(false);
  useEffect(() => {
    const out = () =>
      setSession((s) => {
        if (s) setWas(true);
        return undefined;
      });
    signed.addEventListener("out", out);
    return () => signed.removeEventListener("out", out);
  }, []);
  if (session?.mode !== "server") return <SignIn out={was} onIn={setSession} />;
  return <Shell session={session} />;
}

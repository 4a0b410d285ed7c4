import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Failure, says, session as look } from "../api";
import type { Session } from "../api";
import { signIn } from "./api";

/** Asks for a token; it is given to the server once, which answers with a cookie. */
export function SignIn({ out, onIn }: { out: boolean; onIn: (s: Session) => void }): JSX.Element {
  const [token, setToken] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [wait, setWait] = useState(0); // seconds until another try is taken
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Sign in · relay";
    field.current?.focus();
  }, []);
  useEffect(() => {
    if (wait <= 0) return;
    const t = setTimeout(() => setWait(wait - 1), 1000);
    return () => clearTimeout(t);
  }, [wait]);
  const send = async () => {
    if (token.trim() === "") {
      setError("Paste a token first.");
      return;
    }
    setBusy(true);
    setError("");
    try {
      await signIn(token.trim());
      onIn(await look());
    } catch (e) {
      setBusy(false);
      setError(says(e));
      if (e instanceof Failure && e.status === 429) setWait(e.retryAfter || 30);
      field.current?.focus();
      field.current?.select();
    }
  };
  return (
    <main class="signin">
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (!busy && wait === 0) void send();
        }}
      >
        <h1>
          <img src="favicon.svg" alt="" width="28" height="28" /> relay
        </h1>
        {out && !error && <p class="note">You are signed out.</p>}
        <label>
          Token
          <input
            ref={field}
            type="password"
            name="token"
            value={token}
            autocomplete="current-password"
            spellcheck={false}
            aria-invalid={error !== ""}
            aria-describedby="signin-error signin-hint"
            onInput={(e) => setToken(e.currentTarget.value)}
          />
        </label>
        <p id="signin-error" class={error ? "problem" : "sr"} role="alert">
          {error}
          {error && wait > 0 ? ` You can try again in ${wait} s.` : ""}
        </p>
        <button type="submit" class="button main" disabled={busy || wait > 0}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
        <p id="signin-hint" class="quiet">
          It begins with <code>rly_</code>. Whoever runs this server gave it to you; on a machine where relay is set up, it is in its configuration file.
        </p>
      </form>
    </main>
  );
}

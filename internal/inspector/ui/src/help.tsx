import type { JSX } from "preact";
import { Dialog } from "./dialog";

const keys: [string, string][] = [
  ["j  k", "next, previous request"],
  ["Enter", "look at it"],
  ["r", "replay"],
  ["e", "edit and replay"],
  ["d", "diff: mark one, then another; a replay is compared with its original"],
  ["c", "copy as curl"],
  ["/", "filter"],
  ["Esc", "back"],
  ["?", "this help"],
];

const terms: [string, string][] = [
  ["status:404 status:5xx status:none", "the answer's status, its class, or no answer"],
  ["method:POST", "the method"],
  ["path:/hooks path:*.png", "what the path begins with, or a pattern"],
  ["host: visitor:", "the same for the host and the visitor's address"],
  ["header:x-github-event=push", "a field of request or answer"],
  ["json:.action=opened", "a value in a JSON body"],
  ["duration:>500ms size:>10kb", "how long it took, how large the answer was"],
  ["endpoint:hooks signature:bad", "where it came to; its signature: ok, bad, none, or why not"],
  ["is:live is:failed is:replay is:event is:websocket is:truncated", "what it is"],
  ["after:10m before:14:30", "when: how long ago, a time, a day"],
  ['word "two words"', "in path, headers and the beginnings of bodies"],
  ["-status:2xx", "a minus in front: not so"],
];

export function Help({ onClose }: { onClose: () => void }): JSX.Element {
  return (
    <Dialog title="Help" onClose={onClose}>
      <div class="help" tabIndex={0} role="region" aria-label="Keys and filter">
        <h3>Keys</h3>
        <dl>
          {keys.map(([k, what]) => (
            <div key={k}>
              <dt>
                {k.split("  ").map((one) => (
                  <kbd key={one}>{one}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <h3>Filter</h3>
        <p class="quiet">All terms must be true. * stands for anything.</p>
        <dl class="terms">
          {terms.map(([k, what]) => (
            <div key={k}>
              <dt>
                <code>{k}</code>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </div>
    </Dialog>
  );
}

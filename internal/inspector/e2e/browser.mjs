// A browser that is used as a person does, and what every test of the page looks at:
// no error in its console, no request to elsewhere, no barrier to anybody.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { CHROMIUM, MODULES, PROFILE, SHOTS } = process.env;
const require = createRequire(join(MODULES, "x"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(SHOTS, { recursive: true });

export const context = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1280, height: 800 },
  permissions: ["clipboard-read", "clipboard-write"],
});
context.setDefaultTimeout(10_000);
export const page = await context.newPage();
const errors = [];
const outside = [];
const own = [];
/** Complaints of the browser that a step brings about on purpose. */
export const expected = [];
page.on("dialog", (d) => {
  errors.push(`dialog: ${d.message()}`);
  d.dismiss();
});
page.on("pageerror", (e) => errors.push(`error: ${e.message}`));
page.on("console", (m) => {
  // A connection that is refused while the page is offline is told by the browser.
  if (m.type() === "error" && !/ERR_INTERNET_DISCONNECTED|status of 4/.test(m.text()) && !expected.some((e) => m.text().includes(e))) errors.push(`console: ${m.text()}`);
});
page.on("request", (r) => {
  if (!own.some((u) => r.url().startsWith(u)) && !r.url().startsWith("blob:")) outside.push(r.url());
});

export const shot = (name) => page.screenshot({ path: join(SHOTS, `${name}.png`) });

export async function accessible(name) {
  // Runs in the page's own world, past its CSP, which forbids the styles that axe
  // would make to look into style sheets.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { preload: false, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }),
  );
  const bad = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(
    bad.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`),
    [],
    `axe: ${name}`,
  );
}

/** Goes through the steps, and fails at the first that does, or that makes the browser complain. allowed are the addresses that the page may ask. */
export async function run(steps, allowed) {
  own.push(...allowed);
  try {
    for (const [name, step] of Object.entries(steps)) {
      const began = Date.now();
      try {
        await step();
      } catch (e) {
        await shot("failed").catch(() => undefined);
        throw new Error(`${name}: ${e.message}`, { cause: e });
      }
      console.log(`${name}: ${Date.now() - began} ms`);
      assert.deepEqual(errors, [], name);
    }
    assert.deepEqual(outside, [], "requests to elsewhere");
  } finally {
    await context.close();
  }
}

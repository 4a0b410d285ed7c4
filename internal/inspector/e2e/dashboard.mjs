// Uses the dashboard of a server as a person does; see dashboard_test.go.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import http from "node:http";
import { accessible, context, expected, page, run, shot } from "./browser.mjs";

const { SERVER, TOKEN, HOOKS, NAME } = process.env;
const bad = `<script>window.pwned=1;alert(1)</script><img src=x onerror=alert(1)>`;

// send sends a webhook to the inbox; it is signed unless it is to be wrong.
function send(path, { body = '{"action":"opened"}', secret = "the-secret", headers = {} } = {}) {
  const to = new URL(HOOKS);
  const sum = createHmac("sha256", secret).update(body).digest("hex");
  return new Promise((resolve, reject) => {
    const req = http.request(
      {
        host: "127.0.0.1",
        port: to.port,
        method: "POST",
        path,
        headers: { Host: to.host, "Content-Type": "application/json", "X-Hub-Signature-256": `sha256=${sum}`, "X-GitHub-Event": "issues", ...headers },
      },
      (res) => {
        res.resume();
        res.on("end", () => resolve(res.statusCode));
        res.on("error", reject);
      },
    );
    req.on("error", reject);
    req.end(body);
  });
}

const rows = page.locator(".row");
const panel = page.locator("#panel");
const main = page.getByRole("main");
const nav = (name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
const dialog = page.getByRole("dialog");
const field = (label) => main.getByLabel(new RegExp(`^${label}`));
const tab = (name) => page.getByRole("tab", { name }).click();

// api answers a call of the page itself, once or until it is let go.
const answer = (path, status, body, headers = {}) =>
  page.route(`**/api/v1${path}`, (r) => r.fulfill({ status, contentType: status < 400 ? "application/json" : "application/problem+json", headers, body: JSON.stringify(body) }));
const real = (path) => page.unroute(`**/api/v1${path}`);

// looks takes pictures of a view in all its shapes, and tests each for barriers.
async function looks(name) {
  await shot(name);
  await accessible(name);
  await page.emulateMedia({ colorScheme: "dark" });
  await shot(`${name}-dark`);
  await accessible(`${name}, dark`);
  await page.setViewportSize({ width: 390, height: 780 });
  await shot(`${name}-phone-dark`);
  await page.emulateMedia({ colorScheme: "light" });
  await shot(`${name}-phone`);
  await accessible(`${name}, phone`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${name} is ${wide} wide on a phone`);
  await page.setViewportSize({ width: 1280, height: 800 });
}

const steps = {
  async "asks for a token"() {
    await page.goto(SERVER);
    await page.getByLabel("Token").waitFor();
    await looks("sign-in");
    await page.keyboard.press("Enter");
    await page.getByText("Paste a token first.").waitFor();
    await page.getByLabel("Token").fill("rly_wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: /token/i }).waitFor();
    await looks("sign-in-wrong");
    await answer("/session", 429, { code: "limit", detail: "Too many wrong tokens came from your address." }, { "Retry-After": "2" });
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("You can try again in 2 s.").waitFor();
    assert.ok(await page.getByRole("button", { name: "Sign in" }).isDisabled());
    await shot("sign-in-limit");
    await real("/session");
    await page.getByLabel("Token").fill(TOKEN);
    await page.waitForFunction(() => !document.querySelector("button[type=submit]").disabled);
    await page.keyboard.press("Enter");
    await page.getByText("No request yet.").waitFor();
    await page.getByText("alice").waitFor();
    await looks("requests-empty");
  },
  async "shows who signed right, and why not"() {
    await send("/good");
    await send("/forged", { secret: "another" });
    await send("/refused");
    await page.waitForFunction(() => document.querySelectorAll(".row").length >= 3);
    await rows.filter({ hasText: "/good" }).getByText("signed right").first().waitFor({ state: "attached" });
    await rows.filter({ hasText: "/forged" }).getByText("wrong signature").first().waitFor();
    await rows.filter({ hasText: "/forged" }).first().click();
    await tab("Verification");
    await panel.getByText("When it came: wrong signature.").waitFor();
    await panel.getByText(/secret of another endpoint/).waitFor();
    await looks("verification");
  },
  async "shows deliveries with their answers"() {
    await rows.filter({ hasText: "/refused" }).last().click();
    await tab("Deliveries");
    await panel.locator(".delivery").getByText("dead").waitFor();
    await panel.locator(".try summary").first().click();
    await panel.getByText("window.pwned").waitFor();
    await looks("deliveries");
    // Once more: there is another delivery then.
    await panel.getByRole("button", { name: "Deliver once more" }).click();
    await panel.locator(".delivery").nth(1).waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  },
  async "replays to another, signed anew"() {
    await rows.filter({ hasText: "/good" }).last().click();
    await page.locator(".actions summary").click();
    await page.getByRole("button", { name: "Replay to another…" }).click();
    await dialog.getByRole("textbox", { name: "Body" }).waitFor();
    await dialog.getByText('"opened"').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), "SELECT");
    await shot("replay-to");
    await accessible("replay to");
    await dialog.getByLabel("Send to").selectOption({ label: "asleep-alice (nobody is there)" });
    assert.equal(await dialog.getByText("Sign it anew").count(), 0, "asleep has no secret");
    await dialog.getByRole("button", { name: "Send" }).click();
    await dialog.getByRole("alert").waitFor();
    await shot("replay-offline");
    await dialog.getByLabel("Send to").selectOption(NAME);
    await dialog.getByLabel(/Sign it anew/).check();
    await dialog.getByRole("textbox", { name: "Body" }).click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type('{"changed":1}');
    await dialog.getByLabel("Path").fill("/again?signed=1");
    await dialog.getByRole("button", { name: "Send" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.locator("h2").filter({ hasText: "/again?signed=1" }).waitFor();
    await tab("Request");
    const want = createHmac("sha256", "the-secret").update('{"changed":1}').digest("hex");
    await panel.getByText(`sha256=${want}`).waitFor();
  },
  async "replays all of a list"() {
    // The answers are made here, so that some can fail.
    const asked = [];
    await page.route("**/api/v1/requests/replay", async (r) => {
      const in_ = r.request().postDataJSON();
      asked.push(in_);
      const n = in_.ids.length;
      if (in_.dry_run) return r.fulfill({ json: { count: n, skipped: 2, replayed: 0, failed: [] } });
      const nth = asked.length - 2;
      if (nth === 5) return r.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify({ code: "not_found", detail: bad }) });
      return r.fulfill({ json: { count: 1, skipped: nth < 2 ? 1 : 0, replayed: nth < 2 || nth === 7 ? 0 : 1, failed: nth === 7 ? [{ id: in_.ids[0], error: bad }] : [] } });
    });
    await page.getByLabel("Filter").fill("path:/many");
    for (let i = 0; i < 12; i++) await send(`/many/${i}`);
    await page.waitForFunction(() => [...document.querySelectorAll(".row")].filter((r) => r.textContent.includes("/many/")).length === 12);
    await page.locator(".filter summary").click();
    await page.getByRole("button", { name: "Replay…" }).click();
    await dialog.getByText(/Replay \d+ requests\? 2 cannot be sent again/).waitFor();
    const ids = asked[0].ids;
    await shot("bulk-ask");
    await accessible("bulk ask");
    await dialog.getByRole("button", { name: /^Replay \d+ requests/ }).click();
    await dialog.getByText("8 requests sent again. 2 could not be. 2 failed.").waitFor();
    await dialog.getByText("onerror=alert(1)").first().waitFor();
    await shot("bulk-done");
    await accessible("bulk done");
    assert.deepEqual(asked.filter((a) => !a.dry_run).flatMap((a) => a.ids), ids, "not each one once, in their order");
    assert.equal(ids.length, 12);
    await page.keyboard.press("Escape");
    await page.unroute("**/api/v1/requests/replay");
    const held = [];
    // It can be stopped: of an answer that does not come nobody is in wait.
    await page.route("**/api/v1/requests/replay", (r) => (r.request().postDataJSON().dry_run ? r.continue() : void held.push(r)));
    await page.locator(".filter summary").click();
    await page.getByRole("button", { name: "Replay…" }).click();
    await dialog.getByRole("button", { name: "Replay 12 requests" }).click();
    await dialog.getByText("0 of 12…").waitFor();
    await shot("bulk-running");
    await accessible("bulk running");
    await dialog.getByRole("button", { name: "Stop" }).click();
    await dialog.getByText("Stopped. 0 requests sent again.").waitFor();
    await page.keyboard.press("Escape");
    for (const r of held) await r.abort().catch(() => undefined);
    await page.unroute("**/api/v1/requests/replay");
    // And in truth.
    await page.locator(".filter summary").click();
    await page.getByRole("button", { name: "Replay…" }).click();
    await dialog.getByText("Replay 12 requests?").waitFor();
    await dialog.getByRole("button", { name: "Replay 12 requests" }).click();
    await dialog.getByText("12 requests sent again.").waitFor();
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 24);
    await page.getByLabel("Filter").fill("");
  },
  async "has an overview"() {
    await nav("Overview");
    await main.getByText("The last 24 hours").waitFor();
    await main.getByRole("link", { name: NAME }).waitFor();
    await main.locator(".figures").getByText("Dead letters").waitFor();
    await looks("overview");
    // A busy server with names that nobody may have.
    const at = Date.now() - 24 * 3600e3;
    await answer("/overview", 200, {
      endpoints: [{ name: bad, url: `http://${bad}`, live: true, agent: bad, inbox: "always", record: true, pending: 12, dead: 3, events: 940 }],
      series: Array.from({ length: 96 }, (_, i) => ({
        at: new Date(at + i * 900e3).toISOString(),
        requests: Math.round(60 + 50 * Math.sin(i / 9) + (i % 7) * 6),
        errors: i % 11 === 0 ? i % 5 : 0,
      })),
      pending: 12,
      dead: 3,
      recorded: { kept: 940, bytes: 5e7, dropped: 2 },
      certificates: [
        { host: "*.relay.example.com", state: "valid", expires: new Date(Date.now() + 60 * 864e5).toISOString() },
        { host: bad, state: "failed", error: bad },
      ],
    });
    await page.reload();
    await main.getByText("onerror=alert(1)").first().waitFor();
    await main.getByRole("img", { name: /^Requests: \d+ in all, at most/ }).waitFor();
    await main.getByText("As numbers").click();
    await looks("overview-busy");
    await real("/overview");
    expected.push("status of 500");
    await answer("/overview", 500, { code: "internal", detail: "The server failed. Its log says why." });
    await page.reload();
    await main.getByText("The server failed.").waitFor();
    await shot("overview-failed");
    await accessible("overview failed");
    await real("/overview");
    await main.getByRole("button", { name: "Try again" }).click();
    await main.getByText("The last 24 hours").waitFor();
    expected.pop();
  },
  async "makes and changes an endpoint"() {
    await nav("Endpoints");
    await main.getByRole("link", { name: NAME }).waitFor();
    await looks("endpoints");
    await field("Name").fill("Not_A_Name!");
    await main.getByRole("button", { name: "Make an endpoint" }).click();
    await main.locator(".wrong").filter({ hasText: /name/i }).waitFor();
    await shot("endpoints-wrong");
    await accessible("endpoints, wrong");
    await field("Name").fill("fresh");
    await field("Inbox").selectOption("always");
    await main.getByRole("button", { name: "Make an endpoint" }).click();
    await main.getByRole("heading", { name: /^fresh/ }).waitFor();
    await looks("endpoint");
    // What is wrong is said beside its field, by the page or by the server.
    await field("One try takes at most").fill("soon");
    await field("Status of the answer").fill("99");
    await main.getByRole("button", { name: "Save" }).click();
    await main.getByText("Write a time like 30s, 2h or 7d.").waitFor();
    await main.getByText("Write a status from 200 to 599.").waitFor();
    await shot("endpoint-wrong");
    await accessible("endpoint, wrong");
    await field("One try takes at most").fill("90s");
    await field("Status of the answer").fill("200");
    await field("Requests in a time").fill("many");
    await main.getByRole("button", { name: "Save" }).click();
    await main.locator("#set-rate-wrong").filter({ hasText: /^Rate "many": write/ }).waitFor();
    await field("Requests in a time").fill("600/m");
    await field("Headers of the answer").fill("X-One: 1\nX-Two: 2");
    await field("Sender").fill("github");
    await field("Secrets").fill("one\ntwo");
    await field("A token is needed").fill("header:X-Token=very-secret");
    await field("Only these addresses may come").fill("203.0.113.7\n2001:db8::/32");
    await field("Largest body").fill("5 MiB");
    await field("Events are kept for").fill("3d");
    await field("Record requests and answers").selectOption("false");
    await main.getByRole("button", { name: "Save" }).click();
    await main.getByText("Saved.").waitFor();
    await main.getByText("2 are kept; new ones replace them.").waitFor();
    await main.getByText("Needed now: header:X-Token.").waitFor();
    await looks("endpoint-set");
    assert.doesNotMatch(await page.content(), /very-secret/);
    const name = await main.getByRole("heading", { level: 2 }).textContent();
    const get = async () => (await page.request.get(`${SERVER}/api/v1/endpoints/${name}`, { headers: { Authorization: `Bearer ${TOKEN}` } })).json();
    const set = await get();
    assert.deepEqual(
      { ...set.settings, secrets: set.secrets, verify: set.verify },
      {
        inbox: "always",
        answer: { status: 200, header: { "X-One": ["1"], "X-Two": ["2"] } },
        max_body: 5 << 20,
        timeout: "1m30s",
        provider: "github",
        keep: { age: "72h0m0s" },
        record: false,
        door: { allow_ip: ["203.0.113.7", "2001:db8::/32"], require_token: ["header:X-Token"], rate: "600/m", max_body: 5 << 20 },
        secrets: 2,
        verify: "enforce",
      },
    );
    // And back: what is emptied is the default again.
    await page.reload();
    await field("One try takes at most").fill("");
    await field("Headers of the answer").fill("X-Two: 2");
    await field("Requests in a time").fill("");
    await field("Largest body").fill("");
    await field("Only these addresses may come").fill("");
    await field("Record requests and answers").selectOption("");
    await main.locator(".field").filter({ hasText: "A token is needed" }).getByLabel("Forget what is kept").check();
    await main.locator(".field").filter({ hasText: "One on each line, the newest first" }).getByLabel("Forget what is kept").check();
    await main.getByRole("button", { name: "Save" }).click();
    await main.getByText("Saved.").waitFor();
    const back = await get();
    assert.equal(back.effective.timeout, "30s");
    assert.equal(back.effective.record, true);
    assert.equal(back.secrets, 0);
    assert.deepEqual(back.settings.door?.require_token ?? [], []);
    assert.deepEqual(back.settings.door?.allow_ip ?? [], []);
    assert.equal(back.settings.door?.rate, undefined);
    assert.deepEqual(Object.entries(back.settings.answer.header).filter(([, v]) => v?.length), [["X-Two", ["2"]]]);
  },
  async "releases an endpoint when its name is typed"() {
    const name = await main.getByRole("heading", { level: 2 }).textContent();
    await main.getByRole("button", { name: "Release…" }).click();
    assert.ok(await dialog.getByRole("button", { name: "Release it" }).isDisabled());
    await shot("release");
    await accessible("release");
    await dialog.getByLabel(/^Type/).fill(name);
    await dialog.getByRole("button", { name: "Release it" }).click();
    await main.getByRole("heading", { name: "Endpoints" }).waitFor();
    await main.getByRole("link", { name: NAME }).waitFor();
    assert.equal(await main.getByRole("link", { name }).count(), 0);
    // One that is served cannot be.
    await main.getByRole("link", { name: NAME, exact: true }).click();
    await main.getByRole("button", { name: "Release…" }).click();
    await dialog.getByLabel(/^Type/).fill(NAME);
    await dialog.getByRole("button", { name: "Release it" }).click();
    await dialog.getByText("stop it first").waitFor();
    await page.keyboard.press("Escape");
  },
  async "takes no harm of hostile names"() {
    const one = {
      name: bad,
      url: `https://${bad}`,
      agent: bad,
      settings: { provider: bad, path: bad, door: { require_token: [`header:${bad}`], allow_ip: [bad] }, answer: { header: { [bad]: [bad] }, body: bad } },
      effective: { inbox: "always" },
      secrets: 1,
      handshake_secret: true,
      kept: { events: 1, pending: 1, dead: 0, bytes: 10 },
    };
    await answer("/endpoints", 200, { items: [one] });
    await answer("/endpoints/*", 200, one);
    await nav("Endpoints");
    await main.getByRole("link", { name: bad }).click();
    await main.getByText("Needed now: header:<script>").waitFor();
    await shot("endpoint-hostile");
    await accessible("endpoint, hostile");
    await real("/endpoints");
    await real("/endpoints/*");
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  },
  async "lists events, and acts on them"() {
    await send("/hostile", { body: JSON.stringify({ [bad]: bad }), headers: { "X-GitHub-Event": bad, Authorization: "Bearer very-secret" } });
    await nav("Events");
    await main.getByText("onerror=alert(1)").first().waitFor();
    await looks("events");
    await field("State").selectOption("dead");
    await page.waitForFunction(() => location.hash.includes("status=dead"));
    await main.getByRole("link", { name: /\/refused/ }).first().waitFor();
    assert.equal(await main.getByRole("link", { name: /\/good/ }).count(), 0);
    await main.getByRole("button", { name: "Try again…" }).click();
    await dialog.getByText(/^1 dead event of all your endpoints/).waitFor();
    await shot("events-ask");
    await accessible("events ask");
    await dialog.getByRole("button", { name: "Try again" }).click();
    await main.getByText("Done: 1 event.").waitFor();
    await field("State").selectOption("rejected");
    await main.getByRole("button", { name: "Give up…" }).click();
    await main.getByText("has none for that").waitFor();
    await main.getByText("No event fits this filter.").waitFor();
    await shot("events-none");
    await accessible("events none");
    await field("State").selectOption("");
    await main.getByRole("link", { name: /\/hostile/ }).click();
    await main.getByText("Show secrets").waitFor();
    await main.locator(".node").filter({ hasText: "onerror" }).first().waitFor();
    assert.doesNotMatch(await page.content(), /very-secret/);
    await looks("event");
    await main.getByRole("button", { name: "Show secrets" }).click();
    await main.getByText("Bearer very-secret").waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    await page.goto(`${SERVER}/#/events/evt_nothing`);
    await main.getByRole("alert").filter({ hasText: /no event/i }).waitFor();
    await shot("event-none");
  },
  async "gives up what waits, and removes it when that is typed"() {
    await nav("Events");
    const asleep = HOOKS.replace("hooks", "asleep");
    const to = new URL(asleep);
    for (let i = 0; i < 105; i++) {
      await new Promise((resolve, reject) => http.request({ host: "127.0.0.1", port: to.port, method: "POST", path: `/waits/${i}`, headers: { Host: to.host } }, (r) => (r.resume(), r.on("end", resolve))).on("error", reject).end("x"));
    }
    await field("State").selectOption("pending");
    await main.getByRole("link", { name: /\/waits\/104$/ }).waitFor();
    assert.equal(await main.getByRole("link", { name: /\/waits\/0$/ }).count(), 0, "the first page has 100");
    await main.getByRole("button", { name: "Older ones" }).click();
    await main.getByRole("link", { name: /\/waits\/0$/ }).waitFor();
    assert.equal(await main.getByRole("link", { name: /\/waits\// }).count(), 105);
    await main.getByRole("button", { name: "Give up…" }).click();
    await dialog.getByRole("button", { name: "Give them up" }).click();
    await main.getByText("Done: 105 events.").waitFor();
    await field("State").selectOption("cancelled");
    await main.getByRole("link", { name: /\/waits\/104$/ }).waitFor();
    await main.getByRole("button", { name: "Remove…" }).click();
    assert.ok(await dialog.getByRole("button", { name: "Remove" }).isDisabled());
    await dialog.getByLabel(/^Type/).fill("remove");
    await dialog.getByRole("button", { name: "Remove" }).click();
    await main.getByText("Done: 105 events.").waitFor();
    await main.getByText("No event fits this filter.").waitFor();
  },
  async "makes a token, shows it once, revokes it"() {
    await nav("Tokens");
    await main.getByText("this session").waitFor();
    await main.getByRole("button", { name: "Make a token" }).click();
    await main.getByText("Give it a name").waitFor();
    await accessible("tokens, wrong");
    const name = bad.slice(0, 60);
    await field("Name").fill(name);
    await field("It is good").selectOption("720h");
    await main.getByRole("button", { name: "Make a token" }).click();
    const secret = main.locator(".secret code").first();
    assert.match(await secret.textContent(), /^rly_/);
    await main.getByRole("button", { name: "Copy the token" }).click();
    await main.getByText("Copied").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await secret.textContent());
    await main.getByRole("button", { name: `Revoke ${name}` }).waitFor();
    await looks("tokens");
    await main.getByRole("button", { name: "I have it" }).click();
    assert.equal(await main.locator(".secret").count(), 0);
    await main.getByRole("button", { name: `Revoke ${name}` }).click();
    await dialog.getByRole("button", { name: "Revoke" }).click();
    await dialog.waitFor({ state: "detached" });
    await main.getByRole("button", { name: `Revoke ${name}` }).waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => window.pwned), undefined);
  },
  async "adds a domain with its records"() {
    await nav("Domains");
    await main.getByText("No domain yet.").waitFor();
    await looks("domains-empty");
    await main.getByRole("button", { name: "Add the domain" }).click();
    await main.getByText("Give a host").waitFor();
    await field("Host").fill("no host at all");
    await main.getByRole("button", { name: "Add the domain" }).click();
    await main.locator(".wrong").filter({ hasText: /host/i }).waitFor();
    await field("Host").fill("hooks.example.com");
    await field("Leads to").selectOption(NAME);
    await main.getByRole("button", { name: "Add the domain" }).click();
    await main.getByText("Set this in your DNS").first().waitFor();
    await looks("domains");
    expected.push("status of 503"); // where nobody can be asked
    await main.getByRole("button", { name: "Look now: hooks.example.com" }).click();
    await page.waitForFunction(() => !document.querySelector(".domain button").disabled);
    await main.getByRole("button", { name: "Forget hooks.example.com" }).click();
    await dialog.getByRole("button", { name: "Forget" }).click();
    await main.getByText("No domain yet.").waitFor();
    expected.pop();
  },
  async "goes by keyboard"() {
    await page.getByRole("navigation").getByRole("link", { name: "Tokens" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.tagName === "MAIN" && document.title.startsWith("Tokens"));
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), "INPUT");
    await page.goto(`${SERVER}/#/nowhere`);
    await page.getByText("There is no such page.").waitFor();
  },
  async "says when the server is gone"() {
    await nav("Overview");
    await main.getByText("The last 24 hours").waitFor();
    await context.setOffline(true);
    await nav("Tokens");
    await main.getByText("The server does not answer.").waitFor();
    await shot("offline-tokens");
    await accessible("offline");
    await context.setOffline(false);
    await main.getByRole("button", { name: "Try again" }).click();
    await main.getByText("this session").waitFor();
  },
  async "asks again when the session has ended"() {
    await context.clearCookies();
    await nav("Domains");
    await page.getByText("You are signed out.").waitFor();
    await shot("signed-out");
    await page.getByLabel("Token").fill(TOKEN);
    await page.keyboard.press("Enter");
    await main.getByRole("heading", { name: "Domains" }).waitFor();
    // So does the list of requests.
    await nav("Requests");
    await rows.first().waitFor();
    await context.clearCookies();
    await rows.first().click();
    await page.getByText("You are signed out.").waitFor();
    await page.getByLabel("Token").fill(TOKEN);
    await page.keyboard.press("Enter");
    await rows.first().waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    await page.reload();
    await page.getByLabel("Token").waitFor();
    assert.equal((await context.cookies()).length, 0);
  },
};

await run(steps, [SERVER]);

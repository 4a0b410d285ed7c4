// Uses the inspector's page as a person does; see e2e_test.go.
import assert from "node:assert/strict";
import http from "node:http";
import { accessible, context, page, run, shot } from "./browser.mjs";

const { INSPECTOR, PUBLIC, ROWS } = process.env;

// visit sends a request to the public URL.
function visit(path, { method = "GET", headers = {}, body } = {}) {
  const to = new URL(PUBLIC);
  return new Promise((resolve, reject) => {
    const req = http.request({ host: "127.0.0.1", port: to.port, method, path, headers: { Host: to.host, ...headers } }, (res) => {
      res.resume();
      res.on("end", () => resolve(res.statusCode));
      res.on("error", reject);
    });
    req.on("error", reject);
    req.end(body);
  });
}

const rows = page.locator(".row");
const first = rows.first();
const panel = page.locator("#panel");
const tab = (name) => page.getByRole("tab", { name }).click();
const top = (text) => page.waitForFunction((t) => document.querySelector(".row")?.textContent.includes(t), text);

const steps = {
  async "is empty at first"() {
    await page.goto(INSPECTOR);
    await page.getByText("No request yet.").waitFor();
    await shot("empty");
    await accessible("empty");
    const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map((e) => e.name));
    assert.deepEqual(loaded.filter((n) => /editor|dashboard/.test(n)), [], "loaded before it is needed");
  },
  async "shows requests as they come"() {
    await visit("/hook?first=1", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: "Bearer very-secret-token", "X-GitHub-Event": "push" },
      body: '{"action":"opened","number":12345678901234567890,"card":{"number":"4111111111111111"},"user":{"name":"Ada","tags":["a","b"]}}',
    });
    await top("/hook?first=1");
    for (const p of ["/fail", "/moved", "/no/such/page?x=1"]) await visit(p);
    await top("/no/such/page");
    assert.equal(await rows.count(), 4);
    assert.match(await rows.nth(1).textContent(), /302/);
    assert.match(await rows.nth(2).textContent(), /500/);
  },
  async "filters"() {
    await page.keyboard.press("/");
    await page.keyboard.type("status:5xx");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
    assert.match(await first.textContent(), /\/fail/);
    await page.getByLabel("Filter").fill("json:.action=opened header:x-github-event=push");
    await top("/hook");
    await page.getByLabel("Filter").fill("status:9");
    await page.getByText("give a status like 404").waitFor();
    await shot("filter-error");
    await accessible("filter error");
    await page.getByLabel("Filter").fill("path:/nowhere");
    await page.getByText("No request fits this filter.").waitFor();
    await visit("/fail?live");
    await page.getByLabel("Filter").fill("");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 5);
    await page.keyboard.press("Escape");
  },
  async "shows what was sent and answered"() {
    await rows.filter({ hasText: "/hook" }).click();
    await panel.getByText('"ok"').waitFor();
    await panel.getByText("12345678901234567890").waitFor();
    await shot("response");
    await accessible("response");
    await tab("Request");
    await panel.getByText('"Ada"').waitFor();
    await shot("request");
    assert.equal(await page.getByRole("tab", { name: "Deliveries" }).count(), 0, "an agent knows of no deliveries");
    await tab("Timing");
    await panel.getByText("Until the answer began").waitFor();
    await shot("timing");
    await accessible("timing");
  },
  async "copies a path of the JSON"() {
    await tab("Request");
    const node = panel.locator(".node").filter({ hasText: '"Ada"' });
    await node.hover();
    await node.getByRole("button", { name: "path" }).click();
    await page.getByText("Copied the path.").waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), ".user.name");
  },
  async "masks secrets until it is told to show them"() {
    const text = async () => (await page.locator("body").textContent()) + (await tab("Response"), await page.locator("body").textContent());
    await tab("Request");
    await panel.getByText('"Ada"').waitFor();
    assert.doesNotMatch(await text(), /very-secret|4111111111111111/);
    await page.keyboard.press("c");
    await page.getByText("Copied as curl; its secrets are hidden in it.").waitFor();
    const curl = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(curl, /^curl .*hook\?first=1/);
    assert.doesNotMatch(curl, /very-secret|4111111111111111/);
    await page.getByRole("button", { name: "Show secrets" }).click();
    await tab("Request");
    await panel.getByText("Bearer very-secret-token").waitFor();
    await panel.getByText("4111111111111111").waitFor();
    await page.getByRole("button", { name: "Hide secrets" }).click();
    await page.waitForFunction(() => !/very-secret|4111111111111111/.test(document.body.textContent));
  },
  async "replays"() {
    await page.locator(".list").focus();
    await page.keyboard.press("r");
    await page.getByText("Sent again.").waitFor();
    await top("/hook");
    assert.match(await first.textContent(), /replay/);
    await tab("Response");
    await panel.getByText('"replay"').waitFor();
    // The app saw the secret that the page does not show.
    assert.match(await panel.textContent(), /"auth": true.*"replay": "true"|"replay": "true".*"auth": true/s);
  },
  async "edits and replays"() {
    await page.keyboard.press("e");
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Body" }).waitFor();
    assert.doesNotMatch(await dialog.getByLabel("Headers").inputValue(), /very-secret/);
    await shot("edit");
    await accessible("edit");
    await dialog.getByLabel("Path").fill("/hook?edited=1");
    await dialog.getByLabel("Headers").fill((await dialog.getByLabel("Headers").inputValue()) + "\nX-Extra: 1");
    await dialog.getByRole("textbox", { name: "Body" }).click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type('{"say":"hello"}');
    await dialog.getByRole("button", { name: "Send" }).click();
    await dialog.waitFor({ state: "detached" });
    await top("/hook?edited=1");
    await tab("Response");
    await panel.locator(".node").filter({ hasText: '"length": 15' }).waitFor();
    assert.match(await panel.textContent(), /"auth": true/);
  },
  async "compares"() {
    await page.keyboard.press("d"); // a replay: with its original
    const dialog = page.getByRole("dialog");
    await dialog.locator(".d.in").filter({ hasText: "/hook?edited=1" }).waitFor();
    await dialog.locator(".d.in").filter({ hasText: "X-Extra" }).waitFor();
    await dialog.locator(".d.in").filter({ hasText: "hello" }).waitFor();
    await shot("diff");
    await accessible("diff");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    // Two of one's choice.
    await rows.filter({ hasText: "/fail?live" }).click();
    await page.getByRole("button", { name: /^Diff/ }).click();
    await rows.filter({ hasText: "/moved" }).click();
    await page.locator("h2").filter({ hasText: "/moved" }).waitFor();
    await page.keyboard.press("d");
    await dialog.locator(".d.out").filter({ hasText: "500" }).waitFor();
    await page.keyboard.press("Escape");
  },
  async "replays all that a filter chooses"() {
    await page.getByLabel("Filter").fill("path:/fail -is:replay");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 2);
    await page.locator(".filter summary").click();
    await page.keyboard.press("Escape"); // closes the menu, and not the choice
    assert.equal(await page.locator(".row").count(), 2);
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "All of it");
    await page.locator(".filter summary").click();
    await page.getByRole("button", { name: "Replay…" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Replay 2 requests?").waitFor();
    await dialog.getByRole("button", { name: "Replay 2 requests" }).click();
    await dialog.getByText("2 requests sent again.").waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("Filter").fill("path:/fail is:replay");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 2);
    await page.getByLabel("Filter").fill("");
    await page.waitForFunction(() => document.querySelectorAll(".row").length > 4);
    await page.keyboard.press("Escape");
  },
  async "goes by keyboard"() {
    await page.locator(".list").focus();
    await page.keyboard.press("Escape"); // the mark of what is to be compared
    await page.keyboard.press("Escape"); // the choice
    await page.locator(".row.on").waitFor({ state: "detached" });
    await page.keyboard.press("j");
    assert.equal(await page.locator(".row.on").textContent(), await first.textContent());
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    assert.equal(await page.locator(".row.on").getAttribute("aria-posinset"), "1");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.id === "panel");
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("duration:>500ms").waitFor();
    await shot("help");
    await accessible("help");
    await page.keyboard.press("Escape");
  },
  async "lists the events of a stream"() {
    await visit("/events");
    await top("/events");
    await first.click();
    await tab(/Messages/);
    await panel.getByText('{"n":2}').waitFor();
    await shot("messages");
    await accessible("messages");
  },
  async "shows a picture, a form, bytes"() {
    await visit("/png");
    await top("/png");
    await first.click();
    await tab("Response");
    await page.waitForFunction(() => document.querySelector(".picture img")?.naturalWidth === 120);
    await shot("picture");
    await visit("/form");
    await top("/form");
    await first.click();
    await panel.getByText("<script>").waitFor();
    await visit("/invalid");
    await top("/invalid");
    await first.click();
    await panel.getByText("61 62 63 ff fe 80").waitFor();
    await shot("hex");
    await accessible("hex");
  },
  async "takes no harm of what strangers send"() {
    const bad = "<script>window.pwned=1;alert(1)</script>";
    await visit(`/nothing/%3Cscript%3E?${bad.replaceAll(" ", "+")}`, { headers: { "X-Bad": `"><img src=x onerror=alert(1)>${bad}`, "User-Agent": bad } });
    await top("alert(1)");
    await first.click();
    await tab("Request");
    await panel.getByText("onerror=alert(1)").waitFor();
    await tab("Response");
    for (const [path, seen] of [
      ["/html", "window.pwned"],
      ["/svg", "onload"],
      ["/keys", "__proto__"],
      ["/deep", "[ … ]"],
      ["/large", "Only the beginning"],
      ["/wide", "[ … ]"],
      ["/bomb", "Only the beginning"],
    ]) {
      await visit(path);
      await top(path);
      const began = Date.now();
      await first.click();
      await page.locator("h2").filter({ hasText: path }).waitFor();
      await panel.getByText(seen).first().waitFor();
      await page.keyboard.press("k");
      const took = Date.now() - began;
      assert.ok(took < 3000, `${path} took ${took} ms`);
    }
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    // A link to a body does not show it either.
    const id = await page.evaluate(async () => (await (await fetch("api/v1/requests?filter=path:/html")).json()).items[0].id);
    const res = await page.request.get(`${INSPECTOR}/api/v1/requests/${id}/response-body`);
    assert.equal(res.headers()["content-type"], "application/octet-stream");
    assert.match(res.headers()["content-disposition"], /^attachment/);
    await shot("hostile");
  },
  async "edits a long body of one line"() {
    const body = `[${'{"a":"\u202e<script>","b":[1,2,3]},'.repeat(22_000)}0]`;
    await visit("/hook?long", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    await top("/hook?long");
    await first.click();
    await page.locator("h2").filter({ hasText: "/hook?long" }).waitFor();
    const began = Date.now();
    await page.keyboard.press("e");
    const dialog = page.getByRole("dialog");
    const editor = dialog.getByRole("textbox", { name: "Body" });
    await editor.waitFor();
    await editor.click();
    await page.keyboard.press("Control+Home");
    await page.keyboard.type(" [1], ");
    const took = Date.now() - began;
    console.log(`${Math.round(body.length / 1000)} kB in the editor: ${took} ms`);
    assert.ok(took < 5000, `it took ${took} ms`);
    await shot("edit-long");
    await page.keyboard.press("Control+z");
    await page.keyboard.press("Control+f");
    await dialog.getByRole("textbox", { name: "Find" }).fill("script");
    await page.keyboard.press("Enter");
    await shot("edit-search");
    await accessible("edit, search");
    await page.keyboard.press("Escape"); // the search
    await dialog.waitFor();
    await page.keyboard.press("Control+Enter");
    await dialog.waitFor({ state: "detached" });
    await panel.getByText('"replay": "true"').or(panel.locator(".node").filter({ hasText: '"replay"' })).first().waitFor();
  },
  async "works in the dark and on a phone"() {
    await rows.filter({ hasText: "/wide" }).click();
    await page.locator(".list").evaluate((el) => (el.scrollTop = 1e6));
    await rows.filter({ hasText: "/hook?first=1" }).last().click();
    await tab("Response");
    await panel.getByText('"ok"').waitFor();
    await page.emulateMedia({ colorScheme: "dark" });
    await shot("dark");
    await accessible("dark");
    await page.setViewportSize({ width: 390, height: 780 });
    await shot("phone-detail-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await shot("phone-detail");
    await accessible("phone detail");
    await page.getByRole("button", { name: "‹ List" }).click();
    await rows.first().waitFor();
    await shot("phone-list");
    await accessible("phone list");
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 390), "it is wider than the screen");
    await page.setViewportSize({ width: 1280, height: 800 });
  },
  async "says when the agent is gone"() {
    await page.getByText("● live").or(page.locator(".link.up")).first().waitFor();
    await page.route("**/api/v1/requests/stream**", (r) => r.abort("internetdisconnected"));
    await context.setOffline(true);
    await page.reload().catch(() => undefined);
    await context.setOffline(false);
    await page.goto(INSPECTOR);
    await page.getByText("The agent does not answer.").waitFor();
    await shot("offline");
    await page.unroute("**/api/v1/requests/stream**");
    await page.locator(".link.up").waitFor();
  },
  async "stays quick with 10 000 rows"() {
    await page.goto(ROWS);
    await page.getByText("10000 shown").waitFor();
    assert.ok((await rows.count()) < 80, "all rows are in the page");
    const worst = await page.evaluate(async () => {
      const el = document.querySelector(".list");
      let worst = 0;
      let last = performance.now();
      for (let i = 0; i < 60; i++) {
        el.scrollTop = (el.scrollHeight * i) / 60;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        worst = Math.max(worst, now - last);
        last = now;
      }
      return worst;
    });
    const began = Date.now();
    await page.getByLabel("Filter").fill("status:500");
    await page.getByText("2000 shown").waitFor();
    const took = Date.now() - began;
    console.log(`10 000 rows: worst frame ${Math.round(worst)} ms, filter ${took} ms`);
    assert.ok(worst < 500, `a frame took ${worst} ms`);
    assert.ok(took < 3000, `the filter took ${took} ms`);
    await shot("many");
  },
};

await run(steps, [INSPECTOR, ROWS]);

// The dashboard of a real cluster, in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LAPTOP, PHONE, assertNoSidewaysScroll, launch, screenshot, withPage } from "./support/browser.js";
import { Cluster } from "./support/nodes.js";
import { openPanel } from "./support/playground.js";

/** @import { Browser } from "playwright-core" */

/** @type {Browser} */
let browser;
/** @type {Cluster} */
let cluster;

before(async () => {
  cluster = await Cluster.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

test("dashboard_fits_on_laptop_and_phone", async () => {
  const [node] = cluster.nodes.values();
  for (const [name, viewport] of /** @type {const} */ ([["laptop", LAPTOP], ["phone", PHONE]])) {
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      await withPage(browser, `${node?.url}/`, { viewport, colorScheme }, async (page) => {
        await page.locator('[data-role="leader"]').waitFor();
        await assertNoSidewaysScroll(page);
        await screenshot(page, `dashboard-${name}-${colorScheme}`);
      });
    }
  }
});

test("dashboard_writes_reads_and_shows_new_leader", async () => {
  const early = await cluster.leader();
  const watched = [...cluster.nodes.keys()].find((name) => name !== early);
  const { url } = /** @type {{ url: string }} */ (cluster.nodes.get(watched ?? ""));
  await withPage(browser, `${url}/`, {}, async (page) => {
    // On a machine that is busy with starting a browser there may be another leader by now.
    await page.locator('[data-role="leader"]').waitFor();
    const first = await cluster.leader();
    assert.notEqual(first, watched);
    await page.locator('[data-role="leader"]').getByText(first, { exact: true }).waitFor();
    await openPanel(page, "client-panel");
    await page.getByLabel("Allow writes").check();
    await page.locator("#op").selectOption("put");
    await page.locator("#key").fill("colour");
    await page.locator("#value").fill("blue");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("done, revision").waitFor();
    await page.locator("#op").selectOption("get");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#answer").getByText("blue").waitFor();

    await cluster.kill(first);
    const second = await cluster.leader();
    assert.notEqual(second, first);
    await page.locator('[data-role="leader"]').getByText(second, { exact: true }).waitFor();
    await page.locator("#live-state").getByText("2 of 3 nodes answer").waitFor();
    await page.locator("#events-list").getByText(/wins term|leads in term|follows .*, the leader of term/).first().waitFor();

    // The node keeps its name and what it reported. The page cannot know that the node crashed.
    const lost = page.locator('[data-process="unreachable"]');
    await lost.getByText(first, { exact: true }).waitFor();
    await page.locator("#labels").getByText("unreachable", { exact: true }).waitFor();
    assert.match((await lost.getAttribute("aria-label")) ?? "", new RegExp(`^${first}: unreachable since \\d\\d:\\d\\d:\\d\\d$`));
    await lost.click();
    await page.locator("#inspector").getByText(/^unreachable since \d\d:\d\d:\d\d$/).waitFor();
    await page.locator("#inspector").getByText(`${first} reported last, at`).waitFor();
    assert.equal(await page.locator("main").getByText("crashed").count(), 0);
    await page.locator("#summary").getByText(`${first} is unreachable`).waitFor();

    cluster.launch(first);
    await page.locator("#live-state").getByText("3 of 3 nodes answer").waitFor();
    await lost.waitFor({ state: "detached" });
  });
});

test("live_page_writes_only_after_writes_are_allowed", async () => {
  const [node] = cluster.nodes.values();
  await withPage(browser, `${node?.url}/`, {}, async (page) => {
    /** @type {string[]} */
    const writes = [];
    page.on("request", (request) => {
      if (request.method() !== "GET") writes.push(`${request.method()} ${request.url()}`);
    });
    await page.locator('[data-role="leader"]').waitFor();
    assert.equal(await page.getByLabel("Allow writes").isChecked(), false);
    assert.equal(await page.locator("#op").inputValue(), "get");
    assert.equal(await page.locator("#op option:disabled").count(), 2, "put and delete");
    await page.locator("#asked").getByText(/^Requests go to node\d$/).waitFor({ state: "attached" });
    // No key writes, whatever has the focus.
    for (const key of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") await page.keyboard.press(key);
    await openPanel(page, "client-panel");
    await page.locator("#send").click();
    await page.locator("#answer").getByText(/./).waitFor();
    assert.deepEqual(writes, []);

    await openPanel(page, "client-panel");
    await page.getByLabel("Allow writes").check();
    for (const key of "wxyz") await page.keyboard.press(key);
    await page.locator("#op").selectOption("put");
    await page.locator("#key").fill("allowed");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator("#answer").getByText("done, revision").waitFor();
    assert.equal(writes.length, 1, writes.join());
    // Without the permission nothing but reading is left.
    await openPanel(page, "client-panel");
    await page.getByLabel("Allow writes").uncheck();
    assert.equal(await page.locator("#op").inputValue(), "get");
    await page.reload();
    await page.locator('[data-role="leader"]').waitFor();
    assert.equal(await page.getByLabel("Allow writes").isChecked(), false);
  });
});

test("inspector_of_live_leader_shows_next_and_match_of_followers", async () => {
  const leader = await cluster.leader();
  const { url } = /** @type {{ url: string }} */ (cluster.nodes.get(leader));
  await withPage(browser, `${url}/`, {}, async (page) => {
    await page.locator('[data-role="leader"]').click();
    const table = page.locator("#inspector table");
    await table.getByRole("columnheader", { name: /next/i }).waitFor();
    const others = [...cluster.nodes.keys()].filter((name) => name !== leader);
    for (const name of others) {
      const row = table.getByRole("row", { name });
      await row.waitFor();
      assert.match((await row.textContent()) ?? "", new RegExp(`^${name}\\d+\\d+`));
    }
    await page.locator("#inspector dt").getByText("Version").waitFor();
    await page.locator("#serving").getByText(`as ${leader} sees it`).waitFor();
    await page.locator("#logs-title").getByText(`Log of ${leader}`).waitFor();
    await page.locator("#events-title").getByText(`Story of ${leader}`).waitFor();

    // A follower that has not the whole log is not called up to date.
    const [lost = ""] = others;
    await cluster.kill(lost);
    const written = await fetch(`${url}/v1/kv/behind`, { method: "PUT", body: "1" });
    assert.equal(written.status, 204);
    await table.getByRole("row", { name: lost }).getByText(/^\d+ (behind|in flight)$|^probing$/).waitFor();
    cluster.launch(lost);
    await page.locator("#live-state").getByText("3 of 3 nodes answer").waitFor();
    await table.getByRole("row", { name: lost }).getByText("up to date").waitFor();
  });
});

test("node_dead_before_page_opens_has_its_name", async () => {
  const leader = await cluster.leader();
  const lost = [...cluster.nodes.keys()].find((name) => name !== leader) ?? "";
  const { url } = /** @type {{ url: string }} */ (cluster.nodes.get(leader));
  await cluster.kill(lost);
  await withPage(browser, `${url}/`, {}, async (page) => {
    await page.locator('[data-process="unreachable"]').getByText(lost, { exact: true }).waitFor();
    await page.locator('[data-process="unreachable"]').click();
    await page.locator("#inspector").getByText(`${lost} has not answered since this page was opened.`).waitFor();
    await page.locator("#inspector dt").getByText("Address").waitFor();
  });
  cluster.launch(lost);
  await cluster.leader();
});

// The last test: it leaves no majority.
test("loss_of_majority_and_of_serving_node_raises_an_alarm", async () => {
  const [[watched, node] = ["", undefined], ...others] = cluster.nodes.entries();
  await withPage(browser, `${node?.url}/`, {}, async (page) => {
    await page.locator('[data-role="leader"]').waitFor();
    assert.equal(await page.locator("#alarm").textContent(), "");
    for (const [name] of others) await cluster.kill(name);
    await page.getByRole("alert").getByText("No majority: 1 of 3 voters answers, 2 are needed. Writes are not possible.").waitFor();
    await page.locator("#live-state.broken").getByText("1 of 3 nodes answer").waitFor();
    assert.equal(await page.locator('[data-process="unreachable"]').count(), 2);
    // A candidate for pre-votes is not called a candidate. The vote for a lost node keeps its name.
    const own = page.locator(`[data-node][data-role="pre-candidate"]`);
    await own.getByText(watched, { exact: true }).waitFor();
    await own.click();
    await page.locator("#inspector").getByText("pre-candidate").waitFor();
    assert.match((await page.locator("#inspector dt", { hasText: "Voted for" }).locator("+ dd").textContent()) ?? "", /^(node\d|–)$/);

    // A page that opens now knows the lost nodes by their addresses only.
    await withPage(browser, `${node?.url}/`, {}, async (late) => {
      await late.locator('[data-process="unreachable"]').first().waitFor();
      const widths = await late.locator("#ring .node").evaluateAll((nodes) => nodes.map((element) =>
        [".name", ".disc"].map((part) => element.querySelector(part)?.getBoundingClientRect().width ?? 0)));
      for (const [name = 0, disc = 0] of widths) assert.ok(name <= disc, `the name is ${name} px wide, the disc ${disc} px`);
    });

    // A process that is stopped keeps its connections, and answers nothing.
    cluster.signal(watched, "SIGSTOP");
    await page.getByRole("alert").getByText(new RegExp(`^${watched}, which serves this page, has not answered since \\d\\d:\\d\\d:\\d\\d\\. The page shows what was known then\\.`)).waitFor();
    assert.notEqual(await page.locator("html").getAttribute("data-stale"), null);
    assert.equal(await page.locator(`[data-node]`).count(), 3, "the last picture stays");
    cluster.signal(watched, "SIGCONT");
    await page.getByRole("alert").getByText("No majority").waitFor();
    assert.equal(await page.locator("html").getAttribute("data-stale"), null);
  }, /^request: .*ERR_TIMED_OUT|^console: .*Failed to load resource/);
});

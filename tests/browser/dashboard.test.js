// The dashboard of a real cluster, in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LAPTOP, PHONE, assertNoSidewaysScroll, launch, screenshot, withPage } from "./support/browser.js";
import { Cluster } from "./support/nodes.js";

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

test("the dashboard looks right on a laptop and on a phone", async () => {
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

test("the dashboard writes and reads, and shows the cluster's change of leader", async () => {
  const early = await cluster.leader();
  const watched = [...cluster.nodes.keys()].find((name) => name !== early);
  const { url } = /** @type {{ url: string }} */ (cluster.nodes.get(watched ?? ""));
  await withPage(browser, `${url}/`, {}, async (page) => {
    // On a machine that is busy with starting a browser there may be another leader by now.
    await page.locator('[data-role="leader"]').waitFor();
    const first = await cluster.leader();
    assert.notEqual(first, watched);
    await page.locator('[data-role="leader"]').getByText(first, { exact: true }).waitFor();
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
    await page.locator('[data-process="down"]').waitFor();
    await page.locator("#live-state").getByText("2 of 3 nodes answer").waitFor();
    await page.locator("#story-list").getByText(/leads in term|follows .*, the leader of term/).first().waitFor();
  });
});

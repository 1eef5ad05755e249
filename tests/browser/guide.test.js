// The guided first minute, and the arrangement of the panels.

import assert from "node:assert/strict";
import { test } from "node:test";

import { findings } from "./support/axe.js";
import { LAPTOP, PHONE, assertNoSidewaysScroll, withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { ready, stand } from "./support/playground.js";

const site = useDemo();

/**
 * Waits for the title of a step, and until time has reached its moment.
 * @param {import("playwright-core").Page} page
 * @param {RegExp} title
 */
async function step(page, title) {
  await page.locator("#guide h2").getByText(title).waitFor();
  await page.getByRole("button", { name: "Run", exact: true }).waitFor();
}

test("first_visit_is_guided_by_the_enter_key", async () => {
  await withPage(site.browser, `${site.url}/playground/`, { viewport: LAPTOP }, async (page) => {
    await step(page, /No leader yet/);
    assert.deepEqual(await findings(page, "guide"), []);
    for (const title of [/time is up first/, /leads\./, /I am still here/, /A client writes/, /committed/]) {
      await page.keyboard.press("Enter");
      await step(page, title);
    }
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Crash n2" }).waitFor();
    await page.keyboard.press("Enter");
    await page.locator('[data-node="2"][data-process="down"]').waitFor();
    await page.getByRole("button", { name: "Next" }).waitFor();
    await page.keyboard.press("Enter");
    await step(page, /leads term [2-9]/);
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Restart n2" }).waitFor();
    await page.keyboard.press("Enter");
    await page.locator('[data-node="2"][data-process="running"]').waitFor();
    await page.getByRole("button", { name: "Play", exact: true }).waitFor();
    await page.keyboard.press("Enter");
    await page.locator("#events").waitFor();
    assert.equal(await page.locator("#guide").isVisible(), false);
  });
});

test("guide_is_left_by_escape_and_not_shown_again", async () => {
  await withPage(site.browser, `${site.url}/playground/`, { viewport: PHONE }, async (page) => {
    await page.locator("#guide h2").waitFor();
    await assertNoSidewaysScroll(page);
    await page.keyboard.press("Escape");
    await page.locator("#tabs").waitFor();
    await page.goto(`${site.url}/playground/`);
    await ready(page);
    assert.equal(await page.locator("#guide").isVisible(), false);
  });
});

test("panels_are_resized_folded_and_remembered", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), { viewport: LAPTOP }, async (page) => {
    await stand(page, 1);
    const width = async () => (await page.locator("#events").boundingBox())?.width ?? 0;
    const before = await width();
    await page.locator("#split-story").focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await width(), before + 16);
    await page.getByRole("button", { name: "Logs", exact: true }).click();
    assert.equal(await page.locator("#logs-frame").isVisible(), false);
    await page.reload();
    await ready(page);
    assert.equal(await width(), before + 16);
    assert.equal(await page.locator("#logs-frame").isVisible(), false);
    await page.getByRole("button", { name: "Logs", exact: true }).click();
    await page.getByRole("button", { name: "Maximize the logs" }).click();
    assert.equal(await page.locator("#stage").isVisible(), false);
    await page.getByRole("button", { name: "Maximize the logs" }).click();
    await page.locator("#stage").waitFor();
  });
});

test("node_menu_offers_faults_of_disk_and_clock", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7 }), { viewport: LAPTOP }, async (page) => {
    await stand(page, 1);
    await page.locator('[data-node="2"]').click({ button: "right" });
    await page.locator("#menu").getByRole("button", { name: "Fill the disk" }).click();
    await page.locator("#events-list").getByText("n2 has a full disk").waitFor();
    await page.locator('[data-node="2"]').focus();
    await page.keyboard.press("m");
    await page.locator("#menu").getByRole("button", { name: "Free the disk" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#menu").isVisible(), false);
  });
});

test("cluster_menu_partitions_and_heals", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), { viewport: LAPTOP }, async (page) => {
    await stand(page, 1);
    await page.locator("#cluster-menu").click();
    assert.deepEqual(await findings(page, "cluster menu"), []);
    await page.getByRole("button", { name: "Leader with a minority" }).click();
    await page.locator("#summary").getByText("12 one-way links are cut").waitFor();
    await page.locator("#cluster-menu").click();
    await page.getByRole("button", { name: "Heal all links" }).click();
    await page.locator("#summary").getByText("links are cut").waitFor({ state: "detached" });
    await page.locator("#cluster-menu").click();
    await page.getByRole("button", { name: "Partition by hand…" }).click();
    await page.locator("#partition").getByLabel("n3").selectOption("C");
    await page.getByRole("dialog", { name: "Partition" }).getByRole("button", { name: "Partition" }).click();
    await page.locator("#summary").getByText("16 one-way links are cut").waitFor();
  });
});

test("event_shows_what_led_to_it", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 1_000_000 }), { viewport: LAPTOP }, async (page) => {
    await page.locator("#events-list").getByText("wins term 1").click();
    await page.locator("#events-list").getByText(/leads in term 1/).click();
    await page.locator("#inspector").getByRole("heading", { name: "Because of" }).waitFor();
    await page.locator("#inspector").getByText(/votes for n\d in term 1/).first().waitFor();
    assert.deepEqual(await findings(page, "causes"), []);
    await page.locator("#inspector .chain button").first().click();
    await page.waitForFunction(() => parseFloat(document.querySelector("#clock")?.textContent ?? "") < 1);
  });
});

test("event_leads_to_its_moment", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 1_000_000, do: [{ at: 600_000, do: "crash", node: 2 }] }), { viewport: LAPTOP }, async (page) => {
    await page.locator("#events-list").getByText("n2 crashes").click();
    await page.waitForFunction(() => document.querySelector("#clock")?.textContent === "0.600 s");
  });
});

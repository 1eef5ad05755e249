// Every view of the page in every size and theme, judged by axe-core.

import assert from "node:assert/strict";
import { test } from "node:test";

import { findings } from "./support/axe.js";
import { TIMEOUT_MS, assertBarsFit, assertNoSidewaysScroll, settled, withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { openLights, openPanel } from "./support/playground.js";

/** @import { Page } from "playwright-core" */

const site = useDemo();

const SIZES = [[320, 640], [390, 844], [820, 1180], [844, 390], [1024, 600], [1366, 768], [1920, 1080]];
const THEMES = /** @type {const} */ (["light", "dark"]);

/**
 * A view, and how a person gets there. Every view is left by `Escape`.
 * @typedef {[name: string, open: (page: Page) => Promise<void>]} Name
 */

/** Below 1024 px a view is chosen by a tab. @param {Page} page @param {string} name */
async function tab(page, name) {
  const button = page.locator("#tabs button", { hasText: name });
  if (await button.isVisible()) await button.click();
}

/** @type {Name[]} */
const PLAYGROUND = [
  ["story", (page) => tab(page, "Story")],
  ["node", async (page) => {
    await page.keyboard.press("l");
    await page.locator("#inspector dl").waitFor();
  }],
  ["menu of a node", async (page) => {
    await page.keyboard.press("l");
    await page.keyboard.press("m");
    await page.locator("#menu").getByText("Disk", { exact: true }).waitFor();
  }],
  ["crashed node", async (page) => {
    await page.keyboard.press("5");
    await page.locator("#inspector").getByRole("button", { name: "Restart" }).waitFor();
  }],
  ["link", async (page) => {
    await page.locator('[data-link="1-2"]').focus();
    await page.keyboard.press("Enter");
    await page.locator("#menu").getByRole("heading", { name: "n1 – n2" }).waitFor();
  }],
  ["message", async (page) => {
    await page.locator('#ring .message[tabindex="0"]').focus();
    await page.keyboard.press("Enter");
    await page.locator("#menu").getByText(/ → /).first().waitFor();
  }],
  ["rule", async (page) => {
    await tab(page, "Safety");
    await openLights(page);
    await page.locator('[data-rule="linearizability"]').click();
    await page.locator("#inspector p").nth(1).waitFor();
  }],
  ["safety", async (page) => {
    await tab(page, "Safety");
    await openLights(page);
  }],
  ["logs", (page) => tab(page, "Logs")],
  ["time", (page) => tab(page, "Time")],
  ["help", (page) => page.keyboard.press("?")],
  ["cluster", (page) => openPanel(page, "cluster")],
  ["client", (page) => openPanel(page, "client-panel")],
  ["settings", async (page) => {
    await openPanel(page, "cluster");
    await page.locator("#settings-open").click();
    await page.locator("#settings[open]").waitFor();
  }],
];

/** @type {Name[]} */
const LIVE = [
  ["story", (page) => tab(page, "Story")],
  ["leader", async (page) => {
    await page.keyboard.press("l");
    await page.locator("#inspector").getByRole("columnheader", { name: /next/i }).waitFor();
  }],
  ["logs", (page) => tab(page, "Logs")],
  ["client", (page) => openPanel(page, "client-panel")],
  ["help", (page) => page.keyboard.press("?")],
];

/** @param {Page} page @param {Name[]} views @param {string} what */
async function judge(page, views, what) {
  const found = [];
  for (const [width = 0, height = 0] of SIZES) {
    await page.setViewportSize({ width, height });
    for (const [name, open] of views) {
      await open(page);
      found.push(...(await findings(page, `${what}, ${name}, ${width} x ${height}`)));
      await assertNoSidewaysScroll(page);
      await assertBarsFit(page);
      // A panel first, and then the selection.
      for (let times = 0; times < 3; times += 1) await page.keyboard.press("Escape");
    }
  }
  assert.deepEqual(found, []);
}

for (const colorScheme of THEMES) {
  test(`playground_${colorScheme}_has_no_accessibility_finding`, async () => {
    const actions = encodeURIComponent(JSON.stringify([
      { at: 1_000_000, do: "request", request: { op: "put", key: "x", value: "1" } },
      { at: 1_500_000, do: "crash", node: 5 }, { at: 1_500_000, do: "cut-link", from: 1, to: 2 }, { at: 1_500_000, do: "isolate", node: 4 },
    ]));
    await withPage(site.browser, `${site.url}/playground/#nodes=5&seed=7&do=${actions}&at=2000000`, { colorScheme }, async (page) => {
      await page.locator('[data-node="5"][data-process="down"]').waitFor();
      for (let steps = 0; steps < 200 && (await page.locator("#ring .message:not(.lost)").count()) < 2; steps += 1) {
        await page.keyboard.press("ArrowRight");
        await settled(page);
      }
      assert.ok((await page.locator("#ring .message:not(.lost)").count()) > 0);
      await judge(page, PLAYGROUND, `playground, ${colorScheme}`);
    });
  });

  test(`dashboard_${colorScheme}_has_no_accessibility_finding`, async () => {
    await withPage(site.browser, `${site.url}/`, { colorScheme }, async (page) => {
      await page.locator('[data-role="leader"]').waitFor();
      await judge(page, LIVE, `dashboard, ${colorScheme}`);
      // And with the parts that only a failure shows.
      await page.evaluate(() => {
        document.documentElement.toggleAttribute("data-stale", true);
        for (const id of ["alarm", "toast"]) document.querySelector(`#${id}`)?.append("Something has happened.");
      });
      assert.deepEqual(await findings(page, `dashboard with an alarm, ${colorScheme}`), []);
    });
  });

  test(`page_that_cannot_start_${colorScheme}_has_no_accessibility_finding`, async () => {
    const context = await site.browser.newContext({ colorScheme });
    context.setDefaultTimeout(TIMEOUT_MS);
    const page = await context.newPage();
    await context.route("**/*.wasm", (route) => route.abort());
    await page.goto(`${site.url}/playground/`);
    await page.getByRole("button", { name: "Reload" }).waitFor();
    for (const [width = 0, height = 0] of SIZES) {
      await page.setViewportSize({ width, height });
      assert.deepEqual(await findings(page, `page that cannot start, ${colorScheme}, ${width} x ${height}`), []);
      await assertNoSidewaysScroll(page);
    }
    await context.close();
  });
}

test("long_work_has_no_accessibility_finding", async () => {
  await withPage(site.browser, `${site.url}/playground/#nodes=5&seed=1&at=31536000000000`, {}, async (page) => {
    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme });
      await page.locator("#work").waitFor();
      assert.deepEqual(await findings(page, `long work, ${colorScheme}`), []);
    }
  });
});

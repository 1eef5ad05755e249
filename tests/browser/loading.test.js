// How the page loads, and what it says if it cannot.

import assert from "node:assert/strict";
import { test } from "node:test";

import { TIMEOUT_MS, withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { holdingProxy } from "./support/proxy.js";

/** @import { Page } from "playwright-core" */

const site = useDemo();

/** No control works and no light is green before the engine runs. @param {Page} page */
async function assertNothingPretends(page) {
  for (const selector of ["#cluster-open", "#share", "footer"]) {
    assert.notEqual(await page.locator(selector).getAttribute("inert"), null, selector);
  }
  assert.equal(await page.locator("#play").getAttribute("aria-label"), "Run");
  assert.equal(await page.locator("#safety .holds").count(), 0);
  assert.equal(await page.locator("#tab-light").getAttribute("class"), "unknown");
  assert.equal(await page.getByText("Nothing has happened yet").count(), 0);
  assert.doesNotMatch((await page.locator("#summary").textContent()) ?? "", /leads/);
}

test("half_loaded_module_shows_progress_in_bytes", async () => {
  const proxy = await holdingProxy(site.url, ".wasm");
  try {
    await withPage(site.browser, `${proxy.url}/playground/#nodes=3&seed=1`, {}, async (page) => {
      await page.locator("#loading-text").getByText(/^Loading the simulator: \d+ of \d+ kB$/).waitFor();
      const text = (await page.locator("#loading-text").textContent()) ?? "";
      const [, received = 0, total = 0] = (/(\d+) of (\d+)/.exec(text) ?? []).map(Number);
      assert.ok(received > 0 && received < total, text);
      const value = await page.locator("#loading-bar").evaluate((bar) => /** @type {HTMLProgressElement} */ (bar).value);
      assert.ok(value > 0 && value < 1, String(value));
      await assertNothingPretends(page);
      proxy.release();
      await page.locator('[data-role="leader"]').waitFor();
      assert.equal(await page.locator("#loading").isVisible(), false);
      assert.equal(await page.locator("[inert]").count(), 0);
    });
  } finally {
    await proxy.stop();
  }
});

test("keys_and_story_filter_do_nothing_before_the_engine_runs", async () => {
  const proxy = await holdingProxy(site.url, ".wasm");
  try {
    await withPage(site.browser, `${proxy.url}/playground/#nodes=3&seed=1`, {}, async (page) => {
      await page.locator("#loading-text").getByText(/^Loading the simulator: \d+ of/).waitFor();
      for (const key of [" ", "w", "u", "h", "1", "c", "x", "ArrowRight", "ArrowLeft"]) await page.keyboard.press(key);
      await page.locator("#events-filter").selectOption("");
      assert.equal(await page.locator("#toast").textContent(), "");
      await assertNothingPretends(page);
      proxy.release();
      await page.locator('[data-role="leader"]').waitFor();
      assert.equal(await page.locator("#toast").textContent(), "", "no key was kept for later");
    });
  } finally {
    await proxy.stop();
  }
});

test("page_starts_where_the_browser_denies_storage", async () => {
  await withPage(site.browser, `${site.url}/playground/#nodes=3&seed=1`, {}, async (page) => {
    await page.addInitScript(() => {
      const denied = { get: () => { throw new DOMException("denied", "SecurityError"); } };
      for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, denied);
    });
    await page.reload();
    await page.locator('[data-role="leader"]').waitFor();
    const before = await page.locator("html").getAttribute("data-theme");
    await page.locator("#help-open").click();
    await page.locator("#theme").click();
    assert.notEqual(await page.locator("html").getAttribute("data-theme"), before);
  });
});

for (const [name, file, reason] of /** @type {const} */ ([
  ["missing_module_is_reported", "**/*.wasm", /module cannot be loaded: Failed to fetch/],
  ["missing_script_of_worker_is_reported", "**/pkg/module_size.js", /the simulator cannot be loaded: no answer/],
  ["missing_worker_is_reported", "**/worker.js", /the simulator cannot be loaded/],
  ["missing_script_of_page_is_reported", "**/ring-view.js", /main\.js/],
])) {
  test(`${name}_and_reload_helps`, async () => {
    const context = await site.browser.newContext();
    context.setDefaultTimeout(TIMEOUT_MS);
    const page = await context.newPage();
    await context.route(file, (route) => route.abort());
    await page.goto(`${site.url}/playground/#nodes=3&seed=1`);
    await page.locator("#loading-text").getByText(reason).waitFor();
    await page.locator("#loading-text").getByText("then reload the page").waitFor();
    await assertNothingPretends(page);
    assert.equal(await page.getByText("Loading…").count(), 0);
    await context.unroute(file);
    await page.getByRole("button", { name: "Reload" }).click();
    await page.locator('[data-role="leader"]').waitFor();
    assert.equal(await page.locator("#loading").isVisible(), false);
    await context.close();
  });
}

test("node_without_playground_says_how_to_build_it", async () => {
  const context = await site.browser.newContext();
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  const detail = "this program was built without the playground: build it with cargo xtask demo";
  await context.route("**/pkg/*", (route) => route.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify({ detail }) }));
  await page.goto(`${site.url}/playground/`);
  await page.locator("#loading-text").getByText(detail).waitFor();
  await context.close();
});

test("long_way_through_time_shows_progress_and_can_be_cancelled", async () => {
  // No machine computes a year of a busy cluster before the button is pressed.
  const config = encodeURIComponent(JSON.stringify({ clients: 5 }));
  await withPage(site.browser, `${site.url}/playground/#nodes=5&seed=1&config=${config}&at=31536000000000`, {}, async (page) => {
    await page.locator("#work-text").getByText(/^Computing the run: \d+ %, \d+\.\d s$/).waitFor();
    assert.equal(await page.getByRole("progressbar", { name: "Computing the run" }).count(), 1);
    await page.getByRole("button", { name: "Cancel" }).first().click();
    await page.locator("#toast").getByText(/^Stopped at \d+\.\d{3} s\.$/).waitFor();
    await page.locator("#work").waitFor({ state: "hidden" });
    const stopped = (await page.locator("#clock").textContent()) ?? "";
    assert.ok(parseFloat(stopped) > 0 && parseFloat(stopped) < 31536000, stopped);
    await page.keyboard.press("Space");
    await page.waitForFunction((before) => document.querySelector("#clock")?.textContent !== before, stopped);
  });
});

test("long_way_through_time_is_left_for_another_run", async () => {
  await withPage(site.browser, `${site.url}/playground/#nodes=5&seed=1&at=31536000000000`, {}, async (page) => {
    await page.locator("#work").waitFor();
    await page.evaluate(() => (location.hash = "#nodes=3&seed=2"));
    await page.locator("#work").waitFor({ state: "hidden" });
    await page.waitForFunction(() => document.querySelectorAll("#ring .node").length === 3);
    await page.locator('[data-role="leader"]').waitFor();
  });
});

test("escape_cancels_long_way_through_time", async () => {
  await withPage(site.browser, `${site.url}/playground/#nodes=5&seed=1&at=31536000000000`, {}, async (page) => {
    await page.locator("#work").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#work").waitFor({ state: "hidden" });
    await page.locator("#toast").getByText("Stopped at").waitFor();
  });
});

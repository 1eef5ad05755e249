// One Chromium for a file of tests, and pages that complain about everything that goes wrong on
// them.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

/** @import { Browser, Page, BrowserContextOptions } from "playwright-core" */

const SCREENSHOTS = fileURLToPath(new URL("../../../screenshots/", import.meta.url));

/** Much longer than any condition needs on a busy machine: no test depends on speed. */
export const TIMEOUT_MS = 120_000;

export const LAPTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** @param {string[]} more Arguments of Chromium besides the usual ones. */
export async function launch(more = []) {
  return await chromium.launch({
    timeout: TIMEOUT_MS,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      ...more,
    ],
  });
}

/**
 * Opens a page of its own, hands it to `use`, and fails if anything was wrong with it in the
 * meantime: an error or a warning on the console, an exception, a request that failed or was
 * refused.
 * @param {Browser} browser
 * @param {string} url
 * @param {BrowserContextOptions} options
 * @param {(page: Page) => Promise<void>} use
 * @param {RegExp} [expected] Complaints that belong to the test.
 */
export async function withPage(browser, url, options, use, expected) {
  const context = await browser.newContext({ viewport: LAPTOP, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  /** @type {string[]} */
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error}`));
  page.on("crash", () => complaints.push("the page crashed"));
  page.on("requestfailed", (request) => {
    // The page, or the browser when the page is left, no longer wants the answer.
    if (request.failure()?.errorText === "net::ERR_ABORTED") return;
    complaints.push(`request: ${request.url()} ${request.failure()?.errorText}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`response: ${response.status()} ${response.url()}`);
  });
  try {
    const response = await page.goto(url);
    assert.equal(response?.status(), 200, url);
    await use(page);
    assert.deepEqual(complaints.filter((complaint) => !expected?.test(complaint)), []);
  } catch (error) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await page.screenshot({ path: `${SCREENSHOTS}failed.png` }).catch(() => {});
    if (complaints.length > 0) console.error(`the page complained:\n${complaints.join("\n")}`);
    throw error;
  } finally {
    // What is cut off now (a stream of events) is no complaint.
    page.removeAllListeners();
    await context.close();
  }
}

/**
 * Saves a picture for a person to look at; no test compares it.
 * @param {Page} page
 * @param {string} name
 */
export async function screenshot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
}

/**
 * Nothing sticks out sideways: no finger has to search for it.
 * @param {Page} page
 */
export async function assertNoSidewaysScroll(page) {
  const [needed, given] = await page.evaluate(() => {
    const root = document.documentElement;
    return [root.scrollWidth, root.clientWidth];
  });
  assert(needed <= given, `the page is ${needed} px wide on a screen of ${given} px`);
}

/**
 * The bars at the top and at the bottom show all of their controls.
 * @param {Page} page
 */
export async function assertBarsFit(page) {
  const cut = await page.evaluate(() => [...document.querySelectorAll(".top :is(a, button), #playback :is(button, select, output)")]
    .filter((control) => control.checkVisibility() && !control.closest("#safety"))
    .map((control) => ({ name: control.id || control.textContent, box: control.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 1 && (box.left < 0 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1))
    .map(({ name, box }) => `${name} ends at ${Math.round(box.right)} x ${Math.round(box.bottom)}`));
  assert.deepEqual(cut, []);
}

/**
 * Waits until all that was asked of the simulation is done and on the screen.
 * @param {Page} page
 */
export async function settled(page) {
  await page.evaluate(() => /** @type {any} */ (window).raft.settled());
}

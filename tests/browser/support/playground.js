// What tests of the playground do again and again.

import { until } from "./wait.js";

/** @import { Page } from "playwright-core" */

/**
 * The hash of an address.
 * @param {{ nodes?: number, seed?: number, at?: number, config?: object, do?: object[] }} parts
 */
export function hash(parts) {
  const texts = Object.entries(parts).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  return new URLSearchParams(texts).toString();
}

/**
 * The picture that the page shows: its moment, in microseconds, and its script.
 * @param {Page} page
 */
export async function shown(page) {
  return await page.evaluate(async () => {
    const { raft } = /** @type {any} */ (window);
    return { hash: await raft.traceHash(), script: raft.script(), clock: parseFloat(document.querySelector("#clock")?.textContent ?? "") };
  });
}

/** Stops time, and goes to a moment. @param {Page} page @param {number} seconds */
export async function stand(page, seconds) {
  await ready(page);
  const pause = page.getByRole("button", { name: "Pause", exact: true });
  if (await pause.isVisible()) await pause.click();
  await page.getByRole("button", { name: "Run", exact: true }).waitFor();
  await page.evaluate((time) => /** @type {any} */ (window).raft.seek(time), seconds * 1e6);
  await clock(page, seconds);
}

/** Waits until a run is shown. @param {Page} page */
export async function ready(page) {
  await page.locator("#ring .node").first().waitFor();
  await page.waitForFunction(() => /** @type {any} */ (window).raft);
}

/** Waits until the page shows this moment. @param {Page} page @param {number} seconds */
export async function clock(page, seconds) {
  await page.waitForFunction((text) => document.querySelector("#clock")?.textContent === text, `${seconds.toFixed(3)} s`);
}

/**
 * The actions in the address bar.
 * @param {Page} page
 * @returns {{ at: number, do: string, node?: number }[]}
 */
export function actions(page) {
  return JSON.parse(new URLSearchParams(new URL(page.url()).hash.slice(1)).get("do") ?? "[]");
}

/** The moment in the address bar, in microseconds. @param {Page} page */
export function moment(page) {
  const text = new URLSearchParams(new URL(page.url()).hash.slice(1)).get("at");
  return text === null ? undefined : Number(text);
}

/** Waits until the address holds so many actions. @param {Page} page @param {number} count */
export async function untilActions(page, count) {
  await until(`${count} actions in the address`, async () => actions(page).length === count);
}

/**
 * Opens a panel of the page by its button, unless it is open.
 * @param {Page} page
 * @param {"client-panel" | "cluster" | "run-to"} panel
 */
export async function openPanel(page, panel) {
  const isOpen = await page.locator(`#${panel}`).evaluate((element) => element.matches(":popover-open"));
  if (!isOpen) await page.locator(`[popovertarget="${panel}"]`).click();
}

/**
 * Sends a request by the client's panel.
 * @param {Page} page
 * @param {string} key
 * @param {string} value
 */
export async function put(page, key, value) {
  await openPanel(page, "client-panel");
  await page.locator("#key").fill(key);
  await page.locator("#value").fill(value);
  await page.getByRole("button", { name: "Send" }).click();
}

/** Shows the safety lights where they are folded. @param {Page} page */
export async function openLights(page) {
  const glance = page.locator("#safety-glance");
  if ((await glance.isVisible()) && !(await page.locator("#safety").isVisible())) await glance.click();
}

/** Closes the panels that lie over the page. @param {Page} page */
export async function closePanels(page) {
  await page.evaluate(() => {
    for (const panel of document.querySelectorAll("[popover]")) /** @type {HTMLElement} */ (panel).hidePopover();
  });
}

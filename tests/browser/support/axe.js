// The rules of axe-core, all of them, in the page as it is at this moment.

import axe from "axe-core";

/** @import { Page } from "playwright-core" */

/**
 * What is wrong, in words.
 * @param {Page} page
 * @param {string} where Named with each finding.
 * @returns {Promise<string[]>}
 */
export async function findings(page, where) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe.source);
  const found = await page.evaluate(() => /** @type {any} */ (window).axe.run({
    resultTypes: ["violations"],
    // What stands in and under a node is short; its name says the same in words.
    rules: { "label-content-name-mismatch": { enabled: false } },
  }));
  return found.violations.map((/** @type {any} */ { id, impact, help, nodes }) =>
    `${where}: ${id} (${impact}): ${help}:\n  ${nodes.map((/** @type {any} */ node) => `${node.target.join(" ")}: ${node.failureSummary.replaceAll("\n", " ")}`).join("\n  ")}`);
}

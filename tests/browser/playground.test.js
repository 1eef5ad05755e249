// The playground in a real browser, served by a real node.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import axe from "axe-core";

import { LAPTOP, PHONE, assertNoSidewaysScroll, launch, screenshot, withPage } from "./support/browser.js";
import { startDemo } from "./support/nodes.js";

/** @import { Browser, Page } from "playwright-core" */

/** @type {Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof startDemo>>} */
let demo;

before(async () => {
  demo = await startDemo();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

const playground = (/** @type {string} */ hash) => `${demo.url}/playground/#${hash}`;

/** Waits for a leader of at least this term, and returns its number. @param {Page} page @param {number} [term] */
async function leader(page, term = 1) {
  const found = await page.waitForFunction((atLeast) => {
    for (const node of document.querySelectorAll('[data-role="leader"][data-process="running"]')) {
      if (Number(node.getAttribute("data-term")) >= atLeast) return { id: node.getAttribute("data-node"), term: Number(node.getAttribute("data-term")) };
    }
    return null;
  }, term);
  return /** @type {{ id: string, term: number }} */ (await found.jsonValue());
}

/** @param {Page} page */
async function fast(page) {
  await page.locator("#speed").fill("0");
}

/** Goes to a moment, and says what the run looks like there. @param {Page} page @param {number} seconds */
async function at(page, seconds) {
  const pause = page.getByRole("button", { name: "Pause", exact: true });
  if (await pause.isVisible()) await pause.click();
  return await page.evaluate(async (time) => {
    const { raft } = /** @type {any} */ (window);
    await raft.seek(time);
    return await raft.traceHash();
  }, seconds * 1e6);
}

test("an address can name an unusual world and a moment of its run", async () => {
  const config = encodeURIComponent(JSON.stringify({ latency: { min: 40000, max: 40000 } }));
  const actions = encodeURIComponent(JSON.stringify([{ at: 300000, do: "crash", node: 2 }]));
  await withPage(browser, playground(`nodes=3&seed=7&config=${config}&do=${actions}&at=300000`), {}, async (page) => {
    await page.waitForSelector('[data-node="2"][data-process="down"]');
    const shown = () => page.evaluate(() => /** @type {any} */ (window).raft.traceHash());
    const hash = await shown();
    await page.evaluate(() => /** @type {any} */ (window).raft.seek(900000));
    await page.evaluate(() => /** @type {any} */ (window).raft.seek(300000));
    assert.equal(await shown(), hash, "it stood still at that moment");
    assert.ok(page.url().includes("config="), "the address keeps what is unusual");
  });
});

test("a cluster elects, commits a client's request, and survives the crash of its leader", async () => {
  await withPage(browser, playground("nodes=5&seed=7"), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    await page.locator("#key").fill("colour");
    await page.locator("#value").fill("blue");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByText("put colour : done").waitFor();
    for (let id = 1; id <= 5; id += 1) {
      await page.locator(`[data-node="${id}"]`).click();
      await page.locator("[data-keys]").getByText("blue").waitFor();
    }
    await page.locator(`[data-node="${first.id}"]`).click();
    await page.getByRole("button", { name: "Crash" }).click();
    const second = await leader(page, first.term + 1);
    assert.notEqual(second.id, first.id);
    assert.equal(await page.locator(`[data-node="${first.id}"]`).getAttribute("data-process"), "down");
    await page.getByText(`n${second.id} leads in term ${second.term}: a majority voted for it`).first().waitFor();
    await page.getByRole("button", { name: "Restart" }).click();
    await page.locator(`[data-node="${first.id}"][data-process="running"][data-term="${second.term}"]`).waitFor();
    await page.locator("[data-keys]").getByText("blue").waitFor();
    assert.equal(await page.locator("#safety .broken").count(), 0);
  });
});

test("the same address gives the same run", async () => {
  let address = "";
  /** @type {string[]} */
  const hashes = [];
  await withPage(browser, playground("nodes=3&seed=42"), {}, async (page) => {
    await leader(page);
    await page.keyboard.press("Space");
    await page.keyboard.press("l");
    await page.keyboard.press("c");
    await page.keyboard.press("w");
    await page.locator('[data-process="down"]').waitFor();
    await page.waitForFunction(() => location.hash.includes("request"));
    hashes.push(await at(page, 3));
    address = page.url();
  });
  await withPage(browser, address, {}, async (page) => {
    await leader(page);
    hashes.push(await at(page, 3));
    // Back, and forward again.
    const early = await at(page, 0.1);
    assert.notEqual(early, hashes[0]);
    hashes.push(await at(page, 3));
  });
  await withPage(browser, playground("nodes=3&seed=43"), {}, async (page) => {
    await leader(page);
    assert.notEqual(await at(page, 3), hashes[0], "another seed is another run");
  });
  assert.equal(new Set(hashes).size, 1, hashes.join(" "));
});

test("everything can be done from the keyboard, and undone", async () => {
  await withPage(browser, playground("nodes=5&seed=3"), {}, async (page) => {
    await leader(page);
    await page.keyboard.press("Space");
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
    const clock = page.locator("#clock");
    const stopped = await clock.textContent();
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction((before) => document.querySelector("#clock")?.textContent !== before, stopped);
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction((before) => parseFloat(document.querySelector("#clock")?.textContent ?? "") <= parseFloat(before), stopped ?? "");
    await page.keyboard.press("2");
    await page.getByRole("heading", { name: "n2" }).waitFor();
    for (const [key, there] of [["p", '[data-node="2"][data-process="paused"]'], ["i", '[data-node="2"][aria-label*="cut off"]'], ["c", '[data-node="2"][data-process="down"]']]) {
      await page.keyboard.press(key ?? "");
      await page.locator(there ?? "").waitFor();
    }
    for (const back of ['[data-node="2"][aria-label*="cut off"]', '[data-node="2"][data-process="paused"]:not([aria-label*="cut off"])']) {
      await page.keyboard.press("u");
      await page.locator(back).waitFor();
    }
    // A link is reached by Tab and chosen by Enter; x cuts it.
    await page.locator('[data-link="1-2"]').focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "n1 – n2" }).waitFor();
    await page.keyboard.press("x");
    await page.locator('[data-link="1-2"][aria-label$=": cut"]').waitFor();
    await page.getByRole("button", { name: "Heal n1 → n2" }).click();
    await page.locator('[data-link="1-2"][aria-label$="cut from n2 to n1"]').waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("crash the selected node").waitFor();
    await page.keyboard.press("Escape");
    // A key never acts while text is typed.
    await page.locator("#key").fill("");
    await page.locator("#key").pressSequentially("cup");
    assert.equal(await page.locator('[data-process="down"]').count(), 0);
  });
});

test("a partition leaves a leader behind that cannot commit", async () => {
  await withPage(browser, playground("nodes=3&seed=5"), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    await page.keyboard.press("l");
    await page.keyboard.press("i");
    const second = await leader(page, first.term + 1);
    assert.notEqual(second.id, first.id);
    await page.getByText(`n${first.id} steps down and follows in term`).first().waitFor();
    await page.keyboard.press("h");
    await page.locator(`[data-node="${first.id}"][data-term="${second.term}"]`).waitFor();
  });
});

test("what an address cannot mean is told, and the page works", async () => {
  const nonsense = encodeURIComponent('[{"at":1,"do":"explode"}]');
  await withPage(browser, playground(`nodes=99&seed=1&do=${nonsense}`), {}, async (page) => {
    await page.getByText("The actions in the address make no sense").waitFor();
    await leader(page);
    assert.equal(await page.locator(".node").count(), 9);
  });
});

for (const [name, viewport] of /** @type {const} */ ([["laptop", LAPTOP], ["phone", PHONE]])) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`on a ${name}, ${colorScheme}`, async () => {
      await withPage(browser, playground("nodes=5&seed=7"), { viewport, colorScheme }, async (page) => {
        await leader(page);
        await page.keyboard.press("w");
        await page.locator(".message").first().waitFor();
        await page.keyboard.press("Space");
        await assertNoSidewaysScroll(page);
        await screenshot(page, `playground-${name}-${colorScheme}`);
        assert.equal(await page.locator("html").getAttribute("data-theme"), colorScheme);
        await page.evaluate(axe.source);
        const found = await page.evaluate(() => /** @type {any} */ (window).axe.run({
          resultTypes: ["violations"],
          // What stands in and under a node is short; its name says the same in words.
          rules: { "label-content-name-mismatch": { enabled: false } },
        }));
        const serious = found.violations.filter((/** @type {any} */ v) => ["serious", "critical"].includes(v.impact));
        const told = serious.map((/** @type {any} */ v) => `${v.id}: ${v.help}: ${v.nodes.map((/** @type {any} */ n) => n.target).join(" ")}`);
        assert.deepEqual(told, []);
      });
    });
  }
}

test("who asks for less motion gets a page that stands still", async () => {
  await withPage(browser, playground("nodes=3&seed=1"), { reducedMotion: "reduce" }, async (page) => {
    await page.locator(".node").first().waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
    assert.equal(await page.locator("#clock").textContent(), "0.000 s");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelector("#clock")?.textContent !== "0.000 s");
  });
});

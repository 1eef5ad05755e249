// The log table, the ring and the words of the playground.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { PHONE, launch, withPage } from "./support/browser.js";
import { startDemo } from "./support/nodes.js";
import { clock, hash, stand } from "./support/playground.js";

/** @import { Browser } from "playwright-core" */

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

const playground = (/** @type {Parameters<typeof hash>[0]} */ parts) => `${demo.url}/playground/#${hash(parts)}`;
const SNAPSHOTS = { clients: 5, snapshot_every: 100 };

test("log table is bounded in a long run with a node that lags", async () => {
  const actions = [{ at: 10_000_000, do: "crash", node: 5 }];
  await withPage(browser, playground({ seed: 7, at: 240_000_000, config: SNAPSHOTS, do: actions }), {}, async (page) => {
    await clock(page, 240);
    await page.locator("#logs .folded, #logs .snapshot").first().waitFor();
    const cells = await page.locator("#logs td").count();
    assert.ok(cells < 5 * 52, `${cells} cells`);
    assert.ok(await page.locator("#logs thead").getByText(/^[\d,]+ … [\d,]+$/).count(), "ranges are folded");
    for (let node = 1; node <= 5; node += 1) {
      const row = page.locator(`[data-log="${node}"]`);
      assert.ok(await row.locator("[data-cell]").count(), `the row of n${node} is empty`);
      assert.ok((await row.locator(".snapshot").count()) <= 1, `n${node} has its snapshot once`);
    }
    assert.ok(await page.evaluate(() => document.querySelectorAll("*").length) < 2500, "the page stays small");
  });
});

test("no cell shows beside the row heads of a scrolled log table", async () => {
  await withPage(browser, playground({ seed: 7, at: 20_000_000, config: { clients: 5 } }), {}, async (page) => {
    await clock(page, 20);
    await page.locator("#logs .entry").first().waitFor();
    const seen = await page.locator("#logs-frame").evaluate((frame) => {
      frame.scrollLeft = 200;
      const { left } = frame.getBoundingClientRect();
      const rows = [...frame.querySelectorAll("tbody tr")].map((row) => row.getBoundingClientRect()).filter(({ bottom }) => bottom < frame.getBoundingClientRect().bottom);
      const points = rows.flatMap(({ top, bottom }) => [0.5, 2, 4].map((x) => document.elementFromPoint(left + x, (top + bottom) / 2)));
      return [frame.scrollLeft, points.map((element) => element?.closest("td")?.textContent ?? "").join("")];
    });
    assert.deepEqual(seen, [200, ""]);
  });
});

test("row heads cover column numbers, and the footer covers row heads", async () => {
  await withPage(browser, playground({ seed: 7, at: 20_000_000, config: { clients: 5 } }), { viewport: PHONE }, async (page) => {
    await clock(page, 20);
    await page.locator('#tabs [data-tab="logs"]').click();
    await page.locator("#logs td[data-cell]").last().waitFor();
    const wrong = await page.evaluate(() => {
      const frame = /** @type {HTMLElement} */ (document.querySelector("#logs-frame"));
      const wrong = [];
      for (const down of [0, 1000]) {
        window.scrollTo(0, down);
        for (const right of [10, 33, 150]) {
          frame.scrollLeft = right;
          for (const head of document.querySelectorAll("#logs thead td, #logs tbody th")) {
            const { left, right: end, top, bottom } = head.getBoundingClientRect();
            for (const y of [top + 4, bottom - 4]) {
              const there = document.elementFromPoint((left + end) / 2, y);
              const onFooter = y > (document.querySelector("footer")?.getBoundingClientRect().top ?? 0);
              if (there && (onFooter ? !there.closest("footer") : there !== head)) wrong.push(`${head.textContent} at ${y}: ${there.tagName} ${there.textContent}`);
            }
          }
        }
      }
      return wrong;
    });
    assert.deepEqual(wrong, []);
  });
});

test("entry that is explained is marked in the log table", async () => {
  await withPage(browser, playground({ nodes: 3, seed: 7, at: 2_000_000 }), {}, async (page) => {
    await clock(page, 2);
    await page.locator("#logs .entry").first().click();
    assert.equal(await page.locator("#logs .explained").count(), 1);
  });
});

test("founders are voters before the first election", async () => {
  await withPage(browser, playground({ nodes: 5, seed: 42, at: 0, config: { founders: 3 } }), {}, async (page) => {
    await page.locator('[data-node="4"][aria-label*="not a member"]').waitFor();
    assert.equal(await page.locator('[data-standing="voter"]').count(), 3);
    assert.equal(await page.locator('[data-standing="stranger"]').count(), 2);
  });
});

test("committed entries are counted when all nodes are down", async () => {
  await withPage(browser, playground({ nodes: 5, seed: 42, at: 1_200_000, do: [{ at: 1_000_000, do: "power-cut" }] }), {}, async (page) => {
    await page.locator("#glance").getByText("No leader; 1 entry was committed;").waitFor();
  });
});

test("ring has no Tab stops but nodes, links and messages", async () => {
  await withPage(browser, playground({ nodes: 3, seed: 7 }), {}, async (page) => {
    await stand(page, 1);
    await page.locator("#theme").focus();
    /** @type {string[]} */
    const stops = [];
    for (let step = 0; step < 8; step += 1) {
      await page.keyboard.press("Tab");
      stops.push(await page.evaluate(() => document.activeElement?.getAttribute("class") ?? document.activeElement?.id ?? ""));
    }
    for (const stop of stops) assert.ok(stop, `a Tab stop without name or class: ${stops.join(" | ")}`);
    assert.equal(stops.filter((stop) => stop.startsWith("node") || stop.startsWith("link-group")).length, 2);
    await page.locator(".link-target").first().click({ force: true });
    assert.equal(await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle), "none");
  });
});

test("snapshots are among the key events", async () => {
  await withPage(browser, playground({ seed: 7, at: 6_000_000, config: SNAPSHOTS }), {}, async (page) => {
    await clock(page, 6);
    await page.locator('#story-list [data-kind="snapshot"]').first().waitFor();
    await page.locator("#story-filter").selectOption("snapshot");
    await page.locator("#story-list").getByText(/n\d has a snapshot up to entry/).first().waitFor();
  });
});

test("words of the ring and the inspector are those of the field", async () => {
  const cut = [{ at: 500_000, do: "isolate", node: 1 }, { at: 600_000, do: "cut-link", from: 2, to: 3 }];
  await withPage(browser, playground({ nodes: 3, seed: 7, at: 1_000_000, do: cut }), {}, async (page) => {
    await page.locator("#glance").getByText(/\d one-way links? (is|are) cut/).waitFor();
    await page.keyboard.press("2");
    await page.getByRole("button", { name: "Time out now" }).click();
    await page.locator("#story-list").getByText("n2's election timer is fired by hand").waitFor();
    await page.getByRole("heading", { name: "Configuration it uses" }).waitFor();
    await page.locator("#theme").click();
    await page.locator("#announcer").getByText(/^Theme: (dark|light)$/).waitFor({ state: "attached" });
  });
});

test("dropped messages of a cut link lie beside each other", async () => {
  const cut = [{ at: 900_000, do: "cut-link", from: 1, to: 2 }, { at: 900_000, do: "cut-link", from: 2, to: 1 }];
  await withPage(browser, playground({ nodes: 3, seed: 7, at: 1_300_000, do: cut }), {}, async (page) => {
    await clock(page, 1.3);
    const places = await page.locator(".message.lost").evaluateAll((messages) => messages.map((message) => message.getAttribute("transform")));
    assert.ok(places.length > 1);
    assert.ok(new Set(places).size > 1, places.join(" "));
  });
});

test("request of a client is a button that leads to its detail", async () => {
  await withPage(browser, playground({ nodes: 3, seed: 7, at: 2_000_000, config: { clients: 3 } }), {}, async (page) => {
    await clock(page, 2);
    for (let time = 2; !(await page.locator(".letter").count()); time += 0.005) await stand(page, time);
    await page.locator(".letter").first().focus();
    await page.keyboard.press("Enter");
    await page.locator("#inspector").getByText("Request of a client").waitFor();
    await page.locator("#inspector").getByText("Sent at").waitFor();
  });
});

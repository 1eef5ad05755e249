// The log table, the ring and the words of the playground.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PHONE, withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { clock, hash, stand } from "./support/playground.js";


const site = useDemo();

const SNAPSHOTS = { clients: 5, snapshot_every: 100 };

test("long_run_with_lagging_node_bounds_log_table", async () => {
  const actions = [{ at: 10_000_000, do: "crash", node: 5 }];
  await withPage(site.browser, site.playground({ seed: 7, at: 240_000_000, config: SNAPSHOTS, do: actions }), {}, async (page) => {
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
    assert.ok(await page.evaluate(() => document.querySelectorAll("*").length) < 4500, "the page stays small");
  });
});

test("scrolled_log_table_shows_no_cell_beside_row_heads", async () => {
  await withPage(site.browser, site.playground({ seed: 7, at: 20_000_000, config: { clients: 5 } }), {}, async (page) => {
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

test("log_row_heads_cover_column_numbers", async () => {
  await withPage(site.browser, site.playground({ seed: 7, at: 20_000_000, config: { clients: 5 } }), { viewport: PHONE }, async (page) => {
    await clock(page, 20);
    await page.locator('#tabs [data-tab="logs"]').click();
    await page.locator("#logs [data-cell]").last().waitFor();
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

test("explained_entry_is_marked", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 2_000_000 }), {}, async (page) => {
    await clock(page, 2);
    await page.locator("#logs .entry").first().click();
    assert.equal(await page.locator("#logs .explained").count(), 1);
  });
});

test("initial_members_are_voters_before_first_election", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 0, config: { founders: 3 } }), {}, async (page) => {
    await page.locator('[data-node="4"][aria-label*="not a member"]').waitFor();
    assert.equal(await page.locator('[data-member="voter"]').count(), 3);
    assert.equal(await page.locator('[data-member="stranger"]').count(), 2);
  });
});

test("committed_entries_are_counted_with_all_nodes_down", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: [{ at: 1_000_000, do: "power-cut" }] }), {}, async (page) => {
    await page.locator("#summary").getByText("1 entry was committed").waitFor();
  });
});

test("ring_has_tab_stops_for_nodes_links_and_messages_only", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7 }), {}, async (page) => {
    await stand(page, 1);
    await page.locator("#help-open").focus();
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

test("key_events_include_snapshots", async () => {
  await withPage(site.browser, site.playground({ seed: 7, at: 6_000_000, config: SNAPSHOTS }), {}, async (page) => {
    await clock(page, 6);
    await page.locator('#events-list [data-kind="snapshot"]').first().waitFor();
    await page.locator("#events-filter").selectOption("snapshot");
    await page.locator("#events-list").getByText(/n\d has a snapshot up to entry/).first().waitFor();
  });
});

test("ring_and_inspector_use_raft_terms", async () => {
  const cut = [{ at: 500_000, do: "isolate", node: 1 }, { at: 600_000, do: "cut-link", from: 2, to: 3 }];
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 1_000_000, do: cut }), {}, async (page) => {
    await page.locator("#summary").getByText(/\d one-way links? (is|are) cut/).waitFor();
    await page.keyboard.press("2");
    await page.getByRole("button", { name: "Time out now" }).click();
    await page.locator("#events-list").getByText("n2's election timer is fired by an action").waitFor();
    await page.getByRole("heading", { name: "Configuration it uses" }).waitFor();
    await page.keyboard.press("?");
    await page.locator("#theme").click();
    await page.locator("#announcer").getByText(/^Theme: (dark|light)$/).waitFor({ state: "attached" });
  });
});

test("dropped_messages_of_cut_link_do_not_overlap", async () => {
  const cut = [{ at: 900_000, do: "cut-link", from: 1, to: 2 }, { at: 900_000, do: "cut-link", from: 2, to: 1 }];
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 1_300_000, do: cut }), {}, async (page) => {
    await clock(page, 1.3);
    const places = await page.locator("#ring .message.lost").evaluateAll((messages) => messages.map((message) => message.getAttribute("transform")));
    assert.ok(places.length > 1);
    assert.ok(new Set(places).size > 1, places.join(" "));
  });
});

test("client_message_opens_request_detail", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 2_000_000, config: { clients: 3 } }), {}, async (page) => {
    await clock(page, 2);
    for (let time = 2; !(await page.locator("#ring .client-message").count()); time += 0.005) await stand(page, time);
    await page.locator("#ring .client-message").first().focus();
    await page.keyboard.press("Enter");
    await page.locator("#menu").getByText("Request of a client").waitFor();
    await page.locator("#menu").getByText("Sent at").waitFor();
  });
});

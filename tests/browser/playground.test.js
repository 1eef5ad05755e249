// The playground in a real browser, served by a real node.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LAPTOP, PHONE, TIMEOUT_MS, assertNoSidewaysScroll, screenshot, settled, withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { closePanels, openLights, openPanel, put } from "./support/playground.js";

/** @import { Page } from "playwright-core" */

const site = useDemo();


/**
 * Waits for a leader of at least this term, and returns its number.
 * @param {Page} page
 * @param {number} [term]
 */
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
  await page.locator("#speed").selectOption("0");
}

/**
 * Goes to a moment, and says what the run looks like there.
 * @param {Page} page
 * @param {number} seconds
 */
async function at(page, seconds) {
  const pause = page.getByRole("button", { name: "Pause", exact: true });
  if (await pause.isVisible()) await pause.click();
  return await page.evaluate(async (time) => {
    const { raft } = /** @type {any} */ (window);
    await raft.seek(time);
    return await raft.traceHash();
  }, seconds * 1e6);
}

test("address_restores_settings_and_moment", async () => {
  const config = encodeURIComponent(JSON.stringify({ latency: { min: 40000, max: 40000 } }));
  const actions = encodeURIComponent(JSON.stringify([{ at: 300000, do: "crash", node: 2 }]));
  await withPage(site.browser, site.playground(`nodes=3&seed=7&config=${config}&do=${actions}&at=300000`), {}, async (page) => {
    await page.waitForSelector('[data-node="2"][data-process="down"]');
    const shown = () => page.evaluate(() => /** @type {any} */ (window).raft.traceHash());
    const hash = await shown();
    await page.evaluate(() => /** @type {any} */ (window).raft.seek(900000));
    await page.evaluate(() => /** @type {any} */ (window).raft.seek(300000));
    assert.equal(await shown(), hash, "it stood still at that moment");
    assert.ok(page.url().includes("config="), "the address keeps what is unusual");
  });
});

test("cluster_elects_commits_and_survives_leader_crash", async () => {
  await withPage(site.browser, site.playground("nodes=5&seed=7"), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    await put(page, "colour", "blue");
    await page.locator("#answer").getByText("put colour: done").waitFor();
    await closePanels(page);
    for (let id = 1; id <= 5; id += 1) {
      await page.locator(`[data-node="${id}"]`).click();
      await page.locator("[data-keys]").getByText("blue").waitFor();
    }
    await page.locator(`[data-node="${first.id}"]`).click();
    await page.getByRole("button", { name: "Crash" }).click();
    const second = await leader(page, first.term + 1);
    assert.notEqual(second.id, first.id);
    assert.equal(await page.locator(`[data-node="${first.id}"]`).getAttribute("data-process"), "down");
    await page.locator("#events-list").getByText(`n${second.id} wins term ${second.term}`).first().waitFor();
    await page.getByRole("button", { name: "Restart" }).click();
    await page.locator(`[data-node="${first.id}"][data-process="running"][data-term="${second.term}"]`).waitFor();
    await page.locator("[data-keys]").getByText("blue").waitFor();
    assert.equal(await page.locator("#safety .broken").count(), 0);
  });
});

test("request_result_is_shown_after_early_pause", async () => {
  await withPage(site.browser, site.playground("nodes=3&seed=7"), {}, async (page) => {
    await leader(page);
    for (const value of ["1", "2", "3"]) {
      await put(page, "x", value);
      // The group of the entry has the response among its records.
      await page.locator("#events-list").getByText(new RegExp(`commits entry \\d+, put x = ${value}`)).click();
      await page.locator("#events-list").getByText(`put x = ${value} is answered: done`).waitFor();
      await page.getByRole("button", { name: "Pause", exact: true }).click();
      await openPanel(page, "client-panel");
      await page.locator("#answer").getByText("put x: done").waitFor();
      await page.getByRole("button", { name: "Run", exact: true }).click();
    }
  });
});

test("name_of_paused_leader_is_legible", async () => {
  await withPage(site.browser, site.playground("nodes=3&seed=7"), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    await page.locator(`[data-node="${first.id}"]`).click();
    await page.locator("#inspector").getByRole("button", { name: "Pause" }).click();
    const paused = page.locator(`[data-node="${first.id}"][data-process="paused"]`);
    await paused.waitFor();
    // The ring may replace a name while it is read, so the test waits until both have a colour.
    await page.waitForFunction(([first]) => {
      const fill = (/** @type {string} */ node) => {
        const name = document.querySelector(`${node} .name`);
        return name ? getComputedStyle(name).fill : "";
      };
      return fill(`[data-node="${first}"]`) !== "" && fill(`[data-node="${first}"]`) === fill('[data-role="follower"]');
    }, [first.id]);
  });
});

test("summary_names_crowned_leader_in_every_frame", async () => {
  await withPage(site.browser, site.playground("nodes=5&seed=7"), {}, async (page) => {
    const first = await leader(page);
    await page.locator(`[data-node="${first.id}"]`).click();
    await page.getByRole("button", { name: "Crash" }).click();
    const [pictures, wrong] = await page.evaluate(async (term) => {
      /** @type {string[]} */
      const wrong = [];
      for (let pictures = 1; ; pictures += 1) {
        await new Promise((done) => requestAnimationFrame(done));
        const leaders = [...document.querySelectorAll('[data-role="leader"][data-process="running"]')];
        const terms = leaders.map((node) => Number(node.getAttribute("data-term")));
        const latest = Math.max(0, ...terms);
        const said = document.querySelector("#summary .leads")?.textContent ?? "";
        const expected = latest ? `n${leaders[terms.indexOf(latest)]?.getAttribute("data-node")} leads term ${latest}` : "No leader";
        if (said !== expected) wrong.push(`${expected} ${said}`);
        if (latest > term) return /** @type {const} */ ([pictures, wrong]);
      }
    }, first.term);
    assert.deepEqual(wrong, []);
    assert.ok(pictures > 1, "there is no leader for a while");
  });
});

test("same_address_gives_same_run", async () => {
  let address = "";
  /** @type {string[]} */
  const hashes = [];
  await withPage(site.browser, site.playground("nodes=3&seed=42"), {}, async (page) => {
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
  await withPage(site.browser, address, {}, async (page) => {
    await page.locator('[data-process="down"]').waitFor();
    hashes.push(await at(page, 3));
    // Back, and forward again.
    const early = await at(page, 0.1);
    assert.notEqual(early, hashes[0]);
    hashes.push(await at(page, 3));
  });
  await withPage(site.browser, site.playground("nodes=3&seed=43"), {}, async (page) => {
    await leader(page);
    assert.notEqual(await at(page, 3), hashes[0], "another seed is another run");
  });
  assert.equal(new Set(hashes).size, 1, hashes.join(" "));
});

test("keyboard_performs_and_undoes_all_actions", async () => {
  await withPage(site.browser, site.playground("nodes=5&seed=3"), {}, async (page) => {
    await leader(page);
    await page.keyboard.press("Space");
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
    const clock = page.locator("#clock");
    await settled(page);
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
    await openPanel(page, "client-panel");
    await page.locator("#key").fill("");
    await page.locator("#key").pressSequentially("cup");
    assert.equal(await page.locator('[data-process="down"]').count(), 0);
  });
});

test("isolated_leader_steps_down_and_follows_after_heal", async () => {
  await withPage(site.browser, site.playground("nodes=3&seed=5"), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    await page.keyboard.press("l");
    await page.keyboard.press("i");
    const second = await leader(page, first.term + 1);
    assert.notEqual(second.id, first.id);
    await page.locator(`[data-node="${first.id}"]:not([data-role="leader"])`).waitFor();
    await page.keyboard.press("h");
    await page.locator(`[data-node="${first.id}"][data-term="${second.term}"]`).waitFor();
  });
});

/** Stops time, and goes to a moment. @param {Page} page @param {number} seconds */
async function stand(page, seconds) {
  await at(page, seconds);
  await page.getByRole("button", { name: "Run", exact: true }).waitFor();
}

const world = (/** @type {object} */ config) => encodeURIComponent(JSON.stringify(config));

test("checked_invariants_have_lights_and_linearizability_is_judged", async () => {
  await withPage(site.browser, site.playground(`nodes=3&seed=5&config=${world({ clients: 2 })}`), {}, async (page) => {
    await openLights(page);
    await page.locator("#safety button").first().waitFor();
    const rules = await page.locator("#safety button").evaluateAll((lights) => lights.map((light) => light.getAttribute("data-rule")));
    for (const rule of ["election-safety", "term-and-commit-monotonic", "quiescence", "linearizability"]) assert.ok(rules.includes(rule), rule);
    assert.ok(!rules.includes("availability"), "it is known only at the end of a run");
    await leader(page);
    await stand(page, 3);
    const light = page.locator('[data-rule="linearizability"]');
    await page.locator('[data-rule="linearizability"][title*="3.000 s"]').waitFor();
    assert.match((await light.getAttribute("title")) ?? "", /Holds: judged \d+ requests up to 3.000 s/);
    // The lights are one stop of the Tab key, and explain themselves.
    assert.equal(await page.locator('#safety [tabindex="0"]').count(), 1);
    await light.focus();
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: /acknowledged writes/i }).waitFor();
    assert.equal(await page.locator("#clock").textContent(), "3.000 s", "an arrow among the lights is no step of time");
  });
});

test("violated_invariant_stops_time_and_is_explained", async () => {
  const context = await site.browser.newContext();
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  // The servers keep the rules, so it is the judge who is told to see a stale read.
  const violation = { invariant: "linearizability", text: "n3 answered with an old value", at: 1 };
  await context.route("**/worker.js", async (route) => {
    const response = await route.fetch();
    const honest = "judge: () => running().judgeHistory(),";
    const body = await response.text();
    assert.ok(body.includes(honest));
    const verdict = JSON.stringify({ at: 1, operations: 1, finding: "broken", violation });
    await route.fulfill({ response, body: body.replace(honest, `judge: () => running().now > 1e6 ? ${verdict} : running().judgeHistory(),`) });
  });
  await page.goto(site.playground("nodes=3&seed=5"));
  await fast(page);
  await page.locator('[data-rule="linearizability"].broken').waitFor({ state: "attached" });
  await page.getByRole("button", { name: "Run", exact: true }).waitFor();
  await page.locator("#inspector").getByText("n3 answered with an old value").waitFor();
  assert.equal(await page.locator("#safety .broken").count(), 1);
  await context.close();
});

test("messages_share_one_tab_stop", async () => {
  await withPage(site.browser, site.playground("nodes=5&seed=7"), {}, async (page) => {
    await leader(page);
    await page.keyboard.press("Space");
    await settled(page);
    const messages = page.locator("#ring .message");
    for (let steps = 0; steps < 200 && (await messages.count()) < 2; steps += 1) {
      await page.keyboard.press("ArrowRight");
      await settled(page);
    }
    for (const kind of [".node", ".link-group", ".message"]) assert.equal(await page.locator(`${kind}[tabindex="0"]`).count(), 1, kind);
    await page.locator('#ring .message[tabindex="0"]').focus();
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
    const first = await focused();
    assert.match(first ?? "", / from n\d to n\d, term \d/);
    await page.keyboard.press("ArrowDown");
    assert.notEqual(await page.evaluate(() => document.activeElement?.getAttribute("data-message")), null);
    assert.equal(await page.locator('#ring .message[tabindex="0"]').count(), 1);
    const name = (await focused()) ?? "";
    await page.keyboard.press("Enter");
    await page.locator("#menu").getByRole("heading", { name: name.split(" from ")[0] }).waitFor();
    await page.getByRole("button", { name: "Drop", exact: true }).waitFor();
    await page.keyboard.press("Escape");
    // The focus returns from the menu.
    await page.waitForFunction((label) => document.activeElement?.getAttribute("aria-label") === label, name);
    // When it arrives, the focus goes on to the node that has it.
    const receiver = / to n(\d)/.exec(name)?.[1];
    for (let steps = 0; steps < 200 && (await focused()) === name; steps += 1) {
      await page.keyboard.press("ArrowRight");
      await settled(page);
    }
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("data-node")), receiver);
  });
});

test("dropped_message_stays_at_bar_of_cut_link", async () => {
  await withPage(site.browser, site.playground("nodes=3&seed=7"), {}, async (page) => {
    const { id } = await leader(page);
    await stand(page, 1);
    const other = id === "1" ? "2" : "1";
    await page.locator(`[data-node="${id}"]`).focus();
    await page.locator(`[data-link="${[id, other].sort().join("-")}"]`).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("x");
    await stand(page, 1.1);
    const place = (/** @type {string} */ selector) => page.locator(selector).first().evaluate((element) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      return [x + width / 2, y + height / 2];
    });
    const [[x = 0, y = 0], [fromX = 0, fromY = 0], [toX = 0, toY = 0]] = await Promise.all([
      place(`#ring .message.lost[aria-label*="from n${id} to n${other}"] .reach`), place(`[data-node="${id}"] .disc`), place(`[data-node="${other}"] .disc`)]);
    const along = ((x - fromX) * (toX - fromX) + (y - fromY) * (toY - fromY)) / ((toX - fromX) ** 2 + (toY - fromY) ** 2);
    assert.ok(Math.abs(along - 0.5) < 0.03, `at the bar, in the middle of the link, not at ${along}`);
  });
});

test("focused_log_entry_is_explained", async () => {
  await withPage(site.browser, site.playground(`nodes=3&seed=5&config=${world({ clients: 2, snapshot_every: 4 })}`), {}, async (page) => {
    await leader(page);
    await stand(page, 3);
    assert.equal(await page.locator('#logs [tabindex="0"]').count(), 1);
    await page.locator('#logs [tabindex="0"]').focus();
    await page.locator("#log-detail").getByText(/^Entry \d+ of n3/).waitFor();
    await page.keyboard.press("ArrowUp");
    await page.locator("#log-detail").getByText(/^Entry \d+ of n2/).waitFor();
    assert.equal(await page.locator("#clock").textContent(), "3.000 s");
    await page.locator("#logs .snapshot").first().click();
    await page.locator("#log-detail").getByText(/are in its snapshot/).waitFor();
  });
});

test("membership_changes_and_leadership_transfers", async () => {
  await withPage(site.browser, site.playground(`nodes=4&seed=5&config=${world({ founders: 3, witnesses: [3] })}`), {}, async (page) => {
    await fast(page);
    const first = await leader(page);
    assert.equal(await page.locator('[data-node="3"]').getAttribute("data-member"), "witness");
    await page.locator('[data-node="4"][aria-label*="not a member"]').waitFor();
    await page.keyboard.press("4");
    await page.getByRole("button", { name: "Add as learner" }).click();
    await page.locator('[data-node="4"][data-member="learner"]').waitFor();
    await page.locator("#play").click();
    const asked = page.getByRole("button", { name: "Promote to voter" });
    await asked.focus();
    await page.keyboard.press("v");
    await asked.waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement?.id), "inspector", "its button is gone, and no other one has the focus");
    // Step by step, so that the middle of the change is seen.
    const joint = page.locator('[data-node="4"][aria-label*="votes: new"]');
    for (let steps = 0; steps < 300 && !(await joint.count()); steps += 1) {
      await page.keyboard.press("ArrowRight");
      await settled(page);
    }
    await page.locator("#summary").getByText("both majorities decide").waitFor();
    assert.equal(await joint.count(), 1);
    await page.keyboard.press("Space");
    await page.locator('[data-node="4"][data-member="voter"]:not([aria-label*="votes:"])').waitFor();
    await page.getByRole("button", { name: "Transfer leadership to n4" }).click();
    const second = await leader(page, first.term + 1);
    assert.equal(second.id, "4");
    await page.keyboard.press(first.id);
    await page.keyboard.press("d");
    await page.locator(`[data-node="${first.id}"][data-member="stranger"]`).waitFor();
    assert.equal(await page.locator("#safety .broken").count(), 0);
  });
});

test("settings_dialog_starts_run_with_snapshots", async () => {
  await withPage(site.browser, site.playground("nodes=5&seed=7"), {}, async (page) => {
    await openPanel(page, "cluster");
    await page.getByRole("button", { name: "Cluster setup…" }).click();
    await page.getByLabel("Initial members").fill("3");
    await page.getByLabel("Witnesses among them").fill("2");
    await page.locator("#settings-begin").click();
    assert.equal(await page.locator("#settings").evaluate((dialog) => /** @type {HTMLDialogElement} */ (dialog).open), true, "so many witnesses are refused at once");
    await page.getByLabel("Witnesses among them").fill("1");
    await page.getByLabel("Snapshot after").fill("3");
    await page.getByLabel("Client workload").fill("3");
    await page.locator("#settings-begin").click();
    await page.waitForFunction(() => decodeURIComponent(location.hash).includes('"snapshot_every":3'));
    await leader(page);
    await stand(page, 3);
    await page.locator("#logs .snapshot").first().waitFor();
    // The settings that fit are kept when the number of nodes changes.
    await openPanel(page, "cluster");
    await page.locator("#nodes").selectOption("4");
    await page.waitForFunction(() => decodeURIComponent(location.hash).includes('"founders":3') && location.hash.includes("nodes=4"));
  });
});

test("truncated_address_is_reported", async () => {
  const actions = encodeURIComponent('[{"at":1,"do":"crash","no');
  await withPage(site.browser, site.playground(`nodes=3&seed=1&do=${actions}`), {}, async (page) => {
    await page.getByText("The actions of the link are invalid, perhaps because the link was cut off").waitFor();
    await leader(page);
  });
});

test("unknown_action_in_address_is_reported_and_run_starts", async () => {
  const nonsense = encodeURIComponent('[{"at":1,"do":"explode"}]');
  await withPage(site.browser, site.playground(`nodes=99&seed=1&do=${nonsense}`), {}, async (page) => {
    await page.getByText("Ignoring the actions of the link: action 1 is invalid: unknown variant `explode`.").waitFor();
    await leader(page);
    assert.equal(await page.locator("#ring .node").count(), 9);
  });
});

test("text_is_large_enough_and_not_cut_off", async () => {
  for (const viewport of [LAPTOP, PHONE]) {
    for (const nodes of [3, 5, 9]) {
      await withPage(site.browser, site.playground(`nodes=${nodes}&seed=7`), { viewport }, async (page) => {
        await leader(page);
        await page.keyboard.press("Space");
        await settled(page);
        const small = await page.evaluate(() => {
          const told = [];
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          for (let text = walker.nextNode(); text; text = walker.nextNode()) {
            const element = text.parentElement;
            if (!element || !text.textContent?.trim() || !element.checkVisibility()) continue;
            const svg = element instanceof SVGElement ? element.closest("svg") : null;
            const scale = svg?.getScreenCTM()?.a ?? 1;
            const size = parseFloat(getComputedStyle(element).fontSize) * scale;
            if (size < 13.9 && !element.closest("title")) told.push(`${text.textContent}: ${size} px`);
          }
          const frame = document.querySelector("#ring-frame")?.getBoundingClientRect();
          for (const text of document.querySelectorAll("#ring text")) {
            const { left, right, top, bottom, width } = text.getBoundingClientRect();
            if (frame && width > 0 && (left < frame.left || right > frame.right || top < frame.top || bottom > frame.bottom)) told.push(`${text.textContent} sticks out`);
          }
          return told;
        });
        assert.deepEqual(small, [], `${nodes} nodes on ${viewport.width} px`);
        const names = await page.locator("#ring .node .name").evaluateAll((texts) => texts.map((text) => text.getBoundingClientRect()).map(({ left, top, right, bottom }) => ({ left, top, right, bottom })));
        const labels = await page.locator(".label").evaluateAll((texts) => texts.map((text) => text.getBoundingClientRect()).map(({ left, top, right, bottom }) => ({ left, top, right, bottom })));
        for (const a of names) {
          for (const b of labels) assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top, "no label lies on a name");
        }
        if (viewport === PHONE) await page.locator('#tabs [data-tab="safety"]').click();
        else await openLights(page);
        await page.locator('[data-rule="linearizability"]').waitFor();
        assert.equal(await page.locator("#safety button:visible").count(), 11);
        if (viewport === LAPTOP) {
          await page.setViewportSize({ width: 1440, height: 900 });
          const tops = await page.locator("#safety button").evaluateAll((lights) => lights.map((light) => light.getBoundingClientRect().top));
          assert.ok(new Set(tops).size <= 2, "the lights stand in two rows at most");
        }
      });
    }
  }
});

for (const [name, viewport] of /** @type {const} */ ([["laptop", LAPTOP], ["phone", PHONE]])) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`playground_${name}_${colorScheme}_fits`, async () => {
      await withPage(site.browser, site.playground("nodes=5&seed=7"), { viewport, colorScheme }, async (page) => {
        await leader(page);
        await page.keyboard.press("w");
        await page.locator("#ring .message").first().waitFor();
        await page.keyboard.press("Space");
        await assertNoSidewaysScroll(page);
        await screenshot(page, `playground-${name}-${colorScheme}`);
        assert.equal(await page.locator("html").getAttribute("data-theme"), colorScheme);
      });
    });
  }
}

test("reduced_motion_opens_run_paused", async () => {
  await withPage(site.browser, site.playground("nodes=3&seed=1"), { reducedMotion: "reduce" }, async (page) => {
    await page.locator("#ring .node").first().waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
    assert.equal(await page.locator("#clock").textContent(), "0.000 s");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelector("#clock")?.textContent !== "0.000 s");
  });
});

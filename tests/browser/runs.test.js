// Runs of the playground: nothing is lost by undo, by changes in the past, or by another run.

import assert from "node:assert/strict";
import { test } from "node:test";

import { findings } from "./support/axe.js";
import { withPage } from "./support/browser.js";
import { useDemo } from "./support/demo.js";
import { actions, clock, hash, moment, openPanel, ready, shown, stand, untilActions } from "./support/playground.js";
import { until } from "./support/wait.js";

/** @import { Page } from "playwright-core" */

const site = useDemo();

const crash = (/** @type {number} */ at, /** @type {number} */ node) => ({ at, do: "crash", node });
const TWO = [crash(400_000, 1), crash(900_000, 2)];

test("undo_before_first_action_changes_nothing", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    await stand(page, 0.12);
    await page.keyboard.press("u");
    assert.equal(await page.locator("#undo").isDisabled(), true);
    await page.evaluate(() => /** @type {any} */ (window).raft.settled());
    assert.equal(await page.locator("#runs-open").textContent(), "Runs", "no run is left, so none is kept");
    await stand(page, 1.2);
    assert.equal(await page.locator('[data-process="down"]').count(), 2);
    assert.deepEqual(actions(page), TWO);
  });
});

test("action_in_past_keeps_previous_run", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    const before = (await shown(page)).hash;
    await stand(page, 0.6);
    await page.keyboard.press("3");
    await page.keyboard.press("c");
    await page.locator('[data-node="3"][data-process="down"]').waitFor();
    await untilActions(page, 2);
    assert.deepEqual(actions(page).map(({ node }) => node), [1, 3]);
    await page.getByText("The branch before, with 1 later action, is kept.").waitFor();
    await openPanel(page, "cluster");
    await page.getByRole("button", { name: "Runs (1)" }).click();
    await page.locator("#runs-list").getByText("2 actions, last crash n2 at 0.900 s").waitFor();
    await page.locator("#runs-list").getByRole("button", { name: "Open" }).click();
    await clock(page, 0.6);
    await stand(page, 1.2);
    assert.equal((await shown(page)).hash, before);
    // Back returns to the run with the change.
    await page.goBack();
    await page.locator('[data-node="3"][data-process="down"]').waitFor();
    assert.deepEqual(actions(page).map(({ node }) => node), [1, 3]);
  });
});

test("undo_and_redo_move_between_branches", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    const before = (await shown(page)).hash;
    await page.keyboard.press("u");
    await untilActions(page, 1);
    await page.locator("#branches .band").first().waitFor();
    await page.keyboard.press("U");
    await untilActions(page, 2);
    await clock(page, 1.2);
    assert.equal((await shown(page)).hash, before);
    assert.equal(await page.locator("#redo").isDisabled(), true);
  });
});

test("branches_are_shown_compared_and_deleted", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    await stand(page, 0.6);
    await page.keyboard.press("3");
    await page.keyboard.press("c");
    const band = page.locator("#branches .band");
    await band.getByText("n2 crashes at 0.900 s").waitFor();
    await band.getByRole("button", { name: "compare" }).click();
    const dialog = page.getByRole("dialog", { name: "Branches of this run" });
    await dialog.getByText(/^Equal up to 0\.\d{3} s, with 1 action in common\.$/).waitFor();
    await dialog.getByRole("row", { name: /^Committed/ }).waitFor();
    assert.deepEqual(await findings(page, "branches"), []);
    await dialog.getByRole("button", { name: "Show" }).click();
    await until("the address has the branch", async () => actions(page)[1]?.node === 2);
    await dialog.getByRole("button", { name: "Delete" }).click();
    await dialog.getByRole("button", { name: "Delete" }).waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await page.locator("#branches").waitFor({ state: "hidden" });
  });
});

test("run_to_stops_at_election_and_at_condition", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 0 }), {}, async (page) => {
    await clock(page, 0);
    await openPanel(page, "run-to");
    await page.getByRole("button", { name: "Next election" }).click();
    await page.locator('#ring [data-role="leader"]').waitFor();
    const leader = Number(await page.locator('#ring [data-role="leader"]').getAttribute("data-node"));
    await openPanel(page, "run-to");
    await page.locator("#run-to-node").selectOption(String((leader % 3) + 1));
    await page.locator("#run-to-condition").selectOption("commit");
    await page.locator("#run-to-amount").fill("1");
    await page.locator("#run-to-form").getByRole("button", { name: "Run" }).click();
    await page.locator(`#ring [data-node="${(leader % 3) + 1}"][aria-label*="1 of 1 entries committed"]`).waitFor();
  });
});

test("undo_keeps_previous_run", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    await page.keyboard.press("u");
    await clock(page, 0.9);
    await page.keyboard.press("u");
    await clock(page, 0.4);
    await untilActions(page, 0);
    // The run without its last action is part of the other one, and needs no place of its own.
    await openPanel(page, "cluster");
    await page.getByRole("button", { name: "Runs (1)" }).click();
    await page.locator("#runs-list").getByRole("button", { name: "Open" }).click();
    await untilActions(page, 2);
  });
});

for (const [name, start] of /** @type {[string, (page: Page) => Promise<unknown>][]} */ ([
  ["node_count", async (page) => {
    await openPanel(page, "cluster");
    await page.locator("#nodes").selectOption("3");
  }],
  ["enter_in_seed", async (page) => {
    await openPanel(page, "cluster");
    await page.locator("#seed").fill("43");
    await page.locator("#seed").press("Enter");
  }],
  ["start_button", async (page) => {
    await openPanel(page, "cluster");
    await page.locator("#restart").click();
  }],
  ["settings_dialog", async (page) => {
    await openPanel(page, "cluster");
    await page.locator("#settings-open").click();
    await page.locator("#settings-begin").click();
  }],
])) {
  test(`${name}_keeps_previous_run_and_back_returns`, async () => {
    await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
      await clock(page, 1.2);
      const before = (await shown(page)).hash;
      await start(page);
      await untilActions(page, 0);
      await page.locator("#runs-open").getByText("Runs (1)").waitFor({ state: "attached" });
      await page.goBack();
      await untilActions(page, 2);
      await clock(page, 1.2);
      assert.equal((await shown(page)).hash, before);
    });
  });
}

test("earlier_runs_survive_reload", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 42, at: 1_200_000, do: TWO }), {}, async (page) => {
    await clock(page, 1.2);
    await openPanel(page, "cluster");
    await page.locator("#restart").click();
    await page.locator("#runs-open").getByText("Runs (1)").waitFor({ state: "attached" });
    await page.reload();
    await page.locator("#runs-open").getByText("Runs (1)").waitFor({ state: "attached" });
  });
});

test("random_commands_keep_address_page_and_engine_equal", async () => {
  /** A generator of its own, so that a failure can be repeated. @param {number} seed */
  const generator = (seed) => () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed / 2_147_483_648;
  };
  for (const seed of [1, 2, 3]) {
    const random = generator(seed);
    const below = (/** @type {number} */ bound) => Math.floor(random() * bound);
    await withPage(site.browser, site.playground({ nodes: 3, seed, at: 300_000 }), {}, async (page) => {
      await clock(page, 0.3);
      for (let step = 0; step < 25; step += 1) {
        const node = 1 + below(3);
        const choice = below(6);
        const action = [{ do: "crash", node }, { do: "restart", node }, { do: "isolate", node }, { do: "heal-network" }][below(4)];
        await page.evaluate(async ([what, done, time]) => {
          const { raft } = /** @type {any} */ (window);
          if (what < 3) await raft.act(done);
          else if (what === 3) await raft.undo();
          else await raft.seek(time);
        }, /** @type {const} */ ([choice, action, below(1_500_000)]));
      }
      const { script, hash: trace, clock: seconds } = await shown(page);
      await until("the address holds the moment", async () => moment(page) !== undefined && Math.abs((moment(page) ?? 0) - seconds * 1e6) < 1000);
      assert.deepEqual(actions(page), script.actions);
      await withPage(site.browser, page.url(), {}, async (other) => {
        await clock(other, seconds);
        assert.equal((await shown(other)).hash, trace, `seed ${seed}`);
        assert.deepEqual((await shown(other)).script, script);
      });
    });
  }
});

test("shared_link_opens_paused_at_its_moment", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), { permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    await stand(page, 0.75);
    const before = (await shown(page)).hash;
    await page.getByRole("button", { name: "Share" }).click();
    await page.getByText("The link to this run at 0.750 s is copied.").waitFor();
    const link = await page.evaluate(() => navigator.clipboard.readText());
    await withPage(site.browser, link, {}, async (other) => {
      await clock(other, 0.75);
      await other.getByRole("button", { name: "Run", exact: true }).waitFor();
      assert.equal((await shown(other)).hash, before);
      await until("the address keeps the moment", async () => moment(other) === 750_000);
    });
  });
});

test("tap_on_scrubber_during_play_seeks", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), {}, async (page) => {
    await stand(page, 20);
    const box = await page.locator("#scrubber").boundingBox();
    assert.ok(box);
    for (const part of [0.2, 0.6, 0.4, 0.8, 0.3]) {
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
      await page.mouse.click(box.x + box.width * part, box.y + box.height / 2);
      await page.getByRole("button", { name: "Run", exact: true }).waitFor();
      await page.waitForFunction((share) => {
        const seconds = parseFloat(document.querySelector("#clock")?.textContent ?? "");
        const thumb = /** @type {HTMLInputElement} */ (document.querySelector("#scrubber")).valueAsNumber;
        return Math.abs(seconds - 20 * share) < 2 && Math.abs(thumb - share) < 0.1;
      }, part);
    }
  });
});

const BROKEN = [1, 2, 3].map((node) => ({ at: 1_000_000, do: "wipe-disk", node }));

test("play_after_violation_offers_to_go_on", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 9_000_000, do: BROKEN }), {}, async (page) => {
    await page.locator("#safety .broken").first().waitFor({ state: "attached" });
    const stopped = (await shown(page)).clock;
    assert.ok(stopped < 9);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.locator("#toast").getByText(/is violated at .* s, so time has stopped/).waitFor();
    await page.locator("#toast").getByRole("button", { name: "Go on" }).click();
    await page.waitForFunction((before) => parseFloat(document.querySelector("#clock")?.textContent ?? "") > before, stopped);
    assert.ok(await page.locator("#safety .broken").count(), "the light stays red");
    await until("the address holds it", async () => actions(page).at(-1)?.do === "go-on");
  });
});

test("offer_to_go_on_is_withdrawn_when_time_can_run", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 7, at: 9_000_000, do: BROKEN }), {}, async (page) => {
    await page.locator("#safety .broken").first().waitFor({ state: "attached" });
    const offer = page.locator("#toast").getByRole("button", { name: "Go on" });
    for (const leave of [() => page.keyboard.press("ArrowLeft"), () => page.keyboard.press("u")]) {
      await page.evaluate(() => /** @type {any} */ (window).raft.seek(9_000_000));
      await page.keyboard.press(" ");
      await offer.waitFor();
      await leave();
      await offer.waitFor({ state: "detached" });
    }
  });
});

test("many_impossible_actions_give_short_notice", async () => {
  const impossible = Array.from({ length: 60 }, (_, at) => crash(at, 9));
  await withPage(site.browser, site.playground({ nodes: 3, seed: 1, at: 1000, do: impossible }), {}, async (page) => {
    await page.locator("#toast").getByText("57 more actions are impossible and ignored.").waitFor();
    const box = await page.locator("#toast").boundingBox();
    assert.ok(box && box.y >= 0, "the notice fits on the screen");
  });
});

test("address_keeps_requested_moment_during_computation", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 1, at: 100_000 }), {}, async (page) => {
    await clock(page, 0.1);
    const seen = await page.evaluate(async (address) => {
      const work = /** @type {HTMLElement} */ (document.querySelector("#work"));
      location.hash = address;
      while (work.hidden) await new Promise(requestAnimationFrame);
      /** @type {Set<string | null>} */
      const moments = new Set();
      while (!work.hidden) {
        moments.add(new URLSearchParams(location.hash.slice(1)).get("at"));
        await new Promise(requestAnimationFrame);
      }
      return [...moments];
    }, hash({ nodes: 5, seed: 7, at: 400_000_000, config: { clients: 5 } }));
    assert.deepEqual(seen, ["400000000"]);
  });
});

test("double_click_on_crash_acts_once", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), {}, async (page) => {
    await stand(page, 1);
    await page.keyboard.press("4");
    await page.getByRole("button", { name: "Crash" }).dblclick();
    await page.locator('[data-node="4"][data-process="down"]').waitFor();
    await page.getByRole("button", { name: "Restart", exact: true }).waitFor();
    assert.deepEqual(actions(page).map((action) => action.do), ["crash"]);
    assert.equal(await page.locator("#toast").textContent(), "");
    // A key that is held down acts once as well.
    await page.keyboard.press("3");
    await page.getByRole("heading", { name: "n3" }).waitFor();
    await page.keyboard.down("c");
    await page.keyboard.down("c");
    await page.keyboard.up("c");
    await page.locator('[data-node="3"][data-process="down"]').waitFor();
    await untilActions(page, 2);
    assert.equal(await page.locator("#toast").textContent(), "");
  });
});

test("second_enter_on_crash_does_not_restart", async () => {
  await withPage(site.browser, site.playground({ nodes: 5, seed: 7 }), {}, async (page) => {
    await stand(page, 1);
    await page.keyboard.press("4");
    await page.getByRole("button", { name: "Crash" }).focus();
    await page.keyboard.press("Enter");
    await page.locator('[data-node="4"][data-process="down"]').waitFor();
    await page.getByRole("button", { name: "Restart", exact: true }).waitFor();
    await page.keyboard.press("Enter");
    await page.evaluate(() => /** @type {any} */ (window).raft.settled());
    assert.deepEqual(actions(page).map((action) => action.do), ["crash"]);
    assert.equal(await page.evaluate(() => document.activeElement?.id), "inspector");
  });
});

for (const nodes of [1, 2]) {
  test(`cluster_of_${nodes}_starts`, async () => {
    await withPage(site.browser, site.playground({ nodes, seed: 1 }), {}, async (page) => {
      await ready(page);
      assert.equal(await page.locator("#nodes").inputValue(), String(nodes));
      await openPanel(page, "cluster");
      await page.locator("#restart").click();
      await page.locator('[data-role="leader"]').waitFor();
      assert.equal(await page.locator("#ring .node").count(), nodes);
    });
  });
}

test("seed_with_twelve_digits_starts", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 987_654_007_496 }), {}, async (page) => {
    await ready(page);
    await stand(page, 2);
    await openPanel(page, "cluster");
    await page.locator("#restart").click();
    await page.waitForFunction(() => parseFloat(document.querySelector("#clock")?.textContent ?? "") < 2);
    assert.match(page.url(), /seed=987654007496/);
  });
});

test("fractional_seed_is_not_called_too_large", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 1, at: 100_000 }), {}, async (page) => {
    await clock(page, 0.1);
    await openPanel(page, "cluster");
    const problem = async (/** @type {string} */ text) => {
      await page.locator("#seed").fill(text);
      return await page.locator("#seed").evaluate((seed) => /** @type {HTMLInputElement} */ (seed).validationMessage);
    };
    assert.doesNotMatch(await problem("1.5"), /largest/);
    assert.match(await problem("9999999999999999"), /largest/);
    assert.equal(await problem("9007199254740991"), "");
  });
});

test("refused_settings_keep_present_run", async () => {
  await withPage(site.browser, site.playground({ nodes: 3, seed: 1, at: 500_000, do: [crash(100_000, 1)] }), {}, async (page) => {
    await clock(page, 0.5);
    await page.locator("#seed").evaluate((seed) => (/** @type {HTMLInputElement} */ (seed).value = "-1"));
    await openPanel(page, "cluster");
    await page.locator("#restart").click();
    await page.keyboard.press("Escape");
    await page.locator("#nodes").evaluate((nodes) => nodes.append(new Option("200")));
    await openPanel(page, "cluster");
    await page.locator("#seed").fill("1");
    await page.locator("#nodes").selectOption("200");
    await page.getByText("The run cannot start: invalid nodes: 200; a cluster has 1 to 127 nodes.").waitFor();
    await page.locator("#step").click();
    await page.waitForFunction(() => parseFloat(document.querySelector("#clock")?.textContent ?? "") > 0.5);
    assert.equal(actions(page).length, 1);
  });
});

for (const [address, sentence] of /** @type {[string, string][]} */ ([
  ["nodes=-3&seed=1", "The link asks for -3 nodes; 5 are used."],
  ["nodes=many", "The link asks for many nodes; 5 are used."],
  ["nodes=0&seed=1", "The link asks for 0 nodes; 1 is used."],
  ["nodes=3&seed=x", "The seed of the link is invalid: x;"],
  ["nodes=3&seed=99999999999999999999", "The seed of the link is invalid"],
  ["nodes=3&seed=", "The seed of the link is invalid: empty;"],
  ["nodes=3&seed=1&at=soon", "The moment of the link is invalid: soon; the run opens at its beginning."],
  ["nodes=3&seed=1&do=[null]", "The actions of the link are invalid"],
  ["nodes=3&seed=1&do=[[]]", "The actions of the link are invalid"],
  ["nodes=3&seed=1&do={}", "The actions of the link are invalid"],
  ["nodes=3&seed=1&do=%E0%A4%A", "The actions of the link are invalid"],
  ['nodes=3&seed=1&do=[{"at":1}]', "Ignoring the actions of the link: action 1 is invalid"],
  ['nodes=3&seed=1&do=[{"at":-1,"do":"power-cut"}]', "Ignoring the actions of the link: action 1 is invalid"],
  ['nodes=3&seed=1&do=[{"at":1,"do":"power-cut"},{"at":2,"do":"explode"}]', "Ignoring the actions of the link: action 2 is invalid: unknown variant `explode`."],
  ['nodes=3&seed=1&do=[{"at":2,"do":"power-cut"},{"at":1,"do":"power-cut"}]', "Ignoring the actions of the link: action 1 is earlier than the one before it."],
  ['nodes=3&seed=1&do=[{"at":1,"do":"crash","node":9}]', "Action 1 of the link is impossible: unknown node: 9; it is ignored."],
  ["nodes=3&nodes=4&seed=1", "The link has nodes twice: 3, 4; the first is used."],
  ["nodes=3&seed=1&colour=red", "Ignoring an unknown part of the link: colour."],
  ["%", "Ignoring an unknown part of the link: %."],
  ['nodes=3&seed=1&config={"nodes":7}', "Ignoring nodes in the settings of the link: 7; nodes=3 is used."],
  ["nodes=3&seed=1&config=[]", "The settings of the link are invalid; defaults are used."],
  ['nodes=3&seed=1&config={"founders":9}', "These settings are impossible"],
  ['nodes=3&seed=1&config={"latency":5}', "These settings are impossible"],
  ['nodes=3&seed=1&config={"colour":"red"}', "These settings are impossible"],
])) {
  test(`invalid_address_is_explained: ${address}`, async () => {
    await withPage(site.browser, `${site.url}/playground/#${address}`, {}, async (page) => {
      await page.locator("#toast").getByText(sentence).waitFor();
      await page.locator('[data-role="leader"]').waitFor();
    });
  });
}

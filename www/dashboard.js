// The dashboard: the cluster that serves this page.

import { byId, setText } from "./dom.js";
import { createInspector } from "./views/inspector.js";
import { createShortcuts } from "./controls/shortcuts.js";
import { Live } from "./sources/live.js";
import { clockTime } from "./model/time.js";

/** @import { Selection, View } from "./model/types.js" */
/** @import { Reach } from "./sources/live.js" */
/** @import { Shell } from "./main.js" */

/** How many entries of the log are shown. */
const LOG_MAX = 24;

/** @param {Shell} shell */
export async function startDashboard(shell) {
  const source = new Live({ view: show, story: (part) => shell.story.tell(part), reach: showReach });
  const inspector = createInspector(byId("inspector", HTMLElement), null, source);
  const op = byId("op", HTMLSelectElement);
  const writes = byId("allow-writes", HTMLInputElement);
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;

  /** @param {View} next */
  async function show(next) {
    if (!view) {
      shell.loading.ready();
      shell.story.start();
    }
    view = next;
    shell.draw(next, selection);
    inspector.draw(next, selection);
    try {
      const entries = await source.log(LOG_MAX);
      const serving = next.nodes[source.number(source.serving) - 1];
      const shown = entries.map(({ index, term, kind, key }) => ({ index, term, text: key === null ? kind : `${kind} ${key}` }));
      if (serving) shell.logs.draw([{ node: serving, entries: shown }]);
    } catch {
      // The node does not answer; the state says so.
    }
  }

  /** @param {Reach} reach */
  function showReach(reach) {
    const { connected, serving, seen, answering, members, voters, answeringVoters } = reach;
    const majority = Math.floor(voters / 2) + 1;
    const broken = !connected || answeringVoters < majority;
    const line = byId("live-state", HTMLElement);
    setText(line, connected ? `${answering} of ${members} nodes answer` : `${serving} does not answer`);
    line.className = broken ? "broken" : "";
    setText(byId("serving", HTMLElement), `You see the cluster as ${serving} sees it.`);
    setText(byId("events-title", HTMLElement), `Story of ${serving}`);
    setText(byId("logs-title", HTMLElement), `Log of ${serving}`);
    setText(byId("asked", HTMLElement), `Asks ${serving}`);
    const since = seen ? `since ${clockTime(seen * 1000)}` : "since this page was opened";
    const alarm = !connected ? `${serving}, which serves this page, has not answered ${since}. ${view ? "The page shows what was known then." : ""} It tries again.`
      : answeringVoters < majority ? `No majority: ${answeringVoters} of ${voters} voters ${answeringVoters === 1 ? "answers" : "answer"}, ${majority} are needed. Writes are not possible.` : "";
    setText(byId("alarm", HTMLElement), alarm);
    document.documentElement.toggleAttribute("data-stale", !connected);
    if (!view && !connected) shell.loading.progress(`${serving} does not answer; trying again`);
  }

  /** @param {Selection | null} next */
  function select(next) {
    selection = next?.kind === "node" ? next : null;
    if (view) {
      shell.draw(view, selection);
      inspector.draw(view, selection);
    }
    if (selection) shell.openTab("inspector");
  }
  shell.onSelect(select);

  /** Reading is always possible; writing to a real store must be allowed first. */
  function showOperations() {
    for (const option of op.options) option.disabled = option.value !== "get" && !writes.checked;
    if (!writes.checked) op.value = "get";
    op.dispatchEvent(new Event("change"));
  }
  writes.addEventListener("change", showOperations);
  // A browser restores the state of forms when a page is loaded again.
  writes.checked = false;
  showOperations();

  async function request() {
    const [key, value] = [byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    const answer = byId("answer", HTMLOutputElement);
    setText(answer, "waiting…");
    try {
      setText(answer, await source.request(/** @type {"put" | "get" | "delete"} */ (op.value), key, value));
    } catch {
      setText(answer, op.value === "get" ? "no answer" : "no answer: it may have been done, or not");
    }
    source.look();
  }

  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  // No key writes: this is a real cluster.
  createShortcuts({
    "?": shell.help, Escape: () => select(null),
    l: () => {
      const leader = view?.nodes.find((node) => node.process === "running" && node.role === "leader");
      if (leader) select({ kind: "node", id: leader.id });
    },
  }, (digit) => {
    if (view?.nodes[digit - 1]) select({ kind: "node", id: digit });
  });
  await source.start();
}

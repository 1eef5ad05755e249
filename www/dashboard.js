// The dashboard: the cluster that serves this page.

import { createShortcuts } from "./controls/shortcuts.js";
import { byId, setText } from "./dom.js";
import { clockTime } from "./model/time.js";
import { Live } from "./sources/live.js";
import { createEventLog } from "./views/event-log.js";
import { createInspector } from "./views/inspector.js";
import { createLogTable } from "./views/log-table.js";
import { createMembersTable, showQuorum } from "./views/quorum.js";
import { createTimeDiagram, flagsOf } from "./views/time-diagram.js";

/** @import { Selection, View } from "./model/types.js" */
/** @import { Reach } from "./sources/live.js" */
/** @import { Shell } from "./main.js" */

/** The entries of the log that are shown. */
const LOG_MAX = 24;
/** The length of the diagram, in microseconds. */
const WINDOW = 60_000_000;
/** Answers with a larger distance are not connected in the diagram, in microseconds. */
const GAP = 8_000_000;

/** @param {Shell} shell */
export async function startDashboard(shell) {
  const source = new Live({ view: show, story: (part) => eventLog.add(part), reach: showReach });
  const inspector = createInspector(byId("inspector", HTMLElement), { actions: null, reports: source, close: () => select(null) });
  const eventLog = createEventLog(byId("events-list", HTMLElement), { time: clockTime, empty: "This node has reported nothing yet.", changed: (records) => diagram.showFlags(flagsOf(records)) });
  const logTable = createLogTable(byId("logs-frame", HTMLElement), byId("log-detail", HTMLElement));
  const members = createMembersTable(byId("members", HTMLElement), (id) => select({ kind: "node", id }));
  const diagram = createTimeDiagram(byId("diagram", HTMLElement), byId("lanes", HTMLCanvasElement), { time: clockTime, length: WINDOW, gap: GAP });
  const op = byId("op", HTMLSelectElement);
  const writes = byId("allow-writes", HTMLInputElement);
  const pause = byId("pause-live", HTMLButtonElement);
  let paused = false;
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;

  /** @param {View} next */
  async function show(next) {
    if (!view) {
      shell.loading.ready();
      eventLog.start();
    }
    if (paused && view) return;
    view = next;
    shell.draw(next, selection);
    diagram.show(next, []);
    members.draw(next);
    setText(byId("clock", HTMLOutputElement), clockTime(next.now));
    inspector.draw(next, selection);
    try {
      const entries = await source.log(LOG_MAX);
      const serving = next.nodes[source.number(source.serving) - 1];
      const shown = entries.map(({ index, term, kind, key }) => ({ index, term, text: key === null ? (kind === "noop" ? "no-op" : kind) : `${kind} ${key}` }));
      if (serving) logTable.draw([{ node: serving, entries: shown }]);
    } catch {
      // The node does not answer; the banner says so.
    }
  }

  /** @param {Reach} reach */
  function showReach(reach) {
    const { connected, serving, seen, voters, answeringVoters } = reach;
    const majority = Math.floor(voters / 2) + 1;
    showQuorum(reach, view);
    setText(byId("serving", HTMLElement), `You see the cluster as ${serving} sees it.`);
    setText(byId("events-title", HTMLElement), `Story of ${serving}`);
    setText(byId("logs-title", HTMLElement), `Log of ${serving}`);
    setText(byId("asked", HTMLElement), `Requests go to ${serving}`);
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
    shell.inspect(Boolean(selection));
    if (view) {
      shell.draw(view, selection);
      inspector.draw(view, selection);
    }
    if (selection) shell.openTab("inspector");
  }
  shell.onSelect(select);
  shell.onMenu(select);

  /** Reading is always possible. Writing to a real store must be allowed first. */
  function showOperations() {
    for (const option of op.options) option.disabled = option.value !== "get" && !writes.checked;
    if (!writes.checked) op.value = "get";
    op.dispatchEvent(new Event("change"));
  }
  // The dashboard has no compare-and-set: it would need the value that is there.
  op.querySelector("[value=cas]")?.remove();
  writes.addEventListener("change", showOperations);
  // A browser restores the state of forms when a page is loaded again.
  writes.checked = false;
  showOperations();

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    setText(pause, paused ? "Back to live" : "Pause");
    if (!paused) source.look();
  });

  async function request() {
    const [key, value] = [byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    const answer = byId("answer", HTMLOutputElement);
    setText(answer, "waiting…");
    try {
      setText(answer, await source.request(/** @type {"put" | "get" | "delete"} */ (op.value), key, value));
    } catch {
      setText(answer, op.value === "get" ? "timed out: no answer" : "timed out: unknown outcome; it may have been done, or not");
    }
    source.look();
  }

  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  // No key writes: this is a real cluster.
  createShortcuts({
    "?": shell.help,
    Escape: () => {
      shell.openTab("");
      select(null);
    },
    l: () => {
      const leader = view?.nodes.find((node) => node.process === "running" && node.role === "leader");
      if (leader) select({ kind: "node", id: leader.id });
    },
  }, (digit) => {
    if (view?.nodes[digit - 1]) select({ kind: "node", id: digit });
  });
  await source.start();
}

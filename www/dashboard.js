// The dashboard: the cluster that serves this page.

import { byId, say } from "./dom.js";
import { createInspector } from "./inspector.js";
import { createKeys } from "./keys.js";
import { Live } from "./source/live.js";

/** @import { Selection, View } from "./types.js" */
/** @import { Stage } from "./main.js" */

/** How many entries of the log are shown. */
const LOG_MAX = 24;

/** @param {Stage} stage */
export async function startDashboard(stage) {
  const source = new Live({ view: show, story: (part) => stage.story.tell(part), state });
  const inspector = createInspector(byId("inspector", HTMLElement), null);
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;

  /** @param {View} next */
  async function show(next) {
    if (!view) {
      stage.loading.ready();
      stage.story.start();
    }
    view = next;
    stage.draw(next, selection);
    inspector.draw(next, selection);
    try {
      const entries = await source.log(LOG_MAX);
      const serving = next.nodes.find((node) => source.detail(node.id)?.address.endsWith(`:${location.port}`)) ?? next.nodes[0];
      const shown = entries.map(({ index, term, kind, key }) => ({ index, term, text: key === null ? kind : `${kind} ${key}` }));
      if (serving) stage.logs.draw([{ node: serving, entries: shown }]);
    } catch {
      // The node does not answer; the state says so.
    }
  }

  /** @param {boolean} connected @param {string} text */
  function state(connected, text) {
    const line = byId("live-state", HTMLElement);
    say(line, text);
    line.className = connected ? "" : "broken";
  }

  /** @param {Selection | null} next */
  function select(next) {
    selection = next?.kind === "node" ? next : null;
    if (view) {
      stage.draw(view, selection);
      inspector.draw(view, selection);
    }
    if (selection) stage.openTab("inspector");
  }
  stage.onSelect(select);

  async function request() {
    const [op, key, value] = [byId("op", HTMLSelectElement).value, byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    const answer = byId("answer", HTMLOutputElement);
    say(answer, "waiting…");
    try {
      say(answer, await source.request(/** @type {"put" | "get" | "delete"} */ (op), key, value));
    } catch {
      say(answer, "no answer: it may have been done, or not");
    }
    source.look();
  }

  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  createKeys({
    "?": stage.help, Escape: () => select(null), w: request,
    l: () => {
      const leader = view?.nodes.find((node) => node.process === "running" && node.role === "leader");
      if (leader) select({ kind: "node", id: leader.id });
    },
  }, (digit) => {
    if (view?.nodes[digit - 1]) select({ kind: "node", id: digit });
  });
  await source.start();
}

// One page, two sources: a simulated cluster, or the cluster that serves this page.

import { createLinking } from "./controls/linking.js";
import { createPanels } from "./controls/panels.js";
import { createTheme } from "./controls/theme.js";
import { startDashboard } from "./dashboard.js";
import { byId, h } from "./dom.js";
import { clockTime } from "./model/time.js";
import { startPlayground } from "./playground.js";
import { createHelp, createLegend } from "./views/help.js";
import { loading } from "./views/loading.js";
import { createRingView } from "./views/ring-view.js";
import { showSummary, summarize } from "./views/summary.js";

/** @import { LogStrips } from "./views/ring-labels.js" */
/** @import { Summary } from "./views/summary.js" */
/** @import { Selection, View } from "./model/types.js" */

/** How long a notice stays, in milliseconds. */
const TOAST_MS = 8000;
/**
 * The summary is read aloud. It changes at most this often, in milliseconds, while the same node
 * leads.
 */
const SUMMARY_MS = 250;
/** With more nodes than this, rows and lanes are lower. */
const CROWD = 6;

/**
 * What both pages share.
 * @typedef {ReturnType<typeof createShell>} Shell
 */

/** @param {boolean} live */
function createShell(live) {
  /** @type {(selection: Selection, at: Element) => void} */
  let select = () => {};
  /** @type {(selection: Selection, at: Element) => void} */
  let openMenu = () => {};
  const ring = createRingView(/** @type {SVGSVGElement} */ (/** @type {unknown} */ (byId("ring", SVGElement))), byId("labels", HTMLElement), {
    select: (selection, at) => select(selection, at), menu: (selection, at) => openMenu(selection, at),
  });
  const help = createHelp(live);
  createLegend(live);
  createPanels();
  createLinking();
  const time = live
    ? clockTime
    : (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;
  let toastTimer = 0;
  let offering = false;
  let summaryTimer = 0;
  let latest = /** @type {Summary} */ ({ leader: "", term: 0, count: 0, committed: "", broken: "" });
  let announced = "";
  let leads = "";

  const announce = () => {
    clearTimeout(summaryTimer);
    summaryTimer = 0;
    leads = `${latest.leader} ${latest.term}`;
    const text = JSON.stringify(latest);
    if (text !== announced) showSummary(byId("summary", HTMLElement), latest);
    announced = text;
  };

  const openTab = (/** @type {string} */ tab) => {
    document.body.dataset.tab = tab;
    for (const button of document.querySelectorAll("#tabs button")) {
      if (button instanceof HTMLElement) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    }
  };
  byId("tabs", HTMLElement).addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (button?.dataset.tab) openTab(document.body.dataset.tab === button.dataset.tab ? "" : button.dataset.tab);
  });
  const op = byId("op", HTMLSelectElement);
  op.addEventListener("change", () => {
    byId("value-part", HTMLElement).hidden = op.value !== "put" && op.value !== "cas";
    byId("expected-part", HTMLElement).hidden = op.value !== "cas";
  });

  /**
   * Shows a notice. A notice with an offer stays until another one replaces it.
   * @param {string} text
   * @param {{ label: string, act: () => void }} [offer]
   */
  const toast = (text, offer) => {
    const element = byId("toast", HTMLElement);
    const accept = () => {
      toast("");
      offer?.act();
    };
    offering = Boolean(offer);
    const button = offer ? h("button", { type: "button", class: "btn", click: accept }, offer.label) : null;
    element.replaceChildren(...(text ? [h("span", {}, text)] : []), ...(button ? [button] : []));
    clearTimeout(toastTimer);
    if (text && !offer) toastTimer = window.setTimeout(() => toast(""), TOAST_MS);
  };

  return {
    time,
    help: help.open,
    loading,
    toast,
    openTab,
    dismiss: () => toast(""),
    /** Removes a notice that offers something which is no longer possible. */
    withdrawOffer() {
      if (offering) toast("");
    },
    /** @param {(selection: Selection, at: Element) => void} listener */
    onSelect(listener) {
      select = listener;
    },
    /** @param {(selection: Selection, at: Element) => void} listener */
    onMenu(listener) {
      openMenu = listener;
    },
    /**
     * Marks whether the inspector is open. The ring then gets the rest of the stage.
     * @param {boolean} open
     */
    inspect(open) {
      document.documentElement.toggleAttribute("data-inspecting", open);
    },
    /** @param {LogStrips} strips */
    showStrips: (strips) => ring.showLogs(strips),
    /** @param {(asking: number) => string} text */
    nameRequests: (text) => ring.nameRequests(text),
    /** Lights messages in the ring. @param {number[]} messages */
    light: (messages) => ring.light(messages),
    /** @param {Selection} selection */
    element: (selection) => ring.element(selection),
    /** @param {View} view @param {Selection | null} selection */
    draw(view, selection) {
      document.documentElement.toggleAttribute("data-crowd", view.nodes.length > CROWD);
      ring.draw(view, selection);
      latest = summarize(view);
      // A new leader is named in the same picture that shows its crown.
      if (`${latest.leader} ${latest.term}` !== leads) announce();
      else summaryTimer ||= window.setTimeout(announce, SUMMARY_MS);
    },
  };
}

createTheme(byId("theme", HTMLButtonElement));
const live = !location.pathname.includes("/playground/");
document.documentElement.dataset.source = live ? "live" : "simulated";
document.documentElement.toggleAttribute("data-embed", new URLSearchParams(location.search).has("embed"));
document.title = live ? "Raft: the live cluster" : "Raft: the playground";
byId(live ? "to-live" : "to-playground", HTMLAnchorElement).setAttribute("aria-current", "page");
const shell = createShell(live);
await (live ? startDashboard(shell) : startPlayground(shell));

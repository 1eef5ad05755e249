// One page, two sources of truth: a simulated cluster, or the one that serves this page.

import { startDashboard } from "./dashboard.js";
import { byId, h, setText } from "./dom.js";
import { glance } from "./views/summary.js";
import { createHelp, createLegend } from "./views/help.js";
import { loading } from "./views/loading.js";
import { createLogTable } from "./views/log-table.js";
import { startPlayground } from "./playground.js";
import { createRingView } from "./views/ring-view.js";
import { termColour } from "./views/symbols.js";
import { createEventLog } from "./views/event-log.js";
import { createTheme } from "./controls/theme.js";
import { clockTime } from "./model/time.js";

/** @import { Selection, View } from "./model/types.js" */

/** How long a notice stays, in milliseconds. */
const TOAST_MS = 8000;
/**
 * The sentence at the top is read aloud; it changes at most this often, in milliseconds, while the
 * same nodes lead.
 */
const GLANCE_MS = 250;

/**
 * What both pages share.
 * @typedef {ReturnType<typeof createShell>} Shell
 */

/** @param {boolean} live */
function createShell(live) {
  /** @type {(selection: Selection) => void} */
  let select = () => {};
  const ring = createRingView(/** @type {SVGSVGElement} */ (/** @type {unknown} */ (byId("ring", SVGElement))), (selection) => select(selection));
  const help = createHelp(live);
  createLegend(live);
  const time = live
    ? clockTime
    : (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;
  const legend = byId("legend", HTMLElement);
  let legendColour = "";
  let toastTimer = 0;
  let offering = false;
  let glanceTimer = 0;
  let latest = { leads: "", sentence: "" };
  let announced = latest.leads;

  const announce = () => {
    clearTimeout(glanceTimer);
    glanceTimer = 0;
    announced = latest.leads;
    setText(byId("summary", HTMLElement), latest.sentence);
  };

  const openTab = (/** @type {string} */ tab) => {
    document.body.dataset.tab = tab;
    for (const button of document.querySelectorAll("#tabs button")) {
      if (button instanceof HTMLElement) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    }
  };
  byId("tabs", HTMLElement).addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (button?.dataset.tab) openTab(button.dataset.tab);
  });
  byId("op", HTMLSelectElement).addEventListener("change", () => {
    byId("value-part", HTMLElement).hidden = byId("op", HTMLSelectElement).value !== "put";
  });

  /**
   * @param {string} text
   * @param {{ label: string, act: () => void }} [offer] A notice with an offer stays until another
   *   one.
   */
  const toast = (text, offer) => {
    const element = byId("toast", HTMLElement);
    const accept = () => {
      toast("");
      offer?.act();
    };
    offering = Boolean(offer);
    const button = offer ? h("button", { type: "button", click: accept }, offer.label) : null;
    element.replaceChildren(...(text ? [h("span", {}, text)] : []), ...(button ? [button] : []));
    clearTimeout(toastTimer);
    if (text && !offer) toastTimer = window.setTimeout(() => toast(""), TOAST_MS);
  };

  return {
    story: createEventLog(byId("events-list", HTMLElement), time, live ? "This node has reported nothing yet." : "Nothing has happened yet. Let time run."),
    logs: createLogTable(byId("logs-frame", HTMLElement), byId("log-detail", HTMLElement)),
    help: help.open,
    loading,
    dismiss: () => toast(""),
    /** Removes a notice that offers something which is no longer possible. */
    withdrawOffer() {
      if (offering) toast("");
    },
    toast,
    openTab,
    /** @param {(selection: Selection) => void} listener */
    onSelect(listener) {
      select = listener;
    },
    /** @param {View} view @param {Selection | null} selection */
    draw(view, selection) {
      ring.draw(view, selection);
      latest = glance(view);
      const colour = termColour(Math.max(...view.nodes.map((node) => node.term)));
      if (colour !== legendColour) legend.style.setProperty("--shown", (legendColour = colour));
      // A new leader is named in the same picture that shows its crown.
      if (latest.leads !== announced) announce();
      else glanceTimer ||= window.setTimeout(announce, GLANCE_MS);
    },
  };
}

createTheme(byId("theme", HTMLButtonElement));
const live = !location.pathname.includes("/playground/");
document.documentElement.dataset.source = live ? "live" : "simulated";
document.title = live ? "Raft: the live cluster" : "Raft: the playground";
byId(live ? "to-live" : "to-playground", HTMLAnchorElement).setAttribute("aria-current", "page");
const shell = createShell(live);
await (live ? startDashboard(shell) : startPlayground(shell));

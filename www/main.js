// One page, two sources of truth: a simulated cluster, or the one that serves this page.

import { startDashboard } from "./dashboard.js";
import { byId, h, say } from "./dom.js";
import { glance } from "./glance.js";
import { createHelp, createLegend } from "./help.js";
import { loading } from "./loading.js";
import { createLogs } from "./logs.js";
import { startPlayground } from "./playground.js";
import { createRing } from "./ring.js";
import { termColour } from "./signs.js";
import { createStory } from "./story.js";
import { createTheme } from "./theme.js";
import { clockTime } from "./time.js";

/** @import { Selection, View } from "./types.js" */

/** How long a notice stays, in milliseconds. */
const TOAST_MS = 8000;
/** The sentence at the top is read aloud; it changes at most this often, in milliseconds, while the same nodes lead. */
const GLANCE_MS = 250;

/**
 * What both pages share.
 * @typedef {ReturnType<typeof createStage>} Stage
 */

/** @param {boolean} live */
function createStage(live) {
  /** @type {(selection: Selection) => void} */
  let select = () => {};
  const ring = createRing(/** @type {SVGSVGElement} */ (/** @type {unknown} */ (byId("ring", SVGElement))), (selection) => select(selection));
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
  let told = latest.leads;

  const tell = () => {
    clearTimeout(glanceTimer);
    glanceTimer = 0;
    told = latest.leads;
    say(byId("glance", HTMLElement), latest.sentence);
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

  /** @param {string} text @param {{ label: string, act: () => void }} [offer] A notice with an offer stays until another one. */
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
    story: createStory(byId("story-list", HTMLElement), time, live ? "This node has reported nothing yet." : "Nothing has happened yet. Let time run."),
    logs: createLogs(byId("logs-frame", HTMLElement), byId("log-detail", HTMLElement)),
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
      if (latest.leads !== told) tell();
      else glanceTimer ||= window.setTimeout(tell, GLANCE_MS);
    },
  };
}

createTheme(byId("theme", HTMLButtonElement));
const live = !location.pathname.includes("/playground/");
document.documentElement.dataset.source = live ? "live" : "simulated";
document.title = live ? "Raft: the live cluster" : "Raft: the playground";
byId(live ? "to-live" : "to-playground", HTMLAnchorElement).setAttribute("aria-current", "page");
const stage = createStage(live);
await (live ? startDashboard(stage) : startPlayground(stage));

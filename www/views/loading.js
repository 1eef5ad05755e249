// What a person sees before the engine runs: progress, or why it does not run.

import { byId, setText } from "../dom.js";

/** Controls that do nothing before the engine runs. The document marks them `inert`. */
const CONTROLS = ["#cluster-open", "#cluster-menu", "#share", "footer"];

/** @param {"loading" | "ready" | "failed"} state */
function show(state) {
  document.documentElement.dataset.state = state;
  byId("loading", HTMLElement).hidden = state === "ready";
  byId("loading-bar", HTMLProgressElement).hidden = state !== "loading";
  byId("reload", HTMLButtonElement).hidden = state !== "failed";
  for (const selector of CONTROLS) document.querySelector(selector)?.toggleAttribute("inert", state !== "ready");
}

export const loading = {
  /**
   * @param {string} text
   * @param {number} [done] The part that is done, from 0 to 1; unknown by default.
   */
  progress(text, done) {
    show("loading");
    setText(byId("loading-text", HTMLElement), text);
    const bar = byId("loading-bar", HTMLProgressElement);
    if (done === undefined) bar.removeAttribute("value");
    else bar.value = done;
  },
  ready() {
    show("ready");
  },
  /** @param {string} reason */
  fail(reason) {
    show("failed");
    setText(byId("loading-text", HTMLElement), `The page cannot start: ${reason}. Check that the node runs and that the network works, then reload the page.`);
    const summary = document.querySelector("#summary p");
    if (summary) setText(summary, "The page cannot start.");
    for (const waiting of document.querySelectorAll("[data-loading]")) setText(waiting, "The page cannot start.");
  },
};

byId("reload", HTMLButtonElement).addEventListener("click", () => location.reload());

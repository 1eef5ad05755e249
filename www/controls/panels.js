// The panels: they can be resized, folded and maximized, and the arrangement is remembered.

import { byId } from "../dom.js";

/**
 * @typedef {{ storyWidth?: number, logsHeight?: number, folded: string[], maximized?: string }}
 *   Arrangement
 */

const KEY = "panels";
/** A step of the arrow keys, in pixels. */
const STEP = 16;
const [STORY_MIN, LOGS_MIN] = [240, 60];

/** @returns {Arrangement} */
function restore() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { folded: [], ...(stored && typeof stored === "object" ? stored : {}) };
  } catch {
    return { folded: [] };
  }
}

export function createPanels() {
  const root = document.documentElement;
  const [story, logs] = [byId("split-story", HTMLElement), byId("split-logs", HTMLElement)];
  const panels = { story: byId("events", HTMLElement), logs: byId("logs", HTMLElement) };
  let arrangement = restore();

  function apply() {
    const { storyWidth, logsHeight, folded, maximized } = arrangement;
    if (storyWidth) root.style.setProperty("--story-w", `${storyWidth}px`);
    else root.style.removeProperty("--story-w");
    if (logsHeight) root.style.setProperty("--logs-h", `${logsHeight}px`);
    else root.style.removeProperty("--logs-h");
    root.dataset.folded = folded.join(" ");
    root.dataset.maximized = maximized ?? "";
    for (const button of document.querySelectorAll("[data-fold]")) {
      if (button instanceof HTMLElement) button.setAttribute("aria-expanded", String(!folded.includes(button.dataset.fold ?? "")));
    }
    for (const button of document.querySelectorAll("[data-maximize]")) {
      if (button instanceof HTMLElement) button.setAttribute("aria-pressed", String(maximized === button.dataset.maximize));
    }
    report();
  }

  /** Gives the sizes to assistive technology. */
  function report() {
    for (const [split, size, most] of /** @type {const} */ ([[story, panels.story.offsetWidth, innerWidth], [logs, panels.logs.offsetHeight, innerHeight]])) {
      split.setAttribute("aria-valuenow", String(Math.round(size)));
      split.setAttribute("aria-valuemin", "0");
      split.setAttribute("aria-valuemax", String(most));
    }
  }

  /** @param {Partial<Arrangement>} change */
  function change(change) {
    arrangement = { ...arrangement, ...change };
    try {
      localStorage.setItem(KEY, JSON.stringify(arrangement));
    } catch {
      // The browser stores nothing: the arrangement lasts until the page is reloaded.
    }
    apply();
  }

  const limit = (/** @type {number} */ size, /** @type {number} */ min, /** @type {number} */ max) => Math.round(Math.min(max, Math.max(min, size)));
  const setStory = (/** @type {number} */ width) => change({ storyWidth: limit(width, STORY_MIN, innerWidth * 0.6) });
  const setLogs = (/** @type {number} */ height) => change({ logsHeight: limit(height, LOGS_MIN, innerHeight * 0.7) });

  /** @param {HTMLElement} split @param {(event: PointerEvent) => void} moved */
  function draggable(split, moved) {
    split.addEventListener("pointerdown", (event) => {
      split.setPointerCapture(event.pointerId);
      event.preventDefault();
      split.focus();
    });
    split.addEventListener("pointermove", (event) => {
      if (split.hasPointerCapture(event.pointerId)) moved(event);
    });
  }
  draggable(story, (event) => setStory(innerWidth - event.clientX));
  draggable(logs, (event) => setLogs(panels.logs.getBoundingClientRect().bottom - event.clientY));
  story.addEventListener("dblclick", () => change({ storyWidth: undefined }));
  logs.addEventListener("dblclick", () => change({ logsHeight: undefined }));
  const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: 1, ArrowUp: 1, ArrowRight: -1, ArrowDown: -1 });
  for (const [split, resize] of /** @type {const} */ ([
    [story, (/** @type {number} */ by) => setStory(panels.story.offsetWidth + by)], [logs, (/** @type {number} */ by) => setLogs(panels.logs.offsetHeight + by)],
  ])) {
    split.addEventListener("keydown", (event) => {
      const by = steps[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      resize(by * STEP);
    });
  }
  document.addEventListener("click", ({ target }) => {
    const button = target instanceof Element ? target.closest("[data-fold], [data-maximize]") : null;
    if (!(button instanceof HTMLElement)) return;
    const { fold, maximize } = button.dataset;
    const { folded, maximized } = arrangement;
    if (fold) change({ folded: folded.includes(fold) ? folded.filter((name) => name !== fold) : [...folded, fold] });
    if (maximize) change({ maximized: maximized === maximize ? undefined : maximize });
  });
  addEventListener("resize", report);
  apply();
}

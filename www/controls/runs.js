// Earlier runs: whatever a change would lose is kept in a list, and can be opened again.

import { readAddress } from "../model/url-state.js";
import { byId, h, setText } from "../dom.js";

/** @import { Script } from "../model/types.js" */

/** More runs than this are not kept; the oldest is forgotten first. */
const KEPT_MAX = 50;
const KEY = "runs";

/**
 * Returns true if everything that is done in one run is done in the other as well: same settings,
 * and the actions of one begin the actions of the other.
 * @param {Script} part
 * @param {Script} whole
 */
export function isPartOf(part, whole) {
  const [some, all] = [part.actions ?? [], whole.actions ?? []];
  return isEqual(part.config, whole.config) && some.length <= all.length && some.every((action, index) => isEqual(action, all[index]));
}

/** @param {unknown} a @param {unknown} b */
function isEqual(a, b) {
  return canonical(a) === canonical(b);
}

/** JSON with the fields of each object in alphabetical order. @param {unknown} value */
function canonical(value) {
  return JSON.stringify(value, (_, part) => {
    const isObject = part !== null && typeof part === "object" && !Array.isArray(part);
    return isObject ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part;
  });
}

/**
 * The same list, with one run more: a run that is part of another one needs no place of its own.
 * @param {string[]} kept Addresses, the newest first.
 * @param {string} address
 */
export function withRun(kept, address) {
  const { script } = readAddress(address);
  if (!script.actions?.length || kept.some((other) => isPartOf(script, readAddress(other).script))) return kept;
  return [address, ...kept.filter((other) => !isPartOf(readAddress(other).script, script))].slice(0, KEPT_MAX);
}

/** @param {(address: string) => void} open */
export function createRuns(open) {
  const dialog = byId("runs", HTMLDialogElement);
  const button = byId("runs-open", HTMLButtonElement);
  const list = byId("runs-list", HTMLOListElement);
  let kept = restore();

  function draw() {
    setText(button, kept.length ? `Runs (${kept.length})` : "Runs");
    button.disabled = kept.length === 0;
    list.replaceChildren(...kept.map((address) => h("li", {},
      h("button", { type: "button", click: () => choose(address) }, "Open"), h("span", {}, describe(address)))));
  }

  /** @param {string} address */
  function choose(address) {
    dialog.close();
    open(address);
  }

  button.addEventListener("click", () => dialog.showModal());
  draw();
  return {
    /** Keeps a run that is left. @param {string} address */
    keep(address) {
      kept = withRun(kept, address);
      store(kept);
      draw();
    },
  };
}

/** @param {string} address */
function describe(address) {
  const { script, moment } = readAddress(address);
  const actions = script.actions ?? [];
  const last = actions.at(-1);
  const node = last && "node" in last ? ` n${last.node}` : "";
  const { nodes, seed, ...settings } = script.config ?? {};
  return [
    nodes === 1 ? "1 node" : `${nodes} nodes`, `seed ${seed}`, Object.keys(settings).length ? "own settings" : "",
    actions.length === 1 ? "1 action" : `${actions.length} actions`, last ? `last ${last.do}${node} at ${seconds(last.at)}` : "",
    moment === undefined ? "" : `left at ${seconds(moment)}`,
  ].filter(Boolean).join(", ");
}

/** @param {number} micros */
function seconds(micros) {
  return `${(micros / 1e6).toFixed(3)} s`;
}

/** The list survives a reload of the page, not the end of the tab. @returns {string[]} */
function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((address) => typeof address === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string[]} kept */
function store(kept) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // No room in the browser's storage: the list lasts until the page is reloaded.
  }
}

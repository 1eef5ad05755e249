// The branches of the run: bands that fork from the present branch, and a list of all of them.

import { byId, h } from "../dom.js";
import { actionText } from "../model/action-text.js";
import { partings } from "../model/branch-tree.js";

/** @import { Branch, Comparison } from "../model/types.js" */

/** Bands that are shown at once. */
const BANDS_MAX = 2;

const seconds = (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;

/** The name of a branch: its own, or a letter. @param {Branch} branch */
export function branchName({ id, name }) {
  if (name) return name;
  const index = id - 1;
  return `Branch ${String.fromCharCode(65 + (index % 26))}${index >= 26 ? Math.floor(index / 26) : ""}`;
}

/**
 * The first action of a branch from a moment on, in words.
 * @param {Branch} branch
 * @param {number} parted
 */
function difference({ script, shared }, parted) {
  const first = script.actions?.find((action, position) => action.at >= parted && (parted > 0 || position >= shared));
  return first ? `${actionText(first)} at ${seconds(first.at)}` : "no further action";
}

/**
 * @typedef {object} Listener
 * @property {(id: number, at: number) => void} show
 * @property {(id: number, name: string) => void} rename
 * @property {(id: number) => void} remove
 * @property {(one: number, other: number) => Promise<Comparison>} compare
 */

/** @param {Listener} listener */
export function createBranches({ show, rename, remove, compare }) {
  const row = byId("branches", HTMLElement);
  const dialog = byId("branches-dialog", HTMLDialogElement);
  const list = byId("branches-list", HTMLOListElement);
  const result = byId("comparison", HTMLElement);
  /** @type {Branch[]} */
  let branches = [];
  let end = 1;
  let now = 0;
  let drawn = "";
  /** Counts the lists of branches. */
  let version = 0;

  const shown = () => branches.find((branch) => branch.shown);

  /** @param {Branch} branch @param {number} parted */
  function band(branch, parted) {
    const [left, width] = [Math.min(92, (100 * parted) / end), Math.max(8, (100 * (Math.max(branch.reached, parted) - parted)) / end)];
    const label = `${branchName(branch)}: ${difference(branch, parted)}`;
    return h("div", { class: "band", style: `left: ${left.toFixed(2)}%; width: min(${width.toFixed(2)}%, ${(100 - left).toFixed(2)}%)` },
      h("button", { type: "button", title: `Show ${label}`, click: () => show(branch.id, Math.max(parted, Math.min(now, branch.reached))) },
        h("b", {}, branchName(branch)), ` ${difference(branch, parted)}`),
      h("button", { type: "button", class: "compare", click: () => openComparison(branch.id) }, "compare"));
  }

  function draw() {
    const present = shown();
    const others = present ? partings(branches, present.id).slice(0, BANDS_MAX) : [];
    const key = `${version} ${Math.round(end / 1e4)}`;
    if (key === drawn) return;
    drawn = key;
    row.hidden = branches.length < 2;
    row.replaceChildren(...others.map(({ branch, at }) => h("div", { class: "branch-row" }, band(branch, at))),
      ...(branches.length > BANDS_MAX + 1 ? [h("button", { type: "button", class: "all", click: () => open() }, `All ${branches.length} branches…`)] : []));
    if (dialog.open) drawList();
  }

  function drawList() {
    list.replaceChildren(...branches.map((branch) => h("li", branch.shown ? { "aria-current": "true" } : {},
      h("input", { value: branchName(branch), maxlength: 40, "aria-label": `Name of ${branchName(branch)}`, change: (/** @type {Event} */ event) => {
        if (event.target instanceof HTMLInputElement) rename(branch.id, event.target.value);
      } }),
      h("span", {}, `${difference(branch, branch.forked_at)}; reached ${seconds(branch.reached)}`),
      branch.shown ? h("span", { class: "dim" }, "shown") : h("button", { type: "button", class: "btn", click: () => show(branch.id, branch.reached) }, "Show"),
      ...(branch.shown ? [] : [
        h("button", { type: "button", class: "btn", click: () => openComparison(branch.id) }, "Compare"),
        h("button", { type: "button", class: "btn danger", click: () => remove(branch.id) }, "Delete")]))));
  }

  /** @param {number} other */
  async function openComparison(other) {
    const present = shown();
    const branch = branches.find(({ id }) => id === other);
    if (!present || !branch) return;
    open();
    result.replaceChildren(...comparisonContent(await compare(present.id, other), [branchName(present), branchName(branch)]));
  }

  function open() {
    result.replaceChildren();
    drawList();
    if (!dialog.open) dialog.showModal();
  }

  return {
    open,
    /** @param {Branch[]} next */
    show(next) {
      branches = next;
      version += 1;
      draw();
    },
    /**
     * @param {number} moment
     * @param {number} length The length of the time axis.
     */
    place(moment, length) {
      now = moment;
      end = Math.max(1, length);
      draw();
    },
  };
}

/** @param {Comparison} comparison @param {[string, string]} names */
function comparisonContent({ shared, parting, endings }, names) {
  const text = (/** @type {unknown[] | undefined} */ pair, /** @type {number} */ index, /** @type {(value: any) => string} */ words) => (pair?.[index] ? words(pair[index]) : "–");
  const equal = parting ? `Equal up to ${seconds(parting.at)}, with ${shared === 1 ? "1 action" : `${shared} actions`} in common.` : "No difference so far.";
  const rows = /** @type {[string, (index: number) => string][]} */ ([
    ...(parting ? /** @type {[string, (index: number) => string][]} */ ([
      ["Then", (index) => text(parting.actions, index, (action) => actionText(action) ?? "–")], ["First event", (index) => text(parting.events, index, (event) => event.text)]]) : []),
    ["At", (index) => seconds(endings[index]?.at ?? 0)], ["Leader", (index) => (endings[index]?.leader ? `n${endings[index]?.leader}` : "none")],
    ["Term", (index) => String(endings[index]?.term ?? 0)], ["Committed", (index) => String(endings[index]?.committed ?? 0)],
    ["Invariants", (index) => endings[index]?.violation?.text ?? "hold"],
  ]);
  return [
    h("h3", {}, `${names[0]} and ${names[1]}`), h("p", {}, equal),
    h("table", {}, h("thead", {}, h("tr", {}, h("td"), ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map(([title, value]) => h("tr", {}, h("th", { scope: "row" }, title), h("td", {}, value(0)), h("td", {}, value(1)))))),
  ];
}

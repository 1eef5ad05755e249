// The logs: a row for each node, a column for each position.

import { h, say } from "./dom.js";
import { termColour } from "./signs.js";

/** @import { LogEntry, NodeView } from "./types.js" */

/** @typedef {{ node: NodeView, entries: LogEntry[] }} Row */

const STEPS = new Map([["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]], ["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]]]);
const HINT = "Choose an entry to see what it says.";
const EMPTY = "No node has an entry yet. A new leader writes the first one.";

/**
 * @param {HTMLElement} frame
 * @param {HTMLElement} detail Where the entry that is pointed at, focused or tapped is explained.
 */
export function createLogs(frame, detail) {
  let shown = "";
  /** The cell that the Tab key reaches, and that is explained. @type {string | null} */
  let current = null;

  const cells = () => /** @type {HTMLElement[]} */ ([...frame.querySelectorAll("[data-cell]")]);
  const find = (/** @type {string | null} */ name) => cells().find((element) => element.dataset.cell === name);

  /** @param {HTMLElement} element */
  function explain(element) {
    const before = find(current);
    before?.setAttribute("tabindex", "-1");
    element.setAttribute("tabindex", "0");
    current = element.dataset.cell ?? null;
    say(detail, element.getAttribute("aria-label") ?? "");
  }

  for (const event of ["focusin", "mouseover", "click"]) {
    frame.addEventListener(event, ({ target }) => {
      const element = target instanceof HTMLElement ? target.closest("[data-cell]") : null;
      // A mouse that passes by does not take the explanation from whoever chose with the keyboard.
      if (element instanceof HTMLElement && !(event === "mouseover" && frame.contains(document.activeElement))) explain(element);
    });
  }
  frame.addEventListener("keydown", (event) => {
    const step = STEPS.get(event.key);
    const from = document.activeElement;
    if (!step || !(from instanceof HTMLElement) || !from.dataset.cell || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [down = 0, right = 0] = step;
    const row = from.closest("tr");
    const column = row ? [...row.children].indexOf(from) : 0;
    if (down) {
      let next = down > 0 ? row?.nextElementSibling : row?.previousElementSibling;
      while (next && !(next.children[column] instanceof HTMLElement && next.children[column].hasAttribute("data-cell"))) {
        next = down > 0 ? next.nextElementSibling : next.previousElementSibling;
      }
      /** @type {HTMLElement | undefined} */ (next?.children[column])?.focus();
    } else {
      const next = right > 0 ? from.nextElementSibling : from.previousElementSibling;
      if (next instanceof HTMLElement && next.dataset.cell) next.focus();
    }
  });

  return {
    /** @param {Row[]} rows */
    draw(rows) {
      const key = JSON.stringify(rows.map(({ node, entries }) => [node.name, node.process, node.commit, node.applied, node.durable, node.start, entries]));
      if (key === shown) return;
      shown = key;
      const ends = rows.flatMap(({ node, entries }) => [node.start, ...entries.map((entry) => entry.index)]);
      const last = Math.max(0, ...ends);
      const begins = rows.flatMap(({ entries }) => entries.slice(0, 1).map((entry) => entry.index));
      const starts = rows.map(({ node }) => node.start).filter((start) => start > 0);
      // The end of a snapshot is the last thing before a log: one column of it is enough.
      const first = Math.max(1, Math.min(...begins, ...starts, last));
      const positions = Array.from({ length: last ? last - first + 1 : 0 }, (_, offset) => first + offset);
      const head = h("thead", {}, h("tr", {}, h("td"), ...positions.map((index) => h("th", { scope: "col" }, String(index)))));
      const body = rows.map(({ node, entries }) => {
        const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
        return h("tr", { "data-log": node.id }, h("th", { scope: "row" }, node.name), ...positions.map((index) => cell(node, index, byIndex.get(index))));
      });
      const atEnd = frame.scrollLeft + frame.clientWidth >= frame.scrollWidth - 40;
      const focused = frame.contains(document.activeElement);
      frame.replaceChildren(h("table", { "aria-label": "Logs: a row for each node, a column for each position" }, head, h("tbody", {}, ...body)));
      if (atEnd && !focused) frame.scrollLeft = frame.scrollWidth;
      const again = find(current);
      const stop = again ?? cells().at(-1);
      stop?.setAttribute("tabindex", "0");
      say(detail, again?.getAttribute("aria-label") ?? (stop ? HINT : EMPTY));
      if (!again) current = stop?.dataset.cell ?? null;
      if (focused) stop?.focus({ preventScroll: true });
    },
  };
}

/** @param {NodeView} node @param {number} index @param {LogEntry | undefined} entry */
function cell(node, index, entry) {
  const name = { "data-cell": `${node.id}-${index}`, tabindex: -1 };
  if (!entry) {
    if (index > node.start) return h("td", {});
    return h("td", { ...name, class: "snapshot", "aria-label": `Entry ${index} of ${node.name} is in its snapshot, which ends at entry ${node.start}` }, "▣");
  }
  const down = node.process === "down";
  const [committed, applied, durable] = [entry.index <= node.commit, entry.index <= node.applied, down || entry.index <= node.durable];
  const state = down ? "on its disk" : [committed ? "committed" : "not committed", applied ? "applied" : null, durable ? null : "not on disk yet"].filter(Boolean).join(", ");
  return h("td", {
    ...name,
    class: `entry${committed ? " committed" : ""}${durable ? "" : " volatile"}`,
    style: `--term: ${termColour(entry.term)}`,
    "aria-label": `Entry ${entry.index} of ${node.name}, term ${entry.term}: ${entry.text} (${state})`,
  }, `${entry.term}${applied ? "✓" : ""}`);
}

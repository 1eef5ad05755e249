// The logs: a row for each node, a column for each position or folded range of positions.

import { h, setText } from "../dom.js";
import { termColour } from "./symbols.js";

/** @import { LogColumn, LogEntry, NodeView } from "../model/types.js" */

/**
 * `start` and `last` are the ends of the log. Without them, the entries are the whole log.
 * @typedef {{ node: NodeView, entries: LogEntry[], start?: number, last?: number }} Row
 */

const STEPS = new Map([["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]], ["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]]]);
const HINT = "Choose an entry to see what it says.";
const EMPTY = "No node has an entry yet. A new leader writes the first one.";

const number = (/** @type {number} */ value) => value.toLocaleString("en");

/**
 * @param {HTMLElement} frame
 * @param {HTMLElement} detail Where the entry that is pointed at, focused or tapped is explained.
 */
export function createLogTable(frame, detail) {
  let shown = "";
  /** The cell that the Tab key reaches, and that is explained. @type {string | null} */
  let current = null;

  const cells = () => /** @type {HTMLElement[]} */ ([...frame.querySelectorAll("[data-cell]")]);
  const find = (/** @type {string | null} */ name) => cells().find((element) => element.dataset.cell === name);

  /** @param {HTMLElement} element */
  function explain(element) {
    const before = find(current);
    before?.setAttribute("tabindex", "-1");
    before?.classList.remove("explained");
    element.setAttribute("tabindex", "0");
    element.classList.add("explained");
    current = element.dataset.cell ?? null;
    setText(detail, element.getAttribute("aria-label") ?? "");
  }

  for (const event of ["focusin", "mouseover", "click"]) {
    frame.addEventListener(event, ({ target }) => {
      const element = target instanceof HTMLElement ? target.closest("[data-cell]") : null;
      // A mouse that passes by does not replace the explanation of a cell that has the focus.
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
    if (down) {
      const column = Number(from.dataset.column);
      let next = from.closest("tr");
      do {
        next = /** @type {HTMLTableRowElement | null} */ (down > 0 ? next?.nextElementSibling : next?.previousElementSibling) ?? null;
      } while (next && !cellAt(next, column));
      if (next) cellAt(next, column)?.focus();
    } else {
      const next = right > 0 ? from.nextElementSibling : from.previousElementSibling;
      if (next instanceof HTMLElement && next.dataset.cell) next.focus();
    }
  });

  return {
    /**
     * @param {Row[]} rows
     * @param {LogColumn[]} [columns] Without them, every position has a column.
     */
    draw(rows, columns = everyPosition(rows)) {
      const key = JSON.stringify([columns, rows.map(({ node, entries, start, last }) =>
        [node.name, node.process, node.commit, node.applied, node.durable, start ?? node.start, last, entries])]);
      if (key === shown) return;
      shown = key;
      const head = h("thead", {}, h("tr", {}, h("td"), ...columns.map(({ from, to }) =>
        h("th", { scope: "col" }, from === to ? number(from) : `${number(from)} … ${number(to)}`))));
      const body = rows.map((row) => h("tr", { "data-log": row.node.id }, h("th", { scope: "row" }, row.node.name), ...rowCells(row, columns)));
      const atEnd = frame.scrollLeft + frame.clientWidth >= frame.scrollWidth - 40;
      const focused = frame.contains(document.activeElement);
      frame.replaceChildren(h("table", { "aria-label": "Logs: a row for each node, a column for each position" }, head, h("tbody", {}, ...body)));
      if (atEnd && !focused) frame.scrollLeft = frame.scrollWidth;
      const again = find(current);
      const stop = again ?? cells().at(-1);
      stop?.setAttribute("tabindex", "0");
      again?.classList.add("explained");
      setText(detail, again?.getAttribute("aria-label") ?? (stop ? HINT : EMPTY));
      if (!again) current = stop?.dataset.cell ?? null;
      if (focused) stop?.focus({ preventScroll: true });
    },
  };
}

/** @param {Row[]} rows @returns {LogColumn[]} */
function everyPosition(rows) {
  const positions = rows.flatMap(({ node, entries }) => [node.start, ...entries.map((entry) => entry.index)]).filter((position) => position > 0);
  if (!positions.length) return [];
  const first = Math.min(...positions);
  return Array.from({ length: Math.max(...positions) - first + 1 }, (_, offset) => ({ from: first + offset, to: first + offset }));
}

/**
 * The cell of a row in this column; a snapshot takes several columns.
 * @param {HTMLTableRowElement} row
 * @param {number} column
 */
function cellAt(row, column) {
  const cells = /** @type {HTMLElement[]} */ ([...row.querySelectorAll("[data-cell]")]);
  return cells.find(({ dataset }) => Number(dataset.first ?? dataset.column) <= column && column <= Number(dataset.column));
}

/** @param {Row} row @param {LogColumn[]} columns */
function rowCells({ node, entries, start = node.start, last = entries.at(-1)?.index ?? start }, columns) {
  const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
  const inSnapshot = columns.filter(({ to }) => to <= start).length;
  const cells = inSnapshot ? [h("td", {
    "data-cell": `${node.id}-snapshot`, "data-first": 0, "data-column": inSnapshot - 1, tabindex: -1, colspan: inSnapshot, class: "snapshot",
    "aria-label": `Entries up to ${number(start)} of ${node.name} are in its snapshot`,
  }, `▣ ${number(start)}`)] : [];
  for (const [column, { from, to }] of columns.entries()) {
    if (column < inSnapshot) continue;
    if (from > last) cells.push(h("td", {}));
    else if (from < to) cells.push(foldedCell(node, column, Math.max(from, start + 1), Math.min(to, last)));
    else cells.push(entryCell(node, column, byIndex.get(from)));
  }
  return cells;
}

/** @param {NodeView} node @param {number} column @param {number} from @param {number} to */
function foldedCell(node, column, from, to) {
  const state = node.process === "down" ? "on its disk" : node.commit >= to ? "committed" : "partly committed";
  return h("td", {
    "data-cell": `${node.id}-${from}-${to}`, "data-column": column, tabindex: -1, class: "folded",
    "aria-label": `Entries ${number(from)} to ${number(to)} of ${node.name}, folded (${state})`,
  }, "…");
}

/** @param {NodeView} node @param {number} column @param {LogEntry | undefined} entry */
function entryCell(node, column, entry) {
  if (!entry) return h("td", {});
  const down = node.process === "down";
  const [committed, applied, durable] = [entry.index <= node.commit, entry.index <= node.applied, down || entry.index <= node.durable];
  const state = down ? "on its disk" : [committed ? "committed" : "not committed", applied ? "applied" : null, durable ? null : "not on disk yet"].filter(Boolean).join(", ");
  const label = `Entry ${number(entry.index)} of ${node.name}, term ${entry.term}: ${entry.text} (${state})`;
  return h("td", {
    "data-cell": `${node.id}-${entry.index}`, "data-column": column, tabindex: -1,
    class: `entry${committed ? " committed" : ""}${durable ? "" : " volatile"}`,
    style: `--term: ${termColour(entry.term)}`,
    title: entry.text,
    "aria-label": label,
  }, `${entry.term}${applied ? "✓" : ""}`);
}

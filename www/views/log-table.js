// The logs: a row for each node, a column for each index or folded range of indexes.

import { h, icon, s, setText } from "../dom.js";
import { termClass } from "./symbols.js";

/** @import { Follower, LogColumn, LogEntry, NodeView, View } from "../model/types.js" */

/**
 * `start` and `last` are the ends of the log. Without them, the entries are the whole log.
 * @typedef {{ node: NodeView, entries: LogEntry[], start?: number, last?: number }} Row
 *
 * The leader and what it knows of its followers.
 * @typedef {{ leader: NodeView | undefined, followers: Follower[] }} Replication
 */

const STEPS = new Map([["ArrowLeft", [0, -1]], ["ArrowRight", [0, 1]], ["ArrowUp", [-1, 0]], ["ArrowDown", [1, 0]]]);
const EMPTY = "No node has an entry yet. A new leader writes the first one.";

const number = (/** @type {number} */ value) => value.toLocaleString("en");

/**
 * @param {HTMLElement} frame
 * @param {HTMLElement} detail Explains the entry that is pointed at, focused or tapped.
 * @param {(node: number, index: number, at: Element) => void} [open] Opens the menu of an entry.
 */
export function createLogTable(frame, detail, open) {
  let shown = "";
  /** The cell that the Tab key reaches, and that is explained. @type {string | null} */
  let current = null;

  const cells = () => /** @type {HTMLElement[]} */ ([...frame.querySelectorAll("[data-cell]")]);
  const find = (/** @type {string | null} */ name) => cells().find((element) => element.dataset.cell === name);

  /** True if a person points at the current cell, or has chosen it. */
  let chosen = false;

  /** @param {HTMLElement} element */
  function explain(element) {
    chosen = true;
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
      const element = target instanceof Element ? target.closest("[data-cell]") : null;
      // A mouse that passes by does not replace the explanation of a cell that has the focus.
      if (element instanceof HTMLElement && !(event === "mouseover" && frame.contains(document.activeElement))) explain(element);
    });
  }
  frame.addEventListener("mouseleave", () => {
    if (frame.contains(document.activeElement)) return;
    chosen = false;
    find(current)?.classList.remove("explained");
    setText(detail, "");
  });
  for (const event of ["contextmenu", "dblclick"]) {
    frame.addEventListener(event, (happened) => {
      const element = happened.target instanceof Element ? happened.target.closest("[data-index]") : null;
      if (!(element instanceof HTMLElement) || !open) return;
      happened.preventDefault();
      open(Number(element.dataset.of), Number(element.dataset.index), element);
    });
  }
  frame.addEventListener("keydown", (event) => {
    const from = document.activeElement;
    if (!(from instanceof HTMLElement) || !from.dataset.cell || event.ctrlKey || event.metaKey || event.altKey) return;
    if ((event.key === "Enter" || event.key === "m") && from.dataset.index && open) {
      event.preventDefault();
      event.stopPropagation();
      return open(Number(from.dataset.of), Number(from.dataset.index), from);
    }
    const step = STEPS.get(event.key);
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const [down = 0, right = 0] = step;
    const column = Number(from.dataset.column);
    if (down) {
      let next = from.closest("tr");
      do {
        next = /** @type {HTMLTableRowElement | null} */ (down > 0 ? next?.nextElementSibling : next?.previousElementSibling) ?? null;
      } while (next && !cellAt(next, column));
      if (next) cellAt(next, column)?.focus();
    } else {
      const all = /** @type {HTMLElement[]} */ ([...(from.closest("tr")?.querySelectorAll("[data-cell]") ?? [])]);
      all[all.indexOf(from) + right]?.focus();
    }
  });

  // A table that was hidden shows its end.
  let width = 0;
  new ResizeObserver(() => {
    if (!width) frame.scrollLeft = frame.scrollWidth;
    width = frame.clientWidth;
  }).observe(frame);

  return {
    /**
     * @param {Row[]} rows
     * @param {LogColumn[]} [columns] Without them, every index has a column.
     * @param {Replication} [replication]
     */
    draw(rows, columns = everyIndex(rows), replication = { leader: undefined, followers: [] }) {
      const key = JSON.stringify([columns, replication.leader?.id, replication.followers, rows.map(({ node, entries, start, last }) =>
        [node.name, node.process, node.isolated, node.role, node.term, node.commit, node.applied, node.durable, start ?? node.start, last, entries])]);
      if (key === shown) return;
      shown = key;
      const commit = Math.max(0, ...rows.map(({ node }) => node.commit));
      const head = h("thead", {}, h("tr", {}, h("td"), ...columns.map(({ from, to }) =>
        h("th", { scope: "col", class: from === commit + 1 ? "frontier" : null }, from === to ? number(from) : `${number(from)} … ${number(to)}`))));
      const body = rows.map((row, position) => tableRow(row, rows[position + 1], columns, replication));
      const atEnd = frame.scrollLeft + frame.clientWidth >= frame.scrollWidth - 40;
      const focused = frame.contains(document.activeElement);
      frame.replaceChildren(h("table", { class: "log-table", "aria-label": "Logs: a row for each node, a column for each index" }, head, h("tbody", {}, ...body)));
      if (atEnd && !focused) frame.scrollLeft = frame.scrollWidth;
      const again = find(current);
      const stop = again ?? cells().at(-1);
      stop?.setAttribute("tabindex", "0");
      const explained = chosen ? again : undefined;
      explained?.classList.add("explained");
      setText(detail, explained?.getAttribute("aria-label") ?? (stop ? "" : EMPTY));
      if (!again) current = stop?.dataset.cell ?? null;
      if (focused) stop?.focus({ preventScroll: true });
    },
  };
}

/** @param {Row[]} rows @returns {LogColumn[]} */
function everyIndex(rows) {
  const indexes = rows.flatMap(({ node, entries }) => [node.start, ...entries.map((entry) => entry.index)]).filter((index) => index > 0);
  if (!indexes.length) return [];
  const first = Math.min(...indexes);
  return Array.from({ length: Math.max(...indexes) - first + 1 }, (_, offset) => ({ from: first + offset, to: first + offset }));
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

/**
 * The commit index of a row as the page draws it. A crashed node has none.
 * @param {Row | undefined} row
 */
function commitOf(row) {
  return row && row.node.process !== "down" ? row.node.commit : 0;
}

/**
 * @param {Row} row
 * @param {Row | undefined} below
 * @param {LogColumn[]} columns
 * @param {Replication} replication
 */
function tableRow(row, below, columns, { leader, followers }) {
  const { node, entries, start = node.start, last = entries.at(-1)?.index ?? start } = row;
  const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
  const inSnapshot = columns.filter(({ to }) => to <= start).length;
  const follower = leader && leader.id !== node.id ? followers.find(({ id }) => id === node.id) : undefined;
  const [commit, next] = [commitOf(row), below ? commitOf(below) : commitOf(row)];
  const [low, high] = [Math.min(commit, next), Math.max(commit, next)];
  // A step of the commit line runs below the cells between two frontiers.
  const classes = (/** @type {LogColumn} */ { from, to }) =>
    `${commit > 0 && commit >= from && commit <= to ? "commit-edge" : ""} ${below && from > low && to <= high && commit > 0 && next > 0 ? "commit-step" : ""}`;
  const cells = [];
  const lastSnapshot = columns[inSnapshot - 1];
  if (lastSnapshot) {
    cells.push(h("td", { colspan: inSnapshot, class: classes({ from: 1, to: lastSnapshot.to }) }, h("span", {
      "data-cell": `${node.id}-snapshot`, "data-first": 0, "data-column": inSnapshot - 1, tabindex: -1, role: "button", class: "cell snapshot t0",
      "aria-label": `Entries up to ${number(start)} of ${node.name} are in its snapshot`,
    }, `▣ ${number(start)}`)));
  }
  for (const [column, range] of columns.entries()) {
    if (column < inSnapshot) continue;
    const { from, to } = range;
    const marks = follower ? replicationMarks(follower, range, from > last) : [];
    const cell = from > last ? null : from < to ? foldedCell(node, column, Math.max(from, start + 1), Math.min(to, last))
      : entryCell(node, column, byIndex.get(from), byIndex.get(from - 1)?.term, leader);
    cells.push(h("td", { class: classes(range) }, ...(cell ? [cell] : []), ...marks));
  }
  const state = node.process === "down" ? "crashed" : node.process === "paused" ? "paused" : node.isolated ? "cut off" : "";
  const leads = node.role === "leader" && node.process === "running";
  return h("tr", { "data-log": node.id }, h("th", { scope: "row", class: termClass(node.term) }, leads && icon("crown"), node.name, state && h("span", { class: "state" }, state)),
    ...cells, h("td", { class: `why ${termClass(node.term)}` }, ...whyWaiting(row, leader, follower)));
}

/**
 * The marks of the leader's next and match index.
 * @param {Follower} follower
 * @param {LogColumn} column
 * @param {boolean} free
 */
function replicationMarks({ next_index: next, match_index: match }, { from, to }, free) {
  const marks = [];
  if (match >= from && match <= to) {
    marks.push(h("span", { class: "mark match", title: `matchIndex ${match}` }, s("svg", { viewBox: "0 0 12 9", width: 12, height: 9, "aria-hidden": "true" },
      s("path", { d: "M6 0l6 9H0z", fill: "currentColor", stroke: "var(--surface)", "stroke-width": 1.5, "paint-order": "stroke" }))));
  }
  if (free && next >= from && next <= to) {
    marks.push(h("span", { class: "mark next", title: `nextIndex ${next}` }, s("svg", { viewBox: "0 0 10 12", "aria-hidden": "true" },
      s("path", { d: "M2 1l6 5-6 5", fill: "none", stroke: "currentColor", "stroke-width": 1.75 })), h("span", {}, "next")));
  }
  return marks;
}

/**
 * What a row waits for, in a few words.
 * @param {Row} row
 * @param {NodeView | undefined} leader
 * @param {Follower | undefined} follower
 * @returns {(Node | string)[]}
 */
function whyWaiting({ node }, leader, follower) {
  if (node.process === "down") return [h("span", { class: "fault" }, "crashed"), follower ? `, next ${number(follower.next_index)}` : ""];
  if (node.role === "leader" && node.process === "running") {
    return node.last > node.commit ? [h("b", {}, `${number(node.commit + 1)} waits for a majority`)] : [];
  }
  if (node.durable < node.last) return [`${number(node.last)} is being written`];
  if (!leader || !follower) return [];
  if (node.isolated) return ["unreachable for the leader"];
  const behind = leader.last - follower.match_index;
  if (behind <= 0) return [];
  return [follower.in_flight > 0 ? `${number(leader.last)} is in flight` : follower.probing ? `probing at ${number(follower.next_index)}` : `${number(behind)} behind`];
}

/** @param {NodeView} node @param {number} column @param {number} from @param {number} to */
function foldedCell(node, column, from, to) {
  const state = node.process === "down" ? "on its disk" : node.commit >= to ? "committed" : "partly committed";
  return h("span", {
    "data-cell": `${node.id}-${from}-${to}`, "data-column": column, tabindex: -1, role: "button", class: `cell range folded ${termClass(node.term)}`,
    "aria-label": `Entries ${number(from)} to ${number(to)} of ${node.name}, folded (${state})`,
  }, `×${number(to - from + 1)}`);
}

/**
 * @param {NodeView} node
 * @param {number} column
 * @param {LogEntry | undefined} entry
 * @param {number | undefined} termBefore
 * @param {NodeView | undefined} leader
 */
function entryCell(node, column, entry, termBefore, leader) {
  if (!entry) return null;
  const down = node.process === "down";
  const [committed, applied, durable] = [entry.index <= node.commit, entry.index <= node.applied, down || entry.index <= node.durable];
  const state = down ? "on its disk" : [committed ? "committed" : "not committed", applied ? "applied" : null, durable ? null : "not on disk yet"].filter(Boolean).join(", ");
  // An entry of an older leader beyond the log of the present one will be overwritten.
  const conflict = !committed && leader && leader.id !== node.id && entry.index > leader.last && entry.term < leader.term;
  const label = `Entry ${number(entry.index)} of ${node.name}, term ${entry.term}: ${entry.text} (${state})`;
  return h("span", {
    "data-cell": `${node.id}-${entry.index}`, "data-of": node.id, "data-index": entry.index, "data-column": column, tabindex: -1, role: "button",
    class: `cell entry ${termClass(entry.term)}${committed || down ? " committed" : " open"}${durable ? "" : " volatile"}${conflict ? " conflict" : ""}${entry.text === "no-op" ? " no-op" : ""}`,
    title: entry.text, "aria-label": label,
  }, termBefore !== entry.term && h("span", { class: "number" }, String(entry.term)), h("span", { class: "value" }, entry.text.replace(" = ", "=")),
  entry.index === node.applied && !down && icon("check"));
}

// The logs: a row for each node, a column for each position.

import { h } from "./dom.js";
import { termColour } from "./signs.js";

/** @import { LogEntry, NodeView } from "./types.js" */

/**
 * @param {HTMLElement} frame
 */
export function createLogs(frame) {
  let shown = "";
  return {
    /**
     * @param {{ node: NodeView, entries: LogEntry[] }[]} rows
     */
    draw(rows) {
      const key = JSON.stringify(rows.map(({ node, entries }) => [node.name, node.process, node.commit, node.applied, node.durable, entries]));
      if (key === shown) return;
      shown = key;
      const last = Math.max(0, ...rows.flatMap(({ entries }) => entries.map((entry) => entry.index)));
      const first = Math.min(...rows.flatMap(({ entries }) => entries.slice(0, 1).map((entry) => entry.index)), last);
      if (last === 0) return frame.replaceChildren(h("p", { class: "empty" }, "No node has an entry yet. A new leader writes the first one."));
      const positions = Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
      const head = h("thead", {}, h("tr", {}, h("th"), ...positions.map((index) => h("th", { scope: "col" }, String(index)))));
      const body = rows.map(({ node, entries }) => {
        const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
        return h("tr", { "data-log": node.id }, h("th", { scope: "row" }, node.name), ...positions.map((index) => cell(node, byIndex.get(index))));
      });
      const atEnd = frame.scrollLeft + frame.clientWidth >= frame.scrollWidth - 40;
      frame.replaceChildren(h("table", {}, head, h("tbody", {}, ...body)));
      if (atEnd) frame.scrollLeft = frame.scrollWidth;
    },
  };
}

/** @param {NodeView} node @param {LogEntry | undefined} entry */
function cell(node, entry) {
  if (!entry) return h("td", {});
  const down = node.process === "down";
  const [committed, applied, durable] = [entry.index <= node.commit, entry.index <= node.applied, down || entry.index <= node.durable];
  const state = [committed ? "committed" : "not committed", applied ? "applied" : null, durable ? null : "not on disk yet"].filter(Boolean).join(", ");
  const title = `Entry ${entry.index} of term ${entry.term}: ${entry.text} (${state})`;
  return h("td", { class: `entry${committed ? " committed" : ""}${durable ? "" : " volatile"}`, style: `--term: ${termColour(entry.term)}`, title },
    `${entry.term}${applied ? "✓" : ""}`);
}

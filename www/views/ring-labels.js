// The labels beside the nodes: what a node is, and the end of its log.

import { h, s } from "../dom.js";
import { memberRoleText } from "../model/membership.js";
import { PIP, termClass } from "./symbols.js";

/** @import { NodeView, View } from "../model/types.js" */
/** @import { Layout } from "./ring-layout.js" */

/** The entries of a log that a strip shows. */
const STRIP = 5;
/** Below this radius of the nodes, labels show exceptions only. */
const ROOMY = 26;
/** With more nodes than this, a label shows exceptions only. */
const CALM = 6;

/**
 * The terms of the latest entries by node.
 * @typedef {Map<number, { index: number, term: number }[]>} LogStrips
 */

/** @param {HTMLElement} root */
export function createLabels(root) {
  /** @type {LogStrips} */
  let strips = new Map();
  let shown = "";

  /** @param {NodeView} node @param {View} view @param {number} last */
  function strip(node, view, last) {
    const entries = strips.get(node.id) ?? [];
    const byIndex = new Map(entries.map((entry) => [entry.index, entry.term]));
    const down = node.process === "down";
    const end = down ? (entries.at(-1)?.index ?? 0) : node.last;
    if (!end) return null;
    const cells = [];
    const first = Math.max(1, Math.min(end, last) - STRIP + 1);
    for (let index = first; index < first + STRIP && index <= last; index += 1) {
      const state = index > end ? "missing" : down || index <= node.commit ? "" : index > node.durable ? "volatile" : "open";
      cells.push(h("i", { class: `${termClass(byIndex.get(index) ?? (index > end ? 0 : node.term))} ${state}` }));
    }
    return h("span", { class: "strip" }, ...cells);
  }

  /**
   * The word, its class, and a note.
   * @param {NodeView} node
   * @param {View} view
   * @param {boolean} small True if there is room for exceptions only.
   * @returns {[string, string, string]}
   */
  function words(node, view, small) {
    const member = memberRoleText(node.memberRole, view.joint);
    if (node.process === "down") return ["crashed", "fault", member];
    if (node.process === "unreachable") return ["unreachable", "fault", member];
    const state = node.process === "paused" ? "paused" : node.isolated ? "cut off" : "";
    if (state) return [state, "fault", member];
    if (node.role === "leader") return ["leader", "term", member];
    if (node.role === "candidate" || node.role === "pre-candidate") return [node.role, "", member];
    if (member) return [member, "", ""];
    return [view.nodes.length > CALM || small ? "" : "follower", "", ""];
  }

  /** @param {NodeView} node */
  function pips(node) {
    const campaigns = node.process === "running" && (node.role === "candidate" || node.role === "pre-candidate");
    if (!campaigns || !node.needed) return null;
    const term = node.role === "pre-candidate" ? node.term + 1 : node.term;
    const marks = Array.from({ length: Math.max(node.needed, node.votes) }, (_, index) =>
      s("svg", { viewBox: "-8 -8 16 16" }, s("path", { d: PIP, class: index < node.votes ? "pip won" : "pip" })));
    return h("span", { class: `pips ${termClass(term)}` }, ...marks);
  }

  return {
    /** @param {LogStrips} next */
    showLogs(next) {
      strips = next;
    },
    /** @param {View} view @param {Layout} layout */
    draw(view, layout) {
      const last = Math.max(0, ...view.nodes.map((node) => node.last));
      const key = JSON.stringify([layout.viewBox, layout.radius, last, view.joint, [...strips], view.nodes.map((node) =>
        [node.process, node.role, node.term, node.isolated, node.commit, node.last, node.durable, node.votes, node.needed, node.memberRole])]);
      if (key === shown) return;
      shown = key;
      const small = layout.radius < ROOMY;
      root.replaceChildren(...view.nodes.map((node) => {
        const { x, y, side } = layout.label(node.id);
        const [word, kind, note] = words(node, view, small);
        const votes = pips(node);
        const parts = [
          ...(word ? [h("span", { class: `role ${kind}` }, word)] : []),
          ...(note ? [h("span", { class: "note" }, ` ${note}`)] : []),
        ];
        const second = votes ? [votes, h("span", { class: "note" }, `${node.votes} of ${node.needed}`)] : [small ? null : strip(node, view, last)];
        const [left, top] = [x + layout.width / 2, y + layout.height / 2];
        const shift = side === "below" ? "-50%, 0" : side === "left" ? "-100%, -50%" : "0, -50%";
        return h("div", {
          class: `label ${termClass(node.term)}`, "data-label": node.id, "data-side": side,
          style: `transform: translate(${left.toFixed(1)}px, ${top.toFixed(1)}px) translate(${shift})`,
        }, ...parts, ...(parts.length && second[0] ? [layout.wide && side === "below" ? " " : h("br")] : []), ...second);
      }));
    },
  };
}

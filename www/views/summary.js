// The summary above the ring: who leads, what is committed, what is broken.

import { h, icon } from "../dom.js";
import { changeText } from "../model/membership.js";
import { termClass } from "./symbols.js";

/** @import { NodeView, View } from "../model/types.js" */

/**
 * The state of a cluster in words.
 * @typedef {object} Summary
 * @property {string} leader The name of the leader of the latest term; empty if none leads.
 * @property {number} term
 * @property {string} committed
 * @property {number} count The number of committed entries.
 * @property {string} broken What is broken; empty if nothing is.
 */

/** @param {View} view @returns {Summary} */
export function summarize(view) {
  const up = view.nodes.filter((node) => node.process === "running");
  const leaders = up.filter((node) => node.role === "leader").sort((a, b) => b.term - a.term);
  const [leader, ...stale] = leaders;
  const last = Math.max(0, ...view.nodes.map((node) => node.last));
  const count = Math.max(view.committed ?? 0, ...view.nodes.map((node) => node.commit));
  const [is, are] = up.length ? ["is", "are"] : ["was", "were"];
  const of = last > count ? ` of ${last}` : "";
  const committed = `${of} ${count === 1 && !of ? `entry ${is}` : `entries ${are}`} committed`;
  const parts = [
    named(view.nodes.filter((node) => node.process === "down"), "down"),
    named(view.nodes.filter((node) => node.process === "unreachable"), "unreachable"),
    named(view.nodes.filter((node) => node.process === "paused"), "paused"),
    named(view.nodes.filter((node) => node.isolated), "cut off"),
    ...stale.map((node) => `${node.name} still believes it leads term ${node.term}`),
    cutsText(view),
  ];
  return {
    leader: leader?.name ?? "", term: leader?.term ?? 0, count,
    committed: view.joint ? `${committed}; ${changeText(view.nodes)}` : committed,
    broken: parts.filter(Boolean).join(", "),
  };
}

/** Cuts that isolated nodes do not explain. @param {View} view */
function cutsText(view) {
  const isolated = new Set(view.nodes.filter((node) => node.isolated).map((node) => node.id));
  const cuts = [...view.cuts].filter((cut) => !cut.split("-").some((id) => isolated.has(Number(id)))).length;
  return !cuts ? "" : cuts === 1 ? "1 one-way link is cut" : `${cuts} one-way links are cut`;
}

/** @param {NodeView[]} nodes @param {string} what */
function named(nodes, what) {
  return nodes.length ? `${nodes.map((node) => node.name).join(", ")} ${nodes.length === 1 ? "is" : "are"} ${what}` : "";
}

/**
 * Shows a summary in the three lines of this element.
 * @param {HTMLElement} root
 * @param {Summary} summary
 */
export function showSummary(root, { leader, term, count, committed, broken }) {
  const [first, second, third] = /** @type {HTMLElement[]} */ ([...root.children]);
  if (!first || !second || !third) return;
  first.className = `leads ${termClass(term)}`;
  const leads = leader ? [icon("crown"), h("span", {}, `${leader} leads `, h("em", {}, `term ${term}`))] : ["No leader"];
  first.replaceChildren(...leads);
  second.replaceChildren(h("b", {}, String(count)), committed);
  third.textContent = broken;
}

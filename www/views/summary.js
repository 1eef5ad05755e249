// One sentence: who leads, in which term, what is committed, what is broken.

import { changeText } from "../model/membership.js";

/** @import { View } from "../model/types.js" */

/**
 * What it says first, and all of it.
 * @param {View} view
 */
export function glance(view) {
  const up = view.nodes.filter((node) => node.process === "running");
  const leaders = up.filter((node) => node.role === "leader").sort((a, b) => b.term - a.term);
  const leader = leaders[0];
  const parts = [leader ? `${leader.name} leads in term ${leader.term}` : "No leader"];
  const others = leaders.slice(1).map((node) => `${node.name} still believes it leads term ${node.term}`);
  parts.push(...others);
  const leads = parts.join("; ");
  const committed = Math.max(view.committed ?? 0, ...view.nodes.map((node) => node.commit));
  const [is, are] = up.length ? ["is", "are"] : ["was", "were"];
  parts.push(committed === 1 ? `1 entry ${is} committed` : `${committed} entries ${are} committed`);
  if (view.joint) parts.push(changeText(view.nodes));
  const broken = [
    [view.nodes.filter((node) => node.process === "down"), "down"],
    [view.nodes.filter((node) => node.process === "unreachable"), "unreachable"],
    [view.nodes.filter((node) => node.process === "paused"), "paused"],
    [view.nodes.filter((node) => node.isolated), "cut off"],
  ];
  for (const [nodes, what] of /** @type {[View["nodes"], string][]} */ (broken)) {
    if (nodes.length) parts.push(`${nodes.map((node) => node.name).join(", ")} ${nodes.length === 1 ? "is" : "are"} ${what}`);
  }
  if (view.cuts.size) parts.push(view.cuts.size === 1 ? "1 one-way link is cut" : `${view.cuts.size} one-way links are cut`);
  return { leads, sentence: `${parts.join("; ")}.` };
}

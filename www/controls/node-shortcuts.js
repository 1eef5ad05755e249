// The keys that act on the selected node.

import { changeOf } from "../model/membership.js";

/** @import { Action, NodeView, Selection, View } from "../model/types.js" */

/**
 * @param {object} page
 * @param {() => View | null} page.view
 * @param {() => Selection | null} page.selection
 * @param {(actions: Action[]) => void} page.act
 * @param {(text: string) => void} page.toast
 * @returns {Record<string, () => void>}
 */
export function nodeShortcuts({ view, selection, act, toast }) {
  /** @param {(node: NodeView) => Action | null} choose */
  const onNode = (choose) => () => {
    const chosen = selection();
    if (chosen?.kind !== "node") return toast("Select a node first: press its number.");
    const node = view()?.nodes[chosen.id - 1];
    const action = node && choose(node);
    if (action) act([action]);
  };

  /** @param {"voter" | "learner" | "none"} part */
  const membership = (part) => onNode((node) => {
    const { voter, learner, joining } = node.memberRole;
    const has = part === "voter" ? voter || joining : part === "learner" ? learner && !joining : !voter && !learner;
    const now = view();
    return has || !now ? null : changeOf(now.nodes, node.id, part);
  });

  return {
    c: onNode((node) => (node.process === "down" ? null : { do: "crash", node: node.id })),
    r: onNode((node) => (node.process === "down" ? { do: "restart", node: node.id } : null)),
    p: onNode((node) => (node.process === "down" ? null : { do: node.process === "paused" ? "resume" : "pause", node: node.id })),
    i: onNode((node) => ({ do: node.isolated ? "reconnect" : "isolate", node: node.id })),
    t: onNode((node) => (node.process === "running" ? { do: "fire-timer", node: node.id } : null)),
    o: onNode((node) => ({ do: "transfer", to: node.id })),
    v: membership("voter"),
    a: membership("learner"),
    d: membership("none"),
  };
}

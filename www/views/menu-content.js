// What the menus of links, messages, requests and entries contain.

import { resultText } from "../model/request-text.js";
import { messageSign, termClass } from "./symbols.js";

/** @import { Choice } from "../model/node-actions.js" */
/** @import { Action, Asking, LogEntry, MessageDetail, NodeView, View } from "../model/types.js" */
/** @import { MenuContent } from "./menu.js" */

const seconds = (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;
const milliseconds = (/** @type {number} */ time) => `${(time / 1e3).toFixed(1)} ms`;

/** The latency of a slowed link, in microseconds. */
const SLOW = { min: 200_000, max: 200_000 };

/** @param {View} view @param {number} a @param {number} b @returns {Action[]} */
export function cutBoth(view, a, b) {
  const both = view.cuts.has(`${a}-${b}`) && view.cuts.has(`${b}-${a}`);
  const change = both ? "heal-link" : "cut-link";
  return [{ do: change, from: a, to: b }, { do: change, from: b, to: a }];
}

/** @param {View} view @param {number} a @param {number} b @returns {MenuContent} */
export function linkMenu(view, a, b) {
  const [one, two] = [view.nodes[a - 1]?.name ?? "", view.nodes[b - 1]?.name ?? ""];
  const cut = (/** @type {number} */ from, /** @type {number} */ to) => view.cuts.has(`${from}-${to}`);
  const both = cut(a, b) && cut(b, a);
  /** @param {number} from @param {number} to @returns {Choice} */
  const way = (from, to) => ({
    name: `${from}-${to}`, label: `${cut(from, to) ? "Heal" : "Cut"} ${view.nodes[from - 1]?.name} → ${view.nodes[to - 1]?.name}`,
    actions: [{ do: cut(from, to) ? "heal-link" : "cut-link", from, to }],
  });
  const slow = /** @type {Action[]} */ ([{ do: "set-latency", from: a, to: b, latency: SLOW }, { do: "set-latency", from: b, to: a, latency: SLOW }]);
  return {
    title: `${one} – ${two}`,
    note: both ? "Cut: all messages on it are dropped." : cut(a, b) || cut(b, a) ? "Cut in one direction." : "Works in both directions.",
    groups: [{ title: "Link", choices: [
      { name: "both", label: both ? "Heal both" : "Cut both", key: "x", actions: cutBoth(view, a, b) },
      { name: "slow", label: "Slow: 200 ms", actions: slow }, way(a, b), way(b, a),
    ] }],
  };
}

/** @param {MessageDetail} detail @param {View} view @returns {MenuContent} */
export function messageMenu(detail, view) {
  const shown = view.messages.find(({ id }) => id === detail.id) ?? view.lost.find(({ id }) => id === detail.id);
  const lost = detail.lost_at !== undefined && detail.lost_at <= view.now;
  const way = Math.round((100 * ((detail.lost_at ?? 0) - detail.sent_at)) / Math.max(1, detail.arrives_at - detail.sent_at));
  const fate = lost ? `Dropped at ${seconds(detail.lost_at ?? 0)}, after ${way} % of its way.` : `Takes ${milliseconds(detail.arrives_at - detail.sent_at)}, arrives at ${seconds(detail.arrives_at)}.`;
  return {
    title: `${shown ? messageSign(shown.kind).name : detail.kind} n${detail.from} → n${detail.to}`,
    term: `term ${termClass(shown?.term ?? 0)}`,
    note: fate,
    facts: detail.fields,
    groups: detail.lost_at === undefined ? [{ title: "Message", choices: [
      { name: "drop", label: "Drop", actions: [{ do: "drop-message", message: detail.id }] },
      { name: "double", label: "Duplicate", actions: [{ do: "duplicate-message", message: detail.id }] },
    ] }] : [],
  };
}

/** The menu of a message that is gone. @returns {MenuContent} */
export function arrivedMenu() {
  return { title: "Message", note: "This message has arrived. Go back in time to see it in flight." };
}

/** @param {Asking} asking @returns {MenuContent} */
export function requestMenu(asking) {
  const { request, client, node, invoked, returned, attempts } = asking;
  const value = request.op === "put" || request.op === "cas" ? ` = ${request.value}` : "";
  return {
    title: `${request.op === "cas" ? "compare and set" : request.op} ${request.key}${value}`,
    note: "Request of a client",
    facts: [["Client", String(client)], ["Sent to", `n${node}`], ["Sent at", seconds(invoked)], ["Answered at", returned === undefined ? "–" : seconds(returned)],
      ["Attempts", String(attempts)], ["Result", resultText(asking)]],
  };
}

/** @param {NodeView} node @param {LogEntry} entry @returns {MenuContent} */
export function entryMenu(node, entry) {
  const { index, term, text } = entry;
  const state = index <= node.commit ? "committed" : index <= node.durable ? "not committed" : "not on disk yet";
  const back = node.last - index;
  return {
    title: `Entry ${index} of ${node.name}`, term: `term ${termClass(term)}`,
    facts: [["Command", text], ["Term", String(term)], ["State", node.process === "down" ? "on its disk" : state]],
    groups: back >= 0 ? [{ title: "Entry", choices: [{ name: "corrupt", label: "Corrupt on disk", danger: true, actions: [{ do: "corrupt-entry", node: node.id, back }] }] }] : [],
  };
}

// Help: the keys, and what the signs mean.

import { byId, h, s } from "../dom.js";
import { CROWN, droppedShapes, messageShapes, messageSign } from "./symbols.js";

/** @import { MessageSign } from "./symbols.js" */

const KEYS = [
  ["space", "run or pause"], ["← →", "one event back or forward"], ["1 … 9", "select a node"], ["l", "select the leader"], ["m", "open the menu of what is selected"],
  ["c", "crash the selected node"], ["r", "restart it"], ["p", "pause it, or resume it"], ["i", "cut it off, or reconnect it"], ["t", "fire its election timer now"],
  ["x", "cut or heal the selected link"], ["o", "transfer leadership to the selected node"], ["v", "promote it to voter"],
  ["a", "demote it to learner"], ["d", "remove it from the cluster"], ["h", "heal the whole network"], ["w", "send the client's request"], ["u", "undo the last action"],
  ["+ −", "faster or slower"], ["↑ ↓", "the next node, link or message, where the focus is on one"], ["↵", "open what has the focus"], ["esc", "select nothing, close the notice"], ["?", "this help"],
];

/** The keys that act on a live cluster. None of them writes. */
const LIVE_KEYS = ["1 … 9", "l", "↑ ↓", "↵", "esc", "?"];

/**
 * A sign on a field of this half width.
 * @param {number} half
 * @param {SVGElement[]} marks
 */
function sign(half, ...marks) {
  return s("svg", { viewBox: `${-half} ${-half} ${2 * half} ${2 * half}`, class: "t4", "aria-hidden": "true" }, ...marks);
}

/** @param {string} state @param {...SVGElement} more */
function node(state, ...more) {
  return sign(46, s("g", { class: `node ${state}` }, s("circle", { class: "disc", r: 30 }), s("circle", { class: "inner", r: 24 }), ...more));
}

/** @param {number} kind @param {Partial<MessageSign>} [change] */
const message = (kind, change = {}) => sign(16, s("g", { class: "message" }, ...messageShapes({ ...messageSign(kind), ...change })));

/** @returns {[SVGElement, string][]} */
function signs() {
  return [
    [node("leader", s("path", { class: "crown", d: CROWN })), "leader"],
    [node("follower", s("circle", { class: "track", r: 38 }), s("path", { class: "timer", d: "M0-38A38 38 0 1 1-36-12" })), "follower; the arc is the rest of its election timer"],
    [node("candidate"), "candidate; the diamonds beside it are its votes"],
    [node("pre-candidate"), "pre-candidate: asks whether it could win"],
    [sign(46, s("g", { class: "node" }, s("circle", { class: "disc", r: 22 }))), "learner: has no vote"],
    [node("witness"), "witness: votes, and keeps no values"],
    [node("stranger"), "not a member of the cluster"],
    [node("unreachable"), "unreachable: with its last report (live)"],
    [node("down", s("path", { class: "cross", d: "M-27-27l9 9M27-27l-9 9M-27 27l9-9M27 27l-9-9" })), "crashed"],
    [message(2), "RequestVote: request for a vote"],
    [message(0), "PreVote: would this node get a vote?"],
    [message(4), "AppendEntries, with the number of entries"],
    [message(7), "Heartbeat"],
    [message(9), "InstallSnapshot: a chunk of a snapshot"],
    [message(11), "TimeoutNow: start an election now (leadership transfer)"],
    [message(12), "ReadIndex: confirm leadership for a read"],
    [message(5), "hollow: the response"],
    [message(6), "a rejection"],
    [sign(16, ...droppedShapes()), "a dropped message, where it was dropped"],
    [sign(16, s("g", { class: "client-message" }, s("rect", { class: "body", x: -14, y: -8, width: 28, height: 16, rx: 8 }))), "a client's request; hollow: the response"],
  ];
}

/**
 * Shows the signs that are seen most under the ring.
 * @param {boolean} live A live cluster shows no messages.
 */
export function createLegend(live) {
  const most = /** @type {[number, string][]} */ ([[4, "entries"], [7, "heartbeat"], [2, "vote"], [0, "pre-vote"], [5, "response"]]);
  const items = live ? [] : most.map(([kind, text]) => h("span", {}, s("svg", { viewBox: "-14 -14 28 28", class: "t0" }, ...messageShapes(messageSign(kind))), text));
  byId("legend", HTMLElement).replaceChildren(...items);
  const states = [["", "committed"], ["open", "not committed"], ["volatile", "not yet on disk"], ["line", "commit line"]];
  byId("log-key", HTMLElement).replaceChildren(...states.map(([kind, text]) => h("span", {}, h("i", { class: kind }), text ?? "")),
    h("span", {}, "✓ applied up to here"), h("span", {}, "▲ matchIndex"), h("span", {}, "› nextIndex"));
}

/** @param {boolean} live */
export function createHelp(live) {
  const dialog = byId("help", HTMLDialogElement);
  const keys = KEYS.filter(([key]) => !live || LIVE_KEYS.includes(key ?? ""));
  byId("keys", HTMLTableElement).replaceChildren(...keys.map(([key, text]) => h("tr", {}, h("td", {}, h("kbd", {}, key ?? "")), h("td", {}, text ?? ""))));
  byId("signs", HTMLUListElement).replaceChildren(...signs().map(([mark, text]) => h("li", {}, mark, h("span", {}, text))),
    h("li", {}, sign(16, ...[1, 2, 3].map((term) => s("rect", { class: `solid t${term}`, x: -22 + 10 * term, y: -5, width: 8, height: 10 }))), h("span", {}, "each colour is a term; the number stands beside it")));
  byId("help-open", HTMLButtonElement).addEventListener("click", () => dialog.showModal());
  return { open: () => dialog.showModal() };
}

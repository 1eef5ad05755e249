// Help: the keys, and what the signs mean.

import { byId, h, s } from "./dom.js";
import { CROWN, DIAMOND, DOT, HEXAGON, PLUS, STAR, SMALL_DIAMOND, SQUARE, TRIANGLE } from "./signs.js";

const KEYS = [
  ["space", "run or pause"], ["← →", "one event back or forward"], ["1 … 9", "select a node"], ["c", "crash the selected node"],
  ["r", "restart it"], ["p", "pause it, or let it go on"], ["i", "cut it off, or connect it again"], ["t", "let its timer fire"],
  ["x", "cut or heal the selected link"], ["l", "select the leader"], ["h", "heal the whole network"], ["w", "send the client's request"], ["u", "take back the last action"],
  ["+ −", "faster or slower"], ["esc", "select nothing"], ["?", "this help"],
];

/** @param {SVGElement[]} marks */
function sign(...marks) {
  return s("svg", { viewBox: "-16 -16 32 32", style: "--term: var(--term-1)", "aria-hidden": "true" }, ...marks);
}

const filled = "fill: var(--term-1); stroke: var(--term-1); stroke-width: 2";
const hollow = "fill: var(--panel); stroke: var(--term-1); stroke-width: 2";

/** @returns {[SVGElement, string][]} */
function signs() {
  return [
    [sign(s("circle", { r: 11, style: filled }), s("path", { d: CROWN, transform: "scale(0.5) translate(0 -20)", style: "fill: var(--on-term)" })), "leader"],
    [sign(s("circle", { r: 11, style: `${hollow}; stroke-width: 3` })), "follower; the arc is its election timer"],
    [sign(s("circle", { r: 11, style: `${hollow}; stroke-width: 3; stroke-dasharray: 4 3` })), "candidate; the dots are its votes"],
    [sign(s("circle", { r: 11, style: "fill: var(--line)" }), s("path", { d: "M-7-7 7 7M7-7-7 7", style: "stroke: var(--fault); stroke-width: 3" })), "crashed"],
    [sign(s("path", { d: DIAMOND, style: filled })), "request for a vote; hollow: the answer"],
    [sign(s("path", { d: SMALL_DIAMOND, style: filled })), "would you vote for me? (pre-vote)"],
    [sign(s("path", { d: SQUARE, style: filled })), "entries, with their number; hollow: the answer"],
    [sign(s("path", { d: DOT, style: filled })), "heartbeat; hollow: the answer"],
    [sign(s("path", { d: HEXAGON, style: filled })), "a piece of a snapshot; hollow: the answer"],
    [sign(s("path", { d: STAR, style: filled })), "stand for election now (leadership transfer)"],
    [sign(s("path", { d: PLUS, style: filled })), "how far must a read see? hollow: the answer"],
    [sign(s("path", { d: TRIANGLE, style: "fill: var(--good)" })), "a client's request; hollow: the answer"],
    [sign(s("path", { d: SQUARE, style: "fill: none; stroke: var(--fault); stroke-width: 2" })), "a message that is lost"],
  ];
}

export function createHelp() {
  const dialog = byId("help", HTMLDialogElement);
  byId("keys", HTMLTableElement).replaceChildren(...KEYS.map(([key, text]) => h("tr", {}, h("td", {}, h("kbd", {}, key ?? "")), h("td", {}, text ?? ""))));
  byId("signs", HTMLUListElement).replaceChildren(...signs().map(([mark, text]) => h("li", {}, mark, text)),
    h("li", {}, "Each colour is a term; the number stands beside it."), h("li", {}, "Under a node: entries committed / in its log."));
  byId("help-open", HTMLButtonElement).addEventListener("click", () => dialog.showModal());
  return { open: () => dialog.showModal() };
}

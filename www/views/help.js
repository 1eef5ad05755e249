// Help: the keys, and what the signs mean.

import { byId, h, s } from "../dom.js";
import { CROWN, DIAMOND, DOT, HEXAGON, PLUS, STAR, SMALL_DIAMOND, SMALL_SQUARE, SQUARE, TRIANGLE } from "./symbols.js";

const KEYS = [
  ["space", "run or pause"], ["← →", "one event back or forward"], ["1 … 9", "select a node"], ["c", "crash the selected node"],
  ["r", "restart it"], ["p", "pause it, or resume it"], ["i", "cut it off, or reconnect it"], ["t", "fire its election timer now"],
  ["x", "cut or heal the selected link"], ["l", "select the leader"], ["o", "transfer leadership to the selected node"], ["v", "promote it to voter"],
  ["a", "demote it to learner"], ["d", "remove it from the cluster"], ["h", "heal the whole network"], ["w", "send the client's request"], ["u", "undo the last action"],
  ["+ −", "faster or slower"], ["↑ ↓", "the next node, link or message, where the focus is on one"], ["↵", "open what has the focus"], ["esc", "select nothing, close the notice"], ["?", "this help"],
];

/** The keys that act on a live cluster. None of them writes. */
const LIVE_KEYS = ["1 … 9", "l", "↑ ↓", "↵", "esc", "?"];

/** @param {SVGElement[]} marks */
function sign(...marks) {
  return s("svg", { viewBox: "-16 -16 32 32", style: "--term: var(--term-1)", "aria-hidden": "true" }, ...marks);
}

const filled = "fill: var(--shown, var(--term-1)); stroke: var(--shown, var(--term-1)); stroke-width: 2";
const hollow = "fill: var(--panel); stroke: var(--shown, var(--term-1)); stroke-width: 2";

const disc = `${hollow}; stroke-width: 3`;
const circle = (/** @type {string} */ style, /** @type {number} */ radius = 11) => s("circle", { r: radius, style });
const path = (/** @type {string} */ d, style = filled) => s("path", { d, style });

/** @returns {[SVGElement, string][]} */
function signs() {
  return [
    [sign(circle(filled), s("path", { d: CROWN, transform: "scale(0.5) translate(0 -1)", style: "fill: var(--on-term)" })), "leader"],
    [sign(circle(disc)), "follower; the arc is its election timer"],
    [sign(circle(`${disc}; stroke-dasharray: 4 3`)), "candidate; the dots are its votes"],
    [sign(circle(disc, 7)), "learner: has no vote"],
    [sign(circle(disc), circle(`${hollow}; fill: none; stroke-width: 1.5`, 6)), "witness: votes, and keeps no values"],
    [sign(circle(`${hollow}; stroke: var(--faint); stroke-dasharray: 1 4; stroke-linecap: round`)), "not a member of the cluster"],
    [sign(circle(`${disc}; opacity: 0.5; stroke-dasharray: 2 3`)), "unreachable: with what it reported last (live)"],
    [sign(circle("fill: var(--line)"), path("M-6-6 6 6M6-6-6 6", "stroke: var(--fault); stroke-width: 3")), "crashed"],
    [sign(path(DIAMOND)), "RequestVote: request for a vote"],
    [sign(path(SMALL_DIAMOND)), "PreVote: would this node get a vote?"],
    [sign(path(SQUARE)), "AppendEntries, with the number of entries"],
    [sign(path(DOT)), "Heartbeat"],
    [sign(path(HEXAGON)), "InstallSnapshot: a chunk of a snapshot"],
    [sign(path(STAR)), "TimeoutNow: start an election now (leadership transfer)"],
    [sign(path(PLUS)), "ReadIndex: confirm leadership for a read"],
    [sign(path(SMALL_SQUARE, hollow)), "hollow: the response"],
    [sign(path(SMALL_SQUARE, "fill: var(--panel); stroke: var(--fault); stroke-width: 2; stroke-dasharray: 4 2")), "a rejection"],
    [sign(path(TRIANGLE, "fill: var(--good)")), "a client's request; hollow: the response"],
    [sign(path(SQUARE, "fill: none; stroke: var(--fault); stroke-width: 2"), path("M-10 10 10-10", "stroke: var(--fault); stroke-width: 2")), "a dropped message, where it was dropped"],
  ];
}

/**
 * The signs that are seen most, under the ring.
 * @param {boolean} live A live cluster shows no messages.
 */
export function createLegend(live) {
  /** @type {[SVGElement, string][]} */
  const most = [
    [sign(path(DIAMOND)), "vote"], [sign(path(SQUARE)), "entries"], [sign(path(DOT)), "heartbeat"], [sign(path(HEXAGON)), "snapshot"],
    [sign(path(SMALL_SQUARE, hollow)), "hollow: response"],
  ];
  const items = live ? [] : most.map(([mark, text]) => h("span", {}, mark, text));
  byId("legend", HTMLElement).replaceChildren(...items, h("span", {}, "at a node: committed / in its log"));
}

/** @param {boolean} live */
export function createHelp(live) {
  const dialog = byId("help", HTMLDialogElement);
  byId("keys", HTMLTableElement).replaceChildren(...KEYS.filter(([key]) => !live || LIVE_KEYS.includes(key ?? "")).map(([key, text]) => h("tr", {}, h("td", {}, h("kbd", {}, key ?? "")), h("td", {}, text ?? ""))));
  byId("signs", HTMLUListElement).replaceChildren(...signs().map(([mark, text]) => h("li", {}, mark, text)),
    h("li", {}, "Each colour is a term; the number stands beside it."), h("li", {}, "At a node: entries committed / in its log."));
  byId("help-open", HTMLButtonElement).addEventListener("click", () => dialog.showModal());
  return { open: () => dialog.showModal() };
}

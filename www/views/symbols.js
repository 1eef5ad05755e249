// The signs: which shape and which colour means what.

import { s } from "../dom.js";

/** The number of colours of terms. The colours repeat; the term's number always stands beside. */
const TERM_COLOURS = 6;

/**
 * The class that sets the colours of a term.
 * @param {number} term
 */
export function termClass(term) {
  return term > 0 ? `t${((term - 1) % TERM_COLOURS) + 1}` : "t0";
}

/** A crown above a disc of radius 30. */
export const CROWN = "M-13-31L-16-46l9 7L0-50l7 11 9-7-3 15z";
export const PIP = "M0-6.5L6.5 0 0 6.5-6.5 0z";

/** A shape has an outline for requests, and one for responses. */
const SHAPES = {
  square: "M-7.5-10h15a2.5 2.5 0 0 1 2.5 2.500v15a2.5 2.5 0 0 1-2.5 2.500h-15a2.5 2.5 0 0 1-2.5-2.500v-15a2.5 2.5 0 0 1 2.5-2.500z",
  dot: "M-7 0A7 7 0 1 0 7 0A7 7 0 1 0-7 0z",
  diamond: "M0-11L11 0 0 11-11 0z",
  smallDiamond: "M0-8L8 0 0 8-8 0z",
  aura: "M0-13.5L13.5 0 0 13.5-13.5 0z",
  hexagon: "M-12 0L-6-10H6L12 0 6 10H-6z",
  triangle: "M0-10L11 9H-11z",
  plus: "M-3.5-9.500h7v6h6v7h-6v6h-7v-6h-6v-7h6z",
};

/**
 * @typedef {object} MessageSign
 * @property {string} name The name of the message.
 * @property {keyof typeof SHAPES} shape
 * @property {boolean} response
 * @property {boolean} [refused]
 */

/** What each kind of message is and looks like, in the order of raft-wasm's frames. */
export const MESSAGES = /** @type {MessageSign[]} */ ([
  { name: "PreVote", shape: "smallDiamond", response: false },
  { name: "PreVote response", shape: "smallDiamond", response: true },
  { name: "RequestVote", shape: "diamond", response: false },
  { name: "RequestVote response", shape: "diamond", response: true },
  { name: "AppendEntries", shape: "square", response: false },
  { name: "AppendEntries response", shape: "square", response: true },
  { name: "AppendEntries response, refused", shape: "square", response: true, refused: true },
  { name: "Heartbeat", shape: "dot", response: false },
  { name: "Heartbeat response", shape: "dot", response: true },
  { name: "InstallSnapshot", shape: "hexagon", response: false },
  { name: "InstallSnapshot response", shape: "hexagon", response: true },
  { name: "TimeoutNow", shape: "triangle", response: false },
  { name: "ReadIndex", shape: "plus", response: false },
  { name: "ReadIndex response", shape: "plus", response: true },
]);

const UNKNOWN = /** @type {MessageSign} */ ({ name: "Message", shape: "square", response: false });

/** @param {number} kind */
export function messageSign(kind) {
  return MESSAGES[kind] ?? UNKNOWN;
}

/**
 * The shapes of a message.
 * @param {MessageSign} sign
 * @returns {SVGElement[]}
 */
export function messageShapes({ shape, response, refused }) {
  const parts = [s("path", { d: SHAPES[shape], class: response ? "hollow" : "solid" })];
  if (shape === "smallDiamond") parts.push(s("path", { d: SHAPES.aura, class: "aura" }));
  if (refused) parts.push(s("path", { d: shape === "square" ? "M-9 9L9-9" : "M-11 0H11", class: "refusal" }));
  return parts;
}

/** The halves of a dropped message. */
export function droppedShapes() {
  return [
    s("path", { class: "half", d: "M-10-8H1L-4 8H-10z", transform: "rotate(-10) translate(-2 0)" }),
    s("path", { class: "half", d: "M5-8H10V8H0z", transform: "rotate(10) translate(1 0)" }),
  ];
}

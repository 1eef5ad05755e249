// The language of signs: which shape and which colour means what.

/** Colours of terms, in turn. The number always stands beside them. */
const TERM_COLOURS = 6;

/** @param {number} term */
export function termColour(term) {
  return term > 0 ? `var(--term-${((term - 1) % TERM_COLOURS) + 1})` : "var(--faint)";
}

export const DIAMOND = "M0-11 11 0 0 11-11 0Z";
export const SMALL_DIAMOND = "M0-8 8 0 0 8-8 0Z";
export const SQUARE = "M-10-10H10V10H-10Z";
export const SMALL_SQUARE = "M-7-7H7V7H-7Z";
export const DOT = "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0-6 0Z";
export const CROWN = "M-16 8-19-8-9-2 0-13 9-2 19-8 16 8Z";
export const HEXAGON = "M-12 0-6-10H6L12 0 6 10H-6Z";
export const SMALL_HEXAGON = "M-8 0-4-7H4L8 0 4 7H-4Z";
export const STAR = "M0-12 3-4 12-4 5 2 8 11 0 5-8 11-5 2-12-4-3-4Z";
export const PLUS = "M-3-9H3V-3H9V3H3V9H-3V3H-9V-3H-3Z";
export const TRIANGLE = "M-8-8 8 0-8 8Z";

/**
 * What each kind of message is and looks like, in the order of raft-wasm's frames.
 * @type {{ name: string, path: string, response: boolean, refused?: boolean }[]}
 */
export const MESSAGES = [
  { name: "PreVote", path: SMALL_DIAMOND, response: false },
  { name: "PreVote response", path: SMALL_DIAMOND, response: true },
  { name: "RequestVote", path: DIAMOND, response: false },
  { name: "RequestVote response", path: DIAMOND, response: true },
  { name: "AppendEntries", path: SQUARE, response: false },
  { name: "AppendEntries response", path: SMALL_SQUARE, response: true },
  { name: "AppendEntries response, refused", path: SMALL_SQUARE, response: true, refused: true },
  { name: "Heartbeat", path: DOT, response: false },
  { name: "Heartbeat response", path: DOT, response: true },
  { name: "InstallSnapshot", path: HEXAGON, response: false },
  { name: "InstallSnapshot response", path: SMALL_HEXAGON, response: true },
  { name: "TimeoutNow", path: STAR, response: false },
  { name: "ReadIndex", path: PLUS, response: false },
  { name: "ReadIndex response", path: PLUS, response: true },
];

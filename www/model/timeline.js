// The roles of the members over time, as this page has seen them.

/** @import { NodeView, View } from "./types.js" */

/**
 * A node's role over a stretch of time, in microseconds.
 * @typedef {object} Span
 * @property {number} from
 * @property {number} to
 * @property {string} state The role; or the state of the process, if it does not run.
 * @property {number} term
 */

/** More stretches than this of a node are not kept; the oldest is forgotten first. */
const SPANS_MAX = 2000;

/** @param {NodeView} node */
function stateOf(node) {
  return node.process === "running" ? node.role : node.process;
}

export class Timeline {
  /** @param {number} gap Views with a larger distance are not connected, in microseconds. */
  constructor(gap) {
    this.gap = gap;
    /** The stretches of each node, in order of time. @type {Span[][]} */
    this.lanes = [];
    this.last = 0;
  }

  /** @param {View} view A view that is later than all views before. */
  add(view) {
    const connected = view.now - this.last <= this.gap;
    for (const [index, node] of view.nodes.entries()) {
      const lane = (this.lanes[index] ??= []);
      const state = stateOf(node);
      const span = lane.at(-1);
      if (span && connected) span.to = view.now;
      if (span && connected && span.state === state && span.term === node.term) continue;
      lane.push({ from: view.now, to: view.now, state, term: node.term });
      if (lane.length > SPANS_MAX) lane.shift();
    }
    this.last = view.now;
  }
}

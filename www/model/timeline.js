// What the page has seen of a run: the roles of the nodes and the messages, by time.

/** @import { LostView, MessageView, NodeView, View } from "./types.js" */

/**
 * A node's role over a stretch of time, in microseconds.
 * @typedef {object} Span
 * @property {number} from
 * @property {number} to
 * @property {string} state The role; or the state of the process, if it does not run.
 * @property {number} term
 */

/** More messages than this are not kept; the oldest are forgotten first. */
const MESSAGES_MAX = 6000;
const SPANS_MAX = 2000;
/** The usual largest distance of frames that are connected, in microseconds. */
const GAP_MAX = 400_000;

/** @param {NodeView} node */
function stateOf(node) {
  return node.process === "running" ? node.role : node.process;
}

export class Timeline {
  /** @param {number} [gap] Frames with a larger distance are not connected, in microseconds. */
  constructor(gap = GAP_MAX) {
    this.gap = gap;
    /** The stretches of each node, in order of time. @type {Span[][]} */
    this.lanes = [];
    /** @type {Map<number, MessageView & { lostAt?: number }>} */
    this.messages = new Map();
    /** The moments at which leaders committed entries. @type {{ at: number, node: number, term: number }[]} */
    this.commits = [];
    /** @type {string[]} */
    this.names = [];
    this.last = -1;
    this.committed = 0;
  }

  clear() {
    Object.assign(this, new Timeline(this.gap));
  }

  /** Forgets what lies after a moment: the run has another future now. @param {number} now */
  truncate(now) {
    for (const lane of this.lanes) {
      while ((lane.at(-1)?.from ?? 0) > now) lane.pop();
      const end = lane.at(-1);
      if (end) end.to = Math.min(end.to, now);
    }
    for (const [id, message] of this.messages) if (message.sentAt > now) this.messages.delete(id);
    this.commits = this.commits.filter(({ at }) => at <= now);
    this.last = Math.min(this.last, now);
  }

  /** The moment from which on everything is known up to the latest one. */
  knownFrom() {
    return Math.max(0, ...this.lanes.map((lane) => {
      let from = this.last;
      for (const span of [...lane].reverse()) {
        if (span.to < from - this.gap) break;
        from = span.from;
      }
      return from;
    }));
  }

  /**
   * Replaces what is known by views in order of time.
   * @param {View[]} views
   */
  replace(views) {
    this.clear();
    for (const view of views) this.add(view);
  }

  /** @param {View} view */
  add(view) {
    const connected = view.now >= this.last && view.now - this.last <= this.gap;
    this.names = view.nodes.map(({ name }) => name);
    for (const [index, node] of view.nodes.entries()) this.addNode(index, node, view.now, connected);
    for (const message of view.messages) this.messages.set(message.id, message);
    for (const message of view.lost) this.messages.set(message.id, message);
    for (const id of this.messages.keys()) {
      if (this.messages.size <= MESSAGES_MAX) break;
      this.messages.delete(id);
    }
    const leader = view.nodes.find((node) => node.role === "leader" && node.process === "running");
    const committed = view.committed ?? 0;
    if (leader && connected && committed > this.committed) this.commits.push({ at: view.now, node: leader.id, term: leader.term });
    this.committed = committed;
    this.last = view.now;
  }

  /** @param {number} index @param {NodeView} node @param {number} now @param {boolean} connected */
  addNode(index, node, now, connected) {
    const lane = (this.lanes[index] ??= []);
    const state = stateOf(node);
    const span = lane.at(-1);
    if (span && now < span.from) {
      // The moment lies before what is known: it joins the stretch there, or is a dot of its own.
      const known = lane.some(({ from, to }) => now >= from && now <= to);
      if (!known) lane.push({ from: now, to: now, state, term: node.term });
      lane.sort((a, b) => a.from - b.from);
      return;
    }
    if (span && now <= span.to) return;
    if (span && connected) {
      span.to = now;
      if (span.state === state && span.term === node.term) return;
    }
    lane.push({ from: now, to: now, state, term: node.term });
    if (lane.length > SPANS_MAX) lane.shift();
  }
}

// A real cluster, as the node that serves this page sees it.

import { VOTER } from "../membership.js";

/** @import { LogEntry, NodeView, Role, StoryPart, View } from "../types.js" */

/** How often the cluster is asked how it is, in milliseconds. */
const INTERVAL_MS = 500;

/**
 * @typedef {object} Listener
 * @property {(view: View) => void} view
 * @property {(part: StoryPart) => void} story
 * @property {(connected: boolean, text: string) => void} state
 */

export class Live {
  /** @param {Listener} listener */
  constructor(listener) {
    this.kind = /** @type {const} */ ("live");
    this.listener = listener;
    /** @type {any[]} */
    this.members = [];
    this.told = 0;
  }

  async start() {
    this.listen();
    for (;;) {
      await this.look();
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    }
  }

  async look() {
    try {
      const response = await fetch("/v1/cluster", { cache: "no-store" });
      const { nodes } = await response.json();
      this.members = nodes;
      this.listener.view(toView(nodes));
      const up = nodes.filter((/** @type {any} */ node) => node.reachable).length;
      this.listener.state(true, `live: ${up} of ${nodes.length} nodes answer`);
    } catch {
      this.listener.state(false, "this node does not answer; trying again");
    }
  }

  listen() {
    const events = new EventSource("/v1/events");
    let first = true;
    events.addEventListener("open", () => (first = true));
    events.addEventListener("decision", (event) => {
      const record = JSON.parse(event.data);
      const { kind, text, source } = record;
      const member = this.members.findIndex((node) => node.status?.node_id === record.node);
      const told = { id: this.told++, at: record.at_ms * 1000, node: member < 0 ? undefined : member + 1, kind, text, source };
      // After a reconnection the node tells again what it remembers.
      this.listener.story({ reset: first, records: [told] });
      first = false;
    });
  }

  /** @param {number} id */
  detail(id) {
    return this.members[id - 1];
  }

  /**
   * The end of the log of the node that serves the page.
   * @param {number} limit
   * @returns {Promise<{ index: number, term: number, kind: string, key: string | null, committed: boolean }[]>}
   */
  async log(limit) {
    const status = await (await fetch("/v1/status", { cache: "no-store" })).json();
    const from = Math.max(1, status.last_index - limit + 1);
    const response = await fetch(`/v1/log?from=${from}&limit=${limit}`, { cache: "no-store" });
    return (await response.json()).entries;
  }

  /**
   * @param {"put" | "get" | "delete"} op
   * @param {string} key
   * @param {string} value
   * @returns {Promise<string>} The answer in words.
   */
  async request(op, key, value) {
    const url = `/v1/kv/${encodeURIComponent(key)}`;
    const options = op === "put" ? { method: "PUT", body: value } : { method: op.toUpperCase() };
    if (op === "get") {
      // A key that is not there is no error to a person who looks: a list has room for none.
      const response = await fetch(`/v1/kv?prefix=${encodeURIComponent(key)}&limit=1`, { cache: "no-store" });
      const body = await response.json();
      if (!response.ok) return body.detail;
      const found = body.kvs[0];
      return found?.key === key ? (found.value ?? `${found.value_base64} (base64)`) : "there is no such key";
    }
    const response = await fetch(url, options);
    const body = await response.text();
    return response.ok ? `done, revision ${response.headers.get("x-raft-revision")}` : JSON.parse(body).detail;
  }
}

/**
 * @param {any[]} members
 * @returns {View}
 */
function toView(members) {
  const number = (/** @type {string | null | undefined} */ name) =>
    name ? members.findIndex((member) => member.status?.node_id === name) + 1 : 0;
  /** @type {NodeView[]} */
  const nodes = members.map((member, index) => {
    const status = member.status ?? {};
    return {
      id: index + 1,
      name: status.node_id ?? member.address,
      process: member.reachable ? "running" : "down",
      isolated: false,
      role: /** @type {Role} */ (status.role === "learner" ? "follower" : (status.role ?? "follower")),
      term: status.term ?? 0,
      vote: number(status.vote),
      leader: number(status.leader),
      commit: status.commit_index ?? 0,
      applied: status.applied_index ?? 0,
      last: status.last_index ?? 0,
      durable: status.durable_index ?? 0,
      timer: null,
      votes: 0,
      needed: 0,
      standing: status.role === "learner" ? { ...VOTER, voter: false, learner: true } : VOTER,
      start: 0,
    };
  });
  return { now: Date.now() * 1000, nodes, cuts: new Set(), messages: [], lost: [], letters: [], actions: 0, violated: false, joint: false };
}

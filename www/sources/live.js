// A real cluster, as the node that serves this page sees it.

import { VOTER } from "../model/membership.js";

/** @import { LogEntry, NodeDetail, NodeView, Role, StoryPart, View } from "../model/types.js" */

/** How often the cluster is asked how it is, in milliseconds. */
const INTERVAL_MS = 500;
/** A node that does not answer for so long does not serve this page any more, in milliseconds. */
const TIMEOUT_MS = 5000;
/** The timeout of a request, in milliseconds. The node itself gives up earlier. */
const REQUEST_TIMEOUT_MS = 15_000;
/** A node that refuses the stream of events is asked again after this time, in milliseconds. */
const RETRY_MS = 5000;

/**
 * A member of the cluster, with what it reported last.
 * @typedef {object} Member
 * @property {string} address
 * @property {any} status The last status that is known; none if the member has never answered.
 * @property {boolean} reachable
 * @property {number} seen The moment of the last answer, in milliseconds; 0 if there was none.
 *
 * How much of the cluster answers.
 * @typedef {object} Reach
 * @property {boolean} connected False if the node that serves this page does not answer.
 * @property {string} serving The name of the node that serves this page.
 * @property {number} seen The moment of the last answer of that node, in milliseconds.
 * @property {number} answering
 * @property {number} members
 * @property {number} voters
 * @property {number} answeringVoters
 *
 * An entry of the log of a real node.
 * @typedef {object} LiveEntry
 * @property {number} index
 * @property {number} term
 * @property {string} kind
 * @property {string | null} key
 * @property {boolean} committed
 *
 * @typedef {object} Listener
 * @property {(view: View) => void} view
 * @property {(part: StoryPart) => void} story
 * @property {(reach: Reach) => void} reach
 */

export class Live {
  /** @param {Listener} listener */
  constructor(listener) {
    this.kind = /** @type {const} */ ("live");
    this.listener = listener;
    /** @type {Member[]} */
    this.members = [];
    /** The name of the node that serves this page. */
    this.serving = location.host;
    this.seen = 0;
    this.received = 0;
    /** @type {EventSource | undefined} */
    this.events = undefined;
    /** When it was opened, in milliseconds. */
    this.listened = 0;
    /** The look that is under way. @type {Promise<void> | undefined} */
    this.looking = undefined;
  }

  async start() {
    for (;;) {
      await this.look();
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    }
  }

  /** Requests the state of the cluster. No look begins before the last one has ended. */
  look() {
    this.looking ??= this.lookOnce().finally(() => (this.looking = undefined));
    return this.looking;
  }

  async lookOnce() {
    try {
      const [{ nodes }, own] = await Promise.all([ask("/v1/cluster"), ask("/v1/status")]);
      this.seen = Date.now();
      this.serving = own.node_id;
      this.members = nodes.map((/** @type {any} */ node) => this.remember(node));
      // A browser connects again by itself, unless the node has refused: all places were taken.
      const closed = !this.events || this.events.readyState === EventSource.CLOSED;
      if (closed && this.seen - this.listened >= RETRY_MS) this.listen();
      this.listener.view(toView(this.members));
      this.report(true);
    } catch {
      this.report(false);
    }
  }

  /** @param {{ address: string, reachable: boolean, status: any }} node @returns {Member} */
  remember({ address, reachable, status }) {
    const before = this.members.find((member) => member.address === address);
    return { address, reachable, status: status ?? before?.status, seen: reachable ? this.seen : (before?.seen ?? 0) };
  }

  /** @param {boolean} connected */
  report(connected) {
    const voters = this.members.filter(({ status }) => status?.role !== "learner");
    this.listener.reach({
      connected, serving: this.serving, seen: this.seen, members: this.members.length, voters: voters.length,
      answering: this.members.filter(({ reachable }) => reachable).length,
      answeringVoters: voters.filter(({ reachable }) => reachable).length,
    });
  }

  listen() {
    const events = new EventSource("/v1/events");
    this.events = events;
    this.listened = Date.now();
    let first = true;
    events.addEventListener("open", () => (first = true));
    events.addEventListener("decision", (event) => {
      const record = JSON.parse(event.data);
      const { kind, text, source } = record;
      const shown = { id: this.received++, at: record.at_ms * 1000, node: this.number(record.node) || undefined, kind, text, source };
      // After a reconnection the node tells again what it remembers.
      this.listener.story({ reset: first, records: [shown] });
      first = false;
    });
  }

  /**
   * The position of the member with this name, from 1; 0 if none has it.
   * @param {string | null | undefined} name
   */
  number(name) {
    return numberOf(this.members, name);
  }

  /**
   * The last report of a node about its followers, as the inspector shows it.
   * @param {number} id
   * @returns {NodeDetail | undefined}
   */
  detail(id) {
    const status = this.members[id - 1]?.status;
    if (!status) return undefined;
    const followers = status.followers.map((/** @type {any} */ follower) => ({
      id: this.number(follower.node_id), name: follower.node_id, next_index: follower.next_index, match_index: follower.match_index,
      in_flight: follower.in_flight, probing: false,
    }));
    return /** @type {NodeDetail} */ ({ id, followers });
  }

  /** Facts that only a real node has. @param {number} id @returns {[string, string][]} */
  facts(id) {
    const member = this.members[id - 1];
    if (!member) return [];
    const status = member.status;
    return [["Address", member.address], ...(status ? /** @type {[string, string][]} */ ([["Revision", String(status.revision)], ["Version", status.version]]) : [])];
  }

  /**
   * The end of the log of the node that serves the page.
   * @param {number} limit
   * @returns {Promise<LiveEntry[]>}
   */
  async log(limit) {
    const status = await ask("/v1/status");
    const from = Math.max(1, status.last_index - limit + 1);
    return (await ask(`/v1/log?from=${from}&limit=${limit}`)).entries;
  }

  /**
   * @param {"put" | "get" | "delete"} op
   * @param {string} key
   * @param {string} value
   * @returns {Promise<string>} The answer in words.
   */
  async request(op, key, value) {
    const url = `/v1/kv/${encodeURIComponent(key)}`;
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const options = op === "put" ? { method: "PUT", body: value, signal } : { method: op.toUpperCase(), signal };
    if (op === "get") {
      // A key that is not there is no error to a person who looks: a list has room for none.
      const response = await fetch(`/v1/kv?prefix=${encodeURIComponent(key)}&limit=1`, { cache: "no-store", signal });
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

/** @param {string} path */
async function ask(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response.json();
}

/** @param {Member[]} members @param {string | null | undefined} name */
function numberOf(members, name) {
  return name ? members.findIndex((member) => member.status?.node_id === name) + 1 : 0;
}

/**
 * The names of members that have never answered: another member reports the names of its followers.
 * A name is known if one member and one name are left.
 * @param {Member[]} members
 * @returns {Map<Member, string>}
 */
function deducedNames(members) {
  const statuses = members.map(({ status }) => status).filter(Boolean);
  const named = new Set(statuses.map(({ node_id }) => node_id));
  const mentioned = statuses.flatMap(({ leader, vote, followers }) => [leader, vote, ...(followers ?? []).map((/** @type {any} */ follower) => follower.node_id)]);
  const names = [...new Set(mentioned)].filter((name) => name && !named.has(name));
  const silent = members.filter(({ status }) => !status);
  const [member, name] = [silent[0], names[0]];
  return new Map(member && silent.length === 1 && names.length === 1 ? [[member, name]] : []);
}

/** @param {any} status @returns {Role} */
function roleOf(status) {
  if (status.pre_candidate) return "pre-candidate";
  return status.role === "learner" || !status.role ? "follower" : status.role;
}

/**
 * @param {Member[]} members
 * @returns {View}
 */
function toView(members) {
  const deduced = deducedNames(members);
  /** @type {NodeView[]} */
  const nodes = members.map((member, index) => {
    const status = member.status ?? {};
    return {
      id: index + 1,
      name: status.node_id ?? deduced.get(member) ?? member.address,
      process: member.reachable ? "running" : "unreachable",
      seen: member.seen * 1000,
      isolated: false,
      role: roleOf(status),
      term: status.term ?? 0,
      vote: numberOf(members, status.vote),
      voteName: status.vote ?? undefined,
      leader: numberOf(members, status.leader),
      leaderName: status.leader ?? undefined,
      commit: status.commit_index ?? 0,
      applied: status.applied_index ?? 0,
      last: status.last_index ?? 0,
      durable: status.durable_index ?? 0,
      timer: null,
      votes: 0,
      needed: 0,
      memberRole: status.role === "learner" ? { ...VOTER, voter: false, learner: true } : VOTER,
      start: 0,
    };
  });
  return { now: Date.now() * 1000, nodes, cuts: new Set(), messages: [], lost: [], clientMessages: [], actions: 0, violated: false, joint: false };
}

// Reads the picture that raft-wasm packs; the layout is documented in raft-wasm/src/frame.rs.

import { VOTER, isJoint, memberRoleOf } from "./membership.js";

/** @import { View, LostView, MessageView, Process, Role } from "./types.js" */

/** @type {Process[]} */
const PROCESSES = ["running", "paused", "down"];
/** @type {Role[]} */
const ROLES = ["follower", "pre-candidate", "candidate", "leader"];

/**
 * @param {Float64Array} frame
 * @returns {View}
 */
export function decode(frame) {
  let position = 0;
  const next = () => frame[position++] ?? 0;
  const now = next();
  const [nodeCount, messageCount, lostCount, clientMessageCount] = [next(), next(), next(), next()];
  next(); // records of the story
  const actions = next();
  const violation = next();
  const decider = next();
  const [done, committed] = [next(), next()];
  const nodes = Array.from({ length: nodeCount }, (_, index) => {
    const process = PROCESSES[next()] ?? "down";
    const isolated = next() === 1;
    const role = ROLES[next()] ?? "follower";
    const [term, vote, leader, commit, applied, last, durable] = [next(), next(), next(), next(), next(), next(), next()];
    const [armed, fires, votes, needed] = [next(), next(), next(), next()];
    const [memberRole, start] = [next(), next()];
    const timer = process === "running" && fires > armed ? { armed, fires } : null;
    const id = index + 1;
    return {
      id, name: `n${id}`, process, isolated, role, term, vote, leader, commit, applied, last, durable, timer, votes, needed,
      memberRole: decider ? memberRoleOf(memberRole) : VOTER, start,
    };
  });
  /** @type {Set<string>} */
  const cuts = new Set();
  for (let from = 1; from <= nodeCount; from += 1) {
    for (let to = 1; to <= nodeCount; to += 1) {
      if (next() === 1) cuts.add(`${from}-${to}`);
    }
  }
  /** @returns {MessageView} */
  const message = () => ({
    id: next(), from: next(), to: next(), kind: next(), entries: next(), term: next(), sentAt: next(), until: next(),
  });
  const messages = Array.from({ length: messageCount }, message);
  /** @type {LostView[]} */
  const lost = Array.from({ length: lostCount }, () => ({ ...message(), lostAt: next() }));
  const clientMessages = Array.from({ length: clientMessageCount }, () => ({
    id: next(), asking: next(), node: next(), isAnswer: next() === 1, sentAt: next(), arrivesAt: next(),
  }));
  return { now, nodes, cuts, messages, lost, clientMessages, actions, done, committed, violated: violation > 0, ended: violation === 1, joint: isJoint(nodes), hasClient: true };
}

/**
 * The number of records in the story, without reading the rest.
 * @param {Float64Array} frame
 */
export function storyLength(frame) {
  return frame[5] ?? 0;
}

// Who votes, who learns, who is a witness; and how to ask for another membership.

/** @import { Action, NodeView, MemberRole } from "./types.js" */

/** @param {number} bits As raft-wasm packs them. @returns {MemberRole} */
export function memberRoleOf(bits) {
  return { voter: Boolean(bits & 1), outgoing: Boolean(bits & 2), learner: Boolean(bits & 4), joining: Boolean(bits & 8), witness: Boolean(bits & 16) };
}

/** An ordinary voter, as all are where nothing else is known. */
export const VOTER = memberRoleOf(1);

/** @param {NodeView[]} nodes */
export function isJoint(nodes) {
  return nodes.some((node) => node.memberRole.outgoing);
}

/**
 * What is unusual about a node's part in the cluster, in a word or two; nothing for a voter.
 * @param {MemberRole} memberRole
 * @param {boolean} joint
 */
export function memberRoleText({ voter, outgoing, learner, joining, witness }, joint) {
  const parts = [];
  if (joint && (voter || outgoing)) parts.push(voter && outgoing ? "votes: both" : voter ? "votes: new" : "votes: old");
  if (witness) parts.push("witness");
  if (joining) parts.push("joining");
  else if (learner && !outgoing) parts.push("learner");
  if (!voter && !outgoing && !learner) parts.push("not a member");
  return parts.join(", ");
}

/** The same as words for attributes, to be drawn by. @param {MemberRole} memberRole */
export function memberRoleMark({ voter, outgoing, learner, witness }) {
  if (!voter && !outgoing) return learner ? "learner" : "stranger";
  return witness ? "witness" : "voter";
}

/**
 * The action that asks the leader to give a node another part.
 * @param {NodeView[]} nodes
 * @param {number} id
 * @param {"voter" | "learner" | "none"} part
 * @returns {Action}
 */
export function changeOf(nodes, id, part) {
  const others = nodes.filter((node) => node.id !== id);
  const ids = (/** @type {(memberRole: MemberRole) => boolean} */ is) => others.filter((node) => is(node.memberRole)).map((node) => node.id);
  const [voters, learners, joining] = [ids((s) => s.voter), ids((s) => s.learner && !s.joining), ids((s) => s.joining)];
  if (part === "learner") learners.push(id);
  // It gets its vote when it has the log: until then it could only be in the way.
  if (part === "voter") joining.push(id);
  return { do: "change-membership", voters, learners, joining };
}

/** What the change that is under way does, in words. @param {NodeView[]} nodes */
export function changeText(nodes) {
  const names = (/** @type {(memberRole: MemberRole) => boolean} */ is) => nodes.filter((node) => is(node.memberRole)).map((node) => node.name).join(", ");
  return `the voters change from ${names((s) => s.outgoing)} to ${names((s) => s.voter)}: both majorities decide`;
}

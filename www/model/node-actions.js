// The actions on a node: which are possible, and what they are called.

import { changeOf } from "./membership.js";

/** @import { Action, NodeView, Script, View } from "./types.js" */

/** A slow disk takes this long for a sync, in microseconds; a usual one takes 0.5 to 3 ms. */
const SLOW_SYNC = { min: 150_000, max: 250_000 };
const USUAL_SYNC = { min: 500, max: 3_000 };
/** A clock jumps by this much, in microseconds, and drifts by this much, in parts per million. */
const [JUMP, DRIFT] = [1_000_000, 100_000];

/**
 * @typedef {object} Choice
 * @property {string} name Names the action within its node.
 * @property {string} label
 * @property {Action[]} actions
 * @property {string} [key]
 * @property {string} [icon]
 * @property {boolean} [danger]
 *
 * @typedef {{ title: string, choices: Choice[] }} ChoiceGroup
 *
 * What the actions of a script have done to the devices of a node.
 * @typedef {{ full: boolean, slow: boolean, drifts: boolean }} Devices
 */

/**
 * The state of the devices of a node after the actions up to a moment.
 * @param {Script} script
 * @param {number} id
 * @param {number} now
 * @returns {Devices}
 */
export function devicesOf(script, id, now) {
  const devices = { full: false, slow: false, drifts: false };
  for (const action of script.actions ?? []) {
    if (action.at > now) break;
    if (!("node" in action) || action.node !== id) continue;
    if (action.do === "fill-disk" || action.do === "free-disk") devices.full = action.do === "fill-disk";
    if (action.do === "set-sync-latency") devices.slow = action.sync_latency.max > USUAL_SYNC.max;
    if (action.do === "set-clock") devices.drifts = action.drift !== 0;
  }
  return devices;
}

/**
 * The faults of a node that are used most.
 * @param {NodeView} node
 * @returns {Choice[]}
 */
export function mainChoices(node) {
  const id = node.id;
  if (node.process === "down") return [{ name: "restart", label: "Restart", key: "r", icon: "play", actions: [{ do: "restart", node: id }] }];
  const paused = node.process === "paused";
  return [
    { name: "crash", label: "Crash", key: "c", icon: "x", danger: true, actions: [{ do: "crash", node: id }] },
    paused ? { name: "resume", label: "Resume", key: "p", icon: "play", actions: [{ do: "resume", node: id }] }
      : { name: "pause", label: "Pause", key: "p", icon: "pause", actions: [{ do: "pause", node: id }] },
    node.isolated ? { name: "reconnect", label: "Reconnect", key: "i", icon: "cut", actions: [{ do: "reconnect", node: id }] }
      : { name: "isolate", label: "Cut off", key: "i", icon: "cut", actions: [{ do: "isolate", node: id }] },
    ...(paused ? [] : [/** @type {Choice} */ ({ name: "timeout", label: "Time out now", key: "t", icon: "clock", actions: [{ do: "fire-timer", node: id }] })]),
  ];
}

/**
 * What an operator can request for a node. Only a leader can carry it out.
 * @param {NodeView} node
 * @param {View} view
 * @returns {Choice[]}
 */
export function operatorChoices(node, view) {
  const { id, memberRole: role } = node;
  const leader = view.nodes.find((other) => other.process === "running" && other.role === "leader");
  const choices = /** @type {Choice[]} */ ([]);
  if (!leader) return choices;
  const change = (/** @type {"voter" | "learner" | "none"} */ part) => [changeOf(view.nodes, id, part)];
  if (leader.id !== id && role.voter && !role.witness) {
    choices.push({ name: "transfer", label: `Transfer leadership to ${node.name}`, key: "o", icon: "crown", actions: [{ do: "transfer", to: id }] });
  }
  if (view.joint) return choices;
  if (!role.voter && !role.joining) choices.push({ name: "voter", label: role.learner ? "Promote to voter" : "Add as voter", key: "v", actions: change("voter") });
  if (!role.learner && !role.witness) choices.push({ name: "learner", label: role.voter ? "Demote to learner" : "Add as learner", key: "a", actions: change("learner") });
  if (role.voter || role.learner) choices.push({ name: "remove", label: "Remove from cluster", key: "d", actions: change("none") });
  return choices;
}

/**
 * All actions on a node, by what they concern.
 * @param {NodeView} node
 * @param {View} view
 * @param {Devices} devices
 * @returns {ChoiceGroup[]}
 */
export function allChoices(node, view, devices) {
  const id = node.id;
  const others = view.nodes.filter((other) => other.id !== id).map((other) => other.id);
  const cut = (/** @type {number} */ from, /** @type {number} */ to) => view.cuts.has(`${from}-${to}`);
  const hears = others.some((other) => !cut(other, id));
  const speaks = others.some((other) => !cut(id, other));
  const links = /** @type {Choice[]} */ (others.length ? [
    hears ? { name: "deafen", label: "Receives nothing", actions: others.filter((other) => !cut(other, id)).map((other) => ({ do: "cut-link", from: other, to: id })) }
      : { name: "undeafen", label: "Receives again", actions: others.map((other) => ({ do: "heal-link", from: other, to: id })) },
    speaks ? { name: "mute", label: "Sends nothing", actions: others.filter((other) => !cut(id, other)).map((other) => ({ do: "cut-link", from: id, to: other })) }
      : { name: "unmute", label: "Sends again", actions: others.map((other) => ({ do: "heal-link", from: id, to: other })) },
  ] : []);
  const disk = /** @type {Choice[]} */ ([
    devices.full ? { name: "free", label: "Free the disk", actions: [{ do: "free-disk", node: id }] } : { name: "fill", label: "Fill the disk", actions: [{ do: "fill-disk", node: id }] },
    devices.slow ? { name: "fast", label: "Usual disk", actions: [{ do: "set-sync-latency", node: id, sync_latency: USUAL_SYNC }] }
      : { name: "slow", label: "Slow the disk", actions: [{ do: "set-sync-latency", node: id, sync_latency: SLOW_SYNC }] },
    { name: "fail", label: "Fail next sync", actions: [{ do: "fail-disk", node: id }] },
    { name: "corrupt", label: "Corrupt last entry", actions: [{ do: "corrupt-entry", node: id, back: 0 }] },
    { name: "wipe", label: "Wipe the disk", danger: true, actions: [{ do: "wipe-disk", node: id }] },
  ]);
  const clock = /** @type {Choice[]} */ ([
    { name: "jump", label: "Jump by 1 s", actions: [{ do: "jump-clock", node: id, by: JUMP }] },
    devices.drifts ? { name: "steady", label: "Usual rate", actions: [{ do: "set-clock", node: id, drift: 0 }] }
      : { name: "drift", label: "Run 10 % fast", actions: [{ do: "set-clock", node: id, drift: DRIFT }] },
  ]);
  return [
    { title: "Process", choices: mainChoices(node) },
    { title: "Network", choices: node.isolated ? [] : links },
    { title: "Clock", choices: clock },
    { title: "Membership and leadership", choices: operatorChoices(node, view) },
    { title: "Disk", choices: disk },
  ].filter(({ choices }) => choices.length);
}

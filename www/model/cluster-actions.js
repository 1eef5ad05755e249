// The actions on the whole cluster: network, power, clients.

/** @import { Action, Script, View } from "./types.js" */
/** @import { Choice, ChoiceGroup } from "./node-actions.js" */

/** The usual latency, and that of a slow network, in microseconds. */
const [USUAL, SLOW] = [{ min: 5_000, max: 15_000 }, { min: 80_000, max: 160_000 }];
/** Lost and duplicated messages of a bad network, in thousandths. */
const [LOSS, DUPLICATES] = [200, 200];

/**
 * Two groups: the leader with as many followers as given, and the rest.
 * @param {View} view
 * @param {number} followers
 * @returns {Action[]}
 */
function split(view, followers) {
  const leader = view.nodes.find((node) => node.role === "leader" && node.process === "running") ?? view.nodes[0];
  const others = view.nodes.filter((node) => node !== leader).map(({ id }) => id);
  return leader ? [{ do: "partition", groups: [[leader.id, ...others.slice(0, followers)], others.slice(followers)] }] : [];
}

/**
 * @param {View} view
 * @param {Script} script
 * @returns {ChoiceGroup[]}
 */
export function clusterChoices(view, script) {
  const latency = script.config?.latency ?? USUAL;
  const loss = script.config?.loss_per_mille ?? 0;
  const network = (/** @type {Partial<{ latency: { min: number, max: number }, loss_per_mille: number, duplicate_per_mille: number }>} */ change) =>
    [/** @type {Action} */ ({ do: "set-network", latency, loss_per_mille: loss, duplicate_per_mille: 0, ...change })];
  const majority = Math.floor(view.nodes.length / 2) + 1;
  const down = view.nodes.filter((node) => node.process === "down");
  const parts = /** @type {Choice[]} */ (view.nodes.length < 3 ? [] : [
    { name: "minority", label: "Leader with a minority", actions: split(view, view.nodes.length - majority - 1) },
    { name: "majority", label: "Leader with a majority", actions: split(view, majority - 1) },
  ]);
  return [
    { title: "Partition", choices: [...parts, { name: "heal", label: "Heal all links", key: "h", actions: [{ do: "heal-network" }] }] },
    { title: "Network", choices: [
      { name: "lossy", label: "Lose 20 % of messages", actions: network({ loss_per_mille: LOSS }) },
      { name: "slow", label: "Slow: 80 to 160 ms", actions: network({ latency: SLOW }) },
      { name: "double", label: "Duplicate 20 % of messages", actions: network({ duplicate_per_mille: DUPLICATES }) },
      { name: "usual", label: "As at the start", actions: network({}) },
    ] },
    { title: "Clients", choices: [{ name: "stop", label: "Stop the clients", actions: [{ do: "stop-clients" }] }] },
    { title: "Power", choices: [
      { name: "power", label: "Power cut", danger: true, icon: "x", actions: [{ do: "power-cut" }] },
      ...(down.length ? [/** @type {Choice} */ ({ name: "start", label: "Restart all nodes", icon: "play", actions: down.map(({ id }) => ({ do: "restart", node: id })) })] : []),
    ] },
  ];
}

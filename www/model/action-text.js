// Actions in a few words.

/** @import { Action } from "./types.js" */

const NODE_TEXTS = /** @type {Record<string, (node: string) => string>} */ ({
  "crash": (n) => `${n} crashes`, "restart": (n) => `${n} restarts`, "pause": (n) => `${n} is paused`, "resume": (n) => `${n} is resumed`,
  "fire-timer": (n) => `${n} times out`, "fail-disk": (n) => `the next sync of ${n} fails`, "isolate": (n) => `${n} is cut off`, "reconnect": (n) => `${n} is reconnected`,
  "wipe-disk": (n) => `the disk of ${n} is wiped`, "destroy-disk": (n) => `the disk of ${n} is destroyed`, "fill-disk": (n) => `the disk of ${n} is full`, "free-disk": (n) => `the disk of ${n} is free`,
  "corrupt-entry": (n) => `an entry of ${n} is corrupted`, "misdirect-write": (n) => `a write of ${n} is misdirected`, "set-sync-latency": (n) => `the disk of ${n} changes speed`,
  "jump-clock": (n) => `the clock of ${n} jumps`, "set-clock": (n) => `the clock of ${n} drifts`,
});

/** @param {Action} action */
export function actionText(action) {
  if ("node" in action) return NODE_TEXTS[action.do]?.(`n${action.node}`) ?? action.do;
  switch (action.do) {
    case "power-cut": return "all nodes lose power";
    case "heal-network": return "the network is healed";
    case "stop-clients": return "the clients stop";
    case "go-on": return "the run goes on";
    case "cut-link": return `n${action.from} → n${action.to} is cut`;
    case "heal-link": return `n${action.from} → n${action.to} is healed`;
    case "partition": return "the network is partitioned";
    case "set-network": return "the network changes";
    case "set-latency": return `n${action.from} → n${action.to} changes speed`;
    case "drop-message": return "a message is dropped";
    case "duplicate-message": return "a message is duplicated";
    case "change-membership": return "the members change";
    case "transfer": return `leadership goes to n${action.to}`;
    case "request": return `a client sends ${action.request.op} ${action.request.key}`;
  }
}

// The simulation, away from the page's own thread.

import init, { Simulation, rules } from "./pkg/raft_wasm.js";
import { storyLength } from "./frame.js";

/** @import { Action, Script } from "./types.js" */

/** Records of the story that are told at once when the run was left for another moment. */
const RETOLD_MAX = 2000;

const ready = init();
/** @type {Simulation | undefined} */
let simulation;
let told = 0;

/** What the page may ask. Those that change the moment are followed by a new picture. */
const methods = {
  /** @param {Script} script */
  begin(script) {
    // The run before stays if this script is refused.
    const next = new Simulation(script);
    simulation?.free();
    simulation = next;
    told = -1;
  },
  /** Forwards only: the moment may have been left since this was asked. @param {number} time */
  advance(time) {
    if (time > running().now) running().seek(time);
  },
  /** @param {number} time */
  seek(time) {
    running().seek(time);
    told = -1;
  },
  step() {
    return running().step();
  },
  back() {
    running().stepBack();
    told = -1;
  },
  /** @param {Action} action */
  act(action) {
    running().act(action);
  },
  undo() {
    told = -1;
    return running().undo();
  },
  traceHash: () => running().traceHash(),
  violation: () => running().violation(),
  rules: () => rules(),
  judge: () => running().judgeHistory(),
  /** @param {number} id */
  node: (id) => running().node(id),
  /** @param {number} id */
  message: (id) => running().message(id),
  /** @param {number} id */
  asking: (id) => running().asking(id),
  /** @param {number} limit */
  askings: (limit) => running().askings(limit),
  logs: () => running().logs(),
  impossibleActions: () => running().impossibleActions(),
};

const CHANGES = new Set(["begin", "advance", "seek", "step", "back", "act", "undo"]);
/** Those that change the script are followed by it. */
const SCRIPT_CHANGES = new Set(["begin", "act", "undo"]);

function running() {
  if (!simulation) throw new Error("no run has begun");
  return simulation;
}

self.addEventListener("message", async (event) => {
  const { id, method, args } = event.data;
  try {
    await ready;
    const result = /** @type {Record<string, (...args: any[]) => unknown>} */ (methods)[method]?.(...args);
    if (!CHANGES.has(method)) return self.postMessage({ id, result });
    const frame = running().frame();
    const length = storyLength(frame);
    const reset = told < 0 || told > length;
    const from = reset ? Math.max(0, length - RETOLD_MAX) : told;
    const records = from < length ? running().storySince(from) : [];
    told = length;
    const script = SCRIPT_CHANGES.has(method) ? running().script() : undefined;
    self.postMessage({ id, result, script, frame, story: { reset, records } }, { transfer: [frame.buffer] });
  } catch (error) {
    // A trap is a defect of the module, after which it must not be used any more.
    const trapped = error instanceof WebAssembly.RuntimeError;
    self.postMessage({ id, problem: error instanceof Error ? error.message : String(error), trapped });
  }
});

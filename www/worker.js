// The simulation, away from the page's own thread.

import init, { Simulation, rules } from "./pkg/raft_wasm.js";
import { MODULE_BYTES } from "./pkg/module_size.js";
import { storyLength } from "./model/decode-frame.js";

/** @import { Action, Script, Target } from "./model/types.js" */
/** @import { DiagramWindow } from "./sources/simulated.js" */

/** Records of the story that are sent at once after a jump. */
const RETOLD_MAX = 600;
/** A long seek is divided into slices of about this length, in milliseconds, to be cancellable. */
const SLICE_MS = 40;
/** The interval at which a job reports its progress, in milliseconds. */
const REPORT_MS = 150;
/** The first slice, in microseconds of the run. */
const SLICE_FIRST = 100_000;

/** A search for a target ends after this much time of the run, in microseconds. */
const SEARCHED_MAX = 600_000_000;
/** Events between two looks at the messages of the page. */
const SEARCH_EVENTS = 5_000;

/** The canvas of the space-time diagram. @type {OffscreenCanvas | undefined} */
let canvas;
/** @type {Simulation | undefined} */
let simulation;
let told = 0;
/** Jobs are done one after the other: a job that is sliced must not meet another one halfway. */
let queue = load();
/** The page no longer wants the jobs up to this one to go on, if they are long. */
let cancelled = 0;

/** Loads the module, and reports how much of it has arrived. */
async function load() {
  try {
    const response = await fetch(new URL("./pkg/raft_wasm_bg.wasm", import.meta.url));
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    let received = 0;
    const counter = new TransformStream({
      transform(chunk, controller) {
        received += chunk.byteLength;
        self.postMessage({ loading: { received, total: MODULE_BYTES } });
        controller.enqueue(chunk);
      },
    });
    const headers = { "content-type": "application/wasm" };
    await init({ module_or_path: new Response(response.body.pipeThrough(counter), { headers }) });
    self.postMessage({ ready: true });
  } catch (error) {
    self.postMessage({ failed: `the simulator's module cannot be loaded: ${error instanceof Error ? error.message : error}` });
    throw error;
  }
}

/**
 * Goes to a moment. Forwards this happens in slices: the world at the end of a slice is the world
 * that one long way would pass through.
 * @param {number} time
 * @param {number} id The job.
 * @returns {Promise<boolean>} False if the job was cancelled; the run then stands where it came to.
 */
async function travel(time, id) {
  const run = running();
  const from = run.now;
  const began = performance.now();
  let reported = began;
  let slice = SLICE_FIRST;
  while (run.now + slice < time) {
    if (id <= cancelled) return false;
    const sliceBegan = performance.now();
    const next = run.now + slice;
    run.seek(next);
    // A violated rule stops time.
    if (run.now < next) return true;
    const now = performance.now();
    slice = Math.max(1000, Math.round(slice * Math.min(4, Math.max(0.25, SLICE_MS / (now - sliceBegan)))));
    if (now - reported > REPORT_MS) {
      reported = now;
      self.postMessage({ progress: { id, now: run.now, done: (run.now - from) / (time - from) } });
    }
    await messagesReceived();
  }
  run.seek(time);
  return true;
}

/**
 * Advances to a target.
 * @param {Target} target
 * @param {number} id The job.
 * @returns {Promise<"reached" | "bound" | "ended" | "cancelled">}
 */
async function search(target, id) {
  const run = running();
  const from = run.now;
  const bound = from + SEARCHED_MAX;
  let reported = performance.now();
  for (;;) {
    const progress = run.runTo(target, bound, SEARCH_EVENTS);
    if (progress !== "working") return progress;
    if (id <= cancelled) return "cancelled";
    if (performance.now() - reported > REPORT_MS) {
      reported = performance.now();
      self.postMessage({ progress: { id, now: run.now, done: (run.now - from) / SEARCHED_MAX } });
    }
    await messagesReceived();
  }
}

/** @param {DiagramWindow} window */
function viewOf({ width, height, top, lane }) {
  return Float64Array.from([width, height, top, lane]);
}

const { port1, port2 } = new MessageChannel();

/** Lets the messages in that wait, among them one that cancels this job. */
function messagesReceived() {
  return new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
}

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
  /** @param {number} time @param {number} id */
  seek(time, id) {
    told = -1;
    return travel(time, id);
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
  redo() {
    told = -1;
    return running().redo();
  },
  branches() {
    const run = running();
    return run.branches().map((branch) => ({ ...branch, script: run.branchScript(branch.id) }));
  },
  /** @param {number} id @param {number} at */
  showBranch(id, at) {
    told = -1;
    running().showBranch(id, at);
  },
  /** @param {number} id @param {string} name */
  renameBranch: (id, name) => running().renameBranch(id, name),
  /** @param {number} id */
  deleteBranch: (id) => running().deleteBranch(id),
  /** @param {number} one @param {number} other */
  compareBranches: (one, other) => running().compareBranches(one, other),
  /** @param {Target} target @param {number} id */
  runTo: (target, id) => search(target, id),
  /** @param {number} from @param {number} to */
  groups: (from, to) => running().storyGroups(from, to),
  /** @param {number} step @param {number} at */
  causality: (step, at) => ({ causes: running().causesOf(step, at), consequences: running().consequencesOf(step, at) }),
  /** @param {DiagramWindow} window */
  paint(window) {
    if (!canvas) return;
    const [width, height] = [Math.round(window.width * window.ratio), Math.round(window.height * window.ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(window.ratio, 0, 0, window.ratio, 0, 0);
    running().setDiagramColors(window.colors);
    // The painter is typed for a canvas of a page; the context of a worker has the same methods.
    running().paintDiagram(/** @type {any} */ (context), window.from, window.to, viewOf(window), Float64Array.from(window.selected));
    // The page writes its own labels there.
    context.clearRect(0, 0, window.width, window.top);
  },
  /** @param {DiagramWindow} window @param {number} x @param {number} y */
  hit: (window, x, y) => running().hitDiagram(window.from, window.to, viewOf(window), x, y),
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

const CHANGES = new Set(["begin", "advance", "seek", "step", "back", "act", "undo", "redo", "showBranch", "runTo"]);
/** Those that change the script are followed by it. */
const SCRIPT_CHANGES = new Set(["begin", "act", "undo", "redo", "showBranch"]);

function running() {
  if (!simulation) throw new Error("no run has begun");
  return simulation;
}

/** @param {{ id: number, method: string, args: unknown[] }} job */
async function perform({ id, method, args }) {
  try {
    const result = await /** @type {Record<string, (...args: any[]) => unknown>} */ (methods)[method]?.(...args, id);
    if (!CHANGES.has(method)) return self.postMessage({ id, result });
    const frame = running().frame();
    const length = storyLength(frame);
    const reset = told < 0 || told > length;
    const from = reset ? Math.max(0, length - RETOLD_MAX) : told;
    const records = from >= length ? [] : reset ? running().storyRange(from, length) : running().storySince(from);
    told = length;
    const script = SCRIPT_CHANGES.has(method) ? running().script() : undefined;
    self.postMessage({ id, result, script, frame, canRedo: running().canRedo, story: { reset, records } }, { transfer: [frame.buffer] });
  } catch (error) {
    // A trap is a defect of the module, after which it must not be used any more.
    const trapped = error instanceof WebAssembly.RuntimeError;
    self.postMessage({ id, problem: error instanceof Error ? error.message : String(error), trapped });
  }
}

self.addEventListener("message", ({ data }) => {
  if (data.cancel) cancelled = data.cancel;
  else if (data.canvas) canvas = data.canvas;
  // If the module cannot be loaded, the page knows; no job is ever done then.
  else queue = queue.then(() => perform(data), () => {});
});

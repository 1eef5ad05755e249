// A simulated cluster, in a worker.

import { decode } from "../model/decode-frame.js";

/**
 * @import { Action, Asking, Branch, CauseLink, Comparison, DiagramHit, Impossible, LogWindow,
 *   MessageDetail, NodeDetail, Rule, Script, StoryGroup, StoryPart, Target, Verdict, View,
 *   Violation } from "../model/types.js"
 */

/**
 * A window of the space-time diagram. Sizes are in CSS pixels; `selected` are numbers of messages.
 * @typedef {object} DiagramWindow
 * @property {number} from In microseconds.
 * @property {number} to
 * @property {number} width
 * @property {number} height
 * @property {number} top The height above the first lane.
 * @property {number} lane The height of a lane.
 * @property {number} ratio Device pixels per pixel.
 * @property {string[]} colors The tokens that raft-wasm paints with.
 * @property {number[]} selected
 */

/**
 * @typedef {object} Listener
 * @property {(script: Script) => void} began A run begins.
 * @property {(script: Script, before: Script) => void} changed The present run has another script.
 * @property {(view: View) => void} view
 * @property {(part: StoryPart) => void} story
 * @property {(script: Script, problem: string) => void} trapped
 * @property {() => void} restarted Another worker has replaced the one that trapped.
 * @property {(received: number, total: number) => void} loading Bytes of the module.
 * @property {(problem: string) => void} failed The module cannot be loaded.
 * @property {(progress: Progress | null) => void} progress Of long work; none when it ends.
 *
 * The moment that long work has reached, in microseconds, and the part that is done, from 0 to 1.
 * @typedef {{ now: number, done: number }} Progress
 */

/** The simulation failed; the command was not done. */
export class Trap extends Error {}

export class Simulated {
  /** @param {Listener} listener */
  constructor(listener) {
    this.kind = /** @type {const} */ ("simulated");
    this.listener = listener;
    /**
     * @type {Map<number, { method: string, resolve: (value: any) => void, reject: (problem: Error)
     *   => void }>}
     */
    this.waiting = new Map();
    this.nextId = 1;
    /** The script of the present run, as the simulation has it. @type {Script} */
    this.script = {};
    this.isReady = false;
    /** The long work that is reported. */
    this.working = 0;
    /** The script that a run is to begin with. @type {Script | null} */
    this.beginning = null;
    this.worker = this.startWorker();
  }

  startWorker() {
    this.isReady = false;
    const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", (event) => this.receive(event.data));
    worker.addEventListener("error", (event) => {
      // An error event without a message is a file of the worker that cannot be loaded.
      if (this.isReady) this.end(event.message || "the worker failed");
      else this.fail(event.message);
    });
    return worker;
  }

  /** @param {string} [problem] */
  async fail(problem) {
    this.worker.terminate();
    this.listener.failed(problem || (await missingFile()));
  }

  /**
   * @param {string} method
   * @param {...unknown} args
   * @returns {Promise<any>}
   */
  call(method, ...args) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { method, resolve, reject });
      this.worker.postMessage({ id, method, args });
    });
  }

  /** @param {any} answer */
  receive(answer) {
    if (answer.loading) return this.listener.loading(answer.loading.received, answer.loading.total);
    if (answer.ready) return void (this.isReady = true);
    if (answer.failed !== undefined) return void this.fail(answer.failed);
    if (answer.progress) {
      if (this.waiting.has(answer.progress.id)) this.showProgress(answer.progress);
      return;
    }
    if (answer.id === this.working) this.showProgress(null);
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (answer.trapped) return this.end(answer.problem);
    if (answer.problem !== undefined) return waiting?.reject(new Error(answer.problem));
    if (answer.script) {
      const before = this.script;
      this.script = answer.script;
      if (waiting?.method === "begin") this.listener.began(answer.script);
      else this.listener.changed(answer.script, before);
    }
    if (answer.story) this.listener.story(answer.story);
    if (answer.frame) this.listener.view({ ...decode(answer.frame), canRedo: answer.canRedo });
    waiting?.resolve(answer.result);
  }

  /** @param {{ id: number, now: number, done: number } | null} progress */
  showProgress(progress) {
    this.working = progress?.id ?? 0;
    this.listener.progress(progress);
  }

  /** Stops all long work that was requested so far. The run stays at the moment it has reached. */
  cancel() {
    this.worker.postMessage({ cancel: this.nextId - 1 });
  }

  /**
   * Replaces a module that has trapped. The page reports the script of the failed run.
   * @param {string} problem
   */
  end(problem) {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Trap(problem));
    this.waiting.clear();
    this.showProgress(null);
    this.worker = this.startWorker();
    this.listener.restarted();
    this.listener.trapped(this.beginning ?? this.script, problem);
  }

  /** @param {Script} script */
  async begin(script) {
    this.cancel();
    this.beginning = script;
    try {
      await this.call("begin", script);
    } finally {
      this.beginning = null;
    }
  }

  /** @param {Action} action */
  act(action) { return this.call("act", action); }
  undo() { return this.call("undo"); }
  redo() { return this.call("redo"); }
  /** @returns {Promise<Branch[]>} */
  branches() { return this.call("branches"); }
  /** @param {number} id @param {number} at */
  showBranch(id, at) { return this.call("showBranch", id, at); }
  /** @param {number} id @param {string} name */
  renameBranch(id, name) { return this.call("renameBranch", id, name); }
  /** @param {number} id */
  deleteBranch(id) { return this.call("deleteBranch", id); }
  /** @param {number} one @param {number} other @returns {Promise<Comparison>} */
  compareBranches(one, other) { return this.call("compareBranches", one, other); }
  /** @param {Target} target @returns {Promise<"reached" | "bound" | "ended" | "cancelled">} */
  runTo(target) { return this.call("runTo", target); }

  /** @param {number} time */
  advance(time) { return this.call("advance", time); }
  /** @param {number} time @returns {Promise<boolean>} False if it was cancelled on the way. */
  seek(time) { return this.call("seek", time); }
  step() { return this.call("step"); }
  back() { return this.call("back"); }
  /** @param {number} id @returns {Promise<NodeDetail | undefined>} */
  node(id) { return this.call("node", id); }
  /** @param {number} id @returns {Promise<MessageDetail | undefined>} */
  message(id) { return this.call("message", id); }
  /** @param {number} id @returns {Promise<Asking | undefined>} */
  asking(id) { return this.call("asking", id); }
  /** @param {number} limit @returns {Promise<Asking[]>} */
  askings(limit) { return this.call("askings", limit); }
  /** @returns {Promise<LogWindow>} */
  logs() { return this.call("logs"); }
  /** @returns {Promise<Impossible[]>} */
  impossibleActions() { return this.call("impossibleActions"); }
  /** @returns {Promise<Violation | undefined>} */
  violation() { return this.call("violation"); }
  /** @returns {Promise<Rule[]>} */
  rules() { return this.call("rules"); }
  /** @returns {Promise<Verdict>} */
  judge() { return this.call("judge"); }
  /**
   * The records with the numbers `from` to `to` (exclusive) in groups by cause.
   * @param {number} from
   * @param {number} to
   * @returns {Promise<StoryGroup[]>}
   */
  groups(from, to) { return this.call("groups", from, to); }

  /**
   * The steps that led to a step, the latest first, and the steps to which it led.
   * @param {number} step
   * @param {number} at
   * @returns {Promise<{ causes: CauseLink[], consequences: CauseLink[] }>}
   */
  causality(step, at) { return this.call("causality", step, at); }

  /**
   * Gives the canvas of the diagram to the worker. Each worker needs a canvas of its own.
   * @param {HTMLCanvasElement} canvas
   */
  attach(canvas) {
    // A browser without such canvases shows no lanes.
    if (!("transferControlToOffscreen" in canvas)) return;
    const offscreen = canvas.transferControlToOffscreen();
    this.worker.postMessage({ canvas: offscreen }, [offscreen]);
  }

  /** @param {DiagramWindow} window */
  paint(window) { return this.call("paint", window); }
  /**
   * @param {DiagramWindow} window
   * @param {number} x
   * @param {number} y
   * @returns {Promise<DiagramHit | undefined>}
   */
  hit(window, x, y) { return this.call("hit", window, x, y); }

  /** @returns {Promise<string>} */
  traceHash() { return this.call("traceHash"); }
}

/** Why a file of the worker cannot be loaded; the event of the worker does not say it. */
async function missingFile() {
  const url = new URL("../pkg/module_size.js", import.meta.url);
  try {
    const response = await fetch(url);
    if (response.ok) return "the simulator cannot be loaded";
    const type = response.headers.get("content-type") ?? "";
    return type.includes("json") ? (await response.json()).detail : `the simulator cannot be loaded: status ${response.status}`;
  } catch {
    return "the simulator cannot be loaded: no answer";
  }
}

// A simulated cluster, in a worker.

import { decode } from "../frame.js";

/** @import { Action, Asking, Impossible, LogWindow, MessageDetail, NodeDetail, Script, StoryPart, Rule, Verdict, View, Violation } from "../types.js" */

/**
 * @typedef {object} Listener
 * @property {(script: Script) => void} began A run begins.
 * @property {(script: Script, before: Script) => void} changed The present run has another script.
 * @property {(view: View) => void} view
 * @property {(part: StoryPart) => void} story
 * @property {(script: Script, problem: string) => void} trapped
 */

/** The simulation failed; the command was not done. */
export class Trap extends Error {}

export class Simulated {
  /** @param {Listener} listener */
  constructor(listener) {
    this.kind = /** @type {const} */ ("simulated");
    this.listener = listener;
    /** @type {Map<number, { method: string, resolve: (value: any) => void, reject: (problem: Error) => void }>} */
    this.waiting = new Map();
    this.nextId = 1;
    /** The script of the present run, as the simulation has it. @type {Script} */
    this.script = {};
    /** The script that a run is to begin with. @type {Script | null} */
    this.beginning = null;
    this.worker = this.startWorker();
  }

  startWorker() {
    const worker = new Worker(new URL("../worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", (event) => this.receive(event.data));
    worker.addEventListener("error", (event) => this.end(event.message || "the simulation cannot be loaded"));
    return worker;
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
    if (answer.frame) this.listener.view(decode(answer.frame));
    waiting?.resolve(answer.result);
  }

  /**
   * The module is beyond use: it starts anew, and the page says what was done.
   * @param {string} problem
   */
  end(problem) {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Trap(problem));
    this.waiting.clear();
    this.worker = this.startWorker();
    this.listener.trapped(this.beginning ?? this.script, problem);
  }

  /** @param {Script} script */
  async begin(script) {
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

  /** @param {number} time */
  advance(time) { return this.call("advance", time); }
  /** @param {number} time */
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
  /** @returns {Promise<string>} */
  traceHash() { return this.call("traceHash"); }
}

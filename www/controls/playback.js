// Playback: time runs, stands, goes step by step, and back.

import { byId, h, icon, setText } from "../dom.js";

/** @import { Target, View } from "../model/types.js" */
/** @import { Simulated } from "../sources/simulated.js" */

/** A frame is requested no more often than this if less motion is wanted, in milliseconds. */
const CALM_MS = 500;
/** After a pause of the page, time does not leap further than this, in milliseconds. */
const LEAP_MS = 250;
/** A step of time that takes longer than this is followed by smaller ones, in milliseconds. */
const STEP_MS_MAX = 60;
/** The speeds, as powers of ten of real time. */
const SPEEDS = [-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 3, 4];
const SPEED = -1;

/**
 * @typedef {object} Listener
 * @property {(problem: unknown) => void} showError
 * @property {() => void} changed Time runs now, or stands now.
 * @property {() => void} ended Time cannot run because of a violation, and was requested to.
 * @property {(part: number, end: number) => void} placed The moment is at this part of the run.
 * @property {(result: "reached" | "bound" | "ended" | "cancelled") => void} searched "Run to"
 *   ended.
 */

/** A speed in words. @param {number} power */
function speedText(power) {
  const factor = 10 ** power;
  const rounded = (/** @type {number} */ value) => Number(value.toPrecision(1)).toLocaleString("en");
  return factor >= 1 ? `${rounded(factor)}×` : `1/${rounded(1 / factor)}×`;
}

/**
 * @param {Simulated} source
 * @param {Listener} listener
 */
export function createPlayback(source, listener) {
  const play = byId("play", HTMLButtonElement);
  const speed = byId("speed", HTMLSelectElement);
  const scrubber = byId("scrubber", HTMLInputElement);
  const [undo, redo] = [byId("undo", HTMLButtonElement), byId("redo", HTMLButtonElement)];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = false;
  let now = 0;
  let end = 0;
  let ended = false;
  let scrubbing = false;
  /** The next moment that the hand on the scrubber requests. @type {number | null} */
  let wanted = null;
  /** The seeks of the scrubber that are not done. @type {Promise<void> | null} */
  let seeking = null;
  /** A command to the simulation waits for the commands before it. @type {Promise<unknown>} */
  let queue = Promise.resolve();
  let queued = 0;
  let last = 0;
  /** The largest step of time, in microseconds: a fast run keeps its frame rate. */
  let stepMax = Infinity;

  speed.replaceChildren(...SPEEDS.map((power) => h("option", { value: String(power), ...(power === SPEED ? { selected: "" } : {}) }, speedText(power))));
  speed.value = String(SPEED);
  const factor = () => 10 ** Number(speed.value);

  /** @param {boolean} run */
  function setPlaying(run) {
    if (play.dataset.playing !== String(run)) {
      play.dataset.playing = String(run);
      play.replaceChildren(icon(run ? "pause" : "play"));
      play.setAttribute("aria-label", run ? "Pause" : "Run");
    }
    if (run === playing) return;
    playing = run;
    if (run) requestAnimationFrame(begin);
    listener.changed();
  }

  function toggle() {
    if (!playing && ended) listener.ended();
    else setPlaying(!playing);
  }

  /** @param {number} time */
  function begin(time) {
    last = time;
    requestAnimationFrame(tick);
  }

  /** @param {number} time */
  async function tick(time) {
    if (!playing) return;
    requestAnimationFrame(tick);
    if (queued > 0 || (calm.matches && time - last < CALM_MS)) return;
    const passed = Math.min(time - last, calm.matches ? CALM_MS : LEAP_MS);
    last = time;
    const step = Math.min(passed * 1000 * factor(), stepMax);
    const began = performance.now();
    await guarded(() => source.advance(Math.round(now + step)));
    const took = performance.now() - began;
    if (took > STEP_MS_MAX) stepMax = Math.max(1000, (step * STEP_MS_MAX) / took);
    else if (step >= stepMax) stepMax *= 1.2;
  }

  /**
   * @template T
   * @param {() => Promise<T>} command
   * @returns {Promise<T>}
   */
  function enqueue(command) {
    queued += 1;
    const result = queue.then(command);
    queue = result.then(() => {}, () => {}).finally(() => (queued -= 1));
    return result;
  }

  /** @param {() => Promise<unknown>} command */
  async function guarded(command) {
    try {
      await enqueue(command);
    } catch (problem) {
      setPlaying(false);
      listener.showError(problem);
    }
  }

  /** @param {() => Promise<unknown>} command */
  function still(command) {
    setPlaying(false);
    return guarded(command);
  }

  function step() {
    if (ended) listener.ended();
    else still(() => source.step());
  }

  /**
   * Goes to a moment. Only the latest request matters: a hand is faster than a simulation.
   * @param {number} time
   */
  function scrub(time) {
    wanted = time;
    setPlaying(false);
    seeking ??= seekToWanted();
  }

  async function seekToWanted() {
    while (wanted !== null) {
      const time = wanted;
      wanted = null;
      await guarded(() => source.seek(time));
    }
    seeking = null;
    place();
  }

  function place() {
    const part = end > 0 ? now / end : 0;
    if (!scrubbing && !seeking) scrubber.value = String(part);
    listener.placed(part, end);
  }

  // A key acts again after a choice by the mouse.
  speed.addEventListener("change", () => {
    if (!speed.matches(":focus-visible")) speed.blur();
  });
  play.addEventListener("click", toggle);
  byId("step", HTMLButtonElement).addEventListener("click", step);
  byId("back", HTMLButtonElement).addEventListener("click", () => still(() => source.back()));
  undo.addEventListener("click", () => controls.undo());
  redo.addEventListener("click", () => controls.redo());
  scrubber.addEventListener("input", () => {
    // The value is read at once: a frame that is not shown yet moves the thumb.
    scrubbing = true;
    scrub(Math.round(Number(scrubber.value) * end));
  });
  scrubber.addEventListener("change", () => {
    scrubbing = false;
    place();
  });

  const controls = {
    setPlaying,
    scrub,
    isPlaying: () => playing,
    /** Waits until all commands so far are done. */
    async settled() {
      await seeking;
      await queue;
    },
    toggle,
    step,
    back: () => still(() => source.back()),
    undo: () => controls.after(() => source.undo()).catch(listener.showError),
    redo: () => controls.after(() => source.redo()).catch(listener.showError),
    /** @param {Target} target */
    runTo: (target) => still(async () => listener.searched(await source.runTo(target))),
    /** The length of the shown branch is known. @param {number} length */
    setEnd(length) {
      end = Math.max(now, length);
      place();
    },
    /**
     * Runs a command at the moment that all commands so far lead to.
     * @template T
     * @param {() => Promise<T>} command
     * @returns {Promise<T>}
     */
    async after(command) {
      await seeking;
      return enqueue(command);
    },
    /** @param {number} steps */
    changeSpeed(steps) {
      speed.selectedIndex = Math.min(SPEEDS.length - 1, Math.max(0, speed.selectedIndex + steps));
    },
    /** Starts at zero with another run. */
    begin() {
      now = 0;
      end = 0;
      wanted = null;
    },
    /** @param {View} view */
    show(view) {
      now = view.now;
      end = Math.max(end, now);
      ended = view.ended === true;
      setText(byId("clock", HTMLOutputElement), `${(now / 1e6).toFixed(3)} s`);
      place();
      scrubber.setAttribute("aria-valuetext", `${(now / 1e6).toFixed(3)} seconds`);
      undo.disabled = !view.done;
      redo.disabled = !view.canRedo;
      if (ended) setPlaying(false);
    },
  };
  setPlaying(false);
  return controls;
}

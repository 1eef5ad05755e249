// Time: it runs, stands, goes step by step, and back.

import { byId, setText } from "../dom.js";

/** @import { View } from "../model/types.js" */
/** @import { Simulated } from "../sources/simulated.js" */

/** A picture is requested no more often than this if less motion is wanted, in milliseconds. */
const CALM_MS = 500;
/** After a pause of the page, time does not leap further than this, in milliseconds. */
const LEAP_MS = 250;

/**
 * @typedef {object} Listener
 * @property {(problem: unknown) => void} showError
 * @property {() => void} changed Time runs now, or stands now.
 * @property {() => void} ended Someone wants time to run, and a violation has stopped it.
 */

/**
 * @param {Simulated} source
 * @param {Listener} listener
 */
export function createPlayback(source, listener) {
  const play = byId("play", HTMLButtonElement);
  const speed = byId("speed", HTMLInputElement);
  const scrubber = byId("scrubber", HTMLInputElement);
  const undo = byId("undo", HTMLButtonElement);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = false;
  let now = 0;
  let end = 0;
  let ended = false;
  let scrubbing = false;
  /** Where the hand on the scrubber wants to go next. @type {number | null} */
  let wanted = null;
  /** The seeks of the scrubber that are under way. @type {Promise<void> | null} */
  let seeking = null;
  /** A command to the simulation waits for the commands before it. @type {Promise<unknown>} */
  let queue = Promise.resolve();
  let queued = 0;
  let last = 0;

  const factor = () => 10 ** Number(speed.value);

  /** @param {boolean} run */
  function setPlaying(run) {
    play.textContent = run ? "▮▮" : "▶";
    play.setAttribute("aria-label", run ? "Pause" : "Run");
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
    await guarded(() => source.advance(Math.round(now + passed * 1000 * factor())));
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

  /** A hand is faster than a simulation: only its latest place matters. */
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
    if (!scrubbing && !seeking) scrubber.value = String(end > 0 ? now / end : 0);
  }

  function showSpeed() {
    const value = factor();
    setText(byId("speed-text", HTMLOutputElement), value >= 1 ? `${value.toPrecision(2)} ×` : `1/${Math.round(1 / value)}`);
  }

  play.addEventListener("click", toggle);
  byId("step", HTMLButtonElement).addEventListener("click", step);
  byId("back", HTMLButtonElement).addEventListener("click", () => still(() => source.back()));
  undo.addEventListener("click", () => controls.undo());
  speed.addEventListener("input", showSpeed);
  scrubber.addEventListener("input", () => {
    // The value is read at once: a picture that is under way moves the thumb.
    wanted = Math.round(Number(scrubber.value) * end);
    scrubbing = true;
    setPlaying(false);
    seeking ??= seekToWanted();
  });
  scrubber.addEventListener("change", () => {
    scrubbing = false;
    place();
  });
  showSpeed();

  const controls = {
    setPlaying,
    isPlaying: () => playing,
    /** All that was asked of the simulation until now is done. */
    async settled() {
      await seeking;
      await queue;
    },
    toggle,
    step,
    back: () => still(() => source.back()),
    undo: () => controls.after(() => source.undo()).catch(listener.showError),
    /**
     * Does something at the moment that all commands so far lead to.
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
      speed.value = String(Number(speed.value) + steps * Number(speed.step));
      showSpeed();
    },
    /** A new run has begun. */
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
      if (ended) setPlaying(false);
    },
  };
  return controls;
}

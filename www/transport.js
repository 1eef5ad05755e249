// Time: it runs, stands, goes step by step, and back.

import { byId, say } from "./dom.js";

/** @import { View } from "./types.js" */
/** @import { Simulated } from "./source/simulated.js" */

/** A picture is asked for no more often than this if less motion is wanted, in milliseconds. */
const CALM_MS = 500;
/** After a pause of the page, time does not leap further than this, in milliseconds. */
const LEAP_MS = 250;

/**
 * @param {Simulated} source
 * @param {(problem: unknown) => void} complain
 */
export function createTransport(source, complain) {
  const play = byId("play", HTMLButtonElement);
  const speed = byId("speed", HTMLInputElement);
  const scrubber = byId("scrubber", HTMLInputElement);
  const undo = byId("undo", HTMLButtonElement);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = false;
  let now = 0;
  let end = 0;
  let scrubbing = false;
  /** What is asked of the simulation waits for what was asked before. */
  let queue = Promise.resolve();
  let queued = 0;
  let last = 0;

  const factor = () => 10 ** Number(speed.value);

  /** @param {boolean} run */
  function setPlaying(run) {
    if (run && !playing) requestAnimationFrame(begin);
    playing = run;
    play.textContent = run ? "▮▮" : "▶";
    play.setAttribute("aria-label", run ? "Pause" : "Run");
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

  /** @param {() => Promise<unknown>} action */
  function guarded(action) {
    queued += 1;
    queue = queue.then(action).then(() => {}, (problem) => {
      setPlaying(false);
      complain(problem);
    }).finally(() => (queued -= 1));
    return queue;
  }

  /** @param {() => Promise<unknown>} action */
  function still(action) {
    setPlaying(false);
    return guarded(action);
  }

  function showSpeed() {
    const value = factor();
    say(byId("speed-text", HTMLOutputElement), value >= 1 ? `${value.toPrecision(2)} ×` : `1/${Math.round(1 / value)}`);
  }

  play.addEventListener("click", () => setPlaying(!playing));
  byId("step", HTMLButtonElement).addEventListener("click", () => still(() => source.step()));
  byId("back", HTMLButtonElement).addEventListener("click", () => still(() => source.back()));
  undo.addEventListener("click", () => controls.undo());
  speed.addEventListener("input", showSpeed);
  scrubber.addEventListener("input", () => {
    scrubbing = true;
    setPlaying(false);
    // A hand is faster than a simulation: only where it is now matters.
    if (queued < 2) guarded(() => source.seek(Number(scrubber.value) * end));
  });
  scrubber.addEventListener("change", () => (scrubbing = false));
  showSpeed();

  const controls = {
    setPlaying,
    isPlaying: () => playing,
    /** All that was asked of the simulation until now is done. */
    settled: () => queue,
    toggle: () => setPlaying(!playing),
    step: () => still(() => source.step()),
    back: () => still(() => source.back()),
    undo: () => guarded(async () => {
      if (await source.undo()) document.dispatchEvent(new CustomEvent("script-changed"));
    }),
    /** @param {number} steps */
    changeSpeed(steps) {
      speed.value = String(Number(speed.value) + steps * Number(speed.step));
      showSpeed();
    },
    /** A new run has begun. */
    begin() {
      now = 0;
      end = 0;
    },
    /** @param {View} view */
    show(view) {
      now = view.now;
      end = Math.max(end, now);
      say(byId("clock", HTMLOutputElement), `${(now / 1e6).toFixed(3)} s`);
      if (!scrubbing) scrubber.value = String(end > 0 ? now / end : 0);
      scrubber.setAttribute("aria-valuetext", `${(now / 1e6).toFixed(3)} seconds`);
      undo.disabled = view.actions === 0;
      if (view.violated) setPlaying(false);
    },
  };
  return controls;
}

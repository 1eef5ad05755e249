// The judge: it asks now and then whether the responses to clients are linearizable.

/** @import { Verdict, View } from "../model/types.js" */
/** @import { Simulated } from "../sources/simulated.js" */

/** The responses are judged again after this much time of the run, in microseconds. */
const JUDGED_EVERY = 2_000_000;
/** And this long after time has stopped, in milliseconds. */
const STILL_MS = 250;
/** Judging takes at most this part of the worker's time while time runs. */
const SHARE_MAX = 0.1;

/**
 * @param {Simulated} source
 * @param {() => boolean} isPlaying
 * @param {(verdict: Verdict) => void} judged
 */
export function createJudge(source, isPlaying, judged) {
  let [at, run, restUntil, timer] = [-1, 0, 0, 0];
  let busy = false;
  /** @type {View | null} */
  let view = null;

  async function judge() {
    if (busy) return;
    busy = true;
    const mine = run;
    const began = performance.now();
    try {
      const verdict = await source.judge();
      if (mine !== run) return;
      at = verdict.at;
      judged(verdict);
    } catch {
      // Another run replaced the run of this request.
    } finally {
      busy = false;
      restUntil = performance.now() + (performance.now() - began) / SHARE_MAX;
      // Time may have stopped while the judge was busy.
      if (view && !isPlaying()) consider(view);
    }
  }

  /** @param {View} next */
  function consider(next) {
    view = next;
    clearTimeout(timer);
    if (next.now === at) return;
    if (!isPlaying()) timer = window.setTimeout(judge, STILL_MS);
    else if (Math.abs(next.now - at) >= JUDGED_EVERY && performance.now() >= restUntil) judge();
  }

  return {
    consider,
    /** Forgets the verdict before a run begins. */
    forget() {
      run += 1;
      at = -1;
      view = null;
    },
  };
}

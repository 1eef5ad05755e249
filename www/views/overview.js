// The overview: the whole run in one strip, with its marks. The scrubber lies over it.

/** @import { Flag } from "./time-diagram.js" */

const SIGNS = { crown: "M-6 5h12l1-8-4 3-3-6-3 6-4-3z", hand: "M-4-5l8 4.2-3.5 1L-1.3 4z", cross: "M-4-3l1-1 3 3 3-3 1 1-3 3 3 3-1 1-3-3-3 3-1-1 3-3z", octagon: "M-3-7h6l4 4v6l-4 4h-6l-4-4v-6z" };
/** Marks closer than this are left out, in pixels. */
const DISTANCE = 12;

/** @param {HTMLCanvasElement} canvas */
export function createOverview(canvas) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let [part, end] = [0, 0];
  /** @type {Flag[]} */
  let flags = [];
  let requested = 0;

  const request = () => {
    requested ||= requestAnimationFrame(paint);
  };

  function paint() {
    requested = 0;
    const style = getComputedStyle(canvas);
    const { width, height } = canvas.getBoundingClientRect();
    if (!width || !height) return;
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const ratio = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const bar = height - 4;
    context.fillStyle = colour("--line");
    context.fillRect(0, bar, width, 3);
    context.fillStyle = colour("--ink-3");
    context.fillRect(0, bar, width * part, 3);
    let free = width + DISTANCE;
    for (const { at, sign, term } of [...flags].reverse()) {
      const x = end > 0 ? (at / end) * width : 0;
      if (x > free - DISTANCE) continue;
      free = x;
      context.fillStyle = sign === "crown" ? colour(term > 0 ? `--t${((term - 1) % 6) + 1}-ink` : "--ink") : sign === "hand" ? colour("--ink-2") : colour("--fault");
      context.save();
      context.translate(Math.min(width - 7, Math.max(7, x)), height / 2 - 2);
      context.fill(new Path2D(SIGNS[sign]));
      context.restore();
    }
    const x = Math.min(width - 2, Math.max(0, width * part - 1));
    context.fillStyle = colour("--ink");
    context.fillRect(x, 2, 2, height - 2);
    context.beginPath();
    context.arc(x + 1, bar + 1, 5, 0, 2 * Math.PI);
    context.fill();
  }

  new ResizeObserver(request).observe(canvas);
  new MutationObserver(request).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return {
    /** @param {number} at The part of the run. @param {number} length In microseconds. */
    place(at, length) {
      [part, end] = [at, length];
      request();
    },
    /** @param {Flag[]} next */
    showFlags(next) {
      flags = next;
      request();
    },
  };
}

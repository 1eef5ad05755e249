// The space-time diagram: a lane for each node, and each message as a line between them.

import { Timeline } from "../model/timeline.js";

/** @import { DiagramHit, NodeView, StoryRecord, View } from "../model/types.js" */
/** @import { DiagramWindow } from "../sources/simulated.js" */

/** The length of the window, in microseconds; the present stands at this part of it. */
const [WINDOW, PRESENT] = [2_500_000, 0.92];
const [WINDOW_MIN, WINDOW_MAX] = [100_000, 120_000_000];
/** The distance of the names from the left edge, in pixels. */
const HEAD = 16;
/** The distance of the lanes from the right edge, in pixels. */
const MARGIN_RIGHT = 16;
/** A pointer that moved less than this has clicked, in pixels. */
const CLICK = 4;
/** The height of the row of flags above the lanes, in pixels. */
const FLAGS = 22;
/** Steps between labels of the axis, in microseconds. */
const TICKS = [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1e6, 2e6, 5e6, 10e6, 20e6, 60e6, 120e6, 300e6, 600e6];
/** The smallest distance between labels of the axis, in pixels. */
const TICK_DISTANCE = 130;
/** The room that a label of the axis takes, in pixels. */
const LABEL_WIDTH = 52;

/**
 * @typedef {object} Flag
 * @property {number} at
 * @property {string} text
 * @property {"crown" | "cross" | "hand" | "octagon"} sign
 * @property {number} term
 */

/**
 * The flags of a story: leaders, faults and violations.
 * @param {StoryRecord[]} records
 * @returns {Flag[]}
 */
export function flagsOf(records) {
  /** @type {Flag[]} */
  const flags = [];
  for (const { kind, text, at } of records) {
    const leads = /^(\S+) leads in term (\d+)/.exec(text);
    if (leads) flags.push({ at, text: `${leads[1]} leads term ${leads[2]}`, sign: "crown", term: Number(leads[2]) });
    else if (kind === "violation") flags.push({ at, text: "violation", sign: "octagon", term: 0 });
    else if (kind === "fault") flags.push({ at, text: text.split(/[;:,]/)[0] ?? text, sign: text.includes("crash") ? "cross" : "hand", term: 0 });
  }
  return flags;
}

/**
 * The painter of lanes and messages, behind the flags.
 * @typedef {object} Back
 * @property {HTMLCanvasElement} canvas
 * @property {(window: DiagramWindow) => Promise<void>} paint
 * @property {(window: DiagramWindow, x: number, y: number) => Promise<DiagramHit | undefined>} hit
 * @property {(hit: DiagramHit) => void} point A pointer is at this place.
 * @property {(hit: DiagramHit) => void} choose This place was clicked.
 */

/**
 * @param {HTMLElement} root
 * @param {HTMLCanvasElement} canvas
 * @param {object} options
 * @param {(at: number) => string} options.time
 * @param {(at: number) => void} [options.seek]
 * @param {number} [options.length] The length of the window, in microseconds.
 * @param {Back} [options.back] Paints lanes and messages; without it, the lanes are those that this
 *   page has seen.
 * @param {number} [options.gap] Frames with a larger distance are not connected, in microseconds.
 */
export function createTimeDiagram(root, canvas, { time, seek, length = WINDOW, gap = 0, back }) {
  const timeline = new Timeline(gap);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  let now = 0;
  let end = 0;
  let count = 0;
  /** @type {NodeView[]} */
  let heads = [];
  /** @type {number[]} */
  let selected = [];
  /** True while the back is being painted, and whether it must be painted again. */
  let [painting, stale] = [false, false];
  /** @type {Flag[]} */
  let flags = [];
  let requested = 0;
  /**
   * The window while a pointer moves on the diagram: it does not follow the present then.
   * @type {number | null}
   */
  let held = null;

  const from = () => held ?? Math.max(0, now - length * PRESENT);

  function request() {
    requested ||= requestAnimationFrame(paint);
  }

  /** The sizes of the tokens, and a function from time to pixels. */
  function geometry() {
    const style = getComputedStyle(root);
    const token = (/** @type {string} */ name) => parseFloat(style.getPropertyValue(name));
    const { width, height } = root.getBoundingClientRect();
    const head = token("--head-w");
    const lane = token("--lane");
    const start = from();
    const x = (/** @type {number} */ at) => head + ((at - start) / length) * (width - head - MARGIN_RIGHT);
    const y = (/** @type {number} */ node) => FLAGS + lane * (node - 0.5);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    return { width, height, head, lane, start, x, y, colour, font: parseFloat(style.fontSize), family: style.fontFamily };
  }

  function paint() {
    requested = 0;
    const g = geometry();
    if (!g.width || !g.height) return;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(g.width * ratio), Math.round(g.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, g.width, g.height);
    const bottom = FLAGS + g.lane * count;
    if (back) paintBack(g, bottom);
    const placed = placeFlags(g);
    paintAxis(g, bottom, placed);
    if (!back) paintSeen(g, bottom);
    paintFlags(g, placed);
    paintHeads(g);
    paintPresent(g, bottom);
  }

  /** @typedef {ReturnType<typeof geometry>} Geometry */

  /**
   * The window as raft-wasm paints it: it has no heads and no margin.
   * @param {Geometry} g
   * @param {number} bottom
   * @returns {DiagramWindow}
   */
  function windowOf(g, bottom) {
    const colors = ["--ink", "--ink-3", "--line", "--sunken", "--surface", "--fault", "--t0", "--t1", "--t2", "--t3", "--t4", "--t5", "--t6"].map(g.colour);
    return {
      from: g.start, to: g.start + length, width: g.width - g.head - MARGIN_RIGHT, height: bottom, top: FLAGS, lane: g.lane,
      ratio: devicePixelRatio || 1, colors: [...colors, `${g.font}px ${g.family}`], selected,
    };
  }

  /** @param {Geometry} g @param {number} bottom */
  async function paintBack(g, bottom) {
    if (!back) return;
    // A painter that is slower than the frames paints the latest one.
    if (painting) return void (stale = true);
    painting = true;
    const window = windowOf(g, bottom);
    Object.assign(back.canvas.style, { left: `${g.head}px`, width: `${window.width}px`, height: `${bottom}px` });
    try {
      await back.paint(window);
    } catch {
      // No run has begun, or its module has failed.
    }
    painting = false;
    if (stale) {
      stale = false;
      request();
    }
  }

  /** Paints what this page has seen. @param {Geometry} g @param {number} bottom */
  function paintSeen(g, bottom) {
    const right = g.width - MARGIN_RIGHT;
    context.fillStyle = g.colour("--sunken");
    context.fillRect(Math.max(g.head, g.x(now)), FLAGS, Math.max(0, right - g.x(now)), bottom - FLAGS);
    context.save();
    context.beginPath();
    context.rect(g.head, FLAGS, right - g.head, bottom - FLAGS);
    context.clip();
    paintLanes(g);
    context.restore();
  }

  /** The colour of a term, for lines. @param {Geometry} g @param {number} term */
  const termColour = (g, term) => g.colour(term > 0 ? `--t${((term - 1) % 6) + 1}` : "--t0");

  /**
   * A label of the axis, with as many digits as the step needs.
   * @param {number} at
   * @param {number} step
   */
  function axisText(at, step) {
    return seek ? `${(at / 1e6).toFixed(step < 1e5 ? 2 : 1)} s` : time(at);
  }

  /** @param {Geometry} g @param {number} bottom @param {PlacedFlag[]} placed */
  function paintAxis(g, bottom, placed) {
    const step = TICKS.find((tick) => (tick / length) * (g.width - g.head) >= TICK_DISTANCE) ?? 600e6;
    context.font = `${g.font}px ${g.family}`;
    context.textBaseline = "middle";
    for (let at = Math.ceil(g.start / step) * step; at <= g.start + length; at += step) {
      const x = Math.round(g.x(at)) + 0.5;
      if (!back) {
        context.fillStyle = g.colour("--line");
        context.fillRect(x, FLAGS, 1, bottom - FLAGS);
      }
      if (Math.abs(g.x(now) - x) < 90 || placed.some(({ left, right }) => x < right && left < x + LABEL_WIDTH)) continue;
      if (x + LABEL_WIDTH > g.width) continue;
      context.fillStyle = g.colour("--ink-3");
      context.fillText(axisText(at, step), x + 4, FLAGS / 2);
    }
  }

  /** @param {Geometry} g */
  function paintLanes(g) {
    for (const [index, lane] of timeline.lanes.entries()) {
      const y = g.y(index + 1);
      for (const { from: begin, to, state, term } of lane) {
        if (to < g.start || begin > g.start + length) continue;
        const dead = state === "down" || state === "unreachable";
        context.strokeStyle = dead ? g.colour("--line-2") : termColour(g, term);
        context.lineWidth = state === "leader" ? Math.max(5, g.lane * 0.42) : state === "candidate" ? 5 : state === "pre-candidate" ? 4 : dead ? 1.5 : 2;
        context.setLineDash(state === "candidate" ? [5, 3] : state === "pre-candidate" ? [2, 3] : dead ? [1, 5] : state === "paused" ? [8, 4] : []);
        context.beginPath();
        context.moveTo(Math.max(g.head - 8, g.x(begin)), y);
        context.lineTo(Math.max(g.x(begin) + 1, g.x(Math.min(to, Math.max(now, begin)))), y);
        context.stroke();
      }
    }
    context.setLineDash([]);
  }

  /** @typedef {{ flag: Flag, x: number, left: number, right: number }} PlacedFlag */

  /**
   * The flags for which there is room, from right to left. A later flag has priority over an
   * earlier one.
   * @param {Geometry} g
   */
  function placeFlags(g) {
    context.font = `${g.font}px ${g.family}`;
    const present = g.x(now);
    let free = g.width;
    /** @type {PlacedFlag[]} */
    const placed = [];
    for (const flag of flags.filter(({ at }) => at >= g.start && at <= now).reverse()) {
      const x = g.x(flag.at);
      const width = context.measureText(flag.text).width + 24;
      const left = x + width > present - 48 ? x - width : x;
      if (left < g.head || left + width > free) continue;
      free = left - 12;
      placed.push({ flag, x, left, right: left + width });
    }
    return placed;
  }

  /** @param {Geometry} g @param {PlacedFlag[]} placed */
  function paintFlags(g, placed) {
    context.font = `${g.font}px ${g.family}`;
    for (const { flag, x, left } of placed) {
      context.fillStyle = flag.sign === "hand" ? g.colour("--ink-2") : flag.sign === "crown" ? g.colour(flag.term > 0 ? `--t${((flag.term - 1) % 6) + 1}-ink` : "--ink") : g.colour("--fault");
      paintSign(flag.sign, left === x ? x + 7 : x - 7, FLAGS / 2);
      context.fillStyle = g.colour("--ink-2");
      context.fillText(flag.text, left === x ? x + 18 : left + 4, FLAGS / 2 + 1);
    }
  }

  /** @param {Flag["sign"]} sign @param {number} x @param {number} y */
  function paintSign(sign, x, y) {
    const paths = {
      crown: "M-6 5h12l1-8-4 3-3-6-3 6-4-3z", hand: "M-5-6l10 5.2-4.4 1.300L-1.6 5z",
      octagon: "M-3-7h6l4 4v6l-4 4h-6l-4-4v-6z", cross: "M-5-4l1-1 4 4 4-4 1 1-4 4 4 4-1 1-4-4-4 4-1-1 4-4z",
    };
    context.save();
    context.translate(x, y);
    context.fill(new Path2D(paths[sign]));
    context.restore();
  }

  /** @param {Geometry} g */
  function paintHeads(g) {
    context.font = `600 ${g.font}px ${g.family}`;
    for (const { id, name, role, process, term } of heads) {
      const leads = role === "leader" && process === "running";
      context.fillStyle = leads ? g.colour(`--t${((term - 1) % 6) + 1}-ink`) : g.colour("--ink");
      context.fillText(name, HEAD, g.y(id) + 1, g.head - HEAD);
    }
  }

  /** @param {Geometry} g @param {number} bottom */
  function paintPresent(g, bottom) {
    const x = g.x(now);
    if (x < g.head - 1 || x > g.width) return;
    const text = time(now);
    context.font = `700 ${g.font}px ${g.family}`;
    const width = context.measureText(text).width + 16;
    const left = Math.min(Math.max(g.head - width / 2, x - width / 2), g.width - width - 4);
    context.fillStyle = g.colour("--ink");
    context.fillRect(x - 1, 10, 2, bottom - 8);
    context.beginPath();
    context.roundRect(left, 1, width, 20, 10);
    context.fill();
    context.fillStyle = g.colour("--on-ink");
    context.fillText(text, left + 8, FLAGS / 2 + 1);
  }

  /** The moment under a pointer. @param {PointerEvent} event */
  function momentAt(event) {
    const g = geometry();
    const part = (event.clientX - root.getBoundingClientRect().left - g.head) / (g.width - g.head - MARGIN_RIGHT);
    return Math.round(Math.min(end, Math.max(0, g.start + part * length)));
  }

  /** What lies under a pointer. @param {PointerEvent} event */
  async function hitAt(event) {
    const g = geometry();
    const box = root.getBoundingClientRect();
    return back?.hit(windowOf(g, FLAGS + g.lane * count), event.clientX - box.left - g.head, event.clientY - box.top).catch(() => undefined);
  }

  if (seek) {
    let began = 0;
    root.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = from();
      began = event.clientX;
      root.setPointerCapture(event.pointerId);
    });
    root.addEventListener("pointermove", async (event) => {
      if (held !== null) {
        if (Math.abs(event.clientX - began) >= CLICK) seek(momentAt(event));
        return;
      }
      const hit = await hitAt(event);
      if (hit) back?.point(hit);
    });
    root.addEventListener("pointerup", async (event) => {
      const clicked = held !== null && Math.abs(event.clientX - began) < CLICK;
      held = null;
      request();
      if (!clicked) return;
      const moment = momentAt(event);
      const hit = await hitAt(event);
      if (hit && (hit.message || hit.record !== undefined)) back?.choose(hit);
      else seek(moment);
    });
    root.addEventListener("pointercancel", () => (held = null));
    root.addEventListener("pointerleave", () => back?.point({ at: 0 }));
  }
  root.addEventListener("wheel", (event) => {
    event.preventDefault();
    length = Math.min(WINDOW_MAX, Math.max(WINDOW_MIN, length * 1.2 ** Math.sign(event.deltaY)));
    request();
  }, { passive: false });
  new ResizeObserver(request).observe(root);
  new MutationObserver(request).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  return {
    /** @param {View} view @param {number[]} chosen The messages that stand out. */
    show(view, chosen) {
      now = view.now;
      end = Math.max(end, now);
      selected = chosen;
      count = view.nodes.length;
      heads = view.nodes;
      if (!back) timeline.add(view);
      root.style.setProperty("--lanes", String(view.nodes.length));
      request();
    },
    /** Replaces the canvas of the back. @param {HTMLCanvasElement} next */
    setCanvas(next) {
      if (back) back.canvas = next;
    },
    /** @param {number[]} chosen The messages that stand out. */
    light(chosen) {
      selected = chosen;
      request();
    },
    /** @param {number} length The end of the shown branch. */
    setEnd(length) {
      end = Math.max(now, length);
    },
    /** @param {Flag[]} next */
    showFlags(next) {
      flags = next;
      request();
    },
    clear() {
      flags = [];
      [now, end] = [0, 0];
      request();
    },
  };
}

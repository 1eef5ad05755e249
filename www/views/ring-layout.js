// Where the nodes and their labels stand. One unit is one pixel of the screen, so that text is as
// large as it says.

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {"left" | "right" | "below"} Side */

const [RADIUS_MIN, RADIUS_MAX] = [20, 46];
/** The radius as a part of the smaller side of the stage. */
const RADIUS_SHARE = 0.085;
/** The election timer lies around the disc at this multiple of its radius. */
export const TIMER = 1.27;
/** A crown is so much higher than its disc. */
const CROWN_HEIGHT = 0.68;
/** The width of a label beside a node, in pixels. */
const LABEL_WIDTH = 104;
/** The height of a label below a node in pixels: with one line, and with two. */
const [LABEL_LINE, LABEL_LINES] = [22, 40];
/** The distance of labels from the timer, and of everything from the edge, in pixels. */
const [GAP, EDGE] = [9, 6];
/** The largest ratio of the axes of the ring. */
const STRETCH_MAX = 2.1;
/** The largest part of its share of the ring that a node takes. */
const SHARE_MAX = 0.27;
/** Below this width of the stage, labels do not stand beside the nodes. */
const WIDE = 560;
/** Points at which the length of the ring is measured. */
const SAMPLES = 720;

/**
 * Points on an ellipse around the origin with equal distances along it. The first is at the top.
 * @param {number} rx
 * @param {number} ry
 * @param {number} count
 * @returns {Point[]}
 */
function pointsOnEllipse(rx, ry, count) {
  const at = (/** @type {number} */ sample) => {
    const angle = (2 * Math.PI * sample) / SAMPLES - Math.PI / 2;
    return { x: rx * Math.cos(angle), y: ry * Math.sin(angle) };
  };
  const lengths = [0];
  for (let sample = 1; sample <= SAMPLES; sample += 1) {
    const [p, q] = [at(sample - 1), at(sample)];
    lengths.push((lengths[sample - 1] ?? 0) + Math.hypot(q.x - p.x, q.y - p.y));
  }
  const whole = lengths[SAMPLES] ?? 1;
  // The left half is the mirror image of the right half, to the pixel.
  return Array.from({ length: count }, (_, index) => {
    const mirrored = index * 2 > count;
    const { x, y } = at(lengths.findIndex((length) => length >= (whole * (mirrored ? count - index : index)) / count));
    return { x: mirrored ? -x : x, y };
  });
}

/**
 * Nodes on an ellipse that is as large as the stage allows. Two nodes stand side by side.
 * @param {number} width
 * @param {number} height
 * @param {number} count
 */
export function layOut(width, height, count) {
  const wide = width >= WIDE;
  const fit = (/** @type {number} */ radius) => {
    const top = radius * (1 + CROWN_HEIGHT) + EDGE;
    const bottom = radius * TIMER + EDGE + (wide ? LABEL_LINE : LABEL_LINES);
    const side = radius * TIMER + EDGE + (wide ? GAP + LABEL_WIDTH : 20);
    const [across, down] = [Math.max(40, width / 2 - side), Math.max(40, height - top - bottom)];
    if (count <= 2) {
      const x = Math.min(across, down * 1.2, radius * 6);
      const y = -height / 2 + top + down / 2;
      return { rx: x, centre: { x: 0, y }, places: count === 1 ? [{ x: 0, y }] : [{ x: -x, y }, { x, y }] };
    }
    // With an odd number, no node stands at the very bottom: the ring can be higher then.
    let [rx, ry] = [across, down / 2];
    let places = pointsOnEllipse(rx, ry, count);
    for (let pass = 0; pass < 2; pass += 1) {
      const lowest = Math.max(...places.map(({ y }) => y)) / ry;
      ry = Math.min(down / (1 + lowest), across * STRETCH_MAX);
      rx = Math.min(across, ry * STRETCH_MAX);
      places = pointsOnEllipse(rx, ry, count);
    }
    const lowest = Math.max(...places.map(({ y }) => y));
    const shift = -height / 2 + top + Math.max(0, down - ry - lowest) / 2 + ry;
    return { rx, centre: { x: 0, y: shift }, places: places.map(({ x, y }) => ({ x, y: y + shift })) };
  };
  let radius = Math.min(RADIUS_MAX, Math.max(RADIUS_MIN, Math.min(width, height * 1.1) * RADIUS_SHARE));
  if (count > 2) {
    const { places } = fit(radius);
    const gaps = places.map((p, index) => {
      const q = places[(index + 1) % count] ?? p;
      return Math.hypot(p.x - q.x, p.y - q.y);
    });
    radius = Math.max(RADIUS_MIN, Math.min(radius, Math.min(...gaps) * SHARE_MAX));
  }
  const { places, centre, rx } = fit(radius);
  return {
    radius, width, height, centre, wide,
    viewBox: `${-width / 2} ${-height / 2} ${width} ${height}`,
    /**
     * @param {number} id
     * @returns {Point}
     */
    place: (id) => places[id - 1] ?? centre,
    /**
     * The side of a node on which its label stands, and the point from which it extends.
     * @param {number} id
     * @returns {Point & { side: Side }}
     */
    label(id) {
      const { x, y } = places[id - 1] ?? centre;
      const beside = radius * TIMER + GAP;
      const isTop = Math.abs(x) < rx * 0.1 && y < centre.y;
      if (isTop && count > 2) return { x: x + beside, y, side: "right" };
      if (!wide || Math.abs(x) < rx * 0.7 || count <= 2) return { x, y: y + radius * TIMER + 4, side: "below" };
      return x < 0 ? { x: x - beside, y, side: "left" } : { x: x + beside, y, side: "right" };
    },
  };
}

/** @typedef {ReturnType<typeof layOut>} Layout */

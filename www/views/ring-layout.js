// Where the nodes stand, and their text. One unit is one pixel of the screen, so that text is as
// large as it says.

/** @typedef {{ x: number, y: number }} Point */

/** What stands above and below a node: crown or votes, and lines of text. */
const ABOVE = 32;
const BELOW = 18;
const LINE = 18;
/** From a node's rim to the edge, and room for text that stands beside it. */
const BESIDE = 26;
const TEXT = 78;
const [RADIUS_MIN, RADIUS_MAX] = [21, 42];
/** How much longer than wide the ring may be. */
const STRETCH_MAX = 2;
/** A node takes at most this part of its share of the ring. */
const SHARE = 0.27;
/** A wide ring of more nodes than this has its text outside. */
const CROWD = 5;
/** Points that a ring is measured at. */
const SAMPLES = 720;

/**
 * Nodes on an ellipse around the origin, as far from each other along it as can be; the first at
 * the top.
 * @param {number} rx
 * @param {number} ry
 * @param {number} count
 * @returns {Point[]}
 */
function around(rx, ry, count) {
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
  // The left is the mirror of the right, to the last pixel.
  return Array.from({ length: count }, (_, index) => {
    const mirrored = index * 2 > count;
    const { x, y } = at(lengths.findIndex((length) => length >= (whole * (mirrored ? count - index : index)) / count));
    return { x: mirrored ? -x : x, y };
  });
}

/**
 * @param {number} width
 * @param {number} height
 * @param {number} count
 * @param {number} lines Of text at each node.
 */
export function layOut(width, height, count, lines) {
  const outside = count > CROWD && width > height * 1.3;
  const fit = (/** @type {number} */ radius) => {
    const [top, bottom] = [radius + ABOVE, radius + BELOW + (outside ? 0 : LINE * lines)];
    const side = radius + (outside ? TEXT : BESIDE);
    const [across, down] = [Math.max(40, width / 2 - side), Math.max(60, height - top - bottom)];
    // If their number is odd, no node stands at the very bottom: the ring can be larger then.
    let [rx, ry] = [across, down / 2];
    let places = around(rx, ry, count);
    for (let pass = 0; pass < 2; pass += 1) {
      const lowest = Math.max(...places.map(({ y }) => y)) / ry;
      ry = Math.min(count > 2 ? down / (1 + lowest) : down / 2, across * STRETCH_MAX);
      rx = Math.min(across, ry * STRETCH_MAX);
      places = around(rx, ry, count);
    }
    const lowest = Math.max(...places.map(({ y }) => y));
    const shift = -height / 2 + top + Math.max(0, down - ry - lowest) / 2 + ry;
    return { rx, ry, shift, places: places.map(({ x, y }) => ({ x, y: y + shift })) };
  };
  let radius = Math.min(RADIUS_MAX, Math.max(RADIUS_MIN, Math.min(width, height) * 0.085));
  const first = fit(radius);
  const share = (Math.PI * (first.rx + first.ry)) / count;
  radius = Math.max(RADIUS_MIN, Math.min(radius, share * SHARE));
  const { places, shift, rx } = fit(radius);
  return {
    radius,
    centre: { x: 0, y: shift },
    viewBox: `${-width / 2} ${-height / 2} ${width} ${height}`,
    /** @param {number} id @returns {Point} */
    place: (id) => places[id - 1] ?? { x: 0, y: shift },
    /** Where the first line of a node's text stands, seen from the node. @param {number} id */
    text(id) {
      const x = places[id - 1]?.x ?? 0;
      if (!outside || Math.abs(x) < rx * 0.15) return { x: 0, y: radius + 29, anchor: "middle" };
      return x < 0 ? { x: -radius - 16, y: 5, anchor: "end" } : { x: radius + 16, y: 5, anchor: "start" };
    },
  };
}

/** @typedef {ReturnType<typeof layOut>} Layout */

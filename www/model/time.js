// Moments in words.

/** The time of day. @param {number} at In microseconds since 1970. */
export function clockTime(at) {
  return new Date(at / 1000).toLocaleTimeString(undefined, { hourCycle: "h23" });
}

/** How long a real node has not answered. @param {{ seen?: number }} node */
export function unreachableText({ seen }) {
  return seen ? `unreachable since ${clockTime(seen)}` : "unreachable since this page was opened";
}

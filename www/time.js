// Moments in words.

/** The time of day. @param {number} at In microseconds since 1970. */
export function clockTime(at) {
  return new Date(at / 1000).toLocaleTimeString(undefined, { hourCycle: "h23" });
}

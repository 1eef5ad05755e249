// The address: it holds the run, so that the same address gives the same run.

/** @import { Script } from "./types.js" */

/**
 * What the address says; what it doesn't say is chosen. `config` is JSON of what is unusual about the world.
 * @returns {Script}
 */
export function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const whole = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
    const value = Number(parameters.get(name));
    return parameters.has(name) && Number.isSafeInteger(value) && value >= 0 ? value : otherwise;
  };
  const nodes = Math.min(9, Math.max(1, whole("nodes", 5)));
  const seed = whole("seed", Math.floor(Math.random() * 1_000_000));
  /** @type {Script["actions"]} */
  let actions = [];
  try {
    const parsed = JSON.parse(parameters.get("do") ?? "[]");
    if (Array.isArray(parsed)) actions = parsed;
  } catch {
    // A cut-off address still has its seed.
  }
  /** @type {object} */
  let config = {};
  try {
    const parsed = JSON.parse(parameters.get("config") ?? "{}");
    if (parsed && typeof parsed === "object" && !Array.isArray(parsed)) config = parsed;
  } catch {
    // As above.
  }
  return { config: { ...config, nodes, seed }, actions };
}

/** The moment that the address opens the run at, in microseconds; none if it opens at the beginning. */
export function readMoment() {
  const at = Number(new URLSearchParams(location.hash.slice(1)).get("at"));
  return Number.isSafeInteger(at) && at > 0 ? at : undefined;
}

/** What is unusual about the world of the present run, as it was begun. */
let unusual = {};

/** @param {Script} begun The run as it was begun, with what is unusual in its configuration. */
export function rememberWorld(begun) {
  const { nodes, seed, ...rest } = begun.config ?? {};
  unusual = rest;
}

/** @param {Script} script */
export function writeAddress(script) {
  const parameters = new URLSearchParams({ nodes: String(script.config?.nodes), seed: String(script.config?.seed) });
  if (Object.keys(unusual).length) parameters.set("config", JSON.stringify(unusual));
  if (script.actions?.length) parameters.set("do", JSON.stringify(script.actions));
  history.replaceState(null, "", `#${parameters}`);
}

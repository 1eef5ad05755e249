// The address: it holds the run, so that the same address gives the same run.

/** @import { Script } from "./types.js" */

/**
 * What the address says; what it doesn't say is chosen.
 * @returns {Script}
 */
export function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const whole = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
    const value = Number(parameters.get(name));
    return parameters.has(name) && Number.isSafeInteger(value) && value >= 0 ? value : otherwise;
  };
  const nodes = Math.min(9, Math.max(3, whole("nodes", 5)));
  const seed = whole("seed", Math.floor(Math.random() * 1_000_000));
  /** @type {Script["actions"]} */
  let actions = [];
  try {
    const parsed = JSON.parse(parameters.get("do") ?? "[]");
    if (Array.isArray(parsed)) actions = parsed;
  } catch {
    // A cut-off address still has its seed.
  }
  return { config: { nodes, seed }, actions };
}

/** @param {Script} script */
export function writeAddress(script) {
  const parameters = new URLSearchParams({ nodes: String(script.config?.nodes), seed: String(script.config?.seed) });
  if (script.actions?.length) parameters.set("do", JSON.stringify(script.actions));
  history.replaceState(null, "", `#${parameters}`);
}

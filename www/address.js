// The address: it holds the run, so that the same address gives the same run.

/** @import { Script } from "./types.js" */

/** The largest cluster that the page draws. */
const NODES_MAX = 9;

/**
 * What the address says; what it doesn't say is chosen. `config` is JSON of what is unusual about the world.
 * What cannot be read is left out, and named in `problems`.
 * @returns {{ script: Script, moment: number | undefined, problems: string[] }}
 */
export function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  /** @type {string[]} */
  const problems = [];
  /** @param {string} name @param {number} otherwise @param {string} instead */
  const whole = (name, otherwise, instead) => {
    const text = parameters.get(name);
    if (text === null) return otherwise;
    const value = Number(text);
    if (text !== "" && Number.isSafeInteger(value) && value >= 0) return value;
    problems.push(`its ${name} is no number (${instead})`);
    return otherwise;
  };
  /** @param {string} name @param {(value: unknown) => boolean} fits @param {string} instead */
  const json = (name, fits, instead) => {
    const text = parameters.get(name);
    if (text === null) return undefined;
    try {
      const value = JSON.parse(text);
      if (fits(value)) return value;
    } catch {
      // Told below, as what can be read and means something else is.
    }
    problems.push(instead);
    return undefined;
  };
  const wanted = whole("nodes", 5, "5 are taken");
  const nodes = Math.min(NODES_MAX, Math.max(1, wanted));
  if (nodes !== wanted) problems.push(`it asks for ${wanted} nodes (${nodes} are taken: the page draws 1 to ${NODES_MAX})`);
  const seed = whole("seed", Math.floor(Math.random() * 1_000_000), "one is chosen");
  const actions = json("do", Array.isArray, "what was done in it cannot be read, perhaps because the address was cut off (the run begins without it)") ?? [];
  const isObject = (/** @type {unknown} */ value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const config = json("config", isObject, "what is unusual about its world cannot be read (the world is as usual)") ?? {};
  const at = whole("at", 0, "the run opens at its beginning");
  return { script: { config: { ...config, nodes, seed }, actions }, moment: at > 0 ? at : undefined, problems };
}

/**
 * What is unusual about the world of the present run, as it was begun.
 * @type {NonNullable<Script["config"]>}
 */
let unusual = {};

/** @param {Script} begun The run as it was begun, with what is unusual in its configuration. */
export function rememberWorld(begun) {
  const { nodes, seed, ...rest } = begun.config ?? {};
  unusual = rest;
}

/** What is unusual about the world of the present run. */
export function unusualWorld() {
  return unusual;
}

/** @param {Script} script */
export function writeAddress(script) {
  const parameters = new URLSearchParams({ nodes: String(script.config?.nodes), seed: String(script.config?.seed) });
  if (Object.keys(unusual).length) parameters.set("config", JSON.stringify(unusual));
  if (script.actions?.length) parameters.set("do", JSON.stringify(script.actions));
  history.replaceState(null, "", `#${parameters}`);
}

// The address: it holds the run and the moment, so that the same address shows the same picture.

/** @import { Script } from "./types.js" */

/** The largest cluster that the page draws. */
export const NODES_MAX = 9;
const NODES = 5;
/** A text of the address is quoted up to this length. */
const QUOTE_MAX = 40;
/** The parts of an address. */
const PARTS = ["nodes", "seed", "config", "do", "at"];

/**
 * Reads an address. Missing parts get defaults. Invalid parts get defaults, and a sentence in
 * `problems`. `config` is JSON of the settings that are not defaults.
 * @param {string} [hash]
 * @returns {{ script: Script, moment: number | undefined, problems: string[] }}
 */
export function readAddress(hash = location.hash) {
  const parameters = new URLSearchParams(hash.slice(1));
  /** @type {string[]} */
  const problems = [];
  /** @param {string} text */
  const quoted = (text) => (text.length > QUOTE_MAX ? `${text.slice(0, QUOTE_MAX)}…` : text);
  /**
   * @template T
   * @param {string} name
   * @param {T} otherwise
   * @param {(text: string) => string} problem
   * @returns {number | T}
   */
  const whole = (name, otherwise, problem) => {
    const text = parameters.get(name);
    if (text === null) return otherwise;
    if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
    problems.push(problem(quoted(text)));
    return otherwise;
  };
  /** @param {string} name @param {(value: any) => boolean} fits @param {string} problem */
  const json = (name, fits, problem) => {
    const text = parameters.get(name);
    if (text === null) return undefined;
    try {
      const value = JSON.parse(text);
      if (fits(value)) return value;
    } catch {
      // The sentence below says so.
    }
    problems.push(problem);
    return undefined;
  };
  for (const name of new Set(parameters.keys())) {
    if (!PARTS.includes(name)) problems.push(`Ignoring an unknown part of the link: ${quoted(name)}.`);
    else if (parameters.getAll(name).length > 1) problems.push(`The link has ${name} twice: ${quoted(parameters.getAll(name).join(", "))}; the first is used.`);
  }
  const isObject = (/** @type {unknown} */ value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const wanted = whole("nodes", NODES, (text) => `The link asks for ${text || "no"} nodes; ${NODES} are used.`);
  const nodes = Math.min(NODES_MAX, Math.max(1, wanted));
  if (nodes !== wanted) problems.push(`The link asks for ${wanted} nodes; ${nodes === 1 ? "1 is" : `${nodes} are`} used.`);
  const chosen = Math.floor(Math.random() * 1_000_000);
  const seed = whole("seed", chosen, (text) => `The seed of the link is invalid: ${text || "empty"}; seed ${chosen} is used.`);
  const areActions = (/** @type {unknown} */ value) => Array.isArray(value) && value.every(isObject);
  const actions = json("do", areActions, "The actions of the link are invalid, perhaps because the link was cut off; the run starts without them.") ?? [];
  const config = json("config", isObject, "The settings of the link are invalid; defaults are used.") ?? {};
  for (const [name, used] of /** @type {[string, number][]} */ ([["nodes", nodes], ["seed", seed]])) {
    if (name in config && config[name] !== used) problems.push(`Ignoring ${name} in the settings of the link: ${quoted(JSON.stringify(config[name]))}; ${name}=${used} is used.`);
  }
  const moment = whole("at", undefined, (text) => `The moment of the link is invalid: ${text || "empty"}; the run opens at its beginning.`);
  return { script: { config: { ...config, nodes, seed }, actions }, moment, problems };
}

/**
 * The settings of the present run that are not defaults, as it was begun.
 * @type {NonNullable<Script["config"]>}
 */
let unusual = {};

/** @param {Script} begun The run as it was begun, with the settings that are not defaults. */
export function rememberConfig(begun) {
  const { nodes, seed, ...rest } = begun.config ?? {};
  unusual = rest;
}

/** The settings of the present run that are not defaults. */
export function nonDefaultConfig() {
  return unusual;
}

/**
 * The address of the present run. It differs from `location.hash` while another address is opened.
 */
let present = "";

/** @returns {string} The address of the present run. */
export function presentAddress() {
  return present;
}

/**
 * @param {Script} script The script of the present run.
 * @param {number} [moment] Where the run is to be opened; without it, the run plays from its
 *   beginning.
 */
export function formatAddress(script, moment) {
  const parameters = new URLSearchParams({ nodes: String(script.config?.nodes), seed: String(script.config?.seed) });
  if (Object.keys(unusual).length) parameters.set("config", JSON.stringify(unusual));
  if (script.actions?.length) parameters.set("do", JSON.stringify(script.actions));
  if (moment !== undefined) parameters.set("at", String(moment));
  return `#${parameters}`;
}

/**
 * The same address, with another moment.
 * @param {string} address
 * @param {number} moment
 */
export function atMoment(address, moment) {
  const parameters = new URLSearchParams(address.slice(1));
  parameters.set("at", String(moment));
  return `#${parameters}`;
}

/**
 * Shows an address as that of the present run.
 * @param {string} address
 * @param {string} [left] The address of the run that is left. Back returns there.
 */
export function writeAddress(address, left) {
  if (left) {
    history.replaceState(null, "", left);
    history.pushState(null, "", address);
  } else if (address !== location.hash) {
    history.replaceState(null, "", address);
  }
  present = address;
}

// The present run: it begins from an address or a form, and each change is kept in the address.

import { byId } from "../dom.js";
import { nonDefaultConfig, rememberConfig } from "../model/url-state.js";
import { Trap } from "../sources/simulated.js";

/** @import { Script } from "../model/types.js" */
/** @import { Simulated } from "../sources/simulated.js" */

/** More impossible actions of a link than this are counted instead of being named. */
const IMPOSSIBLE_NAMED_MAX = 3;

/**
 * How a run is requested. `push` keeps the run before in the history of the browser.
 * @typedef {{ script: Script, moment?: number, push: boolean, plays?: boolean }} RunRequest
 */

/**
 * @param {Simulated} source
 * @param {object} page
 * @param {<T>(command: () => Promise<T>) => Promise<T>} page.after Queues a command to the engine.
 * @param {(run: boolean) => void} page.setPlaying
 * @param {() => string} page.clock
 * @param {(text: string) => void} page.toast
 * @param {() => void} page.opened A requested run has begun, or was refused.
 */
export function createRunsControl(source, { after, setPlaying, clock, toast, opened }) {
  /** @type {RunRequest} */
  let wanted = { script: {}, push: false };
  /** A run begins after the runs that were requested before. @type {Promise<unknown>} */
  let beginning = Promise.resolve();
  let begins = 0;
  let opening = false;

  /** @param {RunRequest} request */
  async function beginNow(request) {
    /** @type {string[]} */
    const problems = [];
    for (wanted = request; ;) {
      try {
        await after(() => source.begin(wanted.script));
        break;
      } catch (problem) {
        if (problem instanceof Trap) return problems;
        const reason = problem instanceof Error ? problem.message : String(problem);
        const { config = {}, actions } = wanted.script;
        const { nodes, seed, ...settings } = config;
        if (reason.startsWith("action ") && actions?.length) {
          problems.push(`Ignoring the actions of the link: ${reason}.`);
          wanted = { ...wanted, script: { config, actions: [] } };
        } else if (Object.keys(settings).length) {
          problems.push(`These settings are impossible (${reason}). Defaults are used.`);
          wanted = { ...wanted, script: { config: { nodes, seed }, actions } };
        } else {
          return [...problems, `The run cannot start: ${reason}.`];
        }
      }
    }
    const { moment } = wanted;
    problems.push(...impossibleTexts(await source.impossibleActions()));
    setPlaying(wanted.plays ?? (moment === undefined && !matchMedia("(prefers-reduced-motion: reduce)").matches));
    if (moment && !(await after(() => source.seek(moment)))) problems.push(`Stopped at ${clock()}.`);
    return problems;
  }

  /**
   * Begins a run. What is impossible about it is left out. Returns a sentence for each problem. If
   * no run can begin, the run before stays.
   * @param {RunRequest} request
   * @returns {Promise<string[]>}
   */
  function begin(request) {
    // A long way through time of the run before would delay this one.
    source.cancel();
    const begun = beginning.then(async () => {
      opening = true;
      try {
        return await beginNow(request);
      } finally {
        opening = false;
        opened();
      }
    });
    beginning = begun.catch(() => {});
    return begun;
  }

  return {
    /** The request of the present run. */
    wanted: () => wanted,
    /** True while a run begins, and goes to the moment that was requested. */
    isOpening: () => opening,
    /**
     * Begins a run, and shows its problems.
     * @param {RunRequest} request
     * @param {string[]} [known] Problems that are known already.
     */
    async begin(request, known = []) {
      const number = (begins += 1);
      try {
        const problems = [...known, ...(await begin(request))];
        // Another run replaced this one: its problems are of no interest.
        if (problems.length && number === begins) toast(problems.join(" "));
      } catch (problem) {
        toast(problem instanceof Error ? problem.message : String(problem));
      }
    },
    /** Shows the settings of a run in the controls. @param {Script} script */
    showSettings(script) {
      rememberConfig(wanted.script);
      const { nodes, seed } = script.config ?? {};
      byId("seed", HTMLInputElement).value = String(seed);
      byId("nodes", HTMLSelectElement).value = String(nodes);
      byId("cluster-name", HTMLElement).textContent = `${nodes === 1 ? "1 node" : `${nodes} nodes`}, seed ${seed}`;
    },
    /**
     * The module has failed: the run starts again without its actions.
     * @param {Script} script
     * @param {string} problem
     */
    onWasmTrap(script, problem) {
      setPlaying(false);
      const actions = script.actions?.length ?? 0;
      const text = `The simulation failed with seed ${script.config?.seed} after ${actions === 1 ? "1 action" : `${actions} actions`}: ${problem}.`;
      // A run without actions that fails would fail again.
      if (!actions) return toast(`${text} Start another run.`);
      begin({ script: { config: { ...nonDefaultConfig(), nodes: script.config?.nodes, seed: script.config?.seed }, actions: [] }, push: true });
      toast(`${text} The run starts again without actions; the failed run is under Runs.`);
    },
  };
}

/** @param {{ position: number, problem: string }[]} impossible */
function impossibleTexts(impossible) {
  const named = impossible.slice(0, IMPOSSIBLE_NAMED_MAX).map(({ position, problem }) => `Action ${position + 1} of the link is impossible: ${problem}; it is ignored.`);
  const more = impossible.length - named.length;
  if (more > 0) named.push(more === 1 ? "1 more action is impossible and ignored." : `${more} more actions are impossible and ignored.`);
  return named;
}

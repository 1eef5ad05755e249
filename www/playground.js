// The playground: a simulated cluster that can be broken.

import { atMoment, formatAddress, presentAddress, readAddress, rememberConfig, nonDefaultConfig, writeAddress } from "./model/url-state.js";
import { byId, setText } from "./dom.js";
import { createInspector } from "./views/inspector.js";
import { createShortcuts } from "./controls/shortcuts.js";
import { changeOf } from "./model/membership.js";
import { createRuns, isPartOf } from "./controls/runs.js";
import { createInvariantsPanel } from "./views/invariants-panel.js";
import { Simulated, Trap } from "./sources/simulated.js";
import { createPlayback } from "./controls/playback.js";
import { createProgress } from "./views/progress.js";
import { createSettingsDialog, clampToNodes } from "./controls/settings-dialog.js";

/** @import { Action, ClientRequest, Script, Selection, View, Violation } from "./model/types.js" */
/** @import { Shell } from "./main.js" */

/** Details are asked for at most this often while time runs, in milliseconds. */
const DETAIL_MS = 120;
/** The answers to clients are judged again after this much time of the run, in microseconds. */
const JUDGED_EVERY = 2_000_000;
/**
 * And this long after time has come to stand, in milliseconds. The address gets the moment then,
 * too.
 */
const STILL_MS = 250;
/** More impossible actions of a link than this are counted instead of being named. */
const IMPOSSIBLE_NAMED_MAX = 3;
/** Judging takes at most this part of the worker's time while time runs. */
const JUDGING_SHARE = 0.1;

const kilobytes = (/** @type {number} */ bytes) => Math.ceil(bytes / 1000);

/** @param {Shell} shell */
export async function startPlayground(shell) {
  const source = new Simulated({
    began, changed, view: show, story: (part) => shell.story.tell(part), trapped: onWasmTrap, failed: shell.loading.fail,
    progress: (progress) => work.show(progress),
    loading: (received, total) => shell.loading.progress(`Loading the simulator: ${kilobytes(received)} of ${kilobytes(total)} kB`, received / total),
  });
  const work = createProgress(() => source.cancel());
  const transport = createPlayback(source, { showError, changed: timeChanged, ended: explainEnd });
  const runs = createRuns(open);
  const safety = createInvariantsPanel(byId("safety", HTMLElement), select);
  const inspector = createInspector(byId("inspector", HTMLElement), {
    act, node: (id) => source.node(id), message: (id) => source.message(id), request: (id) => source.asking(id), rule: safety.describe,
  });
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;
  let detailed = 0;
  /** So that the details are those of the last picture, too, after which time may stand still. */
  let detailTimer = 0;
  let asked = 0;
  /** What is judged, and when the next judgement may begin, by the clock of the page. */
  const judged = { at: -1, run: 0, busy: false, restUntil: 0, timer: 0, accepted: false };
  let addressTimer = 0;
  /**
   * How the run that is about to begin was requested.
   * @type {{ script: Script, moment?: number, push: boolean }}
   */
  let wanted = { script: {}, push: false };
  /** A run begins after those that were requested before. @type {Promise<unknown>} */
  let beginning = Promise.resolve();
  let begins = 0;
  /**
   * A run begins, and goes to the moment that was requested. The address holds that moment
   * meanwhile.
   */
  let opening = false;

  /** @param {View} next */
  function show(next) {
    const changed = view?.violated !== next.violated;
    // Time can run: the offer to go on has no object any more.
    if (!next.ended) shell.withdrawOffer();
    view = next;
    shell.draw(next, selection);
    transport.show(next);
    if (changed) source.violation().then(showViolation, showError);
    considerJudging(next);
    considerAddress(next);
    const time = performance.now();
    if (time - detailed > DETAIL_MS || !transport.isPlaying()) detail();
    else detailTimer ||= window.setTimeout(detail, DETAIL_MS);
  }

  /** @param {Violation | undefined} violation */
  function showViolation(violation) {
    safety.show(violation);
    if (violation) select({ kind: "rule", rule: violation.invariant });
  }

  /** @param {View} next */
  function considerJudging({ now }) {
    clearTimeout(judged.timer);
    if (now === judged.at) return;
    if (!transport.isPlaying()) judged.timer = window.setTimeout(judge, STILL_MS);
    else if (Math.abs(now - judged.at) >= JUDGED_EVERY && performance.now() >= judged.restUntil) judge();
  }

  /** The address holds the moment while time stands. @param {View} view */
  function considerAddress({ now }) {
    clearTimeout(addressTimer);
    if (transport.isPlaying() || opening) return;
    addressTimer = window.setTimeout(() => writeAddress(formatAddress(source.script, now)), STILL_MS);
  }

  function timeChanged() {
    if (!view) return;
    considerJudging(view);
    considerAddress(view);
    if (transport.isPlaying()) writeAddress(formatAddress(source.script));
  }

  /** A run begins, and has replaced the run before. @param {Script} script */
  function began(script) {
    const left = presentAddress() && view ? atMoment(presentAddress(), view.now) : "";
    if (left) runs.keep(left);
    const { moment, push } = wanted;
    rememberConfig(wanted.script);
    writeAddress(formatAddress(script, moment), push ? left : "");
    byId("seed", HTMLInputElement).value = String(script.config?.seed);
    byId("nodes", HTMLSelectElement).value = String(script.config?.nodes);
    selection = null;
    // The first frame of the run is new in every respect, also for the lights.
    view = null;
    asked = script.actions?.some((action) => action.do === "request") ? 1 : 0;
    Object.assign(judged, { run: judged.run + 1, at: -1, accepted: false });
    safety.forget();
    transport.begin();
    shell.story.forget();
    setText(byId("answer", HTMLOutputElement), "");
  }

  /** @param {Script} script @param {Script} before */
  function changed(script, before) {
    // Nothing was undone.
    if (isPartOf(script, before) && isPartOf(before, script)) return;
    const left = view ? atMoment(presentAddress(), view.now) : presentAddress();
    const [had, has] = [before.actions?.length ?? 0, script.actions?.length ?? 0];
    const isUndone = isPartOf(script, before);
    const isBranch = !isPartOf(before, script) && !isUndone;
    if (isBranch || isUndone) runs.keep(left);
    writeAddress(formatAddress(script, transport.isPlaying() ? undefined : view?.now), isBranch ? left : "");
    // Apart from the action that was done or undone.
    const lost = isUndone ? had - has - 1 : had - has + 1;
    if (lost > 0) shell.toast(`A new run starts here. The run before, with ${lost === 1 ? "1 later action" : `${lost} later actions`}, is under Runs.`);
  }

  function explainEnd() {
    source.violation().then((violation) => {
      if (!violation) return;
      const { name } = safety.describe(violation.invariant);
      select({ kind: "rule", rule: violation.invariant });
      shell.toast(`${name} is violated at ${(violation.at / 1e6).toFixed(3)} s, so time has stopped. Go back, undo an action, or go on: later violations do not stop time then.`, {
        label: "Go on",
        act: async () => {
          await act({ do: "go-on" });
          transport.setPlaying(true);
        },
      });
    }, showError);
  }

  async function judge() {
    if (judged.busy) return;
    judged.busy = true;
    const { run } = judged;
    const began = performance.now();
    try {
      const verdict = await source.judge();
      if (run !== judged.run) return;
      judged.at = verdict.at;
      safety.judge(verdict);
      if (verdict.finding === "broken" && !judged.accepted) {
        // Time stops once for this: the person who starts it again has seen the violation.
        judged.accepted = true;
        transport.setPlaying(false);
        select({ kind: "rule", rule: verdict.violation.invariant });
      } else if (selection?.kind === "rule") {
        detail();
      }
    } catch {
      // The run was left for another one meanwhile.
    } finally {
      judged.busy = false;
      judged.restUntil = performance.now() + (performance.now() - began) / JUDGING_SHARE;
      // Time may have come to stand while the judge was busy.
      if (view && !transport.isPlaying()) considerJudging(view);
    }
  }

  async function detail() {
    clearTimeout(detailTimer);
    detailTimer = 0;
    detailed = performance.now();
    if (!view) return;
    const current = view;
    inspector.draw(current, selection);
    try {
      const { columns, rows } = await source.logs();
      shell.logs.draw(current.nodes.map((node, index) => ({ node, ...(rows[index] ?? { entries: [] }) })), columns);
      await showAnswer();
    } catch {
      // The run was left for another one while the answer was on its way.
    }
  }

  async function showAnswer() {
    if (!asked) return;
    const latest = (await source.askings(1))[0];
    if (!latest) return setText(byId("answer", HTMLOutputElement), "");
    const { state, request } = latest;
    const key = request.key;
    const done = request.op === "get" ? ` = ${"found" in state ? state.found : "nothing"}` : ": done";
    const text = state.state === "waiting" ? `${request.op} ${key}: waiting, asked n${latest.node}`
      : state.state === "unknown" ? `${request.op} ${key}: timed out, unknown outcome` : `${request.op} ${key}${done}`;
    setText(byId("answer", HTMLOutputElement), text);
  }

  /** @param {unknown} problem */
  function showError(problem) {
    shell.toast(problem instanceof Error ? problem.message : String(problem));
  }

  /** @param {Script} script @param {string} problem */
  function onWasmTrap(script, problem) {
    transport.setPlaying(false);
    const actions = script.actions?.length ?? 0;
    const text = `The simulation failed with seed ${script.config?.seed} after ${actions === 1 ? "1 action" : `${actions} actions`}: ${problem}.`;
    // A run without actions that fails would fail again.
    if (!actions) return shell.toast(`${text} Start another run.`);
    begin({ script: { config: { ...nonDefaultConfig(), nodes: script.config?.nodes, seed: script.config?.seed }, actions: [] }, push: true });
    shell.toast(`${text} The run starts again without actions; the failed run is under Runs.`);
  }

  /**
   * Begins a run. What is impossible about it is left out. Returns a sentence for each problem; if
   * no run can begin, the run before stays.
   * @param {typeof wanted} request
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
        if (view) considerAddress(view);
      }
    });
    beginning = begun.catch(() => {});
    return begun;
  }

  /** @param {typeof wanted} request @returns {Promise<string[]>} */
  async function beginNow(request) {
    /** @type {string[]} */
    const problems = [];
    for (wanted = request; ;) {
      try {
        await transport.after(() => source.begin(wanted.script));
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
    const impossible = await source.impossibleActions();
    for (const { position, problem } of impossible.slice(0, IMPOSSIBLE_NAMED_MAX)) {
      problems.push(`Action ${position + 1} of the link is impossible: ${problem}; it is ignored.`);
    }
    const unnamed = impossible.length - IMPOSSIBLE_NAMED_MAX;
    if (unnamed > 0) problems.push(unnamed === 1 ? "1 more action is impossible and ignored." : `${unnamed} more actions are impossible and ignored.`);
    const plays = moment === undefined && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    transport.setPlaying(plays);
    if (moment && !(await transport.after(() => source.seek(moment)))) problems.push(`Stopped at ${clock()}.`);
    return problems;
  }

  /** @param {typeof wanted} request @param {string[]} [known] Problems that are known already. */
  async function beginAndTell(request, known = []) {
    const number = (begins += 1);
    try {
      const problems = [...known, ...(await begin(request))];
      // The problems of a run that was left for another one are of no interest.
      if (problems.length && number === begins) shell.toast(problems.join(" "));
    } catch (problem) {
      showError(problem);
    }
  }

  /** @param {Action} action */
  async function act(action) {
    const asksLeader = action.do === "change-membership" || action.do === "transfer";
    if (asksLeader && !view?.nodes.some((node) => node.process === "running" && node.role === "leader")) {
      return shell.toast("There is no leader; only a leader changes the membership or transfers leadership.");
    }
    try {
      await transport.after(() => source.act(action));
      detail();
    } catch (problem) {
      showError(problem);
    }
  }

  /** @param {Selection | null} next */
  function select(next) {
    selection = next;
    if (view) shell.draw(view, selection);
    if (next) shell.openTab("inspector");
    // Time stops, because a message arrives within milliseconds.
    if (next?.kind === "message") transport.setPlaying(false);
    detail();
  }
  shell.onSelect(select);

  /** @param {(node: View["nodes"][number]) => Action | null} choose */
  function onNode(choose) {
    if (selection?.kind !== "node") return shell.toast("Select a node first: press its number.");
    const node = view?.nodes[selection.id - 1];
    const action = node && choose(node);
    if (action) act(action);
  }

  /** @param {View["nodes"][number]} node @param {"voter" | "learner" | "none"} part */
  function membership(node, part) {
    const { voter, learner, joining } = node.memberRole;
    const has = part === "voter" ? voter || joining : part === "learner" ? learner && !joining : !voter && !learner;
    return has || !view ? null : changeOf(view.nodes, node.id, part);
  }

  const clock = () => `${((view?.now ?? 0) / 1e6).toFixed(3)} s`;

  /** All that was asked of the simulation until now is done, and on the screen. */
  async function settled() {
    await transport.settled();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    await transport.settled();
  }

  function beginFromAddress() {
    const { script, moment, problems } = readAddress();
    return beginAndTell({ script, moment, push: false }, problems);
  }

  /** @param {string} address */
  function open(address) {
    const { script, moment, problems } = readAddress(address);
    beginAndTell({ script, moment, push: true }, problems);
  }

  /** @param {NonNullable<Script["config"]>} config */
  function beginNew(config) {
    const seed = Number(byId("seed", HTMLInputElement).value);
    beginAndTell({ script: { config: { ...config, seed }, actions: [] }, push: true });
  }

  function request() {
    const [op, key, value] = [byId("op", HTMLSelectElement).value, byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    asked += 1;
    const wanted = op === "put" ? { op, key, value } : { op, key };
    act({ do: "request", request: /** @type {ClientRequest} */ (wanted) });
  }

  addEventListener("hashchange", beginFromAddress);
  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  byId("setup", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const nodes = Number(byId("nodes", HTMLSelectElement).value);
    beginNew({ ...clampToNodes(nonDefaultConfig(), nodes), nodes });
  });
  byId("seed", HTMLInputElement).addEventListener("input", ({ currentTarget }) => {
    const seed = /** @type {HTMLInputElement} */ (currentTarget);
    seed.setCustomValidity(!/^[0-9]+$/.test(seed.value) || Number.isSafeInteger(Number(seed.value)) ? "" : `The largest seed is ${Number.MAX_SAFE_INTEGER}.`);
  });
  createSettingsDialog(beginNew);
  byId("nodes", HTMLSelectElement).addEventListener("change", () => byId("setup", HTMLFormElement).requestSubmit());
  byId("share", HTMLButtonElement).addEventListener("click", async () => {
    const moment = view?.now ?? 0;
    const link = new URL(formatAddress(source.script, moment), location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      shell.toast(`The link to this run at ${(moment / 1e6).toFixed(3)} s is copied.`);
    } catch {
      // The clipboard is not allowed: the address bar gets the moment instead.
      transport.setPlaying(false);
      writeAddress(formatAddress(source.script, moment));
      shell.toast(`The address bar holds this run at ${(moment / 1e6).toFixed(3)} s; copy it from there.`);
    }
  });
  createShortcuts({
    " ": transport.toggle, ArrowRight: transport.step, ArrowLeft: transport.back, u: transport.undo,
    "+": () => transport.changeSpeed(1), "-": () => transport.changeSpeed(-1), "?": shell.help, Escape: () => {
      if (work.isShown()) return source.cancel();
      shell.dismiss();
      select(null);
    },
    c: () => onNode((node) => (node.process === "down" ? null : { do: "crash", node: node.id })),
    r: () => onNode((node) => (node.process === "down" ? { do: "restart", node: node.id } : null)),
    p: () => onNode((node) => (node.process === "down" ? null : { do: node.process === "paused" ? "resume" : "pause", node: node.id })),
    i: () => onNode((node) => ({ do: node.isolated ? "reconnect" : "isolate", node: node.id })),
    t: () => onNode((node) => (node.process === "running" ? { do: "fire-timer", node: node.id } : null)),
    o: () => onNode((node) => ({ do: "transfer", to: node.id })),
    v: () => onNode((node) => membership(node, "voter")),
    a: () => onNode((node) => membership(node, "learner")),
    d: () => onNode((node) => membership(node, "none")),
    h: () => act({ do: "heal-network" }),
    w: request,
    x: () => {
      if (selection?.kind !== "link" || !view) return shell.toast("Select a link first.");
      const { a, b } = selection;
      inspector.cutBoth(a, b, view.cuts.has(`${a}-${b}`) && view.cuts.has(`${b}-${a}`));
    },
    l: () => {
      const leader = view?.nodes.find((node) => node.process === "running" && node.role === "leader");
      if (leader) select({ kind: "node", id: leader.id });
    },
  }, (digit) => {
    if (view?.nodes[digit - 1]) select({ kind: "node", id: digit });
  });
  // For tests and for curious people; `settled` waits until all that was asked of the simulation is
  // on the screen.
  Object.assign(window, {
    raft: {
      settled,
      traceHash: () => source.traceHash(), seek: (/** @type {number} */ time) => transport.after(() => source.seek(time)), script: () => source.script,
      act, undo: () => transport.undo(),
    },
  });
  safety.build(await source.rules());
  shell.loading.ready();
  await beginFromAddress();
}

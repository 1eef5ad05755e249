// The playground: a simulated cluster that can be broken.

import { readAddress, rememberWorld, unusualWorld, writeAddress } from "./address.js";
import { byId, say } from "./dom.js";
import { createInspector } from "./inspector.js";
import { createKeys } from "./keys.js";
import { changeOf } from "./membership.js";
import { createSafety } from "./safety.js";
import { Simulated } from "./source/simulated.js";
import { createTransport } from "./transport.js";
import { createWork } from "./work.js";
import { createWorld, fitting } from "./world.js";

/** @import { Action, ClientRequest, Script, Selection, View, Violation } from "./types.js" */
/** @import { Stage } from "./main.js" */

/** How many entries of each log are shown. */
const LOG_MAX = 24;
/** Details are asked for at most this often while time runs, in milliseconds. */
const DETAIL_MS = 120;
/** The answers to clients are judged again after this much time of the run, in microseconds. */
const JUDGED_EVERY = 2_000_000;
/** And this long after time has come to stand, in milliseconds. */
const STILL_MS = 250;
/** Judging takes at most this part of the worker's time while time runs. */
const JUDGING_SHARE = 0.1;

const kilobytes = (/** @type {number} */ bytes) => Math.ceil(bytes / 1000);

/** @param {Stage} stage */
export async function startPlayground(stage) {
  const source = new Simulated({
    view: show, story: (part) => stage.story.tell(part), trapped, failed: stage.loading.fail,
    progress: (progress) => work.show(progress),
    loading: (received, total) => stage.loading.progress(`Loading the simulator: ${kilobytes(received)} of ${kilobytes(total)} kB`, received / total),
  });
  const work = createWork(() => source.cancel());
  const transport = createTransport(source, complain);
  const safety = createSafety(byId("safety", HTMLElement), select);
  const inspector = createInspector(byId("inspector", HTMLElement), {
    act, node: (id) => source.node(id), message: (id) => source.message(id), rule: safety.describe,
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
  const judged = { at: -1, run: 0, busy: false, restUntil: 0, timer: 0 };

  /** @param {View} next */
  function show(next) {
    const changed = view?.violated !== next.violated;
    view = next;
    stage.draw(next, selection);
    transport.show(next);
    if (changed) source.violation().then(showViolation, complain);
    considerJudging(next);
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
      if (verdict.finding === "broken") {
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
      const logs = await source.logs(current.nodes.length, LOG_MAX);
      stage.logs.draw(current.nodes.map((node, index) => ({ node, entries: logs[index] ?? [] })));
      await showAnswer();
    } catch {
      // The run was left for another one while the answer was on its way.
    }
  }

  async function showAnswer() {
    if (!asked) return;
    const latest = (await source.askings(1))[0];
    if (!latest) return say(byId("answer", HTMLOutputElement), "");
    const { state, request } = latest;
    const key = request.key;
    const done = request.op === "get" ? ` = ${"found" in state ? state.found : "nothing"}` : ": done";
    const text = state.state === "waiting" ? `${request.op} ${key}: waiting, asked n${latest.node}`
      : state.state === "unknown" ? `${request.op} ${key}: no answer; it may have been done` : `${request.op} ${key}${done}`;
    say(byId("answer", HTMLOutputElement), text);
  }

  /** @param {unknown} problem */
  function complain(problem) {
    stage.toast(problem instanceof Error ? problem.message : String(problem));
  }

  /** @param {Script} script @param {string} problem */
  function trapped(script, problem) {
    transport.setPlaying(false);
    const actions = script.actions?.length ?? 0;
    stage.toast(`The simulation failed (${problem}) with seed ${script.config?.seed} after ${actions} actions; the address holds this run. It starts anew.`);
    begin({ config: script.config, actions: [] });
  }

  /** @param {Script} script @param {number} [moment] Where to open it, in microseconds; the beginning by default. */
  async function begin(script, moment) {
    selection = null;
    view = null;
    rememberWorld(script);
    asked = script.actions?.some((action) => action.do === "request") ? 1 : 0;
    judged.run += 1;
    judged.at = -1;
    safety.forget();
    transport.begin();
    stage.story.forget();
    say(byId("answer", HTMLOutputElement), "");
    try {
      await source.begin(script);
    } catch (problem) {
      const reason = problem instanceof Error ? problem.message : problem;
      if (script.actions?.length) {
        complain(new Error(`The actions in the address make no sense (${reason}); the run begins without them.`));
        return begin({ config: script.config, actions: [] });
      }
      const { nodes, seed, ...rest } = script.config ?? {};
      if (!Object.keys(rest).length) return complain(problem);
      complain(new Error(`Such a world makes no sense (${reason}); it is as usual instead.`));
      return begin({ config: { nodes, seed }, actions: [] });
    }
    byId("seed", HTMLInputElement).value = String(script.config?.seed);
    byId("nodes", HTMLSelectElement).value = String(script.config?.nodes);
    writeAddress(source.script);
    if (moment) {
      transport.setPlaying(false);
      const { run } = judged;
      return void source.seek(moment).then((whole) => arrived(whole || run !== judged.run), complain);
    }
    transport.setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  /** @param {boolean} whole False if the way through time was cancelled. */
  function arrived(whole) {
    if (!whole && view) stage.toast(`Stopped at ${(view.now / 1e6).toFixed(3)} s.`);
  }

  /** @param {Action} action */
  async function act(action) {
    const asksLeader = action.do === "change-membership" || action.do === "transfer";
    if (asksLeader && !view?.nodes.some((node) => node.process === "running" && node.role === "leader")) {
      return stage.toast("Nobody leads: an operator can ask only a leader.");
    }
    try {
      await source.act(action);
      document.dispatchEvent(new CustomEvent("script-changed"));
      detail();
    } catch (problem) {
      complain(problem);
    }
  }

  /** @param {Selection | null} next */
  function select(next) {
    selection = next;
    if (view) stage.draw(view, selection);
    if (next) stage.openTab("inspector");
    // A message is gone in no time: it stays while somebody looks at it.
    if (next?.kind === "message") transport.setPlaying(false);
    detail();
  }
  stage.onSelect(select);

  /** @param {(node: View["nodes"][number]) => Action | null} choose */
  function onNode(choose) {
    if (selection?.kind !== "node") return stage.toast("Select a node first: press its number.");
    const node = view?.nodes[selection.id - 1];
    const action = node && choose(node);
    if (action) act(action);
  }

  /** @param {View["nodes"][number]} node @param {"voter" | "learner" | "none"} part */
  function membership(node, part) {
    const { voter, learner, joining } = node.standing;
    const has = part === "voter" ? voter || joining : part === "learner" ? learner && !joining : !voter && !learner;
    return has || !view ? null : changeOf(view.nodes, node.id, part);
  }

  /** All that was asked of the simulation until now is done, and on the screen. */
  async function settled() {
    await transport.settled();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    await transport.settled();
  }

  function beginFromAddress() {
    const { script, moment, problems } = readAddress();
    if (problems.length) stage.toast(`The address is damaged: ${problems.join("; ")}.`);
    return begin(script, moment);
  }

  function request() {
    const [op, key, value] = [byId("op", HTMLSelectElement).value, byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    asked += 1;
    const wanted = op === "put" ? { op, key, value } : { op, key };
    act({ do: "request", request: /** @type {ClientRequest} */ (wanted) });
  }

  document.addEventListener("script-changed", () => writeAddress(source.script));
  addEventListener("hashchange", beginFromAddress);
  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  byId("setup", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const [nodes, seed] = [Number(byId("nodes", HTMLSelectElement).value), Number(byId("seed", HTMLInputElement).value)];
    begin({ config: { ...fitting(unusualWorld(), nodes), nodes, seed }, actions: [] });
  });
  createWorld((config) => begin({ config: { ...config, seed: Number(byId("seed", HTMLInputElement).value) }, actions: [] }));
  byId("nodes", HTMLSelectElement).addEventListener("change", () => byId("setup", HTMLFormElement).requestSubmit());
  byId("share", HTMLButtonElement).addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      stage.toast("The address of this run is copied.");
    } catch {
      stage.toast("The address bar holds this run: copy it from there.");
    }
  });
  createKeys({
    " ": transport.toggle, ArrowRight: transport.step, ArrowLeft: transport.back, u: transport.undo,
    "+": () => transport.changeSpeed(1), "-": () => transport.changeSpeed(-1), "?": stage.help, Escape: () => (work.isShown() ? source.cancel() : select(null)),
    c: () => onNode((node) => (node.process === "down" ? null : { do: "crash", node: node.id })),
    r: () => onNode((node) => (node.process === "down" ? { do: "restart", node: node.id } : null)),
    p: () => onNode((node) => (node.process === "down" ? null : { do: node.process === "paused" ? "resume" : "pause", node: node.id })),
    i: () => onNode((node) => ({ do: node.isolated ? "reconnect" : "isolate", node: node.id })),
    t: () => onNode((node) => (node.process === "running" ? { do: "timeout", node: node.id } : null)),
    o: () => onNode((node) => ({ do: "transfer", to: node.id })),
    v: () => onNode((node) => membership(node, "voter")),
    a: () => onNode((node) => membership(node, "learner")),
    d: () => onNode((node) => membership(node, "none")),
    h: () => act({ do: "heal-network" }),
    w: request,
    x: () => {
      if (selection?.kind !== "link" || !view) return stage.toast("Select a link first.");
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
  // For tests and for curious people; `settled` waits until all that was asked of the simulation is on the screen.
  Object.assign(window, { raft: { settled, traceHash: () => source.traceHash(), seek: (/** @type {number} */ time) => source.seek(time) } });
  safety.build(await source.rules());
  stage.loading.ready();
  await beginFromAddress();
}

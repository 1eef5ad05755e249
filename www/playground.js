// The playground: a simulated cluster that can be broken.

import { readAddress, readMoment, rememberWorld, writeAddress } from "./address.js";
import { byId, say } from "./dom.js";
import { createInspector } from "./inspector.js";
import { createKeys } from "./keys.js";
import { createSafety } from "./safety.js";
import { Simulated } from "./source/simulated.js";
import { createTransport } from "./transport.js";

/** @import { Action, ClientRequest, Script, Selection, View } from "./types.js" */
/** @import { Stage } from "./main.js" */

/** How many entries of each log are shown. */
const LOG_MAX = 24;
/** Details are asked for at most this often while time runs, in milliseconds. */
const DETAIL_MS = 120;

/** @param {Stage} stage */
export async function startPlayground(stage) {
  const source = new Simulated({ view: show, story: (part) => stage.story.tell(part), trapped });
  const transport = createTransport(source, complain);
  const safety = createSafety(byId("safety", HTMLElement));
  const inspector = createInspector(byId("inspector", HTMLElement), { act, node: (id) => source.node(id), message: (id) => source.message(id) });
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;
  let detailed = 0;
  let asked = 0;

  /** @param {View} next */
  function show(next) {
    const changed = view?.violated !== next.violated;
    view = next;
    stage.draw(next, selection);
    transport.show(next);
    if (changed) source.violation().then((violation) => safety.show(violation), complain);
    const time = performance.now();
    if (time - detailed > DETAIL_MS || !transport.isPlaying()) detail();
  }

  async function detail() {
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
    const done = request.op === "get" ? `= ${"found" in state ? state.found : "nothing"}` : ": done";
    const text = state.state === "waiting" ? `${request.op} ${key}: waiting, asked n${latest.node}`
      : state.state === "unknown" ? `${request.op} ${key}: no answer; it may have been done` : `${request.op} ${key} ${done}`;
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
    rememberWorld(script);
    asked = script.actions?.some((action) => action.do === "request") ? 1 : 0;
    transport.begin();
    stage.story.forget();
    say(byId("answer", HTMLOutputElement), "");
    try {
      await source.begin(script);
    } catch (problem) {
      if (!script.actions?.length) return complain(problem);
      complain(new Error(`The actions in the address make no sense (${problem instanceof Error ? problem.message : problem}); the run begins without them.`));
      return begin({ config: script.config, actions: [] });
    }
    byId("seed", HTMLInputElement).value = String(script.config?.seed);
    byId("nodes", HTMLSelectElement).value = String(script.config?.nodes);
    writeAddress(source.script);
    if (moment) {
      transport.setPlaying(false);
      return void source.seek(moment).catch(complain);
    }
    transport.setPlaying(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  /** @param {Action} action */
  async function act(action) {
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

  function request() {
    const [op, key, value] = [byId("op", HTMLSelectElement).value, byId("key", HTMLInputElement).value, byId("value", HTMLInputElement).value];
    asked += 1;
    const wanted = op === "put" ? { op, key, value } : { op, key };
    act({ do: "request", request: /** @type {ClientRequest} */ (wanted) });
  }

  document.addEventListener("script-changed", () => writeAddress(source.script));
  addEventListener("hashchange", () => begin(readAddress(), readMoment()));
  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    request();
  });
  byId("setup", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const config = { nodes: Number(byId("nodes", HTMLSelectElement).value), seed: Number(byId("seed", HTMLInputElement).value) };
    begin({ config, actions: [] });
  });
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
    "+": () => transport.changeSpeed(1), "-": () => transport.changeSpeed(-1), "?": stage.help, Escape: () => select(null),
    c: () => onNode((node) => (node.process === "down" ? null : { do: "crash", node: node.id })),
    r: () => onNode((node) => (node.process === "down" ? { do: "restart", node: node.id } : null)),
    p: () => onNode((node) => (node.process === "down" ? null : { do: node.process === "paused" ? "resume" : "pause", node: node.id })),
    i: () => onNode((node) => ({ do: node.isolated ? "reconnect" : "isolate", node: node.id })),
    t: () => onNode((node) => (node.process === "running" ? { do: "timeout", node: node.id } : null)),
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
  Object.assign(window, { raft: { traceHash: () => source.traceHash(), seek: (/** @type {number} */ time) => source.seek(time) } });
  await begin(readAddress(), readMoment());
}

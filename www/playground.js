// The playground: a simulated cluster that can be broken.

import { createClientPanel } from "./controls/client-panel.js";
import { createJudge } from "./controls/judge.js";
import { createPartitionDialog } from "./controls/partition-dialog.js";
import { createPlayback } from "./controls/playback.js";
import { createRuns, isPartOf } from "./controls/runs.js";
import { createRunsControl } from "./controls/runs-control.js";
import { clampToNodes, createSettingsDialog } from "./controls/settings-dialog.js";
import { nodeShortcuts } from "./controls/node-shortcuts.js";
import { createShortcuts } from "./controls/shortcuts.js";
import { byId } from "./dom.js";
import { clusterChoices } from "./model/cluster-actions.js";
import { allChoices, devicesOf } from "./model/node-actions.js";
import { atMoment, formatAddress, nonDefaultConfig, presentAddress, readAddress, writeAddress } from "./model/url-state.js";
import { Simulated } from "./sources/simulated.js";
import { createEventLog } from "./views/event-log.js";
import { GUIDE_SCRIPT, createGuide } from "./views/guide.js";
import { createInspector } from "./views/inspector.js";
import { createInvariantsPanel } from "./views/invariants-panel.js";
import { createLogTable } from "./views/log-table.js";
import { createMenu } from "./views/menu.js";
import { arrivedMenu, cutBoth, entryMenu, linkMenu, messageMenu, requestMenu } from "./views/menu-content.js";
import { createOverview } from "./views/overview.js";
import { createProgress } from "./views/progress.js";
import { createTimeDiagram, flagsOf } from "./views/time-diagram.js";
import { createBranches } from "./views/branches.js";
import { createRunTo } from "./controls/run-to.js";
import { withRecords } from "./model/event-groups.js";

/** @import { Action, LogEntry, Script, Selection, View, Violation } from "./model/types.js" */
/** @import { Shell } from "./main.js" */

/** Details are requested at most this often while time runs, in milliseconds. */
const DETAIL_MS = 120;
/** The address holds the moment this long after time has stopped, in milliseconds. */
const STILL_MS = 250;
/** The first visit is remembered under this name. */
const VISITED = "visited";

/** @param {Shell} shell */
export async function startPlayground(shell) {
  const source = new Simulated({
    began, changed, view: show, story: (part) => eventLog.add(part), trapped: (script, problem) => runsControl.onWasmTrap(script, problem), restarted: attachCanvas, failed: shell.loading.fail,
    progress: (progress) => work.show(progress),
    loading: (received, total) => shell.loading.progress(`Loading the simulator: ${Math.ceil(received / 1000)} of ${Math.ceil(total / 1000)} kB`, received / total),
  });
  const work = createProgress(() => source.cancel());
  const overview = createOverview(byId("overview", HTMLCanvasElement));
  const playback = createPlayback(source, { showError, changed: timeChanged, ended: explainEnd, placed, searched });
  const clock = () => shell.time(view?.now ?? 0);
  const runsControl = createRunsControl(source, {
    after: playback.after, setPlaying: playback.setPlaying, clock, toast: shell.toast, opened: () => view && considerAddress(view),
  });
  const runs = createRuns(open);
  const safety = createInvariantsPanel(byId("safety", HTMLElement), (selection) => select(selection));
  const judge = createJudge(source, playback.isPlaying, judged);
  const eventLog = createEventLog(byId("events-list", HTMLElement), {
    time: (at) => (at / 1e6).toFixed(3), empty: "Nothing has happened yet. Let time run.", open: openRecord, changed: showFlags, group: groupRecords,
  });
  const logTable = createLogTable(byId("logs-frame", HTMLElement), byId("log-detail", HTMLElement), (node, index, at) => select({ kind: "entry", node, index }, at));
  const diagram = createTimeDiagram(byId("diagram", HTMLElement), byId("lanes", HTMLCanvasElement), {
    time: shell.time, seek: playback.scrub,
    back: {
      canvas: byId("painted", HTMLCanvasElement), paint: (window) => source.paint(window), hit: (window, x, y) => source.hit(window, x, y), point: pointAt, choose: chooseAt,
    },
  });
  const branches = createBranches({
    show: (id, at) => playback.after(() => source.showBranch(id, at)).catch(showError),
    rename: (id, name) => source.renameBranch(id, name).then(loadBranches, showError),
    remove: (id) => source.deleteBranch(id).then(loadBranches, showError),
    compare: (one, other) => source.compareBranches(one, other),
  });
  const partition = createPartitionDialog((groups) => act([{ do: "partition", groups }]));
  const runTo = createRunTo(playback.runTo);
  const menu = createMenu(byId("menu", HTMLElement), (actions) => act(actions), () => {
    if (selection && !["node", "rule", "event"].includes(selection.kind)) select(null);
  });
  const inspector = createInspector(byId("inspector", HTMLElement), {
    actions: { act: (actions) => act(actions), node: (id) => source.node(id), rule: safety.describe, causality: (record) => source.causality(record.step ?? 0, record.at), go: playback.scrub, more: (id, at) => openNodeMenu(id, at) },
    close: () => select(null),
  });
  const client = createClientPanel(source, (action) => act([action]));
  shell.nameRequests(client.textOf);
  const guide = createGuide({ setPlaying: playback.setPlaying, act: (action) => act([action]), ended: () => playback.setPlaying(true), breakIt: () => byId("cluster-menu", HTMLButtonElement).click() });
  /** @type {View | null} */
  let view = null;
  /** @type {Selection | null} */
  let selection = null;
  /** The element at which the menu of the selection stands. @type {Element | null} */
  let anchor = null;
  let detailed = 0;
  /** The details of the last picture are shown, too, after which time may stand still. */
  let detailTimer = 0;
  let addressTimer = 0;
  /** True after a person has gone on after a broken verdict. */
  let accepted = false;
  /** The messages that a pointer is at. @type {number[]} */
  let lit = [];
  /** The entries of the logs as they were shown last. @type {Map<number, LogEntry[]>} */
  let logs = new Map();

  /** @param {View} next */
  function show(next) {
    const changed = view?.violated !== next.violated;
    // Time can run: the offer to go on has no object any more.
    if (!next.ended) shell.withdrawOffer();
    view = next;
    shell.draw(next, selection);
    playback.show(next);
    diagram.show(next, selection?.kind === "message" ? [selection.id] : lit);
    runTo.show(next);
    guide.show(next);
    client.see(next);
    const now = document.querySelector("#events-now b");
    if (now) now.textContent = (next.now / 1e6).toFixed(3);
    if (changed) source.violation().then(showViolation, showError);
    judge.consider(next);
    considerAddress(next);
    const time = performance.now();
    if (time - detailed > DETAIL_MS || !playback.isPlaying()) detail();
    else detailTimer ||= window.setTimeout(detail, DETAIL_MS);
  }

  /** Gives a new canvas to a new worker: a canvas can be given away once. */
  function attachCanvas() {
    const old = byId("painted", HTMLCanvasElement);
    const canvas = /** @type {HTMLCanvasElement} */ (old.cloneNode());
    old.replaceWith(canvas);
    diagram.setCanvas(canvas);
    source.attach(canvas);
  }

  /** @param {number} part @param {number} end */
  function placed(part, end) {
    overview.place(part, end);
    branches.place(part * end, end);
  }

  async function loadBranches() {
    const all = await source.branches();
    // All branches share one axis.
    const end = Math.max(0, ...all.map(({ reached }) => reached));
    playback.setEnd(end);
    diagram.setEnd(end);
    branches.show(all);
  }

  /** @param {"reached" | "bound" | "ended" | "cancelled"} result */
  function searched(result) {
    if (result === "bound") shell.toast(`Not within 10 minutes of the run: stopped at ${clock()}.`);
    else if (result === "ended") explainEnd();
    else if (result === "cancelled") shell.toast(`Stopped at ${clock()}.`);
  }

  /** @param {import("./model/types.js").StoryRecord[]} records */
  async function groupRecords(records) {
    const [first, last] = [records[0], records.at(-1)];
    return first && last ? withRecords(await source.groups(first.id, last.id + 1), records) : [];
  }

  /**
   * Goes to the moment of a record, and shows what led to it.
   * @param {import("./model/types.js").StoryRecord} record
   */
  function openRecord(record) {
    playback.scrub(record.at);
    select({ kind: "event", record });
  }

  /**
   * Lights a message in the ring and in the diagram.
   * @param {import("./model/types.js").DiagramHit} hit
   */
  function pointAt({ message }) {
    lit = message ? [message] : [];
    shell.light(lit);
    diagram.light(lit);
  }

  /** @param {import("./model/types.js").DiagramHit} hit */
  function chooseAt({ message, record, at }) {
    if (message) {
      playback.scrub(Math.round(at));
      select({ kind: "message", id: message }, byId("diagram", HTMLElement));
    } else if (record !== undefined) {
      playback.scrub(Math.round(at));
      eventLog.reveal(record);
    }
  }

  /** @param {import("./model/types.js").StoryRecord[]} records */
  function showFlags(records) {
    const flags = flagsOf(records);
    diagram.showFlags(flags);
    overview.showFlags(flags);
  }

  /** @param {Violation | undefined} violation */
  function showViolation(violation) {
    safety.show(violation);
    if (violation) select({ kind: "rule", rule: violation.invariant });
  }

  /** The address holds the moment while time stands. @param {View} view */
  function considerAddress({ now }) {
    clearTimeout(addressTimer);
    if (playback.isPlaying() || runsControl.isOpening() || guide.isOpen()) return;
    addressTimer = window.setTimeout(() => writeAddress(formatAddress(source.script, now)), STILL_MS);
  }

  function timeChanged() {
    if (!view) return;
    judge.consider(view);
    considerAddress(view);
    if (playback.isPlaying() && !guide.isOpen()) writeAddress(formatAddress(source.script));
  }

  /** A run begins, and has replaced the run before. @param {Script} script */
  function began(script) {
    const left = presentAddress() && view ? atMoment(presentAddress(), view.now) : "";
    if (left) runs.keep(left);
    const { moment, push } = runsControl.wanted();
    runsControl.showSettings(script);
    if (!guide.isOpen()) writeAddress(formatAddress(script, moment), push ? left : "");
    select(null);
    // The first frame of the run is new in every respect, also for the lights.
    view = null;
    accepted = false;
    judge.forget();
    safety.forget();
    playback.begin();
    eventLog.forget();
    diagram.clear();
    client.forget(script);
    loadBranches().catch(showError);
  }

  /** @param {Script} script @param {Script} before */
  function changed(script, before) {
    // Nothing was undone.
    if (isPartOf(script, before) && isPartOf(before, script)) return;
    loadBranches().catch(showError);
    const left = view ? atMoment(presentAddress(), view.now) : presentAddress();
    const [had, has] = [before.actions?.length ?? 0, script.actions?.length ?? 0];
    const isUndone = isPartOf(script, before);
    const isBranch = !isPartOf(before, script) && !isUndone;
    if (isBranch || isUndone) runs.keep(left);
    if (!guide.isOpen()) writeAddress(formatAddress(script, playback.isPlaying() ? undefined : view?.now), isBranch ? left : "");
    // Apart from the action that was done or undone.
    const lost = isUndone ? had - has - 1 : had - has + 1;
    if (lost > 0) shell.toast(`The run forks here. The branch before, with ${lost === 1 ? "1 later action" : `${lost} later actions`}, is kept.`);
  }

  function explainEnd() {
    source.violation().then((violation) => {
      if (!violation) return;
      const { name } = safety.describe(violation.invariant);
      select({ kind: "rule", rule: violation.invariant });
      shell.toast(`${name} is violated at ${(violation.at / 1e6).toFixed(3)} s, so time has stopped. Go back, undo an action, or go on: later violations do not stop time then.`, {
        label: "Go on",
        act: async () => {
          await act([{ do: "go-on" }]);
          playback.setPlaying(true);
        },
      });
    }, showError);
  }

  /** @param {import("./model/types.js").Verdict} verdict */
  function judged(verdict) {
    safety.judge(verdict);
    if (verdict.finding === "broken" && !accepted) {
      // Time stops once for this: the person who starts it again has seen the violation.
      accepted = true;
      playback.setPlaying(false);
      select({ kind: "rule", rule: verdict.violation.invariant });
    } else if (selection?.kind === "rule") {
      detail();
    }
  }

  async function detail() {
    clearTimeout(detailTimer);
    detailTimer = 0;
    detailed = performance.now();
    if (!view) return;
    const current = view;
    inspector.draw(current, selection);
    if (menu.isOpen() && anchor) openMenu(anchor, false);
    try {
      const leader = current.nodes.filter((node) => node.role === "leader" && node.process === "running").sort((a, b) => b.term - a.term)[0];
      const [{ columns, rows }, detail] = await Promise.all([source.logs(), leader ? source.node(leader.id) : undefined]);
      logs = new Map(rows.map((row, index) => [index + 1, row.entries]));
      shell.showStrips(logs);
      logTable.draw(current.nodes.map((node, index) => ({ node, ...(rows[index] ?? { entries: [] }) })), columns, { leader, followers: detail?.followers ?? [] });
      await client.show();
    } catch {
      // Another run replaced the run of this request.
    }
  }

  /** @param {unknown} problem */
  function showError(problem) {
    shell.toast(problem instanceof Error ? problem.message : String(problem));
  }

  /** Performs actions at the present moment, one after the other. @param {Action[]} actions */
  async function act(actions) {
    const asksLeader = actions.some((action) => action.do === "change-membership" || action.do === "transfer");
    if (asksLeader && !view?.nodes.some((node) => node.process === "running" && node.role === "leader")) {
      return shell.toast("There is no leader; only a leader changes the membership or transfers leadership.");
    }
    try {
      for (const action of actions) await playback.after(() => source.act(action));
      detail();
    } catch (problem) {
      showError(problem);
    }
  }

  /** @param {Selection | null} next @param {Element} [at] */
  function select(next, at) {
    if (next?.kind === "client") return byId("client-panel", HTMLElement).showPopover();
    selection = next;
    const inspects = next?.kind === "node" || next?.kind === "rule" || next?.kind === "event";
    anchor = next && !inspects ? (at ?? shell.element(next) ?? null) : null;
    if (!anchor) menu.close();
    shell.inspect(inspects);
    if (view) shell.draw(view, selection);
    if (inspects) shell.openTab("inspector");
    else if (!next && document.body.dataset.tab === "inspector") shell.openTab("");
    // Time stops, because a message arrives within milliseconds.
    if (next?.kind === "message") playback.setPlaying(false);
    if (anchor) openMenu(anchor, true);
    detail();
  }

  /** Shows the menu of the selection. @param {Element} at @param {boolean} focus */
  async function openMenu(at, focus) {
    const [chosen, now] = [selection, view];
    if (!chosen || !now) return;
    const content = await menuContent(chosen, now).catch(() => null);
    if (content && selection === chosen && anchor === at) menu.open(content, at, focus);
  }

  /** @param {Selection} chosen @param {View} now */
  async function menuContent(chosen, now) {
    if (chosen.kind === "link") return linkMenu(now, chosen.a, chosen.b);
    if (chosen.kind === "message") {
      const detail = await source.message(chosen.id);
      return detail ? messageMenu(detail, now) : arrivedMenu();
    }
    if (chosen.kind === "request") {
      const request = await source.asking(chosen.id);
      return request ? requestMenu(request) : null;
    }
    if (chosen.kind === "node") {
      const node = now.nodes[chosen.id - 1];
      return node ? { title: node.name, groups: allChoices(node, now, devicesOf(source.script, node.id, now.now)) } : null;
    }
    if (chosen.kind === "cluster") return { title: "Actions on the whole cluster", groups: clusterChoices(now, source.script), more: { label: "Partition by hand…", open: () => partition.open(now) } };
    if (chosen.kind !== "entry") return null;
    const [node, entry] = [now.nodes[chosen.node - 1], logs.get(chosen.node)?.find(({ index }) => index === chosen.index)];
    return node && entry ? entryMenu(node, entry) : null;
  }

  /** Opens the menu with all actions of a node. @param {number} id @param {Element} at */
  async function openNodeMenu(id, at) {
    select({ kind: "node", id });
    const content = view && (await menuContent({ kind: "node", id }, view));
    if (content) menu.open(content, at);
  }

  // A click beside all signs selects nothing.
  byId("ring", SVGElement).addEventListener("click", ({ target, currentTarget }) => {
    if (target === currentTarget) select(null);
  });
  shell.onSelect((next, at) => select(next, at));
  shell.onMenu((next, at) => (next.kind === "node" ? openNodeMenu(next.id, at) : select(next, at)));

  /** Waits until all that was requested of the simulation is done, and on the screen. */
  async function settled() {
    await playback.settled();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    await playback.settled();
  }

  function beginFromAddress() {
    const { script, moment, problems } = readAddress();
    return runsControl.begin({ script, moment, push: false }, problems);
  }

  /** @param {string} address */
  function open(address) {
    const { script, moment, problems } = readAddress(address);
    runsControl.begin({ script, moment, push: true }, problems);
  }

  /** @param {NonNullable<Script["config"]>} config */
  function beginNew(config) {
    const seed = Number(byId("seed", HTMLInputElement).value);
    byId("cluster", HTMLElement).hidePopover();
    runsControl.begin({ script: { config: { ...config, seed }, actions: [] }, push: true });
  }

  async function startGuide() {
    byId("cluster", HTMLElement).hidePopover();
    guide.start();
    await runsControl.begin({ script: GUIDE_SCRIPT, push: false, plays: true });
  }

  addEventListener("hashchange", beginFromAddress);
  byId("setup", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    const nodes = Number(byId("nodes", HTMLSelectElement).value);
    beginNew({ ...clampToNodes(nonDefaultConfig(), nodes), nodes });
  });
  byId("seed", HTMLInputElement).addEventListener("input", ({ currentTarget }) => {
    const seed = /** @type {HTMLInputElement} */ (currentTarget);
    seed.setCustomValidity(!/^[0-9]+$/.test(seed.value) || Number.isSafeInteger(Number(seed.value)) ? "" : `The largest seed is ${Number.MAX_SAFE_INTEGER}.`);
  });
  const clusterMenu = byId("cluster-menu", HTMLButtonElement);
  clusterMenu.addEventListener("click", () => (menu.isAt(clusterMenu) ? menu.close() : select({ kind: "cluster" }, clusterMenu)));
  createSettingsDialog(beginNew);
  byId("nodes", HTMLSelectElement).addEventListener("change", () => byId("setup", HTMLFormElement).requestSubmit());
  byId("guide-open", HTMLButtonElement).addEventListener("click", startGuide);
  byId("share", HTMLButtonElement).addEventListener("click", async () => {
    const moment = view?.now ?? 0;
    const link = new URL(formatAddress(source.script, moment), location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      shell.toast(`The link to this run at ${shell.time(moment)} is copied.`);
    } catch {
      // The clipboard is not allowed: the address bar gets the moment instead.
      playback.setPlaying(false);
      writeAddress(formatAddress(source.script, moment));
      shell.toast(`The address bar holds this run at ${shell.time(moment)}; copy it from there.`);
    }
  });
  createShortcuts({
    " ": playback.toggle, ArrowRight: playback.step, ArrowLeft: playback.back, u: playback.undo, U: playback.redo,
    "+": () => playback.changeSpeed(1), "-": () => playback.changeSpeed(-1), "?": shell.help,
    Escape: () => {
      if (work.isShown()) return source.cancel();
      if (guide.isOpen()) return guide.end();
      shell.dismiss();
      document.documentElement.removeAttribute("data-lights");
      if (menu.isOpen()) return menu.close();
      shell.openTab("");
      select(null);
    },
    ...nodeShortcuts({ view: () => view, selection: () => selection, act, toast: shell.toast }),
    m: () => {
      const element = selection && shell.element(selection);
      if (selection?.kind === "node" && element) openNodeMenu(selection.id, element);
    },
    h: () => act([{ do: "heal-network" }]),
    w: client.send,
    x: () => {
      if (selection?.kind !== "link" || !view) return shell.toast("Select a link first.");
      act(cutBoth(view, selection.a, selection.b));
    },
    l: () => {
      const leader = view?.nodes.find((node) => node.process === "running" && node.role === "leader");
      if (leader) select({ kind: "node", id: leader.id });
    },
  }, (digit) => {
    if (view?.nodes[digit - 1]) select({ kind: "node", id: digit });
  });
  // For tests and for experiments in the console. `settled` waits until all that was requested of
  // the simulation is on the screen.
  Object.assign(window, {
    raft: {
      settled,
      traceHash: () => source.traceHash(), seek: (/** @type {number} */ time) => playback.after(() => source.seek(time)), script: () => source.script,
      act: (/** @type {Action} */ action) => act([action]), undo: () => playback.undo(),
    },
  });
  attachCanvas();
  safety.build(await source.rules());
  shell.loading.ready();
  if (isFirstVisit()) await startGuide();
  else await beginFromAddress();
}

/** True once for each browser, if the address names no run. */
function isFirstVisit() {
  if (location.hash || document.documentElement.hasAttribute("data-embed")) return false;
  try {
    const first = localStorage.getItem(VISITED) === null;
    localStorage.setItem(VISITED, "1");
    return first;
  } catch {
    // The browser stores nothing: each visit would be the first.
    return false;
  }
}

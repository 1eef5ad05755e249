// The first minute: a guided run, one sentence at a time.

import { byId, h } from "../dom.js";

/** @import { Action, NodeView, Script, View } from "../model/types.js" */

/** The run of the guide. Without pre-votes an election is one question and one answer. */
export const GUIDE_SCRIPT = /** @type {Script} */ ({ config: { nodes: 5, seed: 1, clients: 1, pre_vote: false }, actions: [] });

/** The present stands still when a timer has so little time left, in microseconds. */
const NEARLY_OVER = 25_000;
/** Heartbeats are watched for so long, in microseconds. */
const HEARTBEATS = 170_000;
/** Speeds, as powers of ten of real time. */
const [SLOW, QUICK] = ["-1", "-0.5"];

/**
 * What the steps remember of the run.
 * @typedef {object} Memory
 * @property {number} began The moment at which the step began.
 * @property {string} leader The name of the first leader.
 * @property {number} leaderId
 * @property {number} entry The index of the entry that is watched.
 *
 * @typedef {object} Step
 * @property {(view: View, memory: Memory) => string} title
 * @property {(view: View, memory: Memory) => string} text
 * @property {(view: View, memory: Memory) => boolean} until Time runs until this is true.
 * @property {(memory: Memory) => { label: string, action: Action }} [act] What Next does in this
 *   step.
 * @property {string} [speed]
 */

const leaderOf = (/** @type {View} */ view) => view.nodes.find((node) => node.role === "leader" && node.process === "running");
const candidateOf = (/** @type {View} */ view) => view.nodes.find((node) => node.role === "candidate");
/** The running node whose timer fires first. @param {View} view @returns {NodeView | undefined} */
const nextOf = (view) => view.nodes.filter((node) => node.timer).sort((a, b) => (a.timer?.fires ?? 0) - (b.timer?.fires ?? 0))[0];

const STEPS = /** @type {Step[]} */ ([
  {
    title: () => "Five servers. No leader yet. Watch.",
    text: () => "Each server keeps a copy of one list. Each waits a random time for a leader; the arc shows how much of that time is left.",
    until: (view) => (nextOf(view)?.timer?.fires ?? 0) - view.now < NEARLY_OVER || Boolean(candidateOf(view)),
  },
  {
    title: (view) => `${(candidateOf(view) ?? nextOf(view))?.name ?? "One"}'s time is up first.`,
    text: () => "It starts term 1, votes for itself, and asks the others for their votes. A diamond is such a request.",
    until: (view) => view.messages.some((message) => message.kind === 3) || Boolean(leaderOf(view)),
  },
  {
    title: (view) => (leaderOf(view) ? `${leaderOf(view)?.name} leads.` : "Votes travel."),
    text: () => "Three of five votes are a majority. The other votes are still in flight, but they are no longer needed.",
    until: (view) => Boolean(leaderOf(view)),
  },
  {
    title: () => "“I am still here.”",
    text: (_, { leader }) => `Every 50 ms ${leader} sends a heartbeat to each server. Each heartbeat refills an arc, so no other server starts an election.`,
    until: (view, { began }) => view.now - began > HEARTBEATS,
  },
  {
    title: () => "A client writes.",
    text: (_, { leader }) => `${leader} puts the command at the end of its list and sends copies. A hatched cell is not committed yet.`,
    until: (view, memory) => {
      const leader = leaderOf(view);
      if (leader && leader.last > Math.max(1, leader.commit)) memory.entry ||= leader.last;
      return memory.entry > 0 && view.messages.some((message) => message.kind === 4);
    },
    speed: QUICK,
  },
  {
    title: () => "Three copies: committed.",
    text: () => "The command is on three of five disks. Any majority contains one of them, so it cannot be lost. The client hears “done”.",
    until: (view, { entry }) => (view.committed ?? 0) >= entry && view.clientMessages.some((message) => message.isAnswer),
  },
  {
    title: (_, { leader }) => `Now crash ${leader}.`,
    text: () => "What happens to the list when the leader is gone?",
    until: (view, { leaderId }) => view.nodes[leaderId - 1]?.process === "down",
    act: ({ leader, leaderId }) => ({ label: `Crash ${leader}`, action: { do: "crash", node: leaderId } }),
  },
  {
    title: (view) => (leaderOf(view) ? `${leaderOf(view)?.name} leads term ${leaderOf(view)?.term}.` : "Silence."),
    text: () => "No heartbeat comes. The first server whose time runs out starts a new term. It wins only if its list has every committed command.",
    until: (view) => Boolean(leaderOf(view)),
    speed: QUICK,
  },
  {
    title: (_, { leader }) => `${leader} comes back.`,
    text: () => "It follows the new leader and receives what it missed. Nothing that a client was told is lost. Now it is your turn.",
    until: (view, { leaderId }) => {
      const node = view.nodes[leaderId - 1];
      return node?.process === "running" && node.last > 0 && node.last >= (leaderOf(view)?.last ?? Infinity);
    },
    act: ({ leader, leaderId }) => ({ label: `Restart ${leader}`, action: { do: "restart", node: leaderId } }),
    speed: QUICK,
  },
]);

/**
 * @param {object} options
 * @param {(run: boolean) => void} options.setPlaying
 * @param {(action: Action) => Promise<void>} options.act
 * @param {() => void} options.ended The guide is over.
 * @param {() => void} options.breakIt Opens the actions on the whole cluster.
 */
export function createGuide({ setPlaying, act, ended, breakIt }) {
  const root = byId("guide", HTMLElement);
  const speed = byId("speed", HTMLSelectElement);
  let at = -1;
  let reached = false;
  /** @type {Memory} */
  let memory = { began: 0, leader: "", leaderId: 0, entry: 0 };
  /** @type {View | null} */
  let view = null;
  let shown = "";

  const step = () => STEPS[at];
  const isLast = () => at === STEPS.length - 1;

  function end() {
    if (at < 0) return;
    at = -1;
    root.hidden = true;
    document.documentElement.removeAttribute("data-guided");
    speed.value = SLOW;
    ended();
  }

  async function next() {
    const act_ = step()?.act;
    if (act_ && !reached && view && !isDone(view)) {
      await act(act_(memory).action);
      setPlaying(true);
      return;
    }
    if (isLast()) return end();
    at += 1;
    reached = false;
    memory.began = view?.now ?? 0;
    speed.value = step()?.speed ?? SLOW;
    if (!step()?.act) setPlaying(true);
    if (view) draw(view);
  }

  /** True if the action of the step was done. @param {View} view */
  function isDone(view) {
    const node = view.nodes[memory.leaderId - 1];
    return isLast() ? node?.process === "running" : node?.process === "down";
  }

  /** @param {View} view */
  function draw(view) {
    const now = step();
    if (!now) return;
    const waits = Boolean(now.act) && !reached && !isDone(view);
    const [title, text] = [now.title(view, memory), now.text(view, memory)];
    const label = waits ? (now.act?.(memory).label ?? "") : isLast() ? "Play" : "Next";
    const key = `${at} ${title} ${text} ${label}`;
    if (key === shown) return;
    shown = key;
    const focused = root.contains(document.activeElement);
    const main = h("button", { type: "button", class: "btn primary big", "data-guide": "next", click: next }, label, h("kbd", { "aria-hidden": "true" }, "Enter"));
    const leave = h("button", { type: "button", class: "btn big", click: end }, "Play freely", h("kbd", { "aria-hidden": "true" }, "Esc"));
    root.replaceChildren(
      h("div", { class: "guide-progress", "aria-hidden": "true" }, h("span", {}, `${at + 1} of ${STEPS.length}`), ...STEPS.map((_, index) => h("i", { class: index <= at ? "done" : "" }))),
      h("h2", {}, ...title.split(/(?<=[.?]) /).map((sentence) => h("span", {}, `${sentence} `))), h("p", { role: "status" }, text), h("div", { class: "guide-buttons" }, main, ...(isLast() ? [] : [leave])),
      ...(isLast() ? [doors()] : []),
    );
    if (focused || document.activeElement === document.body) main.focus();
  }

  /** The ways on from the guide. */
  function doors() {
    const door = (/** @type {string} */ title, /** @type {string} */ text, /** @type {() => void} */ open) =>
      h("button", { type: "button", click: () => { end(); open(); } }, h("b", {}, title), text);
    return h("div", { class: "doors" }, door("Play", "crash, cut, delay", () => {}), door("Break it", "part the network, cut the power", breakIt));
  }

  return {
    isOpen: () => at >= 0,
    next,
    end,
    start() {
      at = -1;
      memory = { began: 0, leader: "", leaderId: 0, entry: 0 };
      shown = "";
      root.hidden = false;
      document.documentElement.setAttribute("data-guided", "");
      document.body.dataset.tab = "";
      next();
    },
    /** @param {View} now */
    show(now) {
      view = now;
      const present = step();
      if (!present) return;
      const leader = leaderOf(now);
      if (leader && !memory.leader) Object.assign(memory, { leader: leader.name, leaderId: leader.id });
      if (!reached && present.until(now, memory)) {
        reached = true;
        setPlaying(false);
      }
      draw(now);
    },
  };
}

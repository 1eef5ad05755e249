// What is selected: its state, and what can be done to it.

import { h } from "../dom.js";
import { changeOf, changeText, memberRoleText } from "../model/membership.js";
import { termColour } from "./symbols.js";
import { clockTime, unreachableText } from "../model/time.js";

/** @import { Action, Asking, MessageDetail, NodeDetail } from "../model/types.js" */
/** @import { NodeView, Selection, View } from "../model/types.js" */

/**
 * @typedef {object} InspectorActions
 * @property {(action: Action) => void} act
 * @property {(id: number) => Promise<NodeDetail | undefined>} node
 * @property {(id: number) => Promise<MessageDetail | undefined>} message
 * @property {(id: number) => Promise<Asking | undefined>} request
 * @property {(rule: string) => { name: string, demand: string, state: "holds" | "broken" |
 *   "unknown", text: string }} rule
 */

/**
 * What a live cluster says of its nodes.
 * @typedef {object} Reports
 * @property {(id: number) => NodeDetail | undefined} detail
 * @property {(id: number) => [string, string][]} facts
 */

/**
 * A part of what is shown: it is rebuilt only when its key changes, so that a button stays under
 * the finger.
 */
/** @typedef {[key: string, content: () => (Node | string)[]]} Part */

/**
 * @param {HTMLElement} root
 * @param {InspectorActions | null} actions None where nothing can be done.
 * @param {Reports} [reports]
 */
export function createInspector(root, actions, reports) {
  /** @type {string[]} */
  let shown = [];
  let subject = "";
  let asking = false;

  // A key that is held down presses a button once.
  root.addEventListener("keydown", (event) => {
    if (event.repeat && event.target instanceof HTMLButtonElement) event.preventDefault();
  });

  /**
   * Replaces what would be another; the focus stays where it was.
   * @param {string} next What is shown, whatever its state.
   * @param {Part[]} parts
   */
  function show(next, parts) {
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && root.contains(active) ? active.dataset.action : undefined;
    if (next !== subject || parts.length !== shown.length) {
      subject = next;
      shown = [];
      root.replaceChildren(...parts.map(() => h("div")));
    }
    for (const [position, [key, content]] of parts.entries()) {
      if (shown[position] === key) continue;
      shown[position] = key;
      root.children[position]?.replaceChildren(...content());
    }
    if (focused && active && !root.contains(active)) {
      // If the button is gone, the focus goes to the panel: on another button, the next key
      // would start an action that was not intended.
      const again = root.querySelector(`[data-action="${focused}"]`) ?? root;
      if (again instanceof HTMLElement) again.focus();
    }
  }

  /**
   * The second click of a double click does nothing: by then the button may mean something else.
   * @param {() => void} act
   */
  const once = (act) => (/** @type {MouseEvent} */ event) => {
    if (event.detail <= 1) act();
  };

  /** @param {string} name @param {string} label @param {Action} action @param {string} [key] */
  function button(name, label, action, key) {
    const title = key ? `${label} (${key})` : label;
    return h("button", { type: "button", "data-action": name, title, click: once(() => actions?.act(action)) }, label);
  }

  /** @param {NodeView} node @param {View} view @returns {Part[]} */
  function nodeActions(node, view) {
    if (!actions) return [];
    const id = node.id;
    const leader = view.nodes.some((other) => other.process === "running" && other.role === "leader" && other.id !== id);
    const can = node.memberRole;
    const key = `actions ${node.process} ${node.isolated} ${leader} ${view.joint} ${JSON.stringify(view.nodes.map((other) => other.memberRole))}`;
    return [[key, () => {
      const things = [];
      if (node.process === "down") {
        things.push(button("crash", "Restart", { do: "restart", node: id }, "r"));
      } else {
        things.push(button("crash", "Crash", { do: "crash", node: id }, "c"));
        things.push(node.process === "paused"
          ? button("pause", "Resume", { do: "resume", node: id }, "p") : button("pause", "Pause", { do: "pause", node: id }, "p"));
        things.push(node.isolated
          ? button("isolate", "Reconnect", { do: "reconnect", node: id }, "i") : button("isolate", "Cut off", { do: "isolate", node: id }, "i"));
        if (node.process === "running") things.push(button("timeout", "Time out now", { do: "fire-timer", node: id }, "t"));
      }
      const operator = [];
      if (leader && can.voter && !can.witness) operator.push(button("transfer", `Transfer leadership to ${node.name}`, { do: "transfer", to: id }, "o"));
      if (!view.joint) {
        if (!can.voter && !can.joining) operator.push(button("voter", can.learner ? "Promote to voter" : "Add as voter", changeOf(view.nodes, id, "voter"), "v"));
        if (!can.learner && !can.witness) operator.push(button("learner", can.voter ? "Demote to learner" : "Add as learner", changeOf(view.nodes, id, "learner"), "a"));
        if (can.voter || can.learner) operator.push(button("remove", "Remove from cluster", changeOf(view.nodes, id, "none"), "d"));
      }
      const group = (/** @type {string} */ label, /** @type {Node[]} */ buttons) => h("div", { class: "actions", role: "group", "aria-label": label }, ...buttons);
      return [
        group(`Faults of ${node.name}`, things),
        ...(operator.length ? [h("h3", {}, "Membership and leadership"), group("Membership and leadership", operator)] : []),
        ...(view.joint ? [h("p", { class: "empty" }, `Now ${changeText(view.nodes)}. Another change has to wait.`)] : []),
      ];
    }]];
  }

  /**
   * @param {NodeView} node
   * @param {NodeDetail | undefined} detail
   * @param {View} view
   * @returns {Part[]}
   */
  function nodeParts(node, detail, view) {
    const name = (/** @type {number | undefined} */ id) => (id ? (view.nodes[id - 1]?.name ?? `n${id}`) : "–");
    const down = node.process === "down";
    const memberRole = memberRoleText(node.memberRole, view.joint);
    const state = down ? (detail?.reason ? `stopped: ${detail.reason}` : "crashed") : `${node.role}${node.process === "paused" ? ", paused" : ""}${node.isolated ? ", cut off" : ""}`;
    const unreachable = node.process === "unreachable";
    const what = [unreachable ? unreachableText(node) : state, memberRole].filter(Boolean).join("; ");
    const facts = down ? [] : [
      ["Term", String(node.term)], ["Voted for", node.voteName ?? name(node.vote)], ["Leader", node.leaderName ?? name(node.leader)], ["Log ends at", String(node.last)],
      ["On disk up to", String(node.durable)], ["Committed up to", String(node.commit)], ["Applied up to", String(node.applied)],
      ...(node.start ? [["In a snapshot up to", String(node.start)]] : []),
      ...(reports?.facts(node.id) ?? []),
    ];
    const reported = !unreachable ? "" : node.seen ? `${node.name} reported last, at ${clockTime(node.seen)}, as ${node.role}:` : `${node.name} has never answered this page.`;
    return [
      [`${what} ${node.term}`, () => [h("div", { class: "title", style: `--term: ${termColour(node.term)}` }, h("h2", {}, node.name), h("span", { class: "what" }, what))]],
      ...nodeActions(node, view),
      ...(reported ? [/** @type {Part} */ ([reported, () => [h("p", { class: "empty" }, reported)]])] : []),
      [JSON.stringify(facts), () => [h("dl", {}, ...facts.flatMap(([term, value]) => [h("dt", {}, term ?? ""), h("dd", {}, value ?? "")]))]],
      [JSON.stringify(detail?.membership ?? null), () => members(detail, name)],
      [JSON.stringify([node.last, detail?.followers ?? null]), () => followers(detail, node.last, name)],
      [JSON.stringify([detail?.process, detail?.keys]), () => keys(detail)],
    ];
  }

  /** @param {View} view @param {number} a @param {number} b */
  function linkContent(view, a, b) {
    const [one, two] = [view.nodes[a - 1]?.name ?? "", view.nodes[b - 1]?.name ?? ""];
    const toggle = (/** @type {number} */ from, /** @type {number} */ to) => {
      const cut = view.cuts.has(`${from}-${to}`);
      const [sender, receiver] = [view.nodes[from - 1]?.name, view.nodes[to - 1]?.name];
      const label = cut ? `Heal ${sender} → ${receiver}` : `Cut ${sender} → ${receiver}`;
      return button(`${from}-${to}`, label, { do: cut ? "heal-link" : "cut-link", from, to });
    };
    const both = view.cuts.has(`${a}-${b}`) && view.cuts.has(`${b}-${a}`);
    const bothButton = h("button", { type: "button", "data-action": "both", title: "Both directions (x)", click: once(() => cutBoth(a, b, both)) }, both ? "Heal both" : "Cut both");
    return [
      h("h2", {}, `${one} – ${two}`),
      h("p", { class: "empty" }, "Messages on a cut link are dropped."),
      ...(actions ? [h("div", { class: "actions" }, bothButton, toggle(a, b), toggle(b, a))] : []),
    ];
  }

  /** @param {number} a @param {number} b @param {boolean} both */
  function cutBoth(a, b, both) {
    for (const [from, to] of [[a, b], [b, a]]) {
      actions?.act({ do: both ? "heal-link" : "cut-link", from: from ?? 0, to: to ?? 0 });
    }
  }

  /** @param {MessageDetail} detail @param {boolean} lost */
  function messageContent(detail, lost) {
    const seconds = (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;
    const rows = detail.fields.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)));
    const way = Math.round((100 * ((detail.lost_at ?? 0) - detail.sent_at)) / Math.max(1, detail.arrives_at - detail.sent_at));
    const fate = lost ? `dropped at ${seconds(detail.lost_at ?? 0)}, after ${way} % of its way` : `takes ${((detail.arrives_at - detail.sent_at) / 1e3).toFixed(1)} ms, arrives at ${seconds(detail.arrives_at)}`;
    return [
      h("h2", {}, detail.kind), h("p", { class: "empty" }, `n${detail.from} → n${detail.to}, sent at ${seconds(detail.sent_at)}, ${fate}`),
      ...(detail.lost_at === undefined ? [h("div", { class: "actions" },
        button("drop", "Drop", { do: "drop-message", message: detail.id }),
        button("double", "Duplicate", { do: "duplicate-message", message: detail.id }))] : []),
      h("table", {}, ...rows),
    ];
  }

  return {
    cutBoth,
    /** @param {View} view @param {Selection | null} selection */
    async draw(view, selection) {
      if (!selection) {
        return show("nothing", [["", () => [h("h2", {}, "Inspector"), h("p", { class: "empty" }, actions
          ? "Select a node, a link or a message to see what it knows, and to break it. Try the leader: it wears the crown."
          : "Select a node to see what it says of itself.")]]]);
      }
      if (selection.kind === "link") {
        const { a, b } = selection;
        const state = `${view.cuts.has(`${a}-${b}`)} ${view.cuts.has(`${b}-${a}`)}`;
        return show(`link ${a} ${b}`, [[state, () => linkContent(view, a, b)]]);
      }
      if (selection.kind === "rule") {
        const rule = actions?.rule(selection.rule);
        if (!rule) return;
        return show(`rule ${selection.rule}`, [[`${rule.state} ${view.ended} ${rule.text}`, () => [
          h("h2", {}, rule.name), h("p", {}, rule.demand), h("p", { class: rule.state === "broken" ? "broken" : "empty" }, rule.text),
          ...(rule.state === "broken" && view.ended ? [h("div", { class: "actions" }, button("go-on", "Go on", { do: "go-on" }))] : [])]]]);
      }
      if (asking) return;
      asking = true;
      try {
        if (selection.kind === "message") {
          const detail = await actions?.message(selection.id);
          const lost = detail?.lost_at !== undefined && detail.lost_at <= view.now;
          if (detail) return show(`message ${detail.id}`, [[String(lost), () => messageContent(detail, lost)]]);
          return show("gone", [["", () => [h("h2", {}, "Message"), h("p", { class: "empty" }, "This message has arrived. Go back in time to see it in flight.")]]]);
        }
        if (selection.kind === "request") {
          const asking = await actions?.request(selection.id);
          if (!asking) return;
          return show(`request ${asking.id}`, [[JSON.stringify(asking), () => requestContent(asking)]]);
        }
        const node = view.nodes[selection.id - 1];
        if (!node) return;
        const detail = await (actions ? actions.node(node.id) : reports?.detail(node.id));
        show(`node ${node.id}`, nodeParts(node, detail, view));
      } catch {
        // The run was left for another one while the answer was on its way.
      } finally {
        asking = false;
      }
    },
  };
}

/** @param {Asking} asking */
function requestContent({ request, client, node, invoked, returned, attempts, state }) {
  const seconds = (/** @type {number} */ at) => `${(at / 1e6).toFixed(3)} s`;
  const value = request.op === "put" || request.op === "cas" ? ` = ${request.value}` : "";
  const result = state.state === "waiting" ? "waits for a response" : state.state === "unknown" ? "timed out, unknown outcome"
    : !("succeeded" in state) ? "" : request.op === "get" ? `found ${state.found ?? "nothing"}` : state.succeeded ? "done" : "not done: another value was found";
  const facts = [["Client", String(client)], ["Asks", `n${node}`], ["Sent at", seconds(invoked)], ["Answered at", returned === undefined ? "–" : seconds(returned)],
    ["Attempts", String(attempts)], ["Result", result]];
  return [
    h("h2", {}, `${request.op === "cas" ? "compare and set" : request.op} ${request.key}${value}`), h("p", { class: "empty" }, "Request of a client"),
    h("dl", {}, ...facts.flatMap(([term, fact]) => [h("dt", {}, term ?? ""), h("dd", {}, fact ?? "")])),
  ];
}

/** @param {NodeDetail | undefined} detail @param {(id: number | undefined) => string} name */
function members(detail, name) {
  const membership = detail?.membership;
  if (!membership) return [];
  const list = (/** @type {number[]} */ ids) => ids.map((id) => name(id) + (membership.witnesses.includes(id) ? " (witness)" : "")).join(", ");
  const rows = [
    ["Voters", membership.voters], ["Outgoing voters", membership.outgoing],
    ["Learners", membership.learners.filter((id) => !membership.joining.includes(id))], ["Promoted when caught up", membership.joining],
  ].filter(([, ids]) => ids?.length);
  const row = (/** @type {(string | number[])[]} */ [title, ids]) => h("tr", {}, h("th", { scope: "row" }, String(title)), h("td", {}, list(/** @type {number[]} */ (ids))));
  return [h("h3", {}, "Configuration it uses"), h("table", { "data-members": "" }, ...rows.map(row))];
}

/**
 * @param {NodeDetail | undefined} detail
 * @param {number} last The end of the leader's log.
 * @param {(id: number | undefined) => string} name
 */
function followers(detail, last, name) {
  if (!detail?.followers.length) return [];
  /** @param {NodeDetail["followers"][number]} follower */
  const state = ({ probing, in_flight, match_index }) => (probing ? "probing" : in_flight > 0 ? `${in_flight} in flight`
    : match_index < last ? `${last - match_index} behind` : "up to date");
  const row = (/** @type {NodeDetail["followers"][number]} */ follower) => h("tr", {},
    h("th", { scope: "row" }, follower.name ?? name(follower.id)), h("td", {}, String(follower.match_index)), h("td", {}, String(follower.next_index)),
    h("td", {}, state(follower)));
  const head = ["Follower", "matchIndex", "nextIndex", ""].map((title) => (title ? h("th", { scope: "col" }, title) : h("td")));
  return [h("h3", {}, "Followers: nextIndex, matchIndex"), h("table", {}, h("tr", {}, ...head), ...detail.followers.map(row))];
}

/** @param {NodeDetail | undefined} detail */
function keys(detail) {
  if (!detail?.keys || detail.process === "down") return [];
  const rows = detail.keys.map((kv) => h("tr", {}, h("th", { scope: "row" }, kv.key), h("td", {}, kv.value), h("td", {}, `revision ${kv.mod_revision}`)));
  return [h("h3", {}, "Keys and values"), rows.length ? h("table", { "data-keys": "" }, ...rows) : h("p", { class: "empty" }, "Nothing yet: send a request.")];
}

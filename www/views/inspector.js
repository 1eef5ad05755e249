// The inspector: the state of the selected node or invariant, and what can be done to it.

import { h, icon } from "../dom.js";
import { changeText, memberRoleText } from "../model/membership.js";
import { mainChoices, operatorChoices } from "../model/node-actions.js";
import { clockTime, unreachableText } from "../model/time.js";
import { causesContent } from "./causes.js";
import { termClass } from "./symbols.js";

/** @import { Choice } from "../model/node-actions.js" */
/** @import { Action, CauseLink, NodeDetail, NodeView } from "../model/types.js" */
/** @import { Selection, StoryRecord, View } from "../model/types.js" */

/**
 * @typedef {object} RuleState
 * @property {string} name
 * @property {string} demand
 * @property {"holds" | "broken" | "unknown"} state
 * @property {string} text
 *
 * @typedef {object} InspectorActions
 * @property {(actions: Action[]) => void} act
 * @property {(id: number) => Promise<NodeDetail | undefined>} node
 * @property {(rule: string) => RuleState} rule
 * @property {(id: number, at: Element) => void} more Opens the menu of a node.
 * @property {(record: StoryRecord) => Promise<{ causes: CauseLink[], consequences: CauseLink[] }>}
 *   causality
 * @property {(at: number) => void} go Goes to a moment.
 */

/**
 * What a live cluster reports of its nodes.
 * @typedef {object} Reports
 * @property {(id: number) => NodeDetail | undefined} detail
 * @property {(id: number) => [string, string][]} facts
 */

/**
 * A part of the panel. It is rebuilt only when its key changes, so that a button stays under the
 * finger.
 * @typedef {[key: string, content: () => (Node | string)[]]} Part
 */

/**
 * @param {HTMLElement} root
 * @param {object} options
 * @param {InspectorActions | null} options.actions None where nothing can be done.
 * @param {Reports} [options.reports]
 * @param {() => void} options.close
 */
export function createInspector(root, { actions, reports, close }) {
  /** @type {string[]} */
  let shown = [];
  let subject = "";
  let loading = false;

  // A key that is held down presses a button once.
  root.addEventListener("keydown", (event) => {
    if (event.repeat && event.target instanceof HTMLButtonElement) event.preventDefault();
  });

  /**
   * Replaces the parts that have changed. The focus stays where it was.
   * @param {string} next The subject of the parts, whatever its state.
   * @param {Part[]} parts
   */
  function show(next, parts) {
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && root.contains(active) ? active.dataset.action : undefined;
    root.hidden = false;
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
   * The second click of a double click does nothing: the button may have another meaning by then.
   * @param {Choice} choice
   */
  function button({ name, label, actions: done, key, icon: sign, danger }) {
    const click = (/** @type {MouseEvent} */ event) => {
      if (event.detail <= 1) actions?.act(done);
    };
    const title = key ? `${label} (${key})` : label;
    return h("button", { type: "button", class: danger ? "btn danger" : "btn", "data-action": name, title, click }, sign && icon(sign), label);
  }

  /** The button that opens the menu with all actions of a node. @param {NodeView} node */
  function moreButton(node) {
    const more = h("button", { type: "button", class: "btn ghost square", "data-action": "more", "aria-label": `All actions on ${node.name}`, title: "All actions (m)" }, icon("more"));
    more.addEventListener("click", () => actions?.more(node.id, more));
    return more;
  }

  /** @param {...(Node | false | string)} title */
  function head(...title) {
    const closes = h("button", { type: "button", class: "btn ghost square", "data-action": "close", "aria-label": "Close", title: "Close (Escape)", click: close }, icon("x"));
    return h("div", { class: "title" }, ...title, closes);
  }

  /** @param {string} label @param {Choice[]} choices */
  const group = (label, choices) => h("div", { class: "actions", role: "group", "aria-label": label }, ...choices.map(button));

  /** @param {NodeView} node @returns {Part[]} */
  function faults(node) {
    if (!actions) return [];
    const choices = mainChoices(node);
    return [[JSON.stringify(choices), () => [group(`Faults of ${node.name}`, choices)]]];
  }

  /** @param {NodeView} node @param {View} view @returns {Part[]} */
  function operator(node, view) {
    if (!actions) return [];
    const choices = operatorChoices(node, view);
    return [[JSON.stringify([choices, view.joint]), () => [
      ...(choices.length ? [h("h3", {}, "Membership and leadership"), group("Membership and leadership", choices)] : []),
      ...(view.joint ? [h("p", { class: "empty" }, `Now ${changeText(view.nodes)}. Another change has to wait.`)] : []),
    ]]];
  }

  /**
   * @param {NodeView} node
   * @param {NodeDetail | undefined} detail
   * @param {View} view
   * @returns {Part[]}
   */
  function nodeParts(node, detail, view) {
    const name = (/** @type {number | undefined} */ id) => (id ? (view.nodes[id - 1]?.name ?? `n${id}`) : "–");
    const [down, unreachable] = [node.process === "down", node.process === "unreachable"];
    const state = down ? (detail?.reason ? `stopped: ${detail.reason}` : "crashed") : `${node.role}${node.process === "paused" ? ", paused" : ""}${node.isolated ? ", cut off" : ""}`;
    const what = [unreachable ? unreachableText(node) : state, memberRoleText(node.memberRole, view.joint)].filter(Boolean).join("; ");
    const never = unreachable && !node.seen;
    const facts = down || never ? (reports?.facts(node.id) ?? []) : [
      ["Term", String(node.term)], ["Voted for", node.voteName ?? name(node.vote)], ["Leader", node.leaderName ?? name(node.leader)], ["Log ends at", String(node.last)],
      ["On disk to", String(node.durable)], ["Committed", String(node.commit)], ["Applied", String(node.applied)],
      ...(node.start ? [["Snapshot to", String(node.start)]] : []),
      ...(reports?.facts(node.id) ?? []),
    ];
    const reported = !unreachable ? "" : node.seen ? `${node.name} reported last, at ${clockTime(node.seen)}, as ${node.role}:` : `${node.name} has not answered since this page was opened. Only its address is known.`;
    const leads = node.role === "leader" && node.process === "running";
    return [
      [`${what} ${node.term}`, () => [head(leads && h("span", { class: termClass(node.term) }, icon("crown")), h("h2", {}, node.name), h("span", { class: "what" }, what), Boolean(actions) && moreButton(node))]],
      ...faults(node),
      ...(reported ? [/** @type {Part} */ ([reported, () => [h("p", { class: "empty" }, reported)]])] : []),
      [JSON.stringify(facts), () => !facts.length ? [] : [h("dl", {}, ...facts.flatMap(([term, value]) => [h("dt", {}, term ?? ""), h("dd", {}, value ?? "")]))]],
      [JSON.stringify([node.last, detail?.followers ?? null]), () => followers(detail, node.last, name)],
      ...operator(node, view),
      [JSON.stringify(detail?.membership ?? null), () => members(detail, name)],
      [JSON.stringify([detail?.process, detail?.keys]), () => keys(detail)],
    ];
  }

  /** @param {string} key @param {View} view */
  function showRule(key, view) {
    const rule = actions?.rule(key);
    if (!rule) return;
    const goOn = { name: "go-on", label: "Go on", actions: [/** @type {Action} */ ({ do: "go-on" })] };
    show(`rule ${key}`, [[`${rule.state} ${view.ended} ${rule.text}`, () => [
      head(h("h2", {}, rule.name)), h("p", {}, rule.demand), h("p", { class: rule.state === "broken" ? "broken" : "note" }, rule.text),
      ...(rule.state === "broken" && view.ended ? [h("div", { class: "actions" }, button(goOn))] : [])]]]);
  }

  return {
    /** @param {View} view @param {Selection | null} selection */
    async draw(view, selection) {
      if (selection?.kind === "rule") return showRule(selection.rule, view);
      if (selection?.kind === "event") {
        const { record } = selection;
        const key = `event ${record.id}`;
        if (!actions || subject === key) return;
        const links = await actions.causality(record).catch(() => ({ causes: [], consequences: [] }));
        return show(key, [[key, () => [head(h("h2", {}, "Event"), h("span", { class: "what" }, `at ${(record.at / 1e6).toFixed(3)} s`)), ...causesContent(record, links, actions.go)]]]);
      }
      if (selection?.kind !== "node") {
        root.hidden = true;
        subject = "";
        return;
      }
      const node = view.nodes[selection.id - 1];
      if (!node || loading) return;
      loading = true;
      try {
        const detail = await (actions ? actions.node(node.id) : reports?.detail(node.id));
        show(`node ${node.id}`, nodeParts(node, detail, view));
      } catch {
        // Another run replaced the run of this request.
      } finally {
        loading = false;
      }
    },
  };
}

/** @param {NodeDetail | undefined} detail @param {(id: number | undefined) => string} name */
function members(detail, name) {
  const membership = detail?.membership;
  if (!membership) return [];
  const list = (/** @type {number[]} */ ids) => ids.map((id) => name(id) + (membership.witnesses.includes(id) ? " (witness)" : "")).join(", ");
  const rows = /** @type {[string, number[]][]} */ ([
    ["Voters", membership.voters], ["Outgoing voters", membership.outgoing],
    ["Learners", membership.learners.filter((id) => !membership.joining.includes(id))], ["Promoted when caught up", membership.joining],
  ]).filter(([, ids]) => ids.length);
  const row = (/** @type {[string, number[]]} */ [title, ids]) => h("tr", {}, h("th", { scope: "row" }, title), h("td", {}, list(ids)));
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
    h("th", { scope: "row" }, follower.name ?? name(follower.id)), h("td", {}, String(follower.next_index)), h("td", {}, String(follower.match_index)),
    h("td", {}, state(follower)));
  const head = ["Follower", "next", "match", "state"].map((title) => h("th", { scope: "col" }, title));
  return [h("h3", {}, "Followers: nextIndex, matchIndex"), h("table", { class: "followers" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...detail.followers.map(row)))];
}

/** @param {NodeDetail | undefined} detail */
function keys(detail) {
  if (!detail?.keys || detail.process === "down") return [];
  const rows = detail.keys.map((kv) => h("tr", {}, h("th", { scope: "row" }, kv.key), h("td", {}, kv.value), h("td", {}, `revision ${kv.mod_revision}`)));
  return [h("h3", {}, "Keys and values"), rows.length ? h("table", { "data-keys": "" }, h("tbody", {}, ...rows)) : h("p", { class: "empty" }, "Nothing yet: send a request.")];
}

// What is selected: its state, and what can be done to it.

import { h } from "./dom.js";
import { termColour } from "./signs.js";

/** @import { Action, MessageDetail, NodeDetail, NodeView, Selection, View } from "./types.js" */

/**
 * @typedef {object} Deeds
 * @property {(action: Action) => void} act
 * @property {(id: number) => Promise<NodeDetail | undefined>} node
 * @property {(id: number) => Promise<MessageDetail | undefined>} message
 */

/**
 * @param {HTMLElement} root
 * @param {Deeds | null} deeds None where nothing can be done.
 */
export function createInspector(root, deeds) {
  let shown = "";
  let asking = false;

  /**
   * Replaces the content if it would be another; the focus stays where it was.
   * @param {string} key
   * @param {() => (Node | string)[]} content
   */
  function show(key, content) {
    if (key === shown) return;
    shown = key;
    const focused = document.activeElement instanceof HTMLElement && root.contains(document.activeElement) ? document.activeElement.dataset.action : undefined;
    root.replaceChildren(...content());
    if (focused) root.querySelector(`[data-action="${focused}"]`)?.dispatchEvent(new Event("refocus"));
  }

  /** @param {string} name @param {string} label @param {Action} action @param {string} [key] */
  function button(name, label, action, key) {
    const title = key ? `${label} (${key})` : label;
    const made = h("button", { type: "button", "data-action": name, title, click: () => deeds?.act(action) }, label);
    made.addEventListener("refocus", () => made.focus());
    return made;
  }

  /** @param {NodeView} node */
  function nodeActions(node) {
    if (!deeds) return [];
    const id = node.id;
    const actions = h("div", { class: "actions", role: "group", "aria-label": `What can be done to ${node.name}` });
    if (node.process === "down") {
      actions.append(button("crash", "Restart", { do: "restart", node: id }, "r"));
      return [actions];
    }
    actions.append(button("crash", "Crash", { do: "crash", node: id }, "c"));
    actions.append(node.process === "paused"
      ? button("pause", "Resume", { do: "resume", node: id }, "p") : button("pause", "Pause", { do: "pause", node: id }, "p"));
    actions.append(node.isolated
      ? button("isolate", "Reconnect", { do: "reconnect", node: id }, "i") : button("isolate", "Cut off", { do: "isolate", node: id }, "i"));
    if (node.process === "running") actions.append(button("timeout", "Let its timer fire", { do: "timeout", node: id }, "t"));
    return [actions];
  }

  /** @param {NodeView} node @param {NodeDetail | undefined} detail @param {View} view */
  function nodeContent(node, detail, view) {
    const name = (/** @type {number | undefined} */ id) => (id ? (view.nodes[id - 1]?.name ?? `n${id}`) : "–");
    const down = node.process === "down";
    const what = down ? (detail?.reason ? `stopped: ${detail.reason}` : "crashed") : `${node.role}${node.process === "paused" ? ", paused" : ""}${node.isolated ? ", cut off" : ""}`;
    const facts = down ? [] : [
      ["Term", String(node.term)], ["Voted for", name(node.vote)], ["Leader", name(node.leader)], ["Log ends at", String(node.last)],
      ["On disk up to", String(node.durable)], ["Committed up to", String(node.commit)], ["Applied up to", String(node.applied)],
    ];
    const list = h("dl", {}, ...facts.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value ?? "")]));
    return [
      h("div", { class: "title", style: `--term: ${termColour(node.term)}` }, h("h2", {}, node.name), h("span", { class: "what" }, what)),
      ...nodeActions(node), list, ...followers(detail, name), ...keys(detail),
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
    const bothButton = h("button", { type: "button", "data-action": "both", title: "Both directions (x)", click: () => cutBoth(a, b, both) }, both ? "Heal both" : "Cut both");
    bothButton.addEventListener("refocus", () => bothButton.focus());
    return [
      h("h2", {}, `${one} – ${two}`),
      h("p", { class: "empty" }, "Messages on a link that is cut are lost."),
      ...(deeds ? [h("div", { class: "actions" }, bothButton, toggle(a, b), toggle(b, a))] : []),
    ];
  }

  /** @param {number} a @param {number} b @param {boolean} both */
  function cutBoth(a, b, both) {
    for (const [from, to] of [[a, b], [b, a]]) {
      deeds?.act({ do: both ? "heal-link" : "cut-link", from: from ?? 0, to: to ?? 0 });
    }
  }

  /** @param {MessageDetail} detail */
  function messageContent(detail) {
    const rows = detail.fields.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)));
    return [
      h("h2", {}, detail.kind), h("p", { class: "empty" }, `n${detail.from} → n${detail.to}, sent at ${(detail.sent_at / 1e6).toFixed(3)} s`),
      h("div", { class: "actions" },
        button("drop", "Lose it", { do: "drop-message", message: detail.id }),
        button("double", "Let it arrive twice", { do: "duplicate-message", message: detail.id })),
      h("table", {}, ...rows),
    ];
  }

  return {
    cutBoth,
    /** @param {View} view @param {Selection | null} selection */
    async draw(view, selection) {
      if (!selection) {
        return show("nothing", () => [h("h2", {}, "Inspector"), h("p", { class: "empty" }, deeds
          ? "Select a node, a link or a message to see what it knows, and to break it. Try the leader: it wears the crown."
          : "Select a node to see what it says of itself.")]);
      }
      if (selection.kind === "link") {
        const { a, b } = selection;
        const state = `${view.cuts.has(`${a}-${b}`)} ${view.cuts.has(`${b}-${a}`)}`;
        return show(`link ${a} ${b} ${state}`, () => linkContent(view, a, b));
      }
      if (asking) return;
      asking = true;
      try {
        if (selection.kind === "message") {
          const detail = await deeds?.message(selection.id);
          if (detail) return show(`message ${detail.id}`, () => messageContent(detail));
          if (!shown.startsWith(`message ${selection.id}`)) return show("gone", () => [h("p", { class: "empty" }, "This message has arrived, or is lost.")]);
          return;
        }
        const node = view.nodes[selection.id - 1];
        if (!node) return;
        const detail = await deeds?.node(node.id);
        const { timer: _, ...steady } = node;
        show(JSON.stringify([steady, detail?.followers, detail?.keys, detail?.reason]), () => nodeContent(node, detail, view));
      } catch {
        // The run was left for another one while the answer was on its way.
      } finally {
        asking = false;
      }
    },
  };
}

/** @param {NodeDetail | undefined} detail @param {(id: number | undefined) => string} name */
function followers(detail, name) {
  if (!detail?.followers.length) return [];
  const row = (/** @type {NodeDetail["followers"][number]} */ follower) => h("tr", {},
    h("th", { scope: "row" }, name(follower.id)), h("td", {}, String(follower.match_index)), h("td", {}, String(follower.next_index)),
    h("td", {}, follower.probing ? "searching" : follower.in_flight > 0 ? `${follower.in_flight} on the way` : "up to date"));
  const head = ["Follower", "Match", "Next", ""].map((title) => h("th", { scope: "col" }, title));
  return [h("h3", {}, "What it knows of its followers"), h("table", {}, h("tr", {}, ...head), ...detail.followers.map(row))];
}

/** @param {NodeDetail | undefined} detail */
function keys(detail) {
  if (!detail || detail.process === "down") return [];
  const rows = detail.keys.map((kv) => h("tr", {}, h("th", { scope: "row" }, kv.key), h("td", {}, kv.value), h("td", {}, `revision ${kv.mod_revision}`)));
  return [h("h3", {}, "What it stores"), rows.length ? h("table", { "data-keys": "" }, ...rows) : h("p", { class: "empty" }, "Nothing yet: send a request.")];
}

// The quorum banner and the members of a real cluster.

import { byId, h, icon, setText } from "../dom.js";
import { clockTime } from "../model/time.js";
import { termClass } from "./symbols.js";

/** @import { Reach } from "../sources/live.js" */
/** @import { NodeView, View } from "../model/types.js" */

const number = (/** @type {number} */ value) => value.toLocaleString("en");
const leaderOf = (/** @type {View} */ view) => view.nodes.find((node) => node.role === "leader" && node.process === "running");

/**
 * Shows whether a majority answers, and how many failures the cluster survives.
 * @param {Reach} reach
 * @param {View | null} view
 */
export function showQuorum({ connected, serving, answering, members, voters, answeringVoters }, view) {
  const majority = Math.floor(voters / 2) + 1;
  const spare = answeringVoters - majority;
  const lost = !connected || spare < 0;
  const banner = byId("quorum", HTMLElement);
  banner.classList.toggle("lost", lost);
  const title = !connected ? `${serving} does not answer.` : spare < 0 ? "Writes have stopped."
    : `Writes continue. ${spare === 0 ? "One more failure stops them." : spare === 1 ? "1 more failure is survivable." : `${spare} more failures are survivable.`}`;
  setText(byId("quorum-title", HTMLElement), title);
  const line = byId("live-state", HTMLElement);
  setText(line, connected ? `${answering} of ${members} nodes answer; ${majority} of ${voters} voters are needed` : "Trying again");
  line.className = lost ? "broken" : "";
  const leader = view && leaderOf(view);
  const bars = (view?.nodes ?? []).filter((node) => node.memberRole.voter).flatMap((node, index) => [
    h("i", { class: node.process === "unreachable" ? "gone" : node === leader ? `leader ${termClass(node.term)}` : "", title: node.name }),
    ...(index + 1 === majority ? [h("em", { title: "Majority" })] : []),
  ]);
  byId("voters", HTMLElement).replaceChildren(...bars);
  const facts = leader ? [["Leader", leader.name], ["Term", number(leader.term)], ["Committed", number(leader.commit)]] : [["Leader", "none"]];
  byId("quorum-facts", HTMLElement).replaceChildren(...facts.map(([name, value]) =>
    h("div", {}, h("dt", {}, name ?? ""), h("dd", { class: name === "Leader" && leader ? `term ${termClass(leader.term)}` : "" }, value ?? ""))));
}

/**
 * A table of the members. Clicking a row selects the member.
 * @param {HTMLElement} frame
 * @param {(id: number) => void} select
 */
export function createMembersTable(frame, select) {
  let shown = "";
  frame.addEventListener("click", ({ target }) => {
    const row = target instanceof Element ? target.closest("tr[data-member]") : null;
    if (row instanceof HTMLElement) select(Number(row.dataset.member));
  });

  /** @param {NodeView} node @param {NodeView | undefined} leader */
  function row(node, leader) {
    const gone = node.process === "unreachable";
    const unknown = gone && !node.seen;
    const lag = leader && !unknown ? Math.max(0, leader.last - node.last) : undefined;
    const value = (/** @type {number} */ known) => h("td", { class: "amount" }, unknown ? "–" : number(known));
    return h("tr", { "data-member": node.id, class: gone ? "gone" : "" },
      h("th", { scope: "row", class: termClass(node.term) }, node === leader && icon("crown"), node.name),
      h("td", { class: gone ? "fault" : "" }, gone ? "unreachable" : node.memberRole.learner ? "learner" : node.role),
      h("td", { class: `amount term ${termClass(node.term)}` }, unknown ? "–" : number(node.term)),
      h("td", { class: "amount" }, lag === undefined ? "–" : number(lag)), value(node.commit), value(node.applied), value(node.durable),
      h("td", { class: "amount" }, node.seen ? clockTime(node.seen) : "–"));
  }

  return {
    /** @param {View} view */
    draw(view) {
      const leader = leaderOf(view);
      const key = JSON.stringify([leader?.id, view.nodes.map((node) => ({ ...node, seen: Math.floor((node.seen ?? 0) / 1e6) }))]);
      if (key === shown) return;
      shown = key;
      const titles = ["Member", "Role", "Term", "Lag, entries", "Committed", "Applied", "On disk", "Last answer"];
      frame.replaceChildren(h("table", { class: "members", "aria-label": "Members" },
        h("thead", {}, h("tr", {}, ...titles.map((title, index) => h("th", { scope: "col", class: index > 1 ? "amount" : "" }, title)))),
        h("tbody", {}, ...view.nodes.map((node) => row(node, leader)))));
    },
  };
}

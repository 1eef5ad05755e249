// The menu at a sign: what it is, and what can be done to it.

import { h, icon } from "../dom.js";

/** @import { Choice, ChoiceGroup } from "../model/node-actions.js" */
/** @import { Action } from "../model/types.js" */

/** The distance of the menu from its sign and from the edges, in pixels. */
const [GAP, EDGE] = [22, 8];

/**
 * @typedef {object} MenuContent
 * @property {string} title
 * @property {string} [note]
 * @property {[string, string][]} [facts]
 * @property {ChoiceGroup[]} [groups]
 * @property {string} [term] The class of the term's colours.
 * @property {{ label: string, open: () => void }} [more] Opens a dialog.
 */

/**
 * @param {HTMLElement} root
 * @param {(actions: Action[]) => void} act
 * @param {() => void} closed
 */
export function createMenu(root, act, closed) {
  const stage = /** @type {HTMLElement} */ (root.parentElement);
  /** The element that the menu belongs to. @type {Element | null} */
  let anchor = null;
  let shown = "";

  /** @param {Choice} choice */
  function item({ name, label, actions, key, danger, icon: sign }) {
    const click = (/** @type {MouseEvent} */ event) => {
      if (event.detail > 1) return;
      act(actions);
      close();
    };
    return h("button", { type: "button", "data-action": name, class: danger ? "fault" : "", click }, sign && icon(sign), label, key && h("kbd", { "aria-hidden": "true" }, key));
  }

  function place() {
    if (!anchor) return;
    const [box, field, own] = [anchor.getBoundingClientRect(), stage.getBoundingClientRect(), root.getBoundingClientRect()];
    const [x, y] = [box.left + box.width / 2 - field.left, box.top + box.height / 2 - field.top];
    const left = Math.min(Math.max(EDGE, x - own.width / 2), field.width - own.width - EDGE);
    const above = y - GAP - own.height;
    const under = y + GAP;
    const fits = above >= EDGE ? "over" : under + own.height <= field.height - EDGE ? "under" : "free";
    const top = fits === "over" ? above : fits === "under" ? under : Math.max(EDGE, Math.min(y - own.height / 2, field.height - own.height - EDGE));
    // Without room above or below, the menu stands beside its sign.
    const roomLeft = x - GAP * 2 - own.width >= EDGE;
    const beside = fits !== "free" ? left : roomLeft ? x - GAP * 2 - own.width : Math.min(x + GAP * 2, field.width - own.width - EDGE);
    root.classList.toggle("under", fits === "under");
    root.classList.toggle("free", fits === "free");
    root.style.left = `${beside}px`;
    root.style.top = `${top}px`;
    root.style.setProperty("--notch", `${Math.min(Math.max(16, x - left), own.width - 16)}px`);
  }

  function close() {
    if (root.hidden) return;
    const inside = root.contains(document.activeElement);
    const back = anchor;
    root.hidden = true;
    anchor = null;
    shown = "";
    closed();
    if (inside && back?.isConnected && (back instanceof SVGElement || back instanceof HTMLElement)) back.focus();
  }

  root.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.repeat && event.key === "Enter") event.preventDefault();
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const buttons = [...root.querySelectorAll("button")];
    const at = buttons.findIndex((button) => button === document.activeElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
  });

  return {
    close,
    isOpen: () => !root.hidden,
    /** True if the menu belongs to this element. @param {Element} element */
    isAt: (element) => anchor === element,
    /**
     * Opens the menu, or replaces its content.
     * @param {MenuContent} content
     * @param {Element} at
     * @param {boolean} [focus] True if the menu receives the focus.
     */
    open(content, at, focus = true) {
      const key = JSON.stringify(content);
      const same = anchor === at && !root.hidden;
      if (same && key === shown) return;
      shown = key;
      anchor = at;
      const groups = content.groups ?? [];
      const single = groups.length === 1;
      const half = single ? 1 : Math.ceil(groups.length / 2);
      root.classList.toggle("long", groups.length > 2);
      root.setAttribute("aria-label", content.title);
      root.hidden = false;
      root.replaceChildren(
        h("h2", { class: content.term ?? "" }, content.title),
        ...(content.note ? [h("p", {}, content.note)] : []),
        ...(content.facts?.length ? [h("dl", {}, ...content.facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))] : []),
        h("div", { class: "columns" }, ...[groups.slice(0, half), groups.slice(half)].filter(({ length }) => length).map((column) => h("div", {}, ...column.flatMap(({ title, choices }) => [
          ...(single ? [] : [h("h3", {}, title)]),
          h("div", { class: groups.length > 2 || choices.some(({ label }) => label.length > 16) ? "choices one" : "choices", role: "group", "aria-label": title }, ...choices.map(item)),
        ])))),
        ...(content.more ? [h("div", { class: "choices one" }, h("button", { type: "button", "data-action": "more", click: () => {
          close();
          content.more?.open();
        } }, content.more.label))] : []),
      );
      place();
      if (focus && !same) root.focus({ preventScroll: true });
    },
  };
}

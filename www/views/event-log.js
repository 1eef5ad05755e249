// The story: what happened and why, grouped by cause, the oldest first.

import { byId, h, icon, s } from "../dom.js";
import { single } from "../model/event-groups.js";
import { messageShapes, messageSign, termClass } from "./symbols.js";

/** @import { EventGroup } from "../model/event-groups.js" */
/** @import { StoryPart, StoryRecord } from "../model/types.js" */

const GROUPS_MAX = 200;
/** The list is drawn at most this often while time runs, in milliseconds. */
const REDRAW_MS = 200;
const RECORDS_MAX = 1200;
/** Records of a group that are shown. */
const CHILDREN_MAX = 60;
/** A list that is scrolled up by less than this follows new events, in pixels. */
const NEAR_END = 40;
/** Signs of messages by name, as kinds of raft-wasm's frames. */
const MESSAGE_SIGNS = new Map([["vote", 2], ["entries", 4]]);

/**
 * @param {HTMLElement} list
 * @param {object} options
 * @param {(at: number) => string} options.time
 * @param {string} options.empty Shown while there is nothing to show.
 * @param {(record: StoryRecord) => void} [options.open] Goes to the moment of a record.
 * @param {(records: StoryRecord[]) => void} options.changed Receives all records that are known.
 * @param {(records: StoryRecord[]) => Promise<EventGroup[]>} [options.group] Groups records by
 *   cause; without it, each record is a group.
 */
export function createEventLog(list, { time, empty, open, changed, group: groupBy = async (records) => records.map(single) }) {
  const filter = byId("events-filter", HTMLSelectElement);
  /** @type {StoryRecord[]} */
  let records = [];
  /** Before that, the page says that it loads, or why it cannot start. */
  let started = false;
  let timer = 0;
  let drawing = 0;
  /** The record that is to be shown; -1 for none. */
  let revealed = -1;
  /** The groups that are unfolded, by the identity of their first record. @type {Set<number>} */
  const unfolded = new Set();

  /** @param {EventGroup} group */
  function wanted({ kind }) {
    switch (filter.value) {
      case "": return true;
      case "main": return !["read", "replication", "other", "repair"].includes(kind);
      case "client": return ["client", "request", "read"].includes(kind);
      case "fault": return ["fault", "action", "violation"].includes(kind);
      default: return kind === filter.value;
    }
  }

  /** @param {string} name */
  function sign(name) {
    const kind = MESSAGE_SIGNS.get(name);
    if (kind === undefined) return icon(name);
    return s("svg", { viewBox: "-14 -14 28 28", "aria-hidden": "true" }, ...messageShapes(messageSign(kind)));
  }

  /** @param {StoryRecord} record */
  function child(record) {
    return h("li", { "data-kind": record.kind }, row(record, h("i", { class: record.peer ? "" : "changed" }), record.term ?? 0, ""));
  }

  /**
   * @param {{ id: number, at: number, text: string, source?: string }} event
   * @param {Element} mark
   * @param {number} term
   * @param {string} kind
   * @param {...Node} more
   */
  function row(event, mark, term, kind, ...more) {
    const source = event.source ? h("cite", {}, ` (${event.source})`) : null;
    const parts = [h("time", {}, time(event.at)), h("span", { class: "sign" }, mark), h("span", { class: "text" }, event.text, source), ...more];
    return h(open ? "button" : "div", { class: `event ${term ? termClass(term) : ""} ${kind}`, ...(open ? { type: "button", "data-event": event.id } : {}) }, ...parts);
  }

  /** @param {EventGroup} group */
  function item(group) {
    const first = group.records[0]?.id ?? group.id;
    const kind = `${group.yours ? "yours" : ""} ${group.kind === "violation" ? "broken" : ""}`;
    if (group.records.length === 1) return h("li", { "data-kind": group.kind }, row(group, sign(group.sign), group.term, kind));
    const isOpen = unfolded.has(first);
    const count = h("span", { class: "count" }, String(group.records.length), icon("right"));
    const head = row({ ...group, source: undefined }, sign(group.sign), group.term, kind, count);
    head.dataset.group = String(first);
    if (open) head.setAttribute("aria-expanded", String(isOpen));
    const children = isOpen ? [h("ol", {}, ...group.records.slice(-CHILDREN_MAX).map(child))] : [];
    return h("li", { class: `group ${termClass(group.term)}`, "data-kind": group.kind, ...(isOpen ? { "data-open": "" } : {}) }, head, ...children);
  }

  /** Draws soon: records arrive with each frame while time runs. */
  function schedule() {
    timer ||= window.setTimeout(redraw, REDRAW_MS);
  }

  async function redraw() {
    clearTimeout(timer);
    timer = 0;
    if (!started) return;
    changed(records);
    const mine = (drawing += 1);
    const all = await groupBy(records).catch(() => []);
    // A later call has other records.
    if (mine !== drawing) return;
    const groups = all.filter(wanted).slice(-GROUPS_MAX);
    const target = groups.find((group) => group.records.some(({ id }) => id === revealed));
    if (target?.records[0]) unfolded.add(target.records[0].id);
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - NEAR_END;
    const { scrollTop } = list;
    const focused = document.activeElement instanceof HTMLElement && list.contains(document.activeElement) ? document.activeElement.dataset.event : undefined;
    list.replaceChildren(...(groups.length ? groups.map(item) : [h("li", { class: "empty" }, empty)]));
    list.scrollTop = atEnd ? list.scrollHeight : scrollTop;
    const lit = target && list.querySelector(`.group ol [data-event="${revealed}"], [data-event="${revealed}"]`);
    lit?.classList.add("lit");
    if (target) lit?.scrollIntoView({ block: "nearest" });
    revealed = -1;
    if (focused) /** @type {HTMLElement | null} */ (list.querySelector(`[data-event="${focused}"]`))?.focus({ preventScroll: true });
  }

  list.addEventListener("click", ({ target }) => {
    const element = target instanceof Element ? target.closest("[data-event]") : null;
    if (!(element instanceof HTMLElement)) return;
    const group = element.dataset.group;
    if (group) {
      const id = Number(group);
      if (unfolded.has(id)) unfolded.delete(id);
      else unfolded.add(id);
      redraw();
      return;
    }
    const record = records.find(({ id }) => id === Number(element.dataset.event));
    if (record) open?.(record);
  });

  // A list that was hidden shows its end.
  let width = 0;
  new ResizeObserver(() => {
    if (!width) list.scrollTop = list.scrollHeight;
    width = list.clientWidth;
  }).observe(list);
  filter.addEventListener("change", redraw);
  return {
    /** Shows that nothing has happened yet, unless something has. */
    start() {
      started = true;
      redraw();
    },
    /** @param {StoryPart} part */
    add(part) {
      started = true;
      records = part.reset ? part.records : records.concat(part.records);
      if (records.length > RECORDS_MAX) records = records.slice(-RECORDS_MAX);
      if (part.reset) redraw();
      else if (part.records.length) schedule();
    },
    /** Unfolds the group of a record, and shows it. @param {number} id */
    reveal(id) {
      revealed = id;
      redraw();
    },
    forget() {
      started = true;
      records = [];
      unfolded.clear();
      redraw();
    },
  };
}

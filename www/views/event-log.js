// The story: what happened and why, in words, the newest first.

import { byId, h } from "../dom.js";

/** @import { StoryPart, StoryRecord } from "../model/types.js" */

const SHOWN_MAX = 300;
const KEPT_MAX = 5000;

/**
 * @param {HTMLElement} list
 * @param {(at: number) => string} time
 * @param {string} empty Shown while there is nothing to tell.
 */
export function createEventLog(list, time, empty) {
  const filter = byId("events-filter", HTMLSelectElement);
  /** @type {StoryRecord[]} */
  let records = [];
  /** Before that, the page says that it loads, or why it cannot start. */
  let started = false;

  /** @param {StoryRecord} record */
  function wanted(record) {
    switch (filter.value) {
      case "": return true;
      case "main": return record.kind !== "replication" && record.kind !== "read";
      case "fault": return record.kind === "fault" || record.kind === "violation";
      default: return record.kind === filter.value;
    }
  }

  /** @param {StoryRecord} record */
  function item(record) {
    const source = record.source ? h("cite", {}, ` (${record.source})`) : null;
    return h("li", { class: record.kind, "data-kind": record.kind }, h("time", {}, time(record.at)), h("span", {}, record.text, source));
  }

  function retell() {
    if (!started) return;
    const shown = records.filter(wanted).slice(-SHOWN_MAX).reverse();
    list.replaceChildren(...(shown.length ? shown.map(item) : [h("li", { class: "empty" }, empty)]));
  }

  filter.addEventListener("change", retell);
  return {
    /** Says that there is nothing to tell yet, unless there is. */
    start() {
      started = true;
      retell();
    },
    /** @param {StoryPart} part */
    tell(part) {
      started = true;
      records = part.reset ? part.records : records.concat(part.records);
      if (records.length > KEPT_MAX) records = records.slice(-KEPT_MAX);
      if (part.reset) return retell();
      const news = part.records.filter(wanted);
      if (!news.length) return;
      list.querySelector(".empty")?.remove();
      // A reader who has scrolled down is not moved.
      const { scrollTop, scrollHeight } = list;
      list.prepend(...news.reverse().map(item));
      while (list.childElementCount > SHOWN_MAX) list.lastElementChild?.remove();
      if (scrollTop > 0) list.scrollTop = scrollTop + list.scrollHeight - scrollHeight;
    },
    forget() {
      started = true;
      records = [];
      retell();
    },
  };
}

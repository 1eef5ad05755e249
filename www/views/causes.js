// The causes and consequences of an event, as the inspector shows them.

import { h } from "../dom.js";
import { termClass } from "./symbols.js";

/** @import { CauseLink, StoryRecord } from "../model/types.js" */

/** Links of a chain that are shown. */
const LINKS_MAX = 12;

const TRIGGERS = /** @type {Record<string, string>} */ ({
  start: "starts", action: "an action", timer: "a timer fires", message: "a message arrives", "client-message": "a request arrives", disk: "a write is on disk", snapshot: "a snapshot is ready", client: "a client acts",
});

/** What happened in a step, in a few words. @param {CauseLink} link */
function linkText({ step, records, flight }) {
  const node = step.node ? `n${step.node}: ` : "";
  if (records.length) return records.map(({ text }) => text).join("; ");
  if (flight) return `${node}${flight.kind} from n${flight.from} arrives`;
  return `${node}${TRIGGERS[step.trigger] ?? step.trigger}`;
}

/**
 * A list of links. Each leads to its moment.
 * @param {string} title
 * @param {CauseLink[]} links
 * @param {(at: number) => void} go
 */
function chain(title, links, go) {
  if (!links.length) return [];
  const item = (/** @type {CauseLink} */ link) => h("li", {}, h("button", { type: "button", class: `event ${termClass(link.records[0]?.term ?? link.flight?.term ?? 0)}`, click: () => go(link.step.at) },
    h("time", {}, (link.step.at / 1e6).toFixed(3)), h("span", { class: "sign" }, h("i", { class: link.flight ? "" : "changed" })), h("span", { class: "text" }, linkText(link))));
  return [h("h3", {}, title), h("ol", { class: "chain" }, ...links.slice(0, LINKS_MAX).map(item))];
}

/**
 * The content of the inspector for an event.
 * @param {StoryRecord} record
 * @param {{ causes: CauseLink[], consequences: CauseLink[] }} links
 * @param {(at: number) => void} go
 */
export function causesContent(record, { causes, consequences }, go) {
  // The first cause is the step of the event itself.
  const before = causes.filter(({ step }) => step.id !== record.step);
  const after = consequences.filter(({ step }) => step.id !== record.step);
  return [
    h("p", {}, record.text, record.source ? h("cite", {}, ` (${record.source})`) : null),
    ...chain("Because of", before, go), ...chain("Led to", after, go),
    ...(before.length || after.length ? [] : [h("p", { class: "empty" }, "No other event led to this one.")]),
  ];
}

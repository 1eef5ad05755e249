// Groups of story records by cause, as the story shows them.

/** @import { StoryGroup, StoryRecord } from "./types.js" */

/**
 * Records with one cause.
 * @typedef {object} EventGroup
 * @property {number} id The record that stands for the group.
 * @property {number} at
 * @property {string} kind
 * @property {string} sign The icon, or the sign of a message.
 * @property {string} text
 * @property {number} term The term whose colour the group has; 0 for none.
 * @property {string} [source] The section of the rule, if the group is one record.
 * @property {StoryRecord[]} records
 * @property {boolean} yours True for an action of the person at the page.
 */

const SIGNS = /** @type {Record<string, string>} */ ({
  election: "vote", entry: "check", commit: "check", repair: "entries", replication: "entries", read: "user", request: "user", client: "user",
  snapshot: "disk", membership: "more", transfer: "crown", action: "hand", fault: "hand", violation: "octagon",
});

/** A record as a group of its own. @param {StoryRecord} record @returns {EventGroup} */
export function single(record) {
  const { id, at, kind, text, source, term = 0 } = record;
  return { id, at, kind, text, source, sign: SIGNS[kind] ?? "entries", term, records: [record], yours: false };
}

/**
 * The groups of the engine with their records.
 * @param {StoryGroup[]} groups
 * @param {StoryRecord[]} records
 * @returns {EventGroup[]}
 */
export function withRecords(groups, records) {
  const byId = new Map(records.map((record) => [record.id, record]));
  return groups.map(({ id, kind, text, term = 0, decided_at: at, records: ids }) => {
    const own = ids.flatMap((record) => byId.get(record) ?? []);
    const leads = own.some(({ event }) => event === "became-leader");
    const only = own.length === 1 ? own[0] : undefined;
    return { id, at, kind, text, term, source: only?.source, sign: leads ? "crown" : (SIGNS[kind] ?? "entries"), records: own, yours: kind === "action" };
  });
}

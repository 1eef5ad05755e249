// Groups of story records by cause: an election with its votes, an entry with its commits.

/** @import { StoryRecord } from "./types.js" */

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

/** A request and its response are related if no more than this lies between them, in microseconds. */
const ELECTION_GAP = 400_000;

const LEADS = /^(\S+) leads in term (\d+)/;
const COMMITS = /^(\S+) commits entr(?:y|ies) (.+)$/;
const ASKS = /^A client asks: (.+)$/;
const ANSWERED = /^The client that asked \S+ to (.+) is answered: (.+)$/;
const TERM = /\bterm (\d+)/;
const PLANNED = /^(\S+) receives the vote of \S+: has (\d+), needs (\d+)/;

/** The term in a record; 0 if it has none. @param {StoryRecord} record */
export function termOf(record) {
  return Number(TERM.exec(record.text)?.[1] ?? 0);
}

/**
 * Groups records by cause, in the order of time. The last record of an election gives the group its
 * sentence.
 * @param {StoryRecord[]} records
 * @returns {EventGroup[]}
 */
export function groupRecords(records) {
  /** @type {EventGroup[]} */
  const groups = [];
  /** @type {EventGroup | null} */
  let election = null;
  /** @type {Map<string, EventGroup>} */
  const commits = new Map();
  /** Requests without a response, by what they ask for. @type {Map<string, EventGroup>} */
  const requests = new Map();
  let votes = 0;
  for (const record of records) {
    if (record.kind === "election") {
      const leads = LEADS.exec(record.text);
      if (!election || record.at - (election.records.at(-1)?.at ?? 0) > ELECTION_GAP || (election.sign === "crown" && startsElection(record))) {
        election = { ...single(record), sign: "vote" };
        votes = 0;
        groups.push(election);
      } else {
        election.records.push(record);
      }
      votes = Number(PLANNED.exec(record.text)?.[2] ?? votes);
      if (leads) Object.assign(election, { id: record.id, at: record.at, sign: "crown", term: Number(leads[2]), text: `${leads[1]} wins term ${leads[2]}${votes > 1 ? ` with ${votes} votes` : ""}` });
      else if (election.sign !== "crown") Object.assign(election, { text: record.text, term: termOf(record), source: record.source });
      continue;
    }
    const answered = ANSWERED.exec(record.text);
    const request = requests.get(answered?.[1] ?? "");
    if (answered && request) {
      requests.delete(answered[1] ?? "");
      request.records.push(record);
      request.text = `Client: ${answered[1]}: ${answered[2]}`;
      continue;
    }
    const entry = record.kind === "commit" ? COMMITS.exec(record.text)?.[2] : undefined;
    const known = entry === undefined ? undefined : commits.get(entry);
    if (known) {
      known.records.push(record);
      continue;
    }
    const group = single(record);
    if (entry !== undefined) commits.set(entry, group);
    const asks = ASKS.exec(record.text)?.[1];
    if (asks) {
      requests.set(asks, group);
      group.text = `Client: ${asks}`;
    }
    groups.push(group);
  }
  return groups;
}

/** True if a record begins another campaign. @param {StoryRecord} record */
function startsElection(record) {
  return record.text.includes("hears no leader") || record.text.includes("stands for election") || record.text.includes("fired by hand");
}

/** @param {StoryRecord} record @returns {EventGroup} */
function single(record) {
  const { id, at, kind, text, source } = record;
  const signs = /** @type {Record<string, string>} */ ({ fault: "hand", commit: "check", violation: "octagon", client: "user", snapshot: "disk", read: "user", replication: "entries" });
  return { id, at, kind, text, source, sign: signs[kind] ?? "entries", term: termOf(record), records: [record], yours: kind === "fault" };
}

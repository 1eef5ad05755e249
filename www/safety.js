// The safety lights: rules that must always hold.

import { byId, h, say, set } from "./dom.js";
import { createRoving } from "./roving.js";

/** @import { Rule, Selection, Verdict, Violation } from "./types.js" */

/** What a light is called, and what its rule demands; a rule without an entry goes by its own name. */
const WORDS = new Map(/** @type {[string, [string, string]][]} */ ([
  ["election-safety", ["one leader", "At most one server leads in a term (§5.2)."]],
  ["leader-append-only", ["append-only", "A leader never overwrites or deletes entries of its own log (§5.3)."]],
  ["log-matching", ["log matching", "Two logs with an entry of the same index and term are equal up to it (§5.3)."]],
  ["leader-completeness", ["completeness", "A leader's log holds every entry that was committed in earlier terms (§5.4)."]],
  ["state-machine-safety", ["state machine", "No two servers apply different entries at the same index (§5.4.3)."]],
  ["durable-commit", ["durable", "What is committed is on the disks of a majority, and survives when all lose power."]],
  ["monotonic", ["never back", "A server's term and commit index never go back while it runs."]],
  ["acknowledged-once", ["acknowledged", "What a client was told to be written is committed, and takes effect once."]],
  ["linearizability", ["linearizable", "All answers look as if one request had been done after the other, each between its question and its answer. This is judged now and then, and whenever time stands still."]],
  ["progress", ["progress", "While a server that may lead is connected to a majority, something is committed within 4 election timeouts and 8 rounds of messages. Pre-vote and check-quorum together promise that; without them it is not checked."]],
  ["quiescence", ["at rest", "After each event a server comes to rest: it does not go round in circles by itself."]],
  ["watch-order", ["watches", "Whoever watches keys is told of every change once, in the order of revisions, at whatever servers."]],
  ["lease-life", ["lease life", "A lease does not expire before its time has passed since it was granted or kept alive, whoever leads."]],
  ["lease-keys", ["leased keys", "When a lease ends, all keys that hang on it go in one revision; none hangs on a lease that is gone, and no more than 10,000 on one."]],
]));

/**
 * @param {HTMLElement} root
 * @param {(selection: Selection) => void} select
 */
export function createSafety(root, select) {
  /** @type {Map<string, HTMLElement>} */
  const lights = new Map();
  /** @type {Violation | undefined} */
  let violation;
  /** @type {Verdict | undefined} */
  let verdict;
  /** Nothing is known before the first picture of a run. */
  let checked = false;
  const roving = createRoving(root, "button", { next: ["ArrowRight", "ArrowDown"], previous: ["ArrowLeft", "ArrowUp"] });

  const nameOf = (/** @type {string} */ rule) => WORDS.get(rule)?.[0] ?? rule;

  /** @param {string} rule @returns {["holds" | "broken" | "unknown", string]} */
  function state(rule) {
    if (violation?.invariant === rule) return ["broken", violation.text];
    if (!checked) return ["unknown", "Not checked yet."];
    if (rule !== "linearizability") return ["holds", "This rule holds: it is checked after every event."];
    const judged = verdict ? `${verdict.operations === 1 ? "1 request" : `${verdict.operations} requests`} up to ${(verdict.at / 1e6).toFixed(3)} s` : "";
    if (!verdict) return ["unknown", "Not judged yet."];
    if (verdict.finding === "broken") return ["broken", verdict.violation.text];
    if (verdict.finding === "unknown") return ["unknown", `Judged ${judged}: ${verdict.reason}.`];
    return ["holds", `This rule holds: judged ${judged}.`];
  }

  function draw() {
    let worst = checked ? "holds" : "unknown";
    for (const [rule, light] of lights) {
      const [now, text] = state(rule);
      if (now === "broken") worst = "broken";
      set(light, { class: now, title: text, "aria-label": `${nameOf(rule)}: ${now === "unknown" ? "not known" : now}` });
    }
    const glance = byId("safety-glance", HTMLElement);
    glance.className = worst;
    say(glance, worst === "broken" ? ": a rule is broken" : "");
  }

  const add = (/** @type {string} */ rule) => {
    lights.set(rule, h("button", { type: "button", "data-rule": rule, tabindex: -1, click: () => select({ kind: "rule", rule }) }, nameOf(rule)));
  };

  function place() {
    // Most worlds cannot break every rule; such a rule has a light when it falls.
    if (violation && !lights.has(violation.invariant)) add(violation.invariant);
    root.replaceChildren(...lights.values());
    roving.refresh();
    draw();
  }

  return {
    /** @param {Rule[]} rules */
    build(rules) {
      lights.clear();
      rules.forEach(({ rule }) => add(rule));
      place();
    },
    /** A run begins: nothing is known of it. */
    forget() {
      violation = undefined;
      verdict = undefined;
      checked = false;
      draw();
    },
    /** @param {Violation | undefined} seen */
    show(seen) {
      checked = true;
      violation = seen;
      if (!seen || lights.has(seen.invariant)) draw();
      else place();
    },
    /** @param {Verdict} found */
    judge(found) {
      verdict = found;
      draw();
    },
    /** What there is to say about a rule. @param {string} rule */
    describe(rule) {
      const [now, text] = state(rule);
      return { name: nameOf(rule), demand: WORDS.get(rule)?.[1] ?? "", state: now, text };
    },
  };
}

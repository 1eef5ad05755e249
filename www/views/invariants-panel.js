// The safety lights: invariants that must always hold.

import { byId, h, setAttributes, setText } from "../dom.js";
import { createRovingTabindex } from "../controls/roving-tabindex.js";

/** @import { Rule, Selection, Verdict, Violation } from "../model/types.js" */

/** What an invariant demands. */
const DEMANDS = new Map(/** @type {[string, string][]} */ ([
  ["election-safety", "At most one server leads in a term (§5.2)."],
  ["leader-append-only", "A leader never overwrites or deletes entries of its own log (§5.3)."],
  ["log-matching", "Two logs with an entry of the same index and term are equal up to it (§5.3)."],
  ["leader-completeness", "A leader's log holds every entry that was committed in earlier terms (§5.4)."],
  ["state-machine-safety", "No two servers apply different entries at the same index (§5.4.3)."],
  ["durable-commit", "A committed entry is on the disks of a majority, and survives a power cut of all servers."],
  ["term-and-commit-monotonic", "A server's term and commit index never go back while it runs."],
  ["acknowledged-once", "A write that was acknowledged to a client is committed, and takes effect once."],
  ["linearizability", "All responses are possible if each request takes effect at one moment between request and response. This is judged now and then, and whenever time stands still."],
  ["progress", "While a server that may lead is connected to a majority, an entry is committed within 4 election timeouts and 8 rounds of messages. This needs PreVote and CheckQuorum; without them it is not checked."],
  ["quiescence", "After each event, a server stops requesting effects: it does not loop."],
  ["watch-order", "A watch receives every change of its keys once, in the order of revisions, from any server."],
  ["lease-not-expired-early", "A lease does not expire before its TTL has passed since it was granted or kept alive, whichever server leads."],
  ["lease-keys-deleted-with-lease", "When a lease ends, all its keys are deleted in one revision; no key belongs to a lease that has ended, and at most 10,000 belong to one."],
]));

const WORDS = { holds: "holds", broken: "violated", unknown: "not known" };

/**
 * @param {HTMLElement} root
 * @param {(selection: Selection) => void} select
 */
export function createInvariantsPanel(root, select) {
  const glance = byId("safety-glance", HTMLButtonElement);
  const tabLight = byId("tab-light", HTMLElement);
  /** @type {Map<string, HTMLElement>} */
  const lights = new Map();
  /** @type {Violation | undefined} */
  let violation;
  /** @type {Verdict | undefined} */
  let verdict;
  /** Nothing is known before the first picture of a run. */
  let checked = false;
  const roving = createRovingTabindex(root, "button", { next: ["ArrowRight", "ArrowDown"], previous: ["ArrowLeft", "ArrowUp"] });

  /** @type {Map<string, string>} */
  const names = new Map();
  const nameOf = (/** @type {string} */ rule) => names.get(rule) ?? rule;

  /** @param {string} rule @returns {["holds" | "broken" | "unknown", string]} */
  function state(rule) {
    if (violation?.invariant === rule) return ["broken", violation.text];
    if (!checked) return ["unknown", "Not checked yet."];
    if (rule !== "linearizability") return ["holds", "Holds: it is checked after every event."];
    const judged = verdict ? `${verdict.operations === 1 ? "1 request" : `${verdict.operations} requests`} up to ${(verdict.at / 1e6).toFixed(3)} s` : "";
    if (!verdict) return ["unknown", "Not judged yet."];
    if (verdict.finding === "broken") return ["broken", verdict.violation.text];
    if (verdict.finding === "unknown") return ["unknown", `Judged ${judged}: ${verdict.reason}.`];
    return ["holds", `Holds: judged ${judged}.`];
  }

  function draw() {
    const states = [...lights].map(([rule, light]) => {
      const [now, text] = state(rule);
      setAttributes(light, { class: `light ${now}`, title: text, "aria-label": `${nameOf(rule)}: ${WORDS[now]}` });
      return /** @type {const} */ ([rule, now]);
    });
    const broken = states.find(([, now]) => now === "broken")?.[0];
    const holding = states.filter(([, now]) => now === "holds").length;
    const worst = broken ? "broken" : holding ? "holds" : "unknown";
    const text = broken ? `${nameOf(broken)} is violated` : holding ? `${holding} of ${states.length} invariants hold` : "Nothing has been checked yet";
    tabLight.className = worst;
    glance.className = `simulated btn ghost ${worst}`;
    const key = JSON.stringify(states);
    if (glance.dataset.key === key) return;
    glance.dataset.key = key;
    setText(/** @type {Element} */ (glance.querySelector(".text")), text);
    glance.querySelector(".dots")?.replaceChildren(...states.map(([, now]) => h("i", { class: now })));
  }

  const add = (/** @type {string} */ rule) => {
    lights.set(rule, h("button", { type: "button", class: "light", "data-rule": rule, tabindex: -1, click: () => select({ kind: "rule", rule }) }, nameOf(rule)));
  };

  function place() {
    // Some invariants have a light only once they are violated: most runs cannot violate them.
    if (violation && !lights.has(violation.invariant)) add(violation.invariant);
    root.replaceChildren(...lights.values());
    roving.refresh();
    draw();
  }

  glance.addEventListener("click", () => document.documentElement.toggleAttribute("data-lights"));

  return {
    /** @param {Rule[]} rules */
    build(rules) {
      lights.clear();
      for (const { rule, text } of rules) names.set(rule, text);
      for (const { rule, checked } of rules) if (checked) add(rule);
      place();
    },
    /** Forgets what is known before a run begins. */
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
    /** @param {string} rule */
    describe(rule) {
      const [now, text] = state(rule);
      return { name: nameOf(rule), demand: DEMANDS.get(rule) ?? "", state: now, text };
    },
  };
}

// The safety lights: rules that must always hold.

import { h } from "./dom.js";

/** @import { Violation } from "./types.js" */

const RULES = [
  ["election-safety", "one leader a term"], ["leader-append-only", "leaders only append"], ["log-matching", "log matching"],
  ["leader-completeness", "leader completeness"], ["state-machine-safety", "state machine safety"], ["durable-commit", "durable commit"],
  ["acknowledged-once", "acknowledged once"], ["linearizability", "linearizability"],
];

/** @param {HTMLElement} root */
export function createSafety(root) {
  const lights = new Map(RULES.map(([rule, text]) => [rule, h("span", { "data-rule": rule }, text ?? "")]));
  root.replaceChildren(...lights.values());
  return {
    /** @param {Violation | undefined} violation */
    show(violation) {
      for (const [rule, light] of lights) {
        const broken = violation?.invariant === rule;
        light.className = broken ? "broken" : "";
        light.title = broken ? (violation?.text ?? "") : "This rule holds";
      }
    },
  };
}

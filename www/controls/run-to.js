// "Run to": time runs to the next election, commit, message or violation, or to a condition.

import { byId, h } from "../dom.js";

/** @import { Target, View } from "../model/types.js" */

const TARGETS = /** @type {[string, Target][]} */ ([
  ["Next election", { to: "election" }], ["Next commit", { to: "commit" }], ["Next message that arrives", { to: "message" }], ["Next violation", { to: "violation" }],
]);
const STATES = ["leader", "candidate", "follower", "down"];
const AMOUNTS = /** @type {[string, "term" | "log" | "commit" | "applied"][]} */ ([["reaches term", "term"], ["has so many entries", "log"], ["has committed up to", "commit"], ["has applied up to", "applied"]]);

/** @param {(target: Target) => void} run */
export function createRunTo(run) {
  const panel = byId("run-to", HTMLElement);
  const form = byId("run-to-form", HTMLFormElement);
  const [node, condition, amount] = [byId("run-to-node", HTMLSelectElement), byId("run-to-condition", HTMLSelectElement), byId("run-to-amount", HTMLInputElement)];
  const go = (/** @type {Target} */ target) => {
    panel.hidePopover();
    run(target);
  };
  byId("run-to-targets", HTMLElement).replaceChildren(...TARGETS.map(([label, target]) => h("button", { type: "button", class: "btn ghost", click: () => go(target) }, label)));
  condition.replaceChildren(h("option", { value: "event" }, "does something"), ...STATES.map((state) => h("option", { value: state }, `is ${state}`)), ...AMOUNTS.map(([label, value]) => h("option", { value }, label)));
  condition.value = "leader";
  const isAmount = () => AMOUNTS.some(([, value]) => value === condition.value);
  const show = () => {
    amount.hidden = !isAmount();
  };
  condition.addEventListener("change", show);
  show();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const id = Number(node.value);
    if (condition.value === "event") return go({ to: "event", node: id });
    const wanted = isAmount() ? { is: condition.value, least: Number(amount.value) } : { is: condition.value };
    go({ to: "condition", node: id, condition: /** @type {any} */ (wanted) });
  });
  return {
    /** @param {View} view */
    show({ nodes }) {
      if (node.options.length !== nodes.length) node.replaceChildren(...nodes.map(({ id, name }) => h("option", { value: id }, name)));
    },
  };
}

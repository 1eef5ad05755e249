// The partition dialog: each node gets a group.

import { byId, h } from "../dom.js";

/** @import { View } from "../model/types.js" */

const GROUPS = ["A", "B", "C"];

/** @param {(groups: number[][]) => void} partition */
export function createPartitionDialog(partition) {
  const dialog = byId("partition", HTMLDialogElement);
  const nodes = byId("partition-nodes", HTMLElement);
  byId("partition-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
  byId("partition-form", HTMLFormElement).addEventListener("submit", () => {
    const chosen = [...nodes.querySelectorAll("select")].map((select) => select.value);
    const groups = GROUPS.map((group) => chosen.flatMap((value, index) => (value === group ? [index + 1] : [])));
    partition(groups.filter(({ length }) => length));
  });
  return {
    /** @param {View} view */
    open(view) {
      nodes.replaceChildren(...view.nodes.map(({ name }, index) => {
        const select = h("select", {}, ...GROUPS.map((group) => h("option", { value: group }, `Group ${group}`)));
        select.value = index < view.nodes.length / 2 ? "A" : "B";
        return h("label", {}, name, select);
      }));
      dialog.showModal();
    },
  };
}

// Linked views: what a person points at in one view is lit in the others.

/** The elements that stand for what an element stands for. @param {Element} element */
function related(element) {
  const cell = element.closest("[data-index]");
  if (cell instanceof HTMLElement) return `[data-index="${cell.dataset.index}"]`;
  const node = element.closest("[data-node], [data-log], [data-member]:not(.node)");
  if (!(node instanceof HTMLElement || node instanceof SVGElement)) return "";
  const id = node.dataset.node ?? node.dataset.log ?? node.dataset.member;
  return `#ring [data-node="${id}"], [data-log="${id}"] > th, tr[data-member="${id}"] > th`;
}

export function createLinking() {
  /** @type {Element[]} */
  let lit = [];
  let shown = "";

  /** @param {EventTarget | null} target */
  function light(target) {
    const selector = target instanceof Element ? related(target) : "";
    if (selector === shown) return;
    shown = selector;
    for (const element of lit) element.classList.remove("pointed");
    lit = selector ? [...document.querySelectorAll(selector)] : [];
    for (const element of lit) element.classList.add("pointed");
  }

  document.addEventListener("mouseover", ({ target }) => light(target));
  document.addEventListener("focusin", ({ target }) => light(target));
}

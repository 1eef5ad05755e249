// Many elements, one stop of the Tab key: the arrows go from one to the next.

/**
 * Elements that match `selector` are born with `tabindex="-1"`; one of them at a time can be
 * reached by Tab. Left and right stay what they are everywhere, a step of time, unless they are
 * among `keys`. Chromium makes an SVG element with such listeners a stop of the Tab key, so
 * `container` is an HTML element.
 * @param {HTMLElement} container
 * @param {string} selector
 * @param {{ next: string[], previous: string[] }} [keys]
 */
export function createRovingTabindex(container, selector, keys = { next: ["ArrowDown"], previous: ["ArrowUp"] }) {
  /** @type {Element | null} */
  let stop = null;

  /** @param {Element} element */
  function moveTo(element) {
    if (element === stop) return;
    stop?.setAttribute("tabindex", "-1");
    element.setAttribute("tabindex", "0");
    stop = element;
  }

  container.addEventListener("focusin", (event) => {
    const element = event.target instanceof Element ? event.target.closest(selector) : null;
    if (element) moveTo(element);
  });
  container.addEventListener("keydown", (event) => {
    if (!(event instanceof KeyboardEvent) || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = keys.next.includes(event.key) ? 1 : keys.previous.includes(event.key) ? -1 : 0;
    if (!step) return;
    const all = [...container.querySelectorAll(selector)];
    const at = all.findIndex((element) => element === document.activeElement);
    const there = at < 0 ? undefined : all[(at + step + all.length) % all.length];
    if (!there) return;
    event.preventDefault();
    event.stopPropagation();
    /** @type {HTMLElement | SVGElement} */ (there).focus();
  });
  return {
    /** To be called when elements have come or gone. */
    refresh() {
      if (stop && container.contains(stop)) return;
      stop = null;
      const first = container.querySelector(selector);
      if (first) moveTo(first);
    },
  };
}

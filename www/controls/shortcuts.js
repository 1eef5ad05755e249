// The keyboard. A key never acts while text is typed, while a dialog is open, or before the engine
// runs.

/** Only these act again and again while they are held down. */
const REPEATED = new Set(["ArrowRight", "ArrowLeft", "+", "-"]);

/**
 * @param {Record<string, () => void>} actions By key; digits share "digit".
 * @param {(digit: number) => void} digit
 */
export function createShortcuts(actions, digit) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.documentElement.dataset.state !== "ready" && event.key !== "?") return;
    const target = event.target;
    if (target instanceof HTMLInputElement && target.type !== "range") return;
    if (target instanceof HTMLSelectElement || document.querySelector("dialog[open]")) return;
    // The browser closes an open panel, unless the key is handled here.
    if (event.key === "Escape" && document.querySelector("[popover]:popover-open")) return;
    if (event.key === " " && target instanceof HTMLButtonElement) return;
    if (event.key.startsWith("Arrow") && target instanceof HTMLInputElement) return;
    if (/^[1-9]$/.test(event.key)) return digit(Number(event.key));
    const handler = actions[event.key];
    if (!handler) return;
    event.preventDefault();
    if (!event.repeat || REPEATED.has(event.key)) handler();
  });
}

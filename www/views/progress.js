// Long work of the engine: how far it is, and a way to stop it.

import { byId, setText } from "../dom.js";

/**
 * @param {() => void} cancel
 */
export function createProgress(cancel) {
  const root = byId("work", HTMLElement);
  byId("work-cancel", HTMLButtonElement).addEventListener("click", cancel);
  return {
    /**
     * Shows the moment that is reached and the part that is done; nothing at the end.
     * @param {{ now: number, done: number } | null} progress
     */
    show(progress) {
      root.hidden = progress === null;
      if (!progress) return;
      byId("work-bar", HTMLProgressElement).value = progress.done;
      setText(byId("work-text", HTMLElement), `Computing the run: ${Math.floor(progress.done * 100)} %, ${(progress.now / 1e6).toFixed(1)} s`);
    },
    isShown: () => !root.hidden,
  };
}

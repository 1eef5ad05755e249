// Light or dark: what the system says, until a person chooses.

import { byId, say } from "./dom.js";

const KEY = "theme";

/** @param {HTMLButtonElement} button */
export function createTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const theme = localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    apply();
    say(byId("announcer", HTMLElement), `Theme: ${document.documentElement.dataset.theme}`);
  });
  system.addEventListener("change", apply);
  apply();
}

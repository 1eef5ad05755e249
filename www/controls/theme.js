// Light or dark: what the system says, until a person chooses.

import { byId, setText } from "../dom.js";

const KEY = "theme";

/**
 * The theme that a person chose. It lasts until the page is reloaded where the browser stores
 * nothing.
 * @type {string | null}
 */
let chosen = null;

/** @returns {string | null} */
function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} theme */
function choose(theme) {
  chosen = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // The browser does not allow it.
  }
}

/** @param {HTMLButtonElement} button */
export function createTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const theme = chosen ?? stored() ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
  };
  button.addEventListener("click", () => {
    choose(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    apply();
    setText(byId("announcer", HTMLElement), `Theme: ${document.documentElement.dataset.theme}`);
  });
  system.addEventListener("change", apply);
  apply();
}

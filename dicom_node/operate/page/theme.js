// Light and dark: the system's, until somebody chooses. `button` changes between the two.
import { icon } from "./dom.js";

const kThemeKey = "skelex-theme";

export function drawTheme(button) {
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const chosen = localStorage.getItem(kThemeKey);
    const dark = chosen ? chosen === "dark" : prefersDark.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.replaceChildren(icon(dark ? "sun" : "moon"));
  };
  button.addEventListener("click", () => {
    localStorage.setItem(kThemeKey, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    draw();
  });
  prefersDark.addEventListener("change", draw);
  draw();
}

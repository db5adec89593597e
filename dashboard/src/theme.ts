// Light or dark: as the system says, or as the reader has chosen in this browser.
import { store } from "./store";

const KEY = "windlass.theme";
export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export const theme = store<Theme>(THEMES.find((name) => name === localStorage.getItem(KEY)) ?? "system");

export function choose(name: Theme): void {
  localStorage.setItem(KEY, name);
  theme.set(name);
}

/** Shows the page in the theme, and in each that is chosen later, also in another tab. */
export function followTheme(): void {
  const show = () => {
    document.documentElement.dataset.theme = theme.get();
  };
  theme.follow(show);
  addEventListener("storage", ({ key, newValue }) => {
    if (key === KEY) theme.set(THEMES.find((name) => name === newValue) ?? "system");
  });
  show();
}

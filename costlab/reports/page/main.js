/* The page: its views, its keys, and light or dark. */

import { followAddress } from "./address.js";
import { showFindings } from "./findings.js";
import { showHeader } from "./header.js";
import { showMemory } from "./memory.js";
import { showRoofline } from "./roofline.js";
import { change, goUp } from "./state.js";
import { showSummary } from "./summary.js";
import { showTable } from "./table.js";
import { showTree } from "./tree.js";
import { showTreemap } from "./treemap.js";

const page = document.documentElement;
const theme = document.getElementById("theme");
const filter = document.getElementById("filter");
const system = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return page.style.colorScheme ? page.style.colorScheme === "dark" : system.matches;
}

function nameTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
}

theme.onclick = () => {
  page.style.colorScheme = isDark() ? "light" : "dark";
  nameTheme();
};
system.addEventListener("change", nameTheme);
nameTheme();

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target === filter;
  if (event.key === "/" && !typing) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "Escape" && typing) {
    change({ filter: "" });
    filter.blur();
  } else if (event.key === "Escape") {
    goUp();
  }
});

followAddress();
for (const show of [showHeader, showSummary, showTree, showTreemap, showRoofline, showMemory, showTable, showFindings]) show();
page.dataset.ready = "";

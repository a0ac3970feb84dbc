/* Above the views: facts, the path to the selected module, the metrics to choose from, and the colour key. */

import { element, link } from "./dom.js";
import { amount, amountsByGroup, ancestry, costs, data, groups, root, share, written } from "./report.js";
import { chooseCost, chooseModule, subscribe } from "./state.js";
import { percent } from "./units.js";

export function showHeader() {
  document.getElementById("title").textContent = data.title;
  document.getElementById("facts").append(...data.facts.map(fact));
  subscribe(drawCrumbs);
  subscribe(drawCosts);
  subscribe(drawKey);
}

function fact([label, value, tone]) {
  return element(
    "div",
    { className: tone },
    element("dt", { textContent: label }),
    element("dd", { textContent: value }),
  );
}

function drawCrumbs({ module }, before) {
  if (module === before.module) return;
  const path = ancestry(module).map((each) =>
    element(
      "li",
      {},
      each === module
        ? element("span", { className: "here", textContent: each.name, "aria-current": "location" })
        : link(each.name, () => chooseModule(each)),
    ),
  );
  const about = [module.type, module.output === "-" ? "" : module.output, module.source].filter(Boolean);
  const said = about.map((words) => element("span", { textContent: words }));
  document
    .getElementById("crumbs")
    .replaceChildren(element("ol", {}, ...path), element("div", { className: "about" }, ...said));
}

function drawCosts({ module, cost }) {
  const box = document.getElementById("costs");
  if (!box.querySelector("input")) box.append(...costs.map(tile));
  for (const { key } of costs) {
    const value = amount(module, key);
    const input = document.getElementById(`cost-${key}`);
    input.checked = key === cost;
    input.parentElement.querySelector(".value").textContent = written(value, key);
    input.parentElement.querySelector(".share").textContent = module === root ? "" : percent(share(value, key));
  }
}

function tile({ key, name }) {
  const input = element("input", { type: "radio", name: "cost", id: `cost-${key}`, onchange: () => chooseCost(key) });
  const words = [name, "", ""].map((text, i) =>
    element("span", { className: ["name", "value", "share"][i], textContent: text }),
  );
  return element("label", { className: "tile" }, input, ...words);
}

function drawKey({ cost }, before) {
  if (cost === before.cost) return;
  const amounts = amountsByGroup(root, cost);
  const entries = groups.map(({ name, colour }, i) =>
    element(
      "li",
      { className: amounts[i] ? "" : "none" },
      element("i", { className: "swatch", style: { "--colour": colour } }),
      element("span", { textContent: name }),
      element("span", { className: "quiet", textContent: percent(share(amounts[i], cost)) }),
    ),
  );
  document.getElementById("key").replaceChildren(...entries.filter((_, i) => groups[i].used));
}

/* What a reader looks for first: where the cost is, what bounds it, what to do. */

import { element, link } from "./dom.js";
import { data, modules, root } from "./report.js";
import { chooseModule } from "./state.js";

export function showSummary() {
  document.getElementById("summary").append(...data.summary.map(answer));
}

function answer({ title, modules: most, lines }) {
  const shown = most ? most.map(costly) : lines.map((line) => element("li", { textContent: line }));
  return element("div", { className: "answer" }, element("h2", { textContent: title }), element("ol", {}, ...shown));
}

/** A module, which can be selected, and what it takes. */
function costly([path, amount]) {
  const module = modules.find((each) => each.path === path);
  const name = module && module !== root ? link(path, () => chooseModule(module)) : element("span", { textContent: path });
  return element("li", {}, name, element("span", { className: "number", textContent: amount }));
}

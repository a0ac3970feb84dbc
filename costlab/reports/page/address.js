/* The selected module and metric are in the address, so links and the back button work. */

import { costOf, costs, modules } from "./report.js";
import { chooseCost, chooseModule, subscribe } from "./state.js";

export function followAddress() {
  let shown = null;
  subscribe((state, before) => {
    shown = state;
    if (before.module) write(state);
  });
  const follow = () => {
    const { module, cost } = read();
    if (cost !== shown.cost) chooseCost(cost);
    if (module && module !== shown.module) chooseModule(module);
  };
  window.addEventListener("hashchange", follow);
  follow();
}

/** The selection in the address; an empty one is the network and the first metric. */
function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  const module = modules.find(({ path }) => path === (said.get("module") ?? ""));
  return { module, cost: costOf(said.get("cost"))?.key ?? costs[0].key };
}

function write({ module, cost }) {
  const now = read();
  if (now.module !== module || now.cost !== cost) location.hash = new URLSearchParams({ module: module.path, cost });
}

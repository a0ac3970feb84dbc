/* The chosen module and cost stand in the address: links lead to them, and the way back leads back. */

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

/** What the address says; one that says nothing means the network, by the first cost. */
function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  const module = modules.find(({ path }) => path === (said.get("module") ?? ""));
  return { module, cost: costOf(said.get("cost"))?.key ?? costs[0].key };
}

function write({ module, cost }) {
  const now = read();
  if (now.module !== module || now.cost !== cost) location.hash = new URLSearchParams({ module: module.path, cost });
}

/* What the reader has selected, in one place: every view redraws itself when it changes. */

import { costs, root } from "./report.js";

const state = {
  module: root,
  op: null, // the selected operator, if any
  cost: costs[0].key,
  filter: "",
  sort: { key: costs[0].key, descending: true },
};
const listeners = [];

/** Call `listener(state, before)` now and on every change; `before` is the previous state. */
export function subscribe(listener) {
  listeners.push(listener);
  listener(state, {});
}

export function change(part) {
  const before = { ...state };
  Object.assign(state, part);
  for (const listener of listeners) listener(state, before);
}

/** Select a module. */
export function chooseModule(module) {
  change({ module, op: null });
}

/** Select an operator and its module. */
export function chooseOp(op) {
  change({ module: op.module, op });
}

/** Select a metric; the most expensive operators come first. */
export function chooseCost(key) {
  change({ cost: key, sort: { key, descending: true } });
}

/** Select the parent of the selected module. */
export function goUp() {
  change({ module: state.module.parent ?? root, op: null });
}

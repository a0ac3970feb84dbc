/* What the reader looks at, in one place: every view draws itself anew when it changes. */

import { costs, root } from "./report.js";

const state = {
  module: root,
  op: null, // the operator looked at, if any
  cost: costs[0].key,
  filter: "",
  sort: { key: costs[0].key, descending: true },
};
const listeners = [];

/** Have `listener(state, before)` called now and whenever something changes; `before` is what it was. */
export function subscribe(listener) {
  listeners.push(listener);
  listener(state, {});
}

export function change(part) {
  const before = { ...state };
  Object.assign(state, part);
  for (const listener of listeners) listener(state, before);
}

/** Look at a module; all else follows. */
export function chooseModule(module) {
  change({ module, op: null });
}

/** Look at an operator, and at the module that it belongs to. */
export function chooseOp(op) {
  change({ module: op.module, op });
}

/** Look at a cost; the dearest operators come first. */
export function chooseCost(key) {
  change({ cost: key, sort: { key, descending: true } });
}

/** Look at the module around the chosen one. */
export function goUp() {
  change({ module: state.module.parent ?? root, op: null });
}

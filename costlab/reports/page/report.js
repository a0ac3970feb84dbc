/* The profile: modules in a tree and operators in the order of execution, from the data in the page. */

import { quantity } from "./units.js";

export const data = JSON.parse(document.getElementById("data").textContent);
export const costs = data.costs; // each with key, name, unit and the total of the network
export const groups = data.groups.map(([name, colour, ink], index) => ({
  name,
  colour,
  ink,
  used: data.ops.group.includes(index),
}));

const said = (column) => column.map((number) => data.words[number]);
const PREDICTED = "predicted_seconds";

export const modules = rows(data.modules, {
  name: said(data.modules.name),
  type: said(data.modules.type),
  output: said(data.modules.output),
  source: said(data.modules.source),
}).map((module) => ({ ...module, children: [], ops: [] }));

export const [root] = modules;
root.name = data.name;

export const ops = rows(data.ops, {
  name: said(data.ops.name),
  kind: said(data.ops.kind),
  output: said(data.ops.output),
  reads: data.ops.reads.map(said),
  writes: data.ops.writes.map(said),
  attrs: said(data.ops.attrs),
  source: said(data.ops.source),
  note: said(data.ops.note),
  bound: said(data.ops.bound),
});

for (const module of modules) {
  module.parent = module.parent === null ? null : modules[module.parent];
  module.parent?.children.push(module);
}
for (const op of ops) {
  op.module = modules[op.module];
  op.group = groups[op.group];
  op.costs = Object.fromEntries(costs.map(({ key }) => [key, data.amounts[key][op.index]]));
  op.seconds = op.costs[PREDICTED] ?? null;
  op.title = op.module === root ? op.name : `${op.module.path}/${op.name}`;
  op.module.ops.push(op);
}

/** Objects from columns, each with its place; `replaced` are columns in place of others. */
function rows(columns, replaced) {
  const all = Object.entries({ ...columns, ...replaced });
  return columns.name.map((_, index) => ({
    index,
    ...Object.fromEntries(all.map(([key, column]) => [key, column[index]])),
  }));
}

/** The cost of that key. */
export function costOf(key) {
  return costs.find((cost) => cost.key === key);
}

/** Whether a module lies in another, or is it. */
export function within(module, outer) {
  while (module && module !== outer) module = module.parent;
  return module === outer;
}

/** The modules around one, from the network down to itself. */
export function ancestry(module) {
  return module ? [...ancestry(module.parent), module] : [];
}

const sums = {};

/** Of a module and all in it, how much of a cost each group of operators takes. */
export function amountsByGroup(module, key) {
  sums[key] ??= summed(key);
  return sums[key][module.index];
}

function summed(key) {
  const result = modules.map(() => groups.map(() => 0));
  const add = (module, group, amount) => {
    for (; module; module = module.parent) result[module.index][group] += amount;
  };
  for (const op of ops) add(op.module, groups.indexOf(op.group), op.costs[key] ?? 0);
  if (key === "params") for (const module of modules) add(module, groups.length - 1, module.unused_params);
  return result;
}

/** What a module costs with all in it; of the network that is more than its operators where a device waits. */
export function amount(module, key) {
  return module === root ? costOf(key).total : amountsByGroup(module, key).reduce((sum, part) => sum + part, 0);
}

/** The group that takes most of a module. */
export function mainGroup(module, key) {
  const amounts = amountsByGroup(module, key);
  return groups[amounts.indexOf(Math.max(...amounts))];
}

/** The part of the network that an amount is; null where the network has none. */
export function share(value, key) {
  const { total } = costOf(key);
  return total && value !== null ? value / total : null;
}

/** An amount of a cost in words. */
export function written(value, key) {
  return quantity(value, costOf(key).unit);
}

/** The path of a module as a reader knows it. */
export function titleOf(module) {
  return module.path || module.name;
}

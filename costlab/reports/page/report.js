/* The profile: modules in a tree and operators in execution order, from the data in the page. */

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
export const PREDICTED = "predicted_seconds";

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

/** Objects from columns, each with its index; `replaced` are columns that replace others. */
function rows(columns, replaced) {
  const all = Object.entries({ ...columns, ...replaced });
  return columns.name.map((_, index) => ({
    index,
    ...Object.fromEntries(all.map(([key, column]) => [key, column[index]])),
  }));
}

/** The metric with that key. */
export function costOf(key) {
  return costs.find((cost) => cost.key === key);
}

/** Whether a module is another or inside it. */
export function within(module, outer) {
  while (module && module !== outer) module = module.parent;
  return module === outer;
}

/** The path to a module, from the network down to itself. */
export function ancestry(module) {
  return module ? [...ancestry(module.parent), module] : [];
}

const sums = {};

/** How much of a metric each group of operators takes in a module and everything inside it. */
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

/** A metric of a module with everything inside it; the network's time includes gaps between operators. */
export function amount(module, key) {
  return module === root ? costOf(key).total : amountsByGroup(module, key).reduce((sum, part) => sum + part, 0);
}

/** The group that takes most of a module. */
export function mainGroup(module, key) {
  const amounts = amountsByGroup(module, key);
  return groups[amounts.indexOf(Math.max(...amounts))];
}

/** An amount as a share of the network; null if the network has none. */
export function share(value, key) {
  const { total } = costOf(key);
  return total && value !== null ? value / total : null;
}

/** An amount of a metric as text. */
export function written(value, key) {
  return quantity(value, costOf(key).unit);
}

/** The path of a module as text. */
export function titleOf(module) {
  return module.path || module.name;
}

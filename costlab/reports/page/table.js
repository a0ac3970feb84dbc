/* The operators of the selected module that match the filter, in a table, sorted, a page at a time. */

import { element, link, panel } from "./dom.js";
import { costOf, costs, ops, root, share, titleOf, within, written } from "./report.js";
import { change, chooseModule, subscribe } from "./state.js";
import { percent, quantity } from "./units.js";

const PAGE = 100; // rows
const ALWAYS = ["mult_adds", "params", "memory_access", "predicted_seconds"]; // metrics; the selected one comes before them
const FILTERED = ["title", "kind", "output"]; // the fields the filter searches

export function showTable() {
  const { body, note } = panel("operators");
  const filter = document.getElementById("filter");
  const table = element("table", { "aria-labelledby": "operators-heading" });
  const more = element("button", { type: "button", className: "more" });
  let shown = null;
  let limit = PAGE;
  body.append(table);
  body.after(more);
  more.onclick = () => {
    limit += PAGE;
    draw();
  };
  filter.oninput = () => change({ filter: filter.value });

  function draw() {
    const matching = ops.filter((op) => within(op.module, shown.module) && matches(op, shown.filter));
    const columns = columnsFor(shown, Math.max(...matching.map((op) => op.costs[shown.cost] ?? 0), 0));
    const rows = sorted(matching, columns, shown.sort);
    const focused = table.contains(document.activeElement) && document.activeElement.dataset.name;
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...columns.map((column) => heading(column, shown.sort)))),
      element("tbody", {}, ...rows.slice(0, limit).flatMap((op) => line(op, columns))),
      element("tfoot", {}, element("tr", {}, ...columns.map((column) => total(column, rows)))),
    );
    if (focused) table.querySelector(`[data-name="${focused}"]`)?.focus();
    more.hidden = rows.length <= limit;
    const left = rows.length - limit;
    more.textContent = left > PAGE ? `Show ${PAGE} of the remaining ${left}` : `Show the remaining ${left}`;
    const where = shown.module === root ? "" : ` in ${titleOf(shown.module)}`;
    note.textContent = `${rows.length} of ${ops.length} operators${where}`;
  }

  function line(op, columns) {
    const cells = columns.map((column) =>
      element("td", { className: `${column.style} ${tone(column, op)}` }, ...column.cell(op)),
    );
    const row = element("tr", { className: op === shown.op ? "chosen" : "" }, ...cells);
    return op === shown.op ? [row, detail(op, columns.length)] : [row];
  }

  subscribe((state, before) => {
    if (["module", "op", "cost", "filter", "sort"].every((key) => state[key] === before[key])) return;
    if (["module", "filter", "sort"].some((key) => state[key] !== before[key])) limit = PAGE;
    shown = { ...state };
    if (filter.value !== state.filter) filter.value = state.filter;
    draw();
  });
}

/** The columns of the table, from left to right; the bar of the `largest` amount is full. */
function columnsFor({ cost, op: open }, largest) {
  const others = costs.filter(({ key }) => ALWAYS.includes(key) && key !== cost);
  const part = (op) => share(op.costs[cost], cost);
  const bar = (op) => {
    const width = `${(100 * (op.costs[cost] ?? 0)) / (largest || 1)}%`;
    return element("span", { className: "bar" }, element("i", { style: { width, "--colour": op.group.colour } }));
  };
  return [
    { key: "index", title: "#", style: "index", value: (op) => op.index, cell: (op) => [String(op.index + 1)] },
    { key: "title", title: "operator", style: "title", value: (op) => op.title, cell: (op) => named(op, op === open) },
    { ...amounts(costOf(cost)), style: `${cost} number cost` },
    {
      key: "share",
      title: "share",
      style: "share",
      largestFirst: true,
      value: part,
      cell: (op) => [element("span", { textContent: percent(part(op)) }), bar(op)],
    },
    { key: "kind", title: "kind", style: "kind", value: (op) => op.kind, cell: (op) => [op.kind] },
    { key: "output", title: "output", style: "output", value: (op) => op.output, cell: (op) => [op.output] },
    ...others.map(amounts),
  ];
}

/** The column of a metric. Unknown values are question marks, as in every report. */
function amounts({ key, name, unit }) {
  const value = (op) => op.costs[key];
  const cell = (op) => [value(op) === null ? "?" : quantity(value(op), unit)];
  const sum = (rows) => rows.reduce((whole, op) => whole + (value(op) ?? 0), 0);
  const total = (rows) => written(sum(rows), key);
  return { key, title: name, style: `${key} number`, largestFirst: true, value, cell, total };
}

/** The module path links to the module; the operator's name opens its details. */
function named(op, open) {
  const path = op.module === root ? [] : [link(op.module.path, () => chooseModule(op.module)), "/"];
  const own = link(op.name, () => change({ op: open ? null : op }), {
    className: "link own",
    "aria-expanded": open,
    "data-name": op.index,
  });
  const swatch = element("i", { className: "swatch", style: { "--colour": op.group.colour }, title: op.group.name });
  const warning = element("span", { className: "quiet", textContent: ` ${op.note.split(":")[0]}`, title: op.note });
  return [swatch, ...path, own, op.note && warning];
}

function heading({ key, title, style, largestFirst }, sort) {
  const own = sort.key === key;
  const onclick = () => change({ sort: { key, descending: own ? !sort.descending : Boolean(largestFirst) } });
  const button = element("button", { type: "button", textContent: title, onclick, "data-name": key });
  const way = own ? (sort.descending ? "descending" : "ascending") : "none";
  return element("th", { scope: "col", className: style, "aria-sort": way }, button);
}

function total({ key, style, total: summed }, rows) {
  const words =
    key === "title" ? (rows.length === ops.length ? "all operators" : "these operators") : (summed?.(rows) ?? "");
  return element("td", { className: style, textContent: words });
}

/** Zeros are quiet, so the rest stands out. */
function tone(column, op) {
  return column.total && !column.value(op) ? "zero" : "";
}

/** Whether an operator contains every word of the filter. */
function matches(op, filter) {
  const text = FILTERED.map((key) => op[key])
    .join(" ")
    .toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** By a column, else in execution order; unknown values come last. */
function sorted(rows, columns, { key, descending }) {
  const { value } = columns.find((column) => column.key === key) ?? columns[0];
  const sign = descending ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a.index - b.index;
    if (x === null || y === null) return x === null ? 1 : -1;
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
  });
}

/** The details of an operator. */
function detail(op, wide) {
  const facts = [
    ["kind", [op.kind]],
    ["reads", op.reads],
    ["writes", op.writes],
    ["attributes", [op.attrs]],
    ["bound by", [op.bound]],
    ["note", [op.note]],
    ["called from", [op.source]],
    ...costs.map(({ key, name }) => [name, [op.costs[key] === null ? "" : written(op.costs[key], key)]]),
  ];
  const entries = facts.flatMap(([name, lines]) => {
    const kept = lines.filter(Boolean);
    return kept.length
      ? [
          element(
            "div",
            {},
            element("dt", { textContent: name }),
            ...kept.map((line) => element("dd", { textContent: line })),
          ),
        ]
      : [];
  });
  return element("tr", { className: "detail" }, element("td", { colSpan: wide }, element("dl", {}, ...entries)));
}

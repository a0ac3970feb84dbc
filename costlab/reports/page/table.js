/* Operators in a table: those of the chosen module that the filter lets through, sorted, a page at a time. */

import { element, link, panel } from "./dom.js";
import { costs, ops, root, share, titleOf, within, written } from "./report.js";
import { change, chooseModule, subscribe } from "./state.js";
import { percent, quantity } from "./units.js";

const PAGE = 100; // rows
const ALWAYS = ["params", "mult_adds", "memory_access", "predicted_seconds"]; // costs; the chosen one joins them
const WORDS = [
  { key: "index", title: "#", value: (op) => op.index, text: (op) => String(op.index + 1) },
  { key: "title", title: "operator", value: (op) => op.title, text: (op) => op.title },
  { key: "kind", title: "kind", value: (op) => op.kind, text: (op) => op.kind },
  { key: "output", title: "output", value: (op) => op.output, text: (op) => op.output },
];
const SOUGHT = WORDS.filter(({ key }) => key !== "index");

export function showTable() {
  const { body, note } = panel("operators");
  const filter = document.getElementById("filter");
  const table = element("table", { "aria-labelledby": "operators-heading" });
  const more = element("button", { type: "button", className: "more" });
  let shown = null;
  let limit = PAGE;
  body.append(table, more);
  more.onclick = () => {
    limit += PAGE;
    draw();
  };
  filter.oninput = () => change({ filter: filter.value });

  function draw() {
    const { sort, cost } = shown;
    const columns = [...WORDS, ...costs.filter(({ key }) => ALWAYS.includes(key) || key === cost).map(column)];
    const kept = sorted(matching(shown), columns.find(({ key }) => key === sort.key) ?? columns[0], sort.descending);
    const wide = columns.length + 1;
    const longest = Math.max(...kept.map((op) => op.costs[cost] ?? 0), 0) || 1;
    table.replaceChildren(
      element("thead", {}, element("tr", {}, ...columns.map(heading), element("th", { textContent: "share", scope: "col" }))),
      element("tbody", {}, ...kept.slice(0, limit).flatMap((op) => [row(op, columns, longest), ...(op === shown.op ? [detail(op, wide)] : [])])),
      element("tfoot", {}, totals(kept, columns, cost)),
    );
    more.hidden = kept.length <= limit;
    more.textContent = `Show ${Math.min(PAGE, kept.length - limit)} more of ${kept.length - limit}`;
    const where = shown.module === root ? "" : ` in ${titleOf(shown.module)}`;
    note.textContent = `${kept.length} of ${ops.length} operators${where}`;
  }

  function heading(column) {
    const { key, title, number } = column;
    const { sort, cost } = shown;
    const own = sort.key === key;
    const onclick = () => change({ sort: { key, descending: own ? !sort.descending : Boolean(number) } });
    const button = element("button", { type: "button", textContent: title, onclick });
    return element("th", {
      scope: "col",
      className: classes(column, cost),
      "aria-sort": own ? (sort.descending ? "descending" : "ascending") : "none",
    }, button);
  }

  function row(op, columns, longest) {
    const cells = columns.map((each) => {
      if (each.key === "title") return element("td", { className: "title" }, ...named(op));
      const zero = each.number && !each.value(op) ? "zero" : "";
      return element("td", { className: `${classes(each, shown.cost)} ${zero}`, textContent: each.text(op) });
    });
    const part = share(op.costs[shown.cost], shown.cost);
    const bar = element("i", { style: { width: `${(100 * (op.costs[shown.cost] ?? 0)) / longest}%`, "--colour": op.group.colour } });
    const last = element("td", { className: "share" }, element("span", { textContent: percent(part) }), element("span", { className: "bar" }, bar));
    return element("tr", { className: op === shown.op ? "chosen" : "" }, ...cells, last);
  }

  /** The path of the module leads to it; the operator's own name opens what else is known. */
  function named(op) {
    const own = op === shown.op;
    const toggle = () => {
      change({ op: own ? null : op });
      body.querySelector(`[data-op="${op.index}"]`)?.focus();
    };
    return [
      element("i", { className: "swatch", style: { "--colour": op.group.colour }, title: op.group.name }),
      ...(op.module === root ? [] : [link(op.module.path, () => chooseModule(op.module)), "/"]),
      link(op.name, toggle, { className: "link own", "aria-expanded": own, "data-op": op.index }),
      ...(op.note ? [element("span", { className: "quiet", textContent: ` ${op.note.split(":")[0]}`, title: op.note })] : []),
    ];
  }

  subscribe((state, before) => {
    if (["module", "op", "cost", "filter", "sort"].every((key) => state[key] === before[key])) return;
    const restored = table.contains(document.activeElement) && document.activeElement.closest("th")?.cellIndex;
    if (["module", "filter", "sort"].some((key) => state[key] !== before[key])) limit = PAGE;
    shown = { ...state };
    if (filter.value !== state.filter) filter.value = state.filter;
    draw();
    if (restored >= 0 && restored !== false) table.tHead.rows[0].cells[restored].querySelector("button")?.focus();
  });
}

/** What is not known is a question mark, as in every report. */
function column({ key, name, unit }) {
  const text = (op) => (op.costs[key] === null ? "?" : quantity(op.costs[key], unit));
  return { key, title: name, value: (op) => op.costs[key], text, number: true };
}

/** Operators of the chosen module that hold every word of the filter. */
function matching({ module, filter }) {
  const wanted = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return ops.filter((op) => {
    if (!within(op.module, module)) return false;
    const text = SOUGHT.map(({ value }) => value(op)).join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** By a column, else in the order of execution; what is not known comes last. */
function sorted(kept, { value }, descending) {
  const sign = descending ? -1 : 1;
  return kept.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a.index - b.index;
    if (x === null || y === null) return x === null ? 1 : -1;
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y);
  });
}

function totals(kept, columns, cost) {
  const cells = columns.map((column) => {
    const { key, number } = column;
    if (key === "title") return element("td", { textContent: kept.length === ops.length ? "all operators" : "these operators" });
    return element("td", { className: classes(column, cost), textContent: number ? written(sum(kept, key), key) : "" });
  });
  return element("tr", {}, ...cells, element("td"));
}

function sum(kept, key) {
  return kept.reduce((total, op) => total + (op.costs[key] ?? 0), 0);
}

/** What a column is styled by. */
function classes({ key, number }, cost) {
  return `${key} ${number ? "number" : ""} ${key === cost ? "cost" : ""}`;
}

/** What else is known of an operator. */
function detail(op, wide) {
  const facts = [
    ["reads", op.reads],
    ["writes", op.writes],
    ["attributes", [op.attrs]],
    ["bound by", [op.bound]],
    ["note", [op.note]],
    ["called from", [op.source]],
    ...costs.map(({ key, name }) => [name, [op.costs[key] === null ? "" : written(op.costs[key], key)]]),
  ];
  const said = facts.flatMap(([name, lines]) => {
    const kept = lines.filter(Boolean);
    return kept.length ? [element("div", {}, element("dt", { textContent: name }), ...kept.map((line) => element("dd", { textContent: line })))] : [];
  });
  return element("tr", { className: "detail" }, element("td", { colSpan: wide }, element("dl", {}, ...said)));
}

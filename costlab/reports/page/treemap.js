/* Modules inside modules, operators inside those, each with the area of its share of a cost. */

import { element, panel } from "./dom.js";
import { amount, costOf, mainGroup, share, titleOf, written } from "./report.js";
import { chooseModule, chooseOp, subscribe } from "./state.js";
import { tips } from "./tip.js";
import { percent } from "./units.js";

const STRIP = 17; // pixels: the top of a module, which names it
const MARGIN = 2;
const SPLIT = 34; // a module with a shorter side shows nothing inside
const [LINE, LETTER] = [15, 7]; // pixels: the height of a line, and about the width of a letter

export function showTreemap() {
  const { body, note } = panel("treemap");
  const partOf = new Map(); // what each box stands for
  let shown = null;
  let whole = null; // the box of everything, in pixels

  function draw() {
    const { module, cost } = shown;
    const top = zoomed(module, cost);
    whole = { x: 0, y: 0, width: body.clientWidth, height: body.clientHeight };
    partOf.clear();
    place({ module: top, amount: amount(top, cost) }, whole, 0);
    body.replaceChildren(...partOf.keys());
    body.setAttribute(
      "aria-label",
      `Treemap of ${titleOf(top)} by ${costOf(cost).name}; the module tree shows the same numbers`,
    );
    const said = amount(top, cost) ? `area: share of ${costOf(cost).name}` : `no ${costOf(cost).name} here`;
    note.textContent = top.parent ? `${titleOf(top)}; ${said}` : said;
  }

  function place(part, box, depth) {
    const inside = insideOf(part, shown.cost);
    if (!inside.length || Math.min(box.width, box.height) < SPLIT) {
      if (part.amount) put(part, box, "leaf");
      return;
    }
    let inner = box;
    if (depth) {
      put(part, box, "branch");
      const { x, y, width, height } = box;
      inner = { x: x + MARGIN, y: y + STRIP, width: width - 2 * MARGIN, height: height - STRIP - MARGIN };
    }
    inside.sort((a, b) => b.amount - a.amount);
    const boxes = squarified(
      inside.map((each) => each.amount),
      inner,
    );
    inside.forEach((each, i) => place(each, boxes[i], depth + 1));
  }

  function put(part, box, kind) {
    const group = part.op?.group ?? mainGroup(part.module, shown.cost);
    const chosen = part.op ? part.op === shown.op : part.module === shown.module;
    const lines = kind === "branch" ? 1 : Math.floor(box.height / LINE);
    const made = element("div", {
      className: `box ${kind} ${lines === 1 ? "line" : ""} ${chosen ? "chosen" : ""}`,
      style: {
        left: `${(100 * box.x) / whole.width}%`,
        top: `${(100 * box.y) / whole.height}%`,
        width: `${(100 * box.width) / whole.width}%`,
        height: `${(100 * box.height) / whole.height}%`,
        "--colour": group.colour,
        "--text": group.ink,
      },
    });
    const name = part.name ?? titleOf(part.module);
    const names = kind === "leaf" && !part.op ? [`${name} ${part.module.type}`, name] : [name];
    made.append(...fitting(names, percent(share(part.amount, shown.cost)), lines, box.width).filter(Boolean));
    partOf.set(made, part);
  }

  const partAt = (event) => partOf.get(event.target.closest(".box"));
  body.addEventListener("click", (event) => {
    const part = partAt(event);
    if (part?.op) chooseOp(part.op);
    else if (part) chooseModule(part.module);
  });
  tips(body, (event) => {
    const part = partAt(event);
    if (!part) return null;
    const { cost } = shown;
    return [
      part.op ? part.op.title : titleOf(part.module),
      `${written(part.amount, cost)} ${costOf(cost).name}, ${percent(share(part.amount, cost))}`,
      part.op ? `${part.op.kind} ${part.op.output}` : part.module.type,
    ];
  });
  subscribe((state, before) => {
    if (["module", "cost", "op"].every((key) => state[key] === before[key])) return;
    shown = { ...state };
    draw();
  });
  new ResizeObserver(() => draw()).observe(body);
}

/** The first of the names that fits a box, and its share if that fits too. */
function fitting(names, part, lines, width) {
  const room = (text) => text.length + 1 <= width / LETTER;
  const name = names.find(room);
  if (!lines || name === undefined) return [];
  const both = lines > 1 ? room(part) : room(`${name} ${part}`);
  return [element("span", { textContent: name }), both && element("small", { textContent: part })];
}

/** The selected module, or its nearest ancestor that has parts to show. */
function zoomed(module, cost) {
  while (module.parent && !insideOf({ module }, cost).length) module = module.parent;
  return module;
}

/** The modules and operators that a module is made of and that cost something. */
function partsOf(module, cost) {
  const parts = [
    ...module.children.map((child) => ({ module: child, amount: amount(child, cost), name: child.name })),
    ...module.ops.map((op) => ({ module, op, amount: op.costs[cost] ?? 0, name: op.name })),
  ];
  return parts.filter((part) => part.amount);
}

/** What to draw inside a part: nothing in an operator or a module of one operator; an only child is merged with its parent. */
function insideOf(part, cost) {
  if (part.op) return [];
  let inside = partsOf(part.module, cost);
  while (inside.length === 1 && !inside[0].op) {
    part.name = part.name ? `${part.name}.${inside[0].name}` : part.name;
    part.module = inside[0].module;
    inside = partsOf(part.module, cost);
  }
  return inside.length > 1 ? inside : [];
}

/**
 * Boxes of areas in proportion to `amounts`, which fall, that fill `box` and are close to squares.
 *
 * Bruls, Huizing, van Wijk: Squarified Treemaps (VisSym 2000): rows along the shorter side, each as long as it makes
 * its boxes squarer.
 */
function squarified(amounts, box) {
  const boxes = [];
  let left = amounts.reduce((sum, each) => sum + each, 0);
  let { x, y, width, height } = box;
  for (let start = 0, end; start < amounts.length; start = end) {
    const side = Math.min(width, height);
    const scale = (width * height) / left;
    end = start + 1;
    while (
      end < amounts.length &&
      worst(amounts.slice(start, end + 1), side, scale) <= worst(amounts.slice(start, end), side, scale)
    ) {
      end += 1;
    }
    const row = amounts.slice(start, end);
    const sum = row.reduce((total, each) => total + each, 0);
    const lying = width >= height;
    const depth = (lying ? width : height) * (sum / left);
    let along = lying ? y : x;
    for (const each of row) {
      const length = side * (each / sum);
      boxes.push(lying ? { x, y: along, width: depth, height: length } : { x: along, y, width: length, height: depth });
      along += length;
    }
    if (lying) [x, width] = [x + depth, width - depth];
    else [y, height] = [y + depth, height - depth];
    left -= sum;
  }
  return boxes;
}

/** The largest ratio of sides in a row of boxes along `side`. */
function worst(row, side, scale) {
  const area = row.reduce((sum, each) => sum + each, 0) * scale;
  return Math.max((side * side * row[0] * scale) / area ** 2, area ** 2 / (side * side * row.at(-1) * scale));
}

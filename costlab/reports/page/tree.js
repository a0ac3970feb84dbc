/* Modules as a tree, with the keys of the ARIA practices guide; bars are shares, in the colours of the operators. */

import { element, panel } from "./dom.js";
import {
  amount,
  amountsByGroup,
  ancestry,
  costOf,
  costs,
  groups,
  modules,
  PREDICTED,
  root,
  share,
  titleOf,
  written,
} from "./report.js";
import { chooseModule, subscribe } from "./state.js";
import { percent } from "./units.js";

const SCREENFUL = 30; // rows to begin with

export function showTree() {
  const { body, note } = panel("tree");
  const open = new Set(openAtFirst());
  let active = root; // the row with the keyboard focus
  let shown = {}; // the state that the tree shows
  const order = document.getElementById("order");
  let ranked = PREDICTED === costs[0].key; // the most expensive module of each parent first, else as executed

  const rowsOf = (top) => visibleRows(top, open, ranked ? shown.cost : null);

  function draw() {
    order.setAttribute("aria-pressed", ranked);
    const rows = rowsOf(root);
    const { cost, module } = shown;
    if (!rows.includes(active)) active = root;
    const longest = Math.max(...rows.filter((row) => !open.has(row)).map((row) => amount(row, cost)), 0);
    const focused = body.contains(document.activeElement);
    body.replaceChildren(...rows.map((row) => line(row, row === module, longest)));
    if (focused) body.children[rows.indexOf(active)].focus();
  }

  function line(module, chosen, longest) {
    const { cost } = shown;
    const value = amount(module, cost);
    const inner = module.children.length > 0;
    const made = element("div", {
      role: "treeitem",
      className: value ? "row" : "row zero",
      tabIndex: module === active ? 0 : -1,
      "aria-level": ancestry(module).length,
      "aria-selected": chosen,
      style: { "--level": ancestry(module).length - 1 },
      onclick: () => {
        active = module;
        chooseModule(module);
      },
    });
    if (inner) made.setAttribute("aria-expanded", open.has(module));
    const turn = (event) => {
      event.stopPropagation();
      active = module;
      toggle(module);
    };
    made.append(
      element(
        "span",
        { className: "name", title: titleOf(module) },
        element("span", { className: inner ? "twist" : "twist leaf", onclick: inner ? turn : null }),
        module.name,
      ),
      element("span", { className: "type", textContent: module.type, title: module.type }),
      element("span", { className: "number", textContent: written(value, cost) }),
      element("span", { className: "number", textContent: percent(share(value, cost)) }),
      element("span", { className: "bar" }, ...(open.has(module) ? [] : segments(module, cost, longest))),
    );
    return made;
  }

  function toggle(module) {
    if (!open.delete(module)) open.add(module);
    draw();
  }

  function move(module) {
    active = module;
    draw();
  }

  const keys = {
    ArrowDown: (rows, at) => move(rows[at + 1] ?? active),
    ArrowUp: (rows, at) => move(rows[at - 1] ?? active),
    Home: (rows) => move(rows[0]),
    End: (rows) => move(rows.at(-1)),
    ArrowRight: () => {
      if (active.children.length && !open.has(active)) toggle(active);
      else move(active.children[0] ?? active);
    },
    ArrowLeft: () => {
      if (open.has(active)) toggle(active);
      else move(active.parent ?? active);
    },
    Enter: () => chooseModule(active),
    " ": () => chooseModule(active),
  };

  order.onclick = () => {
    ranked = !ranked;
    draw();
  };
  body.addEventListener("focusin", (event) => {
    active = rowsOf(root)[[...body.children].indexOf(event.target)] ?? active;
  });
  body.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const rows = rowsOf(root);
    keys[event.key](rows, rows.indexOf(active));
  });

  subscribe((state, before) => {
    if (state.module === before.module && state.cost === before.cost) return;
    shown = { ...state };
    note.textContent = `${costOf(state.cost).name} of ${modules.length - 1} modules; bars show shares of the network`;
    if (state.module !== before.module) {
      ancestry(state.module.parent).forEach((module) => open.add(module));
      active = state.module;
    }
    draw();
    if (state.module !== before.module) reveal(body, body.querySelector("[aria-selected=true]"));
  });
}

/** The levels that fit on a screen. */
function openAtFirst() {
  let open = [root];
  for (;;) {
    const deeper = [...open, ...open.flatMap((module) => module.children)];
    const rows = visibleRows(root, new Set(deeper));
    if (rows.length > SCREENFUL || rows.every((row) => open.includes(row) || !row.children.length)) return open;
    open = deeper.filter((module, i) => deeper.indexOf(module) === i);
  }
}

/** The rows of open modules; the children of each in order of their amounts of `cost`, or as they are executed. */
function visibleRows(module, open, cost = null) {
  if (!open.has(module)) return [module];
  const children = cost ? module.children.toSorted((a, b) => amount(b, cost) - amount(a, cost)) : module.children;
  return [module, ...children.flatMap((child) => visibleRows(child, open, cost))];
}

function segments(module, cost, longest) {
  return amountsByGroup(module, cost).flatMap((part, i) => {
    const width = `${longest ? (100 * part) / longest : 0}%`;
    return part ? [element("i", { style: { "--colour": groups[i].colour, width } })] : [];
  });
}

/** Scroll a box, but nothing around it, until one of its rows is visible. */
function reveal(box, row) {
  const [outer, inner] = [box.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    box.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
  }
}

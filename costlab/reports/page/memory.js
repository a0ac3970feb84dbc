/* Live activations, or all memory of a training step, in execution order; what lives at one moment is coloured. */

import { EDGE, drawing, rounds, tick, words } from "./axes.js";
import { element, link, panel, shape } from "./dom.js";
import { data, groups, ops, root, within } from "./report.js";
import { change, chooseOp, subscribe } from "./state.js";
import { tips } from "./tip.js";
import { short } from "./units.js";

const LISTED = 8; // of the tensors alive

const { first, last, bytes, shape: sizes, colour: colours } = data.tensors;
const WHAT = colours ? "memory of a training step by category" : "live activations";
const tensors = first.map((start, i) => ({
  first: Math.max(start, 0),
  last: last[i],
  bytes: bytes[i],
  shape: data.words[sizes[i]],
  maker: start < 0 ? null : ops[start],
  colour: colours && data.words[colours[i]],
}));
const alive = ops.map(() => 0);
for (const tensor of tensors) for (let at = tensor.first; at <= tensor.last; at += 1) alive[at] += tensor.bytes;
const top = Math.max(...alive, 0);
const peak = Math.max(alive.indexOf(top), 0);

export function showMemory() {
  const { section, body, note } = panel("memory");
  const list = section.querySelector(".alive");
  let shown = null;
  let area = null; // the time axis, in pixels
  const cursor = () => shown.op?.index ?? peak;

  function draw(width, height) {
    if (!ops.length || !top) return [];
    area = { left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: height - EDGE.bottom };
    const x = (position) => area.left + (position / ops.length) * (area.right - area.left);
    const y = (value) => area.bottom - (value / top) * (area.bottom - area.top);
    const at = cursor();
    const ground = ops.map(() => 0);
    return [
      ...rounds(top).flatMap((value) => [
        shape("line", { class: "grid", x1: area.left, x2: area.right, y1: y(value), y2: y(value) }),
        words(area.left - 6, y(value) + 4, tick(value, "B"), { "text-anchor": "end" }),
      ]),
      ...spans(shown.module).map(([from, to]) =>
        shape("rect", {
          class: "span",
          x: x(from),
          width: x(to) - x(from),
          y: area.top - 4,
          height: area.bottom - area.top + 10,
        }),
      ),
      shape("path", { class: "alive-all", d: stairs(alive, ground, 0, ops.length - 1, x, y) }),
      ...stacked(aliveAt(at), x, y),
      shape("line", { class: "cursor", x1: x(at + 0.5), x2: x(at + 0.5), y1: area.top - 4, y2: area.bottom + 6 }),
      shape("path", { class: "peak", d: `M${x(peak + 0.5)} ${area.top - 1}l-5 -8h10z` }),
      words(area.left, area.bottom + 22, "first operator"),
      words(area.right, area.bottom + 22, "last", { "text-anchor": "end" }),
    ];
  }

  /** Tensors on top of each other, each for as long as it lives. */
  function stacked(living, x, y) {
    const level = ops.map(() => 0);
    return living.map((tensor) => {
      const above = level.slice();
      for (let at = tensor.first; at <= tensor.last; at += 1) above[at] += tensor.bytes;
      const made = shape("path", { class: "tensor", d: stairs(above, level, tensor.first, tensor.last, x, y) });
      made.style.setProperty("--colour", colourOf(tensor));
      made.classList.toggle(
        "faded",
        shown.module !== root && !(tensor.maker && within(tensor.maker.module, shown.module)),
      );
      for (let at = tensor.first; at <= tensor.last; at += 1) level[at] = above[at];
      return made;
    });
  }

  function drawList() {
    const at = cursor();
    const living = aliveAt(at).sort((a, b) => b.bytes - a.bytes);
    const rest = living.slice(LISTED).reduce((sum, tensor) => sum + tensor.bytes, 0);
    const more = rest && element("li", { textContent: `and ${living.length - LISTED} more, ${short(rest, "B")}` });
    const said = `${short(alive[at] ?? 0, "B")} live ${at === peak ? "at the peak, " : ""}at `;
    list.replaceChildren(
      element("p", { className: "moment" }, said, ops.length ? leadTo(ops[at]) : "-"),
      element("ul", {}, ...living.slice(0, LISTED).map(entryOf), more),
    );
  }

  const { picture, redraw } = drawing(body, "", draw);
  picture.setAttribute("role", "slider");
  picture.setAttribute("tabindex", 0);
  picture.setAttribute("aria-label", "Operator at which memory is shown");
  picture.setAttribute("aria-valuemin", 0);
  picture.setAttribute("aria-valuemax", Math.max(ops.length - 1, 0));

  const opAt = (event) => {
    const box = picture.getBoundingClientRect();
    const part = area && (event.clientX - box.left - area.left) / (area.right - area.left);
    return part >= 0 && part < 1 ? ops[Math.floor(part * ops.length)] : null;
  };
  picture.addEventListener("click", (event) => {
    const op = opAt(event);
    if (op) chooseOp(op);
  });
  picture.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: cursor() - 1, ArrowRight: cursor() + 1, Home: 0, End: ops.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (ops[to]) change({ op: ops[to] });
  });
  tips(picture, (event) => {
    const op = opAt(event);
    return op && [op.title, `${short(alive[op.index], "B")} live, ${aliveAt(op.index).length} tensors`];
  });
  subscribe((state, before) => {
    if (state.module === before.module && state.op === before.op) return;
    shown = { ...state };
    note.textContent = `${WHAT} in execution order; peak ${short(top, "B")}`;
    picture.setAttribute("aria-valuenow", cursor());
    picture.setAttribute(
      "aria-valuetext",
      ops.length ? `${ops[cursor()].title}: ${short(alive[cursor()], "B")} live` : "",
    );
    redraw();
    drawList();
  });
}

function leadTo(op) {
  return link(op.title, () => chooseOp(op));
}

/** A tensor with its size and the operator that made it. */
function entryOf(tensor) {
  return element(
    "li",
    {},
    element("i", { className: "swatch", style: { "--colour": colourOf(tensor) } }),
    element("span", { className: "number", textContent: short(tensor.bytes, "B") }),
    element("span", { className: "quiet", textContent: tensor.shape }),
    tensor.maker ? leadTo(tensor.maker) : element("span", { textContent: colours ? "before the step" : "model input" }),
  );
}

/** Tensors alive at an operator, the longest-lived first: they are drawn at the bottom. */
function aliveAt(position) {
  const living = tensors.filter((tensor) => tensor.first <= position && position <= tensor.last);
  return living.sort((a, b) => b.last - b.first - (a.last - a.first) || b.bytes - a.bytes);
}

function colourOf(tensor) {
  return tensor.colour ?? (tensor.maker?.group ?? groups.at(-1)).colour;
}

/** The operators of a module in execution order, as half-open ranges of positions. */
function spans(module) {
  if (module === root) return [];
  const result = [];
  for (const op of ops) {
    if (!within(op.module, module)) continue;
    if (result.at(-1)?.[1] === op.index) result.at(-1)[1] += 1;
    else result.push([op.index, op.index + 1]);
  }
  return result;
}

/** The outline between two step functions, one step per operator. */
function stairs(above, below, from, to, x, y) {
  const there = [];
  const back = [];
  for (let at = from; at <= to; at += 1) {
    there.push(`${x(at)} ${y(above[at])}`, `${x(at + 1)} ${y(above[at])}`);
    back.push(`${x(at)} ${y(below[at])}`, `${x(at + 1)} ${y(below[at])}`);
  }
  return `M${there.concat(back.reverse()).join("L")}Z`;
}

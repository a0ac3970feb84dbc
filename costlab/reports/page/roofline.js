/* Operators by operations per byte: under the ceilings of a device or, without a device, by their number of operations. */

import { EDGE, decades, drawing, logarithmic, tick, words } from "./axes.js";
import { panel, shape } from "./dom.js";
import { costOf, data, ops, root, share, within, written } from "./report.js";
import { chooseOp, subscribe } from "./state.js";
import { tips } from "./tip.js";
import { percent, seconds, short } from "./units.js";

const ROOM = 1.8; // beyond the outermost point
const NAMES = 10; // beyond the last ridge point: room for the names of ceilings
const RADII = [2.5, 26]; // pixels: of the smallest operator, and of one that takes the whole
const [ABOVE, BELOW] = [5, 14]; // pixels from a ceiling to its name: that of the highest stands above

/** Operators that compute. A mult-add is 2 operations, arithmetic outside contractions 1 an element-wise one. */
const points = ops.flatMap((op) => {
  const operations = 2 * (op.costs.mult_adds ?? 0) + (op.costs.element_wise_ops ?? 0);
  const bytes = op.costs.bytes_accessed;
  if (!operations || !bytes || (data.roofline && !op.seconds)) return [];
  return [{ op, x: operations / bytes, y: data.roofline ? operations / op.seconds : operations }];
});

export function showRoofline() {
  const { section, body, note } = panel("roofline");
  const device = data.roofline;
  const marks = new Map(); // the point of each mark
  let shown = null;
  section.querySelector("h2").textContent = device ? "Roofline" : "Arithmetic intensity";
  const area = (op) =>
    (device ? share(op.seconds, "predicted_seconds") : share(op.costs[shown.cost] ?? 0, shown.cost)) ?? 0;

  function draw(width, height) {
    marks.clear();
    if (!points.length) return [];
    const [xs, ys] = ranges();
    const x = logarithmic(xs, [EDGE.left, width - EDGE.right]);
    const y = logarithmic(ys, [height - EDGE.bottom, EDGE.top]);
    const dearest = [...points].sort((a, b) => area(b.op) - area(a.op));
    return [
      ...grid(width, height, x, y, xs, ys),
      ...(device ? ceilings(x, y, xs) : []),
      ...dearest.map((point) => mark(point, x(point.x), y(point.y))),
    ];
  }

  function mark(point, cx, cy) {
    const { op } = point;
    const r = Math.sqrt(RADII[0] ** 2 + area(op) * (RADII[1] ** 2 - RADII[0] ** 2));
    const made = shape("circle", { cx, cy, r, class: "mark" });
    made.style.setProperty("--colour", op.group.colour);
    marks.set(made, point);
    light(made, point);
    return made;
  }

  function light(made, { op }) {
    made.classList.toggle("faded", shown.module !== root && !within(op.module, shown.module));
    made.classList.toggle("chosen", op === shown.op);
  }

  const { picture, redraw } = drawing(
    body,
    "Operators by operations per byte; the table of operators tells their costs",
    draw,
  );
  picture.addEventListener("click", (event) => {
    const point = marks.get(event.target);
    if (point) chooseOp(point.op);
  });
  tips(picture, (event) => {
    const point = marks.get(event.target);
    if (!point) return null;
    const { op } = point;
    return [
      op.title,
      `${point.x.toPrecision(3)} operations/byte`,
      device
        ? `${seconds(op.seconds)} predicted, ${percent(area(op))}, ${op.bound}-bound`
        : `${written(op.costs[shown.cost], shown.cost)} ${costOf(shown.cost).name}`,
      device ? `${short(Math.round(point.y), "op/s")}` : "",
    ];
  });
  subscribe((state, before) => {
    shown = { ...state };
    note.textContent = device
      ? `predicted for ${device.running}; area: share of the time`
      : `no --device given; area: share of ${costOf(state.cost).name}`;
    if (state.cost !== before.cost && !device) redraw();
    else for (const [made, point] of marks) light(made, point);
  });
}

/** The ranges of both axes. */
function ranges() {
  const device = data.roofline;
  const highest = device ? Math.max(...device.peaks.map(([peak]) => peak)) : 0;
  const ridge = device ? highest / device.bandwidth : 0;
  const xs = points.map((point) => point.x).concat(device ? [ridge / 100, ridge * NAMES] : []);
  const x = [Math.min(...xs) / ROOM, Math.max(...xs) * ROOM];
  const ys = points.map((point) => point.y).concat(device ? [highest] : []);
  return [x, [Math.min(...ys) / ROOM, Math.max(...ys) * ROOM]];
}

function grid(width, height, x, y, xs, ys) {
  const bottom = height - EDGE.bottom;
  const middle = (EDGE.left + width - EDGE.right) / 2;
  const upright = data.roofline ? "operations / predicted second" : "operations";
  return [
    ...decades(xs, width / 70).flatMap((value) => [
      shape("line", { class: "grid", x1: x(value), x2: x(value), y1: EDGE.top, y2: bottom }),
      words(x(value), bottom + 15, String(value), { "text-anchor": "middle" }),
    ]),
    ...decades(ys, 7).flatMap((value) => [
      shape("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
      words(EDGE.left - 6, y(value) + 4, tick(value), { "text-anchor": "end" }),
    ]),
    words(middle, height - 6, "operations / byte accessed", { "text-anchor": "middle" }),
    words(0, 0, upright, {
      "text-anchor": "middle",
      transform: `translate(12 ${(EDGE.top + bottom) / 2}) rotate(-90)`,
    }),
  ];
}

/** The slope of the memory bandwidth, and a peak for every type. */
function ceilings(x, y, [left, right]) {
  const { peaks, peak: own, bandwidth } = data.roofline;
  const highest = Math.max(...peaks.map(([peak]) => peak));
  const slope = {
    class: "ceiling own",
    x1: x(left),
    y1: y(left * bandwidth),
    x2: x(highest / bandwidth),
    y2: y(highest),
  };
  const lines = peaks.map(([peak]) =>
    shape("line", {
      class: peak === own ? "ceiling own" : "ceiling",
      x1: x(peak / bandwidth),
      x2: x(right),
      y1: y(peak),
      y2: y(peak),
    }),
  );
  const names = peaks.map(([peak, types]) =>
    words(x(right), y(peak) + (peak === highest ? -ABOVE : BELOW), `${types} ${short(Math.round(peak), "FLOP/s")}`, {
      class: "named",
      "text-anchor": "end",
    }),
  );
  return [shape("line", slope), ...lines, ...names];
}

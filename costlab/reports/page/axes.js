/* Drawings as wide as their panel, with axes. */

import { shape } from "./dom.js";
import { short } from "./units.js";

export const EDGE = { left: 66, right: 14, top: 14, bottom: 40 }; // pixels around the axes

/** A drawing that fills `body`: `draw(width, height)` returns its parts and is called again whenever the panel is resized. */
export function drawing(body, label, draw) {
  const picture = shape("svg", { role: "img", "aria-label": label });
  body.append(picture);
  const redraw = () => {
    const [width, height] = [body.clientWidth, body.clientHeight];
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.replaceChildren(...draw(width, height));
  };
  new ResizeObserver(redraw).observe(body);
  return { picture, redraw };
}

/** Words at a place; `attributes` say how they are anchored. */
export function words(x, y, text, attributes = {}) {
  const made = shape("text", { x, y, ...attributes });
  made.textContent = text;
  return made;
}

/** The label of a round number on an axis, without trailing zeros. */
export function tick(value, unit = "") {
  return short(value, unit).replace(/\.0+(?= |$)/, "");
}

/** From numbers of `[low, high]` to pixels of `[from, to]`, along their logarithm. */
export function logarithmic([low, high], [from, to]) {
  const scale = (to - from) / Math.log(high / low);
  return (value) => from + Math.log(value / low) * scale;
}

/** Powers of ten of `[low, high]`, no more than `most`. */
export function decades([low, high], most) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const step = Math.max(1, Math.ceil((last - first + 1) / most));
  const result = [];
  for (let power = first; power <= last; power += step) result.push(10 ** power);
  return result;
}

/** Round numbers of `[0, high]`, about four. */
export function rounds(high) {
  const step = 10 ** Math.floor(Math.log10(high / 2 || 1));
  const fitting = [1, 2, 5, 10].map((factor) => factor * step).find((each) => high / each <= 5);
  return Array.from({ length: Math.floor(high / fitting) + 1 }, (_, i) => i * fitting);
}

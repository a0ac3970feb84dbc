/* A tooltip for what is under the pointer. */

import { element } from "./dom.js";

const DISTANCE = 14; // pixels from the pointer
const box = element("div", { className: "tip", hidden: true });
document.body.append(box);

/** While the pointer is over `place`, show the lines of `describe(event)`; no lines hide the tooltip. */
export function tips(place, describe) {
  place.addEventListener("pointermove", (event) => {
    const lines = describe(event);
    box.hidden = !lines;
    if (!lines) return;
    box.replaceChildren(...lines.filter(Boolean).map((line) => element("div", { textContent: line })));
    const right = event.clientX + DISTANCE + box.offsetWidth > document.documentElement.clientWidth;
    const low = event.clientY + DISTANCE + box.offsetHeight > window.innerHeight;
    box.style.left = `${Math.max(0, event.clientX + (right ? -DISTANCE - box.offsetWidth : DISTANCE))}px`;
    box.style.top = `${Math.max(0, event.clientY + (low ? -DISTANCE - box.offsetHeight : DISTANCE))}px`;
  });
  place.addEventListener("pointerleave", () => {
    box.hidden = true;
  });
}

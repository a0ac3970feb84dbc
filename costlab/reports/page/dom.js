/* Elements, created without markup: names stay text. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with its children, those that are nothing left out. What it has no property for becomes an attribute, and
 * `style` holds CSS properties.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.entries(value).forEach(([key, set]) => made.style.setProperty(key, set));
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(Boolean));
  return made;
}

/** An element of a drawing. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A button that looks like a link. */
export function link(words, onclick, properties = {}) {
  return element("button", { type: "button", className: "link", textContent: words, onclick, ...properties });
}

/** The parts of a section of the page. */
export function panel(id) {
  const section = document.getElementById(id);
  return { section, note: section.querySelector(".note"), body: section.querySelector(".body") };
}

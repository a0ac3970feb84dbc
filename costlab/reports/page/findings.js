/* The guidelines: a verdict for each, its findings, most expensive first, and why it matters. */

import { element, link, panel } from "./dom.js";
import { data, modules, root, titleOf, within } from "./report.js";
import { chooseModule, subscribe } from "./state.js";

const SHOWN = 5; // findings of a guideline shown before the rest is folded
const NAMED = 6; // modules of a finding shown before the rest is folded

export function showFindings() {
  const { body, note } = panel("findings");
  const opened = new Map(); // by rule: whether the reader opened or closed it
  const rules = data.lint.rules;
  const broken = rules.filter((rule) => rule.verdict === "BROKEN").length;
  const verdict = broken ? `${broken} broken` : "none broken";
  note.textContent = `${verdict}, ${data.lint.heading}; each finding shows what following its advice saves`;

  subscribe(({ module }, before) => {
    if (module === before.module) return;
    body.replaceChildren(...rules.map((rule, i) => section(rule, module, opened, i === 0)));
  });
}

function section(rule, module, opened, first) {
  const here = rule.findings.filter((found) => concerns(found, module));
  const measured = rule.limit === "-" ? rule.measured : `${rule.measured} (limit ${rule.limit})`;
  const made = element(
    "details",
    { className: `rule ${rule.verdict.toLowerCase()}`, open: opened.get(rule) ?? (first || rule.verdict === "BROKEN") },
    element(
      "summary",
      {},
      element("span", { className: "label", textContent: rule.label }),
      element("span", { className: "verdict", textContent: rule.verdict }),
      element("span", { className: "measured", textContent: measured }),
      element("span", { className: "count", textContent: `${rule.count} finding${rule.count === "1" ? "" : "s"}` }),
      element("span", { className: "quiet detail", textContent: rule.detail }),
    ),
    ...here.slice(0, SHOWN).map(entry),
    folded(here.slice(SHOWN), "smaller findings", entry),
    here.length < rule.findings.length && link("Show findings in other modules", () => chooseModule(root)),
    element(
      "details",
      { className: "page" },
      element("summary", { textContent: "Why this matters and what to do instead" }),
      ...rule.page.map(prose),
    ),
  );
  made.ontoggle = () => opened.set(rule, made.open);
  return made;
}

function concerns(found, module) {
  return (
    module === root ||
    found.modules.some((number) => within(modules[number], module) || within(module, modules[number]))
  );
}

function entry(found) {
  const places = found.modules.map((number) => modules[number]);
  const leads = (module) =>
    element(
      "li",
      {},
      link(titleOf(module), () => chooseModule(module)),
    );
  return element(
    "article",
    { className: found.severity },
    element(
      "div",
      { className: "price" },
      element("span", { className: "severity", textContent: found.severity }),
      found.price,
    ),
    element("p", { textContent: found.message }),
    found.advice && element("p", {}, element("strong", { textContent: "Instead: " }), found.advice),
    element("ul", { className: "places" }, ...places.slice(0, NAMED).map(leads)),
    folded(places.slice(NAMED), "more places", leads, "ul"),
  );
}

function folded(items, what, draw, tag = "div") {
  if (!items.length) return null;
  const summary = element("summary", { textContent: `${items.length} ${what}` });
  return element("details", { className: "rest" }, summary, element(tag, { className: "places" }, ...items.map(draw)));
}

/** A block of a guideline's page. */
function prose(block) {
  if (block.tag === "pre") return element("pre", { textContent: block.text });
  if (block.tag === "table") {
    const row = (tag) => (cells) => element("tr", {}, ...cells.map((textContent) => element(tag, { textContent })));
    const [head, ...rest] = block.rows;
    return element(
      "div",
      { className: "scroll" },
      element("table", {}, element("thead", {}, row("th")(head)), element("tbody", {}, ...rest.map(row("td")))),
    );
  }
  return element("p", {}, ...block.spans.map(([tag, words]) => (tag ? element(tag, { textContent: words }) : words)));
}

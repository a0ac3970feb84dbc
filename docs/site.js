// Boxes that scroll take the keyboard's focus; navigation and the buttons of each block of code have names of their own.
const named = new Set();
function name() {
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((box) => (box.tabIndex = 0));
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((buttons) => {
    buttons.setAttribute("aria-label", `Code ${buttons.parentElement.id}`);
  });
  document.querySelectorAll(".md-nav--secondary .md-nav[aria-label]:not([data-named])").forEach((part) => {
    part.dataset.named = "";
    let label = `On this page: ${part.getAttribute("aria-label")}`;
    while (named.has(label.toLowerCase())) label += ", again";
    named.add(label.toLowerCase());
    part.setAttribute("aria-label", label);
  });
}
name();
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });

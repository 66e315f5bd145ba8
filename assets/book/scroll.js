/* What scrolls sideways can be reached by keyboard, and says that it goes on (site.css). The theme sees to keys, but
not where formulae, figures and viewers come or change later. */

(() => {
  const BOXES =
    "pre, mjx-container[display], .cell_output > .output, .text_html > [role='region'], .wide-figure," +
    " .slicewise-scroll, .pst-scrollable-table-container";
  const LEGIBLE = 640; // CSS pixels; a narrower figure is one panel, and shrinks with the page

  const look = (box) => {
    const hidden = box.scrollWidth - box.clientWidth;
    if (hidden > 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    box.toggleAttribute("data-scrolls", hidden > 1);
    box.toggleAttribute("data-goes-on", hidden - box.scrollLeft > 1);
  };
  const sizes = new ResizeObserver((seen) => seen.forEach(({ target }) => look(target)));
  const scrolled = ({ target }) => look(target);
  const watch = (part) => {
    for (const box of part.querySelectorAll(BOXES)) {
      sizes.observe(box);
      box.addEventListener("scroll", scrolled, { passive: true });
      // In words, for eyes alone. Code needs none: it is seen to be cut.
      if (box.matches("pre") || box.nextElementSibling?.matches(".scroll-cue")) continue;
      const cue = document.createElement("div");
      cue.className = "scroll-cue";
      cue.setAttribute("aria-hidden", "true");
      box.after(cue);
    }
  };
  const lively = new MutationObserver((changes) => changes.forEach(({ target }) => watch(target)));
  const begin = () => {
    for (const article of document.querySelectorAll("article")) watch(article);
    for (const place of document.querySelectorAll(".slicewise-page"))
      lively.observe(place, { childList: true });
  };

  for (const figure of document.querySelectorAll(".cell_output > img")) {
    if (figure.getAttribute("width") < LEGIBLE) continue;
    const box = document.createElement("div");
    box.className = "wide-figure";
    figure.replaceWith(box);
    box.append(figure);
  }
  // MathJax begins, as this does, before the page is ready, and has set all formulae some time later.
  document.addEventListener("DOMContentLoaded", () =>
    Promise.resolve(window.MathJax?.startup?.promise).then(begin),
  );
})();

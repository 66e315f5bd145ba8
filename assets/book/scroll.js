/* What scrolls sideways can be reached by keyboard, and shows that it goes on. The theme sees to keys, but not where
formulae, figures and viewers come or change later. */

(() => {
  const look = (box) => {
    const hidden = box.scrollWidth - box.clientWidth;
    if (hidden > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    box.toggleAttribute("data-goes-on", hidden - box.scrollLeft > 1);
  };
  const sizes = new ResizeObserver((seen) => seen.forEach(({ target }) => look(target)));
  const watch = () => {
    const boxes = "mjx-container[display], .cell_output, .cell_output > .output";
    for (const box of document.querySelectorAll(boxes)) {
      sizes.observe(box);
      box.addEventListener("scroll", () => look(box), { passive: true });
    }
  };
  // MathJax begins, as this does, before the page is ready, and has set all formulae some time later.
  document.addEventListener("DOMContentLoaded", () => Promise.resolve(window.MathJax?.startup?.promise).then(watch));
})();

"""Pages on paper: nothing folded, nothing cut off, nothing that only a screen can use."""

import importlib.util

import pytest

from tests.lessonfile import ROOT

FOUND = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (selector) => all(selector).filter((each) => each.checkVisibility());
  return {
    folded: all("details:not([open])").length,
    pictures: document.images.length,
    missing: [...document.images].filter((picture) => !picture.naturalWidth).map((picture) => picture.src),
    controls: seen(".slicewise-controls").length,
    over: seen(".bd-article pre, .bd-article img")
      .filter((each) => each.scrollWidth > each.clientWidth + 1)
      .map((each) => each.textContent.slice(0, 60) || each.src),
    solutions: seen(".tag_solution pre").length,
  };
}"""


@pytest.fixture(scope="module")
def printing():
    spec = importlib.util.spec_from_file_location("print_pages", ROOT / "assets" / "print_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_lesson_is_whole_on_paper(site, chromium, printing):
    tab = printing.open_page(chromium, site / "lessons" / "03_masks_and_filters.html")
    tab.set_viewport_size({"width": 673, "height": 1000})  # what lies between the margins of A4
    found = tab.evaluate(FOUND)
    assert found["folded"] == 0 and found["solutions"] >= 5
    assert found["pictures"] > 10 and found["missing"] == []
    assert found["controls"] == 0
    assert found["over"] == []
    pdf = tab.pdf(**printing.PAPER)
    assert pdf.startswith(b"%PDF-") and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") > 5
    tab.close()

"""The website is for everybody: by eye or ear, wide or narrow, light or dark, by mouse, touch or keyboard."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import lessonfile
from tests.lessonfile import ROOT, read
from tests.website import pages_of, visit

AXE = Path(*importlib.util.find_spec("axe_playwright_python").submodule_search_locations) / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NARROW = (360, 640)  # a phone's width, and 1280 at 200 %: the layout knows pixels of CSS alone
# All there is to see: what is folded, and what a quiz says. Of the tokens of code that look the same on the
# same ground, one each keeps its element: axe takes four times as long with all.
UNFOLD = """() => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  for (const quiz of document.querySelectorAll(".quiz-form")) {
    quiz.querySelector("input").click();
    quiz.querySelector(".quiz-check").click();
  }
  const kept = new Set();
  for (const token of document.querySelectorAll(".highlight pre span[class]")) {
    const look = `${token.className} ${getComputedStyle(token.closest(".highlight")).backgroundColor}`;
    if (kept.has(look)) token.replaceWith(...token.childNodes);
    kept.add(look);
  }
  for (const code of document.querySelectorAll("pre")) code.normalize();
}"""
DRESS = """async (theme) => {
  Object.assign(document.documentElement.dataset, { theme, mode: theme });
  await new Promise((done) => setTimeout(done, 100));
}"""
JUDGE = """async (rules) => {
  const type = rules.includes("target-size") ? "rule" : "tag";
  const runOnly = { type, values: rules };
  const found = await axe.run(document, { resultTypes: ["violations"], runOnly });
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}"""
# What is wider than the page, and what scrolls in a box of its own that no key reaches.
MEASURE = """async () => {
  await new Promise((done) => setTimeout(done, 400));  // the viewers lay themselves out
  const root = document.documentElement;
  const faults = [];
  if (root.scrollWidth > root.clientWidth) {
    const wide = [...document.querySelectorAll("article *")]
      .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > root.clientWidth + 1);
    faults.push(`${root.scrollWidth} wide: ${wide.at(-1)?.outerHTML.slice(0, 100)}`);
  }
  for (const box of document.querySelectorAll("article *"))
    if (box.scrollWidth > box.clientWidth + 1 && box.clientWidth && box.tabIndex < 0 && box.checkVisibility()
        && ["auto", "scroll"].includes(getComputedStyle(box).overflowX))
      faults.push(`out of reach of keys: ${box.outerHTML.slice(0, 100)}`);
  return faults;
}"""
STOPS = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, summary, iframe, [tabindex]")];
  return all.filter((each) => each.tabIndex >= 0 && !each.disabled)
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => each.type !== "radio" || each === each.form.elements[each.name][0])  // then by arrows
    .map((each, n) => (each.dataset.stop = `${n}: ${each.outerHTML.slice(0, 120)}`));
}"""
FOCUSED = """() => {
  const here = document.activeElement;
  const shown = [here, here.closest(".slicewise-frame")].filter(Boolean).some((each) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(each);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
  });
  const { top, bottom, left, right } = here.getBoundingClientRect();
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const over = document.elementFromPoint(x, y);  // such as a bar that stays at the window's edge
  const covered = over && !here.contains(over) && !over.contains(here) && getComputedStyle(over).opacity > 0;
  const seen = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth && !covered;
  return { stop: here.dataset.stop ?? here.outerHTML.slice(0, 120), shown: shown && seen };
}"""
MOVING = """() => [...document.querySelectorAll("*")].filter((each) => each.autoplay ||
  [null, "::before", "::after"].some((part) => {
    const style = getComputedStyle(each, part);
    const longest = (times) => Math.max(...times.split(",").map(parseFloat));
    return longest(style.transitionDuration) > 0.001 || style.scrollBehavior !== "auto"
      || (style.animationName !== "none" && longest(style.animationDuration) > 0.001);
  })
).map((each) => each.outerHTML.slice(0, 100))"""
PHONE_RULES = ["color-contrast", "target-size"]  # what another layout may change
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
# What scrolls sideways without a mark in colour or, but for code, without words below; what has a mask; what
# was printed and does not wrap.
SCROLLING = """() => {
  const boxes = [...document.querySelectorAll("article *")].filter((box) =>
    box.scrollWidth > box.clientWidth + 1 && box.clientWidth && box.checkVisibility()
    && ["auto", "scroll"].includes(getComputedStyle(box).overflowX));
  const says = (box) => {
    const { borderRightWidth, borderRightColor } = getComputedStyle(box);
    const cue = box.nextElementSibling;
    const words = cue?.matches(".scroll-cue") && cue.checkVisibility({ visibilityProperty: true });
    return parseFloat(borderRightWidth) > 2 && !borderRightColor.endsWith(", 0)")
      && (box.matches("pre") || (words && cue.getBoundingClientRect().right <= innerWidth));
  };
  const named = (found) => found.map((each) => each.outerHTML.slice(0, 100));
  return {
    boxes: boxes.length,
    silent: named(boxes.filter((box) => !says(box))),
    veiled: named([...document.querySelectorAll("article *")].filter((each) =>
      getComputedStyle(each).maskImage !== "none" && each.querySelector("img, table, pre, canvas"))),
    printed: named(boxes.filter((box) => box.matches(".cell_output pre"))),
  };
}"""
FIGURES = """() => [...document.querySelectorAll(".cell_output > img, .wide-figure > img")]
  .filter((each) => each.checkVisibility())
  .map((each) => [each.naturalWidth, each.getBoundingClientRect().width])"""
HEADINGS = ("h1", "h2", "h3", "h4")
LOOKS = """(selector) => {
  const { fontSize, fontWeight } = getComputedStyle(document.querySelector(selector));
  return [parseFloat(fontSize), parseFloat(fontWeight)];
}"""
SAYS_NOTHING = re.compile(
    r"(an? |the )?(plot|image|picture|photo|figure|graph|chart|screenshot)s? (of|show)", re.I
)


@pytest.fixture(scope="module")
def looks(site, address, chromium):
    """Look at each page once: light, dark and narrow, with everything unfolded."""
    found = {}
    for path in pages_of(site):
        if path == "index.html":  # which only leads to the first page
            continue
        page = visit(chromium, address, path, reduced_motion="reduce")
        page.add_script_tag(path=AXE)
        page.evaluate(UNFOLD)
        found[path] = {}
        for theme in ("light", "dark"):
            page.evaluate(DRESS, theme)
            found[path][theme] = page.evaluate(JUDGE, RULES)
        for width in NARROW:
            page.set_viewport_size({"width": width, "height": 800})
            found[path][width] = page.evaluate(MEASURE)
        page.evaluate(DRESS, "light")
        page.set_viewport_size({"width": min(NARROW), "height": 800})
        found[path]["phone"] = page.evaluate(JUDGE, PHONE_RULES)
        found[path]["moving"] = page.evaluate(MOVING)
        page.context.close()
    assert len(found) > 20
    return found


@pytest.mark.parametrize("theme", ["light", "dark", "phone"])
def test_axe_finds_no_violation(looks, theme):
    assert {path: found[theme] for path, found in looks.items() if found[theme]} == {}


@pytest.mark.parametrize("width", NARROW)
def test_no_page_is_wider_than_a_narrow_window(looks, width):
    assert {path: found[width] for path, found in looks.items() if found[width]} == {}


def test_axe_and_the_measure_would_find_a_fault(address, chromium):
    page = visit(chromium, address, "lessons/glossary.html", viewport={"width": 360, "height": 800})
    page.add_script_tag(path=AXE)
    faulty = """<p style="color: #999; background: #fff">pale</p><img src="_">
        <div style="overflow: auto"><p style="width: 999px">far</p></div><p style="width: 500px">wide</p>"""
    page.evaluate("(text) => document.querySelector('article').insertAdjacentHTML('beforeend', text)", faulty)
    rules = {fault.partition(":")[0] for fault in page.evaluate(JUDGE, RULES)}
    assert {"color-contrast", "image-alt"} <= rules
    faults = page.evaluate(MEASURE)
    assert len(faults) == 2
    assert "500px" in faults[0]
    assert 'out of reach of keys: <div style="overflow: auto">' in faults[1]
    page.context.close()


@pytest.mark.parametrize(
    "path",
    [f"lessons/{name}.html" for name in ("index", "03_masks_and_filters", "06_demons", "cluster")],
)
def test_keys_reach_everything_and_show_where_they_are(address, chromium, path):
    page = visit(chromium, address, path, reduced_motion="reduce")  # else what appears takes its time
    stops = page.evaluate(STOPS)
    reached, unseen = [], []
    for _ in range(len(stops) + 10):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["stop"].startswith("<body"):  # once around
            break
        reached.append(found["stop"])
        unseen += [] if found["shown"] else [found["stop"]]
    assert sorted(set(stops) - set(reached)) == []
    assert unseen == [], "\n".join(unseen)
    page.context.close()


def test_first_key_offers_to_skip_what_every_page_has(address, chromium):
    page = visit(chromium, address, "lessons/01_image_intro.html")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#main-content').contains(document.activeElement)")
    page.context.close()


def on_a_phone(chromium, address, path):
    """Open a page on a phone."""
    return visit(chromium, address, path, **PHONE)


@pytest.mark.parametrize("path", ["lessons/05_oasis_comparison.html", "lessons/data_sheets.html"])
def test_on_a_phone_what_goes_on_says_so_and_nothing_lies_on_data(address, chromium, path):
    page = on_a_phone(chromium, address, path)
    found = page.evaluate(SCROLLING)
    assert found["boxes"] > 10
    assert found["silent"] == []
    assert found["veiled"] == []
    assert found["printed"] == []
    page.context.close()


def test_a_figure_on_a_phone_is_whole_or_legible_and_scrolls(address, chromium):
    page = on_a_phone(chromium, address, "lessons/04_measurement.html")
    column = page.locator("article").evaluate("(article) => article.clientWidth")
    pictures = page.evaluate(FIGURES)
    assert {natural < 640 for natural, _ in pictures} == {True, False}
    for natural, shown in pictures:
        assert shown == 640 if natural >= 640 else shown <= min(natural, column)
    # What was printed in the same cell stays where it is.
    cells = page.locator(".cell_output:has(img)")
    assert cells.evaluate_all("(all) => all.every((cell) => cell.scrollWidth <= cell.clientWidth)")
    box = page.locator(".wide-figure").first
    box.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    expect(box).not_to_have_attribute("data-goes-on", "")
    expect(box.locator("+ .scroll-cue")).not_to_be_visible()
    page.context.close()


def test_headings_fall_in_size_and_links_to_the_next_page_are_whole(address, chromium):
    page = on_a_phone(chromium, address, "lessons/versions.html")
    page.evaluate("document.querySelector('article').insertAdjacentHTML('beforeend', '<h3>A</h3><h4>B</h4>')")
    sizes, weights = zip(*(page.evaluate(LOOKS, f"article {name}") for name in HEADINGS), strict=True)
    assert list(sizes) == sorted(set(sizes), reverse=True)
    assert list(weights) == sorted(weights, reverse=True)
    for path in ("lessons/versions.html", "lessons/03_masks_and_filters.html", "reference/viewing.html"):
        page.goto(address + path)
        for part in page.locator(".prev-next-area a, .prev-next-area p").all():
            assert part.evaluate("(each) => each.scrollWidth <= each.clientWidth"), path
            edges = part.bounding_box()
            assert edges["x"] >= 0 and edges["x"] + edges["width"] <= 360, path
    page.context.close()


def test_a_drawer_closes_by_its_button_and_when_an_entry_was_chosen(address, chromium):
    page = on_a_phone(chromium, address, "lessons/04_measurement.html")
    page.locator(".primary-toggle:visible").tap()
    page.locator("dialog[open] .drawer-close").tap()
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.locator(".secondary-toggle:visible").tap()
    entry = page.locator("dialog[open] a[href^='#']").last
    goal = entry.get_attribute("href")
    entry.tap()
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(goal)).to_be_in_viewport()
    expect(page.locator(".drawer-close:visible")).to_have_count(0)
    page.context.close()


def test_who_asks_for_stillness_gets_it(address, chromium):
    path = "lessons/03_masks_and_filters.html"
    page = visit(chromium, address, path, settle=False, reduced_motion="no-preference")
    assert page.evaluate(MOVING)  # there is something to still
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVING) == []
    page.context.close()


def test_no_page_moves_for_who_asks_for_stillness(looks):
    assert {path: found["moving"] for path, found in looks.items() if found["moving"]} == {}


def test_a_dark_page_changes_no_intensity(address, chromium):
    page = visit(chromium, address, "lessons/01_image_intro.html", settle=False)
    page.evaluate(DRESS, "dark")
    filters = page.evaluate(
        "[...document.querySelectorAll('article img')].map((img) => getComputedStyle(img).filter)"
    )
    assert len(filters) > 5
    assert set(filters) == {"none"}
    page.context.close()


# What is not seen


@pytest.mark.parametrize("lesson", [*lessonfile.LESSONS, *lessonfile.PAGES], ids=lambda lesson: lesson.stem)
def test_alternative_texts_say_what_is_seen(lesson):
    """Each has some length, is said once, and tells what a picture shows, not that it is one."""
    alts = [alt for cell in read(lesson).cells if (alt := alt_of(cell))]
    for alt in alts:
        assert 40 <= len(alt) <= 400, alt
        assert len(alt.split()) >= 8, alt
        assert not SAYS_NOTHING.match(alt), alt
        assert alt[0].isupper() and not alt.endswith("."), alt
    assert len(alts) == len(set(alts))


@pytest.mark.parametrize("lesson", lessonfile.LESSONS, ids=lambda lesson: lesson.stem)
def test_what_a_viewer_shows_is_said_before_it(lesson, site):
    source = (site / "lessons" / f"{lesson.stem}.html").read_text(encoding="utf-8")
    said = re.findall(
        r'<p class="visually-hidden">[^<]{40,}</p><div class="output text_html"><div class="slicewise-page"',
        source,
    )
    assert len(said) == source.count('<div class="slicewise-page"') > 0


def alt_of(cell):
    """Return the alternative text of a cell, or nothing."""
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


# HTML as the standard has it


def test_all_pages_are_mended_and_mending_again_changes_nothing(site):
    location = ROOT / "assets" / "book" / "accessible_pages.py"
    spec = importlib.util.spec_from_file_location("accessible_pages", location)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    for path in pages_of(site):
        page = (site / path).read_text(encoding="utf-8")
        assert extension.mend(page) == page, path
    assert extension.mend("<p><ul>\n</ul>\n</p>") == "<ul>\n</ul>\n"


# The Nu validator is a program in Java, which the continuous integration installs as the command `vnu`; where
# it is not to be had, there is no such test.

# Messages of an older validator about what the standard has since allowed.
ALLOWED_SINCE = r"Attribute “autocorrect” not allowed on element “input” at this point\."

if shutil.which("vnu"):

    def test_pages_are_valid_html(site):
        pages = [str(site / path) for path in pages_of(site)]
        options = ["--errors-only", "--format", "json", "--filterpattern", ALLOWED_SINCE]
        told = subprocess.run(["vnu", *options, *pages], capture_output=True, text=True).stderr
        found = [
            f"{each['url']}:{each.get('lastLine')}: {each['message']}"
            for each in json.loads(told)["messages"]
        ]
        assert found == []

    def test_the_validator_would_find_a_fault(tmp_path):
        (tmp_path / "page.html").write_text(
            "<!DOCTYPE html><title>A</title><p><ul></ul></p>", encoding="utf-8"
        )
        told = subprocess.run(["vnu", tmp_path / "page.html"], capture_output=True, text=True).stderr
        assert "No “p” element in scope" in told

"""The website builds from nothing without a warning, holds together, and is complete without another host."""

import gzip
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urlparse

import jupytext
import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image
from playwright.sync_api import expect

from tests import lessonfile, website
from tests.lessonfile import ROOT, expected_error, points, read, tags
from tests.website import pages_of, visit

MOST_BYTES = {"first page": 1_500_000, "lesson": 6_000_000, "another page": 3_000_000}
TEXT = {".html", ".js", ".css", ".svg", ".txt", ".json"}  # which servers compress on the way
GENERATED = {"genindex.html", "search.html"}
FETCHED = ("src", "srcset", "poster", "data", "action", "formaction")  # what a browser asks for by itself
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""")
ELSEWHERE = re.compile(r"(?:(?!data:|blob:)[a-z][a-z+.-]*:|//)", re.I)
VIEWER = re.compile(
    r'<div class="slicewise-page" data-module="([^"]+)"><div class="slicewise-still">(.*?)</div>'
    r'<script type="application/json">(.*?)</script>',
    re.S,
)

# What a reader does with the widgets of a page: moves sliders, chooses from lists, presses a key on a plane.
TOUCH = """async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const dead = [];
  for (const place of document.querySelectorAll(".slicewise-page")) {
    const title = place.textContent.trim().slice(0, 40);
    const picture = place.querySelector("img.slicewise-picture");
    if (!place.querySelector(".slicewise-viewer")) dead.push(`${title}: is not there`);
    for (const input of picture ? place.querySelectorAll("input, select") : []) {
      const [before, said] = [picture.src, place.querySelector(".slicewise-says").textContent];
      if (input.type === "checkbox") input.click();
      else if (input.type === "range") input.value = input.valueAsNumber < input.max ? input.max : input.min;
      else input.selectedIndex = (input.selectedIndex + 1) % input.options.length;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      await picture.decode();
      if (picture.clientWidth < 100) dead.push(`${title}: the picture is ${picture.clientWidth} wide`);
      if (picture.src === before && place.querySelector(".slicewise-says").textContent === said)
        dead.push(`${title}: ${input.previousElementSibling?.textContent} changes nothing`);
    }
    const plane = place.querySelector("canvas.slicewise-plane");
    if (plane) {
      const before = place.querySelector(".slicewise-readout").textContent;
      plane.focus();
      plane.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
      await pause(60);
      if (place.querySelector(".slicewise-readout").textContent === before) dead.push(`${title}: is deaf`);
    }
  }
  return dead;
}"""
FORMULAS = """() => ({
  drawn: document.querySelectorAll("mjx-container").length,
  spoken: document.querySelectorAll("mjx-container mjx-assistive-mml math").length,
  // An unknown command is no error to MathJax: it stands there in red.
  wrong: [...document.querySelectorAll("mjx-merror, mjx-assistive-mml [mathcolor=red]")]
    .map((each) => each.textContent),
  raw: [...document.querySelectorAll("article :not(script, code, pre, pre *, code *)")]
    .flatMap((each) => [...each.childNodes])
    .filter((node) => node.nodeType === 3 && /\\\\[([]|\\$\\$/.test(node.data)).map((node) => node.data),
})"""
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((each) => (sum += each.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""
PICTURES = """() => [...document.images].filter((image) => image.checkVisibility() && image.complete)
  .filter((image) => !image.naturalWidth || (image.clientWidth > 40 && Math.abs(
    image.clientWidth / image.clientHeight / (image.naturalWidth / image.naturalHeight) - 1) > 0.02))
  .map((image) => image.src.slice(-80))"""


class Page(HTMLParser):
    """Collect the links, anchors, pictures and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.pictures = [], set(), []
        self.fetched, self.said, self.scripts = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self._pieces, self._unseen = [], 0
        self.feed(self.source)
        self.text = " ".join("".join(self._pieces).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "img":
            self.pictures.append(attributes)
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        self.fetched += [attributes[name] for name in FETCHED if attributes.get(name)]
        self.fetched += [attributes["href"] for _ in "1" if tag == "link" and attributes.get("href")]
        self.said += [attributes[name] for name in ("alt", "title", "aria-label") if attributes.get(name)]
        self.scripts += [value for name, value in attributes.items() if name.startswith("on") and value]
        self._unseen += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._unseen -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._unseen:
            self._pieces.append(data)
        elif self.lasttag == "style":
            self.fetched += IN_STYLE.findall(data)
        elif data[:1] != "{":  # a viewer's state may name sources
            self.scripts.append(data)


@pytest.fixture(scope="module")
def pages(site):
    pages = {site / path: Page(site / path) for path in pages_of(site)}
    assert pages
    return pages


@pytest.fixture(scope="module")
def visits(site, address, chromium):
    """Open each page once as a reader would, and keep what came of it."""
    found = {}
    for path in pages_of(site):
        if path == "index.html":  # which only leads on
            continue
        page = visit(chromium, address, path)
        dead = page.evaluate(TOUCH)
        found[path] = {
            "outside": [url for url in page.requested if not url.startswith((address, "data:", "blob:"))],
            "bytes": weigh(site, address, page.requested),
            "dead": dead if page.settled else [*dead, "some pictures never came"],
            "formulas": page.evaluate(FORMULAS),
            "pictures": page.evaluate(PICTURES),
            "failures": list(page.failures),
            "viewers": page.locator(".slicewise-page").count(),
        }
        page.context.close()
    return found


def weigh(site, address, urls):
    """Return (bytes on the way, bytes unpacked) of all that a page loads, text compressed as servers do."""
    packed = plain = 0
    for url in {urldefrag(url)[0].split("?")[0] for url in urls if url.startswith(address)}:
        file = site / unquote(url.removeprefix(address))
        content = file.read_bytes() if file.is_file() else b""  # what is missing, another test tells
        plain += len(content)
        packed += len(gzip.compress(content, 6)) if Path(url).suffix in TEXT else len(content)
    return packed, plain


def kind_of(path):
    if path in ("index.html", "lessons/index.html"):
        return "first page"
    return "lesson" if re.fullmatch(r"lessons/\d\d_\w+\.html", path) else "another page"


def test_every_lesson_has_a_page_that_links_lead_to(site, pages):
    for source in (*(ROOT / "lessons").rglob("*.md"), ROOT / "classroom" / "guide.md"):
        assert (site / source.relative_to(ROOT).with_suffix(".html")).exists()
    reached, waiting = set(), [site / "lessons" / "index.html"]
    while waiting:
        path = waiting.pop()
        if path in pages and path not in reached:
            reached.add(path)
            links = (unquote(urlparse(link).path) for link in pages[path].links if not urlparse(link).scheme)
            waiting += [Path(os.path.normpath(path.parent / link)) for link in links if link]
    orphans = {path.relative_to(site).as_posix() for path in pages.keys() - reached}
    assert orphans <= {"index.html", "404.html"}


def test_words_and_seconds_lead_to_the_lessons(site):
    glossary = (site / "lessons" / "glossary.html").read_text("utf-8")
    texts = [lesson.read_text("utf-8") for lesson in lessonfile.LESSONS]
    terms = {anchor for text in texts for anchor in re.findall(r"\]\(glossary\.md#([\w-]+)\)", text)}
    assert glossary.count('<p class="met-in">') == len(terms) > 0
    versions = (site / "lessons" / "versions.html").read_text("utf-8")
    timed = re.findall(r'href="(\w+)\.html">[^<]+</a></p></td>\s*<td><p>\d+</p></td>', versions)
    assert {lesson.stem for lesson in lessonfile.LESSONS} <= set(timed)


def test_internal_links_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            parsed = urlparse(target)
            if parsed.scheme or parsed.netloc or not (target or anchor):
                continue
            file = Path(os.path.normpath(path.parent / unquote(parsed.path))) if target else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or not file.is_relative_to(site):  # what lies beside the site is not served
                broken.append(f"{path.relative_to(site)} -> {link}")
            elif anchor and file in pages and unquote(anchor) not in pages[file].anchors:
                broken.append(f"{path.relative_to(site)} -> {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_links_to_other_hosts_are_meant(site, pages):
    """A file's name in the prose, such as README.md, would become a link to a host of that name."""
    outside = [(path, link) for path, page in pages.items() for link in page.links if ELSEWHERE.match(link)]
    meant = re.compile(r"https://(?!localhost|127\.)[\w-]+\.|mailto:", re.I)
    odd = [f"{path.relative_to(site)} -> {link}" for path, link in outside if not meant.match(link)]
    assert outside and not odd, "\n".join(odd)


def test_nothing_that_a_page_asks_for_lies_elsewhere(site, pages):
    """Not even what only paper, the dark, a click or a later page would need."""
    asked = [(path, url) for path, page in pages.items() for url in page.fetched]
    for style in site.rglob("*.css"):
        asked += [(style, url) for url in IN_STYLE.findall(style.read_text(encoding="utf-8"))]
    for path, page in pages.items():
        asked += [(path, url) for text in page.scripts for url in re.findall(r"(?:https?|wss?)://\S+", text)]
    for script in (ROOT / "assets" / "book").glob("*.js"):
        asked += [
            (site / script.name, url)
            for url in re.findall(r"(?:https?|wss?)://\S+", script.read_text("utf-8"))
        ]
    found = [f"{path.relative_to(site)}: {url}" for path, url in asked if ELSEWHERE.match(url)]
    assert len(asked) > 500 and not found, "\n".join(found)


def test_every_file_of_a_viewer_is_there_and_whole(site, pages):
    """Also a picture that only the middle of a slider shows, and voxels for a page opened from a folder."""
    folder, named = site / "_viewers", {"viewers.css", "page.js"}
    for path, page in pages.items():
        viewers = VIEWER.findall(page.source)
        assert len(viewers) == page.source.count('<div class="slicewise-page"'), path.name
        for module, still, text in viewers:
            stills = re.findall(r' src="(?:\.\./)*_viewers/([^"]+)"', still)
            assert len(stills) == 1, f"{path.name}: a viewer has no still picture for where no script runs"
            state = json.loads(text)
            voxels = [layer["voxels"] for layer in state.get("_voxels", {}).get("layers", ())]
            named |= {f"{module}.js", *stills, *voxels, *(f"{name}.js" for name in voxels)}
            named |= {picture for picture, _ in state.get("pictures", {}).values()}
    there = {path.name for path in folder.iterdir()}
    assert named - there == set(), "viewers name files that are not there"
    assert there - named == set(), "no viewer names these files"
    for path in folder.iterdir():
        if path.suffix not in (".js", ".css"):  # a name tells the content
            assert sha256(path.read_bytes()).hexdigest()[:16] == path.stem, f"{path.name} is damaged"
        if path.suffix == ".bin":
            text = (folder / f"{path.name}.js").read_text(encoding="utf-8")
            assert b64decode(re.search(r'\] = "(.*)";', text)[1]) == path.read_bytes(), path.name


@pytest.mark.parametrize("colours", [2, 256, 257])
@pytest.mark.parametrize("alpha", [None, 255, 100])
def test_a_picture_is_packed_without_a_change(colours, alpha, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "assets" / "book")
    smallest = importlib.import_module("lighten").smallest
    steps = np.arange(64 * 64).reshape(64, 64) % colours  # neighbours, which a palette may take for one
    parts = [steps % 256, steps % 256, steps // 256]
    parts += [] if alpha is None else [np.full_like(steps, alpha)]
    png = BytesIO()
    Image.fromarray(np.stack(parts, axis=-1).astype(np.uint8)).save(png, "png")
    _, packed = smallest(png.getvalue())
    assert pixels(BytesIO(packed)) == pixels(png)


def test_every_picture_has_alternative_text(pages):
    for path, page in pages.items():
        for picture in page.pictures:
            if "logo__image" not in (picture.get("class") or ""):  # whose link says the same in words
                alt = picture.get("alt") or ""
                told = len(alt) >= 40 and len(alt.split()) >= 8
                assert told, f"{path.name}: “{alt}” does not say what {picture.get('src')} shows"


def test_no_error_and_no_check_is_shown(pages):
    for path, page in pages.items():
        assert "Not yet:" not in page.source
        for error in re.findall(r"(\w+Error)</span>\s+Traceback", page.source):
            lesson = (ROOT / "lessons" / f"{path.stem}.md").read_text(encoding="utf-8")
            assert f"raises-{error}" in lesson


def test_every_page_says_what_it_is(site, pages):
    for path, page in pages.items():
        if path.name in GENERATED or path == site / "index.html":
            continue
        assert re.search(r"<title>[^<]{8,}</title>", page.source)
        assert len(re.findall(r'<meta name="description" content="[^"]{20,160}"', page.source)) == 1, path


def test_words_are_spelled_right(site, pages, tmp_path):
    """What is read, and what is only heard."""
    for path, page in pages.items():
        text = "\n".join([page.text, *page.said])
        (tmp_path / path.relative_to(site).as_posix().replace("/", "_")).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "", run.stdout


# In the browser: each page is opened once, scrolled to its end, and its widgets are touched


def test_no_request_leaves_the_host(visits):
    assert {path: found["outside"] for path, found in visits.items() if found["outside"]} == {}


def test_nothing_is_missing_and_no_page_complains(visits):
    assert {path: found["failures"] for path, found in visits.items() if found["failures"]} == {}


def test_every_widget_answers(visits):
    assert {path: found["dead"] for path, found in visits.items() if found["dead"]} == {}
    assert sum(found["viewers"] for found in visits.values()) >= 20


def test_pictures_are_whole_and_in_proportion(visits):
    assert {path: found["pictures"] for path, found in visits.items() if found["pictures"]} == {}


def test_every_formula_is_drawn_and_can_be_heard(visits, site, pages):
    total = 0
    for path, found in visits.items():
        written = len(re.findall(r'class="math notranslate', pages[site / path].source))
        formulas = found["formulas"]
        assert (formulas["drawn"], formulas["spoken"]) == (written, written), path
        assert formulas["wrong"] == [], path
        assert formulas["raw"] == [], path
        total += written
    assert total > 50


def test_pages_are_light(visits):
    print("\nbytes on the way, unpacked")
    for path, found in visits.items():
        print("{:>12,} {:>12,}  {}".format(*found["bytes"], path))
    heavy = {
        path: found["bytes"]
        for path, found in visits.items()
        if found["bytes"][0] > MOST_BYTES[kind_of(path)]
    }
    assert not heavy


def test_a_page_opened_from_a_folder_is_live_too(site, chromium):
    page = visit(chromium, site.as_uri() + "/", "lessons/02_affines.html")
    assert page.settled
    assert page.evaluate(TOUCH) == []
    assert page.evaluate(FORMULAS)["wrong"] == []
    assert [url for url in page.requested if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.failures == []
    page.context.close()


def test_without_scripts_each_widget_is_a_picture(site, address, chromium):
    page = visit(chromium, address, "lessons/02_affines.html", settle=False, java_script_enabled=False)
    stills = page.locator(".slicewise-page .slicewise-still img")
    assert stills.count() == page.locator(".slicewise-page").count() > 0
    for still in stills.all():
        still.scroll_into_view_if_needed()
        expect(still).to_be_visible()
        assert (site / "lessons" / still.get_attribute("src")).is_file()
    page.context.close()


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_moves_while_the_first_page_comes(address, chromium, width):
    """Slowly, so that it is painted before its scripts and voxels are there."""
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    slow = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 90_000}
    context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.goto(f"{address}lessons/index.html", wait_until="commit")
    waiting = page.locator("img.slicewise-waiting")
    expect(waiting).to_be_visible()  # the still picture, in the place of the planes
    before = page.locator(".slicewise-page").bounding_box()
    expect(waiting).to_have_count(0)
    assert page.locator(".slicewise-page").bounding_box() == pytest.approx(before, abs=1)
    assert page.evaluate(SHIFT) < 0.01
    context.close()


def test_a_viewer_without_its_voxels_stays_a_picture(address, chromium):
    context = chromium.new_context()
    context.route("**/_viewers/*.bin", lambda route: route.abort())
    page = context.new_page()
    page.goto(f"{address}lessons/index.html")
    expect(page.locator(".slicewise-page .slicewise-still img")).to_be_visible()
    expect(page.locator(".slicewise-viewer")).to_have_count(0)
    context.close()


def test_the_theme_is_there_before_the_scripts(address, chromium):
    context = chromium.new_context(color_scheme="dark")
    context.route("**/pydata-sphinx-theme.js*", lambda route: route.abort())
    page = context.new_page()
    page.goto(f"{address}lessons/glossary.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    context.close()


@pytest.mark.parametrize("folder", ["", "of/the/host/"])
def test_an_address_that_is_none_leads_back(site, address, chromium, folder):
    """In whatever folder of its host the course lies."""
    home = f"{address}{folder}lessons/index.html"

    def answer(route):
        found = route.request.url == home
        route.fulfill(
            status=200 if found else 404, body="" if found else (site / "404.html").read_text("utf-8")
        )

    context = chromium.new_context()
    context.route("**/*", answer)
    page = context.new_page()
    page.goto(f"{address}{folder}lessons/no/such/page.html")
    link = page.get_by_role("link", name="first page")
    expect(link).to_be_visible()
    assert link.evaluate("link => link.href") == home
    context.close()


def test_search_finds_and_theme_turns_dark(address, chromium):
    page = visit(chromium, address, "search.html?q=crosshair", settle=False)
    expect(page.locator("#search-results li").first).to_be_visible()
    themes = set()
    for _ in range(3):  # as the system has it, light, dark
        page.locator("button.theme-switch-button:visible").first.click()
        themes.add(page.evaluate("document.documentElement.dataset.theme"))
    assert themes == {"light", "dark"}
    assert page.failures == []
    page.context.close()


def test_copy_button_copies_a_cell(address, chromium):
    page = visit(chromium, address, "lessons/01_image_intro.html", settle=False)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    cell = page.locator(".cell_input").first
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == read(lessonfile.LESSONS[0]).cells[1].source.strip()
    page.context.close()


# What a page says is what its lesson computes


@pytest.mark.parametrize("lesson", [*lessonfile.LESSONS, *lessonfile.PAGES], ids=lambda lesson: lesson.stem)
def test_page_shows_what_its_cells_computed(lesson, site, pages):
    """Each cell ran when the book was built, and what it said stands in the page."""
    executed = site.parent / "jupyter_execute" / "lessons" / f"{lesson.stem}.ipynb"
    page = pages[site / "lessons" / f"{lesson.stem}.html"]
    cells = [cell for cell in nbformat.read(executed, 4).cells if cell.cell_type == "code"]
    sources = [cell for cell in read(lesson).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells] == [cell.source for cell in sources]
    drawn = []
    for cell, source in zip(cells, sources, strict=True):
        assert cell.execution_count
        errors = [out.ename for out in cell.outputs if out.output_type == "error"]
        assert errors == [name for name in [expected_error(source)] if name]
        hidden = tags(source) & {"test", "remove-cell"}
        for out in cell.outputs:
            data = out.get("data", {})
            text = out.get("text", data["text/plain"] if data.keys() == {"text/plain"} else "")
            if "<table" in data.get("text/html", ""):
                text = unescape(re.sub(r"<style.*?</style>|<[^>]+>", "", data["text/html"], flags=re.S))
            shown = " ".join(text.split())
            assert hidden or shown in page.text, f"the page does not say what the cell said: {shown}"
            if "image/png" in data and "text/html" not in data and not hidden:  # else a viewer stands there
                drawn.append(BytesIO(b64decode(data["image/png"])))
        if hidden and points(source) is None:
            assert " ".join(source.source.split()) not in page.text
    pictures = [picture["src"] for picture in page.pictures if "_images/" in picture["src"]]
    assert len(pictures) == len(drawn)
    for picture, png in zip(pictures, drawn, strict=True):
        same = pixels(site / "lessons" / picture) == pixels(png)
        assert same, f"{picture} is not what its cell drew"


def pixels(file):
    """Return the size and the pixels of a picture, however it is packed."""
    picture = Image.open(file).convert("RGBA")
    return picture.size, picture.tobytes()


def test_hints_choices_and_solutions_are_folded(site, pages):
    for lesson in lessonfile.LESSONS:
        source = pages[site / "lessons" / f"{lesson.stem}.html"].source
        assert re.findall(r"<details(?=[^>]*\sopen\b)[^>]*>.{200}", source, flags=re.S) == []
        within = re.findall(r'<div class="cell tag_solution[^"]*">\s*<(\w+)', source)
        count = sum("solution" in tags(cell) for cell in read(lesson).cells)
        assert within == ["details"] * count != [], f"a solution of {lesson.stem} is not folded"


def test_exercises_begin_at_one_in_each_lesson(site, pages):
    for lesson in lessonfile.LESSONS:
        page = pages[site / "lessons" / f"{lesson.stem}.html"]
        numbers = re.findall(r'caption-number">\s*Exercise (\d+)', page.source)
        count = sum(points(cell) is not None for cell in read(lesson).cells if cell.cell_type == "code")
        assert numbers == [str(number) for number in range(1, count + 1)]


def lines_of(cells):
    """Return the lines of cells, whatever their indent."""
    return {line.strip() for cell in cells for line in cell.source.splitlines() if len(line.strip()) > 3}


def test_each_lesson_offers_the_notebook_without_solutions(site, pages):
    for lesson in lessonfile.LESSONS:
        links = pages[site / "lessons" / f"{lesson.stem}.html"].links
        assert links.count(f"../notebooks/{lesson.stem}.ipynb") == 2
        notebook = nbformat.read(site / "notebooks" / f"{lesson.stem}.ipynb", 4)
        nbformat.validate(notebook)
        solutions = [cell for cell in read(lesson).cells if "solution" in tags(cell)]
        others = [cell for cell in read(lesson).cells if "solution" not in tags(cell)]
        own = lines_of(solutions) - lines_of(others)
        assert own and own & lines_of(notebook.cells) == set(), f"{lesson.stem}.ipynb gives away solutions"
        assert not any(cell.get("outputs") for cell in notebook.cells)
    assert not [path for path in site.rglob("*") if path.suffix == ".md" and "_static" not in path.parts]


# The build itself


@pytest.fixture
def small_book(tmp_path):
    """Return the folder of a book of two pages, built as the real one is, and a function that builds it."""
    for name in ("assets", "_config.yml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    config = yaml.safe_load((tmp_path / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["local_extensions"] = {"live_pages": "assets/book"}
    config = {key: value for key, value in config.items() if not key.startswith("bibtex")}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    toc = {"format": "jb-book", "root": "lessons/index", "chapters": [{"file": "lessons/page"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    lesson = jupytext.reads(
        "# A page\n\nThe helper says what follows, in a sentence of some length.", "md:myst"
    )
    lesson.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    lesson.cells.append(nbformat.v4.new_code_cell("import aid\n\nprint('It is', aid.VALUE)"))
    (tmp_path / "lessons").mkdir()
    jupytext.write(lesson, tmp_path / "lessons" / "page.md", fmt="md:myst")
    (tmp_path / "lessons" / "index.md").write_text("# A book\n", encoding="utf-8")
    shutil.copy(ROOT / "lessons" / "glossary.md", tmp_path / "lessons")

    def build():
        builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
        run = subprocess.run([builder, "build", "-W", "-n", tmp_path], capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
        return (tmp_path / "_build" / "html" / "lessons" / "page.html").read_text(encoding="utf-8")

    return tmp_path, build


def test_no_result_survives_a_change_in_the_helpers(small_book):
    """Not even where the book is built again without cleaning; and a repository's address opens all doors."""
    folder, build = small_book
    (folder / "lessons" / "aid.py").write_text("VALUE = 1\n")
    page = build()
    assert "It is 1" in page
    assert "python3 course.py lab" in page
    assert "mybinder" not in page
    assert "source-repository-button" not in page
    (folder / "lessons" / "aid.py").write_text("VALUE = 2002\n")
    config = (folder / "_config.yml").read_text(encoding="utf-8")
    (folder / "_config.yml").write_text(
        config.replace("url: ''", "url: https://github.com/someone/slicewise")
    )
    page = build()
    assert "It is 2002" in page
    assert "https://mybinder.org/v2/gh/someone/slicewise/main?urlpath=lab/tree/lessons/page.md" in page
    assert "https://github.com/someone/slicewise/edit/main/lessons/page.md" in page
    assert "https://github.com/someone/slicewise/issues/new" in page


def test_a_page_that_is_not_drawn_any_more_is_opened_anew(chromium, address, monkeypatch):
    monkeypatch.setattr(website, "SETTLED", website.SETTLED.replace("20000", "500"))
    opened = []

    def new_context(**options):
        opened.append(chromium.new_context(**options))
        if len(opened) < 3:
            opened[-1].add_init_script("window.requestAnimationFrame = () => 0")
        return opened[-1]

    page = visit(SimpleNamespace(new_context=new_context), address, "lessons/glossary.html")
    assert page.settled and len(opened) == 3
    page.context.close()

"""The website builds from nothing without a warning, and holds together."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest

from tests.lessonfile import ROOT

NOT_COPIED = shutil.ignore_patterns(".*", "_build", "__pycache__", "*.egg-info")


class Page(HTMLParser):
    """Collect the links, anchors and pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.pictures = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        if tag == "img":
            self.pictures.append(attributes)
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the book in a copy of the project, so that nothing built before can be reused."""
    project = tmp_path_factory.mktemp("book") / "project"
    shutil.copytree(ROOT, project, ignore=NOT_COPIED)
    builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    run = subprocess.run(
        [builder, "build", "-W", "-n", "--keep-going", project],
        capture_output=True,
        text=True,
        env=os.environ | {"SLICEWISE_SOURCE": "bundled", "NO_COLOR": "1"},
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project / "_build" / "html"


@pytest.fixture(scope="module")
def pages(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert pages
    return pages


def test_every_lesson_has_a_page(site):
    for lesson in (ROOT / "lessons").glob("*.md"):
        assert (site / "lessons" / f"{lesson.stem}.html").exists()


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
            if not file.exists():
                broken.append(f"{path.relative_to(site)} -> {link}")
            elif anchor and file in pages and unquote(anchor) not in pages[file].anchors:
                broken.append(f"{path.relative_to(site)} -> {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_every_picture_has_alternative_text(pages):
    for path, page in pages.items():
        for picture in page.pictures:
            assert len(picture.get("alt") or "") >= 5, f"{path.name}: {picture}"


def test_no_error_and_no_check_is_shown(pages):
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "Not yet:" not in text
        for error in re.findall(r"(\w+Error)</span>\s+Traceback", text):
            lesson = (ROOT / "lessons" / f"{path.stem}.md").read_text(encoding="utf-8")
            assert f"raises-{error}" in lesson

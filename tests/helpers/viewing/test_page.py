import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from phantoms import straight
from pictures import IMAGES
from PIL import Image
from unpacking import volume_of

from helpers import SliceViewer
from helpers.viewing import page

NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]> --> </style>",
    "\"><img src=x onerror='alert(1)'>",
    "a & b < c \u2028 \\u003c",
]


TAGS = ["div", "style", "div", "img", "script", "script", "script", "script"]


class Page(HTMLParser):
    """All elements of a page, and the text of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data

    @property
    def state(self):
        return json.loads(self.texts[self.elements.index(("script", {"type": "application/json"}))])

    @property
    def picture(self):
        return next(attributes for tag, attributes in self.elements if tag == "img")


def test_a_page_holds_the_module_the_state_and_a_picture():
    viewer = SliceViewer(straight(), title="Phantom")
    viewer.index, viewer.window = (1, 8, 5), (0, 0.5)
    found = Page(viewer.to_html())
    assert [tag for tag, _ in found.elements] == [*TAGS[:3], "div", *TAGS[3:]]
    assert found.texts[3] == "Phantom"
    assert found.state["index"] == [1, 8, 5]
    assert found.state["window"] == [0, 0.5]
    assert found.state["clicked"] is None
    assert found.state["_scene"]["title"] == "Phantom"
    Image.open(BytesIO(b64decode(found.picture["src"].removeprefix("data:image/png;base64,")))).load()
    assert found.picture["alt"] == viewer._repr_mimebundle_()["text/plain"]
    assert "voxel (i, j, k) = (1, 8, 5)" in found.picture["alt"]
    module = found.texts[found.elements.index(("script", {"type": "text/plain"}))]
    assert module.replace("<\\/", "</") == (page._HERE / "viewer.js").read_text()


@pytest.mark.parametrize("name", IMAGES)
def test_every_image_has_a_page_with_its_voxels(name):
    viewer = SliceViewer(*IMAGES[name]())
    packed = Page(viewer.to_html()).state["_voxels"]
    for layer, volume in zip(packed["layers"], viewer._volumes, strict=True):
        found = volume_of(layer | {"voxels": b64decode(layer["voxels"])}, volume.shape)
        assert found.shape[:3] == volume.shape
        if layer["exact"] and not volume.is_colour:
            data = volume.data if volume.data.ndim == 4 else volume.data[..., np.newaxis]
            np.testing.assert_array_equal(found, data.astype(float))


def test_a_page_asks_nobody_for_anything():
    text = SliceViewer(straight(), np.ones((9, 11, 7)), title="Phantom").to_html()
    text = text.replace('"http://www.w3.org/2000/svg"', "")  # a name that browsers know, and no address
    assert not re.search(r"https?:|\bwss?://|//[a-z]+\.|@import|url\(", text)
    for address in re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", text):
        assert address.startswith("data:")
    for call in ("fetch(", "XMLHttpRequest", "sendBeacon", "import("):
        assert text.count(call) == (call == "import(")  # the module itself, from the page
    assert not re.search(r"^\s*(import|export) .* from ", text, re.MULTILINE)


@pytest.mark.parametrize("text", NASTY)
def test_titles_and_alternatives_are_text_not_html(text):
    viewer = SliceViewer(straight(), title=text, alt=f"shown: {text}")
    found = Page(viewer.to_html())
    assert [tag for tag, _ in found.elements] == [*TAGS[:3], "div", *TAGS[3:]]
    assert found.texts[3] == text
    assert found.state["_scene"]["title"] == text
    assert found.picture["alt"].startswith(f"shown: {text}")
    assert set(found.picture) == {"src", "alt", "style"}
    assert "<" not in json.dumps(found.texts[5])


def test_a_page_without_a_title_has_no_empty_one():
    assert [tag for tag, _ in Page(SliceViewer(straight()).to_html()).elements] == TAGS


def test_the_files_of_a_page_cannot_end_their_own_elements():
    script, style = ((page._HERE / name).read_text() for name in ("viewer.js", "viewer.css"))
    assert not re.search(r"<!--|<script", script, re.IGNORECASE)  # "</" is written another way in the page
    assert "</" not in style
    # Outside of a text or a comment, "<\/" would be an error.
    assert all(re.search(r"""["'`].*</|//.*</""", line) for line in script.splitlines() if "</" in line)


def test_pages_have_no_names_that_two_of_them_would_share():
    for _, attributes in Page(SliceViewer(straight()).to_html()).elements:
        assert not {"id", "name"} & set(attributes)


def test_the_same_state_gives_the_same_page():
    viewer = SliceViewer(straight())
    assert viewer.to_html() == viewer.to_html()

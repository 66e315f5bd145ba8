import json
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from traitlets import TraitError

from helpers.viewing import explore


def draw(size=1, shade=0.5, kind="disc", frame=False):
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1), facecolor=str(shade)).set_axis_off()
    figure.patch.set_facecolor(str(shade))
    return figure, f"{kind} {size} {shade} {frame}"


def explorer(**more):
    return explore(
        draw, size=(1, 3, 1, 2), shade=(0.0, 1.0, 0.25, 0.5), kind=["disc", "ring"], frame=False, **more
    )


def grey(png):
    return np.asarray(Image.open(BytesIO(png)).convert("L"))[5, 5]


def pages_state(html):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', html).group(1))


def test_it_starts_as_told_and_redraws():
    it = explorer(title="Shapes")
    assert it.values == {"size": 2, "shade": 0.5, "kind": "disc", "frame": False}
    assert it.text == "disc 2 0.5 False"
    it.values = {"shade": 1, "kind": "ring"}
    assert it.text == "ring 2 1.0 False"
    assert (type(it.values["size"]), type(it.values["shade"])) == (int, float)
    assert grey(it._still()) == 255
    it.values = {"shade": 0}
    assert grey(it._still()) == 0
    assert it.figure(shade=0.25).patch.get_facecolor()[0] == 0.25
    assert it.values["shade"] == 0


def test_settings_go_through_every_value_and_all_extremes():
    settings = list(explorer().settings())
    for name, values in {"size": [1, 2, 3], "shade": [0, 0.25, 0.5, 0.75, 1], "frame": [False, True]}.items():
        assert sorted({each[name] for each in settings}) == values
    assert {"size": 3, "shade": 1.0, "kind": "ring", "frame": True} in settings
    assert len({each["shade"] for each in explorer().settings(2)} - {0.5}) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [({"size": 4}, "between 1 and 3"), ({"kind": "box"}, "one of"), ({"colour": 1}, "no control 'colour'")],
)
def test_values_that_cannot_be_are_refused(values, words):
    it = explorer()
    with pytest.raises(TraitError, match=words):
        it.values = values
    assert it.text == "disc 2 0.5 False"


@pytest.mark.parametrize("control", [(3, 1, 1, 2), (0, 1, 0.1, 2), (0, 1, 0, 0), (0, 1, 0.1), [], "a"])
def test_controls_that_cannot_be_are_refused(control):
    with pytest.raises((ValueError, TypeError), match="size"):
        explore(draw, size=control)


def test_a_page_has_all_combinations_if_they_are_few():
    html = explorer().to_html()
    state = pages_state(html)
    assert state["together"]
    assert len(state["pictures"]) == 3 * 5 * 2 * 2
    picture, text = state["pictures"]["2 4 1 0"]
    assert text == "ring 3 1.0 False"
    assert grey(b64decode(picture)) == 255
    assert "disc 2 0.5 False" in html.partition("<script")[0]  # the still picture's alternative


def test_a_page_has_each_control_by_itself_if_they_are_many():
    many = explore(draw, size=(1, 40, 1, 8), shade=(0.0, 1.0, 0.01, 0.33))
    state = pages_state(many.to_html())
    assert not state["together"]
    size, shade = (control["positions"] for control in state["_controls"])
    assert (size[0], size[-1], shade[0], shade[-1]) == (1, 40, 0, 1)
    assert 8 in size
    assert 0.33 in shade
    assert len(state["pictures"]) == len(size) + len(shade) - 1
    assert state["pictures"][f"{size.index(8)} {shade.index(1.0)}"][1] == "disc 8 1.0 False"


def test_a_page_comes_only_where_it_is_asked_for(monkeypatch):
    assert "text/html" not in explorer()._repr_mimebundle_()
    monkeypatch.setenv("SLICEWISE_PAGE", "1")
    assert "text/html" in explorer()._repr_mimebundle_()

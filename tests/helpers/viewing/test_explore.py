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
    [
        ({"size": 4}, "between 1 and 3"),
        ({"size": "x"}, "size must be a number, not 'x'"),
        ({"size": None}, "size must be a number, not None"),
        ({"size": np.nan}, "between 1 and 3, not nan"),
        ({"size": 2.7}, "size must be a whole number, not 2.7"),
        ({"shade": "x"}, "shade must be a number, not 'x'"),
        ({"shade": None}, "shade must be a number"),
        ({"shade": np.nan}, "between 0.0 and 1.0, not nan"),
        ({"shade": 1e400}, "between 0.0 and 1.0, not inf"),
        ({"kind": "box"}, "one of"),
        ({"kind": np.array(["disc", "ring"])}, "one of"),
        ({"frame": None}, "one of"),
        ({"colour": 1}, "no control 'colour'"),
    ],
)
def test_values_that_cannot_be_are_refused(values, words):
    it = explorer()
    before = it.values
    with pytest.raises(TraitError, match=words) as caught:
        it.values = values
    assert "\n" not in str(caught.value)
    assert (it.text, it.values) == ("disc 2 0.5 False", before)
    with pytest.raises(TraitError, match=words):
        it.figure(**values)


def test_a_whole_number_may_come_as_any_kind_of_number():
    it = explorer()
    for three in (3, 3.0, np.int8(3), np.float32(3)):
        it.values = {"size": 2}
        it.values = {"size": three, "frame": np.True_}
        assert (it.values["size"], it.values["frame"]) == (3, True)
        assert (type(it.values["size"]), type(it.values["frame"])) == (int, bool)


@pytest.mark.parametrize(
    "control",
    [
        (3, 1, 1, 2),
        (0, 1, 0.1, 2),
        (0, 1, 0, 0),
        (0, 1, 0.1),
        (0, np.inf, 1, 1),
        (-np.inf, 1, 1, 1),
        (0, 1, np.inf, 0),
        (0, np.nan, 1, 0),
        (-1e308, 1e308, 1e300, 0),
        ("a", "b", 1, 1),
        (0, 1, 0.1, None),
        [],
        "a",
    ],
)
def test_controls_that_cannot_be_are_refused(control):
    with pytest.raises(
        (ValueError, TypeError), match="size.* must be .*lowest, highest, step, start"
    ) as caught:
        explore(draw, size=control)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("control", [(0.0, 1e300, 1e-300, 0.0), (0.0, 1.0, 1e-320, 0.5), (0, 10**300, 1, 0)])
def test_sliders_of_more_steps_than_anybody_turns_are_refused(control):
    with pytest.raises(ValueError, match=r"^size=.* has more than 1,000,000 steps: take longer ones\.$"):
        explore(draw, size=control)


def test_the_last_position_is_in_the_range_however_it_is_rounded():
    it = explore(draw, shade=(0.0, np.pi / 4, np.pi / 32, 0.0))
    for values in it.settings():
        it.figure(**values)


def test_choices_of_numpy_work_on_a_page():
    it = explore(draw, size=[np.int64(3), np.int64(4)], shade=list(np.float32([0.25, 0.5])))
    size, shade = (control["choices"] for control in pages_state(it.to_html())["_controls"])
    assert (size, shade) == ([3, 4], [0.25, 0.5])
    it.values = {"size": np.int16(4)}
    assert it.text == "disc 4 0.25 False"


def test_a_closed_explorer_says_so():
    it = explorer()
    it.close()
    words = r"^This explorer is closed: make a new one\.$"
    for act in (lambda: setattr(it, "values", {"size": 3}), it.figure):
        with pytest.raises(TraitError, match=words):
            act()
    with pytest.raises(ValueError, match=words):
        it.to_html()
    assert repr(it) == "Explorer(closed)"
    it.close()  # once more does no harm


def test_a_page_has_all_combinations_if_they_are_few():
    html = explorer().to_html()
    state = pages_state(html)
    assert state["kept"] == ["size", "shade", "kind", "frame"]
    assert len(state["pictures"]) == 3 * 5 * 2 * 2
    picture, text = state["pictures"]["2 4 1 0"]
    assert text == "ring 3 1.0 False"
    assert grey(b64decode(picture)) == 255
    assert "disc 2 0.5 False" in html.partition("<script")[0]  # the still picture's alternative


def test_a_page_has_each_control_by_itself_if_they_are_many():
    many = explore(draw, size=(1, 40, 1, 8), shade=(0.0, 1.0, 0.01, 0.33))
    state = pages_state(many.to_html())
    assert state["kept"] == []
    size, shade = (control["positions"] for control in state["_controls"])
    assert (size[0], size[-1], shade[0], shade[-1]) == (1, 40, 0, 1)
    assert 8 in size
    assert 0.33 in shade
    assert len(state["pictures"]) == len(size) + len(shade) - 1
    assert state["pictures"][f"{size.index(8)} {shade.index(1.0)}"][1] == "disc 8 1.0 False"


def test_a_page_has_the_kept_controls_with_each_other_one():
    controls = {"size": (1, 40, 1, 8), "shade": (0.0, 1.0, 0.01, 0.33)}
    some = explore(draw, kept=["kind", "frame"], **controls, kind=["disc", "ring"], frame=False)
    html = some.to_html()
    assert html == some.to_html()
    state = pages_state(html)
    assert state["kept"] == ["kind", "frame"]
    size, shade = (control["positions"] for control in state["_controls"][:2])
    texts = {text for _, text in state["pictures"].values()}
    assert len(texts) == len(state["pictures"]) == 4 * (len(size) + len(shade) - 1) <= 100
    assert {f"{kind} 40 0.33 {frame}" for kind in ("disc", "ring") for frame in (True, False)} <= texts
    assert len(size) > 11, "as many positions as fit"


def test_a_slider_with_few_positions_has_them_all_on_a_page():
    state = pages_state(explore(draw, size=(1, 40, 1, 8), shade=(0.0, 1.0, 0.1, 0.3), frame=True).to_html())
    assert len(state["_controls"][1]["positions"]) == 11


def test_kept_sliders_are_made_coarser_until_all_their_pictures_fit():
    many = explore(draw, kept=["size", "shade"], size=(1, 40, 1, 1), shade=(0.0, 1.0, 0.01, 0.0))
    assert len(pages_state(many.to_html())["pictures"]) == 100  # 10 times 10: no picture is missing


def test_only_controls_can_be_kept():
    with pytest.raises(ValueError, match=r"^kept names no control 'kinds': there are kind, frame\.$"):
        explore(draw, kept=["kind", "kinds", "a"], kind=["disc", "ring"], frame=True)
    with pytest.raises(TypeError, match=r"^kept must be a list of names of controls, not 'kind'\.$"):
        explore(draw, kept="kind", kind=["disc", "ring"])
    with pytest.raises(TypeError, match="^kept must be a list"):
        explore(draw, kept=iter(["kind"]), kind=["disc", "ring"])


def test_how_often_and_in_which_order_controls_are_kept_does_not_matter():
    controls = {
        "kind": ["disc", "ring"],
        "frame": False,
        "size": (1, 40, 1, 8),
        "shade": (0.0, 1.0, 0.1, 0.3),
    }
    pages = {
        explore(draw, kept=kept, **controls).to_html()
        for kept in (["frame", "kind", "frame"], {"kind", "frame"})
    }
    assert len(pages) == 1


def test_too_many_combinations_are_refused_where_a_page_is_made():
    sizes = explore(draw, size=list(range(120)))
    assert sizes.text == "disc 0 0.5 False"
    with pytest.raises(ValueError, match=r"^A web page holds 100 pictures .* these controls need 120: offer"):
        sizes.to_html()


def test_a_page_begins_where_the_explorer_began():
    it = explorer()
    it.values = {"shade": 1.0}
    html = it.to_html()
    assert "disc 2 0.5 False" in html.partition("<script")[0]
    assert pages_state(html)["text"] == "disc 2 0.5 False"


@pytest.mark.parametrize(
    ("control", "positions"),
    [
        ((0, 11, 4, 0), [0, 4, 8]),
        ((0.0, 0.3, 0.1, 0.0), [0, 0.1, 0.2, 0.3]),
        ((-3e-12, 3e-12, 1e-12, 0.0), [-3e-12, -2e-12, -1e-12, 0, 1e-12, 2e-12, 3e-12]),
        ((0.0, 6e20, 2e20, 0.0), [0, 2e20, 4e20, 6e20]),
    ],
)
def test_positions_are_those_of_the_slider(control, positions):
    (described,) = pages_state(explore(draw, size=control).to_html())["_controls"]
    assert described["positions"] == positions


def test_a_page_comes_only_where_it_is_asked_for(monkeypatch):
    assert "text/html" not in explorer()._repr_mimebundle_()
    monkeypatch.setenv("SLICEWISE_PAGE", "1")
    assert "text/html" in explorer()._repr_mimebundle_()

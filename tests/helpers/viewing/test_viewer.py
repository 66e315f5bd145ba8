import gc
import weakref
from base64 import b64decode
from io import BytesIO

import ipywidgets
import matplotlib
import nibabel as nib
import numpy as np
import pytest
import traitlets
from phantoms import bright_voxel, straight, tilted
from PIL import Image

from helpers import SliceViewer

RNG = np.random.default_rng(0)


def png(viewer):
    return viewer._repr_mimebundle_()["image/png"]


def controls(viewer):
    """Return all controls, by description."""
    found, queue = {}, list(viewer.children)
    while queue:
        widget = queue.pop()
        queue += getattr(widget, "children", ())
        if getattr(widget, "description", ""):
            found[widget.description] = widget
    return found


def positions(control):
    """Return all values that a learner can give a control; of a range, its corners and middles."""
    if isinstance(control, ipywidgets.Dropdown):
        return control.options
    if isinstance(control, ipywidgets.FloatRangeSlider):
        stops = [control.min * (1 - share) + control.max * share for share in (0, 0.3, 1)]
        return [(low, high) for low in stops for high in stops if low <= high]
    if isinstance(control, ipywidgets.FloatSlider):
        return np.linspace(control.min, control.max, 5)
    return range(control.min, control.max + 1)


def hounsfield():
    return RNG.integers(-1000, 1500, (5, 6, 7)).astype(np.int16)


IMAGES = {
    "world": lambda: (straight("PSL"), None),
    "oblique": lambda: (tilted("LAS", 20), None),
    "map": lambda: (straight(), RNG.normal(size=(9, 11, 7))),
    "labels": lambda: (straight(), RNG.integers(0, 9, (9, 11, 7))),
    "mask that moves": lambda: (RNG.normal(size=(3, 4, 5, 4)), RNG.normal(size=(3, 4, 5, 4)) > 0),
    "4D with NaN": lambda: (np.where(RNG.random((3, 4, 5, 6)) < 0.1, np.nan, 1.5), None),
    "CT": lambda: (hounsfield(), None),
    "picture": lambda: (RNG.integers(0, 255, (8, 9), dtype=np.uint8), None),
    "colours": lambda: (RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8), None),
    "constant": lambda: (np.full((3, 4, 5), 7), None),
    "nothing but NaN": lambda: (np.full((3, 4, 5), np.nan), None),
    "extremes": lambda: ((np.linspace(-1, 1, 60) * 1.7e308).reshape(3, 4, 5), None),
    "tiny": lambda: (np.arange(60).reshape(3, 4, 5) * 5e-324, None),
    "booleans": lambda: (RNG.random((3, 4, 5)) > 0.5, None),
    "other byte order": lambda: (RNG.normal(size=(3, 4, 5)).astype(">f4"), None),
    "one voxel": lambda: (np.ones((1, 1, 1)), None),
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_value_of_every_control_draws(name):
    viewer = SliceViewer(*IMAGES[name]())
    swept = controls(viewer)
    for control in swept.values():
        for value in positions(control):
            control.value = value
            low, high = viewer.window
            assert low < high
        Image.open(BytesIO(b64decode(png(viewer)))).load()
    assert all(slider.value == n for slider, n in zip(viewer._sliders, viewer.index, strict=True))


def test_the_right_controls_are_offered():
    look = {"window", "from, to", "colour map"}
    assert set(controls(SliceViewer(straight("LPS")))) == look | {"i → L", "j → P", "k → S"}
    assert set(controls(SliceViewer(np.zeros((3, 4, 5, 6))))) == look | {"i", "j", "k", "time point"}
    assert set(controls(SliceViewer(np.zeros((3, 4))))) == look | {"row", "column"}
    assert set(controls(SliceViewer(np.zeros((3, 4, 3), np.uint8)))) == {"row", "column"}
    with_map = controls(SliceViewer(straight(), RNG.normal(size=(9, 11, 7))))
    assert {"overlay opacity", "threshold ±"} < set(with_map)
    with_mask = controls(SliceViewer(straight(), np.ones((9, 11, 7))))
    assert "overlay opacity" in with_mask
    assert "threshold ±" not in with_mask


def test_ct_windows_are_offered_for_ct_alone():
    assert controls(SliceViewer(straight()))["window"].options == ("automatic", "full range", "by hand")
    viewer = SliceViewer(hounsfield())
    controls(viewer)["window"].value = "CT lung"
    assert viewer.window == (-1350, 150)
    controls(viewer)["from, to"].value = (-500, 500)
    assert viewer.window == (-500, 500)
    assert controls(viewer)["window"].value == "by hand"
    viewer.window = -500, 1300
    assert controls(viewer)["window"].value == "CT bone"


# Traits.


@pytest.mark.parametrize("make", [straight, lambda: tilted("PIR", 30)])
def test_the_three_names_of_the_place_agree(make):
    img = make()
    viewer = SliceViewer(img)
    bright = bright_voxel(img)
    mm = nib.affines.apply_affine(img.affine, bright)
    for name, value in (("index", bright), ("cursor_vox", bright), ("cursor_mm", mm)):
        viewer.index = 0, 0, 0
        before = png(viewer)
        setattr(viewer, name, value)
        assert viewer.index == bright
        assert all(type(n) is int for n in viewer.index)
        np.testing.assert_allclose(viewer.cursor_vox, bright, atol=1e-9)
        np.testing.assert_allclose(viewer.cursor_mm, mm, atol=1e-9)
        assert tuple(slider.value for slider in viewer._sliders) == bright
        assert png(viewer) != before


def test_a_place_between_voxels_is_kept_and_shown_in_the_nearest():
    viewer = SliceViewer(straight())
    viewer.cursor_vox = 2.4, 2.6, 3.0
    assert viewer.index == (2, 3, 3)
    assert viewer.cursor_vox == (2.4, 2.6, 3.0)
    viewer.cursor_vox = -0.5, 10.5, 6.5
    assert viewer.index == (0, 10, 6)


def test_observers_see_one_consistent_place():
    viewer = SliceViewer(straight())
    seen = []
    for name in ("index", "cursor_vox", "cursor_mm"):
        viewer.observe(lambda _: seen.append((viewer.index, viewer.cursor_vox)), name)
    viewer.cursor_vox = 1.0, 2.0, 3.0
    viewer.index = 2, 2, 2
    assert seen
    assert all(index == vox for index, vox in seen)


def test_two_viewers_of_different_grids_can_be_linked():
    one, two = SliceViewer(straight("RAS")), SliceViewer(tilted("PIR", 10))
    link = traitlets.link((one, "cursor_mm"), (two, "cursor_mm"))
    one.index = 3, 4, 5
    np.testing.assert_allclose(two.cursor_mm, one.cursor_mm)
    two.index = tuple(n // 2 for n in two._volume.shape)
    np.testing.assert_allclose(two.cursor_mm, one.cursor_mm)
    link.unlink()


def test_numbers_of_numpy_are_welcome():
    viewer = SliceViewer(np.zeros((3, 4, 5, 6)))
    viewer.index = np.array([1, 2, 3])
    viewer.window = np.array([0, 0.5])
    viewer.time = np.int64(5)
    assert (viewer.index, viewer.window, viewer.time) == ((1, 2, 3), (0, 0.5), 5)


def test_time_moves_the_picture_and_the_slider():
    viewer = SliceViewer(RNG.normal(size=(3, 4, 5, 6)))
    before = png(viewer)
    viewer.time = 5
    assert png(viewer) != before
    assert controls(viewer)["time point"].value == 5
    controls(viewer)["time point"].value = 2
    assert viewer.time == 2


def test_the_window_may_leave_the_range_of_the_data():
    viewer = SliceViewer(np.linspace(0, 1, 60).reshape(3, 4, 5))
    viewer.window = -5, 7.25
    assert controls(viewer)["from, to"].value == (-5, 7.25)
    assert SliceViewer(np.zeros((3, 4, 5)), window=(-30, 30)).window == (-30, 30)


def test_a_slider_that_snaps_to_its_steps_does_not_change_the_window():
    viewer = SliceViewer(RNG.normal(size=(5, 6, 7)))
    window, slider = viewer.window, controls(viewer)["from, to"]
    slider.value = tuple(value + 0.4 * slider.step for value in window)
    assert viewer.window == window
    assert controls(viewer)["window"].value == "automatic"
    slider.value = window[0] + 3 * slider.step, window[1]
    assert viewer.window[0] == pytest.approx(window[0] + 3 * slider.step)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("index", (0, 0, 7), "no voxel"),
        ("index", (-1, 0, 0), "no voxel"),
        ("index", (0, 0), "no voxel"),
        ("index", (0.5, 0, 0), "whole numbers"),
        ("cursor_vox", (0, 0, 6.6), "outside"),
        ("cursor_vox", (0, 0), "three finite numbers"),
        ("cursor_mm", (500, 0, 0), "outside"),
        ("cursor_mm", (np.nan, 0, 0), "finite"),
        ("cursor_mm", ("a", 0, 0), "three numbers"),
        ("time", 1, "no time point 1"),
        ("time", 0.5, "whole number"),
        ("window", (1, 0), "lower first"),
        ("window", (1, 2, 3), "pair"),
    ],
)
def test_values_that_cannot_be_are_refused_and_change_nothing(name, value, words):
    viewer = SliceViewer(straight())
    before = getattr(viewer, name), png(viewer)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(viewer, name, value)
    assert (getattr(viewer, name), png(viewer)) == before


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"plane": "transverse"}, "plane must be all, axial, coronal or sagittal"),
        ({"window": (1, 0)}, "lower first"),
        ({"cmap": "rainbows"}, "no colour map called"),
        ({"overlay": np.zeros((2, 2, 2))}, "resample it first"),
    ],
)
def test_bad_arguments_get_one_sentence(kwargs, words, monkeypatch):
    unraised = []
    monkeypatch.setattr("sys.unraisablehook", unraised.append)
    with pytest.raises(ValueError, match=words):
        SliceViewer(straight(), **kwargs)
    gc.collect()
    assert not unraised  # a half-made widget goes quietly


def test_radiological_needs_a_world():
    assert png(SliceViewer(straight(), radiological=True)) != png(SliceViewer(straight()))
    with pytest.raises(ValueError, match="Radiological"):
        SliceViewer(np.zeros((3, 4, 5)), radiological=True)


@pytest.mark.parametrize("cmap", ["gray", "inferno", "PuOr"])
def test_any_colour_map_of_matplotlib_can_be_chosen(cmap):
    assert controls(SliceViewer(straight(), cmap=cmap))["colour map"].value == cmap
    assert cmap in matplotlib.colormaps


# What is shown.


def test_planes():
    def shown(image, **kwargs):
        return SliceViewer(image, **kwargs)._planes

    assert shown(straight()) == ("axial", "coronal", "sagittal")
    assert shown(straight(), plane="coronal") == ("coronal",)
    assert shown(np.zeros((3, 4))) == ("axial",)
    assert shown(np.zeros((3, 1, 4))) == ("coronal",)
    assert shown(np.zeros((1, 1, 1))) == ("axial",)


def test_the_readout_tells_place_and_real_value():
    img = nib.Nifti1Image(np.full((9, 11, 7), 1 / 3, dtype=np.float32), straight().affine)
    viewer = SliceViewer(img)
    viewer.index = 1, 8, 5
    place = "voxel (i, j, k) = (1, 8, 5) at x = -6.0 mm (left), y = 9.0 mm (anterior), z = 8.0 mm (superior)"
    assert place in viewer._readout.value
    assert "intensity 0.333333;" in viewer._readout.value
    viewer.index = 4, 5, 0
    assert "x = 0.0 mm, y = 0.0 mm, z = -12.0 mm (inferior)" in viewer._readout.value


def test_the_readout_without_a_world_names_no_side():
    for image in (np.zeros((3, 4, 5)), np.zeros((3, 4)), np.zeros((3, 4, 3), np.uint8)):
        text = SliceViewer(image)._readout.value
        assert not any(word in text for word in ("left", "right", "anterior", " mm"))
    assert "intensity nan" in SliceViewer(np.full((3, 4, 5), np.nan))._readout.value
    assert "R 7, G 7, B 7" in SliceViewer(np.full((3, 4, 3), 7, np.uint8))._readout.value
    assert "tilted by" in SliceViewer(tilted("RAS", 20))._readout.value


def test_titles_and_alternatives_are_text_not_html():
    viewer = SliceViewer(straight(), title="<b>T1</b>", alt="a & b")
    assert "&lt;b&gt;T1&lt;/b&gt;" in viewer.children[0].value
    assert "a &amp; b" in viewer._readout.value


def test_readers_that_run_nothing_get_a_picture_and_its_text():
    viewer = SliceViewer(straight(), title="Phantom")
    bundle = viewer._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    size = Image.open(BytesIO(b64decode(bundle["image/png"]))).size
    assert size[0] > 300
    for part in ("Phantom", "9 × 11 × 7 voxels of 2 × 3 × 4 mm", "axial, coronal and sagittal planes"):
        assert part in bundle["text/plain"]
    assert "Bright spot" in SliceViewer(straight(), alt="Bright spot")._repr_mimebundle_()["text/plain"]
    viewer.index = 0, 0, 0
    assert viewer._repr_mimebundle_()["image/png"] != bundle["image/png"]


def test_repr_is_one_readable_line():
    assert repr(SliceViewer(np.zeros((3, 4)))) == (
        "SliceViewer(picture of 3 rows and 4 columns. row 1, column 2. intensity 0; window -0.5 to 0.5.)"
    )


def test_one_change_draws_once(monkeypatch):
    viewer = SliceViewer(straight())
    drawn = []
    monkeypatch.setattr("helpers.viewing.viewer.to_png", lambda rgb: drawn.append(rgb) or b"")
    viewer.index = 1, 8, 5
    viewer.cursor_mm = 0, 0, 0
    controls(viewer)["i → R"].value = 2
    viewer.window = 0, 0.25
    assert len(drawn) == 4


def test_a_closed_viewer_lets_go_of_its_image():
    viewer = SliceViewer(straight())
    volume = weakref.ref(viewer._volume)
    parts = [viewer, *controls(viewer).values(), viewer._image]
    viewer.close()
    assert all(part.comm is None for part in parts)
    del viewer, parts
    gc.collect()
    assert volume() is None

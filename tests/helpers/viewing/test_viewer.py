import gc
import weakref
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import traitlets
from IPython.core.events import EventManager, available_events
from phantoms import bright_voxel, straight, tilted
from pictures import IMAGES
from PIL import Image
from unpacking import codes_of, values_of

from helpers import RegistrationMonitor, SliceViewer, compare
from helpers.viewing import portable, widget
from helpers.viewing.slices import colour_table, plane_slice
from helpers.viewing.volume import as_volume

RNG = np.random.default_rng(0)


def png(viewer):
    return viewer._repr_mimebundle_()["image/png"]


def words(viewer):
    return viewer._repr_mimebundle_()["text/plain"]


def timed(data, seconds):
    """Return a NIfTI image with so many seconds from one volume to the next."""
    img = nib.Nifti1Image(data, np.eye(4))
    img.header.set_xyzt_units("mm", "sec")
    img.header["pixdim"][4] = seconds
    return img


WINDOWS = {
    (-160, 240): "-160 to 240 (level 40, width 400)",
    (10000, 10010): "10000 to 10010 (level 10005, width 10)",
    (0, 40000): "0 to 40000 (level 20000, width 40000)",
    (-0.3, 0.1 + 0.2): "-0.3 to 0.3 (level 0, width 0.6)",
    (3.21634, 1071.4): "3 to 1071 (level 537, width 1068)",
    (0.00012, 0.0157): "0.00012 to 0.0157 (level 0.00791, width 0.01558)",
    (-1e308, 1e308): "-1e+308 to 1e+308",
}


class Browser:
    """The other end of a viewer's comm: it hears what is sent, and sends as a browser does."""

    def __init__(self, viewer):
        self.viewer, self.heard, self.answers = viewer, [], []
        viewer.comm.publish_msg = self.hear

    def hear(self, kind, data=None, buffers=None, **_):
        if data and data.get("method") == "update":
            self.heard.append(data["state"])
        if data and data.get("method") == "custom":
            self.answers.append((data["content"], buffers))

    def set(self, **state):
        self.say({"method": "update", "state": state, "buffer_paths": []})

    def ask(self, **content):
        self.say({"method": "custom", "content": content})

    def say(self, data):
        self.viewer._handle_msg({"content": {"data": data}, "buffers": []})


@pytest.fixture
def cell(monkeypatch):
    """Return a function that begins the run of a notebook cell."""
    kernel = SimpleNamespace(get_parent=dict)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setattr(portable, "_shown", {})

    def run(cell, number):
        metadata = {} if cell is None else {"cellId": cell}
        kernel.get_parent = lambda: {"header": {"msg_id": f"run {number}"}, "metadata": metadata}

    return run


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
        assert png(viewer) != before


def test_the_cursor_follows_also_where_voxels_are_tiny():
    viewer = SliceViewer(nib.Nifti1Image(np.zeros((4, 5, 6)), np.diag([1e-7, 1e-7, 1e-7, 1])))
    viewer.cursor_mm = 1.4e-7, 3e-7, 2e-7
    assert viewer.index == (1, 3, 2)
    np.testing.assert_allclose(viewer.cursor_vox, (1.4, 3, 2))


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
    two.close()
    one.index = 2, 2, 2  # the link is still there
    assert one.index == (2, 2, 2)
    link.unlink()


def test_numbers_of_numpy_are_welcome():
    viewer = SliceViewer(np.zeros((3, 4, 5, 6)), np.ones((3, 4, 5)))
    viewer.index = viewer.clicked = np.array([1, 2, 3])
    viewer.window = np.array([0, 0.5])
    viewer.time = np.int64(5)
    viewer.opacity, viewer.threshold = np.float32(0.5), np.int8(2)
    assert (viewer.index, viewer.clicked) == ((1, 2, 3), (1, 2, 3))
    assert (viewer.window, viewer.time, viewer.opacity, viewer.threshold) == ((0, 0.5), 5, 0.5, 2)
    viewer.clicked = None
    assert viewer.clicked is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", 5),
        ("window", (0, 0.25)),
        ("cmap", "viridis"),
        ("opacity", 0.1),
        ("threshold", 2.5),
        ("index", (1, 1, 1)),
    ],
)
def test_what_is_set_is_seen(name, value):
    viewer = SliceViewer(RNG.normal(size=(3, 4, 5, 6)), RNG.normal(size=(3, 4, 5)) * 3)
    before = png(viewer)
    setattr(viewer, name, value)
    assert png(viewer) != before


def test_an_overlay_begins_with_its_own_look():
    assert SliceViewer(straight()).threshold == 0
    viewer = SliceViewer(straight(), RNG.normal(size=(9, 11, 7)))
    assert 1.5 < viewer.threshold < 1.8  # nine tenths of all values lie closer to 0
    labels = SliceViewer(straight(), np.ones((9, 11, 7)))
    assert (labels.threshold, labels.opacity, viewer.opacity) == (0, 0.5, 0.7)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("index", (0, 0, 7), "no voxel"),
        ("index", (-1, 0, 0), "no voxel"),
        ("index", (0, 0), "no voxel"),
        ("index", (0.5, 0, 0), "three whole numbers"),
        ("index", None, "three whole numbers"),
        ("clicked", (0, 0, 7), "no voxel"),
        ("clicked", 3, "three whole numbers"),
        ("cursor_vox", (0, 0, 6.6), "outside"),
        ("cursor_vox", (0, 0), "three finite numbers"),
        ("cursor_mm", (500, 0, 0), "outside"),
        ("cursor_mm", (np.nan, 0, 0), "finite"),
        ("cursor_mm", ("a", 0, 0), "three numbers"),
        ("time", 1, "no time point 1"),
        ("time", 0.5, "whole number"),
        ("window", (1, 0), "lower first"),
        ("window", (1, 2, 3), "pair"),
        ("window", (0, np.inf), "finite"),
        ("window", None, "pair"),
        ("time", None, "whole number"),
        ("opacity", None, "a number"),
        ("cmap", "rainbows", "no colour map called"),
        ("opacity", 1.5, "between 0 and 1"),
        ("opacity", "half", "a number"),
        ("threshold", -1, "between 0 and"),
        ("threshold", np.nan, "between 0 and"),
        ("threshold", np.inf, "between 0 and"),
        ("cmap", 3, "unicode string"),
        ("cmap", ["gray"], "unicode string"),
    ],
)
def test_values_that_cannot_be_are_refused_and_change_nothing(name, value, words):
    viewer = SliceViewer(straight())
    browser = Browser(viewer)
    before = getattr(viewer, name), png(viewer)
    with pytest.raises(traitlets.TraitError, match=words) as caught:
        setattr(viewer, name, value)
    assert "\n" not in str(caught.value)
    assert (getattr(viewer, name), png(viewer)) == before
    assert not browser.heard


HUGE = 10**400  # a whole number that no float can hold


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", (HUGE, 0, 0)),
        ("clicked", (0, HUGE, 0)),
        ("cursor_vox", (HUGE, 0, 0)),
        ("cursor_mm", (0, 0, -HUGE)),
        ("window", (0, HUGE)),
        ("opacity", [HUGE]),
        ("threshold", [HUGE]),
        ("time", [HUGE]),
    ],
)
def test_numbers_beyond_all_floats_are_refused(name, value):
    viewer = SliceViewer(straight(), np.ones((9, 11, 7)))
    before = getattr(viewer, name)
    with pytest.raises(traitlets.TraitError) as caught:
        setattr(viewer, name, value[0] if isinstance(value, list) else value)
    assert "\n" not in str(caught.value)
    assert getattr(viewer, name) == before
    with pytest.raises(ValueError, match="pair of numbers"):
        SliceViewer(straight(), window=(-HUGE, 0))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"cmap": 3}, "no colour map called 3: give a name"),
        ({"cmap": None}, "no colour map called None"),
        ({"cmap": ["gray"]}, "no colour map called"),
        ({"plane": "transverse"}, "plane must be all, axial, coronal or sagittal"),
        ({"window": (1, 0)}, "lower first"),
        ({"cmap": "rainbows"}, "no colour map called"),
        ({"overlay": np.zeros((2, 2, 2))}, "crop, pad or resample it"),
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


# What the browser hears.


def test_the_browser_gets_lists():
    viewer = SliceViewer(RNG.normal(size=(3, 4, 5, 6)), RNG.normal(size=(3, 4, 5)))
    browser = Browser(viewer)
    viewer.index = 1, 2, 3
    viewer.window = np.array([-1, 1])
    viewer.clicked = 0, 1, 2
    viewer.time = 4
    state = {name: value for sent in browser.heard for name, value in sent.items()}
    assert state == {
        "index": [1, 2, 3],
        "cursor_vox": [1.0, 2.0, 3.0],
        "cursor_mm": [1.0, 2.0, 3.0],
        "window": [-1.0, 1.0],
        "clicked": [0, 1, 2],
        "time": 4,
    }
    assert all(type(value) in (list, int) for value in state.values())


def test_what_comes_from_the_browser_is_not_sent_back():
    viewer = SliceViewer(tilted("LAS", 20), RNG.normal(size=(9, 11, 7)))
    browser = Browser(viewer)
    mm = viewer._volume.to_mm((1, 2, 3)).tolist()
    browser.set(index=[1, 2, 3], cursor_vox=[1, 2, 3], cursor_mm=mm, clicked=[1, 2, 3])
    browser.set(window=[0, 0.5])
    browser.set(opacity=0.25, threshold=1, cmap="magma", time=0)
    assert browser.heard == []
    assert viewer.index == viewer.clicked == viewer.cursor_vox == (1, 2, 3)
    assert viewer.cursor_mm == tuple(mm)
    assert (viewer.window, viewer.opacity, viewer.threshold, viewer.cmap) == ((0, 0.5), 0.25, 1, "magma")


def test_one_name_of_the_place_brings_the_others():
    viewer = SliceViewer(straight())
    browser = Browser(viewer)
    browser.set(index=[1, 8, 5])  # as a linked widget does
    assert viewer.cursor_vox == (1, 8, 5)
    sent = {name: value for state in browser.heard for name, value in state.items()}
    assert sent == {"cursor_vox": [1.0, 8.0, 5.0], "cursor_mm": [-6.0, 9.0, 8.0]}


def test_the_browser_has_the_colours_before_the_name_of_a_map():
    viewer = SliceViewer(straight())
    browser = Browser(viewer)
    viewer.cmap = "PuOr"
    assert [list(state) for state in browser.heard] == [["_cmaps"], ["cmap"]]
    assert "PuOr" in browser.heard[0]["_cmaps"]
    viewer.cmap = "gray"
    assert list(browser.heard[-1]) == ["cmap"]


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "tiny"])
def test_questions_get_real_values_and_planes(name):
    viewer = SliceViewer(*IMAGES[name]())
    browser = Browser(viewer)
    index = [size // 3 for size in viewer._volume.shape]
    time = viewer._volume.n_times - 1
    browser.ask(index=index, time=time, detail=True)
    answer, buffers = browser.answers.pop()
    assert (list(answer["index"]), answer["time"]) == (index, time)
    viewer.index, viewer.time = index, time
    assert answer["text"] in words(viewer)
    assert len(answer["details"]) == len(viewer._volumes)
    for role, volume, planes in zip(viewer._roles, viewer._volumes, answer["details"], strict=True):
        assert len(planes) == len(viewer._planes)
        for plane, layer in zip(viewer._planes, planes, strict=True):
            across = volume.axes[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]]
            wanted = plane_slice(volume, plane, index[across], min(time, volume.n_times - 1))
            pixels = codes_of(layer, buffers[layer["buffer"]])[..., 0, 0].T
            assert pixels.shape == wanted.shape
            assert layer["exact"] or role != "labels"
            if layer["exact"] and not volume.is_colour:
                np.testing.assert_array_equal(values_of(layer)[pixels], wanted)
    browser.ask(index=index, time=time, detail=False)
    assert browser.answers == [(answer | {"details": []}, [])]


def test_a_closed_viewer_answers_nothing():
    viewer = SliceViewer(straight())
    browser = Browser(viewer)
    viewer.close()
    viewer._answer(viewer, {"index": [0, 0, 0], "time": 0, "detail": True}, [])
    assert not browser.answers


# What is shown.


@pytest.mark.parametrize("name", IMAGES)
def test_every_image_is_drawn_at_every_corner(name):
    viewer = SliceViewer(*IMAGES[name]())
    for index in ((0, 0, 0), tuple(size - 1 for size in viewer._volume.shape)):
        viewer.index = index
        viewer.time = viewer._volume.n_times - 1
        Image.open(BytesIO(b64decode(png(viewer)))).load()
        assert repr(viewer).startswith("SliceViewer(")


def test_planes():
    def shown(image, **kwargs):
        return SliceViewer(image, **kwargs)._planes

    assert shown(straight()) == ("axial", "coronal", "sagittal")
    assert shown(straight(), plane="coronal") == ("coronal",)
    assert shown(np.zeros((3, 4))) == ("axial",)
    assert shown(np.zeros((3, 1, 4))) == ("coronal",)
    assert shown(np.zeros((1, 1, 1))) == ("axial",)


@pytest.mark.parametrize("cmap", ["gray", "inferno", "PuOr"])
def test_any_colour_map_of_matplotlib_can_be_chosen(cmap):
    viewer = SliceViewer(straight(), cmap=cmap)
    assert viewer.cmap == cmap
    assert list(b64decode(viewer._cmaps[cmap])) == colour_table(cmap).ravel().tolist()


def test_the_words_tell_place_and_real_value():
    img = nib.Nifti1Image(np.full((9, 11, 7), 1 / 3, dtype=np.float32), straight().affine)
    viewer = SliceViewer(img)
    viewer.index = 1, 8, 5
    place = "voxel (i, j, k) = (1, 8, 5) at x = -6.0 mm (left), y = 9.0 mm (anterior), z = 8.0 mm (superior)"
    assert f"{place}. intensity 0.333333; window " in words(viewer)
    series = SliceViewer(np.zeros((3, 4, 5, 6)))
    series.time = 5
    assert "; time point 5; window" in words(series)
    series = SliceViewer(timed(np.zeros((3, 4, 5, 6)), seconds=2.5), window=(-160, 240))
    series.time = 5
    assert words(series).endswith("; time point 5 (12.5 s); window -160 to 240 (level 40, width 400).")


@pytest.mark.parametrize(("window", "text"), WINDOWS.items())
def test_a_window_is_told_as_finely_as_its_width_needs(window, text):
    assert words(SliceViewer(straight(), window=window)).endswith(f"; window {text}.")


def test_of_two_images_the_words_tell_the_windows_through_which_something_is_seen():
    both = compare(np.zeros((4, 5, 6)), np.ones((4, 5, 6)), window=(0, 2))
    both.window_moving = 0, 3
    assert words(both).endswith("; window of fixed 0 to 2; window of moving 0 to 3.")
    both.mode = "difference"
    assert words(both).endswith("fixed 0; moving 1.")
    monitor = RegistrationMonitor(np.zeros((9, 9)), np.ones((9, 9)))
    monitor.window, monitor.window_moving = (0, 2), (0, 3)
    assert words(monitor).endswith("; window 0 to 3 (level 1.5, width 3).")
    monitor.shown = "fixed"
    assert words(monitor).endswith("; window 0 to 2 (level 1, width 2).")


def test_seconds_are_told_where_all_series_agree():
    data = np.zeros((3, 4, 5, 6))
    for fixed, moving, told in (
        (timed(data, 2), timed(data, 2), "time point 0 (0 s)"),
        (data, timed(data, 2), "time point 0 (0 s)"),
        (timed(data, 2), data, "time point 0 (0 s)"),
        (timed(data, 2), timed(data, 3), "time point 0;"),
    ):
        assert told in words(compare(fixed, moving))
    one = as_volume(timed(data, 2))
    assert " s)" not in words(SliceViewer(replace(one, data=one.frame(3))))


def test_readers_that_run_nothing_get_a_picture_and_its_text(monkeypatch):
    monkeypatch.delenv("SLICEWISE_PAGE", raising=False)
    viewer = SliceViewer(straight(), title="Phantom")
    bundle = viewer._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert Image.open(BytesIO(b64decode(bundle["image/png"]))).size[0] > 300
    for part in ("Phantom", "9 × 11 × 7 voxels of 2 × 3 × 4 mm", "axial, coronal and sagittal planes"):
        assert part in bundle["text/plain"]
    assert "Bright spot" in words(SliceViewer(straight(), title="Phantom", alt="Bright spot"))
    viewer.index = 0, 0, 0
    assert png(viewer) != bundle["image/png"]


def test_a_website_gets_a_live_page(monkeypatch):
    monkeypatch.setenv("SLICEWISE_PAGE", "1")
    viewer = SliceViewer(straight())
    bundle = viewer._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/html"] == viewer.to_html()
    assert viewer.comm is None  # as nobody would hear
    viewer.index = 1, 8, 5
    assert viewer.to_html() != bundle["text/html"]
    viewer.close()
    assert viewer._repr_mimebundle_() == {"text/plain": "a closed SliceViewer"}


def test_a_title_and_an_alternative_may_be_anything_that_has_words():
    viewer = SliceViewer(straight(), title=7, alt=np.float64(2.5))
    assert viewer._scene["title"] == "7"
    assert words(viewer).startswith("2.5: 9 × 11 × 7 voxels")
    assert '<div class="slicewise-title">7</div>' in viewer.to_html()


def test_repr_is_one_readable_line():
    assert repr(SliceViewer(np.zeros((3, 4)))) == (
        "SliceViewer(picture of 3 rows and 4 columns. row 1, column 2. intensity 0; window -0.5 to 0.5 "
        "(level 0, width 1).)"
    )


# Memory.


def test_a_closed_viewer_lets_go_of_its_image():
    viewer = SliceViewer(straight(), np.ones((9, 11, 7)))
    volumes = [weakref.ref(volume) for volume in viewer._volumes]
    voxels = weakref.ref(viewer._volume.data)
    viewer.close()
    assert viewer.comm is None
    assert repr(viewer) == "SliceViewer(closed)"
    assert not viewer._scene and not viewer._voxels
    gc.collect()
    assert not any(volume() for volume in volumes)
    assert voxels() is None
    viewer.close()  # once more does no harm


def test_a_closed_viewer_says_so(monkeypatch):
    viewer, shown = SliceViewer(straight()), []
    assert viewer.comm
    viewer.close()
    monkeypatch.setattr(widget, "display", lambda bundle, raw: shown.append(bundle))
    viewer._ipython_display_()
    assert shown == [{"text/plain": "a closed SliceViewer"}]
    with pytest.raises(ValueError, match=r"^A closed SliceViewer has no image any more: make a new one\.$"):
        viewer.to_html()


def test_running_a_cell_again_closes_its_earlier_viewers(cell):
    cell("one", 1)
    first, second = SliceViewer(straight()), SliceViewer(straight())
    assert first.comm and second.comm
    cell("two", 2)
    other = SliceViewer(straight())
    assert first.comm and second.comm
    cell("one", 3)
    again = SliceViewer(straight())
    assert not first.comm and not second.comm
    assert other.comm and again.comm
    cell(None, 4)  # not from a notebook
    assert SliceViewer(straight()).comm and again.comm


def test_twenty_runs_hold_one_image(cell):
    held = []
    for number in range(20):
        cell("one", number)
        viewer = SliceViewer(np.zeros((20, 20, 20)) + number)
        held.append(weakref.ref(viewer._volume))
    gc.collect()
    assert [volume() is not None for volume in held] == [False] * 19 + [True]


# What comes first, where a notebook says when a cell ends.


@pytest.fixture
def shell(monkeypatch):
    """Return an IPython whose cell has not ended yet, in which every image is a large one."""
    shell = SimpleNamespace()
    shell.events = EventManager(shell, available_events)
    monkeypatch.setattr(widget, "get_ipython", lambda: shell)
    monkeypatch.setattr(widget, "_AT_ONCE", 0)
    monkeypatch.delenv("SLICEWISE_PAGE", raising=False)
    return shell


@pytest.mark.parametrize("name", [name for name in IMAGES if name != "tiny"])
def test_the_planes_seen_first_come_before_the_voxels(name, shell):
    viewer = SliceViewer(*IMAGES[name]())
    assert viewer._voxels == {}
    assert viewer._first["index"] == list(viewer.index) and viewer._first["text"] in words(viewer)
    for volume, planes in zip(viewer._volumes, viewer._first["details"], strict=True):
        for plane, layer in zip(viewer._planes, planes, strict=True):
            across = volume.axes[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]]
            wanted = plane_slice(volume, plane, viewer.index[across])
            pixels = codes_of(layer)[..., 0, 0].T
            assert pixels.shape == wanted.shape
            if layer["exact"] and not volume.is_colour:
                np.testing.assert_array_equal(values_of(layer)[pixels], wanted)
    browser = Browser(viewer)
    shell.events.trigger("post_execute")
    assert [set(state) for state in browser.heard] == [{"_voxels", "_first"}]
    assert viewer._voxels == viewer._pack() and viewer._first == {}
    shell.events.trigger("post_execute")
    assert len(browser.heard) == 1


def test_displayed_the_voxels_follow_without_the_cells_end(shell, monkeypatch):
    viewer, order = SliceViewer(straight()), []
    browser = Browser(viewer)
    monkeypatch.setattr(
        widget, "display", lambda bundle, raw: order.append((set(bundle), len(browser.heard)))
    )
    viewer._ipython_display_()
    assert order == [({"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}, 0)]
    assert viewer._voxels and len(browser.heard) == 1
    shell.events.trigger("post_execute")
    assert len(browser.heard) == 1


def test_a_viewer_moved_before_it_is_displayed_shows_the_new_place_first(shell, monkeypatch):
    viewer = SliceViewer(straight())
    viewer.index = 1, 2, 3
    shown = []
    monkeypatch.setattr(widget, "display", lambda bundle, raw: shown.append(viewer._first))
    viewer._ipython_display_()
    there = SliceViewer(straight())
    there.index = 1, 2, 3
    assert shown == [there._seen((1, 2, 3), 0, detailed=True)]
    assert viewer._first == {}


def test_a_viewer_closed_meanwhile_sends_nothing(shell):
    viewer = SliceViewer(straight())
    viewer.close()
    shell.events.trigger("post_execute")
    assert not viewer._voxels


def test_a_web_page_has_its_voxels_though_none_were_sent(shell, monkeypatch):
    monkeypatch.setenv("SLICEWISE_PAGE", "1")
    viewer = SliceViewer(straight())
    shell.events.trigger("post_execute")
    assert viewer._voxels == {}
    assert '"_voxels": {"layers": [{"voxels": "H4sI' in viewer.to_html()


def test_small_images_and_programs_without_ipython_send_all_at_once(shell, monkeypatch):
    monkeypatch.setattr(widget, "_AT_ONCE", straight().dataobj.size)
    assert SliceViewer(straight())._voxels
    monkeypatch.setattr(widget, "_AT_ONCE", 0)
    monkeypatch.setattr(widget, "get_ipython", lambda: None)
    viewer = SliceViewer(straight())
    assert viewer._voxels and viewer._first == {}

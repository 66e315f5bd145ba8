"""The viewer in JupyterLab: its state works both ways, and running a cell again frees what it held."""

import numpy as np
import pytest
from playwright.sync_api import expect

from helpers.viewing.slices import plane_slice, to_rgb
from helpers.viewing.volume import as_volume
from helpers.viewing.words import value_words
from tests.helpers.viewing.phantoms import straight

CELLS = """() => {
  const { cells } = jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON();
  return cells.map((cell) => [cell.cell_type, cell.source]);
}"""

# The same image here and in the kernel.
DATA = "np.random.default_rng(0).integers(0, 999, (13, 14, 15, 3), np.int16)"
MAKE = f"""
import ipywidgets, nibabel as nib, numpy as np
from helpers import SliceViewer
img = nib.Nifti1Image({DATA}, np.array({{affine}}))
viewer = SliceViewer(img)
viewer
"""


def image():
    """Return the image that MAKE makes, and the cell's text."""
    img = straight("PSL")
    data = np.random.default_rng(0).integers(0, 999, (13, 14, 15, 3), np.int16)
    return as_volume(type(img)(data, img.affine)), MAKE.format(affine=img.affine.tolist())


def test_keys_and_clicks_reach_the_next_cell(notebook, shots):
    volume, make = image()
    notebook.run(make)
    notebook.wait()
    window = notebook.value("viewer.window")
    assert notebook.shows(volume, (6, 7, 7), 0, window)
    notebook.canvas("axial").focus()
    for key in ("PageUp", "PageUp", "ArrowDown", "Enter", "ArrowLeft", "]"):
        notebook.page.keyboard.press(key)
    chosen, index = (7, 9, 7), (7, 9, 8)  # PSL: i leads down the axial plane, k to the left
    assert notebook.shows(volume, index, 1, window)
    place = index, tuple(map(float, index)), 1, chosen
    assert notebook.becomes("viewer.index, viewer.cursor_vox, viewer.time, viewer.clicked", place)
    assert notebook.value("viewer.cursor_mm") == pytest.approx(volume.to_mm(index).tolist())

    wanted = (3, 9, 11)
    notebook.page.mouse.click(*notebook.point(volume, "axial", wanted))
    assert notebook.becomes("viewer.clicked, viewer.index", (wanted, wanted))
    notebook.viewer.screenshot(path=shots / "viewer_lab.png")


def test_mouse_wheel_and_touch_reach_the_kernel(notebook):
    volume, make = image()
    notebook.run(make)
    notebook.wait()
    window = notebook.value("viewer.window")
    mouse, point = notebook.page.mouse, lambda *index: notebook.point(volume, "axial", index)
    mouse.move(*point(2, 3, 7))
    mouse.down()
    mouse.move(*point(8, 3, 10), steps=4)
    mouse.up()
    assert notebook.shows(volume, (8, 7, 10), 0, window)  # PSL: axial planes lie across j
    mouse.wheel(0, -120)
    assert notebook.becomes("viewer.clicked, viewer.index", ((2, 7, 7), (8, 8, 10)))
    assert notebook.shows(volume, (8, 8, 10), 0, window)

    x, y = point(8, 8, 10)
    mouse.move(x, y)
    mouse.down(button="right")
    mouse.move(x + 60, y, steps=4)
    mouse.up(button="right")
    assert notebook.wait_for(lambda: np.ptp(notebook.value("viewer.window")) > 1.3 * np.ptp(window))
    assert notebook.page.locator(".lm-Menu:visible").count() == 0  # no menu of JupyterLab's

    notebook.canvas("axial").scroll_into_view_if_needed()
    devtools = notebook.page.context.new_cdp_session(notebook.page)
    devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    # A tap, and a finger drawn to the side at first: down or up it would be on its way over the page.
    for way in (((4, 8, 4),), ((5, 8, 5), (5, 8, 9), (9, 8, 12))):
        for n, index in enumerate(way):
            x, y = point(*index)
            kind = "touchMove" if n else "touchStart"
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert notebook.becomes("viewer.clicked, viewer.index", ((5, 8, 5), (9, 8, 12)))
    assert notebook.shows(volume, (9, 8, 12), 0, notebook.value("viewer.window"))


def test_python_moves_the_browser(notebook):
    volume, make = image()
    notebook.run(make)
    notebook.wait()
    notebook.run("viewer.index = 2, 3, 4; viewer.time = 2; viewer.window = 100, 500")
    assert notebook.shows(volume, (2, 3, 4), 2, (100, 500))
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text("(2, 3, 4)")
    notebook.run("viewer.cursor_mm = tuple(img.affine[:3] @ [5.2, 6.9, 1.4, 1])")
    assert notebook.shows(volume, (5, 7, 1), 2, (100, 500))
    assert notebook.becomes("viewer.index", (5, 7, 1))
    notebook.run("viewer.close()")
    expect(notebook.viewer).to_have_count(0)


def link_sliders(notebook, last_time):
    """Show a viewer with sliders linked to its time point, which goes up to 2, and its window."""
    _, make = image()
    notebook.run(
        make.replace("\nviewer\n", "\n")
        + f"times = ipywidgets.IntSlider(max={last_time})\n"
        + "ends = ipywidgets.FloatRangeSlider(value=(100, 500), min=0, max=1000, step=10)\n"
        + "ipywidgets.jslink((times, 'value'), (viewer, 'time'))\n"
        + "ipywidgets.jslink((ends, 'value'), (viewer, 'window'))\n"
        + "ipywidgets.VBox([viewer, times, ends])"
    )
    notebook.wait()


def test_widgets_are_linked_in_the_browser(notebook):
    link_sliders(notebook, last_time=2)
    readout = notebook.viewer.locator(".slicewise-readout")
    expect(readout).to_contain_text("window 100 to 500")
    handles = notebook.page.locator(".noUi-handle")
    handles.nth(0).focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("time point 1")
    handles.nth(1).focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("window 110 to 500")
    assert notebook.becomes("viewer.time, viewer.window", (1, (110, 500)))

    readouts = notebook.page.locator(".widget-readout")
    notebook.canvas("axial").focus()
    notebook.page.keyboard.press("]")
    expect(readouts.nth(0)).to_have_text("2")
    notebook.viewer.get_by_label("from", exact=True).fill("200")
    expect(readouts.nth(1)).to_contain_text("200")
    assert notebook.becomes("times.value, ends.value", (2, (200, 500)))


def test_what_is_linked_stays_in_range_and_in_line(notebook):
    """A slider may go further than the image; Python would refuse what the browser shows."""
    link_sliders(notebook, last_time=9)
    readout = notebook.viewer.locator(".slicewise-readout")
    notebook.page.locator(".noUi-handle").nth(0).focus()
    for _ in range(5):
        notebook.page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("time point 2")
    notebook.page.locator(".noUi-handle").nth(2).focus()
    notebook.page.keyboard.press("Home")  # as far as to the other end
    expect(readout).to_contain_text("window 100 to 10")
    assert notebook.becomes("viewer.time", 2)
    assert notebook.wait_for(lambda: notebook.value("viewer.window[0] == 100 < viewer.window[1] < 110"))


def test_a_viewer_linked_to_one_of_a_larger_image_stays_inside(notebook):
    notebook.run(
        "import ipywidgets, numpy as np\nfrom helpers import SliceViewer\n"
        "small, large = (SliceViewer(np.zeros((n, n, n), np.uint8), plane='axial') for n in (9, 30))\n"
        "ipywidgets.jslink((large, 'cursor_vox'), (small, 'cursor_vox'))\n"
        "ipywidgets.VBox([small, large])"
    )
    expect(notebook.viewer.nth(1).locator(".slicewise-readout")).to_contain_text(";")
    notebook.viewer.nth(1).locator("canvas").first.focus()
    for _ in range(20):
        notebook.page.keyboard.press("PageUp")
    expect(notebook.viewer.nth(0).locator(".slicewise-readout")).to_contain_text("(8, 8, 8)")
    assert notebook.becomes("small.index[2]", 8)


def test_at_rest_the_kernel_tells_the_exact_value(notebook):
    notebook.run(
        "import numpy as np\nfrom helpers import SliceViewer\n"
        "viewer = SliceViewer(np.random.default_rng(0).normal(size=(9, 8, 7)))\nviewer"
    )
    notebook.wait()
    volume = as_volume(np.random.default_rng(0).normal(size=(9, 8, 7)))
    notebook.canvas("axial").focus()
    notebook.page.keyboard.press("PageUp")
    words = value_words(["intensity"], [volume], (4, 4, 4), 0)
    assert "≈" not in words
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text(words)


def test_at_rest_a_large_volume_shows_every_voxel(notebook):
    """Sent coarse, as if it were too large, it is drawn fine once the crosshair rests."""
    volume, make = image()
    coarse = (
        "from functools import partial\n"
        "from helpers.viewing import scene\n"
        "usual, scene.pack = scene.pack, partial(scene.pack, most_voxels=500)\n"
    )
    notebook.run(coarse + make.replace("\nviewer\n", "\nscene.pack = usual\nviewer\n"))
    notebook.wait()
    expect(notebook.viewer.locator(".slicewise-note")).to_contain_text("While you move, one voxel in")
    window = notebook.value("viewer.window")
    assert notebook.shows(volume, (6, 7, 7), 0, window)
    notebook.canvas("axial").focus()
    # While the key is handled it cannot be known yet.
    at_once = notebook.canvas("axial").evaluate(
        """(canvas) => {
          canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "PageUp", bubbles: true }));
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [...data.filter((_, n) => n % 4 === 0)];
        }"""
    )
    fine = to_rgb(plane_slice(volume, "axial", 8), window)[..., 0]
    assert not np.array_equal(np.reshape(at_once, fine.shape), fine)
    assert notebook.shows(volume, (6, 8, 7), 0, window)


# Makes a viewer of an image as if it were a large one, packed only when the first picture has been `seen`.
MAKE_LARGE = """
import time
from pathlib import Path
from IPython.display import display
from helpers.viewing import widget
usual = widget._AT_ONCE, widget.VolumeWidget._pack
widget._AT_ONCE = 0

def pack_when_seen(self):
    global waited_for
    for _ in range(600):
        waited_for = Path({seen!r}).exists()
        if waited_for:
            break
        time.sleep(0.1)
    return usual[1](self)

widget.VolumeWidget._pack = pack_when_seen
{make}
{how}
"""
# Presses a key in the very moment in which the first picture stands there.
EAGER = """() => {
  const timer = setInterval(() => {
    const canvas = document.querySelector(".slicewise-plane[data-plane=axial]");
    if (!document.querySelector(".slicewise-readout")?.textContent.includes(";")) return;
    clearInterval(timer);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    window.early = [...data.filter((_, n) => n % 4 === 0)];
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "PageUp", bubbles: true }));
    see();
  }, 10);
}"""


def test_the_first_picture_waits_for_no_voxels_and_keys_are_not_lost(notebook, tmp_path):
    volume, make = image()
    seen = tmp_path / "seen"
    notebook.page.expose_function("see", lambda: seen.touch())
    for how in ("display(viewer)", "ipywidgets.VBox([viewer])"):
        notebook.page.evaluate(EAGER)
        make_large = MAKE_LARGE.format(make=make.replace("\nviewer\n", "\n"), how=how, seen=str(seen))
        notebook.run(make_large)
        notebook.run("widget._AT_ONCE, widget.VolumeWidget._pack = usual")
        assert notebook.value("waited_for"), "no picture in a minute"
        window = notebook.value("viewer.window")
        first = to_rgb(plane_slice(volume, "axial", 7), window)[..., 0]
        np.testing.assert_array_equal(np.reshape(notebook.page.evaluate("early"), first.shape), first)
        assert notebook.shows(volume, (6, 8, 7), 0, window)
        assert notebook.becomes("viewer.index", (6, 8, 7))
        notebook.clear()
        seen.unlink()


def test_no_shortcut_of_lab_fires_while_a_plane_has_the_focus(notebook):
    _, make = image()
    notebook.run(make)
    notebook.run("1 + 1")
    notebook.wait()
    before = notebook.page.evaluate(CELLS)
    notebook.canvas("axial").focus()
    for key in [
        *"abddmyrcxzvoil0",
        "Enter",
        "Shift+M",
        "Escape",
        "Delete",
        "ArrowUp",
        "Home",
        " ",
    ]:
        notebook.page.keyboard.press(key)
    notebook.page.wait_for_timeout(300)
    assert notebook.page.evaluate(CELLS) == before
    focused = "() => document.activeElement.dataset.plane"
    assert notebook.page.evaluate(focused) == "axial"


def test_a_key_held_down_misses_no_slice_and_never_jumps_back(notebook):
    notebook.run(
        "import numpy as np\nfrom helpers import SliceViewer\n"
        "viewer = SliceViewer(np.random.default_rng(0).integers(0, 999, (20, 20, 100), np.int16))\n"
        "viewer.index = 10, 10, 5\nviewer"
    )
    notebook.wait()
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text("(10, 10, 5)")
    notebook.canvas("axial").focus()
    notebook.page.evaluate(
        """() => {
          window.seen = [];
          const readout = document.querySelector(".slicewise-readout");
          const look = () => {
            seen.push(Number(readout.textContent.match(/\\d+, \\d+, (\\d+)/)[1]));
            window.looking = requestAnimationFrame(look);
          };
          look();
        }"""
    )
    for _ in range(60):
        notebook.page.keyboard.down("PageUp")
        notebook.page.wait_for_timeout(28)
    notebook.page.keyboard.up("PageUp")
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text("(10, 10, 65)")
    notebook.page.wait_for_timeout(700)  # in which an echo of the kernel would turn it back
    seen = notebook.page.evaluate("() => { cancelAnimationFrame(looking); return seen; }")
    assert seen[0] == 5 and seen[-1] == 65
    assert (np.diff(seen) >= 0).all()
    assert notebook.becomes("viewer.index", (10, 10, 65))


# Remembers what was sent to the kernel while an event was being handled, when a frame is not drawn yet.
WATCH_EVENTS = """() => {
  window.early = [];
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (...message) {
    const { type } = window.event ?? {};  // that is being handled
    if (["pointerdown", "pointermove", "keydown", "input"].includes(type)) early.push(type);
    return send.apply(this, message);
  };
}"""


def test_the_kernel_hears_of_nothing_before_it_is_drawn(notebook):
    volume, make = image()
    notebook.run(make)
    notebook.wait()
    notebook.page.evaluate(WATCH_EVENTS)
    mouse, point = notebook.page.mouse, lambda *index: notebook.point(volume, "axial", index)
    mouse.click(*point(2, 7, 3))
    notebook.page.wait_for_timeout(200)
    notebook.page.keyboard.press("PageUp")
    mouse.move(*point(4, 7, 5))
    mouse.down(button="right")
    mouse.move(*point(6, 7, 11), steps=5)
    mouse.up(button="right")
    notebook.viewer.get_by_label("from", exact=True).fill("200")
    assert notebook.wait_for(lambda: notebook.value("viewer.window[0]") == 200)
    assert notebook.becomes("viewer.clicked, viewer.index", ((2, 7, 3), (2, 8, 3)))
    assert notebook.page.evaluate("() => early") == []


def test_twenty_runs_of_a_cell_hold_one_volume(notebook):
    make = (
        "import gc, ipywidgets, numpy as np, psutil\nfrom helpers import SliceViewer\n"
        "SliceViewer(np.random.default_rng().integers(0, 256, (150, 150, 150), np.uint8))"
    )
    megabytes = 150**3 / 2**20
    devtools = notebook.page.context.new_cdp_session(notebook.page)

    def memory():
        devtools.send("HeapProfiler.collectGarbage")
        used = devtools.send("Runtime.getHeapUsage")
        page = (used["usedSize"] + used["backingStorageSize"]) / 2**20
        kernel = notebook.value("(gc.collect(), psutil.Process().memory_info().rss / 2**20)[1]")
        return page, kernel

    notebook.run(make)
    cell, found = notebook.last, []
    for number in range(1, 21):
        notebook.run(again=cell)
        notebook.wait()
        if number in (5, 20):
            found.append(memory())
    widgets = "ipywidgets.widgets.widget._instances.values()"  # all that are open
    assert notebook.value(f"sum(isinstance(each, SliceViewer) for each in {widgets})") == 1
    grown = np.subtract(found[1], found[0])
    assert (grown < 3 * megabytes).all(), f"15 runs of {megabytes:.1f} MB left (page, kernel) {grown} MB"
    assert notebook.viewer.count() == 1


def test_in_the_dark_theme_too(notebook, shots):
    """For eyes: the screenshots; here only that nothing is lost."""
    _, make = image()
    notebook.run(
        make.replace(
            "SliceViewer(img)", "SliceViewer(img, np.random.default_rng(0).normal(size=(13, 14, 15)))"
        )
    )
    notebook.wait()
    for theme in ("Dark", "Light"):
        notebook.in_theme(theme)
        notebook.page.screenshot(path=shots / f"viewer_lab_{theme.lower()}.png")

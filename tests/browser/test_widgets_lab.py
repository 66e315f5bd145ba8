"""Comparisons, registration monitors and explorers in JupyterLab, with a kernel that answers."""

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import expect
from scipy.ndimage import gaussian_filter

from helpers.registration import jacobian
from helpers.viewing.comparison import MODES, combine, difference_colours, difference_limit
from helpers.viewing.monitor import jacobian_colours, residual_limit
from helpers.viewing.slices import BACKGROUND, auto_window, plane_axes, plane_slice, to_rgb
from helpers.viewing.volume import as_volume
from tests.browser.pages import known
from tests.helpers.viewing.phantoms import straight

PLANES = ("axial", "coronal", "sagittal")

# Keeps, whenever the picture changes, whether the kernel is busy and how many points the curve has.
RECORD = """() => {
  window.seen = [];
  let last = "";
  window.recording = setInterval(() => {
    const canvas = document.querySelector(".slicewise-plane");
    const lines = document.querySelector(".slicewise-vectors");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const ink = lines.getContext("2d").getImageData(0, 0, lines.width, lines.height).data.join();
    const points = [...document.querySelectorAll(".slicewise-curve polyline")]
      .map((line) => line.getAttribute("points").split(" ").length);
    const { status } = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const now = { picture: data.join(), ink, points: points.reduce((sum, n) => sum + n, 0), status };
    if (now.picture + ink === last) return;
    last = now.picture + ink;
    seen.push(now);
  }, 20);
}"""
PICTURE = """async () => {
  const picture = document.querySelector(".slicewise-picture");
  await picture.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, 1, 1);
  return [context.getImageData(0, 0, 1, 1).data[0], picture.alt];
}"""
CELLS = """() => {
  const { cells } = jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON();
  return cells.map((cell) => [cell.cell_type, cell.source]);
}"""


# ---- Two images compared ----

AFFINE = straight("PSL").affine
PAIR = """
import nibabel as nib, numpy as np
from helpers import compare
data = np.random.default_rng(0).integers(0, 1000, (11, 7, 9), np.int16)
affine = np.array({affine})
fixed, moving = (nib.Nifti1Image(each, affine) for each in (data, data[::-1] // 11))
viewer = compare(fixed, moving, title="Two phantoms")
viewer
"""


def compared(mode, plane, index, mix=0.5, window_moving=None):
    """Return what the pure functions draw of the same two images; side by side both."""
    data = np.random.default_rng(0).integers(0, 1000, (11, 7, 9), np.int16)
    volumes = [as_volume(nib.Nifti1Image(each, AFFINE)) for each in (data, data[::-1] // 11)]
    cuts = [plane_slice(each, plane, index[plane_axes(each, plane)[0]]) for each in volumes]
    windows = auto_window(volumes[0].data), window_moving or auto_window(volumes[1].data)
    colours = [to_rgb(*pair) for pair in zip(cuts, windows, strict=True)]
    if mode == "side by side":
        return colours
    if mode == "difference":
        limit = difference_limit(*(each.data for each in volumes))
        return [difference_colours(*(cut.astype(float) for cut in cuts), limit)]
    return [combine(*colours, mode, mix)]


def test_a_comparison_works_both_ways(notebook, shots):
    notebook.run(PAIR.format(affine=AFFINE.tolist()))
    notebook.wait()

    def shows(mode, index, **look):
        for plane in PLANES:
            for n, expected in enumerate(compared(mode, plane, index, **look)):
                assert notebook.draws(plane, expected, n), (mode, plane, n)

    shows("side by side", (5, 3, 4))
    notebook.canvas("coronal", 1).press("PageUp")
    index = (6, 3, 4)  # PSL: i leads through the coronal planes
    shows("side by side", index)
    assert notebook.becomes("viewer.index", index)
    for mode in MODES[1:4]:
        notebook.canvas("axial").press("m")
        shows(mode, index)
        assert notebook.becomes("viewer.mode", mode)
    notebook.run("viewer.mode, viewer.mix = 'blend', 0.25")
    shows("blend", index, mix=0.25)
    notebook.viewer.get_by_label("moving share").fill("0.8")
    shows("blend", index, mix=0.8)
    assert notebook.becomes("viewer.mix", 0.8)
    notebook.run("viewer.mode, viewer.window_moving = 'side by side', (0, 50)")
    shows("side by side", index, window_moving=(0, 50))
    notebook.viewer.get_by_label("moving to").fill("20")
    assert notebook.becomes("viewer.window_moving", (0, 20))
    for theme in ("Dark", "Light"):
        notebook.in_theme(theme)
        notebook.page.screenshot(path=shots / f"compare_lab_{theme.lower()}.png")


# ---- A registration, while it runs and afterwards ----

IMAGES = """
import numpy as np
from scipy.ndimage import gaussian_filter
from helpers import RegistrationMonitor
from helpers.registration import demons
fixed = gaussian_filter(np.random.default_rng(1).normal(size={shape}), 3)
fixed = np.round(1000 * fixed / fixed.max()).astype(np.int16)
moving = np.roll(fixed, {shift}, axis=0) // 4
"""
MONITOR = """
monitor = RegistrationMonitor(fixed, moving, title="Demons", pause=0.05)
monitor
"""
WATCH = "result = demons(fixed, moving, levels=2, iterations=25, tolerance=0, callback=monitor)"


def images(shape, shift):
    """Return what the cell IMAGES makes."""
    fixed = gaussian_filter(np.random.default_rng(1).normal(size=shape), 3)
    fixed = np.round(1000 * fixed / fixed.max()).astype(np.int16)
    return fixed, np.roll(fixed, shift, axis=0) // 4


def registered(fixed, moving, result, shown, plane, index):
    """Return what the pure functions draw of a run."""
    data = {"fixed": fixed, "moving": moving, "warped": result["warped"]}
    data["Jacobian"] = jacobian(result["displacement"])

    def cut(name):
        return plane_slice(known(as_volume(data[name])), plane, index)

    if shown == "difference":
        limit = residual_limit(fixed, moving, result["warped"])
        return difference_colours(cut("fixed").astype(float), cut("warped").astype(float), limit)
    if shown == "Jacobian":
        return jacobian_colours(cut("Jacobian"), 1.0)
    return to_rgb(cut(shown), auto_window(fixed if shown == "fixed" else moving))


def watched(notebook, shape, shift):
    """Display a monitor in one cell, run demons in the next; return what was seen meanwhile."""
    notebook.run(IMAGES.format(shape=shape, shift=shift))
    notebook.run(MONITOR)
    notebook.wait()
    notebook.page.evaluate(RECORD)
    notebook.run(WATCH)
    return notebook.page.evaluate("() => { clearInterval(recording); return seen; }")


def ink(notebook):
    """Return how many pixels of the lines' first canvas are drawn."""
    return notebook.viewer.locator(".slicewise-vectors").first.evaluate(
        """async (canvas) => {
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.filter((alpha, n) => n % 4 === 3 && alpha).length;
        }"""
    )


@pytest.mark.parametrize(("shape", "shift"), [((56, 48), 3), ((24, 20, 16), 1)], ids=["2D", "3D"])
def test_a_registration_is_watched_and_then_browsed(notebook, lab, shots, shape, shift):
    seen = watched(notebook, shape, shift)
    during = [each for each in seen if each["status"] == "busy"]
    assert len({each["picture"] for each in during}) >= 2
    assert len({each["ink"] for each in during}) >= 2
    points = [each["points"] for each in during]
    assert sorted(points) == points and points[-1] > 10
    notebook.page.screenshot(path=shots / f"monitor_lab_run_{len(shape)}d.png")

    # The run has ended, but its result is not shown yet: the grid, arrows and update of the last picture.
    inks = {}
    for key in "gaun":
        notebook.canvas("axial").press(key)
        inks[key] = ink(notebook)
    assert inks["g"] > 100 and inks["a"] > 0 and inks["u"] > 0 and inks["n"] == 0
    assert len(set(inks.values())) == 4
    assert notebook.becomes("monitor.drawn", "nothing")

    notebook.run("monitor.show(result);")
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text("warped")
    curve = [line.get_attribute("points").split() for line in notebook.viewer.locator("polyline").all()]
    assert notebook.value("len(result.history)") == sum(map(len, curve))
    notebook.run("np.savez('result.npz', warped=result.warped, displacement=result.displacement)")
    result = np.load(lab[1] / "result.npz")
    fixed, moving = images(shape, shift)
    index = tuple(size // 2 for size in as_volume(fixed).shape)
    for key, image in zip("12345", ("fixed", "moving", "warped", "difference", "Jacobian"), strict=True):
        notebook.canvas("axial").press(key)
        for plane in PLANES if len(shape) == 3 else PLANES[:1]:
            n = index[plane_axes(as_volume(fixed), plane)[0]]
            assert notebook.draws(plane, registered(fixed, moving, result, image, plane, n)), (image, plane)
        assert notebook.becomes("monitor.shown", image)
    for key, drawn in {"g": True, "a": True, "n": False, "u": False}.items():
        notebook.canvas("axial").press(key)
        assert (ink(notebook) > 0) == drawn, key
    # At rest the kernel tells the exact values, also of the images that were not there before.
    notebook.run("from helpers.viewing.words import value_words")
    words = notebook.value("value_words(monitor._names, monitor._volumes, monitor.index, 0)")
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text(words)
    notebook.canvas("axial").press("g")
    for theme in ("Dark", "Light"):
        notebook.in_theme(theme)
        notebook.page.screenshot(path=shots / f"monitor_lab_{len(shape)}d_{theme.lower()}.png")
    # A run that follows shows nothing of that result, although its Jacobian was seen last.
    notebook.run(WATCH)
    assert notebook.value("monitor.shown") == "Jacobian"
    assert notebook.viewer.get_by_label("image", exact=True).input_value() == "warped"
    readout = notebook.viewer.locator(".slicewise-readout")
    expect(readout).to_contain_text("level 1, iteration 25")
    assert not {"warped", "Jacobian", "displacement"} & set(readout.inner_text().split())


@pytest.mark.parametrize("where", ["a plane", "a list"])
def test_a_result_leaves_the_focus_where_it_was(notebook, where):
    notebook.run(IMAGES.format(shape=(20, 18, 16), shift=1))
    notebook.run(MONITOR)
    notebook.wait()
    notebook.run("result = demons(fixed, moving, levels=1, iterations=3, operators='numpy')")
    plane = notebook.canvas("coronal")
    plane.evaluate("(canvas) => (canvas.dataset.old = true)")
    # Not while a cell runs, which takes the focus to the cell, but when a key is pressed where the focus is.
    focused, key, trait = {
        "a plane": (plane, "PageDown", "index"),
        "a list": (notebook.viewer.get_by_label("image", exact=True), "ArrowUp", "shown"),
    }[where]
    notebook.run(
        f"def once(_):\n    monitor.unobserve(once, {trait!r})\n    monitor.show(result)\n"
        f"monitor.observe(once, {trait!r})"
    )
    focused.focus()
    notebook.page.keyboard.press(key)
    expect(notebook.viewer.locator("[data-old]")).to_have_count(0)
    expect(focused).to_be_focused()
    if where == "a plane":
        notebook.page.keyboard.press("PageUp")
        assert notebook.becomes("monitor.index", (10, 9, 8))


def test_a_control_that_goes_out_of_use_gives_its_focus_to_a_plane(notebook):
    notebook.run(IMAGES.format(shape=(20, 18, 16), shift=1))
    notebook.run(MONITOR)
    notebook.wait()
    notebook.run("result = demons(fixed, moving, levels=1, iterations=3, operators='numpy')")
    notebook.run("monitor.shown = 'difference'")
    # When the slider is moved, and so has the focus.
    notebook.run("monitor.observe(lambda _: monitor.show(result), 'window_moving')")
    slider = notebook.viewer.get_by_label("moving to", exact=True)
    slider.focus()
    notebook.page.keyboard.press("ArrowLeft")
    expect(slider).to_be_disabled()
    expect(notebook.canvas("axial")).to_be_focused()


def test_where_a_running_registration_has_no_value_none_is_drawn(notebook):
    notebook.run(
        "from types import SimpleNamespace\nimport numpy as np\nfrom helpers import RegistrationMonitor\n"
        "image = np.random.default_rng(0).normal(size=(12, 14))\n"
        "monitor = RegistrationMonitor(image, image)\nmonitor"
    )
    notebook.wait()
    notebook.run(
        "warped = image.copy()\nwarped[3:6, 2:9] = np.nan\nfield = np.zeros((2, 6, 7), np.float32)\n"
        "monitor(SimpleNamespace(level=0, levels=1, iteration=0, msd=1.0, fixed=image, warped=warped,\n"
        "                        lattice_displacement=field, lattice_update=field))"
    )
    holes = np.zeros((12, 14), bool)
    holes[3:6, 2:9] = True

    def drawn():
        return np.array_equal((notebook.pixels("axial") == BACKGROUND).all(axis=-1), holes)

    assert notebook.wait_for(drawn)


def test_what_comes_of_a_running_registration_is_named_and_follows_the_crosshair(notebook):
    notebook.run(
        "from types import SimpleNamespace\nimport numpy as np\nfrom helpers import RegistrationMonitor\n"
        "image = np.random.default_rng(0).normal(size=(12, 14, 10))\n"
        "monitor = RegistrationMonitor(image, image)\nmonitor"
    )
    notebook.wait()
    caption = notebook.viewer.locator(".slicewise-caption").first
    expect(caption).to_have_text("moving k = 5")
    offered = "#{} option:not(:disabled)".format(
        notebook.viewer.get_by_label("image", exact=True).get_attribute("id")
    )
    assert notebook.page.locator(offered).all_inner_texts() == ["fixed", "moving"]
    notebook.run(
        "field = np.zeros((3, 6, 7, 5), np.float32)\n"
        "monitor(SimpleNamespace(level=1, levels=2, iteration=7, msd=1.0, fixed=image, warped=image[::-1],\n"
        "                        lattice_displacement=field, lattice_update=field))"
    )
    expect(caption).to_have_text("warped k = 5")
    expect(notebook.viewer.locator(".slicewise-readout")).to_contain_text("level 1, iteration 7")
    assert notebook.page.locator(offered).all_inner_texts() == ["fixed", "moving", "warped"]
    colours = notebook.viewer.get_by_label("colour map", exact=True)
    expect(colours).to_be_disabled()  # what comes while it runs is grey
    image = np.random.default_rng(0).normal(size=(12, 14, 10))

    def seen(data, index):
        """Return how much the first plane looks like a slice, 1 for the same."""
        cut = plane_slice(as_volume(data), "axial", index)
        return np.corrcoef(notebook.pixels("axial")[..., 0].ravel(), cut.ravel())[0, 1]

    assert notebook.wait_for(lambda: seen(image[::-1], 5) > 0.95)
    notebook.canvas("axial").press("PageUp")
    expect(caption).to_have_text("warped k = 6")
    assert notebook.wait_for(lambda: seen(image[::-1], 6) > 0.95)
    notebook.canvas("axial").press("1")
    expect(colours).to_be_enabled()
    expect(caption).to_have_text("fixed k = 6")
    assert notebook.wait_for(lambda: seen(image, 6) > 0.95)


# ---- Explorers ----

EXPLORER = """
from matplotlib.figure import Figure
from helpers.viewing import explore

def draw(size, shade, kind, frame):
    figure = Figure(figsize=(5, 2), facecolor=str(shade))
    return figure, f"A {kind} of size {size} and shade {shade:g}, {'framed' if frame else 'bare'}."

explorer = explore(
    draw, title="Shapes", size=(1, 40, 1, 8), shade=(0.0, 1.0, 0.05, 0.5), kind=["disc", "ring"], frame=False
)
explorer
"""


def test_an_explorer_redraws_for_each_control(notebook, shots):
    notebook.run(EXPLORER)
    notebook.run("1 + 1")
    expect(notebook.viewer.locator(".slicewise-says")).to_have_text("A disc of size 8 and shade 0.5, bare.")

    def shows(text, shade):
        def shown():
            grey, alt = notebook.page.evaluate(PICTURE)
            return alt == text and abs(grey - 255 * shade) <= 1

        expect(notebook.viewer.locator(".slicewise-says")).to_have_text(text)
        assert notebook.wait_for(shown)

    keyboard = notebook.page.keyboard
    shows("A disc of size 8 and shade 0.5, bare.", 0.5)
    notebook.viewer.get_by_label("shade").focus()
    keyboard.press("ArrowRight")
    shows("A disc of size 8 and shade 0.55, bare.", 0.55)
    assert notebook.becomes("explorer.values['shade']", 0.55)
    notebook.viewer.get_by_label("shade").focus()
    for _ in range(20):
        keyboard.press("ArrowLeft")  # faster than the kernel draws; the last one counts
    shows("A disc of size 8 and shade 0, bare.", 0)
    notebook.viewer.get_by_label("size").focus()
    keyboard.press("End")
    shows("A disc of size 40 and shade 0, bare.", 0)
    notebook.viewer.get_by_label("kind").select_option("ring")
    notebook.viewer.get_by_label("frame").check()
    shows("A ring of size 40 and shade 0, framed.", 0)
    values = {"size": 40, "shade": 0.0, "kind": "ring", "frame": True}
    assert notebook.becomes("explorer.values", values)
    assert notebook.value("type(explorer.values['size']).__name__") == "int"

    notebook.run("explorer.values = {'shade': 0.8, 'frame': False}")
    shows("A ring of size 40 and shade 0.8, bare.", 0.8)
    assert notebook.viewer.get_by_label("shade").input_value() == "0.8"
    assert not notebook.viewer.get_by_label("frame").is_checked()
    assert notebook.viewer.locator(".slicewise-note").count() == 0, "in JupyterLab all controls move"

    before = notebook.page.evaluate(CELLS)
    for control in ("shade", "frame", "kind"):
        notebook.viewer.get_by_label(control).focus()
        for key in [*"abddmyxcvz", "Shift+M", "Delete"]:
            keyboard.press(key)
        focused = "() => document.activeElement.labels?.[0]?.textContent"
        assert notebook.page.evaluate(focused) == control
    notebook.run("2 + 2")  # has passed through Lab after all these keys
    assert notebook.page.evaluate(CELLS)[:-1] == before
    for theme in ("Dark", "Light"):
        notebook.in_theme(theme)
        notebook.page.screenshot(path=shots / f"explore_lab_{theme.lower()}.png")

"""Comparisons, registration monitors and explorers on a page without a kernel."""

import base64
import itertools
import re
from dataclasses import dataclass, field, replace
from io import BytesIO
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import expect

from helpers import RegistrationMonitor, compare
from helpers.registration import jacobian
from helpers.viewing import explore
from helpers.viewing.comparison import MODES, combine, difference_colours, difference_limit
from helpers.viewing.monitor import IMAGES, jacobian_colours, residual_limit
from helpers.viewing.slices import auto_window, map_colours, pixel_of, plane_axes, plane_slice, to_rgb
from helpers.viewing.volume import as_volume
from tests.browser.pages import ADDRESS, CONTRASTS, SETTLE, image_of, known, open_html, pixels_of
from tests.helpers.viewing.phantoms import straight, tilted

RNG = np.random.default_rng(0)
PLANES = ("axial", "coronal", "sagittal")

# Presses each key on each viewer, and after each turns all slices of all planes that are seen.
SWEEP = """async (keys) => {
  // A move is painted in the next frame, and its words are written 20 ms later.
  const settled = () => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 25));
  const sweep = async (root) => {
    const press = (canvas, key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const canvases = [...root.querySelectorAll("canvas.slicewise-plane")];
    const found = {};
    for (const key of keys) {
      press(canvases[0], key);
      await settled();
      const labels = [...root.querySelectorAll("label")];
      const label = labels.find(({ textContent }) => ["compare", "image"].includes(textContent));
      const planes = {};
      for (const canvas of canvases.filter((canvas) => canvas.checkVisibility())) {
        const { width: columns, height: rows } = canvas;
        const steps = [];
        press(canvas, "Home");
        await settled();
        for (let last = ""; ; ) {
          const place = root.querySelector(".slicewise-readout").firstChild.textContent;
          if (place === last) break;
          last = place;
          const { data } = canvas.getContext("2d").getImageData(0, 0, columns, rows);
          steps.push(btoa(String.fromCharCode(...data)));
          press(canvas, "PageUp");
          await settled();
        }
        planes[`${canvas.dataset.layer} ${canvas.dataset.plane}`] = { rows, columns, steps };
      }
      found[label.control.value] = planes;
    }
    return found;
  };
  return await Promise.all([...document.querySelectorAll(".slicewise-viewer")].map(sweep));
}"""

# How much ink each column and each row of the canvas for lines has, and where it begins and ends.
INK = """canvas => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const ink = { width, height, columns: Array(width).fill(0), rows: Array(height).fill(0) };
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const alpha = data[4 * (y * width + x) + 3] / 255;
      ink.columns[x] += alpha;
      ink.rows[y] += alpha;
    }
  return ink;
}"""


# Of each plane: the parts of its caption, those that are seen, and whether they and the letters are in place.
CAPTIONS = """() => [...document.querySelectorAll(".slicewise-panel")].map((panel) => {
  const box = (element) => element.getBoundingClientRect();
  const stage = box(panel.closest(".slicewise-stage"));
  const caption = panel.querySelector(".slicewise-caption");
  const parts = [...caption.children];
  const seen = parts.filter((part) => box(part).bottom <= box(caption).bottom + 1);
  const within = (part, { left, right }) => box(part).left >= left - 1 && box(part).right <= right + 1;
  const canvas = box(panel.querySelector("canvas"));
  return {
    words: parts.map((part) => part.textContent),
    seen: seen.map((part) => part.textContent),
    inside: seen.every((part) => within(part, box(panel))) && within(panel, stage),
    letters: [...panel.querySelectorAll(".slicewise-letter")].every((letter) => within(letter, stage)),
    middle: canvas.x + canvas.width / 2,
  };
})"""


def sweep(browser, viewers, keys):
    """Return what viewers, each alone in a group of a page, show after each key: name of it → planes."""
    html = "".join(viewer.to_html() for viewer in viewers)
    page = open_html(browser, html, reduced_motion="reduce")
    found = page.evaluate(SWEEP, list(keys))
    requested, failures = page.requested, page.failures
    page.context.close()
    assert failures == []
    assert [url for url in requested if not url.startswith("blob:")] == [ADDRESS]
    return found


# ---- Two images compared ----


@dataclass
class Pair:
    """Two images and the arguments of `compare`."""

    fixed: object
    moving: object
    options: dict = field(default_factory=dict)

    def viewer(self, **more):
        return compare(self.fixed, self.moving, **self.options | more)

    def expected(self, mode, plane, index, time=0, mix=0.5, windows=(None, None)):
        """Return what the pure functions draw of one plane; of two side by side, both."""
        volumes = [as_volume(self.fixed), as_volume(self.moving)]
        turned = self.options.get("radiological", False)
        cmap = self.options.get("cmap", "gray")
        cuts, colours = [], []
        for volume, window in zip(volumes, windows, strict=True):
            window = window or self.options.get("window") or auto_window(volume.data)
            volume = known(volume)
            cuts.append(plane_slice(volume, plane, index, time if volume.n_times > 1 else 0, turned))
            colours.append(to_rgb(cuts[-1], window, cmap))
        if mode == "side by side":
            return colours
        if mode == "difference":
            limit = difference_limit(*(volume.data for volume in volumes))
            return [difference_colours(*(cut.astype(float) for cut in cuts), limit)]
        return [combine(*colours, mode, mix)]


def pair(img, moving=None, **options):
    """Return two images of whole numbers on the grid of one: the second much darker than the first."""
    data = RNG.integers(0, 1000, img.shape, np.int16)
    moving = (data[::-1] // 11).astype(np.uint8) if moving is None else moving
    return Pair(*(nib.Nifti1Image(each, img.affine) for each in (data, moving)), options)


PAIRS = {
    "RAS": pair(straight("RAS")),
    "PSL radiological": pair(straight("PSL"), radiological=True),
    "ILA tilted": pair(tilted("ILA", 25), cmap="viridis"),
    "one window": pair(straight("LPS"), window=(5, 60)),
    "holes": pair(straight("LAS"), np.where(RNG.random((9, 11, 7)) < 0.2, np.nan, 3).astype(np.float32)),
    "unsigned": Pair(RNG.integers(0, 256, (9, 8, 7), np.uint8), RNG.integers(0, 60000, (9, 8, 7), np.uint16)),
    "picture": Pair(*RNG.integers(0, 256, (2, 30, 21), np.uint8)),
    "in time": Pair(RNG.integers(0, 999, (9, 8, 7, 2), np.int16), RNG.integers(0, 99, (9, 8, 7), np.int16)),
}


@pytest.fixture(scope="module")
def compared(chromium):
    """Return what the pages of all pairs have shown: name → mode → planes."""
    found = sweep(chromium, [each.viewer(mode="flicker") for each in PAIRS.values()], "m" * len(MODES))
    return dict(zip(PAIRS, found, strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PAIRS)
def test_each_mode_has_the_pixels_of_the_pure_functions(compared, name, mode):
    case, found = PAIRS[name], compared[name]
    assert list(found) == list(MODES), "M goes through all of them in order"
    volume = as_volume(case.fixed)
    rows = 2 if mode == "side by side" else 1
    planes = PLANES if min(volume.shape) > 1 else PLANES[:1]
    assert set(found[mode]) == {f"{n} {plane}" for n in range(rows) for plane in planes}
    for shown, seen in found[mode].items():
        n, plane = shown.split()
        assert len(seen["steps"]) == volume.shape[plane_axes(volume, plane)[0]]
        for index, step in enumerate(seen["steps"]):
            expected = case.expected(mode, plane, index)[int(n)]
            np.testing.assert_array_equal(image_of(step, seen["rows"], seen["columns"]), expected)


class Compared:
    """A comparison on a page."""

    def __init__(self, page, case):
        self.page, self.case = page, case
        self.root = page.locator(".slicewise-viewer")
        self.planes = page.locator("canvas.slicewise-plane:visible")

    def canvas(self, plane, n=0):
        return self.root.locator(f"canvas[data-plane={plane}][data-layer='{n}']")

    def pixels(self, plane, n=0):
        self.page.evaluate(SETTLE)
        return pixels_of(self.canvas(plane, n))

    def control(self, label):
        return self.root.get_by_label(label, exact=True)


FADED = """() => [...document.querySelectorAll(".slicewise-control label")]
    .filter((label) => getComputedStyle(label).opacity < 1).map((label) => label.textContent)"""


@pytest.fixture
def compare_on_page(show):
    return lambda case, viewer=None, **options: Compared(show(viewer or case.viewer(), **options), case)


def test_one_cursor_goes_over_both_rows(compare_on_page):
    case = PAIRS["PSL radiological"]
    shown, volume = compare_on_page(case), as_volume(case.fixed)
    for n, plane in itertools.product((1, 0), PLANES):
        across, up, along = plane_axes(volume, plane)
        wanted = [3, 4, 2]
        wanted[up], wanted[along] = 1 + n, volume.shape[along] - 1
        row, column = pixel_of(volume, plane, wanted, True)
        rows, columns = plane_slice(volume, plane, 0).shape
        box = shown.canvas(plane, n).bounding_box()
        place = {"x": (column + 0.5) / columns * box["width"], "y": (row + 0.5) / rows * box["height"]}
        shown.canvas(plane, n).click(position=place)
        shown.page.evaluate(SETTLE)
        index = shown.page.evaluate("() => document.querySelector('.slicewise-readout').innerText")
        index = [int(number) for number in index.split("(i, j, k) = (")[1].split(")")[0].split(",")]
        assert (index[up], index[along]) == (wanted[up], wanted[along])
        for other, m in itertools.product(PLANES, (0, 1)):
            lines = shown.canvas(other, m).locator("xpath=../..").locator(".slicewise-line")
            box = shown.canvas(other, m).bounding_box()
            row, column = pixel_of(volume, other, index, True)
            rows, columns = plane_slice(volume, other, 0).shape
            top, left = lines.nth(0).bounding_box()["y"], lines.nth(1).bounding_box()["x"]
            assert top - box["y"] == pytest.approx((row + 0.5) / rows * box["height"], abs=1)
            assert left - box["x"] == pytest.approx((column + 0.5) / columns * box["width"], abs=1)
            expected = case.expected("side by side", other, index[plane_axes(volume, other)[0]])[m]
            np.testing.assert_array_equal(shown.pixels(other, m), expected)
    names = [shown.planes.nth(n).get_attribute("aria-label") for n in range(6)]
    assert names == [f"{whose} {plane} plane" for whose in ("fixed", "moving") for plane in PLANES]
    shown.control("compare").select_option("blend")
    shown.page.evaluate(SETTLE)
    assert shown.planes.count() == 3
    assert shown.planes.nth(0).get_attribute("aria-label") == "axial plane, blend"


def test_the_mix_and_both_windows_are_set_below(compare_on_page):
    case = PAIRS["RAS"]
    shown = compare_on_page(case)
    windows = [auto_window(np.asanyarray(img.dataobj)) for img in (case.fixed, case.moving)]
    shown.control("compare").select_option("blend")
    for mix in (0, 0.25, 0.9, 1):
        shown.control("moving share").fill(str(mix))
        expected = case.expected("blend", "coronal", 5, mix=mix)
        np.testing.assert_array_equal(shown.pixels("coronal"), expected[0])
    shown.control("compare").select_option("side by side")
    for label, n, end, value in (("fixed from", 0, 0, 200), ("moving to", 1, 1, 50), ("fixed to", 0, 1, 700)):
        shown.control(label).fill(str(value))
        windows[n] = (value, windows[n][1]) if end == 0 else (windows[n][0], value)
        for m in (0, 1):
            expected = case.expected("side by side", "axial", 3, windows=windows)
            np.testing.assert_array_equal(shown.pixels("axial", m), expected[m])
    named = shown.control("window")
    assert named.input_value() == "by hand"
    assert named.locator("option:disabled").all_inner_texts() == ["by hand"]
    named.select_option("automatic")
    for m in (0, 1):
        np.testing.assert_array_equal(shown.pixels("axial", m), case.expected("side by side", "axial", 3)[m])
    assert named.input_value() == "automatic"


def test_a_control_is_there_where_it_does_something(compare_on_page):
    shown = compare_on_page(PAIRS["RAS"])
    for mode in MODES:
        shown.control("compare").select_option(mode)
        shown.page.evaluate(SETTLE)
        windows = re.findall(r"window of (\w+)", shown.root.locator(".slicewise-readout").inner_text())
        assert windows == ([] if mode == "difference" else ["fixed", "moving"])
        assert shown.control("moving share").is_visible() == (mode == "blend")
        assert shown.root.get_by_role("button", name="hold").is_visible() == (mode == "flicker")
        labels = ["window", "fixed from", "fixed to", "moving from", "moving to", "colour map"]
        usable = {shown.control(label).is_enabled() for label in labels}
        assert usable == {mode != "difference"}
        faded = shown.page.evaluate(FADED)
        assert set(faded) == (set(labels) if mode == "difference" else set())
        assert shown.control("zoom").is_enabled()


@pytest.mark.parametrize("width", [1000, 360])
def test_the_list_of_ways_to_compare_stays_under_the_mouse(compare_on_page, width):
    shown = compare_on_page(PAIRS["RAS"], viewport={"width": width, "height": 900})
    places = []
    for mode in MODES:
        shown.control("compare").select_option(mode)
        shown.page.evaluate(SETTLE)
        places.append(shown.control("compare").bounding_box())
    assert places == places[:1] * len(MODES)


def test_a_slider_that_goes_out_of_use_gives_its_focus_to_a_plane(compare_on_page):
    shown = compare_on_page(PAIRS["RAS"])
    shown.control("fixed to").focus()
    shown.control("compare").evaluate(
        """(list) => {
          list.value = "difference";
          list.dispatchEvent(new Event("input"));
        }"""
    )
    shown.page.evaluate(SETTLE)
    assert shown.page.evaluate("() => document.activeElement.dataset.plane") == "axial"


def test_where_no_window_is_seen_none_is_set(compare_on_page):
    shown = compare_on_page(PAIRS["RAS"])
    before = shown.control("fixed to").input_value()
    shown.control("compare").select_option("difference")
    canvas = shown.canvas("axial")
    canvas.hover()
    shown.page.mouse.down(button="right")
    box = canvas.bounding_box()
    shown.page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2)
    shown.page.mouse.up(button="right")
    shown.control("compare").select_option("blend")
    shown.page.evaluate(SETTLE)
    assert shown.control("fixed to").input_value() == before


def test_the_focus_stays_on_its_plane_when_the_second_image_goes(compare_on_page):
    shown = compare_on_page(PAIRS["RAS"])
    shown.canvas("coronal", 1).focus()
    shown.page.keyboard.press("m")
    shown.page.evaluate(SETTLE)
    focused = shown.page.evaluate("() => ({ ...document.activeElement.dataset })")
    assert focused == {"plane": "coronal", "layer": "0"}


@pytest.mark.parametrize("width", [1000, 720, 600, 568])
def test_captions_stand_over_their_planes_and_are_whole(compare_on_page, width):
    shown = compare_on_page(PAIRS["RAS"], viewport={"width": width, "height": 900})
    shown.page.evaluate(SETTLE)
    panels = shown.page.evaluate(CAPTIONS)
    assert len(panels) == 6
    for panel in panels:
        assert panel["seen"][:2] == panel["words"][:2], "whose image it is, and which plane"
        assert panel["inside"] and panel["letters"]
    middles = [panel["middle"] for panel in panels]
    assert middles[:3] == pytest.approx(middles[3:], abs=1) or width < 560  # one image above the other


def test_a_drag_with_shift_sets_the_window_of_the_image_under_it(compare_on_page):
    shown = compare_on_page(PAIRS["RAS"])
    words = ["fixed from", "fixed to", "moving from", "moving to"]

    def windows():
        shown.page.evaluate(SETTLE)
        return np.array([float(shown.control(label).input_value()) for label in words]).reshape(2, 2)

    for n in (0, 1):
        before = windows()
        shown.canvas("axial", n).hover()
        shown.page.mouse.down(button="right")
        box = shown.canvas("axial", n).bounding_box()
        shown.page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2)
        shown.page.mouse.up(button="right")
        after = windows()
        assert np.ptp(after[n]) > 1.3 * np.ptp(before[n])
        np.testing.assert_array_equal(after[1 - n], before[1 - n])


def test_a_drag_on_a_registration_sets_the_window_of_the_image_seen(show):
    page = show(FIELDS["RAS"].viewer())
    canvas = page.locator("canvas[data-plane=axial]")

    def windows():
        page.evaluate(SETTLE)
        ends = [f"{whose} {end}" for whose in ("fixed", "moving") for end in ("from", "to")]
        values = [float(page.get_by_label(label, exact=True).input_value()) for label in ends]
        return np.array(values).reshape(2, 2)

    for key, n in {"1": 0, "3": 1}.items():
        canvas.press(key)
        before = windows()
        told = re.search(r"window (\S+) to (\S+)", page.locator(".slicewise-readout").inner_text())
        assert [float(end) for end in told.groups()] == pytest.approx(before[n], rel=1e-3)
        canvas.hover()
        page.mouse.down(button="right")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2)
        page.mouse.up(button="right")
        after = windows()
        assert np.ptp(after[n]) > 1.3 * np.ptp(before[n])
        np.testing.assert_array_equal(after[1 - n], before[1 - n])


def test_flicker_takes_turns_until_space_holds_it(compare_on_page):
    case = PAIRS["RAS"]
    shown = compare_on_page(case)
    images = case.expected("side by side", "axial", 3)
    clock = shown.page.clock
    clock.install(time=0)
    clock.pause_at(60_000)  # from now on it runs only when told to

    def seen(after):
        clock.run_for(after)
        pixels = pixels_of(shown.canvas("axial"))
        which = [np.array_equal(pixels, image) for image in images].index(True)
        assert (
            shown.root.locator(".slicewise-caption").first.inner_text().startswith(("fixed", "moving")[which])
        )
        return which

    shown.canvas("axial").focus()
    for _ in range(4):
        shown.page.keyboard.press("m")
    assert shown.control("compare").input_value() == "side by side"  # until the next frame
    assert [seen(after) for after in (100, 500, 500, 500)] == [0, 1, 0, 1]
    assert shown.control("compare").input_value() == "flicker"
    shown.page.keyboard.press(" ")
    assert [seen(500) for _ in range(4)] == [1, 1, 1, 1]
    shown.page.keyboard.press(" ")
    assert [seen(after) for after in (550, 500)] == [0, 1]
    shown.page.keyboard.press("m")
    clock.run_for(100)
    for after in (0, 500, 500):
        clock.run_for(after)
        for n in (0, 1):
            np.testing.assert_array_equal(pixels_of(shown.canvas("axial", n)), images[n])


def test_a_button_holds_the_flicker_for_those_without_keys(compare_on_page):
    case = PAIRS["RAS"]
    shown = compare_on_page(case)
    images = case.expected("side by side", "axial", 3)
    clock = shown.page.clock
    clock.install(time=0)
    clock.pause_at(60_000)  # from now on it runs only when told to
    hold = shown.root.get_by_role("button", name="hold")
    assert hold.count() == 0

    def seen(after):
        clock.run_for(after)
        pixels = pixels_of(shown.canvas("axial"))
        return [np.array_equal(pixels, image) for image in images].index(True)

    shown.control("compare").select_option("flicker")
    assert [seen(after) for after in (100, 500, 500, 500)] == [0, 1, 0, 1]
    assert hold.get_attribute("aria-pressed") == "false"
    hold.click()
    assert [seen(500) for _ in range(3)] == [1, 1, 1]
    assert hold.get_attribute("aria-pressed") == "true"
    shown.canvas("axial").press(" ")
    assert hold.get_attribute("aria-pressed") == "false"
    assert seen(550) == 0
    shown.control("compare").select_option("blend")
    clock.run_for(100)
    assert not hold.is_visible()


def test_nothing_flickers_for_those_who_want_no_motion(compare_on_page):
    case = PAIRS["RAS"]
    shown = compare_on_page(case, case.viewer(mode="flicker"), reduced_motion="reduce")
    fixed, moving = case.expected("side by side", "axial", 3)
    clock = shown.page.clock
    clock.install(time=0)
    clock.pause_at(60_000)  # from now on it runs only when told to
    for _ in range(4):
        clock.run_for(500)
        np.testing.assert_array_equal(pixels_of(shown.canvas("axial")), fixed)
    shown.canvas("axial").focus()
    shown.page.keyboard.press(" ")  # but who asks for it, gets it
    clock.run_for(550)
    np.testing.assert_array_equal(pixels_of(shown.canvas("axial")), moving)


def test_time_goes_on_in_one_image_and_stands_still_in_the_other(compare_on_page):
    case = PAIRS["in time"]
    shown = compare_on_page(case)
    shown.canvas("axial").focus()
    shown.page.keyboard.press("]")
    shown.page.keyboard.press("m")
    for mode in MODES[1:4]:
        expected = case.expected(mode, "sagittal", 4, time=1)
        np.testing.assert_array_equal(shown.pixels("sagittal"), expected[0])
        shown.page.keyboard.press("m")


def test_pictures_stand_beside_each_other(compare_on_page):
    shown = compare_on_page(PAIRS["picture"])
    left, right = (shown.planes.nth(n).bounding_box() for n in (0, 1))
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    assert (left["width"], left["height"]) == (right["width"], right["height"])


@pytest.mark.parametrize("name", ["RAS", "picture"])
def test_a_comparison_fits_a_narrow_screen(compare_on_page, shots, name):
    shown = compare_on_page(PAIRS[name], viewport={"width": 360, "height": 800})
    assert shown.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    boxes = [shown.planes.nth(n).bounding_box() for n in range(shown.planes.count())]
    boxes.sort(key=lambda box: box["y"])
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["width"] > 80 for box in boxes)
    assert all(one["y"] + one["height"] <= two["y"] for one, two in itertools.pairwise(boxes))
    shown.page.screenshot(path=shots / f"compare_page_narrow_{name}.png", full_page=True)


# ---- A registration, after its run ----


@dataclass
class Found:
    """Two images on a grid with what registers them, and the arguments of `RegistrationMonitor`."""

    fixed: object
    displacement: np.ndarray
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        affine = getattr(self.fixed, "affine", None)
        data = RNG.integers(0, 900, self.displacement.shape[1:], np.int16)
        moving, self.warped = (data // 9).astype(np.uint8), np.flip(data // 9).astype(np.uint8)
        self.fixed = data if affine is None else nib.Nifti1Image(data, affine)
        self.moving = moving if affine is None else nib.Nifti1Image(moving, affine)

    def viewer(self):
        history = np.zeros(12, [("level", int), ("iteration", int), ("msd", float)])
        history["level"], history["iteration"] = np.divmod(np.arange(12), 6)
        history["msd"] = 0.8 ** np.arange(12)
        result = SimpleNamespace(warped=self.warped, displacement=self.displacement, history=history)
        return RegistrationMonitor(self.fixed, self.moving, **self.options).show(result)

    def limit(self):
        fixed, moving = as_volume(self.fixed).data, as_volume(self.moving).data
        return residual_limit(fixed, moving, np.reshape(self.warped, fixed.shape))

    def expected(self, shown, plane, index):
        """Return what the pure functions draw."""
        fixed, moving = as_volume(self.fixed), as_volume(self.moving)

        def cut(data):
            volume = replace(fixed, data=np.reshape(data, fixed.shape))
            return plane_slice(known(volume), plane, index, 0, self.options.get("radiological", False))

        if shown == "fixed":
            return to_rgb(cut(fixed.data), auto_window(fixed.data))
        if shown == "difference":
            values = [cut(data).astype(float) for data in (fixed.data, self.warped)]
            return difference_colours(*values, self.limit())
        if shown == "Jacobian":
            return jacobian_colours(cut(jacobian(self.displacement)), 1.0)
        return to_rgb(cut({"moving": moving.data, "warped": self.warped}[shown]), auto_window(moving.data))


def shift(shape, vector):
    """Return one displacement for all voxels of an image, (ndim, *shape)."""
    vector = np.reshape(vector, (-1, *(1,) * len(shape)))
    return np.broadcast_to(vector, (len(vector), *shape)).astype(np.float32)


def folding(shape):
    """Return a displacement that stretches, shrinks and folds."""
    field = shift(shape, np.zeros(len(shape))).copy()
    field[0] = (3 * np.sin(np.arange(shape[0]))).reshape(-1, *(1,) * (len(shape) - 1))
    return field


FIELDS = {
    "RAS": Found(straight("RAS"), folding((9, 11, 7))),
    "PSL radiological": Found(straight("PSL"), folding((11, 7, 9)), {"radiological": True}),
    "LPI tilted": Found(tilted("LPI", 25), folding((9, 11, 7))),
    "array": Found(None, folding((8, 6, 7))),
    "picture": Found(None, folding((30, 24))),
}


@pytest.fixture(scope="module")
def browsed(chromium):
    """Return what the monitors of all cases have shown: name → image → planes."""
    found = sweep(chromium, [each.viewer() for each in FIELDS.values()], "12345")
    return dict(zip(FIELDS, found, strict=True))


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", FIELDS)
def test_keys_show_each_image_with_the_pixels_of_the_pure_functions(browsed, name, image):
    case, found = FIELDS[name], browsed[name]
    assert list(found) == list(IMAGES), "keys 1 to 5"
    volume = as_volume(case.fixed)
    for shown, seen in found[image].items():
        plane = shown.split()[1]
        assert len(seen["steps"]) == volume.shape[plane_axes(volume, plane)[0]]
        for index, step in enumerate(seen["steps"]):
            pixels = image_of(step, seen["rows"], seen["columns"])
            np.testing.assert_array_equal(pixels, case.expected(image, plane, index))


# A displacement of whole voxels along each array axis.
SHIFTED = {
    "RAS": Found(straight("RAS"), shift((9, 11, 7), (2, -3, 1))),
    "LAS": Found(straight("LAS"), shift((9, 11, 7), (2, -3, 1))),
    "PSL": Found(straight("PSL"), shift((11, 7, 9), (-3, 1, 2))),
    "RAS radiological": Found(straight("RAS"), shift((9, 11, 7), (2, -3, 1)), {"radiological": True}),
    "LPI radiological": Found(straight("LPI"), shift((9, 11, 7), (2, 3, -1)), {"radiological": True}),
    "picture": Found(None, shift((30, 24), (4, -3))),
    "large picture": Found(None, shift((100, 70), (8, -12))),
}


def middles(ink, most):
    """Return the middles of the lines along one edge: where there is much ink."""
    ink = np.where(np.array(ink) > most, ink, 0)
    groups = np.split(np.arange(ink.size), np.flatnonzero(np.diff(ink > 0)) + 1)
    return [np.average(group + 0.5, weights=ink[group]) for group in groups if ink[group[0]]]


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_moves_the_grid_by_as_many_pixels(show, name):
    case = SHIFTED[name]
    volume, turned = as_volume(case.fixed), case.options.get("radiological", False)
    page = show(case.viewer())
    vector = case.displacement.reshape(len(case.displacement), -1)[:, 0]
    vector = np.pad(vector, (0, 3 - vector.size))
    for plane in PLANES if min(volume.shape) > 1 else PLANES[:1]:
        canvas = page.locator(f"canvas[data-plane={plane}]")
        lines = canvas.locator("xpath=..").locator(".slicewise-vectors")
        ink = lines.evaluate(INK)
        rows, columns = plane_slice(volume, plane, 0).shape
        step = max(1, -(-max(rows, columns) // 32))
        # Where a voxel's node is drawn: where the voxel looks, as if it were a voxel there.
        start = np.array([size // 2 for size in volume.shape])
        moved = np.subtract(
            pixel_of(volume, plane, start + vector, turned), pixel_of(volume, plane, start, turned)
        )
        assert abs(moved).min() >= 1
        for edge, count, other, by in (
            ("columns", columns, ink["height"], moved[1]),
            ("rows", rows, ink["width"], moved[0]),
        ):
            size = len(ink[edge])
            expected = np.arange(0, count, step) + 0.5 + by
            expected = expected[(expected > 0) & (expected < count)] * size / count
            np.testing.assert_allclose(middles(ink[edge], 0.2 * other), expected, atol=1)


@pytest.mark.parametrize("name", ["LAS", "RAS radiological", "picture"])
def test_an_arrow_leads_from_a_voxel_to_where_it_looks(show, name):
    case = SHIFTED[name]
    volume, turned = as_volume(case.fixed), case.options.get("radiological", False)
    centre = np.array([size // 2 for size in volume.shape])
    planes = PLANES if min(volume.shape) > 1 else PLANES[:1]
    ways = [(plane, axis) for plane in planes for axis in plane_axes(volume, plane)[1:]]
    viewers = []
    for _, axis in ways:
        field = np.zeros_like(case.displacement)
        field[(axis, *centre[: field.ndim - 1])] = 3
        viewers.append(replace(case, displacement=field).viewer())
    page = show(viewers, device_scale_factor=2)
    for n, (plane, axis) in enumerate(ways):
        canvas = page.locator(".slicewise-viewer").nth(n).locator(f"canvas[data-plane={plane}]")
        canvas.press("a")
        page.evaluate(SETTLE)
        ink = canvas.locator("xpath=..").locator(".slicewise-vectors").evaluate(INK)
        rows, columns = plane_slice(volume, plane, 0).shape
        scale = np.array([ink["height"] / rows, ink["width"] / columns])
        begin = (np.array(pixel_of(volume, plane, centre, turned)) + 0.5) * scale
        end = (np.array(pixel_of(volume, plane, centre + 3 * np.eye(3)[axis], turned)) + 0.5) * scale
        way = int(abs(end - begin).argmax())  # 0 down or up, 1 across
        inked = [np.flatnonzero(np.array(ink[edge]) > 0.05) for edge in ("rows", "columns")]
        assert inked[way][[0, -1]] + 0.5 == pytest.approx(sorted((begin[way], end[way])), abs=3)
        assert inked[1 - way].mean() + 0.5 == pytest.approx(begin[1 - way], abs=1.5)
        # The head, which is broader than the shaft, is at the end.
        breadth = np.array(ink[("rows", "columns")[way]])
        broadest = breadth.argmax()
        assert abs(broadest - end[way]) < abs(broadest - begin[way])


def test_letters_choose_what_is_drawn_over_it(show, shots):
    case = SHIFTED["RAS"]
    page = show(case.viewer())
    canvas = page.locator("canvas[data-plane=axial]")
    lines = canvas.locator("xpath=..").locator(".slicewise-vectors")
    before = pixels_of(canvas)
    inks = {}
    for key, name in {"n": "nothing", "a": "arrows", "u": "nothing", "g": "grid"}.items():
        canvas.press(key)
        page.evaluate(SETTLE)
        assert page.get_by_label("drawn over it").input_value() == name
        inks[key] = sum(lines.evaluate(INK)["rows"])
    assert inks["n"] == inks["u"] == 0  # an update is there during the run only
    assert inks["a"] > 100 and inks["g"] > 100 and inks["a"] != inks["g"]
    np.testing.assert_array_equal(pixels_of(canvas), before)
    page.get_by_label("drawn over it").select_option("nothing")
    page.evaluate(SETTLE)
    assert sum(lines.evaluate(INK)["rows"]) == 0


def test_the_echo_of_an_earlier_value_undoes_no_key(chromium):
    """As a kernel sends it that has heard of the key before; a page has none, so the test says it."""
    html = SHIFTED["RAS"].viewer().to_html()
    page = open_html(chromium, html.replace("return model;", "return (window.model = model);"))
    heard = """([key, ...echoes]) => {
      const press = new KeyboardEvent("keydown", { key, bubbles: true });
      document.querySelector("canvas[data-plane=axial]").dispatchEvent(press);
      return echoes.map((echo) => (model.set("drawn", echo), model.get("drawn")));
    }"""
    assert page.evaluate(heard, ["n", "arrows"]) == ["nothing"]
    page.evaluate(SETTLE)
    assert page.get_by_label("drawn over it").input_value() == "nothing"
    # Whoever insists, such as a linked widget, or is later than the kernel's hearing, is heard.
    assert page.evaluate(heard, ["g", "arrows", "arrows"]) == ["grid", "arrows"]
    page.evaluate(SETTLE)
    assert page.get_by_label("drawn over it").input_value() == "arrows"
    page.evaluate("model.set('drawn', 'grid')")
    page.evaluate(SETTLE)
    assert page.get_by_label("drawn over it").input_value() == "grid"
    page.context.close()


def test_zoomed_in_the_lines_stay_thin_and_their_canvas_small(show):
    page = show(SHIFTED["RAS"].viewer(), device_scale_factor=2)
    canvas = page.locator("canvas[data-plane=axial]")
    lines = canvas.locator("xpath=..").locator(".slicewise-vectors")
    for zoom in (1, 16):
        page.evaluate(SETTLE)
        ink = lines.evaluate(INK)
        assert max(ink["width"], ink["height"]) <= 2400
        on_screen = canvas.bounding_box()["width"] / ink["width"]
        thick = [len(group) for group in np.split(*grouped(ink["columns"], 0.4 * ink["height"]))]
        assert max(thick) * on_screen < 4
        for _ in range(8 * (zoom == 1)):
            canvas.press("+")


def grouped(ink, most):
    """Return where there is much ink, and where one line of it ends and another begins."""
    places = np.flatnonzero(np.array(ink) > most)
    return places, np.flatnonzero(np.diff(places) > 1) + 1


def test_the_curve_and_the_colour_bar_tell_their_numbers(show):
    page = show(FIELDS["RAS"].viewer())
    curve = page.locator(".slicewise-curve")
    points = [line.get_attribute("points").split() for line in curve.locator("polyline").all()]
    assert [len(each) for each in points] == [6, 6]
    heights = [float(point.split(",")[1]) for each in points for point in each]
    np.testing.assert_allclose(
        np.diff(heights), np.diff(heights).mean(), atol=0.15
    )  # 0.8ⁿ: a line in logarithms
    assert np.mean(np.diff(heights)) > 1
    words = {each.text_content(): each.bounding_box() for each in curve.locator("text").all()}
    assert words["level 0"]["x"] < words["level 1"]["x"]
    assert words["1.0"]["y"] < words["0.086"]["y"] < words["iterations"]["y"] + 1
    assert list(words)[-3:] == ["iterations", "10", "mean squared difference (logarithmic)"]
    assert "from 1.0 to 0.086 in 12 steps on 2 levels" in curve.get_attribute("aria-label")
    bar = page.locator(".slicewise-colours")
    assert not bar.is_visible()
    for key, name, centre, reach in (
        ("4", "fixed − warped: ", 0, FIELDS["RAS"].limit()),
        ("5", "Jacobian: ", 1, 1),
    ):
        page.locator("canvas[data-plane=axial]").press(key)
        page.evaluate(SETTLE)
        assert bar.is_visible()
        low, high = bar.locator("xpath=..").locator("span").all_inner_texts()
        assert low.startswith(name)
        assert float(low.removeprefix(name)) == pytest.approx(centre - reach, rel=0.01)
        assert float(high) == pytest.approx(centre + reach, rel=0.01)
        np.testing.assert_array_equal(pixels_of(bar)[0], map_colours(np.linspace(-1, 1, 256), 1.0))


def test_the_curve_names_a_level_that_has_just_begun(show):
    monitor = RegistrationMonitor(FIELDS["RAS"].fixed, FIELDS["RAS"].moving)
    monitor._history = [[0, n, 1.0 - n / 50] for n in range(40)] + [[1, 0, 0.2], [1, 1, 0.1], [2, 0, 0.1]]
    curve = show(monitor, viewport={"width": 360, "height": 800}).locator(".slicewise-curve")
    begins, ends = (box["x"] + part * box["width"] for box in [curve.bounding_box()] for part in (0, 1))
    levels = {}
    for text in curve.locator("text").all():
        box = text.bounding_box()
        assert begins <= box["x"] and box["x"] + box["width"] <= ends
        levels[text.text_content()] = box["x"]
    # The one between has no room before the last.
    assert "level 0" in levels and "level 1" not in levels and "level 2" in levels


def test_before_a_run_there_are_the_two_images(show):
    case = FIELDS["RAS"]
    page = show(RegistrationMonitor(case.fixed, case.moving))
    canvas = page.locator("canvas[data-plane=axial]")
    for key, image in {"1": "fixed", "2": "moving", "3": "moving", "4": "moving", "5": "moving"}.items():
        canvas.press(key)
        page.evaluate(SETTLE)
        np.testing.assert_array_equal(pixels_of(canvas), case.expected(image, "axial", 3))
    assert not page.locator(".slicewise-curve").is_visible()


@pytest.mark.parametrize("name", ["RAS", "picture"])
def test_a_monitor_fits_a_narrow_screen(show, shots, name):
    page = show(FIELDS[name].viewer(), viewport={"width": 360, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.screenshot(path=shots / f"monitor_page_narrow_{name}.png", full_page=True)


# ---- Explorers ----


def draw(size=1, shade=0.5, kind="disc", frame=False):
    """Return a picture of one shade of grey, and all values in words."""
    figure = Figure(figsize=(5, 2), facecolor=str(shade))
    return figure, f"A {kind} of size {size} and shade {shade:g}, {'framed' if frame else 'bare'}."


def all_pictures():
    controls = {
        "size": (1, 3, 1, 2),
        "shade": (0.0, 1.0, 0.25, 0.5),
        "kind": ["disc", "ring"],
        "frame": False,
    }
    return explore(draw, title="Shapes", **controls)


def one_at_a_time():
    return explore(draw, title="Shapes", size=(1, 40, 1, 8), shade=(0.0, 1.0, 0.01, 0.33))


def shown_by(page):
    """Return an explorer's shade of grey, the picture's alternative text, and the text below it."""
    page.evaluate(SETTLE)
    picture = page.locator(".slicewise-picture")
    png = base64.b64decode(picture.get_attribute("src").removeprefix("data:image/png;base64,"))
    grey = np.asarray(Image.open(BytesIO(png)).convert("L"))
    assert grey.min() == grey.max()
    return grey.max(), picture.get_attribute("alt"), page.locator(".slicewise-says").inner_text()


def test_the_picture_follows_each_control(show):
    page = show(all_pictures())
    assert page.locator(".slicewise-note").count() == 0

    def see(**values):
        words = draw(**values)[1]
        grey, alt, text = shown_by(page)
        assert grey == pytest.approx(255 * values["shade"], abs=1)
        assert alt == text == words

    see(size=2, shade=0.5)
    page.get_by_label("shade").focus()
    page.keyboard.press("ArrowRight")
    see(size=2, shade=0.75)
    page.keyboard.press("End")
    see(size=2, shade=1)
    page.get_by_label("size").focus()
    page.keyboard.press("ArrowLeft")
    see(size=1, shade=1)
    page.get_by_label("kind").select_option("ring")
    see(size=1, shade=1, kind="ring")
    page.get_by_label("frame").focus()
    page.keyboard.press(" ")
    see(size=1, shade=1, kind="ring", frame=True)
    assert page.get_by_label("shade").get_attribute("aria-valuetext") == "1"
    assert [url for url in page.requested if not url.startswith(("blob:", "data:"))] == [ADDRESS]


def test_what_stands_below_an_explorer_stays_when_its_text_gets_shorter(show):
    def wordy(words=1):
        return draw()[0], "word " * words

    page = show(explore(wordy, words=(1, 100, 33, 100)), viewport={"width": 360, "height": 800})
    says, slider = page.locator(".slicewise-says"), page.get_by_label("words")
    high = says.bounding_box()["height"]
    slider.fill("0")
    assert says.inner_text() == "word" and says.bounding_box()["height"] == high
    page.set_viewport_size({"width": 900, "height": 800})
    slider.fill("1")
    assert says.bounding_box()["height"] < high / 2


def test_where_not_all_pictures_fit_one_control_moves_at_a_time(show):
    page = show(one_at_a_time())
    assert "only one of size and shade can be" in page.locator(".slicewise-note").inner_text()
    grey, _, text = shown_by(page)
    assert text == draw(8, 0.33)[1] and grey == pytest.approx(84, abs=1)
    page.get_by_label("shade").focus()
    page.keyboard.press("End")
    grey, alt, text = shown_by(page)
    assert alt == text == draw(8, 1.0)[1] and grey == 255
    page.get_by_label("size").focus()
    page.keyboard.press("Home")
    grey, alt, text = shown_by(page)
    assert alt == text == draw(1, 0.33)[1] and grey == pytest.approx(84, abs=1)
    outputs = page.locator(".slicewise-control output")
    assert outputs.all_inner_texts() == ["1", "0.33"], "the other control shows where it is again"


def test_a_kept_control_stays_while_another_moves(show):
    controls = {"size": (1, 40, 1, 8), "shade": (0.0, 1.0, 0.01, 0.33), "kind": ["disc", "ring"]}
    page = show(explore(draw, title="Shapes", kept=["kind"], **controls))
    note = page.locator(".slicewise-note").inner_text()
    assert note.startswith("On this page only one of size and shade can be away from its start")
    page.get_by_label("kind").select_option("ring")
    page.get_by_label("shade").focus()
    page.keyboard.press("End")
    assert shown_by(page)[2] == draw(8, 1.0, "ring")[1]
    page.get_by_label("kind").select_option("disc")
    assert shown_by(page)[2] == draw(8, 1.0, "disc")[1], "the one that moved stays, too"
    page.get_by_label("size").focus()
    page.keyboard.press("Home")
    assert shown_by(page)[2] == draw(1, 0.33, "disc")[1]


def test_without_scripts_an_explorer_is_a_picture_with_its_text(show):
    page = show(all_pictures(), java_script_enabled=False, wait=False)
    assert page.get_by_role("img").get_attribute("alt") == draw(2, 0.5)[1]
    assert page.locator("input, select").count() == 0


# ---- All of them, for everyone ----

KINDS = {
    "compare": lambda: PAIRS["RAS"].viewer(title="Two phantoms", mode="difference"),
    "side_by_side": lambda: PAIRS["RAS"].viewer(title="Two phantoms"),
    "compare_pictures": lambda: PAIRS["picture"].viewer(),
    "monitor": lambda: FIELDS["RAS"].viewer(),
    "explore": one_at_a_time,
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_has_a_name_and_one_of_its_own(show, kind):
    page = show([KINDS[kind](), KINDS[kind]()])
    devtools = page.context.new_cdp_session(page)
    nodes = devtools.send("Accessibility.getFullAXTree")["nodes"]
    named = {"slider", "combobox", "checkbox", "button", "application", "image"}
    found = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in named
    ]
    assert len(found) >= 6
    assert [role for role, name in found if not name] == []
    assert all(root.get_attribute("aria-label") for root in page.locator(".slicewise-viewer").all())
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(show, shots, kind, scheme):
    page = show(KINDS[kind](), color_scheme=scheme, dark=scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 5
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
    page.screenshot(path=shots / f"{kind}_page_{scheme}.png", full_page=True)


def test_an_explorer_fits_a_narrow_screen(show, shots):
    page = show(one_at_a_time(), viewport={"width": 360, "height": 800})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.screenshot(path=shots / "explore_page_narrow.png", full_page=True)


def test_on_a_phone_each_plane_stands_under_its_match_and_over_its_slider(show):
    page = show(compare(straight(), straight()), viewport={"width": 360, "height": 700})
    tops = {}
    for n, plane, axis in itertools.product((0, 1), PLANES, "kji"):
        canvas = page.locator(f'canvas[data-plane="{plane}"][data-layer="{n}"]')
        tops[("fixed", "moving")[n], plane] = canvas.bounding_box()["y"]
        tops["slider", axis] = page.get_by_label(re.compile(f"^{axis} →")).bounding_box()["y"]
    assert sorted(tops, key=tops.get) == [
        *(("fixed", "axial"), ("slider", "k"), ("moving", "axial")),
        *(("fixed", "coronal"), ("slider", "j"), ("moving", "coronal")),
        *(("fixed", "sagittal"), ("slider", "i"), ("moving", "sagittal")),
    ]
    sliders = page.locator(".slicewise-panel input[type=range]")
    assert min(slider.bounding_box()["width"] for slider in sliders.all()) > 250
    page.set_viewport_size({"width": 1000, "height": 700})
    expect(sliders).to_have_count(0)
    expect(page.locator(".slicewise-controls > :first-child input")).to_have_count(3)

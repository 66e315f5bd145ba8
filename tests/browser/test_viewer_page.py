"""The viewer on a page without a kernel: its pixels, keys, pointers and words."""

import re
from dataclasses import dataclass, field, replace
from itertools import product

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import expect

from helpers import SliceViewer
from helpers.viewing.packing import choose_coding
from helpers.viewing.slices import (
    CT_WINDOWS,
    auto_window,
    ct_window,
    map_colours,
    overlay_style,
    pixel_of,
    plane_axes,
    plane_slice,
    to_rgb,
)
from helpers.viewing.volume import as_overlay, as_volume
from helpers.viewing.words import place_words, value_words, window_words
from tests.browser.pages import ADDRESS, CONTRASTS, SETTLE, image_of, known, open_html, pixels_of
from tests.helpers.viewing.phantoms import ORIENTATIONS, bright_voxel, straight, tilted

RNG = np.random.default_rng(0)
SHAPE = (5, 4, 3)

# Turns every slice of every plane at every time point, of all viewers at once, by keys.
SWEEP = """async () => {
  // A move is painted in the next frame, and its words are written 20 ms later.
  const settled = () => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 25));
  const sweep = async (root) => {
    const canvases = [...root.querySelectorAll("canvas.slicewise-plane")];
    const press = (canvas, key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const label = [...root.querySelectorAll("label")].find((label) => label.textContent === "time point");
    const time = label?.control;
    const found = [];
    for (let t = 0; t <= Number(time?.max ?? 0); t++) {
      for (const canvas of canvases) {
        const context = canvas.getContext("2d");
        const axis = { axial: 2, coronal: 1, sagittal: 0 }[canvas.dataset.plane];
        const steps = [];
        let last = "";
        press(canvas, "Home");
        await settled();
        for (;;) {
          const text = [...root.querySelector(".slicewise-readout").children].map((line) => line.textContent);
          if (text[0] === last) break;
          last = text[0];
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          const caption = canvas.closest(".slicewise-panel").querySelector(".slicewise-caption").textContent;
          steps.push({ text, caption, pixels: btoa(String.fromCharCode(...data)) });
          press(canvas, "PageUp");
          await settled();
        }
        const { height: rows, width: columns } = canvas;
        found.push({ plane: canvas.dataset.plane, time: t, rows, columns, steps });
      }
      if (canvases.length && time) press(canvases[0], "]");
      await settled();
    }
    return found;
  };
  return await Promise.all([...document.querySelectorAll(".slicewise-page")].map(sweep));
}"""


@dataclass
class Case:
    """An image with an overlay, the viewer's arguments, and what is set afterwards."""

    image: object
    overlay: object = None
    options: dict = field(default_factory=dict)
    look: dict = field(default_factory=dict)

    def viewer(self):
        viewer = SliceViewer(self.image, self.overlay, **self.options)
        for name, value in self.look.items():
            setattr(viewer, name, value)
        return viewer


def phantom(img):
    """Return an image with other values in every voxel, and its brightest where it was."""
    bright = bright_voxel(img)
    data = RNG.permutation(np.prod(img.shape)).reshape(img.shape).astype(np.int16)
    data[bright] = 1000
    return nib.Nifti1Image(data, img.affine)


def oriented():
    """Return all 48 orientations: half straight, half tilted; every fourth one radiological."""
    for n, codes in enumerate(ORIENTATIONS):
        is_tilted = n.bit_count() % 2
        img = tilted(codes, 25) if is_tilted else straight(codes)
        name = f"{codes} {'tilted' if is_tilted else 'straight'}"
        yield name, Case(phantom(img), options={"window": (0, 1000), "radiological": n % 8 in (1, 6)})


def integers(dtype):
    kind = np.dtype(dtype)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return RNG.integers(low, high, SHAPE, kind.newbyteorder("="), endpoint=True).astype(kind)


def floats(dtype, *odd):
    data = RNG.normal(size=SHAPE).astype(dtype)
    data.flat[3 : 3 + len(odd)] = odd
    return data


def colours(*names):
    data = np.zeros(SHAPE, [(name, "u1") for name in names])
    for name in names:
        data[name] = RNG.integers(0, 256, SHAPE)
    return data


def typed():
    """Return images of every type of voxel, with and without a world, time and overlay."""
    kinds = ("i1", "u1", "<i2", ">i2", "u2", "i4", "u4", "i8", "u8")
    yield from ((kind, Case(integers(kind))) for kind in kinds)
    yield from ((kind, Case(floats(kind))) for kind in ("f2", "f4", ">f4", "f8"))
    yield "whole range of int16", Case(integers("i2"), options={"window": (-32768, 32767)})
    yield "int32 in few values", Case(RNG.integers(-(2**31), -(2**31) + 90, SHAPE, np.int32))
    yield "NaN and infinities", Case(floats("f4", np.nan, np.inf, -np.inf, np.nan))
    yield "nothing but NaN", Case(np.full(SHAPE, np.nan))
    yield "constant", Case(np.full(SHAPE, 7.5))
    # Beyond a quarter of the largest float values share the end codes (see packing), so stay within it.
    yield "extremes", Case((np.linspace(-1, 1, 60) * 4.4e307).reshape(SHAPE))
    yield "tiny", Case(np.arange(60).reshape(SHAPE) * 5e-324)
    yield "outliers", Case(np.where(RNG.random(SHAPE) < 0.05, 1e9, RNG.normal(size=SHAPE)))
    yield "booleans", Case(RNG.random(SHAPE) > 0.5)
    yield "strided", Case(RNG.integers(0, 99, (10, 8, 6), np.uint8)[::-2, ::2, ::-2])
    yield "picture", Case(RNG.integers(0, 255, (6, 7), np.uint8))
    yield "colour picture", Case(RNG.integers(0, 255, (6, 7, 3), np.uint8))
    yield "transparent picture", Case(RNG.integers(0, 255, (6, 7, 4), np.uint8))
    yield "colour volume", Case(colours("R", "G", "B"))
    yield "transparent volume", Case(colours("R", "G", "B", "A"))
    yield "in time", Case(RNG.integers(0, 999, (*SHAPE, 3), np.int16))
    yield "in time with NaN", Case(np.where(RNG.random((*SHAPE, 3)) < 0.2, np.nan, 1.5))
    yield "cropped", Case(np.pad(RNG.integers(1, 99, (3, 2, 2), np.uint8), 2))
    yield "one voxel", Case(np.ones((1, 1, 1), np.uint8))
    yield "sampling", Case(as_volume(integers("i2"), (2.5, 1.25, 0.75)))
    for cmap in ("viridis", "gray_r", "plasma"):
        yield f"in {cmap}", Case(floats("f4"), options={"cmap": cmap})
    for name in CT_WINDOWS:
        hounsfield = RNG.integers(-1000, 1500, SHAPE, np.int16)
        yield name, Case(hounsfield, options={"window": ct_window(name)})
    yield "window of halves", Case(np.arange(60, dtype=np.uint8).reshape(SHAPE), options={"window": (0, 51)})
    img = straight("PSL")
    grid = img.shape
    yield "mask", Case(phantom(img), RNG.random(grid) > 0.5)
    yield "labels", Case(phantom(img), RNG.integers(-3, 12, grid), look={"opacity": 0.35})
    yield "labels in floats", Case(phantom(img), np.where(RNG.random(grid) < 0.5, np.nan, 3.0))
    yield "map", Case(phantom(img), RNG.normal(size=grid))
    yield "map on all", Case(phantom(img), RNG.normal(size=grid), look={"opacity": 1, "threshold": 0})
    yield "map above 2", Case(phantom(img), RNG.normal(size=grid), look={"opacity": 0.5, "threshold": 2})
    yield "map on colours", Case(colours("R", "G", "B"), floats("f4", np.nan))
    yield "mask that moves", Case(RNG.integers(0, 9, (*SHAPE, 3)), RNG.random((*SHAPE, 3)) > 0.5)
    yield "still mask on time", Case(RNG.integers(0, 9, (*SHAPE, 3)), RNG.random(SHAPE) > 0.5)


ORIENTED, TYPED = dict(oriented()), dict(typed())
CASES = ORIENTED | TYPED


@pytest.fixture(scope="module")
def swept(chromium):
    """Return all that the pages of all cases have shown: name → list of planes with their steps."""
    page = open_html(chromium, "".join(case.viewer().to_html() for case in CASES.values()))
    found = page.evaluate(SWEEP)
    requested, failures = page.requested, page.failures
    boxes = page.evaluate(LETTERS)
    page.context.close()
    assert failures == []
    assert [url for url in requested if not url.startswith("blob:")] == [ADDRESS]
    return dict(zip(CASES, zip(found, boxes, strict=True), strict=True))


# Letter → where its middle lies, as shares of its plane's canvas: (across, down).
LETTERS = """() => [...document.querySelectorAll(".slicewise-page")].map((root) =>
  Object.fromEntries([...root.querySelectorAll("canvas.slicewise-plane")].map((canvas) => {
    const place = canvas.getBoundingClientRect();
    const panel = canvas.closest(".slicewise-panel");
    const letters = [...panel.querySelectorAll(".slicewise-letter")].map((letter) => {
      const box = letter.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      return [letter.textContent, [(x - place.x) / place.width, (y - place.y) / place.height]];
    });
    return [canvas.dataset.plane, Object.fromEntries(letters)];
  })),
)"""


def colours_of(case, plane, index, time, of=lambda volume: volume):
    """Return the pixels that the pure functions draw, of the real voxels or of what `of` makes of them."""
    volume = as_volume(case.image)
    window = case.options.get("window") or ((0, 1) if volume.is_colour else auto_window(volume.data))
    cmap, turned = case.options.get("cmap", "gray"), case.options.get("radiological", False)
    under = plane_slice(of(volume), plane, index, time, turned)
    if case.overlay is None:
        return to_rgb(under, window, cmap)
    overlay = as_overlay(volume, case.overlay)
    style = overlay_style(overlay.data)
    style = replace(style, **case.look)
    time = time if overlay.n_times > 1 else 0
    return to_rgb(under, window, cmap, plane_slice(of(overlay), plane, index, time, turned), style)


@pytest.mark.parametrize("name", CASES)
def test_every_slice_has_the_pixels_of_the_pure_function(swept, name):
    case, (found, _) = CASES[name], swept[name]
    volume = as_volume(case.image)
    seen = {(plane["plane"], plane["time"]): plane for plane in found}
    assert len(seen) == len(found) == len({plane["plane"] for plane in found}) * volume.n_times
    for (plane, time), shown in seen.items():
        assert len(shown["steps"]) == volume.shape[plane_axes(volume, plane)[0]]
        for index, step in enumerate(shown["steps"]):
            pixels = image_of(step["pixels"], shown["rows"], shown["columns"])
            np.testing.assert_array_equal(pixels, colours_of(case, plane, index, time, known))
            if case.overlay is None and case.options.get("cmap") is None:
                # Codes of 16 bits are fine enough for the right grey or its neighbour, up to 2 brighter.
                exact = colours_of(case, plane, index, time).astype(int)
                assert abs(pixels - exact).max() <= 2


@pytest.mark.parametrize("name", ORIENTED)
def test_left_is_left(swept, name):
    """The voxel on the patient's left, front and top lies on the sides with the letters L, A and S."""
    found, letters = swept[name]
    for shown in found:
        greys = np.stack([image_of(s["pixels"], shown["rows"], shown["columns"]) for s in shown["steps"]])[
            ..., 0
        ]
        _, row, column = np.unravel_index(greys.argmax(), greys.shape)
        spot = np.array([(column + 0.5) / shown["columns"], (row + 0.5) / shown["rows"]]) - 0.5
        places = {letter: np.array(place) - 0.5 for letter, place in letters[shown["plane"]].items()}
        across = {"axial": "LA", "coronal": "LS", "sagittal": "AS"}[shown["plane"]]
        assert set(places) == set(across) | {{"L": "R", "A": "P", "S": "I"}[letter] for letter in across}
        for letter in across:
            axis = abs(places[letter]).argmax()
            assert abs(places[letter][axis]) > 0.5, "letters stand beside the plane"
            assert spot[axis] * places[letter][axis] > 0
        if "L" in places:
            assert (places["L"][0] > 0) == CASES[name].options["radiological"]


def voxel(volume, index, time):
    """Return the value of one voxel."""
    return volume.data[(*index, time)[: volume.data.ndim]]


def assert_about(words, volume, index, time):
    """Check the words of a value that the page knows only as well as its code does."""
    real, coded = (voxel(of, index, time) for of in (volume, known(volume)))
    if np.isnan(real):
        assert words.startswith("intensity nan")
        return
    sign, number = re.match(r"intensity (\S) (\S+?);", words).groups()
    number = float(number)
    assert number == pytest.approx(coded, rel=6e-3)
    if sign == "≈":
        assert number == pytest.approx(real, rel=6e-3, abs=choose_coding(volume.data, fine=True).slope)
    else:
        assert {"≤": real <= coded, "≥": real >= coded}[sign]


def caption(volume, plane, index):
    """Return what stands over a plane."""
    if volume.is_picture:
        return ""
    across = plane_axes(volume, plane)[0]
    words = f"{'ijk'[across]} = {index[across]}"
    if not volume.world:
        return words
    axis = ("sagittal", "coronal", "axial").index(plane)
    where = f"{'xyz'[axis]} = {volume.to_mm(index)[axis]:.4g} mm"
    return f"{plane}  {words}  ({'oblique' if volume.tilt > 0.5 else where})"


@pytest.mark.parametrize("name", CASES)
def test_words_are_those_of_python(swept, name):
    case, (found, _) = CASES[name], swept[name]
    volume = as_volume(case.image)
    names, volumes = ["colour" if volume.is_colour else "intensity"], [volume]
    if case.overlay is not None:
        names, volumes = [*names, "overlay"], [volume, as_overlay(volume, case.overlay)]
    exact = all(each.is_colour or choose_coding(each.data, fine=True).exact for each in volumes)
    for shown in found:
        for step in shown["steps"]:
            place, value = step["text"]
            numbers = re.findall(r"\d+", place.split(" at ")[0])
            index = (*(int(number) for number in numbers), 0, 0)[:3]
            assert place == place_words(volume, index, volume.to_mm(index).tolist())
            words = value_words(names, volumes, index, shown["time"])
            if exact and name != "tiny":  # six digits of a number that has but two
                assert value.startswith(words)
            elif name != "tiny" and case.overlay is None:
                assert_about(value, volume, index, shown["time"])
            assert step["caption"] == caption(volume, shown["plane"], index)
            assert (f"; time point {shown['time']}" in value) == (volume.n_times > 1)


# ---- Keys, pointers, sliders: on pages with one viewer ----


class Shown:
    """One viewer on a page."""

    def __init__(self, page, case, nth=0):
        self.page, self.case, self.volume = page, case, as_volume(case.image)
        self.root = page.locator(".slicewise-viewer").nth(nth)

    def canvas(self, plane):
        return self.root.locator(f"canvas[data-plane={plane}]")

    def readout(self):
        self.page.evaluate(SETTLE)
        return self.root.locator(".slicewise-readout").inner_text()

    @property
    def index(self):
        return tuple(int(n) for n in re.search(r"\((\d+), (\d+), (\d+)\)", self.readout()).groups())

    @property
    def time(self):
        return int(re.search(r"time point (\d+)", self.readout()).group(1))

    @property
    def window(self):
        low, high = re.search(r"window (\S+) to (\S+)", self.readout()).groups()
        return float(low), float(high)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def point(self, plane, row, column):
        """Return where on the page a place on a plane lies; voxel (0, 0) spans 0 to 1."""
        box = self.canvas(plane).evaluate("canvas => canvas.getBoundingClientRect().toJSON()")
        rows, columns = plane_slice(self.volume, plane, 0).shape
        return box["x"] + column / columns * box["width"], box["y"] + row / rows * box["height"]

    def voxel(self, plane, row, column):
        """Return the voxel (i, j, k) that is drawn at a pixel of a plane, in the slice shown."""
        across = plane_axes(self.volume, plane)[0]
        turned = self.case.options.get("radiological", False)
        ranges = [[self.index[n]] if n == across else range(size) for n, size in enumerate(self.volume.shape)]
        return next(v for v in product(*ranges) if pixel_of(self.volume, plane, v, turned) == (row, column))

    def pixels(self, plane):
        self.page.evaluate(SETTLE)
        return pixels_of(self.canvas(plane))

    def expected(self, plane, time=0, **changes):
        case = replace(self.case, options=self.case.options | changes.pop("options", {}))
        case = replace(case, look=case.look | changes)
        return colours_of(case, plane, self.index[plane_axes(self.volume, plane)[0]], time, known)

    def control(self, label):
        return self.root.get_by_label(label, exact=True)


@pytest.fixture
def shown(show):
    """Return a function that opens one case as the only viewer of a page."""
    return lambda case, **options: Shown(show(case.viewer(), **options), case)


def moving_case():
    """Return a time series in an odd orientation, drawn radiologically, with a mask."""
    img = straight("PSL")
    data = RNG.integers(0, 999, (13, 14, 15, 3), np.int16)
    return Case(nib.Nifti1Image(data, img.affine), RNG.random(data.shape[:3]) > 0.5, {"radiological": True})


def test_each_key_of_the_help_does_what_it_says(shown):
    viewer = shown(moving_case())
    volume = viewer.volume
    viewer.root.get_by_text("Keys, mouse and touch").click()
    told = viewer.root.locator(".slicewise-help th").all_inner_texts()
    for key in ("arrow keys", "Page Up, Page Down", "Home, End", "+, −, 0", "[, ], Space", "Enter", "C", "O"):
        assert key in told
    for plane in ("axial", "coronal", "sagittal"):
        across, up, along = plane_axes(volume, plane)
        viewer.canvas(plane).focus()
        viewer.press("Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp", "Shift+ArrowUp")
        assert pixel_of(volume, plane, viewer.index, True) == (0, 0)
        viewer.press("Shift+ArrowRight", "Shift+ArrowDown")
        for key, step in {"Left": (0, -1), "Right": (0, 1), "Up": (-1, 0), "Down": (1, 0)}.items():
            before = viewer.index
            viewer.press(f"Arrow{key}")
            pixels = [np.array(pixel_of(volume, plane, index, True)) for index in (before, viewer.index)]
            np.testing.assert_array_equal(pixels[1] - pixels[0], step)
            assert viewer.index[across] == before[across]
        last = volume.shape[across] - 1
        viewer.press("Home")
        assert viewer.index[across] == 0
        viewer.press("PageUp")
        assert viewer.index[across] == 1
        viewer.press("Shift+PageUp")
        assert viewer.index[across] == 11
        viewer.press("Shift+PageUp")
        assert viewer.index[across] == last
        viewer.press("PageDown", "Shift+PageDown")
        assert viewer.index[across] == last - 11
        viewer.press("End")
        assert viewer.index[across] == last
        viewer.press("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown")
        rows, columns = plane_slice(volume, plane, 0).shape
        assert pixel_of(volume, plane, viewer.index, True) == (rows - 1, columns - 1)
        viewer.press("Shift+ArrowLeft", "Shift+ArrowUp")
        assert pixel_of(volume, plane, viewer.index, True) == (rows - 11, columns - 11)

    viewer.press("[")
    assert viewer.time == 2  # round the end
    viewer.press("]", "]")
    assert viewer.time == 1
    np.testing.assert_array_equal(viewer.pixels("axial"), viewer.expected("axial", time=1))

    lines = viewer.root.locator(".slicewise-line:visible")
    assert lines.count() == 6
    viewer.press("c")
    page_settled = viewer.readout()
    assert page_settled and lines.count() == 0
    viewer.press("o")
    bare = Case(viewer.case.image, options=viewer.case.options)
    k = viewer.index[plane_axes(volume, "axial")[0]]
    np.testing.assert_array_equal(viewer.pixels("axial"), colours_of(bare, "axial", k, 1))
    viewer.press("o", "c")
    np.testing.assert_array_equal(viewer.pixels("axial"), viewer.expected("axial", time=1))
    assert lines.count() == 6

    width = viewer.canvas("axial").bounding_box()["width"]
    viewer.press("+", "+", "-")
    assert viewer.canvas("axial").bounding_box()["width"] == pytest.approx(1.5 * width)
    viewer.press("0")
    assert viewer.canvas("axial").bounding_box()["width"] == pytest.approx(width)


def test_space_plays_and_pauses(shown):
    viewer = shown(moving_case())
    viewer.canvas("axial").focus()
    clock = viewer.page.clock
    clock.install(time=0)
    clock.pause_at(60_000)  # from now on it runs only when told to

    def time(after):
        clock.run_for(after)
        readout = viewer.root.locator(".slicewise-readout").inner_text()
        return int(re.search(r"time point (\d+)", readout).group(1))

    viewer.press(" ")
    assert [time(after) for after in (150, 100, 100, 100)] == [1, 2, 0, 1]
    button = viewer.root.get_by_role("button", name="pause")
    assert button.get_attribute("aria-pressed") == "true"
    viewer.press(" ")
    assert [time(after) for after in (100, 100, 100)] == [1, 1, 1]
    viewer.root.get_by_role("button", name="play").click()
    assert [time(after) for after in (150, 100)] == [2, 0]


@pytest.mark.parametrize("density", [1, 1.5, 2])
def test_a_click_finds_the_voxel_also_at_its_corners(shown, density):
    viewer = shown(moving_case(), device_scale_factor=density)
    corners = ((0.06, 0.06), (0.06, 0.94), (0.94, 0.06), (0.94, 0.94))
    for plane in ("axial", "coronal", "sagittal"):
        rows, columns = plane_slice(viewer.volume, plane, 0).shape
        for (row, column), (down, right) in zip(
            ((0, 0), (3, columns - 1), (rows - 1, 2), (5, 6)), corners, strict=True
        ):
            wanted = viewer.voxel(plane, row, column)
            viewer.page.mouse.click(*viewer.point(plane, row + down, column + right))
            assert viewer.index == wanted
        viewer.press("+", "+")
        row, column = pixel_of(viewer.volume, plane, viewer.index, True)
        for down, right in corners:
            wanted = viewer.voxel(plane, row + 1, column - 1)
            viewer.page.mouse.click(*viewer.point(plane, row + 1 + down, column - 1 + right))
            assert viewer.index == wanted
            viewer.page.mouse.click(*viewer.point(plane, row + 0.5, column + 0.5))
        viewer.press("0")


def test_mouse(shown):
    viewer = shown(moving_case())
    mouse = viewer.page.mouse
    wanted = viewer.voxel("coronal", 9, 4)
    mouse.move(*viewer.point("coronal", 2.5, 3.5))
    mouse.down()
    mouse.move(*viewer.point("coronal", 6.5, 3.5))
    mouse.move(*viewer.point("coronal", 9.5, 4.5))
    assert viewer.index == wanted
    mouse.move(*viewer.point("coronal", -3, 40))  # outside: the nearest voxel inside
    corner = viewer.voxel("coronal", 0, plane_slice(viewer.volume, "coronal", 0).shape[1] - 1)
    assert viewer.index == corner
    mouse.up()
    mouse.move(*viewer.point("coronal", 5.5, 5.5))
    assert viewer.index == corner

    def drag(button, right, down):
        x, y = viewer.point("coronal", 5.5, 5.5)
        place, (low, high) = viewer.index, viewer.window
        mouse.move(x, y)
        viewer.page.keyboard.down("Shift") if button == "left" else None
        mouse.down(button=button)
        mouse.move(x + right, y + down, steps=3)
        mouse.up(button=button)
        viewer.page.keyboard.up("Shift") if button == "left" else None
        assert viewer.index == place
        new_low, new_high = viewer.window
        return (new_high - new_low) / (high - low), (new_low + new_high - low - high) / 2

    for button in ("right", "left"):
        wider, moved = drag(button, 50, 0)
        assert wider > 1.2 and abs(moved) < 1
        wider, moved = drag(button, -50, 0)
        assert wider < 0.8 and abs(moved) < 1
        wider, moved = drag(button, 0, -20)
        assert wider == pytest.approx(1, abs=0.01) and moved > 10
        wider, moved = drag(button, 0, 20)
        assert wider == pytest.approx(1, abs=0.01) and moved < -10


def test_the_wheel_turns_slices_only_with_the_focus(shown):
    viewer = shown(moving_case(), viewport={"width": 1000, "height": 300})
    across = plane_axes(viewer.volume, "axial")[0]
    start = viewer.index
    viewer.page.mouse.move(*viewer.point("axial", 5, 5))
    viewer.page.mouse.wheel(0, 100)
    viewer.page.wait_for_function("() => scrollY > 50")
    assert viewer.index == start
    viewer.page.evaluate("() => scrollTo(0, 0)")

    viewer.canvas("axial").focus()
    top = viewer.page.evaluate("() => scrollY")
    viewer.page.mouse.move(*viewer.point("axial", 5, 5))
    viewer.page.evaluate("() => { window.turns = 0; addEventListener('wheel', () => turns++, true); }")
    for turn in (120, 100, -120, 15, 15, 15):  # notches of a wheel, small moves of a trackpad
        viewer.page.mouse.wheel(0, turn)
    viewer.page.wait_for_function("() => turns === 6")
    assert start[across] - viewer.index[across] == 2  # towards the reader is down
    assert viewer.page.evaluate("() => scrollY") == top
    viewer.page.mouse.move(*viewer.point("coronal", 5, 5))
    viewer.page.mouse.wheel(0, 100)
    viewer.page.wait_for_function("top => scrollY > top + 50", arg=top)
    assert start[across] - viewer.index[across] == 2


def test_a_picture_has_no_slices_to_turn_so_that_the_page_scrolls(shown):
    viewer = shown(
        Case(np.arange(600, dtype=np.uint16).reshape(20, 30)), viewport={"width": 800, "height": 300}
    )
    viewer.canvas("axial").focus()
    viewer.page.mouse.move(*viewer.point("axial", 2, 5))
    for turn in (lambda: viewer.page.mouse.wheel(0, 100), lambda: viewer.press("PageDown")):
        viewer.page.evaluate("() => scrollTo(0, 0)")
        turn()
        viewer.page.wait_for_function("() => scrollY > 50")


def test_zoomed_in_the_crosshair_stays_under_the_mouse_and_thin(shown):
    viewer = shown(moving_case())
    mouse = viewer.page.mouse
    viewer.canvas("coronal").focus()
    viewer.press(*"+++")
    frame = viewer.canvas("coronal").locator("xpath=../..")
    box = frame.bounding_box()
    across, down = frame.locator(".slicewise-line").all()
    x, y = box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"]
    mouse.move(x, y)
    mouse.down()
    large = viewer.canvas("coronal").bounding_box()
    rows, columns = plane_slice(viewer.volume, "coronal", 0).shape
    before = viewer.index
    for right in (1, -1, 1, -1, 1):
        mouse.move(x + right, y)
        assert np.abs(np.subtract(viewer.index, before)).max() <= 1
        assert abs(down.bounding_box()["x"] - x) <= 0.5 * large["width"] / columns + 2
        assert abs(across.bounding_box()["y"] - y) <= 0.5 * large["height"] / rows + 2
    mouse.up()
    clicked = viewer.index
    viewer.press("ArrowLeft")
    assert sum(np.not_equal(viewer.index, clicked)) == 1
    for _ in range(8):
        viewer.press("+")
    assert down.evaluate("line => line.getBoundingClientRect().x") >= box["x"] - 1
    for line, width in ((across, "borderTopWidth"), (down, "borderLeftWidth")):
        scale = line.evaluate("line => line.getBoundingClientRect().width / line.offsetWidth")
        assert (
            scale == pytest.approx(1, rel=0.02)
            and line.evaluate("(l, w) => getComputedStyle(l)[w]", width) == "1px"
        )
    # What keys lead to stays in sight.
    viewer.press(*["Shift+ArrowRight"] * 2, *["Shift+ArrowDown"] * 2)
    viewer.readout()
    for line, side, size in ((down, "x", "width"), (across, "y", "height")):
        assert box[side] - 1 <= line.bounding_box()[side] <= box[side] + box[size] + 1
    viewer.control("zoom").fill("1")
    assert viewer.canvas("coronal").bounding_box()["width"] == pytest.approx(box["width"])


def test_the_ends_of_a_window_are_on_one_scale_and_near_the_values(shown):
    viewer = shown(Case(RNG.integers(0, 256, SHAPE, np.int16)))
    low, high = viewer.control("from"), viewer.control("to")

    def scale(end):
        return [float(end.get_attribute(name)) for name in ("min", "max")]

    x, y = viewer.point("axial", 2, 2)
    for right, down in ((300, 0), (0, -400), (0, -400), (-900, 0)):
        viewer.page.mouse.move(x, y)
        viewer.page.mouse.down(button="right")
        viewer.page.mouse.move(x + right, y + down, steps=3)
        viewer.page.mouse.up(button="right")
        first, last = viewer.window
        assert scale(low) == scale(high)
        assert first < last and last - first <= 2 * 255 + 1 and -1 <= (first + last) / 2 <= 256
    low.fill("200")
    high.fill("100")
    first, last = viewer.window
    assert first < last == 100
    low.fill("150")
    first, last = viewer.window
    assert last > first == 150


def test_touch(shown):
    def swipe(*places):
        devtools = viewer.page.context.new_cdp_session(viewer.page)
        for n, (x, y) in enumerate(places):
            kind = "touchMove" if n else "touchStart"
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        viewer.page.wait_for_timeout(100)  # until the words have followed

    options = {"has_touch": True, "viewport": {"width": 1000, "height": 300}}
    viewer = shown(moving_case(), **options)
    wanted = viewer.voxel("axial", 4, 6)
    viewer.page.touchscreen.tap(*viewer.point("axial", 4.5, 6.5))
    assert viewer.index == wanted
    top = viewer.page.evaluate("() => scrollY")
    wanted = viewer.voxel("axial", 9, 3)
    # Drawn to the side at first, then anywhere.
    way = ((4.5, 6.5), (4.5, 4.5), (8.5, 4), (9.5, 3.5))
    swipe(*(viewer.point("axial", *place) for place in way))
    assert viewer.index == wanted
    assert viewer.page.evaluate("() => scrollY") == top

    # A finger on its way past the viewer moves the page and nothing else, also where one has tapped before.
    x, y = viewer.point("axial", 9, 5)
    swipe(*((x, y - 15 * n) for n in range(9)))
    viewer.page.wait_for_function("top => scrollY > top + 40", arg=top)
    assert viewer.index == wanted


def test_proportions_and_the_scale_bar_are_true(shown):
    viewer = shown(Case(straight("RAS")))  # voxels of 2 × 3 × 4 mm, 9 × 11 × 7 of them
    sizes = {plane: viewer.canvas(plane).bounding_box() for plane in ("axial", "coronal", "sagittal")}
    mm = {"axial": (18, 33), "coronal": (18, 28), "sagittal": (33, 28)}
    scales = [(box["width"] / mm[plane][0], box["height"] / mm[plane][1]) for plane, box in sizes.items()]
    np.testing.assert_allclose(scales, scales[0][0], rtol=0.01)
    viewer.canvas("axial").focus()
    for zoom in (1, 1.5, 2.25):
        length, unit = viewer.root.locator(".slicewise-scale").inner_text().split()
        bar = viewer.root.locator(".slicewise-bar").bounding_box()["width"]
        assert unit == "mm"
        assert bar == pytest.approx(float(length) * scales[0][0] * zoom, abs=0.5)
        viewer.press("+")


def test_windows_colours_and_overlays_are_chosen_below(shown):
    viewer = shown(Case(RNG.integers(-1000, 1500, SHAPE, np.int16), RNG.normal(size=SHAPE)))
    viewer.control("window").select_option("CT lung")
    lung = {"options": {"window": ct_window("CT lung")}}
    np.testing.assert_array_equal(viewer.pixels("axial"), viewer.expected("axial", **lung))
    viewer.control("colour map").select_option("magma")
    lung["options"]["cmap"] = "magma"
    np.testing.assert_array_equal(viewer.pixels("axial"), viewer.expected("axial", **lung))
    viewer.control("overlay opacity").fill("0.25")
    np.testing.assert_array_equal(viewer.pixels("coronal"), viewer.expected("coronal", opacity=0.25, **lung))
    viewer.control("from").fill("-600")
    lung["options"]["window"] = -600, ct_window("CT lung")[1]
    np.testing.assert_array_equal(viewer.pixels("axial"), viewer.expected("axial", opacity=0.25, **lung))
    assert viewer.control("window").input_value() == "by hand"
    threshold = viewer.control("threshold ±")
    threshold.focus()
    viewer.press("Home")
    assert threshold.input_value() == "0"
    np.testing.assert_array_equal(
        viewer.pixels("axial"), viewer.expected("axial", opacity=0.25, threshold=0, **lung)
    )
    viewer.control("k").focus()
    viewer.press("Home", "ArrowRight", "ArrowRight")
    assert viewer.index[2] == 2


@pytest.mark.parametrize("sign", [1, -1])
def test_the_colour_bar_of_a_map_of_one_sign_begins_at_zero(shown, sign):
    probability = np.linspace(0, sign, np.prod(SHAPE)).reshape(SHAPE)
    viewer = shown(Case(RNG.integers(0, 900, SHAPE, np.int16), probability))
    told = viewer.root.locator(".slicewise-foot > span:has(canvas) > span")
    limit = overlay_style(probability).limit
    ends = [0, limit] if sign > 0 else [-limit, 0]
    viewer.page.evaluate(SETTLE)
    assert [float(end) for end in told.all_inner_texts()] == pytest.approx(ends, rel=1e-2)
    bar = viewer.root.locator(".slicewise-foot canvas").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data]"
    )
    drawn, values = np.reshape(bar, (-1, 4)), np.linspace(*ends, 256)
    seen = np.abs(values) >= overlay_style(probability).threshold
    np.testing.assert_array_equal(drawn[:, 3], 255 * seen)
    one_level = 6  # of a colour's numbers, as rounding may differ
    np.testing.assert_allclose(drawn[seen, :3], map_colours(values[seen], limit), atol=one_level)
    viewer.control("threshold" if sign > 0 else "threshold ±").wait_for()


# ---- For everyone: without a mouse, without sight, without scripts, on any page ----


def test_everything_has_a_name(shown):
    viewer = shown(moving_case())
    devtools = viewer.page.context.new_cdp_session(viewer.page)
    nodes = devtools.send("Accessibility.getFullAXTree")["nodes"]
    named = {"slider", "combobox", "button", "application", "group", "DisclosureTriangle"}
    found = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in named
    ]
    roles = [role for role, _ in found]
    assert roles.count("slider") >= 7 and roles.count("combobox") == 2 and roles.count("application") == 3
    assert all(name for role, name in found if role != "group"), found
    for plane in ("axial", "coronal", "sagittal"):
        assert ("application", f"{plane} plane") in found

    live = viewer.root.locator("[aria-live=polite]")
    viewer.canvas("axial").focus()
    viewer.press("PageUp")
    expect(live).to_have_text("; ".join(viewer.readout().splitlines()))  # when the crosshair has rested


def test_seconds_level_and_width_are_told(shown):
    img = nib.Nifti1Image(RNG.integers(-1000, 999, (9, 8, 7, 4), np.int16), np.eye(4))
    img.header.set_xyzt_units("mm", "msec")
    img.header["pixdim"][4] = 51.5
    viewer = shown(Case(img, options={"window": (-150, 250)}))
    assert viewer.readout().endswith("; time point 0 (0 s); window -150 to 250 (level 50, width 400)")
    viewer.canvas("axial").focus()
    viewer.press("]", "]", "]")
    viewer.control("to").fill("251")
    assert viewer.readout().endswith("; time point 3 (0.1545 s); window -150 to 251 (level 50.5, width 401)")


@pytest.mark.parametrize("window", [(10000, 10010), (-0.3, 0.1 + 0.2), (3.21634, 1071.4), (0.00012, 0.0157)])
def test_a_window_is_told_as_python_does(shown, window):
    viewer = shown(Case(straight("RAS"), options={"window": window}))
    assert viewer.readout().endswith(f"; {window_words(*window)}")


def test_the_tab_key_leads_through_all_and_shows_where_it_is(shown):
    viewer = shown(moving_case())
    planes = []
    for _ in range(3):
        viewer.press("Tab")
        planes.append(viewer.page.evaluate("() => document.activeElement.dataset.plane"))
        outline = "() => getComputedStyle(document.activeElement.closest('.slicewise-frame')).outlineStyle"
        assert viewer.page.evaluate(outline) == "solid"
    assert planes == ["axial", "coronal", "sagittal"]
    tags = set()
    for _ in range(12):
        viewer.press("Tab")
        tags.add(viewer.page.evaluate("() => document.activeElement.tagName"))
    assert {"INPUT", "SELECT", "BUTTON", "SUMMARY"} <= tags


def test_without_scripts_a_still_picture_is_there(show):
    viewer = CASES["PSL straight"].viewer()
    bundle = viewer._repr_mimebundle_()
    page = show(viewer, java_script_enabled=False, wait=False)
    picture = page.get_by_role("img")
    assert picture.bounding_box()["width"] > 300
    assert picture.get_attribute("alt") == bundle["text/plain"]
    assert picture.get_attribute("src") == f"data:image/png;base64,{bundle['image/png']}"
    assert page.locator("canvas").count() == 0
    assert page.get_by_text("import").count() == 0
    assert page.requested == [ADDRESS]


def test_two_viewers_on_a_page_do_not_meet(show):
    cases = [moving_case(), moving_case()]
    page = show([case.viewer() for case in cases])
    one, two = (Shown(page, case, nth) for nth, case in enumerate(cases))
    before = two.index
    one.canvas("axial").focus()
    one.press("PageUp", "ArrowLeft", "]")
    assert one.index != before and two.index == before and (one.time, two.time) == (1, 0)
    two.control("time point").fill("2")
    assert (one.time, two.time) == (1, 2)
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    np.testing.assert_array_equal(one.pixels("axial"), one.expected("axial", time=1))
    np.testing.assert_array_equal(two.pixels("axial"), two.expected("axial", time=2))


def test_a_narrow_screen_needs_no_sideways_scrolling(shown, shots):
    viewer = shown(
        Case(moving_case().image, RNG.normal(size=(13, 14, 15))), viewport={"width": 360, "height": 800}
    )
    viewer.root.get_by_text("Keys, mouse and touch").click()
    assert viewer.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    boxes = [viewer.canvas(plane).bounding_box() for plane in ("axial", "coronal", "sagittal")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    assert min(box["width"] for box in boxes) > 100
    viewer.page.screenshot(path=shots / "viewer_page_narrow.png", full_page=True)


@pytest.mark.parametrize("width", [360, 390, 600, 720, 1000])
def test_what_is_below_the_planes_stays_under_the_hand(shown, width):
    image = nib.Nifti1Image(RNG.integers(-1000, 1500, SHAPE, np.int16), np.diag([-9.5, 15.25, 11.75, 1]))
    case = Case(image, RNG.normal(size=SHAPE), {"window": (-1000, 1500)})
    viewer = shown(case, viewport={"width": width, "height": 900})
    readout, zoom = viewer.root.locator(".slicewise-readout"), viewer.control("zoom")

    def heights(slider, values):
        for value in values:
            slider.fill(str(value))
            viewer.page.evaluate(SETTLE)
            top = zoom.bounding_box()["y"] - viewer.root.bounding_box()["y"]
            yield readout.bounding_box()["height"], top

    walk = [*range(SHAPE[1]), *range(SHAPE[1])[::-1]]
    lines, tops = zip(*heights(viewer.root.locator("input[type=range]").nth(1), walk), strict=True)
    assert (np.diff(lines) >= 0).all()  # it may come to tell more, but never gives up its room
    _, tops = zip(*heights(zoom, np.linspace(1, 16, 31)), strict=True)
    assert np.ptp(tops) < 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(shown, shots, scheme):
    case = Case(phantom(straight("PSL")), RNG.normal(size=(11, 7, 9)), {"title": "A phantom"})
    viewer = shown(case, color_scheme=scheme, dark=scheme == "dark")
    viewer.root.get_by_text("Keys, mouse and touch").click()
    contrasts = viewer.page.evaluate(CONTRASTS)
    assert len(contrasts) > 30
    assert [(text, ratio) for text, ratio in contrasts if ratio < 4.5] == []
    viewer.page.screenshot(path=shots / f"viewer_page_{scheme}.png", full_page=True)


def test_without_scripts_a_titled_picture_stands_there(chromium):
    html = SliceViewer(straight("LPS"), title="A phantom").to_html()
    page = open_html(chromium, html, wait=False, java_script_enabled=False)
    title, picture = page.get_by_text("A phantom", exact=True), page.locator("img")
    assert title.is_visible() and picture.is_visible()
    assert title.bounding_box()["y"] < picture.bounding_box()["y"]
    assert picture.get_attribute("alt").startswith("A phantom")
    page.context.close()


def test_where_scripts_run_the_title_stands_there_once(show):
    page = show(SliceViewer(straight("LPS"), title="A phantom"))
    assert page.get_by_text("A phantom", exact=True).count() == 1

"""Still pictures as a reader sees them: the planes' pixels, and the letters, texts and lengths around."""

from base64 import b64decode
from io import BytesIO
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from phantoms import BRIGHT_MM, bright_voxel, straight, tilted
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import find_objects, label

from helpers import RegistrationMonitor, SliceViewer, compare
from helpers.registration import jacobian
from helpers.viewing.comparison import combine, difference_colours, difference_limit
from helpers.viewing.monitor import jacobian_colours, residual_limit
from helpers.viewing.slices import PLANES, OverlayStyle, map_colours, plane_axes, plane_slice, to_rgb
from helpers.viewing.volume import as_volume

RNG = np.random.default_rng(0)
MARK, TEXT = (255, 200, 60), (235, 235, 235)
CAPTION, FOOT, LETTER = 15, 14, 17  # sizes of the font
AROUND = {"axial": "LRAP", "coronal": "LRSI", "sagittal": "PASI"}  # left, right, top, bottom
CONVENTIONS = {"neurological: left is left": False, "radiological: patient's right on the left": True}
GRIDS = [straight("RAS"), straight("PSL"), straight("LPI"), tilted("LAS", 20)]


def still(viewer):
    return np.asarray(Image.open(BytesIO(b64decode(viewer._repr_mimebundle_()["image/png"]))).convert("RGB"))


def boxes_of(png, n):
    """Return the slices of the n planes, from left to right: the largest patches that are not black."""
    patches, _ = label(png.any(axis=2))
    sizes = np.bincount(patches.ravel())[1:]
    found = [find_objects(patches)[place] for place in np.argsort(sizes)[-n:]]
    return sorted(found, key=lambda box: box[1].start)


def length(part):
    return part.stop - part.start


def check_plane(png, box, expected):
    """Assert that a box of a picture shows these colours, voxel by voxel, but under the crosshair's lines."""
    middles = [
        (part.start + (np.arange(n) + 0.5) * length(part) / n).astype(int)
        for part, n in zip(box, expected.shape[:2], strict=True)
    ]
    found = png[np.ix_(*middles)]
    seen = (found != MARK).any(axis=2)
    assert (~seen).sum() < sum(seen.shape)
    np.testing.assert_array_equal(found[seen], expected[seen])


def place_of(png, text, size, red=TEXT[0]):
    """Return (row, column) of a text that stands by itself in a picture, or None."""
    canvas = Image.new("L", (500, 40))
    ImageDraw.Draw(canvas).text((10, 20), text, red, ImageFont.load_default(size), anchor="lm")
    rows, columns = (np.flatnonzero(np.asarray(canvas).any(axis=axis)) for axis in (1, 0))
    glyphs = np.asarray(canvas)[rows[0] : rows[-1] + 1, columns[0] - 3 : columns[-1] + 4]
    height, width = glyphs.shape
    if height > png.shape[0] or width > png.shape[1]:
        return None
    like_the_middle = (sliding_window_view(png[..., 0], width, axis=1) == glyphs[height // 2]).all(axis=-1)
    for row, column in np.argwhere(like_the_middle) - (height // 2, 0):
        if row >= 0 and np.array_equal(png[row : row + height, column : column + width, 0], glyphs):
            return row, column
    return None


def conventions_of(png):
    """Return whether it is radiological, for each convention that a picture names."""
    return [radiological for text, radiological in CONVENTIONS.items() if place_of(png, text, FOOT)]


def noise(grid, *times, seed=0):
    """Return an image of values from 1 to 10 on the grid of another."""
    data = np.random.default_rng(seed).uniform(1, 10, (*grid.shape, *times)).astype(np.float32)
    return nib.Nifti1Image(data, grid.affine)


def labels_of(shape):
    return RNG.integers(0, 5, shape)


OVERLAYS = {
    "none": (None, None),
    "labels": (labels_of, OverlayStyle("labels", opacity=0.3)),
    "a map": (lambda shape: RNG.normal(size=shape), OverlayStyle("map", threshold=0.5, opacity=0.6)),
}


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_planes_are_those_through_the_crosshair(grid, overlay, radiological):
    img, (make, style) = noise(grid, 3), OVERLAYS[overlay]
    over = make and make(grid.shape)
    viewer = SliceViewer(img, over, cmap="viridis", radiological=radiological)
    viewer.index, viewer.time, viewer.window = (1, 5, 2), 1, (2, 9)
    if over is not None:
        viewer.opacity, viewer.threshold = style.opacity, style.threshold
        style = OverlayStyle(style.kind, viewer._style.limit, style.threshold, style.opacity)
        over = as_volume(nib.Nifti1Image(over.astype(float), grid.affine))
    png, volume = still(viewer), as_volume(img)
    for plane, box in zip(PLANES, boxes_of(png, 3), strict=True):
        index = viewer.index[plane_axes(volume, plane)[0]]
        laid_over = None if over is None else plane_slice(over, plane, index, 0, radiological)
        cut = plane_slice(volume, plane, index, 1, radiological)
        check_plane(png, box, to_rgb(cut, (2, 9), "viridis", laid_over, style))


@pytest.mark.parametrize("radiological", [False, True])
def test_letters_stand_where_the_patient_has_them(radiological):
    png = still(SliceViewer(noise(straight()), window=(0, 10), radiological=radiological))
    for plane, (rows, columns) in zip(PLANES, boxes_of(png, 3), strict=True):
        left, right, top, bottom = AROUND[plane]
        if radiological and plane != "sagittal":
            left, right = right, left
        for letter, patch in {
            left: png[rows, columns.start - 22 : columns.start],
            right: png[rows, columns.stop : columns.stop + 22],
            top: png[rows.start - 22 : rows.start, columns],
            bottom: png[rows.stop : rows.stop + 22, columns],
        }.items():
            assert place_of(patch, letter, LETTER, MARK[0]), f"{letter} beside the {plane} plane"


@pytest.mark.parametrize("radiological", [False, True])
def test_the_convention_is_told_where_left_and_right_are_seen(radiological):
    wide = nib.Nifti1Image(np.ones((120, 60, 30)), np.eye(4))  # so that there is room under each plane
    for plane in ("all", *PLANES):
        png = still(SliceViewer(wide, plane=plane, radiological=radiological))
        assert conventions_of(png) == ([] if plane == "sagittal" else [radiological])


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PSL", "SAR"])
def test_captions_tell_the_index_and_the_mm_across_the_plane(codes):
    viewer = SliceViewer(noise(straight(codes)), window=(0, 10))
    viewer.index = bright_voxel(straight(codes))
    png = still(viewer)
    boxes, displays, ends_of = boxes_of(png, 3), "zyx", ("SI", "AP", "RL")
    for plane, display, ends, (_, columns) in zip(PLANES, displays, ends_of, boxes, strict=True):
        axis = next(n for n, letter in enumerate(codes) if letter in ends)
        mm = BRIGHT_MM["xyz".index(display)]
        caption = f"{plane}  {'ijk'[axis]} = {viewer.index[axis]}  ({display} = {mm:g} mm)"
        assert place_of(png[:, columns.start - 22 : columns.stop + 22], caption, CAPTION), caption


@pytest.mark.parametrize(
    ("image", "caption"),
    [
        (tilted("RAS", 20), "axial  k = 3  (oblique)"),
        (np.ones((5, 6, 7)), "k = 3"),
        (nib.Nifti1Image(np.ones((2, 90, 7)), np.eye(4)), "axial  k = 3"),  # too narrow for its mm
    ],
)
def test_captions_tell_no_mm_where_there_are_none_or_no_room(image, caption):
    assert place_of(still(SliceViewer(image, plane="axial")), caption, CAPTION)


@pytest.mark.parametrize(
    ("image", "unit"),
    [
        (noise(straight()), "mm"),
        (nib.Nifti1Image(np.ones((40, 30, 20)), np.diag([0.02, 0.03, 0.05, 1])), "mm"),
        (np.ones((30, 20, 10)), "voxels"),
        (np.ones((300, 500)), "pixels"),
        (as_volume(np.ones((300, 500)), sampling=(3, 2)), "mm"),
    ],
)
def test_the_scale_bar_is_as_long_as_it_says(image, unit):
    png, volume = still(SliceViewer(image, plane="axial", window=(0, 1))), as_volume(image)
    ((rows, columns),) = boxes_of(png, 1)
    along = plane_axes(volume, "axial")[2]
    pixels_per_unit = length(columns) / (volume.shape[along] * volume.voxel_sizes[along])
    foot = png[rows.stop + 22 :]
    runs, _ = label((foot == TEXT).all(axis=2), structure=[[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    bar = max(length(run[1]) for run in find_objects(runs))
    lengths = [step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)]
    told = [value for value in lengths if place_of(foot, f"{value:g} {unit}", FOOT)]
    assert bar > 50
    assert [bar] == pytest.approx([value * pixels_per_unit for value in told], abs=2)


def test_the_colour_bar_goes_from_the_lowest_to_the_highest_value():
    values = np.zeros((40, 40, 40))
    values[0] = np.linspace(-8, 8, 1600).reshape(40, 40)
    viewer = SliceViewer(np.ones((40, 40, 40)), values)
    limit = viewer._style.limit
    viewer.threshold = limit / 2
    foot = still(viewer)[-26:]
    coloured = np.ptp(foot, axis=2) > 60
    row = np.argmax(coloured.sum(axis=1))
    bar, columns = foot[row], np.flatnonzero(coloured[row])
    np.testing.assert_array_equal(bar[columns[[0, -1]]], map_colours(np.array([-limit, limit]), limit))
    assert not bar[(columns[0] + columns[-1]) // 2].any()  # clear below the threshold
    low, high = (place_of(foot, f"{value:.3g}", FOOT)[1] for value in (-limit, limit))
    assert low < columns[0] and columns[-1] < high


@pytest.mark.parametrize("sign", [1, -1])
def test_the_colour_bar_of_one_sign_begins_at_zero(sign):
    viewer = SliceViewer(np.ones((40, 40, 40)), sign * np.linspace(0, 8, 64000).reshape(40, 40, 40))
    limit = viewer._style.limit
    viewer.threshold = limit / 2
    foot = still(viewer)[-26:]
    row = np.argmax((np.ptp(foot, axis=2) > 60).sum(axis=1))
    columns = np.flatnonzero(np.ptp(foot[row], axis=1) > 60)
    strongest = foot[row, columns[-1 if sign > 0 else 0]]
    np.testing.assert_array_equal(strongest, map_colours(np.array(sign * limit), limit))
    ends = [0, limit] if sign > 0 else [-limit, 0]
    low, high = (place_of(foot, f"{value:.3g}", FOOT)[1] for value in ends)
    middle = (low + high) / 2
    assert columns[0] > middle - 20 if sign > 0 else columns[-1] < middle + 20  # the weak half is clear


FIXED, MOVING = noise(straight("PSL"), seed=1), noise(straight("PSL"), seed=2)
INDEX, LOOK = (2, 5, 6), {"fixed": (0, 8), "moving": (-3, 12)}


def cuts_of(plane, radiological, **images):
    """Return the planes of images through INDEX."""
    volumes = {
        name: as_volume(nib.Nifti1Image(np.asanyarray(data), FIXED.affine)) for name, data in images.items()
    }
    return {
        name: plane_slice(volume, plane, INDEX[plane_axes(volume, plane)[0]], 0, radiological)
        for name, volume in volumes.items()
    }


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("mode", ["blend", "checkerboard", "difference", "flicker", "side by side"])
def test_a_comparison_shows_what_its_mode_says(mode, radiological):
    viewer = compare(FIXED, MOVING, mode=mode, radiological=radiological)
    viewer.index, viewer.mix = INDEX, 0.2
    viewer.window, viewer.window_moving = LOOK.values()
    png = still(viewer)
    halves = np.split(png, 2) if mode == "side by side" else [png]
    for half, name in zip(halves, LOOK, strict=False):
        assert conventions_of(half) == [radiological]
        boxes = boxes_of(half, 3)
        for plane, box in zip(PLANES, boxes, strict=True):
            cuts = cuts_of(plane, radiological, fixed=FIXED.dataobj, moving=MOVING.dataobj)
            colours = {key: to_rgb(cut, LOOK[key]) for key, cut in cuts.items()}
            if mode == "side by side":
                expected = colours[name]
                assert place_of(half, f"{name} sagittal  k = 6  (x = -4 mm)", CAPTION)
            elif mode == "difference":
                limit = difference_limit(np.asanyarray(FIXED.dataobj), np.asanyarray(MOVING.dataobj))
                expected = difference_colours(cuts["fixed"], cuts["moving"], limit)
            else:
                expected = combine(colours["fixed"], colours["moving"], mode, 0.2)
            check_plane(half, box, expected)


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("shown", ["fixed", "moving", "warped", "difference", "Jacobian"])
def test_a_monitor_shows_what_was_found(shown, radiological):
    fixed, moving = (np.asanyarray(img.dataobj) for img in (FIXED, MOVING))
    warped = np.asanyarray(noise(FIXED, seed=3).dataobj)
    displacement = RNG.normal(0, 0.5, (3, *fixed.shape)).astype(np.float32)
    monitor = RegistrationMonitor(FIXED, MOVING, radiological=radiological)
    monitor.show(SimpleNamespace(warped=warped, displacement=displacement, history=[]))
    monitor.index, monitor.shown = INDEX, shown
    monitor.window, monitor.window_moving = LOOK.values()
    png = still(monitor)
    for plane, box in zip(PLANES, boxes_of(png, 3), strict=True):
        cuts = cuts_of(
            plane, radiological, fixed=fixed, moving=moving, warped=warped, Jacobian=jacobian(displacement)
        )
        if shown == "difference":
            limit = residual_limit(fixed, moving, warped)
            expected = difference_colours(cuts["fixed"], cuts["warped"], limit)
        elif shown == "Jacobian":
            expected = jacobian_colours(cuts["Jacobian"], 1.0)
        else:
            expected = to_rgb(cuts[shown], LOOK["fixed" if shown == "fixed" else "moving"])
        check_plane(png, box, expected)

import warnings

import numpy as np
import pytest
from arbitrary import arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import BRIGHT_MM, ORIENTATIONS, atlas, bright_voxel, straight, tilted
from scipy.ndimage import gaussian_filter

from helpers.viewing import slices
from helpers.viewing.slices import (
    BACKGROUND,
    CT_WINDOWS,
    LABEL_COLOURS,
    PLANES,
    OverlayStyle,
    auto_window,
    check_window,
    ct_window,
    data_range,
    extent,
    letters,
    overlay_style,
    pixel_of,
    pixel_size,
    plane_axes,
    plane_slice,
    to_rgb,
)
from helpers.viewing.volume import as_volume

few = settings(max_examples=60, deadline=None)


def grey_volume(data):
    """Return a 3D array as a volume, 8-bit stacks of three or four slices included."""
    volume = as_volume(data.astype(np.float32) if data.dtype == np.uint8 else data)
    assert not volume.is_colour
    return volume


@few
@given(arrays())
def test_any_array_gives_a_picture_without_a_warning(data):
    volume = grey_volume(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        window = check_window(auto_window(volume.data))
        for plane in PLANES:
            across, up, along = plane_axes(volume, plane)
            for index in range(volume.shape[across]):
                cut = plane_slice(volume, plane, index)
                assert np.shares_memory(cut, volume.data)
                rgb = to_rgb(cut, window, overlay=cut)
                assert rgb.dtype == np.uint8
                assert rgb.shape == (volume.shape[up], volume.shape[along], 3)


@few
@given(arrays(), st.data())
def test_byte_order_and_strides_do_not_change_the_picture(data, draw):
    volume = grey_volume(data)
    swapped = grey_volume(np.ascontiguousarray(data.astype(data.dtype.newbyteorder())))
    window = auto_window(volume.data)
    assert window == auto_window(swapped.data)
    plane = draw.draw(st.sampled_from(PLANES))
    pictures = [to_rgb(plane_slice(v, plane, 0), window) for v in (volume, swapped)]
    np.testing.assert_array_equal(*pictures)


@few
@given(arrays(n_axes=2))
def test_nan_is_background_and_infinities_are_the_ends(data):
    rgb = to_rgb(data, auto_window(data), "gray")
    values = data.astype(float)
    assert (rgb[np.isnan(values)] == BACKGROUND).all()
    assert (rgb[values == np.inf] == 255).all()
    assert (rgb[values == -np.inf] == 0).all()


def test_what_is_not_finite_has_its_colour():
    rgb = to_rgb(np.array([[0.5, np.nan, np.inf, -np.inf]]), (0, 1))[0]
    assert rgb.tolist() == [[128] * 3, list(BACKGROUND), [255] * 3, [0] * 3]


@pytest.mark.parametrize("scale", [1, 5e-324, 1e-300, 1.7e308])
def test_brighter_values_are_never_darker(scale):
    values = np.sort(np.linspace(-1, 1, 400) * scale if scale > 1e-320 else np.arange(400) * scale).reshape(
        1, -1
    )
    grey = to_rgb(values, auto_window(values))[0, :, 0].astype(int)
    assert len(np.unique(grey)) > 200
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


@few
@given(arrays())
def test_windows_are_finite_and_in_order(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = auto_window(data)
    assert np.isfinite([low, high]).all()
    assert low < high


@pytest.mark.parametrize("value", [0, 7, -1000, 1e-300, 1e20, -1.7e308])
def test_a_constant_image_is_mid_grey_not_noise(value):
    low, high = auto_window(np.full((5, 5), value))
    assert low <= value <= high


def test_windows_resist_outliers_but_keep_small_masks():
    data = np.random.default_rng(0).uniform(0, 100, (30, 30, 30))
    data[0, 0, 0] = 1e6
    assert auto_window(data)[1] < 101
    mask = np.zeros((30, 30, 30))
    mask[3, 3, 3] = 1
    assert auto_window(mask) == (0, 1)
    assert auto_window(mask > 0) == (0, 1)
    assert auto_window(np.full((3, 3), np.nan)) == (0, 1)


def test_large_images_are_thinned_evenly():
    ramp = np.broadcast_to(np.arange(300.0), (300, 300, 300))
    assert slices.thinned(ramp).size <= 1_100_000
    np.testing.assert_allclose(auto_window(ramp), np.percentile(np.arange(300), (0.5, 99.5)), atol=3)


def test_data_range_ignores_what_is_not_finite():
    assert data_range(np.array([[np.nan, -np.inf], [2, 5]])) == (2, 5)
    assert data_range(np.array([[True, False]])) == (0, 1)


def test_ct_windows_are_the_usual_ones():
    assert {name: ct_window(name) for name in CT_WINDOWS} == {
        "CT brain": (0, 80),
        "CT soft tissue": (-150, 250),
        "CT lung": (-1350, 150),
        "CT bone": (-500, 1300),
    }


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0, np.nan), (-np.inf, 0), 3, (1, 2, 3), "ab", None])
def test_bad_windows_get_one_sentence(window):
    with pytest.raises(ValueError, match="window"):
        to_rgb(np.zeros((2, 2)), window)


def test_bad_colour_maps_and_overlays_get_one_sentence():
    with pytest.raises(ValueError, match="no colour map called 'rainbows'"):
        to_rgb(np.zeros((2, 2)), (0, 1), "rainbows")
    with pytest.raises(ValueError, match="shape"):
        to_rgb(np.zeros((2, 2)), (0, 1), overlay=np.zeros((3, 2)))


# Left is left.


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_left_is_left_front_is_front_and_top_is_top(codes, degrees, radiological):
    img = tilted(codes, degrees) if degrees else straight(codes)
    volume = as_volume(img)
    bright = bright_voxel(img)
    expected = {"L": "LR", "A": "AP", "S": "SI"}  # the bright voxel is left, anterior and superior
    for plane in PLANES:
        cut = plane_slice(volume, plane, bright[plane_axes(volume, plane)[0]], radiological=radiological)
        row, column = np.unravel_index(cut.argmax(), cut.shape)
        assert cut[row, column] == 1
        assert pixel_of(volume, plane, bright, radiological) == (row, column)
        marks = letters(volume, plane, radiological)
        near = "left" if column < cut.shape[1] / 2 else "right"
        far = "right" if near == "left" else "left"
        vertical = "top" if row < cut.shape[0] / 2 else "bottom"
        assert marks[near] in expected
        assert marks[far] == expected[marks[near]][1]
        assert marks[vertical] in expected
        if plane != "sagittal":
            assert marks["left"] == ("R" if radiological else "L")
        assert vertical == "top"
    assert letters(volume, "sagittal", radiological) == {"left": "P", "right": "A", "top": "S", "bottom": "I"}


def test_storage_does_not_change_the_picture():
    reference = as_volume(straight("RAS"))
    for codes in ORIENTATIONS:
        volume = as_volume(straight(codes))
        for plane in PLANES:
            index = bright_voxel(straight(codes))[plane_axes(volume, plane)[0]]
            index_ras = bright_voxel(straight())[plane_axes(reference, plane)[0]]
            np.testing.assert_array_equal(
                plane_slice(volume, plane, index), plane_slice(reference, plane, index_ras)
            )
            assert pixel_size(volume, plane) == pytest.approx(pixel_size(reference, plane))
            assert extent(volume, plane, index) == pytest.approx(extent(reference, plane, index_ras))


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_extent_puts_the_bright_voxel_at_its_world_position(codes):
    img = straight(codes)
    volume, bright = as_volume(img), bright_voxel(img)
    for plane, (x, y) in zip(PLANES, ((0, 1), (0, 2), (1, 2)), strict=True):
        index = bright[plane_axes(volume, plane)[0]]
        left, right, bottom, top = extent(volume, plane, index)
        cut = plane_slice(volume, plane, index)
        row, column = pixel_of(volume, plane, bright)
        assert left + (column + 0.5) * (right - left) / cut.shape[1] == pytest.approx(BRIGHT_MM[x])
        assert top + (row + 0.5) * (bottom - top) / cut.shape[0] == pytest.approx(BRIGHT_MM[y])


def test_pictures_and_stacks_read_by_imageio_have_rows_going_down():
    picture = as_volume(np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(plane_slice(picture, "axial", 0), np.arange(12).reshape(3, 4))
    assert extent(picture, "axial", 0) == (-0.5, 3.5, 2.5, -0.5)
    stack = np.arange(24).reshape(2, 3, 4)
    volume = as_volume(stack, sampling=(5, 1, 2))
    np.testing.assert_array_equal(plane_slice(volume, "axial", 1), stack[1])
    np.testing.assert_array_equal(plane_slice(volume, "coronal", 1), stack[:, 1])
    assert pixel_size(volume, "axial") == (1, 2)
    assert pixel_size(volume, "coronal") == (5, 2)
    assert letters(volume, "axial") is None


def test_time_is_last():
    data = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    volume = as_volume(data)
    np.testing.assert_array_equal(plane_slice(volume, "axial", 2, time=5), data[:, ::-1, 2, 5].T)


def test_slices_outside_get_one_sentence():
    volume = as_volume(np.zeros((3, 4, 5)))
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"k = {index} is outside the image: it runs from 0 to 4"):
            plane_slice(volume, "axial", index)
    with pytest.raises(IndexError, match="Time = 1"):
        plane_slice(volume, "axial", 0, time=1)
    with pytest.raises(TypeError, match="whole number"):
        plane_slice(volume, "axial", 1.5)
    with pytest.raises(ValueError, match="axial, coronal, sagittal"):
        plane_slice(volume, "transverse", 0)
    with pytest.raises(ValueError, match="Radiological"):
        plane_slice(volume, "axial", 0, radiological=True)


# Overlays.


def test_labels_have_colours_that_do_not_depend_on_the_others():
    base, labels = np.zeros((1, 9)), np.arange(9).reshape(1, 9)
    style = OverlayStyle("labels", opacity=1)
    for kind in (np.uint8, np.int32, float, ">i2"):
        rgb = to_rgb(base, (0, 1), overlay=labels.astype(kind), style=style)[0]
        assert rgb[0].tolist() == [0, 0, 0]
        np.testing.assert_array_equal(rgb[1:8], LABEL_COLOURS)
        np.testing.assert_array_equal(rgb[8], LABEL_COLOURS[0])


def test_label_colours_differ_for_every_kind_of_colour_vision():
    # Machado, Oliveira and Fernandes (2009), severity 1; they apply to linear RGB.
    linear = (LABEL_COLOURS / 255.0) ** 2.2
    deficiencies = {
        "protan": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deutan": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "tritan": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }
    for matrix in deficiencies.values():
        seen = np.clip(linear @ np.transpose(matrix), 0, 1) ** (1 / 2.2) * 255
        apart = np.linalg.norm(seen[:, np.newaxis] - seen, axis=-1) + 1e3 * np.eye(len(seen))
        assert apart.min() > 20


def test_maps_are_symmetric_and_clear_below_their_threshold():
    values = np.array([[-4.0, -1.0, 0.0, 1.0, 4.0, np.nan, np.inf, -np.inf]])
    base = np.full(values.shape, 0.5)
    plain = to_rgb(base, (0, 1))
    rgb = to_rgb(base, (0, 1), overlay=values, style=OverlayStyle("map", limit=4, threshold=2, opacity=1))[0]
    np.testing.assert_array_equal(rgb[[1, 2, 3, 5]], plain[0, [1, 2, 3, 5]])
    assert rgb[0, 2] > rgb[0, 0]  # blue below
    assert rgb[4, 0] > rgb[4, 2]  # red above
    np.testing.assert_array_equal(rgb[4], rgb[6])
    np.testing.assert_array_equal(rgb[0], rgb[7])


@few
@given(st.floats(0, 1))
def test_opacity_mixes(opacity):
    base, overlay = np.full((1, 1), 0.5), np.full((1, 1), 1)
    below = to_rgb(base, (0, 1)).astype(float)
    rgb = to_rgb(base, (0, 1), overlay=overlay, style=OverlayStyle("labels", opacity=opacity))
    np.testing.assert_allclose(rgb, below * (1 - opacity) + LABEL_COLOURS[0] * opacity, atol=0.51)


def test_overlay_kinds_are_told_by_their_values():
    assert overlay_style(np.ones((3, 3), bool)).kind == "labels"
    assert overlay_style(np.ones((3, 3), ">i2")).kind == "labels"
    assert overlay_style(np.array([[0.0, 1.0, np.nan]])).kind == "labels"
    style = overlay_style(np.linspace(-3, 3, 1000).reshape(10, 100))
    assert style.kind == "map"
    assert 2.6 < style.threshold < 2.8 < style.limit <= 3
    assert overlay_style(np.full((3, 3), 0.5)).limit == 0.5


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, ">f8"])
def test_whole_numbers_are_labels_if_few_or_in_patches(kind):
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(40, 30, 20)), 3)
    share = np.clip(smooth / smooth.max(), 0, 1)
    certain = np.clip(20 * share, 0, 1)  # with a large patch of the largest value, as in white matter
    assert np.mean(certain == 1) > 0.3
    for probability in (share, certain):
        assert overlay_style((255 * probability).round().astype(kind)).kind == "map"
        assert overlay_style((60 * probability).round().astype(kind)).kind == "labels"
    for shape in ((2, 41, 30), (41, 30, 2), (60, 60)):
        assert overlay_style(atlas(shape, 250).astype(kind)).kind == "labels"
    assert overlay_style(np.stack([atlas((20, 20, 20), 250)] * 3, axis=-1).astype(kind)).kind == "labels"


def test_labels_leave_the_anatomy_to_be_seen():
    assert overlay_style(np.ones((3, 3), bool)).opacity == 0.5
    assert overlay_style(np.linspace(0, 1, 100).reshape(10, 10)).opacity == 0.7


def test_a_map_of_one_sign_shows_all_but_the_weakest():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20, 20, 20))
    assert 1.5 < overlay_style(z).threshold < 1.8  # the strongest tenth
    probability = rng.uniform(size=(20, 20, 20))
    for sign in (1, -1):
        style = overlay_style(sign * probability)
        assert style.limit == pytest.approx(1, abs=0.01)
        assert style.threshold == pytest.approx(0.05, abs=0.001)
        assert style.signs == (min(sign, 0), max(sign, 0))
    assert overlay_style(z).signs == (-1, 1)
    probability[3:5, 3:5, 3:4] = -4  # four voxels of 8000, which the percentiles leave out
    style = overlay_style(probability)
    assert (style.threshold < 0.1, style.signs) == (True, (-1, 1))
    assert overlay_style(probability.clip(0) - 0.02).signs == (0, 1)
    assert overlay_style(probability - 0.02).threshold < 0.1  # an interpolation that overshoots
    assert overlay_style(np.where(rng.random(z.shape) < 0.01, -1.0, 0) + probability).threshold > 0.8


def test_colours_pass_unchanged_and_transparent_ones_show_the_background():
    data = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(plane_slice(as_volume(data), "axial", 0), (0, 255)), data)
    clear = np.dstack([data, np.zeros((4, 5), np.uint8)])
    assert (to_rgb(plane_slice(as_volume(clear), "axial", 0), (0, 255)) == BACKGROUND).all()

from io import BytesIO

import numpy as np
import pytest
from phantoms import ORIENTATIONS, bright_voxel, straight
from PIL import Image

from helpers.viewing.picture import _round_length, picture, to_png
from helpers.viewing.slices import PLANES, OverlayStyle
from helpers.viewing.volume import as_overlay, as_volume


def draw(image, index=None, planes=PLANES, window=(0, 1), **kwargs):
    volume = as_volume(image)
    index = tuple(n // 2 for n in volume.shape) if index is None else index
    return picture(volume, index, planes=planes, window=window, **kwargs)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_picture_does_not_depend_on_storage_but_for_the_captions(codes):
    reference = draw(straight(), bright_voxel(straight()))
    img = straight(codes)
    np.testing.assert_array_equal(draw(img, bright_voxel(img))[26:], reference[26:])


def test_radiological_pictures_are_mirrored_but_for_sagittal_planes():
    img = straight()
    index = bright_voxel(img)
    for plane in PLANES:
        left_is_left, mirrored = (
            draw(img, index, planes=(plane,), radiological=flag)[26 + 22 : -26 - 22, 22:-22]
            for flag in (False, True)
        )
        bright = [(np.argwhere((p == 255).all(axis=2))).mean(axis=0) for p in (left_is_left, mirrored)]
        if plane == "sagittal":
            np.testing.assert_array_equal(left_is_left, mirrored)
        else:
            assert bright[0][1] == pytest.approx(left_is_left.shape[1] - 1 - bright[1][1], abs=1.5)
            assert bright[0][1] < left_is_left.shape[1] / 2


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (3, 1000), (1000, 3), (1, 1)])
@pytest.mark.parametrize("sampling", [None, (1, 3), (0.01, 0.01)])
def test_proportions_are_those_of_the_object(shape, sampling):
    volume = as_volume(np.ones(shape), sampling=sampling)
    drawn = picture(volume, (0, 0, 0), planes=("axial",), window=(0, 1), cmap="gray")
    body = drawn[22 : -26 - 22]
    columns = np.flatnonzero(body.any(axis=(0, 2)))
    rows = np.flatnonzero(body.any(axis=(1, 2)))
    height, width = (np.array(shape) * volume.voxel_sizes[:2]).tolist()
    scale = (np.ptp(rows) + 1) / height if height > width else (np.ptp(columns) + 1) / width
    assert np.ptp(rows) + 1 == pytest.approx(height * scale, abs=1)
    assert np.ptp(columns) + 1 == pytest.approx(width * scale, abs=1)
    assert drawn.shape[1] <= 860


def test_three_planes_of_a_brain_are_250_to_330_pixels_high_and_fit_a_notebook():
    height, width, _ = draw(np.zeros((197, 233, 189), np.uint8)).shape
    assert 250 < height - 26 - 26 - 44 < 330
    assert 700 < width <= 870


def test_letters_are_drawn_only_where_they_are_known():
    def marks(image):
        margin = draw(image, planes=("axial",))[:, :20]
        return (margin == (255, 200, 60)).all(axis=2).sum()

    assert marks(straight()) > 5
    assert marks(np.asanyarray(straight().dataobj)) == 0


def test_the_crosshair_leaves_the_voxel_free():
    img = straight()
    drawn = draw(img, bright_voxel(img), planes=("axial",))
    assert (drawn == 255).all(axis=2).sum() > 100
    assert (drawn == (255, 200, 60)).all(axis=2).sum() > 100


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("codes", ["RAS", "LPI", "PSL"])
def test_the_crosshair_meets_in_the_voxel(codes, radiological):
    img = straight(codes)
    for plane in PLANES:
        drawn = draw(img, bright_voxel(img), planes=(plane,), radiological=radiological)
        body = drawn[26 + 22 : -26 - 22, 22:-22]
        bright = np.argwhere((body == 255).all(axis=2)).mean(axis=0)
        lines = (body == (255, 200, 60)).all(axis=2)
        assert lines.sum(axis=1).argmax() == pytest.approx(bright[0], abs=1)
        assert lines.sum(axis=0).argmax() == pytest.approx(bright[1], abs=1)


def test_every_edge_voxel_can_be_pointed_at():
    img = straight("PSR")
    for corner in np.ndindex(2, 2, 2):
        draw(img, tuple(int(n) for n in np.array(corner) * (np.array(img.shape) - 1)))


def test_maps_bring_their_colour_bar():
    volume = as_volume(np.zeros((40, 40, 40)))
    overlay = as_overlay(volume, np.zeros((40, 40, 40)))
    for plane in (("axial",), PLANES):
        foot = picture(
            volume,
            (1, 1, 1),
            planes=plane,
            window=(0, 1),
            overlay=overlay,
            style=OverlayStyle("map", limit=3, threshold=1),
        )[-26:]
        assert len(np.unique(foot.reshape(-1, 3), axis=0)) > 40


def test_overlays_without_time_stay_while_the_image_moves():
    volume = as_volume(np.zeros((4, 5, 6, 3)))
    for overlay in (np.ones((4, 5, 6)), np.ones((4, 5, 6, 3))):
        drawn = picture(
            volume,
            (1, 1, 1),
            2,
            planes=PLANES,
            window=(0, 1),
            overlay=as_overlay(volume, overlay),
            style=OverlayStyle("labels", opacity=1),
        )
        assert (drawn == (230, 159, 0)).all(axis=2).any()


def test_png_is_lossless():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(to_png(rgb)))), rgb)


@pytest.mark.parametrize(("longest", "length"), [(1, 1), (9.9, 5), (150, 100), (0.03, 0.02), (2.5, 2)])
def test_scale_bars_have_round_lengths(longest, length):
    assert _round_length(longest) == pytest.approx(length)

"""The explorers of lesson 2: every setting draws, and what they say is what numpy says by another way."""

import re
import warnings

import nibabel as nib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import ndimage as ndi
from scipy.spatial.transform import Rotation

from helpers.explorers.affines import affine_builder, compose_affine, pull_bench, wished_matrix


@pytest.fixture(scope="module")
def img():
    data = np.zeros((20, 30, 5), np.uint8)
    data[5:12, 8:25] = 200
    affine = nib.affines.from_matvec(np.diag((1.0, 1.0, 2.0)), (-10, -15, -7))
    return nib.Nifti1Image(data, affine)


@pytest.fixture(scope="module")
def builder(img):
    return affine_builder(img)


@pytest.fixture(scope="module")
def bench():
    picture = np.zeros((120, 180))
    picture[36:72, 60:132] = 100
    return pull_bench(picture)


@pytest.mark.parametrize("name", ["builder", "bench"])
def test_every_setting_draws_without_a_warning(request, name):
    explorer = request.getfixturevalue(name)
    said = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, values in enumerate(explorer.settings(9)):
            figure, text = explorer.draw(**values)
            if number % 5 == 0:  # drawing the pixels takes longest
                FigureCanvasAgg(figure).draw()
            assert len(text) > 40
            said.add(text)
    assert len(said) > 10


def said_corners(text):
    """Return the corners that a text tells, (4, 2)."""
    return np.array([[float(x), float(y)] for x, y in re.findall(r"\((-?\d+), (-?\d+)\)", text)])


def test_the_builder_starts_with_the_images_own_affine(img, builder):
    start = {"rotation_deg": 0, "sizes_mm": (1, 1), "shear": 0, "mirror": False, "slice_mm": 2}
    for order in ("shift last", "shift first"):
        np.testing.assert_allclose(compose_affine((-10, -15, -7), order=order, **start), img.affine)
    assert said_corners(builder.text).tolist() == [[-10, -15], [9, -15], [9, 14], [-10, 14]]


@pytest.mark.parametrize("order", ["shift last", "shift first"])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_builder_says_where_the_corners_go(builder, order, mirror):
    values = {"shift_x": 6, "shift_y": -20, "rotation": 35, "zoom": 1.3, "shear": 0.4}
    text = builder.draw(**values, order=order, mirror=mirror)[1]

    def move(x, y):  # step by step, without a matrix
        if order == "shift first":
            x, y = x + 6, y - 20
        x, y = 1.3 * x * (-1 if mirror else 1), 1.3 * y
        x, y, _ = Rotation.from_euler("z", 35, degrees=True).apply((x + 0.4 * y, y, 0))
        return (x + 6, y - 20) if order == "shift last" else (x, y)

    corners = [move(*corner) for corner in ((0, 0), (19, 0), (19, 29), (0, 29))]
    np.testing.assert_allclose(said_corners(text), corners, atol=0.51)
    assert ("mirrored" in text) == mirror
    assert "1.30 and 1.40 mm long" in text  # 1.3 times the root of 1 + 0.4²
    assert f"meet at {180 - 68 if mirror else 68}°" in text  # 90° less the arc tangent of 0.4


def test_the_builder_tells_of_corners_out_of_sight(builder):
    assert "outside the frame" not in builder.text
    values = {"order": "shift first", "rotation": 45, "zoom": 1.4, "shift_x": 150, "shift_y": 145}
    far = builder.draw(**builder.values | values)[1]
    hidden = np.count_nonzero(np.abs(said_corners(far)).max(axis=1) > 300)
    assert hidden
    assert f"{hidden} of the corners" in far


def test_the_builder_takes_no_tilted_image(img):
    tilted = nib.affines.from_matvec(Rotation.from_euler("x", 10, degrees=True).as_matrix())
    with pytest.raises(ValueError, match="neither turned nor sheared"):
        affine_builder(nib.Nifti1Image(img.dataobj, tilted))


WISHES = ["zoom by 1.5", "turn by 30°", "shift by 40 to the right", "mirror left and right", "shear by 0.4"]


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_moves_points_as_it_says(wish):
    point = np.array((3.0, 2.0))
    turn = Rotation.from_euler("z", 30, degrees=True)
    expected = {
        WISHES[0]: point * 1.5,
        WISHES[1]: turn.apply((*point, 0))[:2],
        WISHES[2]: point + (40, 0),
        WISHES[3]: point * (-1, 1),
        WISHES[4]: point + (0.4 * point[1], 0),
    }[wish]
    matrix = wished_matrix(wish, (11, 21), about_centre=False)
    np.testing.assert_allclose(nib.affines.apply_affine(matrix, point), expected)
    about = wished_matrix(wish, (11, 21), about_centre=True)
    centre = np.array((5, 10))
    np.testing.assert_allclose(nib.affines.apply_affine(about, centre + point), centre + expected)


def share(text):
    return int(re.search(r"covers (\d+) %", text)[1])


def test_the_bench_shrinks_by_the_wish_and_grows_by_its_inverse(bench):
    values = {"wish": WISHES[0], "about": "the centre"}
    assert share(bench.draw(hand_over="the wish itself", **values)[1]) == pytest.approx(100 / 1.5**2, abs=4)
    assert share(bench.draw(hand_over="its inverse", **values)[1]) == pytest.approx(225, abs=16)


def test_the_bench_tells_when_the_picture_is_gone(bench):
    gone = bench.draw(wish=WISHES[3], hand_over="its inverse", about="the first pixel")[1]
    assert "moved off the grid" in gone
    kept = bench.draw(wish=WISHES[3], hand_over="its inverse", about="the centre")[1]
    assert share(kept) == 100


def test_the_bench_shows_the_shifted_picture(bench):
    figure = bench.figure(wish=WISHES[2], hand_over="its inverse", about="the centre")
    before, after = (ax.images[0].get_array().T for ax in figure.axes)
    np.testing.assert_allclose(after, ndi.shift(before, (40, 0), order=1))

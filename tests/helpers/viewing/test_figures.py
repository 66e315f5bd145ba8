import subprocess
import sys

import imageio.v3 as iio
import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from phantoms import BRIGHT_MM, ORIENTATIONS, bright_voxel, straight, tilted

from helpers.viewing import montage, show_plane
from helpers.viewing.figures import show_field
from helpers.viewing.slices import PLANES, plane_axes
from helpers.viewing.volume import as_volume


@pytest.fixture(autouse=True)
def _close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def texts(ax):
    return {text.get_text(): text.get_position() for text in ax.texts}


@pytest.mark.parametrize("codes", ORIENTATIONS[::7])
def test_the_bright_voxel_stands_at_its_mm(codes):
    img = straight(codes)
    for plane, (x, y) in zip(PLANES, ((0, 1), (0, 2), (1, 2)), strict=True):
        index = bright_voxel(img)[plane_axes(as_volume(img), plane)[0]]
        _, ax = plt.subplots()
        assert show_plane(img, plane, index, ax) is ax
        pixels = ax.images[0].get_array()
        left, right, bottom, top = ax.images[0].get_extent()
        row, column = np.unravel_index(pixels.argmax(), pixels.shape)
        assert left + (column + 0.5) * (right - left) / pixels.shape[1] == pytest.approx(BRIGHT_MM[x])
        assert top + (row + 0.5) * (bottom - top) / pixels.shape[0] == pytest.approx(BRIGHT_MM[y])
        assert left < right
        assert bottom < top


@pytest.mark.parametrize("codes", ["RAS", "LPI"])
@pytest.mark.parametrize(("plane", "x", "y"), [("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)])
def test_the_bright_voxel_is_painted_there(plane, x, y, codes):
    img = straight(codes)
    index = bright_voxel(img)[plane_axes(as_volume(img), plane)[0]]
    ax = show_plane(img, plane, index)
    ax.figure.canvas.draw()
    painted = np.asarray(ax.figure.canvas.buffer_rgba())[..., 0]
    for mm, value in ((BRIGHT_MM, 255), (BRIGHT_MM * [1, -1, 1], 0), (BRIGHT_MM * [1, 1, -1], 0)):
        column, up = ax.transData.transform((mm[x], mm[y])).round().astype(int)
        if value or (mm[[x, y]] != BRIGHT_MM[[x, y]]).any():
            assert painted[painted.shape[0] - 1 - up, column] == value


def test_figures_say_where_and_what():
    ax = show_plane(straight("LPS"), "axial", 5)
    assert ax.get_title() == "Axial, z = 8 mm"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (mm)", "y (mm)")
    assert ax.get_aspect() == 1  # the extent is in mm
    marks = texts(ax)
    assert marks["L"][0] < marks["R"][0]
    assert marks["P"][1] < marks["A"][1]
    assert show_plane(straight(), "sagittal").get_title() == "Sagittal, x = 0 mm"
    assert show_plane(straight(), title="Mine").get_title() == "Mine"


def test_oblique_planes_say_so():
    ax = show_plane(tilted("RAS", 20), "coronal")
    assert ax.get_title() == "Coronal (oblique), j = 5"
    assert ax.get_xlabel() == "along i (mm)"


def test_without_a_world_no_side_is_named():
    ax = show_plane(np.zeros((3, 4, 5)), "axial")
    assert (ax.get_title(), texts(ax), ax.get_xlabel()) == ("k = 2", {}, "along i (voxels)")
    ax = show_plane(np.zeros((3, 4)))
    assert (ax.get_title(), ax.get_ylabel()) == ("3 × 4 pixels", "row (pixels)")


@pytest.mark.parametrize("dtype", [bool, np.uint8, ">i2", ">f4", np.float16, np.float64, np.int64])
def test_any_dtype_is_drawn(dtype):
    data = (np.arange(60).reshape(3, 4, 5) % 7).astype(dtype)
    show_plane(data, "coronal")
    plt.gcf().canvas.draw()


def test_colours_are_drawn_as_they_are():
    data = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(show_plane(data).images[0].get_array(), data)


def test_the_window_is_the_volumes_unless_given():
    data = np.linspace(0, 100, 60).reshape(3, 4, 5)
    assert show_plane(data).images[0].get_clim() == pytest.approx((0, 100), abs=2)
    image = show_plane(data, vmin=10, vmax=20, cmap="magma").images[-1]
    assert (image.get_clim(), image.get_cmap().name) == ((10, 20), "magma")
    assert show_plane(data, norm=plt.Normalize(3, 4)).images[-1].get_clim() == (3, 4)


def test_montages_spread_over_the_filled_slices_in_order():
    data = np.zeros((10, 11, 40))
    data[4:6, 4:6, 10:30] = 1
    axes = montage(nib.Nifti1Image(data, np.eye(4)), n=8)
    assert len(axes) == 8
    places = [float(ax.get_title().removeprefix("z = ").removesuffix(" mm")) for ax in axes]
    assert places == sorted(places)
    assert min(places) >= 10
    assert max(places) < 30
    assert np.ptp(np.diff(places)) <= 1
    assert set(texts(axes[0])) == set("LRAP")
    assert axes[0].figure.get_suptitle() == "Axial planes, 10 mm wide"
    assert len({ax.images[0].get_clim() for ax in axes}) == 1


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("n", [1, 7, 500])
def test_montages_of_any_size(plane, n):
    volume = as_volume(straight("PIL"))
    full = np.random.default_rng(0).normal(size=volume.shape)
    axes = montage(nib.Nifti1Image(full, volume.affine), plane, n, title="All")
    assert len(axes) == min(n, volume.shape[plane_axes(volume, plane)[0]])
    axes[0].figure.canvas.draw()


def test_bad_input_gets_one_sentence():
    with pytest.raises(ValueError, match="2 time points: choose one"):
        show_plane(np.zeros((3, 4, 5, 2)))
    with pytest.raises(ValueError, match="2 time points"):
        montage(np.zeros((3, 4, 5, 2)))
    with pytest.raises(ValueError, match="at least one slice"):
        montage(straight(), n=0)
    with pytest.raises(ValueError, match="plane must be one of"):
        show_plane(straight(), "transverse")
    with pytest.raises(IndexError, match="k = 7 is outside"):
        show_plane(straight(), index=7)
    assert not plt.get_fignums()


def test_a_figure_can_be_saved(tmp_path):
    show_plane(straight())
    plt.savefig(tmp_path / "plane.png")
    assert iio.imread(tmp_path / "plane.png").shape[2] == 4


def test_no_backend_is_chosen_by_importing():
    code = (
        "import os; os.environ['MPLBACKEND'] = 'svg'; import helpers.viewing, matplotlib;"
        "assert matplotlib.get_backend() == 'svg', matplotlib.get_backend()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_grid_is_drawn_where_its_pixels_look():
    ax = Figure().subplots()
    down, right = np.full((20, 30), 3.0), np.full((20, 30), -2.0)
    assert show_field(np.stack([down, right]), ax=ax, step=10) is ax
    (grid,) = ax.collections
    lines = grid.get_segments()
    assert [len(line) for line in lines] == [30, 30, 20, 20, 20]
    np.testing.assert_array_equal(lines[0], np.stack([np.arange(30) - 2, np.full(30, 5 + 3)], axis=-1))
    np.testing.assert_array_equal(lines[2], np.stack([np.full(20, 5 - 2), np.arange(20) + 3], axis=-1))
    assert ax.get_ylim() == (19.5, -0.5)


def test_arrows_lead_from_pixels_to_where_they_look():
    ax = Figure().subplots()
    field = np.random.default_rng(0).normal(size=(2, 20, 30))
    show_field(field, "arrows", ax, step=5)
    (arrows,) = ax.collections
    row, column = arrows.Y.astype(int), arrows.X.astype(int)
    np.testing.assert_array_equal(arrows.U, field[1, row, column])
    np.testing.assert_array_equal(arrows.V, field[0, row, column])
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1)


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((3, 8, 8, 8), {}, "choose a plane"),
        ((8, 8), {}, "choose a plane"),
        ((2, 8, 8), {"drawn": "lines"}, "'grid' or 'arrows'"),
        ((2, 8, 8), {"step": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_drawn_as_a_field_is_named(shape, options, says):
    with pytest.raises(ValueError, match=says):
        show_field(np.zeros(shape), **options)

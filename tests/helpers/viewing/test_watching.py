"""The monitor while a registration runs: its picture, its nodes and its curve; and how large pages become."""

import itertools
import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from phantoms import straight, tilted

from helpers import RegistrationMonitor, SliceViewer, compare
from helpers.registration import demons
from helpers.viewing import monitor as module
from helpers.viewing.scene import pack_layers
from helpers.viewing.slices import auto_window, to_levels

CODES = ["RAS", "LPI", "PSL", "SAR"]
PAGE = 2_500_000


@pytest.fixture(autouse=True)
def time_for_each_picture(monkeypatch):
    hours = itertools.count()
    monkeypatch.setattr(module, "perf_counter", lambda: 3600 * next(hours))
    monkeypatch.setattr(module, "_SHARE", 2)
    monkeypatch.setattr(module, "_WATCHED", 0)


def noise(grid, seed=0):
    """Return an image of other values on the grid of an image, of which some are far from the rest."""
    values = np.exp(np.random.default_rng(seed).normal(size=grid.shape)).astype(np.float32)
    return nib.Nifti1Image(values, grid.affine)


def state_of(grid, level=1, iteration=7):
    """Return a state whose image and lattice have fewer voxels and nodes than the grid, all values apart."""
    rng = np.random.default_rng(level)
    shape, nodes = (tuple(-(-n // step) for n in grid.shape) for step in (2, 3))
    fixed, warped = rng.normal(size=(2, *shape)).astype(np.float32)
    displacement, update = rng.normal(0, 0.4, (2, 3, *nodes)).astype(np.float32)
    return SimpleNamespace(
        level=level, levels=3, iteration=iteration, msd=0.5, fixed=fixed, warped=warped,
        lattice_displacement=displacement, lattice_update=update / 10,
    )  # fmt: skip


def seen(data, grid, plane, index, radiological):
    """Return a plane, top row first, of an array over a grid, found by way of its copy in RAS order.

    The array may have more or fewer voxels than the grid over the same field of view.
    """
    nearest = (np.array(index) + 0.5) * data.shape[:3] / grid.shape
    across = np.zeros(data.shape[:3])
    across[tuple(nearest.astype(int))] = 1
    turn = nib.io_orientation(grid.affine)
    i, j, k = np.argwhere(nib.apply_orientation(across, turn))[0]
    data = nib.apply_orientation(data, turn)
    cut = {"axial": data[:, :, k], "coronal": data[:, j], "sagittal": data[i]}[plane].swapaxes(0, 1)[::-1]
    return cut[:, ::-1] if radiological and plane != "sagittal" else cut


def shares_of(field, codes):
    """Return where the nodes of a lattice look, in shares of the field of view from left, back and foot.

    From (3, *nodes), in steps of the lattice, to (*nodes, 3).
    """
    grid = straight(codes)
    size, nodes = np.array(grid.shape), np.array(field.shape[1:])
    at = np.moveaxis(np.indices(nodes) + field, 0, -1) + 0.5
    mm = nib.affines.apply_affine(grid.affine, at * size / nodes - 0.5)
    corners = nib.affines.apply_affine(grid.affine, np.array([size * 0, size]) - 0.5)
    return (mm - corners.min(axis=0)) / np.ptp(corners, axis=0)


def drawn_of(plane):
    return np.frombuffer(plane["grey"], np.uint8).reshape(plane["rows"], plane["columns"])


def nodes_of(plane, name):
    """Return (x, y) of the nodes as they are drawn and at rest, (rows, columns, 2) each."""
    nodes = plane[name]
    at = np.frombuffer(nodes["at"], "<f4").reshape(len(nodes["y"]), len(nodes["x"]), 2)
    return at, np.stack(np.meshgrid(nodes["x"], nodes["y"]), axis=-1)


def check_picture(monitor, grid, state, radiological):
    """Assert that the frame shows the image as warped so far, in the greys of the fixed image."""
    values = monitor._volume.data
    window = (np.array(auto_window(values)) - values.mean()) / values.std()
    for name, plane in zip(monitor._planes, monitor._frame["planes"], strict=True):
        cut = seen(state.warped, grid, name, monitor.index, radiological)
        expected = np.maximum(to_levels(cut.astype(float), *window), 1)
        np.testing.assert_allclose(drawn_of(plane), expected, atol=1)


def check_nodes(monitor, codes, state, radiological):
    """Assert that the frame's nodes are where they look, of the update ten times as far from rest."""
    fields = {"displacement": state.lattice_displacement, "update": 10 * state.lattice_update}
    for name, plane in zip(monitor._planes, monitor._frame["planes"], strict=True):
        along, up = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[name]
        for which, field in fields.items():
            for found, steps in zip(nodes_of(plane, which), (field, 0 * field), strict=True):
                shares = seen(shares_of(steps, codes), straight(codes), name, monitor.index, radiological)
                x, y = shares[..., along], shares[..., up]
                x = 1 - x if radiological and name != "sagittal" else x
                np.testing.assert_allclose(found, np.stack([x, 1 - y], axis=-1), atol=1e-5)


@pytest.mark.parametrize("radiological", [False, True])
@pytest.mark.parametrize("degrees", [0, 20])
@pytest.mark.parametrize("codes", CODES)
def test_each_state_is_drawn_the_right_way_round(codes, degrees, radiological):
    fixed = noise(tilted(codes, degrees))
    monitor = RegistrationMonitor(fixed, noise(fixed, 1), radiological=radiological)
    monitor.index = tuple(n - 1 for n in fixed.shape)
    for level in (0, 1, 2):
        state = state_of(fixed, level)
        monitor(state)
        assert (monitor._frame["level"], monitor._frame["iteration"]) == (level, 7)
        check_picture(monitor, fixed, state, radiological)
        check_nodes(monitor, codes, state, radiological)


@pytest.mark.parametrize("j", [0, 1, 2, 3, 4, 6, 7, 8, 9, 10])  # 5 lies between two slices of six
def test_the_slice_is_the_nearest_one_of_the_level(j):
    fixed = noise(straight())
    monitor, state = RegistrationMonitor(fixed, fixed, plane="coronal"), state_of(fixed)
    monitor.index = 4, j, 3
    monitor(state)
    check_picture(monitor, fixed, state, False)
    check_nodes(monitor, "RAS", state, False)


def test_the_curve_has_the_rows_of_the_run():
    """Drawn in each iteration here, so that none is missing while it runs."""
    rng = np.random.default_rng(0)
    fixed, moving = rng.normal(size=(2, 40, 36))
    monitor, rows = RegistrationMonitor(fixed, moving), []

    def watch(state):
        rows.append([state.level, state.iteration, state.msd])
        monitor(state)
        assert monitor._history == rows
        assert [monitor._frame["level"], monitor._frame["iteration"]] == rows[-1][:2]

    result = demons(fixed, moving, levels=2, iterations=4, callback=watch)
    assert [row[:2] for row in rows] == [[level, n] for level in (0, 1) for n in range(5)]
    monitor.show(result)
    assert monitor._history == rows
    np.testing.assert_array_equal(
        rows, [[row["level"], row["iteration"], row["msd"]] for row in result.history]
    )


def pair(shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, *shape)).astype(np.float32)


def watched(shape):
    fixed, moving = pair(shape)
    displacement = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    return RegistrationMonitor(fixed, moving).show(
        SimpleNamespace(warped=moving[::-1], displacement=displacement, history=[])
    )


def labelled(shape):
    """Return a viewer of noise under labels of 16 voxels, each a whole number of many digits."""
    labels = np.arange(np.prod(shape)).reshape(shape) // 16 * 137438953472.0
    return SliceViewer(pair(shape)[0], labels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: compare(*pair((120, 110, 100))),
        lambda: compare(*pair((120, 110, 100)), mode="difference"),
        lambda: watched((90, 100, 80)),
        lambda: labelled((100, 100, 104)),
    ],
    ids=["side by side", "difference", "monitor", "labels"],
)
def test_pages_of_several_images_are_no_larger_than_any(make):
    page = make().to_html()
    assert 600_000 < len(page.encode()) <= PAGE
    assert re.search(r'"note": "To load quickly, [^"]* drawn', page)


def test_what_is_compared_is_made_coarser_alike():
    layers = pack_layers(compare(*pair((120, 110, 100)))._layers(), 1_000_000)["layers"]
    assert layers[0]["step"] == layers[1]["step"] > 1

"""The simulated breathing frames: like their original, and true to the motion that they claim."""

import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage as ndi

from data_fetchers.simulate import breathing_mr
from data_fetchers.simulate.breathing_mr import LABELS

GRID = np.indices((128, 128), dtype=float)
PAIRS = [(i, j) for i in range(3) for j in range(3) if i != j]
WALL, INSIDE = 1, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("breathing")
    breathing_mr.make(folder)
    return folder


@pytest.fixture(scope="module")
def frames(folder):
    return np.stack([iio.imread(folder / f"cine_MR_{k}.png") for k in (1, 2, 3)])


@pytest.fixture(scope="module")
def truth(folder):
    return breathing_mr.load_truth(folder)


def jacobian(displacement):
    (rr, rc), (cr, cc) = (np.gradient(part) for part in displacement)
    return (1 + rr) * (1 + cc) - rc * cr


# Files


def test_two_processes_make_the_same_bytes(folder, tmp_path):
    code = "import sys; from data_fetchers.simulate import breathing_mr; breathing_mr.make(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cine_MR_1.png", "cine_MR_2.png", "cine_MR_3.png", "truth.npz"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_images_are_organised_as_the_original(frames, folder):
    assert frames.shape == (3, 128, 128) and frames.dtype == np.uint8
    assert iio.improps(folder / "cine_MR_1.png").shape == (128, 128)  # grey, no palette, no colours


def test_truth_is_complete(truth):
    assert truth["displacement"].shape == (3, 3, 2, 128, 128) and truth["displacement"].dtype == np.float32
    assert truth["valid"].shape == (3, 3, 128, 128) and truth["valid"].dtype == bool
    for name in ("labels", "side", "border"):
        assert truth[name].shape == (3, 128, 128), name
    assert truth["label_names"][LABELS["liver"]] == "liver"
    assert set(np.unique(truth["labels"][0])) == set(truth["label_names"])
    assert truth["phase"][0] == 0 and truth["phase"][2] == 1
    assert (truth["displacement"][np.arange(3), np.arange(3)] == 0).all()


# Likeness: the figures are those of the published frames, with some room


def test_grey_values(frames):
    for frame in frames:
        levels = np.unique(frame)
        assert 55 <= len(levels) <= 66 and levels[-1] == 255  # 61, 64, 58; 247, 255, 243
        assert (frame[0] == 0).all()
        # 4, 13–17, 51–75, 134–123, 142–138, 184–179
        middle = np.percentile(frame, [25, 50, 75, 90, 95, 99])
        np.testing.assert_array_less(middle, [6, 19, 80, 140, 148, 200])
        np.testing.assert_array_less([3, 10, 45, 115, 130, 175], middle)


def test_noise(frames):
    air = frames[:, 50:120, 110:126].astype(float)
    assert air.mean() == pytest.approx(5.27, abs=0.4) and air.std() == pytest.approx(4.02, abs=0.4)
    air -= air.mean()
    beside, below = (air[..., 1:] * air[..., :-1]).mean(), (air[:, 1:] * air[:, :-1]).mean()
    assert 0.12 < beside / air.var() < 0.35  # 0.27: no high frequencies along the columns
    assert abs(below / air.var()) < 0.1


def test_edges_are_as_sharp(frames):
    steps = np.hypot(*np.gradient(frames.astype(float), axis=(1, 2)))
    found = [np.percentile(steps, q) for q in (50, 75, 90, 95, 99)]
    np.testing.assert_allclose(found, [6.4, 12.1, 25.4, 38.3, 65.1], rtol=0.17)


def test_tissues(frames, truth):
    def mean(name):
        where = ndi.binary_erosion(truth["labels"][0] == LABELS[name])
        # Far from the coil all is dark; the lung lies higher than the rest.
        return frames[0][where & (GRID[0] > (40 if name == "lung" else 90))].mean()

    assert mean("fat") > mean("liver") > mean("kidney") > mean("gallbladder") > mean("lung")
    assert 118 < mean("liver") < 140
    assert mean("lung") < 20


# Motion


def test_frames_lead_to_each_other_and_back():
    for phase in breathing_mr.PHASE:
        reference, inside = breathing_mr._to_reference(GRID, phase)
        back = breathing_mr._from_reference(reference, inside, phase)
        np.testing.assert_allclose(back, GRID, atol=1e-6)


@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_truth_explains_the_image(frames, truth, i, j):
    valid = truth["valid"][i, j]
    warped = ndi.map_coordinates(frames[j].astype(float), GRID + truth["displacement"][i, j], order=1)
    before, after = ((image - frames[i])[valid].std() for image in (frames[j].astype(float), warped))
    assert after < 10 < 20 < before  # noise of two images alone: up to 8


@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_truth_carries_the_labels(truth, i, j):
    valid = truth["valid"][i, j] & (truth["labels"][i] > 0)
    at = np.rint(GRID + truth["displacement"][i, j]).astype(int)
    carried = truth["labels"][j][tuple(np.clip(at, 0, 127))]
    for name in ("liver", "lung"):
        a, b = (labels[valid] == LABELS[name] for labels in (carried, truth["labels"][i]))
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.98


@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_pairs_are_inverse_to_each_other(truth, i, j):
    there, back = truth["displacement"][i, j], truth["displacement"][j, i]
    at = GRID + there
    end = there + np.stack([ndi.map_coordinates(part, at, order=1) for part in back])
    # Where the four neighbours of the target lie on one side of the border, so that interpolation is fair
    target = np.clip(np.rint(at).astype(int), 0, 127)
    clear = truth["valid"][i, j] & (truth["border"][i] == 0) & (truth["border"][j][tuple(target)] == 0)
    assert clear.sum() > 5000
    error = np.linalg.norm(end, axis=0)[clear]
    assert error.max() < 0.05 and error.mean() < 0.003


@pytest.mark.parametrize(("i", "j", "k"), [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_pairs_compose(truth, i, j, k):
    first, second = truth["displacement"][i, j], truth["displacement"][j, k]
    at = GRID + first
    through = first + np.stack([ndi.map_coordinates(part, at, order=1) for part in second])
    target = np.clip(np.rint(at).astype(int), 0, 127)
    clear = truth["valid"][i, j] & truth["valid"][i, k]
    clear &= (truth["border"][i] == 0) & (truth["border"][j][tuple(target)] == 0)
    error = np.linalg.norm(through - truth["displacement"][i, k], axis=0)[clear]
    assert error.max() < 0.05


def test_diaphragm_goes_down_as_in_a_deep_breath(truth):
    valid = truth["valid"][0, 2] & (truth["labels"][0] == LABELS["liver"])
    down = truth["displacement"][0, 2, 0][valid] * truth["pixel_mm"]
    assert down.min() > 35 and down.max() < 60
    half = truth["displacement"][0, 1, 0][valid] * truth["pixel_mm"]
    np.testing.assert_array_less(half, down)


def test_inside_slides_along_the_wall(truth):
    """At the liver's edge the motion along the wall jumps; across it, and within the wall, it does not."""
    u = truth["displacement"][0, 2]
    side, labels = truth["side"][0], truth["labels"][0]
    jumps, across = [], []
    for row in range(104, 124):
        for edge in np.nonzero(np.abs(np.diff(side[row].astype(int))) == 1)[0]:
            if {side[row, edge], side[row, edge + 1]} != {WALL, INSIDE}:
                continue
            if LABELS["liver"] not in labels[row, edge : edge + 2]:
                continue
            organ, wall = (edge, edge + 1) if side[row, edge] == INSIDE else (edge + 1, edge)
            jump = u[:, row, organ] - u[:, row, wall]
            # Deep inspiration takes the inside along the border so far that its bend counts.
            border = breathing_mr.INNER_FRONT if edge < 60 else breathing_mr.INNER_BACK
            gone = border(row + u[0, row, organ]) - border(row + u[0, row, wall])
            jumps.append(abs(jump[0]))
            across.append(abs(jump[1] - gone))
    assert len(jumps) >= 16
    assert min(jumps) > 3  # pixels; it is about five times as much
    assert max(across) < 0.2
    wall = ndi.binary_erosion(side == WALL, iterations=1)
    for part in u:
        for axis in (0, 1):
            both = wall & np.roll(wall, -1, axis)
            assert np.abs(np.roll(part, -1, axis) - part)[both].max() < 0.2


def test_wall_moves_little_and_forward(truth):
    u = truth["displacement"][0, 2]
    wall = truth["side"][0] == WALL
    assert 2.5 < -u[1][wall].min() < 4  # pixels, to the front
    assert u[1][wall].max() < 1e-6
    back = wall & (GRID[1] > 95)
    assert np.abs(u[:, back]).max() < 0.1


@pytest.mark.parametrize(("i", "j"), PAIRS)
def test_no_fold_on_either_side(truth, i, j):
    area = jacobian(truth["displacement"][i, j])
    clear = truth["valid"][i, j] & ~ndi.binary_dilation(truth["border"][i] > 0)
    assert area[clear].min() > 0.5
    lung = clear & (truth["labels"][i] == LABELS["lung"])
    wall = clear & (truth["side"][i] == WALL)
    assert (area[lung].mean() > 1.1) == (j > i)  # the frames go from expiration to inspiration
    np.testing.assert_allclose(area[wall], 1, atol=0.06)


def test_lung_is_as_light_as_it_is_large():
    """The signal of a piece of lung is the same before and after it has expanded."""
    scene = breathing_mr._reference()
    n = scene["wall"].shape[0]
    ticks = (np.arange(n) - 1.5) / 4 - breathing_mr.MARGIN
    points = np.stack(np.meshgrid(ticks, ticks, indexing="ij"))
    reference, inside = breathing_mr._to_reference(points, 1.0)
    expansion = breathing_mr._expansion(reference, points)
    index = (reference + breathing_mr.MARGIN) * 4 + 1.5
    seen = ndi.map_coordinates(scene["air"], index, order=1) * inside / expansion
    at_rest = scene["air"] * breathing_mr._inside(points)
    shown = (points[0] > -5) & (points[0] < 125)  # in deep inspiration all of the lung is still in the scene
    assert seen[shown].sum() == pytest.approx(at_rest[shown].sum(), rel=0.02)


def test_valid_is_what_both_frames_show(truth):
    for i, j in PAIRS:
        at = GRID + truth["displacement"][i, j]
        valid = truth["valid"][i, j]
        assert (at[:, valid] >= 0).all() and (at[:, valid] <= 127).all()
        assert not valid[truth["labels"][i] == 0].any() and not valid[0].any()
    liver = truth["labels"][0] == LABELS["liver"]
    assert (truth["valid"][0, 2] & liver).sum() < 0.8 * liver.sum()  # part of it leaves the image

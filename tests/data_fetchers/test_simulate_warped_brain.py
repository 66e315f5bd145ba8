"""The warped brains: the truth leads exactly from the fixed image to the moving one."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from data_fetchers import cache
from data_fetchers.dataset import record
from data_fetchers.simulate import warped_brain
from data_fetchers.simulate.warped_brain import random_diffeomorphism

KINDS = {"slice": "2d", "volume": "3d"}


@pytest.fixture(scope="module")
def templates():
    return [str(path) for path in cache.shipped(record("epi", "bundled")["inputs"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, templates):
    folder = tmp_path_factory.mktemp("warped")
    warped_brain.make(folder, *templates)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory, templates):
    """The same without noise."""
    folder = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warped_brain, "NOISE", 0.0)
        warped_brain.make(folder, *templates)
    return folder


@pytest.fixture(scope="module")
def truth(folder):
    return warped_brain.load_truth(folder)


def load(folder, name):
    return nib.load(folder / f"{name}.nii.gz").get_fdata()


def sample(image, displacement, order=1):
    return ndi.map_coordinates(image, np.indices(image.shape) + displacement, order=order)


def jacobian(displacement):
    ndim = len(displacement)
    slopes = np.stack([np.stack(np.gradient(part)) for part in displacement])
    return np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(ndim))


def test_two_processes_make_the_same_bytes(folder, templates, tmp_path):
    code = "import sys; from data_fetchers.simulate import warped_brain; warped_brain.make(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *templates], check=True)
    kinds = [f"{kind}_{which}" for kind in KINDS for which in ("fixed", "moving")]
    names = sorted(f"{kind}{end}.nii.gz" for kind in kinds for end in ("", "_labels"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "truth.npz"])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("kind", "shape", "mm"), [("slice", (256, 256), 1), ("volume", (99, 117, 95), 2)])
def test_files(folder, truth, kind, shape, mm):
    for which in ("fixed", "moving"):
        img = nib.load(folder / f"{kind}_{which}.nii.gz")
        labels = nib.load(folder / f"{kind}_{which}_labels.nii.gz")
        assert img.shape == labels.shape == shape
        assert img.get_data_dtype() == labels.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(img.affine, labels.affine)
        assert nib.aff2axcodes(img.affine) == ("R", "A", "S")
        np.testing.assert_allclose(img.header.get_zooms(), mm)
        assert img.get_fdata().min() >= 0 and 0.9 < img.get_fdata().max() <= 1
        assert set(np.unique(labels.dataobj)) == set(truth["label_names"])
    assert truth[f"displacement_{KINDS[kind]}"].shape == (len(shape), *shape)
    assert truth[f"displacement_{KINDS[kind]}"].dtype == np.float32
    assert truth[f"brain_{KINDS[kind]}"].shape == shape


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_image_is_the_template_in_its_place(clean, templates, kind):
    template = nib.load(templates[0])
    img = nib.load(clean / f"{kind}_fixed.nii.gz")
    mm = nib.affines.apply_affine(
        img.affine, [[128, 120, 0], [90, 150, 0]] if kind == "slice" else [[45, 60, 50]]
    )
    for voxel, (x, y, z) in zip(nib.affines.apply_affine(np.linalg.inv(img.affine), mm), mm, strict=True):
        i, j, k = np.rint(nib.affines.apply_affine(np.linalg.inv(template.affine), [x, y, z])).astype(int)
        near = np.asarray(template.dataobj)[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] / 255
        value = img.get_fdata()[tuple(np.rint(voxel[: img.ndim]).astype(int))]
        assert near.min() - 1e-6 <= value <= near.max() + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_truth_leads_from_fixed_to_moving(clean, truth, kind):
    """Without noise the moving image, warped by the truth, is the fixed one; by its opposite it is not."""
    fixed, moving = load(clean, f"{kind}_fixed"), load(clean, f"{kind}_moving")
    u, brain = truth[f"displacement_{KINDS[kind]}"], truth[f"brain_{KINDS[kind]}"]
    deep = np.argwhere(ndi.binary_erosion(brain, iterations=3))[::7].T
    u, fixed = u[:, *deep], fixed[*deep]
    moving = ndi.spline_filter(moving)

    def error(displacement):
        seen = ndi.map_coordinates(moving, deep + displacement, prefilter=False)
        return np.sqrt(((seen - fixed) ** 2).mean())

    assert error(u) < (0.008 if kind == "slice" else 0.02)  # of interpolation and of rounding to 8 bits
    assert error(0 * u) > 5 * error(u)
    assert error(-u) > 5 * error(u)
    # The error is least at the truth itself: a shift by a twentieth of a voxel along any axis adds to it.
    for axis in range(len(u)):
        for shift in (-0.05, 0.05):
            moved = u.copy()
            moved[axis] += shift
            assert error(moved) > error(u)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_follow_the_truth(folder, truth, kind):
    fixed, moving = (
        np.asarray(nib.load(folder / f"{kind}_{w}_labels.nii.gz").dataobj) for w in ("fixed", "moving")
    )
    u = truth[f"displacement_{KINDS[kind]}"]
    carried = sample(moving, u, order=0)

    def dice(a, b, label):
        return 2 * ((a == label) & (b == label)).sum() / ((a == label).sum() + (b == label).sum())

    for label in (2, 3):
        assert dice(fixed, carried, label) > 0.9 > 0.85 > dice(fixed, moving, label)
    brain = truth[f"brain_{KINDS[kind]}"]
    np.testing.assert_array_equal(brain, fixed > 0)


@pytest.mark.parametrize(("kind", "low", "high"), [("slice", 3, 4), ("volume", 2, 3)])
def test_warp_is_large_and_does_not_fold(truth, kind, low, high):
    u = truth[f"displacement_{KINDS[kind]}"]
    assert low < np.linalg.norm(u, axis=0)[truth[f"brain_{KINDS[kind]}"]].mean() < high
    assert jacobian(u).min() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_rician(folder, clean, kind):
    noisy, quiet = load(folder, f"{kind}_fixed"), load(clean, f"{kind}_fixed")
    bright = (quiet > 0.5) & (quiet < 0.9)
    assert (noisy - quiet)[bright].std() == pytest.approx(0.02, rel=0.03)
    outside = noisy[ndi.binary_erosion(quiet == 0, iterations=4)]
    assert outside.mean() == pytest.approx(0.02 * np.sqrt(np.pi / 2), rel=0.02)
    moving = load(folder, f"{kind}_moving")
    both = ndi.binary_erosion((quiet == 0) & (load(clean, f"{kind}_moving") == 0), iterations=4)
    assert abs(np.corrcoef(noisy[both], moving[both])[0, 1]) < 0.02  # each has its own


# Random diffeomorphisms


@pytest.mark.parametrize(
    ("shape", "magnitude", "smoothness"),
    [((64, 64), 2.0, 8.0), ((97, 130), 4.0, 12.0), ((33, 41, 29), 1.5, 6.0), ((5, 7), 0.5, 3.0)],
)
@pytest.mark.parametrize("seed", [0, 1, [2, 3]])
def test_diffeomorphism(shape, magnitude, smoothness, seed):
    forth, back = random_diffeomorphism(shape, magnitude, smoothness, seed)
    assert forth.shape == back.shape == (len(shape), *shape) and forth.dtype == back.dtype == np.float32
    assert np.linalg.norm(forth, axis=0).mean() == pytest.approx(magnitude, rel=0.02)
    assert jacobian(forth).min() > 0.3 and jacobian(back).min() > 0.3
    for one, other in ((forth, back), (back, forth)):
        at = np.indices(shape) + one
        end = one + np.stack([ndi.map_coordinates(part, at, order=3, mode="nearest") for part in other])
        # Further in than the warp reaches and the spline feels the edge
        rim = (slice(None), *(slice(2, -2) if n < 20 else slice(10, -10) for n in shape))
        error = np.linalg.norm(end[rim], axis=0)
        assert error.mean() < 0.006 and np.percentile(error, 99) < 0.04


def test_diffeomorphism_of_a_seed_is_always_the_same():
    a, b, c = (random_diffeomorphism((40, 30), 2.0, 6.0, seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1


def test_mean_is_taken_within_the_mask():
    mask = np.zeros((80, 80), bool)
    mask[20:50, 30:60] = True
    forth, _ = random_diffeomorphism((80, 80), 3.0, 10.0, 4, within=mask)
    assert np.linalg.norm(forth, axis=0)[mask].mean() == pytest.approx(3, rel=0.02)


def test_warp_is_as_smooth_as_asked():
    """The standard deviation of a slope is that of the displacement over sqrt(2) times the smoothness."""
    forth, _ = random_diffeomorphism((400, 400), 0.5, 8.0, 7)
    slope = np.gradient(forth[0], axis=0).std() / forth[0].std()
    assert slope == pytest.approx(1 / (np.sqrt(2) * 8), rel=0.1)

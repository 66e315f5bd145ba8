"""The simulated EPI: the same each time, true to its truth, and an image as a scanner makes it."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from data_fetchers import cache
from data_fetchers.dataset import record
from data_fetchers.simulate import epi


@pytest.fixture(scope="module")
def folder(eight):
    (folder,) = (eight[0] / "made").glob("epi-*")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return nib.load(folder / "run.nii.gz")


@pytest.fixture(scope="module")
def data(run):
    return np.asarray(run.dataobj)


@pytest.fixture(scope="module")
def truth(folder):
    return epi.load_truth(folder)


def test_two_processes_make_the_same_bytes(folder, tmp_path):
    epi.make(tmp_path, *cache.shipped(record("epi", "bundled")["inputs"]))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["anatomy.nii.gz", "run.nii.gz", "run_5d.nii.gz", "truth.npz"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_header(run):
    assert run.shape == (56, 72, 36, 104) and run.get_data_dtype() == np.int16
    assert run.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(run.header.get_zooms(), [3, 3, 3, 2.5], rtol=1e-6)
    np.testing.assert_allclose(np.rad2deg(nib.affines.obliquity(run.affine)), [0, 17.19, 17.19], atol=0.01)
    np.testing.assert_allclose(run.get_qform(), run.get_sform(), atol=1e-4)
    assert run.header["sform_code"] == run.header["qform_code"] == 1


def test_grid_is_what_the_catalogue_says(run, folder):
    grid = record("epi", "bundled")["grid"]
    anatomy = nib.load(folder / "anatomy.nii.gz")
    assert " × ".join(map(str, run.shape[:3])) in grid and f"{run.shape[3]} volumes" in grid
    assert " × ".join(map(str, anatomy.shape)) in grid


def test_singleton_variant_holds_the_run(folder, run, data):
    img = nib.load(folder / "run_5d.nii.gz")
    assert img.shape == (56, 72, 36, 1, 104)
    np.testing.assert_array_equal(np.squeeze(img.dataobj), data)
    np.testing.assert_array_equal(img.affine, run.affine)
    assert img.header.get_zooms()[4] == 2.5


def test_contrast_is_that_of_an_epi(run, data, folder):
    first = data[..., 0]
    background = np.median(first[:4])
    anatomy = nib.load(folder / "anatomy.nii.gz")
    # White matter is bright in the anatomy and darker than grey matter in the EPI; fluid the other way round.
    points = nib.affines.apply_affine(
        np.linalg.inv(anatomy.affine) @ run.affine, np.moveaxis(np.indices(first.shape), 0, -1)
    )
    t1 = ndi.map_coordinates(anatomy.get_fdata(), np.moveaxis(points, -1, 0), order=1)
    upper = np.zeros(first.shape, bool)
    upper[14:42, 18:60, 16:30] = True  # inside the brain, away from the sinuses
    white, grey, fluid = (
        np.median(first[upper & (low < t1) & (t1 < high)])
        for low, high in ((860, 960), (600, 720), (200, 400))
    )
    assert fluid > 1.2 * grey > 1.2 * 1.1 * white
    assert background < 0.05 * white


def test_signal_is_lost_near_the_sinuses_only(data, truth):
    mean = data.mean(axis=-1)
    head = mean > 300
    lost = ndi.binary_fill_holes(ndi.binary_closing(head, iterations=4)) & (mean < 250)
    assert lost[:, :, :12].sum() > 10 * lost[:, :, 18:].sum() + 300
    assert np.abs(truth["shift_vox"][head]).max() > 3
    assert np.median(np.abs(truth["shift_vox"][head])) < 0.5


def test_drift_is_in_the_data(data, truth):
    brain = data.mean(axis=-1) > 500
    course = data[brain].mean(axis=0)
    percent = 100 * (course / course[0] - 1)
    assert np.corrcoef(percent, truth["drift"])[0, 1] > 0.99
    assert 1 < np.ptp(percent) < 4


def test_response_is_where_and_when_the_truth_says(run, data, truth):
    where = truth["response_map"] > 1.5
    course = data[where].mean(axis=0)
    model = np.stack([truth["response"], truth["drift"], np.ones(104)], axis=1)
    (size, _, level), *_ = np.linalg.lstsq(model, course)
    expected = (truth["response_map"] * data[..., 0])[where].sum() / data[..., 0][where].sum()
    assert 100 * size / level == pytest.approx(expected, rel=0.2)
    for side in truth["motor_mm"]:
        i, j, k = np.rint(nib.affines.apply_affine(np.linalg.inv(run.affine), side)).astype(int)
        assert truth["response_map"][i - 4 : i + 5, j - 4 : j + 5, k - 4 : k + 5].max() > 1.5
    assert truth["motor_mm"][0, 0] < 0 < truth["motor_mm"][1, 0]  # left first


def test_motion_is_what_the_truth_says(run, data, truth):
    assert 0.3 < np.abs(truth["motion"][:, :3]).max() < 1.5  # below the size of a voxel
    t = np.linalg.norm(truth["motion"], axis=1).argmax()
    index = np.linalg.inv(run.affine) @ truth["motion_affines"][t] @ run.affine
    brain = ndi.binary_erosion(data.mean(axis=-1) > 500, iterations=2)
    level = data[..., 0][brain].mean() / data[..., t][brain].mean()
    back = ndi.affine_transform(data[..., t].astype(float), index[:3, :3], index[:3, 3], order=3)
    moved, still = (np.abs(level * image - data[..., 0])[brain].mean() for image in (data[..., t], back))
    assert still < 0.75 * moved


def test_noise_is_rician(data):
    corner = data[:3, :3, -3:].astype(float).ravel()
    assert corner.mean() / corner.std() == pytest.approx(1.91, abs=0.15)  # of a Rayleigh distribution


def test_anatomy_lies_on_the_run(run, data, folder):
    anatomy = nib.load(folder / "anatomy.nii.gz")
    assert anatomy.shape == (88, 110, 92) and anatomy.get_data_dtype() == np.int16
    points = nib.affines.apply_affine(
        np.linalg.inv(anatomy.affine) @ run.affine, np.moveaxis(np.indices(data.shape[:3]), 0, -1)
    )
    t1 = ndi.map_coordinates(anatomy.get_fdata(), np.moveaxis(points, -1, 0), order=1)
    upper = slice(16, None)
    a = ndi.binary_opening(ndi.binary_fill_holes(t1[..., upper] > 450), iterations=4)
    b = ndi.binary_opening(data[..., upper, 0] > 450, iterations=4)
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.9

"""The simulated cohort: the same each time, true to its truth, changed by age and disease."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi

from data_fetchers import cache
from data_fetchers.dataset import record
from data_fetchers.simulate import oasis_subjects

N = 24
CSF, GM, WM, SHELL = 1, 2, 3, 4
TEMPLATES = [str(path) for path in cache.shipped(record("epi", "bundled")["inputs"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oasis_subjects")
    oasis_subjects.make(folder, *TEMPLATES, n_subjects=N)
    return folder


@pytest.fixture(scope="module")
def people(folder):
    return pd.read_csv(folder / "participants.tsv", sep="\t")


@pytest.fixture(scope="module")
def truth(folder):
    return pd.DataFrame(oasis_subjects.load_truth(folder))


@pytest.fixture(scope="module")
def images(folder, people):
    """Return the images by kind, one of each per subject."""
    return {
        kind: [nib.load(folder / name / f"{name}_{kind}.nii.gz") for name in people["participant_id"]]
        for kind in ("T1w", "dseg", "space-MNI_GM")
    }


@pytest.fixture(scope="module")
def measured(images, people):
    """Return the table that a learner gets by counting voxels."""
    counts = [np.bincount(np.asarray(img.dataobj).ravel(), minlength=5) for img in images["dseg"]]
    csf, gm, wm = np.array(counts).T[[CSF, GM, WM]] * 0.027
    return people.assign(
        brain_vol=gm + wm,
        skull_vol=csf + gm + wm,
        gray_matter_vol=gm,
        white_matter_vol=wm,
        csf_vol=csf,
        ratio=(gm + wm) / (csf + gm + wm),
    )


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def twins(folder, monkeypatch, person):
    """Return the truth of the first six subjects, their age, sex and disease replaced by ``person``."""
    folder.mkdir()
    monkeypatch.setattr(oasis_subjects, "_person", lambda number: person)
    oasis_subjects.make(folder, *TEMPLATES, n_subjects=6)
    return pd.DataFrame(oasis_subjects.load_truth(folder))


def test_another_process_makes_the_same_start_of_the_cohort(folder, people, tmp_path, start_python):
    small = tmp_path / "small"
    small.mkdir()
    code = f"from data_fetchers.simulate.oasis_subjects import make; make({str(small)!r}, *{TEMPLATES}, 3)"
    assert start_python(code, tmp_path / "cache").wait(60) == 0
    made, first = files(small), files(folder)
    assert len(made) == 3 * 3 + 3
    for path, content in made.items():
        if path.name.startswith("sub-"):
            assert content == first[path], path
    pd.testing.assert_frame_equal(pd.read_csv(small / "participants.tsv", sep="\t"), people[:3])
    few, many = oasis_subjects.load_truth(small), oasis_subjects.load_truth(folder)
    assert few == {name: column[:3] for name, column in many.items()}


def test_files_are_small(folder):
    assert sum(map(len, files(folder).values())) < N * 0.35e6


def test_people_are_those_of_the_table():
    people = [oasis_subjects._person(number) for number in range(1, 417)]
    age, sex, alzheimers = map(np.array, zip(*people, strict=True))
    assert alzheimers.mean() == pytest.approx(93 / 425, abs=0.01)
    assert (sex[alzheimers] == "F").mean() == pytest.approx(54 / 93, abs=0.03)
    assert (sex[~alzheimers] == "F").mean() == pytest.approx(208 / 332, abs=0.03)
    assert age[alzheimers].min() >= 62 and age[alzheimers].max() <= 96
    assert 18 <= age[~alzheimers].min() < 20 and 88 < age[~alzheimers].max() <= 94
    assert age[alzheimers].mean() == pytest.approx(76.7, abs=1)
    assert age[~alzheimers].mean() == pytest.approx(43.7, abs=1.5)
    first = alzheimers[:100]
    assert 20 <= first.sum() <= 24


def test_participants_say_nothing_measured(people):
    assert people.columns.tolist() == ["participant_id", "age", "sex", "alzheimers"]
    assert people["participant_id"].tolist() == [f"sub-{number:04d}" for number in range(1, N + 1)]
    assert people["alzheimers"].dtype == bool and set(people["sex"]) == {"F", "M"}


def test_headers(images):
    for img in images["T1w"] + images["dseg"]:
        assert img.shape == oasis_subjects.SHAPE and img.get_data_dtype() == np.uint8
        np.testing.assert_allclose(img.header.get_zooms(), 3, rtol=1e-6)
        assert img.header["sform_code"] == img.header["qform_code"] == 1
    for img in images["space-MNI_GM"]:
        np.testing.assert_allclose(img.header.get_zooms(), 4, rtol=1e-6)
        assert img.header["sform_code"] == img.header["qform_code"] == 4
    for img in sum(images.values(), []):
        assert img.header.get_xyzt_units()[0] == "mm"
        assert nib.aff2axcodes(img.affine) == tuple("RAS")
        np.testing.assert_allclose(img.get_qform(), img.get_sform(), atol=1e-3)
        assert b"simulated" in bytes(img.header["descrip"])


def test_each_head_lies_in_a_space_of_its_own(images):
    affines = np.array([img.affine for img in images["T1w"]])
    assert len(np.unique(affines.round(3), axis=0)) == N
    tilt = np.rad2deg(nib.affines.obliquity(affines[0]))
    assert (tilt < 15).all() and tilt.max() > 0.5
    for t1, dseg in zip(images["T1w"], images["dseg"], strict=True):
        np.testing.assert_array_equal(t1.affine, dseg.affine)


def test_labels_have_names(folder):
    names = pd.read_csv(folder / "dseg.tsv", sep="\t").set_index("index")["name"]
    assert names.tolist() == ["background", "csf", "gm", "wm", "skull and scalp"]


def test_heads_are_whole(images):
    for img in images["dseg"]:
        labels = np.asarray(img.dataobj)
        assert set(np.unique(labels)) == {0, CSF, GM, WM, SHELL}
        assert not labels[[0, -1]].any() and not labels[:, [0, -1]].any() and not labels[:, :, -1].any()
        inside = (labels >= CSF) & (labels <= WM)
        around = ndi.binary_dilation(inside) & ~inside
        assert (labels[around] == SHELL).all()
        assert ndi.label(inside)[1] == 1


def test_volumes_of_labels_are_the_truth(measured, truth):
    for name, tolerance in (
        ("skull_vol", 0.01),
        ("brain_vol", 0.06),
        ("white_matter_vol", 0.05),
        ("gray_matter_vol", 0.11),
        ("csf_vol", 0.12),
    ):
        ratio = measured[name] / truth[name]
        assert (ratio - 1).abs().max() < tolerance, name
        assert ratio.mean() == pytest.approx(1, abs=0.03), name
        assert np.corrcoef(measured[name], truth[name])[0, 1] > 0.97, name


def test_volumes_are_those_of_people(measured, truth):
    assert measured["brain_vol"].between(600, 1450).all() and measured["skull_vol"].between(1050, 2050).all()
    assert measured["ratio"].mean() == pytest.approx(0.67, abs=0.03)
    assert truth["ventricles_vol"].between(5, 110).all()
    assert (truth["brain_vol"] + truth["csf_vol"]).to_numpy() == pytest.approx(truth["skull_vol"], abs=0.01)


def test_grey_matter_map_holds_the_volume(images, truth):
    for img, gray in zip(images["space-MNI_GM"], truth["gray_matter_vol"], strict=True):
        assert img.get_fdata().sum() * 0.064 == pytest.approx(gray, rel=0.01)


def test_grey_matter_maps_lie_on_the_template(images):
    mean = np.mean([img.get_fdata() for img in images["space-MNI_GM"]], axis=0)
    img = nib.load(TEMPLATES[1])
    template = ndi.gaussian_filter(np.asarray(img.dataobj, float), 1.2)
    to_template = np.linalg.inv(img.affine) @ images["space-MNI_GM"][0].affine
    there = ndi.affine_transform(template, to_template[:3, :3], to_template[:3, 3], mean.shape, order=1)
    assert np.corrcoef(mean.ravel(), there.ravel())[0, 1] > 0.93


def test_contrast_and_noise_are_those_of_t1(images):
    for t1, dseg in zip(images["T1w"], images["dseg"], strict=True):
        data, labels = np.asarray(t1.dataobj, float), np.asarray(dseg.dataobj)
        csf, gm, wm, _ = (np.median(data[labels == label]) for label in (CSF, GM, WM, SHELL))
        assert wm > 1.25 * gm > 1.25 * 1.6 * csf
        air = data[~ndi.binary_dilation(labels > 0, iterations=3)]
        assert air.mean() / air.std() == pytest.approx(1.91, abs=0.15)  # of a Rayleigh distribution
        assert data.max() <= 255 and (data == 255).mean() < 1e-3


def test_effects_in_the_measured_table(measured):
    healthy, patients = measured[~measured["alzheimers"]], measured[measured["alzheimers"]]
    assert healthy["ratio"].corr(healthy["age"]) < -0.5
    design = np.stack([np.ones(len(healthy)), healthy["skull_vol"], healthy["age"]], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, healthy["brain_vol"])
    assert coefficients[2] < -1  # ml per year, at equal size of the head
    assert patients["ratio"].mean() < healthy["ratio"].mean() - 0.04
    men, women = (measured.loc[measured["sex"] == sex, "skull_vol"] for sex in "MF")
    assert 1.0 < men.mean() / women.mean() < 1.35


def test_what_age_and_disease_do_to_the_same_people(tmp_path, monkeypatch):
    young = twins(tmp_path / "young", monkeypatch, (22, "F", False))
    old = twins(tmp_path / "old", monkeypatch, (75, "F", False))
    ill = twins(tmp_path / "ill", monkeypatch, (75, "F", True))
    young, old, ill = (table.drop(columns="participant_id") for table in (young, old, ill))
    aged, sick = old / young, ill / old
    for change in (aged, sick):
        assert change["skull_vol"].to_numpy() == pytest.approx(1, abs=0.005)
        assert (change[["gray_matter_vol", "white_matter_vol", "hippocampi_vol"]] < 1).all(axis=None)
        assert (change[["csf_vol", "ventricles_vol"]] > 1).all(axis=None)
    assert aged["brain_vol"].mean() == pytest.approx(0.87, abs=0.03)
    assert sick["brain_vol"].mean() == pytest.approx(0.94, abs=0.02)
    # Disease takes more of the hippocampus than of the rest.
    assert (sick["hippocampi_vol"] < sick["gray_matter_vol"] - 0.1).all()
    maps = [
        np.mean([nib.load(path).get_fdata() for path in (tmp_path / name).rglob("*_GM.nii.gz")], axis=0)
        for name in ("ill", "old")
    ]
    affine = nib.load(next(tmp_path.rglob("*_GM.nii.gz"))).affine
    loss = ndi.gaussian_filter(maps[1] - maps[0], 1.0)
    x, y, z = nib.affines.apply_affine(affine, np.unravel_index(loss.argmax(), loss.shape))
    assert 15 < abs(x) < 40 and -45 < y < 5 and -30 < z < 0


def test_men_have_larger_heads(tmp_path, monkeypatch):
    women = twins(tmp_path / "women", monkeypatch, (50, "F", False))
    men = twins(tmp_path / "men", monkeypatch, (50, "M", False))
    assert (men["skull_vol"] / women["skull_vol"]).to_numpy() == pytest.approx(1.13, abs=0.02)

"""What the fetch functions return, from either source."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import data_fetchers
from data_fetchers import dataset, fetch_brain_t1, fetch_chest_ct, fetch_epi, fetch_motor_map

GIVEN_DATA = os.environ.get("SLICEWISE_DATA")
PACKAGE = Path(data_fetchers.__file__).parent


def test_brain_t1_is_nilearns_template():
    from nilearn import datasets

    d = fetch_brain_t1()
    assert not d.image.in_memory
    assert list(d.images) == ["t1", "gm", "wm", "mask"] and len(d.paths) == 3
    assert d.image.shape == (197, 233, 189) and nib.aff2axcodes(d.image.affine) == ("R", "A", "S")
    assert d.image.header.get_xyzt_units()[0] == "unknown"  # as the grid's text says
    np.testing.assert_array_equal(
        d.images["mask"].dataobj, datasets.load_mni152_brain_mask(resolution=1).dataobj
    )
    data = np.asarray(d.image.dataobj)
    np.testing.assert_array_equal(data, data[::-1])  # as the description says


def test_motor_map_lies_in_the_motor_cortex():
    img = fetch_motor_map().image
    data = img.get_fdata()
    assert img.shape == (53, 63, 46) and nib.aff2axcodes(img.affine) == ("L", "A", "S")
    x, y, z = nib.affines.apply_affine(img.affine, np.moveaxis(np.indices(data.shape), 0, -1)).transpose(
        3, 0, 1, 2
    )
    right, left = (abs(x - side * 38) + abs(y + 24) + abs(z - 56) < 20 for side in (1, -1))
    assert data[right].mean() > 4 and data[left].mean() < -4  # left hand minus right hand


def test_epi_bundled(made):
    d = fetch_epi()
    assert d.source == "bundled" and all(path.is_file() for path in d.paths)
    assert d.image.shape == (56, 72, 36, 104) and d.images["singleton"].shape == (56, 72, 36, 1, 104)
    assert d.image is d.images["run"] and d.anatomy is d.images["anatomy"]
    assert not d.image.in_memory
    assert {"drift", "response", "response_map", "motion"} <= set(d.truth)


def test_chest_ct_bundled():
    d = fetch_chest_ct()
    series = [pydicom.dcmread(path, stop_before_pixels=True) for path in d.paths]
    heights = [float(ds.ImagePositionPatient[2]) for ds in series]
    assert heights not in (sorted(heights), sorted(heights)[::-1])
    steps = np.diff(sorted(heights))
    np.testing.assert_allclose(np.sort(steps / steps.min()), [1] * 9 + [2], atol=1e-6)  # one slice is missing
    assert d.image is None and d.truth


if GIVEN_DATA and (Path(GIVEN_DATA) / "chest_ct").is_dir():

    @pytest.fixture
    def originals(monkeypatch):
        monkeypatch.setenv("SLICEWISE_DATA", GIVEN_DATA)
        monkeypatch.setenv("SLICEWISE_SOURCE", "original")

    def test_chest_ct_original(originals):
        d = fetch_chest_ct()
        series = [pydicom.dcmread(path) for path in d.paths]
        heights = [float(ds.ImagePositionPatient[2]) for ds in series]
        assert heights not in (sorted(heights), sorted(heights)[::-1])
        np.testing.assert_allclose(np.diff(sorted(heights)), 3.27, atol=1e-6)  # none is missing
        assert sorted(int(ds.InstanceNumber) for ds in series) == [57, 58, 59, 60, 61]
        assert {path.name for path in d.paths} == {f"chest-{n}.dcm" for n in (220, 221, 222, 224, 225)}
        assert all(ds.pixel_array.shape == (512, 512) for ds in series)
        np.testing.assert_allclose([float(mm) for mm in series[0].PixelSpacing], 0.976562)
        assert d.truth is None and d.source == "original"

    def test_epi_original(originals):
        d = fetch_epi()
        assert d.image.shape == (53, 61, 33) and d.anatomy.shape == (57, 67, 56)
        np.testing.assert_allclose(nib.affines.voxel_sizes(d.image.affine), 3.0, rtol=1e-5)
        np.testing.assert_allclose(nib.affines.voxel_sizes(d.anatomy.affine), 2.75, rtol=1e-5)
        np.testing.assert_allclose(
            np.rad2deg(nib.affines.obliquity(d.image.affine)), [0, 17.19, 17.19], atol=0.01
        )
        assert list(d.images) == ["run", "anatomy"] and d.truth is None


def test_source_is_chosen_by_argument_then_environment(monkeypatch):
    assert fetch_motor_map().source == "bundled"
    monkeypatch.setenv("SLICEWISE_SOURCE", "original")
    assert fetch_motor_map().source == "original"
    assert fetch_motor_map("bundled").source == "bundled"


@pytest.mark.parametrize("fetch", [fetch_brain_t1, fetch_motor_map, fetch_chest_ct, fetch_epi])
def test_unknown_source(fetch, monkeypatch):
    with pytest.raises(ValueError, match="There is no source 'real'; use 'bundled' or 'original'."):
        fetch("real")
    monkeypatch.setenv("SLICEWISE_SOURCE", "fake")
    with pytest.raises(ValueError, match="'fake' in SLICEWISE_SOURCE"):
        fetch()


def test_card_and_repr(made):
    d = fetch_epi()
    assert len(repr(d)) < 300 and "56×72×36×104" in repr(d) and "truth: " in repr(d)
    card = d._repr_markdown_()
    for text in (
        "Simulated",
        "](https://nist.mni",
        "doi.org/10.1016",
        "run.nii.gz",
        "motion",
        " MB",
        d.title,
    ):
        assert text in card
    assert "Published data, shipped with nilearn" in fetch_brain_t1()._repr_markdown_()


def test_dataset_is_frozen():
    with pytest.raises(AttributeError):
        fetch_motor_map().source = "original"


def test_catalogue_is_complete():
    for name, table in dataset.catalogue().items():
        assert hasattr(data_fetchers, f"fetch_{name}") and f"fetch_{name}" in data_fetchers.__all__
        assert {"title", "lessons", "bundled"} <= set(table)
        for source in set(table) & {"bundled", "original"}:
            said = table[source]
            assert {"description", "grid", "licence", "licence_url", "citation", "doi", "terms"} <= set(said)
            assert len({"files", "shipped", "simulator"} & set(said)) == 1
            for file in said.get("files", []):
                assert len(file["sha256"]) == 64 and file["bytes"] > 0
                assert not Path(file["path"]).is_absolute() and ".." not in file["path"]
                assert file["addresses"] and all(a.startswith("https://") for a in file["addresses"])


def test_simulators_import_what_they_may():
    allowed = {"numpy", "scipy", "pydicom", "nibabel"} | sys.stdlib_module_names
    for path in (PACKAGE / "simulate").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module.partition(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] in allowed for alias in node.names), path


def test_import_is_light():
    code = "import sys, data_fetchers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "nilearn", "nibabel", "pooch", "requests", "pandas", "helpers"} & set(loaded.split())


def test_package_is_declared_whole():
    # The catalogue is data inside the package; a wheel without it would fail on the learner's machine.
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "data_fetchers" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert (PACKAGE / "catalogue.toml").is_file()

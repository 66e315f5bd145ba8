"""What the fetch functions return, from either source."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from scipy import ndimage as ndi
from scipy import stats

import data_fetchers
from data_fetchers import (
    cache,
    dataset,
    fetch_brain_t1,
    fetch_breathing_mr,
    fetch_cardiac_cine,
    fetch_chest_ct,
    fetch_epi,
    fetch_hand_radiograph,
    fetch_motor_map,
    fetch_oasis_subjects,
    fetch_oasis_volumes,
    fetch_warped_brain,
)

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


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture
def bundled(simulated, monkeypatch):
    """A cache folder that the tests of simulated data share."""
    monkeypatch.setenv("SLICEWISE_DATA", str(simulated))


def grid(d):
    return dataset.record(d.name, d.source)["grid"]


def size(image):
    return " × ".join(map(str, image.shape))


def test_hand_radiograph_bundled(bundled):
    d = fetch_hand_radiograph()
    assert d.image.shape == d.truth["bone"].shape == (480, 320) and d.image.dtype == np.uint8
    assert size(d.image) in grid(d) and [path.name for path in d.paths] == ["hand.png"]
    assert d.image[d.truth["bone"]].mean() > d.image[~d.truth["soft_tissue"]].mean() + 20


def test_cardiac_cine_bundled(bundled):
    d = fetch_cardiac_cine()
    assert d.image.shape == (256, 256, 11, 20) and len(d.paths) == 220
    assert "11 slices of 256 × 256" in grid(d) and "20 frames" in grid(d)
    np.testing.assert_allclose(d.image.affine, d.truth["affine"], atol=1e-3)
    np.testing.assert_allclose(d.image.header.get_zooms()[:3], [1.367188, 1.367188, 10], rtol=1e-4)
    step_s = np.diff(d.truth["trigger_time_ms"], axis=0).mean() / 1000
    assert d.image.header.get_zooms()[3] == pytest.approx(step_s, rel=1e-3)
    cine = np.asarray(d.image.dataobj).T  # (time, slice, row, column), as the truth
    blood, wall = cine[d.truth["lv_mask"]], cine[d.truth["myocardium"]]
    assert blood.mean() > 1.5 * wall.mean()
    # Slices in another order, or frames, would blur the border of the blood.
    assert np.corrcoef(cine.ravel(), d.truth["lv_mask"].ravel())[0, 1] > 1.05 * max(
        np.corrcoef(cine.ravel(), other.ravel())[0, 1]
        for other in (d.truth["lv_mask"][:, ::-1], np.roll(d.truth["lv_mask"], 10, axis=0))
    )


def test_oasis_volumes_bundled(bundled):
    d = fetch_oasis_volumes()
    assert list(d.table) == list(data_fetchers.OASIS_COLUMNS) and len(d.table) == 425
    assert d.table["alzheimers"].dtype == bool and d.table["alzheimers"].sum() == 93
    assert set(d.table["sex"]) == {"F", "M"} and d.truth and d.image is None


def test_oasis_subjects_bundled(bundled):
    d = fetch_oasis_subjects(n_subjects=2)
    assert list(d.table) == list(data_fetchers.PARTICIPANT_COLUMNS) and len(d.table) == 2
    assert d.table["alzheimers"].dtype == bool and set(d.table["sex"]) <= {"F", "M"}
    assert {name: len(paths) for name, paths in d.images.items()} == {"gm": 2, "t1": 2, "labels": 2}
    assert sorted(d.paths) == sorted(path for paths in d.images.values() for path in paths)
    for i, subject in enumerate(d.table["participant_id"]):
        images = {name: nib.load(paths[i]) for name, paths in d.images.items()}
        assert all(subject in paths[i].name for paths in d.images.values())
        assert size(images["gm"]) in grid(d) and size(images["t1"]) in grid(d)
        assert images["t1"].shape == images["labels"].shape
    assert list(d.truth["participant_id"]) == list(d.table["participant_id"])
    # Another size is another cohort, and both stay.
    assert len(fetch_oasis_subjects(n_subjects=1).table) == 1
    assert len(cache.made_candidates("oasis_subjects")) == 2
    assert cache.find_made("oasis_subjects", 2) == d.paths[0].parents[1]


@pytest.mark.parametrize(("source", "most"), [("bundled", 416), ("original", 403)])
@pytest.mark.parametrize("n_subjects", [0, -1, "one too many", 1.5, True, "2", None])
def test_oasis_subjects_out_of_range(source, most, n_subjects):
    n_subjects = most + 1 if n_subjects == "one too many" else n_subjects
    with pytest.raises(
        ValueError, match=f"n_subjects is {n_subjects!r}; choose a whole number from 1 to {most}."
    ):
        fetch_oasis_subjects(source, n_subjects=n_subjects)


@pytest.mark.parametrize(("source", "most"), [("bundled", 416), ("original", 403)])
def test_oasis_subjects_takes_everybody(source, most, monkeypatch):
    def reached(*arguments):
        raise data_fetchers.FetchError("reached")

    monkeypatch.setattr(cache, "made", reached)
    monkeypatch.setattr("data_fetchers._oasis_of_nilearn", reached)
    with pytest.raises(data_fetchers.FetchError, match="reached"):
        fetch_oasis_subjects(source, n_subjects=most)


def test_oasis_subjects_original_asks_nilearn(folders, monkeypatch, capsys):
    # A stand-in for nilearn: what it returns has the columns and files of nilearn 0.14, but is empty.
    from nilearn import datasets

    asked = []

    def fetch_oasis_vbm(n_subjects, data_dir, verbose):
        asked.append((n_subjects, data_dir, verbose))
        people = [f"OAS1_{number:04d}_MR1" for number in (1, 2, 3)[:n_subjects]]
        maps = [
            [
                data_dir / "oasis1" / person / f"mwrc{tissue}{person}_mpr_anon_fslswapdim_bet.nii.gz"
                for person in people
            ]
            for tissue in (1, 2)
        ]
        for path in maps[0] + maps[1]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        rows = {"id": people[::-1], "mf": ["F", "M", "F"], "age": [74, 20, 80], "cdr": [0.5, np.nan, 0.0]}
        return {
            "gray_matter_maps": list(map(str, maps[0])),
            "white_matter_maps": list(map(str, maps[1])),
            "ext_vars": pd.DataFrame(rows),
        }

    monkeypatch.setattr(datasets, "fetch_oasis_vbm", fetch_oasis_vbm)
    d = fetch_oasis_subjects("original", n_subjects=3)
    assert list(d.images) == ["gm", "wm"] and len(d.paths) == 6 and d.truth is None
    assert d.table.to_dict("list") == {
        "participant_id": ["OAS1_0001_MR1", "OAS1_0002_MR1", "OAS1_0003_MR1"],
        "age": [80, 20, 74],
        "sex": ["F", "M", "F"],
        "alzheimers": [False, False, True],
    }
    assert d.table["alzheimers"].dtype == bool
    assert "OASIS data use terms" in capsys.readouterr().out
    # What a teacher has fetched is used in a folder that takes nothing.
    folders[0].chmod(0o555)
    fetch_oasis_subjects("original", n_subjects=3)
    folders[0].chmod(0o755)
    assert asked == [(3, folders[0] / "oasis_subjects", 0)] * 2
    assert capsys.readouterr().out == ""


def test_breathing_mr_bundled(bundled):
    d = fetch_breathing_mr()
    assert list(d.images) == ["cine_MR_1", "cine_MR_2", "cine_MR_3"] and d.image is d.images["cine_MR_1"]
    assert all(image.shape == (128, 128) and image.dtype == np.uint8 for image in d.images.values())
    for image, labels in zip(d.images.values(), d.truth["labels"], strict=True):
        names = {name: label for label, name in d.truth["label_names"].items()}
        assert image[labels == names["liver"]].mean() > 2 * image[labels == names["lung"]].mean()


@pytest.mark.parametrize("source", ["bundled", "original"])
def test_warped_brain_is_simulated_from_either_source(source, bundled, monkeypatch):
    monkeypatch.setenv("SLICEWISE_SOURCE", source)
    d = fetch_warped_brain()
    assert d.source == "bundled" and d.kind == "simulated" and "no published original" in d._repr_markdown_()
    assert d.image is d.images["volume_fixed"] and len(d.images) == 8
    for name, shape in (("slice", "2d"), ("volume", "3d")):
        fixed = d.images[f"{name}_fixed"]
        assert size(fixed) in grid(d)
        assert d.truth[f"displacement_{shape}"].shape == (fixed.ndim, *fixed.shape)
        assert all(image.shape == fixed.shape for key, image in d.images.items() if key.startswith(name))
    # moving(x + displacement(x)) is fixed(x)
    fixed, moving = (np.asarray(d.images[f"slice_{name}"].dataobj) for name in ("fixed", "moving"))
    field = d.truth["displacement_2d"]
    warped = ndi.map_coordinates(moving, np.indices(fixed.shape) + field, order=1)
    assert np.abs(warped - fixed).mean() < 0.4 * np.abs(moving - fixed).mean()


if GIVEN_DATA and (Path(GIVEN_DATA) / "chest_ct").is_dir():
    # Facts of the published data, on which the lessons build.

    @pytest.fixture
    def originals(monkeypatch):
        monkeypatch.setenv("SLICEWISE_DATA", GIVEN_DATA)
        monkeypatch.setenv("SLICEWISE_SOURCE", "original")
        with pydicom.config.disable_value_validation():  # some identifiers break a rule of the standard
            yield

    def test_given_folder_holds_every_file_of_the_catalogue(originals):
        for name in dataset.catalogue():
            files = dataset.record(name, "original").get("files", [])
            assert all(cache.find(file) for file in files), name

    def test_hand_radiograph_original(originals):
        d = fetch_hand_radiograph()
        assert d.image.shape == (480, 320) and d.image.dtype == np.uint8
        assert (d.image.min(), d.image.max()) == (3, 224) and d.truth is None

    def test_cardiac_cine_original(originals):
        d = fetch_cardiac_cine()
        names = [f"{path.parent.name}/{path.name}" for path in d.paths]
        assert len(names) == 232 and names == sorted(names)
        assert sum(name.endswith("/test.dcm") for name in names) == 11
        assert {"SCD2001_007/SCD2001_MR_077.dcm", "SCD2001_008/SCD2001_MR_077.dcm"} <= set(names)
        assert d.image.shape == (256, 256, 11, 20) and d.image.get_data_dtype() == np.int16
        np.testing.assert_allclose(
            nib.affines.voxel_sizes(d.image.affine), [1.367188, 1.367188, 10], rtol=1e-5
        )
        assert d.image.header.get_zooms()[3] == pytest.approx(0.0511, abs=1e-4)

        series = {name: pydicom.dcmread(path) for name, path in zip(names, d.paths, strict=True)}
        # The image holds each slice and frame where its header says it belongs: the base, with the lowest
        # instance numbers, first.
        data = np.asarray(d.image.dataobj)
        order = [10, 9, 8, 7, 4, 6, 5, 3, 2, 1, 0]
        for k, folder in enumerate(order):
            frames = [ds for name, ds in series.items() if name.startswith(f"SCD2001_{folder:03d}/SCD")]
            frames = sorted(frames, key=lambda ds: ds.InstanceNumber)
            frames = [ds for ds in frames if ds.SliceLocation == frames[0].SliceLocation]
            assert len(frames) == 20
            np.testing.assert_array_equal(
                data[:, :, k], np.stack([ds.pixel_array.T for ds in frames], axis=-1)
            )
        firsts = [series[f"SCD2001_{folder:03d}/test.dcm"] for folder in order]
        positions = np.array([ds.ImagePositionPatient for ds in firsts], float)
        np.testing.assert_allclose(np.linalg.norm(np.diff(positions, axis=0), axis=1), 10, atol=2e-3)
        locations = np.array([ds.SliceLocation for ds in firsts], float)
        np.testing.assert_allclose(np.diff(locations), -8.153, atol=2e-3)

        # The oddities: each test.dcm repeats its folder's last frame, a stray file repeats one of folder 007.
        for folder in range(11):
            frames = [series[name] for name in names if name.startswith(f"SCD2001_{folder:03d}/")]
            last = max(
                frames[:20], key=lambda ds: ds.InstanceNumber * (ds.SliceLocation == frames[0].SliceLocation)
            )
            np.testing.assert_array_equal(frames[-1].pixel_array, last.pixel_array)
            assert frames[-1].SOPInstanceUID == last.SOPInstanceUID
        twins = [series[f"SCD2001_{folder}/SCD2001_MR_077.dcm"] for folder in ("007", "008")]
        assert twins[0].SOPInstanceUID == twins[1].SOPInstanceUID

    def test_cardiac_cine_original_is_segmented_as_the_lesson_says(originals):
        (path,) = (
            path for path in fetch_cardiac_cine().paths if path.match("SCD2001_006/SCD2001_MR_117.dcm")
        )
        image = pydicom.dcmread(path).pixel_array
        mask = ndi.binary_closing(ndi.median_filter(image, size=3) > 60)
        labels, n_labels = ndi.label(mask)
        assert n_labels == 26 and labels[128, 128] == 5
        assert ndi.find_objects(labels)[4] == (slice(107, 149), slice(116, 162))

    def test_oasis_volumes_original(originals):
        table = fetch_oasis_volumes().table
        assert list(table) == list(data_fetchers.OASIS_COLUMNS) and len(table) == 425
        assert not table.isna().any(axis=None) and table["alzheimers"].dtype == bool
        ill, well = table[table["alzheimers"]], table[~table["alzheimers"]]
        assert (len(ill), len(well)) == (93, 332)
        test = stats.ttest_ind(ill["brain_vol"], well["brain_vol"])
        assert test.statistic == pytest.approx(-10.2707630617, rel=1e-9)
        assert test.pvalue == pytest.approx(3.04e-22, rel=5e-3)
        test = stats.ttest_ind(*(group["brain_vol"] / group["skull_vol"] for group in (ill, well)))
        assert test.statistic == pytest.approx(-15.3113918239, rel=1e-9)
        assert test.pvalue == pytest.approx(2.02e-42, rel=5e-3)

    def test_breathing_mr_original(originals):
        d = fetch_breathing_mr()
        assert list(d.images) == ["cine_MR_1", "cine_MR_2", "cine_MR_3"] and d.truth is None
        for image in d.images.values():
            assert image.shape == (128, 128) and image.dtype == np.uint8
            # Head up: the liver is bright at the bottom, the lung dark in the middle.
            assert image[115:, 45:80].mean() > 4 * image[45:60, 45:80].mean()
        # The diaphragm comes down from one to the next.
        tops = [np.argmax(ndi.gaussian_filter(image, 2.0)[60:, 55] > 60) for image in d.images.values()]
        assert tops[0] < tops[1] < tops[2] and tops[0] + 10 < tops[2]

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


@pytest.mark.parametrize("name", dataset.catalogue())
def test_unknown_source(name, monkeypatch):
    fetch = getattr(data_fetchers, f"fetch_{name}")
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


def test_catalogue_cannot_be_changed():
    epi = dataset.catalogue()["epi"]
    files = epi["original"]["files"]
    for part in (dataset.catalogue(), epi, epi["original"], files[0]):
        with pytest.raises(TypeError):
            part["title"] = "mine"
    for several in (files, files[0]["addresses"], epi["lessons"]):
        assert isinstance(several, tuple)


def test_catalogue_is_complete():
    for name, table in dataset.catalogue().items():
        assert hasattr(data_fetchers, f"fetch_{name}") and f"fetch_{name}" in data_fetchers.__all__
        assert {"title", "lessons", "bundled"} <= set(table)
        for source in set(table) & {"bundled", "original"}:
            said = table[source]
            assert {"description", "grid", "licence", "licence_url", "citation", "doi", "terms"} <= set(said)
            assert len({"files", "shipped", "simulator", "nilearn"} & set(said)) == 1
            assert said["terms"] or not said.get("show_terms")
            assert ("simulator" in said) == ("bytes" in said)
            for file in said.get("files", []):
                assert len(file["sha256"]) == 64 and file["bytes"] > 0
                assert not Path(file["path"]).is_absolute() and ".." not in file["path"]
                assert len(file["addresses"]) == 2 and all(
                    a.startswith("https://") for a in file["addresses"]
                )


def test_catalogue_tells_the_size_of_what_is_made(bundled):
    for name in ("hand_radiograph", "cardiac_cine", "oasis_volumes", "breathing_mr", "warped_brain"):
        getattr(data_fetchers, f"fetch_{name}")()
        made = sum(path.stat().st_size for path in cache.find_made(name).rglob("*"))
        assert dataset.record(name, "bundled")["bytes"] == pytest.approx(made, rel=0.05), name


def test_simulators_import_what_they_may():
    allowed = {"numpy", "scipy", "pydicom", "nibabel"} | sys.stdlib_module_names
    uses = {
        table["bundled"].get("simulator"): table["bundled"].get("uses", [])
        for table in dataset.catalogue().values()
    }
    for path in (PACKAGE / "simulate").glob("*.py"):
        siblings = set()  # the cache must know of them, to make the data again when they change
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "data_fetchers.simulate":
                siblings |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module.startswith("data_fetchers.simulate."):
                siblings.add(node.module.rpartition(".")[2])
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module.partition(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] in allowed for alias in node.names), path
        assert siblings == set(uses.get(path.stem, [])), path


def test_import_is_light():
    code = "import sys, data_fetchers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "nilearn", "nibabel", "requests", "pooch", "pandas", "helpers"} & set(loaded.split())


def test_package_is_declared_whole():
    # The catalogue is data inside the package; a wheel without it would fail on the learner's machine.
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "data_fetchers" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert (PACKAGE / "catalogue.toml").is_file()

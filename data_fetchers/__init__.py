"""The course's data: each ``fetch_*`` function returns a `Dataset` from one of two sources.

``"bundled"`` data are made or shipped on this machine and need no network; ``"original"`` data are the
published ones, downloaded once and verified. Without a ``source``, the environment variable
``SLICEWISE_SOURCE`` decides, and without that it is ``"bundled"``.
"""

import hashlib
import os
from importlib import import_module
from pathlib import Path

from . import cache, reading
from .cache import FetchError
from .dataset import Dataset, catalogue, record

__all__ = [
    "Dataset",
    "FetchError",
    "fetch_brain_t1",
    "fetch_breathing_mr",
    "fetch_cardiac_cine",
    "fetch_chest_ct",
    "fetch_epi",
    "fetch_hand_radiograph",
    "fetch_motor_map",
    "fetch_oasis_subjects",
    "fetch_oasis_volumes",
    "fetch_warped_brain",
]

OASIS_COLUMNS = (
    "ID",
    "age",
    "sex",
    "alzheimers",
    "brain_vol",
    "skull_vol",
    "gray_matter_vol",
    "white_matter_vol",
    "csf_vol",
)
PARTICIPANT_COLUMNS = ("participant_id", "age", "sex", "alzheimers")
MOST_SUBJECTS = {"bundled": 416, "original": 403}  # people in OASIS-1; those of them with maps


def fetch_brain_t1(source=None):
    """Fetch the MNI template brain.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        Both are the same here: the files ship inside nilearn.

    Returns
    -------
    Dataset
        ``image`` is the T1 template, (197, 233, 189) voxels (x, y, z) of 1 mm in MNI space, and ``images``
        holds ``t1``, ``gm`` and ``wm`` (0–255), and ``mask`` (0 or 1: T1 above a fifth of its maximum, as
        nilearn defines the brain). ``paths`` are the files of the first three.
    """
    import nibabel as nib
    import numpy as np

    paths = cache.shipped(record("brain_t1", "bundled")["shipped"])
    images = dict(zip(("t1", "gm", "wm"), map(reading.nifti, paths), strict=True))
    t1 = np.asanyarray(images["t1"].dataobj)
    images["mask"] = nib.Nifti1Image((t1 > t1.max() / 5).astype(np.int8), images["t1"].affine)
    return _dataset("brain_t1", chosen_source(source), paths, image=images["t1"], images=images)


def fetch_motor_map(source=None):
    """Fetch the statistical map of left minus right button press.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        Both are the same here: the file ships inside nilearn.

    Returns
    -------
    Dataset
        ``image`` is the map, (53, 63, 46) voxels (x, y, z) of 3 mm in MNI space; x runs to the left.
    """
    paths = cache.shipped(record("motor_map", "bundled")["shipped"])
    return _dataset("motor_map", chosen_source(source), paths, image=reading.nifti(paths[0]))


def fetch_chest_ct(source=None):
    """Fetch a chest CT as a DICOM series.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated thorax, or five slices of a patient.

    Returns
    -------
    Dataset
        ``paths`` are the DICOM files, one slice each, in an order that is not the order of the slices, as a
        file system may list them. ``image`` is None. ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.chest_ct.load_truth`.
    """
    source = chosen_source(source)
    paths, truth = _files("chest_ct", source, "*.dcm")
    # The order is the same on every machine, and no order: that of the hashes of the names.
    paths = sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return _dataset("chest_ct", source, paths, truth=truth)


def fetch_epi(source=None):
    """Fetch a functional run and the anatomy of the same subject.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated run of 104 volumes, or the single volume of nibabel's tutorial.

    Returns
    -------
    Dataset
        ``image`` is the EPI: simulated (56, 72, 36, 104) voxels (x, y, z, t) of 3 mm and 2.5 s, original
        (53, 61, 33) voxels (x, y, z) of 3 mm; both are oblique. ``anatomy`` is T1-weighted, 2 or 2.75 mm.
        ``images`` holds ``run`` and ``anatomy``, the same two, and for the simulated data ``singleton``, the
        run as (x, y, z, 1, t). ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.epi.load_truth`.
    """
    source, truth = chosen_source(source), None
    if source == "bundled":
        folder = cache.made("epi")
        files = {"run": "run.nii.gz", "anatomy": "anatomy.nii.gz", "singleton": "run_5d.nii.gz"}
        paths, truth = {name: folder / file for name, file in files.items()}, _truth("epi", folder)
    else:
        anatomy, run = cache.original("epi")
        paths = {"run": run, "anatomy": anatomy}
    images = {name: reading.nifti(path) for name, path in paths.items()}
    return _dataset(
        "epi",
        source,
        list(paths.values()),
        image=images["run"],
        images=images,
        anatomy=images["anatomy"],
        truth=truth,
    )


def fetch_hand_radiograph(source=None):
    """Fetch a radiograph of a hand.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated radiograph, or one of a child.

    Returns
    -------
    Dataset
        ``image`` is the picture, (480, 320) uint8, (row, column). ``truth``, for the simulated data, is
        described in `data_fetchers.simulate.hand.load_truth`.
    """
    source = chosen_source(source)
    paths, truth = _files("hand_radiograph", source, "hand.png")
    return _dataset("hand_radiograph", source, paths, image=reading.picture(paths[0]), truth=truth)


def fetch_cardiac_cine(source=None):
    """Fetch a cine MRI of the heart: short-axis slices over one heartbeat.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated heart, or that of a patient.

    Returns
    -------
    Dataset
        ``paths`` are all DICOM files, one slice at one moment each, folder by folder, as they are published:
        in the original some come twice, and the order of the folders is not that of the slices. ``image`` is
        what `data_fetchers.dicom.assemble` makes of them: (256, 256, 11, 20) voxels (i, j, k, t), where i
        counts the columns, j the rows, k the slices from the base of the heart to its apex, t the moments of
        the heartbeat; so ``np.asarray(image.dataobj).T`` is (time, slice, row, column). The affine leads to
        RAS+ mm, 1.367188 × 1.367188 × 10 mm; the time step in the header is the mean over the slices, in
        seconds. ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.cardiac_cine.load_truth`.
    """
    import nibabel as nib
    import numpy as np

    from . import dicom

    source = chosen_source(source)
    paths, truth = _files("cardiac_cine", source, "*/*.dcm")
    data, affine, times_ms = dicom.assemble(paths)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = np.diff(times_ms).mean() / 1000
    return _dataset("cardiac_cine", source, paths, image=image, truth=truth)


def fetch_oasis_volumes(source=None):
    """Fetch a table of brain volumes.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated table, or that of the OASIS-1 collection.

    Returns
    -------
    Dataset
        ``table`` is a pandas DataFrame of 425 rows: ``ID``, ``age`` in years, ``sex`` (F or M),
        ``alzheimers`` (bool), and in ml ``brain_vol``, ``skull_vol``, ``gray_matter_vol``,
        ``white_matter_vol``, ``csf_vol``. ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.oasis_volumes.load_truth`.
    """
    source = chosen_source(source)
    paths, truth = _files("oasis_volumes", source, "oasis_all_volumes.csv")
    return _dataset("oasis_volumes", source, paths, table=reading.table(paths[0], OASIS_COLUMNS), truth=truth)


def fetch_oasis_subjects(source=None, n_subjects=100):
    """Fetch maps of the grey matter of many people, healthy and with Alzheimer's disease.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        A simulated cohort, or people of the OASIS-1 collection, whose maps nilearn downloads.
    n_subjects : int, optional
        How many people, from 1 to 416, or to 403 of the original. A small cohort is the beginning of a
        large one.

    Returns
    -------
    Dataset
        ``table`` is a pandas DataFrame with a row for each person: ``participant_id``, ``age`` in years,
        ``sex`` (F or M), ``alzheimers`` (bool; in the original, a clinical dementia rating above 0).
        ``images`` holds lists of paths in the order of the rows: ``gm``, maps of grey matter in MNI space,
        modulated; simulated also ``t1``, the head as scanned, and ``labels`` of its tissues; original also
        ``wm``. ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.oasis_subjects.load_truth`.

    Raises
    ------
    ValueError
        If ``n_subjects`` is out of range.
    FetchError
        If the cohort can neither be made nor downloaded.
    """
    source = chosen_source(source)
    whole = isinstance(n_subjects, int) and not isinstance(n_subjects, bool)
    if not whole or not 1 <= n_subjects <= MOST_SUBJECTS[source]:
        most = MOST_SUBJECTS[source]
        raise ValueError(f"n_subjects is {n_subjects!r}; choose a whole number from 1 to {most}.")
    if source == "original":
        table, images, truth = *_oasis_of_nilearn(n_subjects), None
    else:
        folder = cache.made("oasis_subjects", n_subjects)
        table = reading.table(folder / "participants.tsv", PARTICIPANT_COLUMNS, separator="\t")
        endings = {"gm": "space-MNI_GM", "t1": "T1w", "labels": "dseg"}
        images = {
            name: [folder / subject / f"{subject}_{ending}.nii.gz" for subject in table["participant_id"]]
            for name, ending in endings.items()
        }
        truth = _truth("oasis_subjects", folder)
    paths = [path for files in zip(*images.values(), strict=True) for path in files]
    return _dataset("oasis_subjects", source, paths, table=table, images=images, truth=truth)


def _oasis_of_nilearn(n_subjects):
    """Return the participants and the maps' paths by kind; nilearn downloads what is not there."""
    cache.show_terms("oasis_subjects")
    inner = "oasis_subjects"
    places = (folder / inner for folder in cache.folders())
    ready = (place for place in places if len(list(place.glob("oasis1/*/mwrc1*.nii.gz"))) >= n_subjects)
    place = next(ready, None)
    if place:
        found = _ask_nilearn(place, n_subjects)
    else:
        home = cache.home_for(inner, "download oasis_subjects")
        with cache.lock(home, "oasis_subjects"), cache.Bar("Downloading oasis_subjects"):
            found = _ask_nilearn(home / inner, n_subjects)
    images = {"gm": found["gray_matter_maps"], "wm": found["white_matter_maps"]}
    images = {name: [Path(path) for path in paths] for name, paths in images.items()}
    identifiers = [path.parent.name for path in images["gm"]]
    people = found["ext_vars"].set_index("id").loc[identifiers]
    columns = identifiers, people["age"], people["mf"], people["cdr"] > 0  # the young were not rated: NaN
    table = people.reset_index().iloc[:, :0]
    for name, column in zip(PARTICIPANT_COLUMNS, columns, strict=True):
        table[name] = list(column)
    return table, images


def _ask_nilearn(folder, n_subjects):
    """Return what nilearn keeps in a folder, or has downloaded to it now."""
    from nilearn import datasets

    try:
        return datasets.fetch_oasis_vbm(n_subjects=n_subjects, data_dir=folder, verbose=0)
    except Exception as error:  # nilearn passes on whatever went wrong, of its own or of what it uses
        raise FetchError(
            f"Could not download oasis_subjects with nilearn to {folder} ({type(error).__name__}); connect "
            "and try again later, or use the simulated data with SLICEWISE_SOURCE=bundled."
        ) from error


def fetch_breathing_mr(source=None):
    """Fetch three MR images of one breath, sagittal.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        Simulated images, or published ones.

    Returns
    -------
    Dataset
        ``images`` holds ``cine_MR_1`` to ``cine_MR_3``, (128, 128) uint8, (row, column), head up and front to
        the left; ``image`` is the first. ``truth``, for the simulated data, is described in
        `data_fetchers.simulate.breathing_mr.load_truth`.
    """
    source = chosen_source(source)
    paths, truth = _files("breathing_mr", source, "cine_MR_*.png")
    images = {path.stem: reading.picture(path) for path in paths}
    return _dataset("breathing_mr", source, paths, image=images["cine_MR_1"], images=images, truth=truth)


def fetch_warped_brain(source=None):
    """Fetch a brain and the same brain, warped by a known field: a slice and a volume.

    Parameters
    ----------
    source : {"bundled", "original"}, optional
        There is no original: both give the simulated data, whose ``source`` says so.

    Returns
    -------
    Dataset
        ``images`` holds ``slice_fixed``, ``slice_moving`` (x, y) and ``volume_fixed``, ``volume_moving``
        (x, y, z), axes R A S, and the tissue labels of each under its name and ``_labels``. ``image`` is
        ``volume_fixed``. ``truth`` is described in `data_fetchers.simulate.warped_brain.load_truth`.
    """
    source = chosen_source(source)
    paths, truth = _files("warped_brain", "bundled", "*.nii.gz")
    images = {path.name.removesuffix(".nii.gz"): reading.nifti(path) for path in paths}
    return _dataset("warped_brain", source, paths, image=images["volume_fixed"], images=images, truth=truth)


def _files(name, source, pattern):
    """Return the files of a data set, of the simulated ones those of a pattern, and the truth or None."""
    if source == "original":
        return cache.original(name), None
    folder = cache.made(name)
    return sorted(folder.glob(pattern)), _truth(name, folder)


def chosen_source(source=None):
    """Return the source to use: the one asked for, else what ``SLICEWISE_SOURCE`` says, else "bundled".

    Raises
    ------
    ValueError
        If it is neither "bundled" nor "original".
    """
    asked = (
        source if source is not None else os.environ.get("SLICEWISE_SOURCE", "").strip().lower() or "bundled"
    )
    if asked not in ("bundled", "original"):
        where = "" if source is not None else " in SLICEWISE_SOURCE"
        raise ValueError(f"There is no source {asked!r}{where}; use 'bundled' or 'original'.")
    return asked


def _truth(name, folder):
    """Return the truth of a simulated data set."""
    simulator = record(name, "bundled")["simulator"]
    return import_module(f"data_fetchers.simulate.{simulator}").load_truth(folder)


def _dataset(name, source, paths, **contents):
    """Return the data set with what the catalogue says of it."""
    table = record(name, source)
    if "simulator" in table:
        source = "bundled"  # also where there is no original
    said = {key: table[key] for key in ("description", "licence", "citation", "terms")}
    return Dataset(name, catalogue()[name]["title"], source, paths=list(paths), **said, **contents)

"""The course's data: each ``fetch_*`` function returns a `Dataset` from one of two sources.

``"bundled"`` data are made or shipped on this machine and need no network; ``"original"`` data are the
published ones, downloaded once and verified. Without a ``source``, the environment variable
``SLICEWISE_SOURCE`` decides, and without that it is ``"bundled"``.
"""

import hashlib
import os
from importlib import import_module

from . import cache
from .cache import FetchError
from .dataset import Dataset, catalogue, record

__all__ = ["Dataset", "FetchError", "fetch_brain_t1", "fetch_chest_ct", "fetch_epi", "fetch_motor_map"]


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
    images = dict(zip(("t1", "gm", "wm"), map(nib.load, paths), strict=True))
    t1 = np.asanyarray(images["t1"].dataobj)
    images["mask"] = nib.Nifti1Image((t1 > t1.max() / 5).astype(np.int8), images["t1"].affine)
    return _dataset("brain_t1", _source(source), paths, image=images["t1"], images=images)


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
    import nibabel as nib

    paths = cache.shipped(record("motor_map", "bundled")["shipped"])
    return _dataset("motor_map", _source(source), paths, image=nib.load(paths[0]))


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
    source, truth = _source(source), None
    if source == "bundled":
        folder = cache.made("chest_ct")
        paths, truth = folder.glob("*.dcm"), _truth("chest_ct", folder)
    else:
        paths = cache.original("chest_ct")
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
    import nibabel as nib

    source, truth = _source(source), None
    if source == "bundled":
        folder = cache.made("epi")
        files = {"run": "run.nii.gz", "anatomy": "anatomy.nii.gz", "singleton": "run_5d.nii.gz"}
        paths, truth = {name: folder / file for name, file in files.items()}, _truth("epi", folder)
    else:
        anatomy, run = cache.original("epi")
        paths = {"run": run, "anatomy": anatomy}
    images = {name: nib.load(path) for name, path in paths.items()}
    return _dataset(
        "epi",
        source,
        list(paths.values()),
        image=images["run"],
        images=images,
        anatomy=images["anatomy"],
        truth=truth,
    )


def _source(source):
    """Return the source to use."""
    asked = source if source is not None else os.environ.get("SLICEWISE_SOURCE") or "bundled"
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
    said = {key: table[key] for key in ("description", "licence", "citation", "terms")}
    return Dataset(name, catalogue()[name]["title"], source, paths=list(paths), **said, **contents)

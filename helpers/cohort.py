"""Measure many heads: each subject's image becomes a row of a table, on one machine or on many.

`measure_subject` measures one head and keeps the row; `measure_cohort` measures many, through any executor of
``concurrent.futures``; ``python -m helpers.cohort`` does the same for a scheduler.

How a head is measured [1]_, [2]_, [3]_:

1. The ICBM 152 template, which comes without its skull, gets one of usual thickness, and is registered to the
   head by an affine map at 10 mm. The skull must be in both images: a brain that has shrunk fits a smaller
   template, a skull does not shrink. The map brings the template's inside of the skull to the head.
2. Where the template has white matter, a quadratic polynomial is fitted to the image: that is the bias field,
   by which the image is divided.
3. White matter's level is then 1. Grey matter's is the median where the template has grey matter, that of
   fluid the median of what is darker than half of it.
4. Each voxel between two levels is shared between the two tissues in proportion (partial volume [3]_), and
   the shares are added up. Where fluid touches white matter, that takes some of both for grey matter.
   Over 100 simulated heads the brain comes out 4 % too large, more so where it has shrunk.

References
----------
.. [1] Head size from the affine map to an atlas: Buckner et al. 2004, doi 10.1016/j.neuroimage.2004.06.018.
.. [2] Skull in the registration: Smith et al. 2002, doi 10.1006/nimg.2002.1040.
.. [3] Partial volume: Choi et al. 1991, doi 10.1109/42.97590.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import uuid
from collections import Counter
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    ProcessPoolExecutor,
    wait,
)
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage as ndi
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from helpers.registration import affine, correlation

METHOD = 1  # raise it when the same image gives another row: rows of another method are measured anew
VOLUMES = ("brain_vol", "skull_vol", "gray_matter_vol", "white_matter_vol", "csf_vol")
MEASURES = (*VOLUMES, "quality")

# The template
BRICK = 4  # mm; its voxels of 1 mm are averaged to bricks
MARGIN = 6  # bricks around it, for skull and scalp
BRAIN = 0.16  # of its brightest voxel: what is brighter is brain
BRIDGE_MM = 16.0  # half the width of a gap in the brain that the inside of the skull bridges
FLUID_MM, SKULL_MM, SCALP_MM = 2.0, 7.0, 7.0  # thickness of the layers around the brain
FLUID, SKULL, SCALP = 0.2, 0.0, 1.3  # their brightness in T1 by that of white matter; fat is brightest

# Registration: grid and voxel size of both images, before the head's is fitted to the size of the head
GRID, GRID_MM = (18, 22, 20), 10.0
LEAST_QUALITY = 0.8  # correlation; noise that fills the picture has 0.78, the simulated heads 0.93 and more
MOST_STRETCH = 1.2  # the map's largest zoom by its smallest: heads have up to 1.1, those cut off have more
HEAD_MM = (100.0, 600.0)  # field of view along each axis

# Segmentation
WHITE, GRAY = 0.85, 0.6  # of the template's maps: where to look for the levels of the tissues
LEAST_VOXELS = 50  # to estimate a level from
DEPTH_MM = 6.0  # fluid's level is measured so far inside the skull

WINDOW = 1000  # subjects handed to an executor at once, if it does not tell the number of its workers


class Subject(NamedTuple):
    """Where the files of one person lie.

    Attributes
    ----------
    label : str
        As ``participant_id`` in the table of participants: ``"sub-0001"``.
    t1 : Path
        T1-weighted image of the head, skull and scalp included; NIfTI, 3D.
    mask : Path, optional
        1 inside the skull, 0 outside, on the grid of ``t1``, from wherever you trust. Without it the
        template's is used, brought to the head by registration.
    row : Path, optional
        Where the row is kept, as JSON. Without it nothing is kept, and everything measured anew.
    """

    label: str
    t1: Path
    mask: Path | None = None
    row: Path | None = None


def find_subjects(folder, output=None):
    """Find the subjects of a folder that is laid out as BIDS has it.

    Parameters
    ----------
    folder : path
        With ``participants.tsv`` and, in a folder for each subject, ``sub-*_T1w.nii`` or ``.nii.gz``.
    output : path, optional
        Folder to keep the rows in, as ``sub-0001.json``; it is made if it is not there.

    Returns
    -------
    list of Subject
        In the order of ``participants.tsv``, then those that it does not name. A subject without an image
        is there too, with the path where it is missed; one with several is there several times.

    Raises
    ------
    FileNotFoundError
        If there is no ``participants.tsv``.
    ValueError
        If that has no column ``participant_id``.
    """
    folder = Path(folder)
    listed = list(dict.fromkeys(read_participants(folder)["participant_id"]))
    images = {}
    for path in sorted(folder.glob("sub-*/**/sub-*_T1w.nii*")):
        if path.name.endswith(("_T1w.nii", "_T1w.nii.gz")):
            images.setdefault(path.relative_to(folder).parts[0], []).append(path)
    unlisted = sorted({path.name for path in folder.glob("sub-*") if path.is_dir()} - set(listed))
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    return [
        Subject(label, t1, row=None if output is None else Path(output, f"{label}.json"))
        for label in (*listed, *unlisted)
        for t1 in images.get(label, [folder / label / f"{label}_T1w.nii.gz"])
    ]


def read_participants(folder):
    """Return the table ``participants.tsv`` of a folder, ``n/a`` as missing.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it has no column ``participant_id``.
    """
    path = Path(folder, "participants.tsv")
    if not path.is_file():
        raise FileNotFoundError(f"There is no participants.tsv in {folder}; name the folder that holds it.")
    table = pd.read_csv(path, sep="\t", dtype={"participant_id": "str"})
    _check_participants(table, str(path))
    return table


# One subject


def measure_subject(paths):
    """Measure one head, or read back what was measured before.

    The row depends on the image (and the mask) alone. If it is to be kept, it is written under another name
    and then renamed, so that it is there whole or not at all. A kept row is read back instead of measured
    anew unless it is stale: the contents of T1 or mask have changed (SHA-256, so a file may be moved or
    copied), the way of measuring has, it says why the subject could not be measured, or it is damaged.

    Parameters
    ----------
    paths : Subject
        Where the files of the subject lie.

    Returns
    -------
    dict
        ``participant_id``; in ml ``brain_vol`` (grey and white matter), ``skull_vol`` (all inside the skull),
        ``gray_matter_vol``, ``white_matter_vol``, ``csf_vol``; ``quality``, the correlation of the head and
        the template registered to it, up to 1: look at the lowest; ``error``, here None.

    Raises
    ------
    FileNotFoundError, ValueError
        In one sentence, why the subject cannot be measured and what to do.
    OSError
        If the row cannot be written.
    """
    inputs = {name: _sha256(path) for name, path in (("t1", paths.t1), ("mask", paths.mask)) if path}
    kept = _kept(paths)
    if kept and kept["inputs"] == inputs and kept["row"]["error"] is None:
        return kept["row"]
    row = {"participant_id": paths.label, **_measures(paths), "error": None}
    _keep(paths, row, inputs)
    return row


def _sha256(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.name} is not in {path.parent}; fetch it, or leave the subject out."
        ) from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); see to its permissions.") from error


def _kept(paths):
    """Return what was kept of a subject measured by this method, None if there is nothing of use."""
    try:
        kept = json.loads(paths.row.read_text(encoding="utf-8"))
        right = kept["method"] == METHOD and kept["row"]["participant_id"] == paths.label
        whole = kept["row"].keys() == {"participant_id", *MEASURES, "error"} and "inputs" in kept
        return kept if right and whole else None
    except (AttributeError, OSError, ValueError, TypeError, KeyError):
        return None  # not to be kept, not there, or damaged


def _keep(paths, row, inputs):
    if paths.row is not None:
        _write(paths.row, json.dumps({"method": METHOD, "inputs": inputs, "row": row}) + "\n")


def _write(path, text):
    """Write a file so that it is there whole or not at all, whoever else writes it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else the name may outlive a power cut and the contents not
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _measures(paths):
    """Return volumes and quality of a head by name."""
    image = _read(paths.t1)
    data = image.get_fdata(dtype=np.float32)
    to_template, quality = _register(paths.t1.name, data, image.affine)
    template = _template()
    to_bricks = np.linalg.inv(template["affine"]) @ to_template @ image.affine
    depth = _sample(template["depth"], to_bricks, data.shape, outside=-np.inf)
    gray, white = (_sample(template[name], to_bricks, data.shape) for name in ("gray", "white"))

    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    if paths.mask is not None:
        inside = _read_mask(paths.mask, image)
    else:
        # A voxel at the border counts for the part of it that is inside.
        size_mm = abs(np.linalg.det((to_template @ image.affine)[:3, :3])) ** (1 / 3)
        inside = np.clip(depth / size_mm + 0.5, 0, 1)
    shares = _shares(paths.t1.name, data, inside, depth, gray, white)
    csf, gray, white = (float(share.sum(dtype=np.float64) * voxel_ml) for share in shares)
    volumes = gray + white, csf + gray + white, gray, white, csf
    return dict(zip(MEASURES, (*volumes, quality), strict=True))


# Images, and what may be wrong with them


def _read(path):
    """Return an image of one 3D volume with sound contents, or say what is wrong."""
    try:
        image = nib.funcs.squeeze_image(nib.load(path))
        data = image.get_fdata(dtype=np.float32)
    except Exception as error:  # each format and compression has errors of its own
        raise ValueError(
            f"{path.name} cannot be read as an image ({type(error).__name__}); fetch or convert it again."
        ) from error
    if data.ndim != 3:
        raise ValueError(f"{path.name} has the shape {data.shape}; a single 3D volume is needed.")
    if not np.isfinite(image.affine).all() or np.linalg.det(image.affine[:3, :3]) == 0:
        raise ValueError(f"{path.name} has an affine that leads nowhere; convert it again.")
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise ValueError(f"{path.name} holds NaN or infinity in {bad} voxels; find out where they come from.")
    if data.min() == data.max():
        raise ValueError(f"{path.name} has the same value in every voxel; fetch or convert it again.")
    return image


def _read_mask(path, image):
    """Return a mask on the grid of an image, float32, or say what is wrong with it."""
    try:
        mask = nib.funcs.squeeze_image(nib.load(path))
        data = mask.get_fdata(dtype=np.float32)
    except Exception as error:
        raise ValueError(
            f"{path.name} cannot be read as an image ({type(error).__name__}); make the mask again."
        ) from error
    if mask.shape != image.shape or not np.allclose(mask.affine, image.affine, atol=0.01):
        raise ValueError(f"{path.name} does not lie on the grid of the T1 image; resample it with order 0.")
    if not np.isin(data, (0, 1)).all():
        raise ValueError(f"{path.name} holds other values than 0 and 1; make a mask of it, as by labels > 0.")
    if not data.any():
        raise ValueError(f"{path.name} is an empty mask: no voxel is 1; make it again.")
    return data


# Registration


@lru_cache(maxsize=1)
def _template():
    """Return what all subjects share: the template in bricks of 4 mm.

    Returns
    -------
    dict
        ``depth``, distance from the inside of the skull, mm, positive inside; ``gray``, ``white``, 0 to 1;
        all (i, j, k), float32; ``affine``, of the bricks; ``head`` on `GRID`, its ``centre``
        and ``spread``, mm (see `_extent`), and ``grid``, its affine.
    """
    # Here, because it takes seconds that whoever only asks for help need not wait.
    from nilearn import datasets

    maps = (
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    )
    bricks = [_bricks(image) for image in maps]
    to_world = bricks[0][1]
    t1, gray, white = (np.pad(data, MARGIN) for data, _ in bricks)
    to_world = to_world @ nib.affines.from_matvec(np.eye(3), [-MARGIN] * 3)

    # The inside of the skull is what closing the brain leaves, and a little fluid.
    brain = t1 > BRAIN
    outside = BRICK * ndi.distance_transform_edt(~brain)
    closed = BRICK * ndi.distance_transform_edt(outside <= BRIDGE_MM)
    depth = np.where(closed > 0, closed - BRIDGE_MM, -outside) + FLUID_MM
    head = np.where(brain, t1 / np.median(t1[white > WHITE]), 0)
    layers = (0, FLUID), (-SKULL_MM, SKULL), (-SKULL_MM - SCALP_MM, SCALP)
    around = np.select([depth >= limit for limit, _ in layers], [level for _, level in layers], 0)
    head = np.where(brain, head, around).astype(np.float32)

    head = _blurred(head, to_world)
    centre, spread = _extent(head, to_world)
    grid = nib.affines.from_matvec(GRID_MM * np.eye(3), centre - GRID_MM * (np.array(GRID) - 1) / 2)
    return {
        "depth": depth.astype(np.float32),
        "gray": gray,
        "white": white,
        "affine": to_world,
        "head": _sample(head, np.linalg.inv(to_world) @ grid, GRID),
        "centre": centre,
        "spread": spread,
        "grid": grid,
    }


def _bricks(image):
    """Return the means of an image in cubes of `BRICK` voxels, and their affine."""
    data = image.get_fdata(dtype=np.float32)
    whole = tuple(n // BRICK for n in data.shape)
    data = data[tuple(slice(n * BRICK) for n in whole)]
    data = data.reshape(whole[0], BRICK, whole[1], BRICK, whole[2], BRICK).mean(axis=(1, 3, 5))
    return data, image.affine @ nib.affines.from_matvec(BRICK * np.eye(3), [(BRICK - 1) / 2] * 3)


def _blurred(data, to_world):
    """Return an image smoothed for voxels of `GRID_MM`."""
    return ndi.gaussian_filter(data, 0.5 * GRID_MM / nib.affines.voxel_sizes(to_world))


def _extent(data, to_world):
    """Return the centre of a head and the standard deviation of its voxels along x, y, z; mm."""
    bright = data > 0.25 * np.percentile(data, 98)
    points = nib.affines.apply_affine(to_world, np.argwhere(bright))
    return points.mean(axis=0), points.std(axis=0)


def _sample(data, to_index, shape, outside=0.0):
    """Return an image on a grid of a shape, whose voxels an affine leads to those of the image."""
    return ndi.affine_transform(data, to_index[:3, :3], to_index[:3, 3], shape, order=1, cval=outside)


def _register(name, data, to_world):
    """Return the affine from the world of a head to that of the template, mm, and the quality of the fit."""
    template = _template()
    size_mm = nib.affines.voxel_sizes(to_world) * data.shape
    if not ((HEAD_MM[0] <= size_mm) & (size_mm <= HEAD_MM[1])).all():
        raise ValueError(
            f"{name} covers {' × '.join(f'{mm:.0f}' for mm in size_mm)} mm, but a whole head takes "
            f"{HEAD_MM[0]:.0f} to {HEAD_MM[1]:.0f} mm along each axis; check its shape and voxel sizes."
        )
    blurred = _blurred(data, to_world)
    centre, spread = _extent(blurred, to_world)
    # Both heads fill the same part of the grid: only then is the next minimum the right one. How far a neck
    # reaches down says nothing of the size of a head, so x and y decide.
    scale = float(np.sqrt(np.prod(spread[:2] / template["spread"][:2])))
    grid = nib.affines.from_matvec(
        scale * GRID_MM * np.eye(3), centre - scale * GRID_MM * (np.array(GRID) - 1) / 2
    )
    head = _sample(blurred, np.linalg.inv(to_world) @ grid, GRID)
    found = affine(head, template["head"], levels=1, spacing=(GRID_MM,) * 3)
    quality = correlation(head, found.warped)
    to_template = template["grid"] @ found.matrix @ np.linalg.inv(grid)
    zooms = np.linalg.svd(to_template[:3, :3], compute_uv=False)
    if not (quality >= LEAST_QUALITY and zooms[0] <= MOST_STRETCH * zooms[-1]):
        raise ValueError(
            f"The template does not fit {name} (correlation {quality:.2f}, stretched by "
            f"{zooms[0] / zooms[-1]:.2f}): look whether it shows a whole head in T1 contrast, upright as its "
            "affine says."
        )
    return to_template, quality


# Segmentation


def _shares(name, data, inside, depth, gray, white):
    """Return the parts of each voxel inside the skull that are fluid, grey and white matter, each (n,)."""
    box = ndi.find_objects((inside > 0).astype(np.uint8))[0]
    data, inside, depth, gray, white = (array[box] for array in (data, inside, depth, gray, white))
    where = np.nonzero(inside)
    inside, depth, gray, white = (array[where] for array in (inside, depth, gray, white))
    values = data[where].astype(np.float64)

    # The bias field, from white matter; a second fit without what turned out to be something else.
    x, y, z = (2 * at / max(n - 1, 1) - 1 for at, n in zip(where, data.shape, strict=True))
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=1)
    whites = white > WHITE
    bias = np.full(values.shape, np.median(values[whites]) if whites.any() else np.nan)
    for _ in range(3):
        whites = (white > WHITE) & (np.abs(values / bias - 1) < 0.2)
        if np.count_nonzero(whites) < LEAST_VOXELS:
            raise ValueError(f"{name} shows no white matter where the template has it; look at the image.")
        fitted = terms @ np.linalg.lstsq(terms[whites], values[whites])[0]
        bias = np.maximum(fitted, 0.3 * np.median(values[whites]))
    values /= bias

    grays = (gray > GRAY) & (values > 0.5) & (values < 0.9)
    gray_level = np.median(values[grays]) if np.count_nonzero(grays) >= LEAST_VOXELS else np.nan
    fluids = (depth > DEPTH_MM) & (values < gray_level / 2)
    fluid_level = np.median(values[fluids]) if np.count_nonzero(fluids) >= LEAST_VOXELS else np.nan
    if not fluid_level < gray_level < 1:
        raise ValueError(
            f"{name} does not show fluid darker than grey and grey darker than white matter, as T1 does; "
            "look at the image."
        )
    tissue = np.clip((values - fluid_level) / (gray_level - fluid_level), 0, 1)
    white = np.clip((values - gray_level) / (1 - gray_level), 0, 1)
    return inside * (1 - tissue), inside * (tissue - white), inside * white


# Many subjects


def measure_cohort(subjects, executor=None, participants=None):
    """Measure many heads, in whatever order and wherever, into one table.

    A subject that cannot be measured becomes a row that says why, and the rest goes on. If a worker dies, its
    subjects are measured again; one that cannot be without another death becomes a row too. After an
    interrupt, call again: the rows that the subjects keep (see `Subject`) are not measured anew.

    Parameters
    ----------
    subjects : iterable of Subject
        Those that share a label are not measured.
    executor : concurrent.futures.Executor, optional
        Processes, threads, loky, or ``client.get_executor()`` of dask.distributed. Without one, a plain loop.
    participants : DataFrame, optional
        Its other columns are put beside the measures by its column ``participant_id``. A subject without a
        row in it, or with two, is not measured.

    Returns
    -------
    DataFrame
        One row for each subject, in their order: ``participant_id``, columns of ``participants``, what
        `measure_subject` returns (NaN if it failed), and ``error``, a sentence, missing if all went well.

    Raises
    ------
    ValueError
        If ``participants`` has no column ``participant_id``, or one that is named as a measure.
    """
    with threadpool_limits(1):  # subjects run side by side; threads within one would only get in the way
        return _table(subjects, participants, lambda jobs: _rows(executor, jobs))


def _check_participants(table, name="the table of participants"):
    if "participant_id" not in table:
        there = ", ".join(map(str, table.columns))
        raise ValueError(f"There is no column participant_id in {name}, only {there}; rename or add it.")
    taken = [column for column in (*MEASURES, "error") if column in table]
    if taken:
        raise ValueError(f"The column {taken[0]} of {name} is named as a result; rename it.")


def _table(subjects, participants, find_rows):
    """Return the table; ``find_rows`` yields (position, row) for pairs of position and subject."""
    subjects = list(subjects)
    people = pd.DataFrame({"participant_id": [subject.label for subject in subjects]})
    if participants is not None:
        _check_participants(participants)
    rows = [None] * len(subjects)
    for position, reason in _unfit(subjects, participants):
        rows[position] = _failed(subjects[position], reason)
    jobs = [(position, subject) for position, subject in enumerate(subjects) if rows[position] is None]
    with _bar(len(jobs)) as bar:
        for position, row in find_rows(jobs):
            rows[position] = row
            bar.update()
    measures = pd.DataFrame(rows, columns=[*MEASURES, "error"])
    measures = measures.astype(dict.fromkeys(MEASURES, float) | {"error": "str"})
    if participants is not None:
        known = participants.drop_duplicates("participant_id").set_index("participant_id")
        people = people.join(known, on="participant_id")
    return pd.concat([people, measures], axis=1)


def _unfit(subjects, participants):
    """Yield (position, reason) of subjects that must not be measured."""
    counts = Counter(subject.label for subject in subjects)
    rows = None if participants is None else Counter(participants["participant_id"])
    for position, subject in enumerate(subjects):
        if counts[subject.label] > 1:
            files = ", ".join(str(other.t1.name) for other in subjects if other.label == subject.label)
            yield (
                position,
                (
                    f"{subject.label} is the label of {counts[subject.label]} images ({files}); "
                    "keep one, or give each a label of its own."
                ),
            )
        elif rows is not None and rows[subject.label] != 1:
            number = rows[subject.label] or "no"
            remedy = "keep one" if rows[subject.label] else "add one, or leave the subject out"
            yield position, f"{subject.label} has {number} rows in the table of participants; {remedy}."


def _failed(paths, reason):
    """Return the row of a subject that could not be measured, and keep it, so that the reason is not lost."""
    row = {"participant_id": paths.label, **dict.fromkeys(MEASURES), "error": reason}
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        _keep(paths, row, {})
    return row


def _attempt(paths):
    """Return the row of a subject, whatever happens."""
    try:
        return measure_subject(paths)
    except (ValueError, OSError) as error:
        return _failed(paths, str(error))
    except Exception as error:  # no memory, or a fault of ours: one subject must not sink the run
        return _failed(paths, f"{paths.t1.name} could not be measured ({type(error).__name__}: {error}).")


def _work(paths, run):
    """Do the same in a worker. ``run`` is different each time: dask takes equal calls for one."""
    _use_one_thread()
    return _attempt(paths)


@lru_cache(maxsize=1)
def _use_one_thread():
    threadpool_limits(1)  # for as long as the worker lives


def _rows(executor, jobs):
    """Yield (position, row) for pairs of position and subject, as they are completed."""
    if executor is None:
        yield from ((position, _attempt(subject)) for position, subject in jobs)
        return
    jobs, context = iter(jobs), getattr(executor, "_mp_context", None)
    workers = getattr(executor, "_max_workers", None)
    window = 4 * workers if workers else WINDOW
    with contextlib.ExitStack() as pools:
        while suspects := (yield from _run(executor, jobs, window)):
            # A worker died and took its pool along. Whose fault was it? Each alone shows.
            yield from _one_at_a_time(suspects, context)
            executor = pools.enter_context(ProcessPoolExecutor(workers, context))


def _run(executor, jobs, window):
    """Yield (position, row) of what an executor completes; return the jobs in it when it broke, else none."""
    running, again = {}, []
    try:
        while True:
            fresh = islice(jobs, max(0, window - len(running) - len(again)))
            handed = [(job, 2) for job in again] + [(job, 1) for job in fresh]
            if not (handed or running):
                return []
            again = []
            for number, (job, attempt) in enumerate(handed):
                try:
                    running[executor.submit(_work, job[1], uuid.uuid4().hex)] = job, attempt
                except BrokenExecutor:
                    return [job for job, _ in (*running.values(), *handed[number:])]
                except Exception as error:
                    yield job[0], _failed(job[1], _lost(error))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, attempt = running[future]
                try:
                    row = future.result()
                except BrokenExecutor:
                    return [job for job, _ in running.values()]
                except (
                    Exception
                ) as error:  # the subject's own become rows in the worker: this is the worker's
                    if isinstance(error, CancelledError) and attempt == 1:
                        again.append(job)
                    else:
                        yield job[0], _failed(job[1], _lost(error))
                else:
                    yield job[0], row
                del running[future]
    finally:
        for future in running:
            future.cancel()


def _one_at_a_time(jobs, context):
    """Yield (position, row) of jobs, each in a process in which no other runs."""
    with contextlib.ExitStack() as pools:
        pool = None
        for position, subject in jobs:
            pool = pool or pools.enter_context(ProcessPoolExecutor(1, context))
            try:
                row = pool.submit(_work, subject, None).result()
            except BrokenExecutor as error:
                row, pool = _failed(subject, _lost(error)), None
            yield position, row


def _lost(error):
    return (
        f"The worker was lost ({type(error).__name__}: {error}), perhaps killed or out of memory; "
        "measure this subject again, by itself."
    )


def _bar(total):
    """Return a progress bar that shows after half a second."""
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream = _Output() if in_notebook else sys.stderr
    return tqdm(desc="Measuring", total=total, unit=" subjects", delay=0.5, leave=False, file=stream)


class _Output:
    """One output of a notebook's cell for a progress bar: what goes to stderr there looks like a fault.

    On a website each line printed by the bar would stay; this one is replaced, and empty at the end.
    """

    def __init__(self):
        self._handle = None

    def write(self, text):
        from IPython.display import DisplayHandle

        text = text.strip()
        if self._handle is None and text:
            self._handle = DisplayHandle()
            self._handle.display({"text/plain": text}, raw=True)
        elif self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)

    def flush(self):
        """Do nothing: what is written is shown at once."""


# The command line


def main(arguments=None):
    """Run ``python -m helpers.cohort``; return the exit code: 0, or 1 if a subject failed."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.cohort",
        description="Measure the volumes of brains: subject by subject, then all into one table.",
        epilog="A scheduler runs 'participant' many times at once, with other labels each time, and then "
        "'group' once. What is done already is not done again, so a run that was stopped is simply started "
        "anew. The exit code is 0 if all went well, 1 if a subject failed, 2 if the call is wrong, "
        "and 130 if it was interrupted.",
    )
    add = parser.add_argument
    add("input", type=Path, help="folder with participants.tsv and sub-*/**/sub-*_T1w.nii.gz (as in BIDS)")
    add("output", type=Path, help="folder for the rows, sub-*.json, and for their table, volumes.tsv")
    add("level", choices=("participant", "group"), help="measure subjects, or gather their rows in the table")
    add(
        "--participant-label", nargs="+", metavar="LABEL", default=[],
        help="subjects to measure, with or without 'sub-'; all, if left out",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.level == "group" and options.participant_label:
        parser.error("--participant-label is for the level 'participant'; 'group' gathers all.")
    try:
        participants = read_participants(options.input)
        subjects = find_subjects(options.input, options.output)
    except (ValueError, OSError) as error:
        parser.error(str(error))

    if options.level == "participant":
        asked = {f"sub-{label.removeprefix('sub-')}" for label in options.participant_label}
        unknown = asked - {subject.label for subject in subjects}
        if unknown:
            parser.error(f"there is no {', '.join(sorted(unknown))} in {options.input}.")
        if asked:
            subjects = [subject for subject in subjects if subject.label in asked]
        try:
            table = measure_cohort(subjects, participants=participants)
        except KeyboardInterrupt:
            print("Stopped. What was measured is kept; the same command goes on from there.", file=sys.stderr)
            return 130  # as a shell has it
    else:
        table = _table(subjects, participants, lambda jobs: ((at, _gathered(paths)) for at, paths in jobs))
        _write(options.output / "volumes.tsv", table.to_csv(sep="\t", index=False, na_rep="n/a"))

    failed = table[table["error"].notna()]
    print(f"{len(table)} subjects, {len(failed)} failed")
    for label, error in zip(failed["participant_id"], failed["error"], strict=True):
        print(error if error.startswith(label) else f"{label}: {error}", file=sys.stderr)
    return int(len(failed) > 0)


def _gathered(paths):
    """Return the row that was kept of a subject."""
    kept = _kept(paths)
    if kept:
        return kept["row"]
    reason = "has not been measured by this version of the method; run the level 'participant' for it."
    return {"error": f"{paths.label} {reason}"}


if __name__ == "__main__":
    # As the module that others import, so that what is sent to other processes is found there.
    from helpers.cohort import main

    sys.exit(main())

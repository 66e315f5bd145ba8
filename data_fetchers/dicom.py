"""A DICOM series put together by its headers: whatever the files are called, and however many come twice."""

import re
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom

from .cache import FetchError
from .reading import damaged

TOLERANCE_MM = 0.05  # positions in headers are rounded


class _Frame(NamedTuple):
    """One image of a series, with what of its header says where and when it belongs; lengths in mm, LPS."""

    path: Path
    uid: str
    series: str
    position: np.ndarray  # (3,)
    cosines: np.ndarray  # (2, 3): direction of a row, direction of a column
    spacing: tuple  # between rows, between columns
    thickness: float  # between slices as the header says it
    time: float  # ms after the R wave, 0 if there is none
    number: int
    pixels: np.ndarray  # (row, column)


def assemble(paths):
    """Return the image, over time if there is one, that the files of a DICOM series hold.

    Slices are sorted by their position along the normal of their plane, from the end at which the instance
    numbers begin; frames by trigger time and then by instance number. A file that comes twice is used once.
    Names and order of the files do not matter.

    Parameters
    ----------
    paths : iterable of Path
        The files, one two-dimensional image each.

    Returns
    -------
    data : ndarray, (i, j, k, t)
        i counts the columns, j the rows, k the slices, t the frames; so ``data.T`` is (time, slice, row,
        column). Stored values, rescaled where the header asks for it.
    affine : ndarray, (4, 4)
        From (i, j, k) to RAS+ mm.
    times_ms : ndarray, (k, t)
        Trigger times, 0 where the headers have none.

    Raises
    ------
    FetchError
        If a file is damaged, is of another series, size or orientation than the rest, stands alone, or if
        slices or frames are missing.
    """
    frames = _without_repetition([_read(Path(path)) for path in paths])
    if not frames:
        raise FetchError("There is no DICOM file to read; name the files of one series.")
    _require_one(frames, "series", lambda frame: frame.series)
    _require_one(frames, "size", lambda frame: (frame.pixels.shape, frame.spacing))
    _require_one(
        frames, "orientation", lambda frame: np.allclose(frame.cosines, frames[0].cosines, atol=1e-3)
    )

    slices = _slices(frames)
    affine = _affine([frames_of_slice[0] for frames_of_slice in slices])
    data = np.stack([[frame.pixels for frame in frames_of_slice] for frames_of_slice in slices])
    times_ms = np.array([[frame.time for frame in frames_of_slice] for frames_of_slice in slices])
    return data.transpose(3, 2, 0, 1), affine, times_ms


def _read(path):
    """Return one file as a frame."""
    try:
        # Published files break rules of the standard that do not matter here, hundreds of times in a series.
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path)
            pixels = ds.pixel_array
            if "RescaleSlope" in ds:
                pixels = pixels * np.float32(ds.RescaleSlope) + np.float32(ds.RescaleIntercept)
            frame = _Frame(
                path=path,
                uid=ds.SOPInstanceUID,
                series=ds.SeriesInstanceUID,
                position=np.array(ds.ImagePositionPatient, float).reshape(3),
                cosines=np.array(ds.ImageOrientationPatient, float).reshape(2, 3),
                spacing=tuple(map(float, ds.PixelSpacing)),
                thickness=float(ds.get("SpacingBetweenSlices") or ds.get("SliceThickness") or 1),
                time=float(ds.get("TriggerTime") or 0),
                number=int(ds.get("InstanceNumber") or 0),
                pixels=pixels,
            )
    except Exception as error:  # damage leads a reader anywhere
        raise damaged(path, f"is not a whole DICOM image ({_reason(error)})") from error
    if pixels.ndim != 2:
        raise damaged(path, f"holds an image of {pixels.ndim} axes, where one slice was expected")
    numbers = np.concatenate([frame.position, frame.spacing, frame.cosines.ravel()])
    square = np.allclose(frame.cosines @ frame.cosines.T, np.eye(2), atol=1e-3)
    if not (np.isfinite(numbers).all() and square and min(frame.spacing) > 0):
        raise damaged(path, "states an impossible position, orientation or size of pixels")
    return frame


def _reason(error):
    """Return the first part of what a reader says of an error."""
    text = re.split(r" - |[.,;:] ", " ".join(str(error).split()))[0].rstrip(".")
    return text or type(error).__name__


def _without_repetition(frames):
    """Return the frames, each once."""
    seen = {}
    for frame in frames:
        first = seen.setdefault(frame.uid, frame)
        if not np.array_equal(first.pixels, frame.pixels):
            raise FetchError(
                f"{first.path} and {frame.path} claim to be one image but differ; leave out the wrong one."
            )
    return list(seen.values())


def _require_one(frames, what, key):
    """Raise an error if the frames are not all of one series, size or orientation."""
    counts = Counter(map(key, frames))
    if len(counts) > 1:
        rare = min(counts, key=counts.get)
        path = next(frame.path for frame in frames if key(frame) == rare)
        raise FetchError(
            f"{path} is of another {what} than the rest ({counts[rare]} of {len(frames)} images are like "
            "it); give the files of one series only."
        )


def _slices(frames):
    """Return the frames by slice and time: a list, for each slice, of lists of the same length."""
    normal = np.cross(*frames[0].cosines)
    order = sorted(frames, key=lambda frame: frame.position @ normal)
    slices = [[order[0]]]
    for frame in order[1:]:
        near = (frame.position - slices[-1][0].position) @ normal < TOLERANCE_MM
        slices[-1].append(frame) if near else slices.append([frame])
    usual = Counter(len(place) for place in slices for _ in place).most_common(1)[0][0]
    for place in slices:
        place.sort(key=lambda frame: (frame.time, frame.number))
        if len(place) != usual:
            raise FetchError(
                f"{place[0].path} lies at a slice position of {len(place)} image"
                f"{'s' * (len(place) > 1)}, where the others have {usual}; leave it out, or add the missing."
            )
        for a, b in zip(place, place[1:], strict=False):
            if (a.time, a.number) == (b.time, b.number):
                raise FetchError(f"{a.path} and {b.path} show the same place and time; leave one out.")
    return slices if slices[0][0].number <= slices[-1][0].number else slices[::-1]


def _affine(firsts):
    """Return the affine, voxel (i, j, k) to RAS+ mm, of slices given by a frame each."""
    row, column = firsts[0].cosines
    positions = np.array([frame.position for frame in firsts])
    step = np.cross(row, column) * firsts[0].thickness
    if len(firsts) > 1:
        steps = np.diff(positions, axis=0)
        step = np.median(steps, axis=0)
        off = np.linalg.norm(steps - step, axis=1)
        worst = off.argmax()
        if off[worst] > TOLERANCE_MM:
            a, b = firsts[worst : worst + 2]
            raise FetchError(
                f"From {a.path} to {b.path} it is {np.linalg.norm(steps[worst]):.2f} mm, where other slices "
                f"are {np.linalg.norm(step):.2f} mm apart: a slice is missing, or one does not belong; get "
                "the one, or leave out the other."
            )
    between_rows, between_columns = firsts[0].spacing
    affine = np.eye(4)
    affine[:3] = np.stack([row * between_columns, column * between_rows, step, positions[0]], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts to the left and back: LPS

"""What an image is to the viewer: its array, where its voxels lie, and which way up it goes."""

import math
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike, fspath
from pathlib import Path

import nibabel as nib
import numpy as np

AXIS_NAMES = "ijk"
MOST_BYTES = 4 * 2**30
"""Largest image that is shown, in bytes of its array as it is held in memory."""

_COLOUR_FIELDS = (("R", "G", "B"), ("R", "G", "B", "A"))


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on its own voxel grid, with what is needed to draw it the right way up.

    The array is never reordered: `axes` and `signs` say how its axes lie in a display whose axes x, y, z
    point right, up (or towards the patient's front) and up (towards the head).

    Attributes
    ----------
    data : ndarray, (ni, nj, nk) or (ni, nj, nk, nt)
        Voxels as given: same axis order, dtype and byte order. Colour voxels are structured,
        with the uint8 fields R, G, B (and A).
    affine : ndarray, (4, 4)
        From voxel indices (i, j, k) to millimetres: RAS+ when `world` is true, otherwise distances from
        the first voxel along the array's own axes.
    world : bool
        Whether the affine says where the patient's right, front and head are.
    unit : {"mm", "voxels"}
        Unit of the affine's result.
    axes : tuple of 3 ints
        Array axis closest to the display's x, y and z.
    signs : tuple of 3 ints
        +1 where the index grows along the display axis, -1 where it shrinks.
    time_step : float or None
        Seconds from one time point to the next, where a header tells them.
    """

    data: np.ndarray
    affine: np.ndarray
    world: bool
    unit: str
    axes: tuple[int, int, int]
    signs: tuple[int, int, int]
    time_step: float | None = None

    @property
    def shape(self):
        """Number of voxels along i, j and k."""
        return self.data.shape[:3]

    @property
    def n_times(self):
        """Number of time points; 1 for a volume without a time axis."""
        return self.data.shape[3] if self.data.ndim == 4 else 1

    @property
    def voxel_sizes(self):
        """Length of a voxel's edges along i, j and k, in `unit`; shape (3,)."""
        return nib.affines.voxel_sizes(self.affine)

    @property
    def is_colour(self):
        """Whether the voxels are colours rather than intensities."""
        return self.data.dtype.names is not None

    @property
    def is_picture(self):
        """Whether this is a picture of rows and columns rather than a stack of slices."""
        return not self.world and self.axes == (1, 0, 2)

    @property
    def axis_letters(self):
        """Letters of R, L, A, P, S, I towards which i, j and k grow; None without a world."""
        return nib.aff2axcodes(self.affine) if self.world else None

    @property
    def tilt(self):
        """Largest angle of a voxel axis to its closest anatomical axis, in degrees; 0 without a world."""
        if not self.world:
            return 0.0
        return float(np.degrees(nib.affines.obliquity(self.affine)).max())

    @property
    def is_oblique(self):
        """Whether the voxel grid is tilted visibly (by over half a degree) against the anatomical axes."""
        return self.tilt > 0.5

    def frame(self, time=0):
        """Return the volume at one time point, shape (ni, nj, nk), as a view."""
        return self.data[..., time] if self.data.ndim == 4 else self.data

    def to_mm(self, vox):
        """Return the position of voxel coordinates (i, j, k), in `unit`; shapes (..., 3)."""
        return nib.affines.apply_affine(self.affine, vox)

    def to_vox(self, mm):
        """Return the voxel coordinates (i, j, k) of a position in `unit`; shapes (..., 3)."""
        return nib.affines.apply_affine(np.linalg.inv(self.affine), mm)


def as_volume(image, sampling=None):
    """Return any image the course meets as a `Volume`.

    Parameters
    ----------
    image : array_like, nibabel image, path or Volume
        * an array of intensities: (rows, columns); (ni, nj, nk), drawn with i to the right, j up and one
          slice per k; or (ni, nj, nk, nt), time last. Integers, floats or booleans of any byte order;
        * a uint8 array (rows, columns, 3 or 4), which is a colour picture as imageio, Pillow and matplotlib
          have it. Three or four *slices* in uint8 are told apart by giving their `sampling`.
          A colour volume has a structured dtype with the uint8 fields R, G, B (and A), as nibabel reads it;
        * a volume read by imageio: its ``meta["sampling"]`` is taken as `sampling`. (It outlives indexing:
          after a step such as ``volume[:, ::2]`` it is wrong, and `sampling` must be given);
        * a nibabel image of any orientation, or the path of one. If it has no affine, or is a NIfTI file
          whose sform and qform codes are both 0, then only its voxel sizes are used.
    sampling : sequence of float, optional
        Voxel sizes in mm of an array in imageio's axis order: (slice, row, column), or (row, column).
        Such an array is drawn slice by slice of its first axis, rows going down.

    Returns
    -------
    Volume
        Trailing axes of length 1 after the third are gone: (x, y, z, 1, t) becomes (x, y, z, t).

    Raises
    ------
    TypeError
        If the voxels are neither real numbers nor colours, or this is a data set or a list of paths.
    ValueError
        If the image is empty, has no 2 to 4 axes, an affine that cannot be inverted, or a sampling that
        does not fit it; if it would take more than 4 GiB of memory, which is known before a file's voxels
        are read; if a file is in no format that nibabel reads, such as DICOM.
    FileNotFoundError
        If there is no file at the path.
    """
    if isinstance(image, Volume):
        if sampling is not None:
            raise ValueError("sampling is for plain arrays: a Volume brings its own voxel sizes.")
        return image
    if isinstance(image, str | PathLike):
        image = _load(image)
    if isinstance(image, nib.spatialimages.SpatialImage):
        if sampling is not None:
            raise ValueError("sampling is for plain arrays: a nibabel image brings its own voxel sizes.")
        return _from_nibabel(image, "image")

    sampling = _sampling_of(image) if sampling is None else sampling
    data = _as_array(image, "image")
    if sampling is None and _looks_like_colour_picture(data):
        fields = _COLOUR_FIELDS[data.shape[2] - 3]
        data = np.ascontiguousarray(data).view([(name, "u1") for name in fields])[..., 0]
    data = _check_voxels(data, "image")
    n_axes = min(data.ndim, 3)
    if sampling is None:
        sizes, unit = np.ones(n_axes), "voxels"
    else:
        sizes, unit = _check_sampling(sampling, n_axes), "mm"
    if data.ndim == 2:
        data, sizes = data[..., np.newaxis], np.append(sizes, 1.0)
        axes, signs = (1, 0, 2), (1, -1, 1)
    elif unit == "mm":
        axes, signs = (2, 1, 0), (1, -1, -1)
    else:
        axes, signs = (0, 1, 2), (1, 1, 1)
    return Volume(data, np.diag([*sizes, 1.0]), False, unit, axes, signs)


def as_overlay(volume, overlay, name="overlay"):
    """Return an overlay as a `Volume` on the grid of the image below it.

    Parameters
    ----------
    volume : Volume
        The image below.
    overlay : array_like, nibabel image, path or Volume
        Mask, labels or statistical map of the same shape; with a time axis only if the image has the
        same. A nibabel image must also have the same affine, if both have one.
    name : str
        What to call it in messages.

    Returns
    -------
    Volume

    Raises
    ------
    TypeError, FileNotFoundError
        As of `as_volume`.
    ValueError
        As of `as_volume`, or if the overlay lies on another grid or holds colours.
    """
    if isinstance(overlay, str | PathLike):
        overlay = _load(overlay)
    if isinstance(overlay, nib.spatialimages.SpatialImage):
        overlay = _from_nibabel(overlay, name)
    if isinstance(overlay, Volume):
        placed = overlay
        data = placed.data
        given = _given(placed)
        moved = placed.world and volume.world and _apart(volume, placed) > 0.01
    else:
        placed, moved = None, False
        data = _check_voxels(_as_array(overlay, name), name)
        given = data.shape
        data = data[..., np.newaxis] if data.ndim == 2 else data
    if data.dtype.names is not None:
        raise ValueError(f"The {name} must hold numbers, not colours.")
    resample = "resample it first, for example with nilearn.image.resample_to_img."
    if data.shape not in (volume.data.shape, volume.shape):
        both_placed = placed is not None and placed.world and volume.world
        remedy = resample if both_placed else "crop, pad or resample it to that shape first."
        raise ValueError(f"The {name}'s shape {given} is not the image's {_given(volume)}: {remedy}")
    if moved:
        raise ValueError(
            f"The {name}'s affine is not the image's, so their voxels lie in different places: {resample}"
        )
    return replace(volume, data=data, time_step=placed.time_step if placed else volume.time_step)


def _given(volume):
    """Return the shape that an image came with: a picture has its third axis from here."""
    return volume.shape[:2] if volume.is_picture else volume.data.shape


def _apart(one, other):
    """Return how far, in voxels of `one`, the corners of its grid lie from those of another's affine."""
    corners = np.stack(np.meshgrid(*([0, size - 1] for size in one.shape)), axis=-1)
    return np.abs(one.to_vox(other.to_mm(corners)) - corners).max()


def _load(path):
    """Load an image file with nibabel, turning its errors into one sentence."""
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no image file at {fspath(path)!r}.")
    try:
        img = nib.load(path)
    except (EOFError, ValueError, nib.spatialimages.HeaderDataError) as error:
        raise ValueError(f"{fspath(path)!r} is damaged or cut short, it cannot be read: {error}.") from error
    except (nib.filebasedimages.ImageFileError, IsADirectoryError):
        if _is_dicom(Path(path)):
            raise ValueError(
                f"{fspath(path)!r} is DICOM, which nibabel does not read: read a slice with imageio.v3's "
                'imread(path, plugin="pydicom", raw=True), or a whole series with '
                "data_fetchers.dicom.assemble(paths), and pass the array."
            ) from None
        raise ValueError(
            f"{fspath(path)!r} is in no format that nibabel reads: open it with the right library "
            "(imageio for PNG and the like) and pass the array."
        ) from None
    if not isinstance(img, nib.spatialimages.SpatialImage):
        raise ValueError(f"{fspath(path)!r} holds a {type(img).__name__}, which is no image of voxels.")
    return img


def _is_dicom(path):
    """Tell whether a file, or one of the first in a folder, has the letters DICM after DICOM's preamble."""
    for file in islice(path.rglob("*"), 20) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(132)[128:] == b"DICM":
                    return True
    return False


@contextmanager
def _reading(what):
    """Say in one sentence that the voxels of an image's file cannot be read."""
    try:
        yield
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(
            f"The {what}'s file is damaged or cut short, its voxels cannot be read: "
            f"{str(error).splitlines()[0]}."
        ) from error


def _from_nibabel(img, what):
    """Return a nibabel image as a Volume, without filling the image's own cache."""
    proxy = img.dataobj
    with _reading(what):  # scaled integers become floats: one voxel shows which
        one = np.asanyarray(proxy[(slice(0, 1),) * len(proxy.shape)]) if all(proxy.shape) else np.empty(0)
    _check_size(proxy, what, one.dtype, "img.slicer")
    with _reading(what):
        data = np.asanyarray(proxy)
    data = _check_voxels(data, what)
    data = data[..., np.newaxis] if data.ndim == 2 else data
    affine = img.affine
    if affine is None or _unplaced(img):
        zooms = np.append(np.asarray(img.header.get_zooms()[:3], dtype=float), [1.0, 1.0])[:3]
        affine = np.diag([*np.where(zooms > 0, zooms, 1.0), 1.0])
        return Volume(data, affine, False, "mm", (0, 1, 2), (1, 1, 1), _time_step(img))
    affine = np.asarray(affine, dtype=float)
    # A scale-free test: the determinant alone would refuse very small voxels.
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise ValueError(f"The {what}'s affine is singular or not finite: it gives its voxels no place.")
    display_axes, flips = nib.io_orientation(affine).astype(int).T
    axes = tuple(int(axis) for axis in np.argsort(display_axes))
    signs = tuple(int(flips[axis]) for axis in axes)
    return Volume(data, affine, True, "mm", axes, signs, _time_step(img))


def _check_size(array, what, dtype, name):
    """Raise ValueError if an array or nibabel's proxy of one would take too much memory once it is read."""
    shape = tuple(array.shape)
    n_voxels = math.prod(shape)
    share = n_voxels * dtype.itemsize / MOST_BYTES
    if share > 1:
        n_axes = min(3, len(shape))
        step = math.ceil(share ** (1 / n_axes))
        raise ValueError(
            f"The {what} of shape {shape} would take {share * MOST_BYTES / 2**30:.1f} GiB of memory "
            f"as {dtype}, but at most {MOST_BYTES / 2**30:g} GiB are shown: take a part of it, "
            f"for example {name}[{', '.join([f'::{step}'] * n_axes)}]."
        )


def _unplaced(img):
    """Tell whether a NIfTI header says that its affine means nothing (both codes 0)."""
    header = img.header
    return isinstance(header, nib.Nifti1Header) and header["sform_code"] == 0 and header["qform_code"] == 0


def _time_step(img):
    """Return the seconds from one time point to the next, where a NIfTI header tells them and their unit."""
    times = [axis for axis in range(3, len(img.shape)) if img.shape[axis] > 1]
    if not isinstance(img.header, nib.Nifti1Header) or len(times) != 1:
        return None
    try:
        unit = img.header.get_xyzt_units()[1]
    except KeyError:  # a code of no unit
        return None
    step = float(img.header.get_zooms()[times[0]])
    seconds = step * {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(unit, 0.0)
    return seconds if 0 < seconds < np.inf else None


def _sampling_of(image):
    """Return the sampling that imageio stored with an array, or None."""
    meta = getattr(image, "meta", None)
    if not isinstance(meta, dict) or meta.get("sampling") is None:
        return None
    sampling, shape = meta["sampling"], meta.get("shape")
    if shape is not None and len(shape) == image.ndim and any(np.greater(image.shape, shape)):
        raise ValueError(
            f"The array's shape {image.shape} is not that of the file it was read from, {tuple(shape)}: "
            "its axes have moved, so give their sampling, or pass np.asarray(image)."
        )
    several = isinstance(sampling, list | tuple | np.ndarray)  # anything else is refused further on
    return sampling[-2:] if image.ndim == 2 and several else sampling


def _as_array(image, what):
    """Return array-likes as a plain ndarray, masked values as NaN."""
    for name, advice in (("image", "its .image"), ("paths", "one of its .paths")):
        if getattr(image, name, None) is not None:
            raise TypeError(f"The {what} is a {type(image).__name__}, not an array: take {advice}.")
    if isinstance(image, list | tuple) and any(isinstance(each, str | PathLike) for each in image):
        raise TypeError(
            f"The {what} is a list of {len(image)} paths: give one of them, or read them into one array "
            "first (a DICOM series with data_fetchers.dicom.assemble)."
        )
    argument = what.split()[0]  # as the caller knows it: image, overlay or moving
    if isinstance(image, np.ma.MaskedArray) and image.dtype.kind in "biuf":
        _check_size(image, what, np.dtype(float), argument)
        return image.astype(np.result_type(image.dtype, float)).filled(np.nan)
    if isinstance(getattr(image, "dtype", None), np.dtype):
        _check_size(image, what, image.dtype, argument)
    try:
        return np.asarray(image)
    except ValueError:
        raise TypeError(f"The {what} is a ragged sequence, not an array of numbers.") from None


def _looks_like_colour_picture(data):
    """Tell a colour picture as imageio reads it: uint8, (rows, columns, 3 or 4)."""
    return data.dtype == np.uint8 and data.ndim == 3 and data.shape[2] in (3, 4)


def _check_voxels(data, what):
    """Return `data` with 2 to 4 axes, or say in one sentence why it cannot be drawn."""
    if data.dtype.names is not None:
        names = data.dtype.names
        if names not in _COLOUR_FIELDS or any(data.dtype[name] != np.uint8 for name in names):
            raise TypeError(
                f"The {what}'s structured voxels must be colours, uint8 R, G, B (and A), not {data.dtype}."
            )
    elif data.dtype.kind == "c":
        raise TypeError(f"The {what} is complex, which cannot be drawn: show its np.abs or np.angle.")
    elif data.dtype.kind not in "biuf":
        raise TypeError(f"The {what} must hold numbers, not values of dtype {data.dtype}.")
    if data.size == 0:
        raise ValueError(
            f"The {what} is empty: its shape is {data.shape}, so look at what it was cut out or read from."
        )
    if data.ndim < 2:
        raise ValueError(
            f"The {what} must have 2 to 4 axes, but this array has {data.ndim}: "
            "reshape it to (rows, columns), (i, j, k) or (i, j, k, time)."
        )
    late_singletons = tuple(axis for axis in range(3, data.ndim) if data.shape[axis] == 1)
    squeezed = data.squeeze(axis=late_singletons)
    if squeezed.ndim > 4:
        raise ValueError(f"The {what} must have 2 to 4 axes (i, j, k, time), but this shape is {data.shape}.")
    if squeezed.dtype.kind == "f" and squeezed.dtype.itemsize > 8:  # no browser and no picture has finer ones
        with np.errstate(over="ignore"):
            squeezed = squeezed.astype(float)
    return squeezed


def _check_sampling(sampling, n_axes):
    """Return the sampling as a float array of shape (n_axes,)."""
    given = sampling
    try:
        sampling = np.asarray(given, dtype=float)
        given = sampling.tolist()
    except (TypeError, ValueError, OverflowError):
        sampling = np.array(np.nan)
    if sampling.shape != (n_axes,) or not np.isfinite(sampling).all() or (sampling <= 0).any():
        names = "(slice, row, column)" if n_axes == 3 else "(row, column)"
        raise ValueError(f"The sampling must be {n_axes} positive mm {names}, not {given!r}.")
    return sampling

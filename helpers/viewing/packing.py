"""From voxels to the few bytes that a browser draws from: codes of 8 or 16 bits, cropped, packed once."""

import gzip
import math
from dataclasses import dataclass

import numpy as np

from helpers.viewing.slices import auto_window, data_range

FINE_VOXELS = 2**21
"""Up to this many voxels get codes of 16 bits; larger volumes have 8, at half the bytes."""
MOST_VOXELS = 2**26
"""Largest number of codes that a browser is given; of larger volumes every second, third, … voxel is sent."""

_SLAB_VOXELS = 2**22
_EXACT_FLOATS = 2**53  # beyond, a float no longer tells whole numbers apart
_LARGEST = float(np.finfo(float).max) / 4  # so that neither a range nor its sum with an offset overflows
_TABLE_SIZE = 65000


@dataclass(frozen=True, eq=False)
class Coding:
    """How values become codes: value = offset + slope · code, or table[code].

    Attributes
    ----------
    dtype : type
        numpy.uint8 or numpy.uint16; numpy.uint32 for colours, whose bytes are R, G, B, A.
    offset : float
        Value of the code 0.
    slope : float
        What one more in the code adds.
    has_nan : bool
        Whether the code 0 stands for NaN, so that the values begin at 1.
    exact : bool
        Whether each value comes back as it was.
    table : ndarray or None
        Values of the codes, where they do not lie on a line.
    clips : bool
        Whether the first and the last code stand also for what lies beyond them.
    """

    dtype: type
    offset: float = 0.0
    slope: float = 1.0
    has_nan: bool = False
    exact: bool = True
    table: np.ndarray | None = None
    clips: bool = False


def choose_coding(data, fine, labels=False, shades=256):
    """Choose how to code an array.

    Parameters
    ----------
    data : ndarray, any shape and real dtype, or structured colours
    fine : bool
        Whether codes may take 16 bits where 8 are not exact.
    labels : bool
        Whether the values are whole numbers that name things, so that each must come back as it was.
    shades : int
        Number of codes of 8 bits to use: fewer pack into fewer bytes.

    Returns
    -------
    Coding
        Whole numbers are exact if their range fits. Otherwise the codes are spread evenly over all values,
        but for outliers: values far outside the automatic window take the first and the last code, and so do
        values beyond a quarter of the largest float. A 0 comes back as 0, as it is clear in an overlay.
    """
    if data.dtype.names is not None:
        return Coding(np.uint32)
    low, high = data_range(data)
    has_nan = data.dtype.kind == "f" and bool(np.isnan(data).any())
    whole = (data.dtype.kind in "biu" or labels) and max(-low, high) < _EXACT_FLOATS
    if whole and not has_nan and high < (256 if labels else shades) and low >= 0:
        return Coding(np.uint8)
    count = high - low + 1 + has_nan
    if whole and count <= (65536 if fine or labels else shades):
        return Coding(np.uint8 if count <= 256 else np.uint16, low - has_nan, has_nan=has_nan)
    if labels:
        return _table_of(data)
    dtype = np.uint16 if fine else np.uint8
    dull, bright = auto_window(data)
    margin = (bright / 2 - dull / 2) * (256 if fine else 1)
    lowest, highest = low, high
    low, high = max(low, dull - margin, -_LARGEST), min(high, bright + margin, _LARGEST)
    clips = low > lowest or high < highest or (data.dtype.kind == "f" and bool(np.isinf(data).any()))
    last = (65535 if fine else shades - 1) - has_nan - (low < 0)
    slope = high / last - low / last
    if slope <= np.finfo(float).tiny:  # all values are the same, or lie closer together than a slope can tell
        return _table_of(data)
    # A whole multiple of the slope, as one product, where 0 must have a code of its own.
    offset = slope * (math.floor(low / slope) - has_nan) if low <= 0 <= high else low - slope * has_nan
    return Coding(dtype, offset, slope, has_nan, exact=False, clips=clips)


def encode(data, coding):
    """Return the codes of an array, in Fortran order; infinities take the first and the last code."""
    if coding.dtype is np.uint32:
        return _colour_codes(data)
    if coding.table is not None:
        codes = np.clip(np.searchsorted(coding.table[1:], data) + 1, 1, coding.table.size - 1)
        return np.where(np.isnan(data), 0, codes).astype(coding.dtype, order="F")
    if coding.slope == 1 and coding.exact and data.dtype.kind != "f":
        # Wraps around, and back: the difference fits the unsigned type though not always the array's own.
        offset = np.array(coding.offset).astype(data.dtype if data.dtype.kind != "b" else np.uint8)
        return (data - offset if offset else data).astype(coding.dtype, order="F")
    # Quicker, but 32 bits would blur values that lie far from 0.
    near = abs(coding.offset) < coding.slope * 2**16 and 1e-30 < coding.slope < 1e30
    kind = np.result_type(data.dtype, np.float32 if near and data.dtype.itemsize <= 4 else float)
    first, last = int(coding.has_nan), np.iinfo(coding.dtype).max
    with np.errstate(over="ignore", invalid="ignore"):
        levels = data.astype(kind, order="F")
        levels /= coding.slope
        levels -= coding.offset / coding.slope
        np.clip(np.rint(levels, out=levels), first, last, out=levels)
    return np.nan_to_num(levels, copy=False, nan=0).astype(coding.dtype)


def decode(codes, coding):
    """Return the values of codes as floats; colours stay codes."""
    if coding.dtype is np.uint32:
        return codes
    if coding.table is not None:
        return coding.table[codes]
    values = coding.offset + coding.slope * codes.astype(float)
    return np.where(codes == 0, np.nan, values) if coding.has_nan else values


def pack(data, most_voxels=MOST_VOXELS, fine_voxels=FINE_VOXELS, step=1, labels=False, shades=256, level=1):
    """Pack a volume for the browser.

    Parameters
    ----------
    data : ndarray, (ni, nj, nk) or (ni, nj, nk, nt)
        Numbers, or structured colours.
    most_voxels : int
        Largest number of codes to send. Of a larger volume every second, third, … voxel along each axis
        of space is there, and stands for its neighbours.
    fine_voxels : int
        Up to this many voxels may have codes of 16 bits.
    step : int
        Smallest step from one voxel sent to the next.
    labels, shades
        See `choose_coding`.
    level : int
        Of gzip, from 1 (quick) to 9 (small).

    Returns
    -------
    dict
        ``voxels``, the gzip-packed codes (little-endian, i fastest; the same volume gives the same bytes),
        and what it takes to read them: ``bytes`` of a code, ``shape`` (4 axes), ``start`` and ``step`` of the
        part that is there, cropped to the box around all voxels that differ from the very first one, whose
        code ``outside`` the rest has; how many ``shades`` of 256 it has; and the `Coding`: ``offset``,
        ``slope``, ``hasNan``, ``table``, ``clips``, ``exact``, which voxels that stand for others are not.
    """
    data = data if data.ndim == 4 else data[..., np.newaxis]
    longest = max(data.shape[:3])
    while step < longest and math.prod(-(-n // step) for n in data.shape[:3]) * data.shape[3] > most_voxels:
        step += 1
    # The middle of each block, as it lies closest to all that it stands for.
    thin = data[tuple(slice(min(step // 2, (size - 1) % step), None, step) for size in data.shape[:3])]
    box = _box(thin)
    part = thin[box]
    coding = choose_coding(thin, part.size <= fine_voxels, labels, shades)
    codes = np.empty(part.shape, coding.dtype, order="F")
    thickness = max(1, _SLAB_VOXELS // part[:, :, :1].size)
    for first in range(0, part.shape[2], thickness):  # slab by slab: only the codes need memory
        codes[:, :, first : first + thickness] = encode(part[:, :, first : first + thickness], coding)
    return describe(codes, coding, level) | {
        "start": [axis.start * step for axis in box],
        "step": step,
        "shades": shades if coding.dtype is np.uint8 and not coding.exact else 256,
        "exact": coding.exact and step == 1,
        "outside": int(encode(thin[:1, :1, :1, :1], coding).item()),
    }


def describe(codes, coding, level=1):
    """Return codes and their coding as a dict of plain values, and ``voxels``, the packed bytes."""
    little = codes.astype(codes.dtype.newbyteorder("<"), copy=False)
    return {
        "voxels": gzip.compress(little.tobytes(order="F"), level, mtime=0),
        "bytes": codes.dtype.itemsize,
        "shape": list(codes.shape),
        "offset": coding.offset,
        "slope": coding.slope,
        "hasNan": coding.has_nan,
        "exact": coding.exact,
        "clips": coding.clips,
        "table": None if coding.table is None else [None, *coding.table[1:].tolist()],  # JSON has no NaN
    }


def _table_of(data):
    """Return a coding that lists all finite values, or as many as fit."""
    if data.dtype.kind in "biu":
        table, exact, infinite = np.unique(data), True, False
    else:
        table, infinite = np.unique(data[np.isfinite(data)]), bool(np.isinf(data).any())
        exact = not infinite
    exact = exact and table.size <= _TABLE_SIZE and not (np.abs(table.astype(float)) > _EXACT_FLOATS).any()
    step = max(1, -(-table.size // _TABLE_SIZE))
    clips = infinite or (table.size - 1) % step > 0  # then the largest value is not in the table
    table = table[::step].astype(float)
    dtype = np.uint8 if table.size < 256 else np.uint16
    return Coding(dtype, has_nan=True, exact=exact, table=np.append(np.nan, table), clips=clips)


def _box(data):
    """Return the smallest box of space, as slices, around all voxels that differ from the very first one."""
    corner = data[0, 0, 0, 0]
    background_is_nan = data.dtype.kind == "f" and np.isnan(corner)
    filled = (~np.isnan(data) if background_is_nan else data != corner).any(axis=3)
    box = []
    for axis in range(3):
        along = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1) if along.size else slice(0, 1))
    return tuple(box)


def _colour_codes(data):
    """Return structured colours as whole numbers of 32 bits: R + 256 G + 256² B + 256³ A."""
    red, green, blue = (data[name].astype(np.uint32) for name in "RGB")
    alpha = data["A"].astype(np.uint32) if "A" in data.dtype.names else np.uint32(255)
    return np.asfortranarray(red | green << 8 | blue << 16 | alpha << 24)

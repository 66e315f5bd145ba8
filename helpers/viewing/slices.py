"""From a volume to the pixels of one plane: pure functions, the reference for whatever draws."""

from dataclasses import dataclass
from functools import lru_cache
from operator import index as as_integer

import matplotlib
import numpy as np

from helpers.viewing.volume import AXIS_NAMES

PLANES = ("axial", "coronal", "sagittal")

# Display axes (x, y, z as 0, 1, 2) across, up and along each plane. In sagittal planes front is on the right.
_DISPLAY_AXES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
_LETTERS = ("LR", "PA", "IS")

BACKGROUND = (45, 52, 72)
"""Colour of NaN voxels, which hold no number: a slate blue that no grey can be taken for."""

CT_WINDOWS = {
    "CT brain": (40, 80),
    "CT soft tissue": (50, 400),
    "CT lung": (-600, 1500),
    "CT bone": (400, 1800),
}
"""Usual CT windows: centre and width in Hounsfield units."""

# Okabe and Ito's colours, which readers of any colour vision can tell apart; without black, lost on anatomy.
LABEL_COLOURS = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
    ],
    dtype=np.uint8,
)
MAP_CMAP = "RdBu_r"
_SAMPLE_SIZE = 1_000_000
_LINE_VOXELS = 2**18
_FEW_LABELS = 64
_LOW = 0.05
"""Threshold of a map of one sign, such as a probability, as a share of its limit."""


@dataclass(frozen=True)
class OverlayStyle:
    """How to draw an overlay.

    Attributes
    ----------
    kind : {"labels", "map"}
        Labels and masks: a colour for each whole number, 0 is clear. Maps: blue below zero, red above.
    limit : float
        Map value of the strongest colours, -limit and +limit.
    threshold : float
        Map values v with abs(v) < threshold are clear.
    opacity : float
        From 0 (clear) to 1.
    signs : tuple of 2 ints
        Where the map's colour bar begins and ends, in limits: (-1, 1), or of a map of one sign (0, 1) or
        (-1, 0).
    """

    kind: str
    limit: float = 1.0
    threshold: float = 0.0
    opacity: float = 0.7
    signs: tuple = (-1, 1)


def check_plane(plane):
    """Return `plane` if it names one of the three anatomical planes, otherwise raise ValueError."""
    if plane not in PLANES:
        raise ValueError(f"plane must be one of {', '.join(PLANES)}, not {plane!r}.")
    return plane


def check_convention(volume, radiological):
    """Raise ValueError if radiological display is asked for where left and right are not known."""
    if radiological and not volume.world:
        raise ValueError("Radiological display needs an image whose affine says where left and right are.")


def plane_axes(volume, plane):
    """Return the array axes (0, 1 or 2) across a plane, up its rows and along its columns."""
    return tuple(volume.axes[axis] for axis in _DISPLAY_AXES[check_plane(plane)])


def plane_slice(volume, plane, index, time=0, radiological=False):
    """Cut one plane out of a volume, in the order of a display.

    Parameters
    ----------
    volume : Volume
    plane : {"axial", "coronal", "sagittal"}
        For an oblique grid the closest plane of voxels.
    index : int
        Voxel index along the array axis across the plane: the volume's own index, however it is stored.
    time : int
        Time point.
    radiological : bool
        Draw the patient's right on the left. Otherwise (neurological) left is left.

    Returns
    -------
    ndarray, (rows, columns)
        A view. Row 0 is the top: superior, or anterior in an axial plane. A sagittal plane has anterior
        on the right in either convention.

    Raises
    ------
    IndexError
        If `index` or `time` is outside the volume.
    ValueError
        If `plane` names no plane, or `radiological` is asked for without a world affine.
    """
    across, up, along = plane_axes(volume, plane)
    index = _check_index(index, volume.shape[across], f"Index {AXIS_NAMES[across]}")
    time = _check_index(time, volume.n_times, "Time")
    flip_up, flip_along = flips(volume, plane, radiological)
    cut = volume.frame(time)[(slice(None),) * across + (index,)]
    cut = cut if up < along else cut.T
    return cut[:: -1 if flip_up else 1, :: -1 if flip_along else 1]


def pixel_of(volume, plane, index, radiological=False):
    """Return (row, column) in `plane_slice` of the voxel index (i, j, k)."""
    _, up, along = plane_axes(volume, plane)
    flip_up, flip_along = flips(volume, plane, radiological)
    row = volume.shape[up] - 1 - index[up] if flip_up else index[up]
    column = volume.shape[along] - 1 - index[along] if flip_along else index[along]
    return row, column


def pixel_size(volume, plane):
    """Return (height, width) of a pixel of `plane_slice`, in the volume's unit."""
    _, up, along = plane_axes(volume, plane)
    sizes = volume.voxel_sizes
    return float(sizes[up]), float(sizes[along])


def letters(volume, plane, radiological=False):
    """Return the letters at the edges of `plane_slice`.

    Returns
    -------
    dict or None
        Keys left, right, top, bottom; values of R, L, A, P, S, I. None if the volume has no world.
        On an oblique grid they name the closest directions.
    """
    _, up, along = _DISPLAY_AXES[check_plane(plane)]
    if not volume.world:
        return None
    left, right = _LETTERS[along][:: -1 if radiological and plane != "sagittal" else 1]
    bottom, top = _LETTERS[up]
    return {"left": left, "right": right, "top": top, "bottom": bottom}


def extent(volume, plane, index):
    """Return where the outer edges of (neurological) `plane_slice` lie, for matplotlib's `extent`.

    Parameters
    ----------
    volume : Volume
    plane : {"axial", "coronal", "sagittal"}
    index : int
        Voxel index across the plane.

    Returns
    -------
    tuple of 4 floats
        Left, right, bottom, top, in the volume's unit: world coordinates, or without a world distances
        from the first voxel. On an oblique grid, where world coordinates change along both edges, they are
        exact at the centre of the plane.
    """
    across, up, along = plane_axes(volume, plane)
    _, display_up, display_along = _DISPLAY_AXES[plane]
    centre_vox = (np.array(volume.shape) - 1) / 2
    centre_vox[across] = index
    centre = volume.to_mm(centre_vox)
    edges = []
    for axis, display in ((along, display_along), (up, display_up)):
        half = volume.shape[axis] * volume.voxel_sizes[axis] / 2
        middle = centre[display] if volume.world else centre[axis]
        half = half if volume.world else half * volume.signs[display]
        edges += [float(middle - half), float(middle + half)]
    return tuple(edges)


def data_range(data):
    """Return (smallest, largest) finite value of an array, or (0.0, 1.0) if there is none."""
    if data.dtype.kind in "biu":
        return float(data.min()), float(data.max())
    finite = np.isfinite(data)
    if not finite.any():
        return 0.0, 1.0
    return float(data.min(where=finite, initial=np.inf)), float(data.max(where=finite, initial=-np.inf))


def auto_window(data):
    """Return a window (lowest, highest shown value) that outliers do not spoil.

    Parameters
    ----------
    data : ndarray, any shape and real dtype
        NaN and infinities are ignored.

    Returns
    -------
    tuple of 2 floats
        The 0.5th and 99.5th percentile, as `percentiles` has them. Where they coincide (a small mask) the
        smallest and largest value; around a constant, a little on either side. Always lowest < highest, both
        finite.
    """
    low, high = percentiles(data, 0.5, 99.5)
    return widened(low, high) if low < high else widened(*data_range(data))


def percentiles(data, low, high):
    """Return two percentiles of the finite values of an array.

    Parameters
    ----------
    data : ndarray, any shape and real dtype
    low, high : float
        From 0 to 100.

    Returns
    -------
    tuple of 2 floats
        Values of `data`: of a million or so of evenly spread voxels if there are more; (0.0, 0.0) if none is
        finite, and (0.0, 1.0) of booleans.
    """
    if data.dtype.kind == "b":
        return 0.0, 1.0
    sample = thinned(data)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0
    return tuple(np.percentile(sample, (low, high), method="nearest").astype(float).tolist())


def widened(low, high):
    """Return (low, high) as a window of some width, finite and in order, also where both are the same."""
    largest = float(np.finfo(float).max)
    low, high = (float(np.clip(value, -largest, largest)) for value in (low, high))
    if low < high:
        return low, high
    margin = max(0.5, abs(low) * 1e-3)
    return max(low - margin, -largest), min(low + margin, largest)


def check_window(window):
    """Return a window as two floats.

    Raises
    ------
    ValueError
        If it is not a pair of finite numbers, the lower first.
    """
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"A window is a pair of numbers (lowest, highest), not {window!r}.") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"A window needs two finite numbers, the lower first, not ({low:g}, {high:g}).")
    return low, high


def ct_window(name):
    """Return the window (lowest, highest Hounsfield unit) of one of `CT_WINDOWS`."""
    centre, width = CT_WINDOWS[name]
    return centre - width / 2, centre + width / 2


def overlay_style(data):
    """Choose how to draw an overlay from its values.

    Parameters
    ----------
    data : ndarray, any shape and real dtype

    Returns
    -------
    OverlayStyle
        "labels" if all finite values are whole numbers, and either at most 64 different ones or mostly the
        same in neighbouring voxels, otherwise "map". A map's limit is the 99.9th percentile of its absolute
        values other than 0. Its threshold is their 90th if it has both signs, so that the strongest tenth
        shows, and otherwise a twentieth of the limit.
    """
    if _whole(thinned(data)) and _in_patches(data) and _whole(data):  # the quick ones first
        return OverlayStyle("labels", opacity=0.5)
    sample = thinned(data).astype(float)
    sample = sample[np.isfinite(sample) & (sample != 0)]
    if not sample.size:
        return OverlayStyle("map")
    threshold, limit = (float(value) for value in np.percentile(np.abs(sample), (90, 99.9)))
    lowest, highest = np.percentile(sample, (0.1, 99.9), method="nearest")  # whose steps cannot overflow
    if min(-lowest, highest) < _LOW * limit:  # one sign, but for an interpolation's overshoot
        threshold = _LOW * limit
    lowest, highest = data_range(data)  # a few voxels do not change the threshold, and yet have a colour
    signs = -int(lowest <= -_LOW * limit), int(highest >= _LOW * limit)
    return OverlayStyle("map", limit=limit, threshold=threshold, signs=signs)


def to_rgb(plane, window, cmap="gray", overlay=None, style=None):
    """Turn one plane into colours.

    Parameters
    ----------
    plane : ndarray, (rows, columns)
        Numbers, or structured colours (`window` and `cmap` do not touch those).
    window : tuple of 2 floats
        Values drawn in the first and the last colour; those beyond (and infinities) take these colours too.
        NaN is drawn in `BACKGROUND`.
    cmap : str
        Name of a matplotlib colour map.
    overlay : ndarray, (rows, columns), optional
        Labels or map to lay over it; NaN is clear.
    style : OverlayStyle, optional
        How to draw `overlay`; by default `overlay_style` of this very plane.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)

    Raises
    ------
    ValueError
        If the window or the colour map is not valid, or the overlay has another shape.
    """
    low, high = check_window(window)
    table = colour_table(cmap)
    if plane.dtype.names is not None:
        rgb = _flatten_colours(plane)
    else:
        values = plane.astype(float)
        rgb = table[to_levels(values, low, high)]
        rgb[np.isnan(values)] = BACKGROUND
    if overlay is None:
        return rgb
    if overlay.shape != plane.shape:
        raise ValueError(f"The overlay's shape {overlay.shape} is not the plane's {plane.shape}.")
    return _blend(rgb, overlay.astype(float), overlay_style(overlay) if style is None else style)


def colour_table(cmap):
    """Return the 256 colours of a matplotlib colour map, (256, 3) uint8; ValueError if there is none."""
    if not isinstance(cmap, str) or cmap not in matplotlib.colormaps:
        raise ValueError(f"matplotlib has no colour map called {cmap!r}: give a name such as 'viridis'.")
    return _colour_table(cmap)


@lru_cache(maxsize=32)
def _colour_table(cmap):
    """Return what `colour_table` does."""
    table = matplotlib.colormaps[cmap](np.linspace(0, 1, 256), bytes=True)[:, :3].copy()
    table.setflags(write=False)
    return table


def map_colours(values, limit):
    """Return the colours of map values from -limit to +limit, (..., 3) uint8."""
    return colour_table(MAP_CMAP)[to_levels(values, -limit, limit)]


def flips(volume, plane, radiological):
    """Return whether the rows and the columns of `plane_slice` run against the array's indices."""
    check_convention(volume, radiological)
    _, up, along = _DISPLAY_AXES[plane]
    mirrored = radiological and plane != "sagittal"
    return volume.signs[up] > 0, (volume.signs[along] < 0) != mirrored


def _check_index(index, size, name):
    """Return `index` as an int of range(size); negative ones are refused, as they would hide an error."""
    try:
        index = as_integer(index)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {index!r}.") from None
    if not 0 <= index < size:
        raise IndexError(f"{name} = {index} is outside the image: it runs from 0 to {size - 1}.")
    return index


def to_levels(values, low, high):
    """Return the colour numbers 0 to 255 of float values, NaN as 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(high - low):  # a window over nearly all floats
            values, low, high = values / 2, low / 2, high / 2
        share = (values - low) / (high - low)
        return np.nan_to_num(np.clip(share, 0, 1) * 255).round().astype(np.uint8)


def _flatten_colours(plane):
    """Return structured colours as (rows, columns, 3) uint8, transparent ones over the background."""
    rgb = np.stack([plane[name] for name in "RGB"], axis=-1)
    if "A" in plane.dtype.names:
        alpha = plane["A"][..., np.newaxis] / 255
        rgb = (rgb * alpha + np.array(BACKGROUND) * (1 - alpha)).round().astype(np.uint8)
    return rgb


def _blend(rgb, overlay, style):
    """Lay an overlay of floats over colours."""
    if style.kind == "labels":
        visible = np.isfinite(overlay) & (overlay != 0)
        colours = LABEL_COLOURS[np.mod(overlay[visible] - 1, len(LABEL_COLOURS)).astype(int)]
    else:
        visible = (np.abs(overlay) >= style.threshold) & (overlay != 0)  # false for NaN
        colours = map_colours(overlay[visible], style.limit)
    rgb = rgb.copy()
    rgb[visible] = (colours * style.opacity + rgb[visible] * (1 - style.opacity)).round().astype(np.uint8)
    return rgb


def thinned(data):
    """Return at most about a million voxels, evenly spread, as a view."""
    step = max(1, int(np.ceil((data.size / _SAMPLE_SIZE) ** (1 / data.ndim))))
    return data[(slice(None, None, step),) * data.ndim]


def _in_patches(data):
    """Tell whether whole numbers are few, or lie in patches as an atlas's labels do.

    Of a thousand parcels of a brain at 4 mm, six neighbours in ten are the same, of fewer or at finer voxels
    more; of a tissue's probability from 0 to 100 at 1 mm two in ten, in finer steps fewer.
    """
    along = int(np.argmax(data.shape[:3]))
    data = np.moveaxis(data, along, 0)
    others = data.ndim - 1
    step = max(1, int(np.ceil((data.size / _LINE_VOXELS) ** (1 / others))))
    lines = data[(slice(None), *(slice(None, None, step),) * others)]  # whole: their neighbours are counted
    values = np.unique(lines[np.isfinite(lines)])
    if values.size <= _FEW_LABELS:
        return True
    here, there = lines[1:], lines[:-1]
    # The largest value does not count: a probability that is certain fills patches, too.
    both = (here != 0) & (there != 0) & (here < values[-1]) & np.isfinite(here) & np.isfinite(there)
    return np.count_nonzero(both & (here == there)) * 2 >= np.count_nonzero(both)


def _whole(data):
    """Tell whether all finite values are whole numbers."""
    if data.dtype.kind in "biu":
        return True
    finite = np.isfinite(data)
    return bool(np.equal(data, np.trunc(data), where=finite, out=np.ones(data.shape, dtype=bool)).all())

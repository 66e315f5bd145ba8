"""Figures with matplotlib: anatomical planes in mm with the patient's directions, and displacements."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from helpers.viewing.slices import auto_window, data_range, extent, letters, plane_axes, plane_slice, to_rgb
from helpers.viewing.volume import AXIS_NAMES, as_volume

_OUTLINE = [withStroke(linewidth=2.5, foreground="black")]


def show_plane(img, plane="axial", index=None, ax=None, *, title=None, **imshow_kwargs):
    """Draw one anatomical plane of an image, left on the left.

    Parameters
    ----------
    img : nibabel image, or anything else that `helpers.viewing.volume.as_volume` takes
        A single volume, without a time axis.
    plane : {"axial", "coronal", "sagittal"}
    index : int, optional
        Voxel index across the plane; by default the middle.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the current axes.
    title : str, optional
        By default the plane and its place, such as "Axial, z = 12 mm".
    **imshow_kwargs
        For ``Axes.imshow``, such as ``cmap``, ``vmin`` and ``vmax``. The window defaults to robust
        percentiles of the whole volume.

    Returns
    -------
    matplotlib.axes.Axes
        Axes in mm of the world (in voxels if there is no affine).

    Raises
    ------
    ValueError
        If the image has a time axis, or `plane` names no plane.
    IndexError
        If `index` is outside the image.
    """
    volume = _single_volume(img)
    across, up, along = plane_axes(volume, plane)
    index = volume.shape[across] // 2 if index is None else index
    pixels = plane_slice(volume, plane, index)
    ax = plt.gca() if ax is None else ax
    _draw(ax, volume, pixels, extent(volume, plane, index), imshow_kwargs)
    _write_letters(ax, letters(volume, plane))
    ax.set_xlabel(_axis_label(volume, along))
    ax.set_ylabel(_axis_label(volume, up))
    ax.set_title(_title(volume, plane, index) if title is None else title)
    return ax


def montage(img, plane="axial", n=12, *, title=None, **imshow_kwargs):
    """Draw slices at even distances through an image, as a new figure.

    Parameters
    ----------
    img : nibabel image, or anything else that `helpers.viewing.volume.as_volume` takes
        A single volume, without a time axis.
    plane : {"axial", "coronal", "sagittal"}
    n : int
        Number of slices, in the order of the array; fewer if there are fewer. Slices that hold nothing but
        the image's lowest value, as around a brain, are passed over.
    title : str, optional
        By default the plane and the width of the slices.
    **imshow_kwargs
        For ``Axes.imshow``; the window defaults to robust percentiles of the whole volume.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, (n,)

    Raises
    ------
    ValueError
        If the image has a time axis, `plane` names no plane, or `n` is below 1.
    """
    volume = _single_volume(img)
    across, up, along = plane_axes(volume, plane)
    if n < 1:
        raise ValueError(f"A montage needs at least one slice, not {n}.")
    indices = _spread(_filled(volume, across), n)
    width, height = (volume.shape[axis] * volume.voxel_sizes[axis] for axis in (along, up))
    n_columns = min(len(indices), 6)
    n_rows = -(-len(indices) // n_columns)
    tile = 10 / 6
    figure, grid = plt.subplots(
        n_rows,
        n_columns,
        squeeze=False,
        figsize=(max(tile * n_columns, 3), n_rows * (min(tile * height / width, 4) + 0.3) + 0.5),
        layout="constrained",
    )
    window = {} if {"vmin", "vmax", "norm"} & set(imshow_kwargs) else _window(volume)
    for ax, index in zip(grid.flat, indices, strict=False):
        edges = extent(volume, plane, index)
        _draw(ax, volume, plane_slice(volume, plane, index), edges, {**window, **imshow_kwargs})
        ax.set_title(_place(volume, across, index), fontsize="medium")
    for ax in grid.flat:
        ax.set_axis_off()
    _write_letters(grid.flat[0], letters(volume, plane))
    if title is None:
        title = f"{_plane_name(volume, plane)}s, {width:.4g} {volume.unit} wide"
    figure.suptitle(title)
    return grid.ravel()[: len(indices)]


def show_field(displacement, drawn="grid", ax=None, *, step=None, color="tab:orange"):
    """Draw a displacement of a picture's pixels: the grid that it bends, or its arrows.

    The displacement pulls: both show where a pixel looks in the moving image.

    Parameters
    ----------
    displacement : ndarray, (2, rows, columns)
        In pixels, first along the rows (down), then along the columns (to the right), as in
        `helpers.registration`. A picture under it is drawn by ``imshow`` as it is.
    drawn : {"grid", "arrows"}
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the current axes.
    step : int, optional
        Pixels between two lines or two arrows; by default a 24th of the longer side.
    color : matplotlib colour

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the displacement is not one of a picture, `drawn` is another word, or `step` is below 1.
    """
    displacement = np.asarray(displacement, float)
    if displacement.ndim != 3 or len(displacement) != 2:
        raise ValueError(
            f"The displacement has the shape {displacement.shape}; to draw it takes (2, rows, columns): "
            "of a volume choose a plane and the two components in it."
        )
    if drawn not in ("grid", "arrows"):
        raise ValueError(f"drawn must be 'grid' or 'arrows', not {drawn!r}.")
    shape = displacement.shape[1:]
    step = max(1, round(max(shape) / 24)) if step is None else step
    if step < 1:
        raise ValueError(f"step={step} must be a whole number of pixels, 1 or more.")
    ax = plt.gca() if ax is None else ax
    row, column = np.indices(shape)
    down, right = displacement
    if drawn == "grid":
        at = np.stack([column + right, row + down], axis=-1)
        # Each line follows all of its pixels, so that a fold between two lines shows as well.
        lines = [*at[step // 2 :: step], *at.swapaxes(0, 1)[step // 2 :: step]]
        ax.add_collection(LineCollection(lines, colors=color, linewidths=0.8))
    else:
        thin = (slice(step // 2, None, step),) * 2
        # In the units of the axes: else matplotlib chooses the length, and lets "up" be up on the page.
        ax.quiver(
            column[thin], row[thin], right[thin], down[thin],
            angles="xy", scale_units="xy", scale=1, color=color, width=0.005,
        )  # fmt: skip
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5), aspect="equal")
    return ax


def _single_volume(img):
    """Return the image as a Volume, refusing to choose a time point silently."""
    volume = as_volume(img)
    if volume.n_times > 1:
        raise ValueError(
            f"This image has {volume.n_times} time points: choose one, as in img.slicer[..., 0]."
        )
    return volume


def _draw(ax, volume, pixels, edges, imshow_kwargs):
    """Draw the pixels of one plane between its outer edges (left, right, bottom, top)."""
    if volume.is_colour:
        pixels = to_rgb(pixels, (0, 255))
    elif not {"vmin", "vmax", "norm"} & set(imshow_kwargs):
        imshow_kwargs = {**_window(volume), **imshow_kwargs}
    if pixels.dtype.kind == "b" or not pixels.dtype.isnative:
        pixels = pixels.astype(float)
    defaults = {"cmap": "gray", "interpolation": "nearest"}
    ax.imshow(pixels, origin="upper", extent=edges, **{**defaults, **imshow_kwargs})


def _window(volume):
    """Return the automatic window as arguments of imshow; colours need none."""
    return {} if volume.is_colour else dict(zip(("vmin", "vmax"), auto_window(volume.data), strict=True))


def _write_letters(ax, marks):
    """Write the letters of the directions inside the four edges, legible on dark and bright pixels."""
    if marks is None:
        return
    places = {"left": (0.01, 0.5), "right": (0.99, 0.5), "bottom": (0.5, 0.01), "top": (0.5, 0.99)}
    for side, (x, y) in places.items():
        ax.text(
            x,
            y,
            marks[side],
            transform=ax.transAxes,
            ha=side if x != 0.5 else "center",
            va=side if y != 0.5 else "center",
            color="white",
            fontweight="bold",
            path_effects=_OUTLINE,
        )


def _axis_label(volume, axis):
    """Return the label of the figure's axis that shows an array axis."""
    if volume.world and not volume.is_oblique:
        return f"{'xyz'[volume.axes.index(axis)]} (mm)"
    if volume.is_picture:
        return f"{('row', 'column')[axis]} ({volume.unit})".replace("voxels", "pixels")
    return f"along {AXIS_NAMES[axis]} ({volume.unit})"


def _plane_name(volume, plane):
    """Return the plane's name; without a world an array axis, as no anatomy is known."""
    if not volume.world:
        return f"Slice across {AXIS_NAMES[plane_axes(volume, plane)[0]]}"
    return f"{plane.capitalize()}{' (oblique)' * volume.is_oblique} plane"


def _place(volume, across, index):
    """Return where a slice lies: in mm of the world, or as an index."""
    if not volume.world or volume.is_oblique:
        return f"{AXIS_NAMES[across]} = {index}"
    vox = np.zeros(3)
    vox[across] = index
    display = volume.axes.index(across)
    return f"{'xyz'[display]} = {volume.to_mm(vox)[display] + 0.0:.4g} mm"


def _title(volume, plane, index):
    """Return the title of one plane."""
    if volume.is_picture:
        return f"{volume.shape[0]} × {volume.shape[1]} pixels"
    place = _place(volume, plane_axes(volume, plane)[0], index)
    return f"{plane.capitalize()}{' (oblique)' * volume.is_oblique}, {place}" if volume.world else place


def _filled(volume, across):
    """Return the numbers of the slices that hold more than the image's lowest value; all if none does."""
    everything = np.arange(volume.shape[across])
    if volume.is_colour:
        return everything
    others = tuple(axis for axis in range(3) if axis != across)
    filled = (volume.frame() > data_range(volume.data)[0]).any(axis=others)  # false for NaN
    return everything[filled] if filled.any() else everything


def _spread(indices, n):
    """Return `n` of these numbers at even distances, without the outermost; all if there are no more."""
    if n >= len(indices):
        return indices.tolist()
    return indices[np.linspace(0, len(indices) - 1, n + 2)[1:-1].round().astype(int)].tolist()

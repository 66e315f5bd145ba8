"""The interactive part of lesson 4: the segmentation of a ventricle, by threshold, slice and frame."""

import numpy as np
from matplotlib.figure import Figure

from helpers.explorers import margins
from helpers.viewing import explore

__all__ = ["ventricle_explorer"]

LARGEST_CM2 = 40  # a cavity over seven centimetres wide


def ventricle_explorer(film, segment, seed, sampling_mm):
    """Let the reader turn threshold, slice, frame and width of bridges, and see the object under the seed.

    Parameters
    ----------
    film : ndarray, (time, slice, row, column)
        Intensities.
    segment : callable
        ``segment(picture, seed, threshold, bridge_mm)`` returns a mask, (row, column) of bool.
    seed : tuple of 2 ints
        Row and column of a point in the object.
    sampling_mm : sequence of 3 floats
        Lengths of a voxel along slice, row and column.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If the film has not four axes, or the seed lies outside its pictures.
    """
    film = np.asarray(film)
    if film.ndim != 4:
        raise ValueError(f"The film has {film.ndim} axes; it needs four: time, slice, row, column.")
    if not all(0 <= place < length for place, length in zip(seed, film.shape[2:], strict=True)):
        raise ValueError(f"The seed {tuple(seed)} lies outside the pictures of {film.shape[2:]} pixels.")
    n_frames, n_slices = film.shape[:2]
    step_mm, row_mm, column_mm = (float(length) for length in sampling_mm)
    brightest = float(np.percentile(film, 99.5))

    def draw(threshold, slice, frame, bridge_mm):
        picture = film[frame, slice]
        mask = segment(picture, seed, threshold, bridge_mm)
        figure = Figure(figsize=(6.4, 5.2))
        ax = figure.subplots(gridspec_kw=margins(0.1, 0.1, 0, right=0.86))
        drawn = ax.imshow(picture, cmap="gray", vmin=0, vmax=brightest, aspect=row_mm / column_mm)
        figure.colorbar(drawn, ax.inset_axes((1.03, 0, 0.05, 1)), label="intensity (a.u.)")
        ax.imshow(
            np.ma.masked_equal(mask.astype(float), 0), cmap="Oranges", vmin=0, vmax=1.6, alpha=0.5,
            aspect=row_mm / column_mm,
        )  # fmt: skip
        if mask.any():
            ax.contour(mask, levels=[0.5], colors="tab:orange", linewidths=1)
        ax.plot(seed[1], seed[0], "+", color="tab:red", markersize=12, markeredgewidth=2)
        ax.set(title=f"Slice {slice}, frame {frame}", xlabel="column (pixels)", ylabel="row (pixels)")
        return figure, _say(mask, picture, row_mm * column_mm, step_mm)

    return explore(
        draw,
        title="The object under the seed",
        kept=["bridge_mm"],
        threshold=(40, 120, 5, 60),
        slice=(0, n_slices - 1, 1, n_slices // 2),
        frame=(0, n_frames - 1, 1, 0),
        bridge_mm=(0, 12, 4, 0),
    )


def _say(mask, picture, pixel_mm2, step_mm):
    """Return what a mask, (row, column), holds, in one or two sentences."""
    n_pixels = int(np.count_nonzero(mask))
    if n_pixels == 0:
        return "The seed lies in no object: there is nothing bright enough, or nothing wide enough, at it."
    area_mm2 = n_pixels * pixel_mm2
    leak = " No ventricle is as wide as that: it leaks." if area_mm2 / 100 >= LARGEST_CM2 else ""
    return (
        f"{n_pixels} pixels, {area_mm2 / 100:.1f} cm², and with {step_mm:.0f} mm between slices "
        f"{area_mm2 * step_mm / 1000:.1f} ml; mean intensity {picture[mask].mean():.0f}.{leak}"
    )

"""The explorers of lesson 3: a threshold on its histogram, a kernel at work, a bench for filters."""

from functools import lru_cache

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator
from scipy import ndimage as ndi

from helpers.explorers import margins
from helpers.viewing import explore

__all__ = ["edge_width", "filter_bench", "kernel_editor", "step_object", "threshold_explorer"]

# Of Okabe and Ito's colours, which readers of any colour vision can tell apart.
ORANGE, BLUE, GREEN = "#e69f00", "#56b4e9", "#009e73"
RGB = {name: np.array([int(name[at : at + 2], 16) for at in (1, 3, 5)]) for name in (ORANGE, BLUE, GREEN)}

# What scipy.ndimage calls the ways to go on beyond the border, and what numpy calls them.
MODES = {
    "reflect": "symmetric",
    "constant": "constant",
    "nearest": "edge",
    "mirror": "reflect",
    "wrap": "wrap",
}
FILTERS = ("mean", "median", "Gaussian")
SIZES = (1, 3, 5, 7, 9, 11)
DARK, NOISE_SD, DUST = 60.0, 6.0, 0.03
# What the bench puts before the filters: how much brighter the right half is, and whether there is dust.
OBJECTS = {"noise": (30.0, False), "noise, faint edge": (8.0, False), "noise and dust": (30.0, True)}


def threshold_explorer(image, truths=None, start=None):
    """Move a threshold through a histogram and see the mask.

    Parameters
    ----------
    image : ndarray of unsigned integers, (row, column)
    truths : dict of str to ndarray of bool, (row, column), optional
        Names and masks of what is to be found. Where there are none, areas are told and no Dice.
    start : int, optional
        The first threshold; by default the middle of the range, which ends at the 99th percentile.

    Returns
    -------
    helpers.viewing.explore.Explorer
    """
    counts = np.bincount(image.ravel())
    # Above the 99th percentile is hardly more than lead and dust, and no place for a threshold.
    top = int(np.percentile(image, 99))
    controls = {"threshold": (0, top, 1, top // 2 if start is None else start)}
    if truths:
        controls["truth"] = list(truths)

    def draw(threshold, truth=None):
        mask = image > threshold
        figure = Figure(figsize=(9, 4.6))
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1), gridspec_kw=margins(0.08, 0.13, 0.18))
        left.set(title=f"Threshold {threshold}", xlabel="intensity", ylabel="pixels", ylim=(0, counts.max()))
        parts = {"above the threshold": (mask, ORANGE)}
        area = f"{mask.sum()} pixels, {100 * mask.mean():.1f} % of the picture, are above {threshold}."
        if truth is None:
            text = f"{area} What is truly there nobody knows, so there is no Dice: judge by eye."
        else:
            true = truths[truth]
            parts = {
                "right": (mask & true, GREEN),
                "too much": (mask & ~true, ORANGE),
                "missed": (~mask & true, BLUE),
            }
            text = f"{area} Dice with the true {truth}: {_dice(mask, true):.3f}."
        left.fill_between(np.arange(counts.size), counts, step="mid", color="#888888")
        below = np.zeros(counts.size, int)
        for part, colour in parts.values():
            here = below + np.bincount(image[part], minlength=counts.size)
            left.fill_between(np.arange(counts.size), below, here, step="mid", color=colour, lw=0)
            below = here
        left.axvline(threshold + 0.5, color="black")
        right.imshow(_tinted(image, parts.values()))
        left.legend(handles=[Patch(color=colour, label=name) for name, (_, colour) in parts.items()])
        right.set(title="Mask over the radiograph", xlabel="column (pixels)", ylabel="row (pixels)")
        return figure, text

    return explore(draw, title="A threshold and its mask", **controls)


def kernel_editor(patch, kernels):
    """Lay a 3×3 kernel on each pixel of a patch, and see every product.

    Parameters
    ----------
    patch : ndarray, (row, column)
        A few numbers, such as 5×5.
    kernels : dict of str to array_like, (3, 3)

    Returns
    -------
    helpers.viewing.explore.Explorer
        Among its controls are ``add_to_centre``, which changes the weight in the middle, and ``turn_kernel``:
        by half a circle, as convolution does, or not, which is correlation.
    """
    patch = np.asarray(patch, float)
    kernels = {name: np.asarray(kernel, float) for name, kernel in kernels.items()}
    n_rows, n_columns = patch.shape

    def draw(kernel, row, column, border, add_to_centre, turn_kernel):
        weights = kernels[kernel].copy()
        weights[1, 1] += add_to_centre
        laid = weights[::-1, ::-1] if turn_kernel else weights
        padded = np.pad(patch, 1, mode=MODES[border])
        products = padded[row : row + 3, column : column + 3] * laid
        filtered = (ndi.convolve if turn_kernel else ndi.correlate)(patch, weights, mode=border)
        figure = Figure(figsize=(10.8, 3.7))
        axes = figure.subplots(1, 4, width_ratios=(7, 5, 5, 6), gridspec_kw=margins(0.03, 0.08, 0.12))
        way = "turned" if turn_kernel else "as it is"
        _numbers(axes[0], padded, f"Patch; beyond it: {border}", at=(-1, -1), frame=(row - 1, column - 1, 3))
        axes[0].add_patch(Rectangle((-0.5, -0.5), n_columns, n_rows, fill=False, lw=2, ls=":"))
        _numbers(axes[1], laid, f"Kernel, {way}", signed=True)
        _numbers(axes[2], products, f"Products; their sum is {_short(products.sum(), 4)}", signed=True)
        _numbers(axes[3], filtered, "Result", signed=filtered.min() < 0, frame=(row, column, 1))
        terms = " + ".join(
            f"{_short(weight)} × {_short(value)}"
            for weight, value in zip(laid.flat, padded[row : row + 3, column : column + 3].flat, strict=True)
            if weight
        )
        text = (
            f"At row {row}, column {column}: {terms or 'no weight'} = {_short(products.sum(), 4)}. "
            f"The weights sum to {_short(weights.sum(), 4)}."
        )
        return figure, text

    return explore(
        draw,
        title="One kernel, one pixel, every product",
        kept=["kernel"],
        kernel=list(kernels),
        row=(0, n_rows - 1, 1, n_rows // 2),
        column=(0, n_columns - 1, 1, n_columns // 2),
        border=list(MODES),
        add_to_centre=(-2, 2, 1, 0),
        turn_kernel=True,
    )


def step_object(contrast=30.0, dust=False, n_rows=1000, n_columns=96):
    """Make a test object: a dark and a bright half with a sharp upright edge between, and noise.

    Parameters
    ----------
    contrast : float
        How much the right half is brighter.
    dust : bool
        Whether 3 % of the pixels are dust, of value 255.
    n_rows : int
    n_columns : int

    Returns
    -------
    ndarray of float, (n_rows, n_columns)
        Normal noise of standard deviation 6, the same each time.
    """
    rng = np.random.default_rng(3)
    picture = np.full((n_rows, n_columns), DARK)
    picture[:, n_columns // 2 :] += contrast
    picture += rng.normal(0, NOISE_SD, picture.shape)
    specks = rng.random(picture.shape) < DUST
    return np.where(specks, 255.0, picture) if dust else picture


def edge_width(picture):
    """Measure an upright edge: from a tenth to nine tenths of its rise.

    Parameters
    ----------
    picture : ndarray, (row, column)
        Dark left, bright right; the outer thirds must be flat.

    Returns
    -------
    float
        The distance in pixels in which the mean of all rows rises from 10 % to 90 % of the way from the
        dark to the bright level.
    """
    profile = picture.mean(axis=0)
    third = profile.size // 3
    dark, bright = profile[:third].mean(), profile[-third:].mean()
    rise = (profile[third:-third] - dark) / (bright - dark)
    # The first crossing of each level; the noise of so many rows' mean does not reach a tenth of the rise.
    crossings = []
    for level in (0.1, 0.9):
        after = int(np.argmax(rise >= level))
        crossings.append(after - (rise[after] - level) / (rise[after] - rise[after - 1]))
    return float(crossings[1] - crossings[0])


def filter_bench():
    """Compare filters on a test object, by the noise that they leave and the width that edges get.

    Returns
    -------
    helpers.viewing.explore.Explorer
        Windows go from 1 pixel, which leaves all as it was, to 11; a Gaussian's size is its full width at
        half maximum.
    """

    @lru_cache
    def measured(name, size, thing):
        picture = apply_filter(step_object(*OBJECTS[thing]), name, size)
        flat = picture[:, : picture.shape[1] // 3]
        return picture[:96], picture.mean(axis=0), float(flat.std()), edge_width(picture)

    def draw(filter, size, test_object):
        picture, profile, noise, width = measured(filter, size, test_object)
        before = measured(filter, 1, test_object)[1]
        contrast = OBJECTS[test_object][0]
        figure = Figure(figsize=(10, 3.8))
        widths = (1, 1.2, 1.5)
        shown, edge, bench = figure.subplots(1, 3, width_ratios=widths, gridspec_kw=margins(0.06, 0.14, 0.24))
        shown.imshow(picture, cmap="gray", vmin=DARK - 30, vmax=DARK + contrast + 30)
        shown.set(title="Test object, simulated", xlabel="column (pixels)", ylabel="row (pixels)")
        x = np.arange(profile.size // 2 - 14, profile.size // 2 + 14)
        edge.plot(x, before[x], color="#888888", label="before")
        edge.plot(x, profile[x], color="black", label="after")
        edge.set(title="Mean of all rows, simulated", xlabel="column (pixels)", ylabel="intensity")
        edge.legend(loc="upper left", fontsize="small")
        for name, marker, colour in zip(FILTERS, "so^", (ORANGE, BLUE, GREEN), strict=True):
            wide, noises = np.transpose([measured(name, each, test_object)[:1:-1] for each in SIZES])
            bench.plot(wide, noises, marker=marker, color=colour, label=name)
        bench.plot(width, noise, "o", ms=15, mfc="none", mec="black")
        bench.set(
            title="Lower left is best", xlabel="edge width (pixels)", ylabel="noise (standard deviation)"
        )
        bench.set(yscale="log", ylim=(0.25, 50), xlim=(0, 14))
        bench.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bench.yaxis.set_minor_locator(NullLocator())
        bench.set_yticks((0.3, 1, 3, 10, 30))
        bench.legend(fontsize="small")
        what = "No filter" if size == 1 else f"{filter[0].upper()}{filter[1:]} of size {size}"
        return figure, f"{what}: the noise is {noise:.2f} greys, the edge is {width:.2f} pixels wide."

    return explore(
        draw,
        title="Filter bench",
        filter=list(FILTERS),
        size=(SIZES[0], SIZES[-1], 2, 5),
        test_object=list(OBJECTS),
    )


def apply_filter(picture, name, size):
    """Smooth a picture.

    Parameters
    ----------
    picture : ndarray of float
    name : {"mean", "median", "Gaussian"}
    size : int
        Side of the square window, or the Gaussian's full width at half maximum, in pixels; 1 does nothing.

    Returns
    -------
    ndarray of float
    """
    if size == 1:
        return picture
    if name == "mean":
        return ndi.uniform_filter(picture, size)
    if name == "median":
        return ndi.median_filter(picture, size)
    return ndi.gaussian_filter(picture, size / np.sqrt(8 * np.log(2)))


def _dice(mask, truth):
    return 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))


def _tinted(image, parts, opacity=0.55):
    """Return colours (row, column, 3) of a picture of 8 bits with masks over it."""
    grey = np.clip(image.astype(float) * 255 / 130, 0, 255)  # brighter: few pixels use the upper half
    rgb = np.stack([grey] * 3, axis=-1)
    for mask, colour in parts:
        rgb[mask] = (1 - opacity) * rgb[mask] + opacity * RGB[colour]
    return rgb.astype(np.uint8)


def _short(value, digits=3):
    value = round(float(value), 9) + 0.0  # what is left of ninths that add up to nothing is nothing
    return f"{value:.{digits}g}".replace("-", "−")


def _numbers(ax, values, title, signed=False, at=(0, 0), frame=None):
    """Draw a few numbers as tiles, the upper left one at a place, perhaps with a frame round some."""
    rows, columns = values.shape
    edges = (at[1] - 0.5, at[1] + columns - 0.5, at[0] + rows - 0.5, at[0] - 0.5)
    if signed:
        largest = max(np.abs(values).max(), 1e-9)
        colours = {"cmap": "RdBu_r", "norm": TwoSlopeNorm(0, -1.6 * largest, 1.6 * largest)}
    else:
        colours = {"cmap": "gray", "vmin": -0.9 * max(values.max(), 1e-9), "vmax": max(values.max(), 1e-9)}
    ax.imshow(values, extent=edges, **colours)
    for (row, column), value in np.ndenumerate(values):
        ax.text(column + at[1], row + at[0], _short(value), ha="center", va="center")
    if frame:
        row, column, size = frame
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), size, size, fill=False, lw=3, color=ORANGE))
    ax.set(title=title, xticks=range(at[1], at[1] + columns), yticks=range(at[0], at[0] + rows))
    ax.title.set_fontsize("medium")

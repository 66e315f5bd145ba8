"""The interactive parts of lesson 5: two scans aligned by hand, two groups compared from some age on."""

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from helpers.registration import dice, iou, mae, mutual_information
from helpers.viewing import explore

__all__ = ["align_by_hand", "like_with_like"]

_SHOW = ["outline", "checkerboard", "difference"]
_TILE = 24  # pixels of a checkerboard's tile


def align_by_hand(fixed, scans, move, threshold):
    """Let the reader turn and shift a scan until it lies on another, and watch four scores.

    Parameters
    ----------
    fixed : array_like, (i, j)
        The picture to lie on; drawn with i to the right and j up.
    scans : dict of str to array_like, (i, j)
        Pictures to be moved, on the same grid, by name.
    move : callable
        ``move(picture, degrees, shift)`` returns the picture turned from i towards j about its centre, then
        shifted by two numbers of pixels.
    threshold : float
        Above it lies the object, in every picture, whose masks are compared.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If a scan is not on the grid of the fixed picture, or nothing in `fixed` lies above the threshold.
    """
    fixed = np.asarray(fixed, dtype=float)
    scans = {name: np.asarray(scan, dtype=float) for name, scan in scans.items()}
    for name, scan in scans.items():
        if scan.shape != fixed.shape:
            raise ValueError(f"The scan {name!r} has shape {scan.shape}, the fixed picture {fixed.shape}.")
    target = fixed > threshold
    if not target.any():
        raise ValueError(f"Nothing in the fixed picture lies above the threshold {threshold}.")
    tiles = np.add.outer(*(np.arange(n) // _TILE for n in fixed.shape)) % 2 == 0
    top = fixed.max()

    def draw(rotation, shift_i, shift_j, scan, show):
        moved = move(scans[scan], rotation, (shift_i, shift_j))
        figure = Figure(figsize=(5.2, 5.4))
        ax = figure.add_axes((0.13, 0.1, 0.78, 0.82))
        if show == "difference":
            ax.imshow((moved - fixed).T, origin="lower", cmap="gray", vmin=-top, vmax=top)
        elif show == "checkerboard":
            ax.imshow(np.where(tiles, fixed, moved).T, origin="lower", cmap="gray", vmin=0, vmax=top)
        else:
            ax.imshow(moved.T, origin="lower", cmap="gray", vmin=0, vmax=top)
            ax.contour(target.T, levels=[0.5], colors="tab:orange", linewidths=1.2)
        titles = dict(
            zip(_SHOW, ("Moved; orange: the fixed one", "Tiles of both", "Moved − fixed"), strict=True)
        )
        ax.set(title=titles[show], xlabel="i (pixels)", ylabel="j (pixels)")
        mask = moved > threshold
        text = (
            f"MAE {mae(fixed, moved):.2f}, mutual information {mutual_information(fixed, moved):.3f}; "
            f"of the masks IoU {iou(target, mask):.3f}, Dice {dice(target, mask):.3f}."
        )
        return figure, text

    return explore(
        draw,
        title="Align by hand",
        kept=["scan"],
        rotation=(-30, 30, 1, 0),
        shift_i=(-15, 15, 1, 0),
        shift_j=(-15, 15, 1, 0),
        scan=list(scans),
        show=list(_SHOW),
    )


def like_with_like(table, measures):
    """Let the reader choose from which age on two groups are compared.

    Parameters
    ----------
    table : pandas.DataFrame
        With ``age`` in years, ``alzheimers`` (bool) and the measures.
    measures : dict of str to str
        Columns to compare, and their units.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If a column is missing, or a group has fewer than two people of 75 years or more.
    """
    missing = {"age", "alzheimers", *measures} - set(table.columns)
    if missing:
        raise ValueError(f"The table has no column {', '.join(sorted(missing))}.")
    age, ill = table["age"].to_numpy(dtype=float), table["alzheimers"].to_numpy(dtype=bool)
    values = {name: table[name].to_numpy(dtype=float) for name in measures}
    oldest_start = 75
    if min(np.sum(ill & (age >= oldest_start)), np.sum(~ill & (age >= oldest_start))) < 2:
        raise ValueError(f"Each group needs at least two people of {oldest_start} years or more.")

    def draw(youngest, measure):
        column, kept = values[measure], age >= youngest
        groups = {"healthy": (~ill, "tab:blue", "o"), "Alzheimer's": (ill, "tab:orange", "^")}
        figure = Figure(figsize=(7.4, 4.2))
        ax = figure.add_axes((0.11, 0.13, 0.86, 0.78))
        for name, (group, colour, mark) in groups.items():
            inside = group & kept
            ax.plot(age[group & ~kept], column[group & ~kept], mark, color="0.8", markersize=4)
            ax.plot(age[inside], column[inside], mark, color=colour, markersize=4, label=name)
            span = age[inside].min(), age[inside].max()
            ax.plot(span, [column[inside].mean()] * 2, color=colour, linewidth=3)
        ax.axvline(youngest, color="black", linestyle=":")
        unit = f" ({measures[measure]})" if measures[measure] else ""
        ax.set(title="Thick lines: the means of those compared", xlabel="age (years)", ylabel=measure + unit)
        ax.legend(loc="lower left")
        return figure, _say(age, column, ill & kept, ~ill & kept, measures[measure])

    return explore(
        draw,
        title="Compare like with like",
        youngest=(int(age.min()), oldest_start, 1, int(age.min())),
        measure=list(measures),
    )


def _say(age, column, ill, healthy, unit):
    """Return what Welch's test says of two groups, and how old they are."""
    test = stats.ttest_ind(column[ill], column[healthy], equal_var=False)
    interval = test.confidence_interval()
    digits = 0 if unit == "ml" else 3
    low, difference, high = (
        f"{value:.{digits}f}"
        for value in (interval.low, column[ill].mean() - column[healthy].mean(), interval.high)
    )
    unit = f" {unit}" if unit else ""
    return (
        f"{ill.sum()} ill of {age[ill].mean():.0f} years and {healthy.sum()} healthy of "
        f"{age[healthy].mean():.0f} years on average. Difference {difference}{unit}, 95 % interval {low} to "
        f"{high}{unit}, Welch's p = {test.pvalue:.2g}."
    )

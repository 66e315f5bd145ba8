"""The explorers of lesson 6: a field of displacement and its Jacobian, and the force of one voxel."""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.explorers import margins
from helpers.registration import identity, jacobian, warp
from helpers.viewing import explore
from helpers.viewing.figures import show_field

__all__ = ["KINDS", "displacement_of", "field_explorer", "force_explorer"]

KINDS = ("wave", "lens", "swirl", "shift")
REACH = 1.5  # the axes of the force show so many pixels to each side
ORANGE, BLUE, GREY, FOLD = "#e69f00", "#0072b2", "#888888", "#ffdd00"  # Okabe and Ito's, and the monitor's


def displacement_of(kind, amount, shape):
    """Return a displacement of one kind.

    Parameters
    ----------
    kind : {"wave", "lens", "swirl", "shift"}
    amount : float
        Largest displacement in pixels, with a sign; of the last, the displacement of all pixels.
    shape : tuple of 2 ints

    Returns
    -------
    ndarray, (2, rows, columns)
    """
    away = identity(shape) - (np.array(shape).reshape(2, 1, 1) - 1) / 2
    width = max(shape) / 6
    near = np.exp(0.5 - (away**2).sum(axis=0) / (2 * width**2))  # times away/width, at most 1
    if kind == "wave":
        down = amount * np.sin(2 * np.pi * 4 * away[0] / shape[0])
        return np.stack([down, np.zeros(shape)])
    if kind == "lens":
        return amount * away / width * near
    if kind == "swirl":
        return amount * np.stack([-away[1], away[0]]) / width * near
    return np.stack([np.full(shape, float(amount)), np.zeros(shape)])


def field_explorer(picture):
    """Bend a picture by fields of a few kinds, and see grid, warped picture and Jacobian.

    Parameters
    ----------
    picture : ndarray, (row, column)

    Returns
    -------
    helpers.viewing.explore.Explorer
    """
    picture = np.asarray(picture, float)
    brightest = np.percentile(picture, 99.5)
    colours = ListedColormap(_RED_TO_BLUE).with_extremes(under=FOLD)

    def draw(kind, amount):
        displacement = displacement_of(kind, amount, picture.shape)
        determinant = jacobian(displacement)
        figure = Figure(figsize=(10, 3.8))
        axes = figure.subplots(1, 3, sharey=True, gridspec_kw=margins(0.06, 0.12, 0.1, right=0.9))
        axes[0].imshow(picture, cmap="gray", vmin=0, vmax=brightest)
        show_field(displacement, ax=axes[0], color=ORANGE)
        axes[1].imshow(warp(picture, displacement), cmap="gray", vmin=0, vmax=brightest)
        shown = axes[2].imshow(determinant, cmap=colours, vmin=1e-6, vmax=2)
        scale = axes[2].inset_axes((1.04, 0, 0.05, 1))
        figure.colorbar(shown, scale, extend="both", label="Jacobian (yellow: folded)")
        titles = ("Where each pixel looks", "What it sees: the warped picture", "Jacobian determinant")
        for ax, title in zip(axes, titles, strict=True):
            ax.set(title=title, xlabel="column (pixels)")
        axes[0].set_ylabel("row (pixels)")
        low, high, folded = determinant.min(), determinant.max(), (determinant <= 0).mean()
        text = f"The Jacobian runs from {low:.2f} to {high:.2f}. "
        text += f"Folded: {100 * folded:.1f} % of the pixels." if folded else "Nothing is folded."
        return figure, text

    return explore(draw, title="A displacement field", kind=list(KINDS), amount=(-10, 10, 2, 4))


def force_explorer():
    """Turn difference and gradient of one voxel, and see its step, with the difference term or without.

    Returns
    -------
    helpers.viewing.explore.Explorer
    """
    lengths = np.linspace(0, 2, 401)

    def draw(difference, gradient_down, gradient_right, difference_term):
        gradient = np.array([gradient_down, gradient_right])
        alpha = 1.0 if difference_term else 0.0
        step, size = _step(difference, gradient, alpha), np.hypot(*gradient)
        figure = Figure(figsize=(10, 4.4))
        places = margins(0.07, 0.12, 0.16, right=0.975)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4), gridspec_kw=places)
        _draw_voxel(left, gradient, step)
        for term, style, name in ((1.0, "-", "with the difference term"), (0.0, "--", "without")):
            length = [np.hypot(*_step(difference, np.array([each, 0.0]), term)) for each in lengths]
            right.plot(lengths, length, style, color=ORANGE if term else GREY, label=name)
        right.axhline(0.5, color="black", linestyle=":", linewidth=1, label="half a voxel")
        right.plot(size, min(np.hypot(*step), REACH), "o", color=ORANGE, markeredgecolor="black", ms=9)
        right.set(
            xlim=(0, 2), ylim=(-0.1, REACH + 0.1), xlabel="length of the gradient (1/voxel)",
            ylabel="length of the step (voxels)", title=f"All gradients, difference {difference:g}",
        )  # fmt: skip
        right.legend(loc="upper right", fontsize="small")
        return figure, _say_step(difference, gradient, alpha, step)

    return explore(
        draw,
        title="The force of one voxel",
        kept=["difference_term"],
        difference=(-2.0, 2.0, 0.25, 1.0),
        gradient_down=(-1.0, 1.0, 0.125, 0.5),
        gradient_right=(-1.0, 1.0, 0.125, 0.0),
        difference_term=True,
    )


def _step(difference, gradient, alpha):
    """Return the step of one voxel, (2,) in voxels: d g / (|g|² + α d²), 0 where that is 0/0."""
    denominator = gradient @ gradient + alpha * difference**2
    return difference * gradient / denominator if denominator > 0 else np.zeros(2)


def _draw_voxel(ax, gradient, step):
    """Draw a voxel with its gradient and its step; an arrow too long for the axes is cut at their edge."""
    length = np.hypot(*step)
    shown = step * min(1, REACH / length) if length else step
    ax.add_patch(Rectangle((-0.5, -0.5), 1, 1, facecolor="#dddddd", edgecolor=GREY))
    for arrow, colour, width, name in (
        (gradient, BLUE, 7, "gradient (1/voxel)"),
        (shown, ORANGE, 2.5, "step (voxels)"),
    ):
        ax.plot([0, arrow[1]], [0, arrow[0]], color=colour, linewidth=width, label=name, zorder=3)
        if arrow.any():
            ax.annotate(
                "", xy=arrow[::-1], xytext=(0, 0), zorder=3,
                arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip
    ax.set(
        xlim=(-REACH, REACH), ylim=(REACH, -REACH), aspect="equal", title="One voxel",
        xlabel="along the columns (voxels)", ylabel="along the rows (voxels)",
    )  # fmt: skip
    ax.legend(loc="upper left", fontsize="small")


def _say_step(difference, gradient, alpha, step):
    length, size = np.hypot(*step), np.hypot(*gradient)
    if size == 0:
        if difference == 0 or alpha == 0:
            return "Zero divided by zero: nothing says where to go, and the step is taken as 0 voxels."
        return "No gradient, no direction: the step is 0 voxels, though the images differ."
    if difference == 0:
        return "The images agree here: the step is 0 voxels."
    way = "along the gradient" if difference > 0 else "against the gradient"
    text = f"The step is {length:.2f} voxels long, {way}: {step[0]:+.2f} down, {step[1]:+.2f} to the right."
    return text + (" It leaves the picture." if length > REACH else "")


# Blue below 1, white at 1, red above, as in the monitor; lightness falls evenly to both sides.
_RED_TO_BLUE = np.concatenate(
    [
        np.linspace((0.02, 0.19, 0.38), (1, 1, 1), 128),
        np.linspace((1, 1, 1), (0.40, 0.0, 0.12), 128),
    ]
)

"""The exercises of lesson 6, Demons: right answers from the data in use, and typical mistakes.

The learner writes a demons of their own, function by function. Its reference is written out here once more,
with a switch for each mistake, and what it finds is held to `helpers.registration`.
"""

import copy
from itertools import product

import numpy as np
import scipy.ndimage as ndi

from helpers.exercises import Unanswered, Wrong, expect, plain
from helpers.registration import compose, demons, dice, iou, resample
from helpers.registration import jacobian as jacobian_of
from helpers.registration import warp as pull
from helpers.registration.fields import resample_image

FLUID, ELASTIC = 2.0, 1.0


def warp(answer, image):
    """A function of an image (rows, columns) and a displacement (2, rows, columns): the warped image."""
    image = np.asarray(image, float)
    u = _waves(image.shape, 6.0)
    at = np.indices(image.shape) + u
    right = pull(image, u, outside=np.nan)

    def looked_up(where, **options):
        return ndi.map_coordinates(image, where, **{"order": 1, "cval": np.nan} | options)

    # Whether the half pixel beyond the outermost centres belongs to the image is a matter of convention,
    # and a learner's mistake comes with either.
    ends = np.array(image.shape).reshape(2, 1, 1)

    def both_ways(where, message):
        beyond = (where < -0.5) | (where > ends - 0.5)
        hinted = np.where(beyond.any(axis=0), np.nan, looked_up(where, mode="nearest"))
        return [(looked_up(where), message), (hinted, message)]

    edge = ((at < 0) | (at > ends - 1)).any(axis=0) & ((at >= -0.5) & (at <= ends - 0.5)).all(axis=0)
    here = np.indices(image.shape)
    mistakes = [
        *both_ways(
            here - u,
            "the wrong way: that pushes; add the displacement to the place, and look there.",
        ),
        *both_ways(
            here + u[::-1],
            "rows and columns are exchanged: `displacement[0]` is along the rows, as `np.indices` has them.",
        ),
        *both_ways(
            u, "that looks at the displacement itself; add it to the pixel's own place (`np.indices`)."
        ),
        (
            np.where(np.abs(at[0] - ends[0] / 2 + 0.5) > ends[0] / 2, np.nan, looked_up(at, mode="nearest")),
            "NaN also where a pixel looks beyond the left or the right edge, not only above and below.",
        ),
        (
            looked_up(at, mode="nearest"),
            "outside the image nothing is known: it must be NaN there, and not the border's intensity.",
        ),
        (
            looked_up(at, cval=0.0),
            "outside the image nothing is known: it must be NaN there, and not 0, black as air.",
        ),
        (looked_up(at, mode="wrap"), "outside the image nothing is known: it must be NaN there."),
        (looked_up(at, mode="reflect"), "outside the image nothing is known: it must be NaN there."),
        (
            looked_up(at, order=0),
            "that takes the nearest pixel: linear interpolation is `order=1`; 0 is for labels.",
        ),
        (looked_up(at, order=3), "a cubic spline also overshoots at edges: linear, please, `order=1`."),
        (image, "that is the image as it was."),
    ]
    result = _result(answer, (image, u), "my_warp", image.shape)
    _judge(result, right, mistakes, 0.01 * image.std(), judged=~edge)
    as_whole = _result(answer, (image, np.zeros_like(u)), "my_warp", image.shape)
    _judge(as_whole, image, [], 0.01 * image.std())
    return "`helpers.registration.warp` says the same."


def jacobian(answer):
    """A function of a displacement (2, rows, columns): its Jacobian determinant (rows, columns)."""
    u = _waves((40, 52), 5.0)
    u[1] += 3 * np.sin(np.arange(52) / 4)  # so that all four derivatives count
    (a, b), (c, d) = (np.gradient(part) for part in u)
    mistakes = [
        (a * d - b * c, "that is the determinant for u alone: x moves along, so add 1 on the diagonal."),
        ((1 + a) * (1 + d) + b * c, "the determinant is the *difference* of the two products."),
        ((1 + a) * (1 + d), "the other product is missing: shears count, too."),
        (1 + a + d, "that is the divergence plus 1, right for tiny displacements only."),
        (a + d, "that is the divergence; the determinant is the difference of two products."),
        (
            (1 + b) * (1 + c) - a * d,
            "the axes are exchanged: the 1 belongs to rows along rows and columns along columns.",
        ),
        (
            (1 + a) * (1 + d) - (1 + b) * (1 + c),
            "the 1 belongs on the diagonal only: x along rows does not change from column to column.",
        ),
        ((1 - a) * (1 - d) - b * c, "that is for x − u(x); the place is x + u(x)."),
        (np.abs((1 + a) * (1 + d) - b * c), "the sign matters: below zero the field folds."),
    ]
    _judge(_result(answer, (u,), "my_jacobian", u.shape[1:]), jacobian_of(u), mistakes, 1e-3)
    return "`helpers.registration.jacobian` says the same."


def force(answer, fixed, warped):
    """A function of a fixed and a warped image: Thirion's force for all pixels, (2, rows, columns)."""
    fixed, warped = np.asarray(fixed, float).copy(), np.asarray(warped, float).copy()
    fixed[:6, :6] = warped[:6, :6] = 0.5  # where 0/0 would be
    warped[-4:] = np.nan
    mistakes = [
        (_force(fixed, warped, sign=-1), "the sign is wrong: the difference is fixed − warped."),
        (
            _force(fixed, warped, alpha=0),
            "the difference term is missing from the denominator: flat regions would jump.",
        ),
        (_force(fixed, warped, power=1), "in the denominator the difference stands squared."),
        (_force(fixed, warped, divide=False), "that is not divided yet: the units are not pixels."),
        (
            _force(fixed, warped, gradient=warped),
            "that is the gradient of the warped image; here, of the fixed one.",
        ),
        (
            _force(fixed, warped, gradient=(fixed + warped) / 2),
            "that is the mean of both gradients; here, the fixed image's.",
        ),
        (
            _force(fixed, warped)[::-1],
            "rows and columns are exchanged: `np.gradient` gives the rows' derivative first.",
        ),
        (
            _force(fixed, warped, length=np.abs),
            "the length of the gradient needs both components: add their squares.",
        ),
        (_force(fixed, warped, root=True), "the length of the gradient stands squared: no root."),
        (
            _force(fixed, np.nan_to_num(warped)),
            "where the warped image is NaN nothing is known, and it is not black: the force is 0 there.",
        ),
        (
            _force(fixed, warped, each=True),
            "each component is divided by its own square; add the squares of both components first.",
        ),
    ]
    right = _force(fixed, warped)
    result = _result(answer, (fixed, warped), "my_force", right.shape)
    unseen = np.isnan(warped)
    if np.isnan(result[:, ~unseen]).any():
        raise Wrong(
            "there is NaN where both images are flat and agree: that is 0/0, and the force is 0 there."
        )
    if np.isnan(result).any():
        raise Wrong("where the warped image is NaN nothing is known: the force is 0 there, or NaN spreads.")
    if not np.isfinite(result).all():
        raise Wrong("there is a division by zero: where the denominator is 0, the force is 0.")
    _judge(result, right, mistakes, 1e-3)
    weighted = _force(fixed, warped, alpha=0.25)
    mistakes = [
        (right, "right for `alpha=1`, but alpha makes no difference: it weighs the squared difference."),
        (_force(fixed, warped, alpha=0.0625), "right for `alpha=1` only: alpha itself is not squared."),
    ]
    _judge(_result(answer, (fixed, warped, 0.25), "my_force", right.shape), weighted, mistakes, 1e-3)
    longest = np.hypot(*right).max()
    return f"the longest is {longest:.2f} pixels, and none is longer than half a pixel."


def smooth(answer, field):
    """A function of a field (2, rows, columns) and a sigma: each component smoothed by a Gaussian."""
    field = np.asarray(field, float)
    sigma = 2.0
    expected = _smooth(field, sigma)

    def by(sigmas):
        return ndi.gaussian_filter(field, sigmas, mode="nearest")

    mistakes = [
        (by(sigma), "that smooths from one component into the other, too: rows and columns get mixed."),
        (by((sigma, 0, 0)), "that smooths across the components only; smooth along rows and columns."),
        (by((0, sigma, 0)), "that smooths along the rows' axis only."),
        (by((0, 0, sigma)), "that smooths along the columns' axis only."),
        (np.stack([expected[0], field[1]]), "only the first component is smoothed."),
        (by((0, sigma**2, sigma**2)), "`gaussian_filter` wants the standard deviation, not its square."),
        (by((0, sigma / 2.355, sigma / 2.355)), "sigma is a standard deviation already, not a full width."),
        (np.stack([ndi.uniform_filter(part, 2) for part in field]), "that is a box; a Gaussian, please."),
        (field, "that is the field as it was."),
    ]
    scale = np.hypot(*expected).mean()
    # Borders and tails may be treated in one way or another.
    inner = np.pad(np.ones(np.subtract(field.shape[1:], 16), bool), 8)
    _judge(_result(answer, (field, sigma), "my_smooth", field.shape), expected, mistakes, 0.02 * scale, inner)
    _judge(_result(answer, (field, 0), "my_smooth", field.shape), field, [], 0.01 * scale)
    even = np.ones_like(field)
    if not _near(_result(answer, (even, sigma), "my_smooth", field.shape), even, 1e-3):
        raise Wrong('the field fades towards its border; beyond that it goes on as at it: `mode="nearest"`.')
    return "rows are smoothed with rows, columns with columns."


def level(answer, fixed, moving):
    """A function of two images, a displacement and a number of steps: the best displacement of a level."""
    fixed, moving = (_halve(np.asarray(image, float)) for image in (fixed, moving))
    start, n = np.zeros((2, *fixed.shape)), 8
    inner = np.pad(np.ones(np.subtract(fixed.shape, 12), bool), 6)  # at the border conventions differ
    right = _level(fixed, moving, start, n)
    short = "one step short: after the last step look once more, so `range(n_steps + 1)`."

    mistakes = [
        (
            _level(fixed, moving, start, n, sign=-1),
            "the field grows the wrong way: mind the sign of the force.",
        ),
        (_level(moving, fixed, start, n), "fixed and moving are exchanged: the moving image is warped."),
        (
            _level(fixed, moving, start, n, replace=True),
            "the displacement is replaced in every step; *add* the step to it.",
        ),
        (
            _level(fixed, moving, start, n, fluid=0),
            "the step is not smoothed: `my_smooth(my_force(…), 2)` is missing.",
        ),
        (
            _level(fixed, moving, start, n, elastic=0),
            "the displacement is not smoothed: `my_smooth(u + step, 1)` is missing.",
        ),
        (_level(fixed, moving, start, n, fluid=0, elastic=0), "nothing is smoothed."),
        (
            _level(fixed, moving, start, n, fluid=ELASTIC, elastic=FLUID),
            "the two sigmas are exchanged: fluid is for the step, elastic for the displacement.",
        ),
        (
            _level(fixed, moving, start, n, again=False),
            "the moving image is warped once only: warp it anew in every step, from the original.",
        ),
        (
            _level(fixed, moving, start, n, onward=True),
            "the warped image is warped again; warp the *moving* image, from the original, in every step.",
        ),
        (_level(fixed, moving, start, n - 1), short),
        (start, "nothing has moved: is the step added, and the best displacement returned?"),
        (_level(fixed, moving, start, n, swap=True), "rows and columns are exchanged somewhere."),
    ]
    result = _result(answer, (fixed, moving, start, n), "my_level", start.shape)
    if np.isnan(result).any():
        raise Wrong("there is NaN in the displacement: a NaN outside the field of view was not left out.")
    scale = np.hypot(*right)[inner].mean()
    _judge(result, right, mistakes, 0.08 * scale, inner)

    # A state that every further step makes worse: what comes back must be the state itself.
    rough = _waves(fixed.shape, 3.0, waves=7)
    seen = np.nan_to_num(pull(moving, rough))
    if not _near(_result(answer, (seen, moving, rough, n), "my_level", start.shape), rough, 0.03):
        raise Wrong("the steps made it worse, yet the last state came back; keep the best, and return that.")

    # Eight steps differ little from seven, one differs much from none.
    one, two = (_level(fixed, moving, start, steps) for steps in (1, 2))
    counted = [(start, short), (two, "one step too many: `n_steps` steps, and a last look.")]
    result = _result(answer, (fixed, moving, start, 1), "my_level", start.shape)
    _judge(result, one, counted, 0.2 * np.hypot(*one)[inner].mean(), inner)

    # Steps that push pixels out of view: those that stay may match better, and yet nothing is gained.
    left, right = _pushed_out()
    start, n = np.zeros((2, *left.shape)), 12
    result = _result(answer, (left, right, start, n), "my_level", start.shape)
    ways = product((False, True), ("nearest", "reflect"), (3.0, 4.0))  # of handling borders and tails
    kept, lost = zip(
        *[
            [
                _level(left, right, start, n, shrink=shrink, strict=strict, borders=borders)
                for shrink in (False, True)
            ]
            for strict, *borders in ways
        ],
        strict=True,
    )
    if any(_near(result, u, 0.01) for u in lost) and not any(_near(result, u, 0.01) for u in kept):
        raise Wrong(
            "pixels outside were left out of the mean, or taken as 0, so that losing them looked like a gain."
        )
    return "one level of demons, and it never hands on a state that is worse than its first."


def pyramid(answer, fixed, moving):
    """A function of two images, a number of levels and of steps on each: the displacement by demons."""
    fixed, moving = np.asarray(fixed, float), np.asarray(moving, float)
    levels, n = 3, 15
    right = _pyramid(fixed, moving, levels, n)
    inner = np.pad(np.ones(np.subtract(fixed.shape, 24), bool), 12)
    scale = np.hypot(*right)[inner].mean()
    mistakes = [
        (
            _pyramid(fixed, moving, levels, n, carry=lambda u, shape: 0 * resample(u, shape)),
            "each level begins anew at zero, or there is but one; begin with what the coarser one found.",
        ),
        (
            _pyramid(fixed, moving, levels, n, carry=_unscaled),
            "on the finer grid a displacement measures more pixels: its values must grow with the grid.",
        ),
        (
            _pyramid(fixed, moving, levels, n, carry=lambda u, shape: 4 * _unscaled(u, shape)),
            "the values grow with the *sides* of the grid, not with its area.",
        ),
        (_pyramid(moving, fixed, levels, n), "fixed and moving are exchanged."),
        (_pyramid(fixed, moving, levels - 1, n), "one level short: count the image itself as a level."),
        (_pyramid(fixed, moving, levels + 1, n), "one level too many: the image itself is a level."),
        (
            _pyramid(fixed, moving, levels, n, finest_first=True),
            "that goes from fine to coarse; begin with the coarsest.",
        ),
    ]
    result = _result(answer, (fixed, moving, levels, n), "my_demons", right.shape)
    _judge(result, right, mistakes, 0.08 * scale, inner)
    core = demons(
        fixed, moving, levels=levels, iterations=n, tolerance=0, forces="fixed", evidence="pointwise",
        update="additive", sigma_image=0, sigma_fluid=FLUID, sigma_elastic=ELASTIC, lattice=1, momentum=0,
        operators="numpy",
    ).displacement  # fmt: skip
    apart, longest = np.hypot(*(result - core))[inner].mean(), np.hypot(*core).max()
    if apart > 0.08 * scale:
        raise Wrong(f"that differs from `helpers.registration.demons` by {apart:.2f} pixels on average.")
    return f"{apart:.3f} pixels on average from the core, whose longest arrow measures {longest:.1f}."


def together(answer):
    """A function of two displacements (2, rows, columns): that which looks up the second, then the first."""
    u, step = _waves((48, 60), 4.0), _waves((48, 60), 3.0, waves=3)[::-1].copy()
    mistakes = [
        (u + step, "that is the sum: `u` must be read where the step leads, at x + step(x)."),
        (compose(step, u), "the other order: first follow the step, and from where it leads, `u`."),
        (compose(u, step) - step, "that is `u` read at the right place; the step itself must be added."),
        (
            np.stack([_at(part, np.indices(u.shape[1:]) - step) for part in u]) + step,
            "the wrong way: read `u` at x + step(x).",
        ),
        (
            np.stack([_at(part, np.indices(u.shape[1:]) + step[::-1]) for part in u]) + step,
            "rows and columns of the step are exchanged.",
        ),
        (compose(u, step) - step + u, "that adds `u` where it stands; add the step `s`."),
        (step, "that is the step alone: the displacement so far is lost."),
    ]
    result = _result(answer, (u, step), "my_compose", u.shape)
    at = np.indices(u.shape[1:]) + step
    inside = ((at >= 0) & (at <= np.array(u.shape[1:]).reshape(2, 1, 1) - 1)).all(axis=0)
    if np.isnan(result[:, inside]).any():
        raise Wrong("there is NaN inside the picture.")
    _judge(result, compose(u, step), mistakes, 1e-2, judged=inside)
    if np.isnan(result).any():
        raise Wrong("right inside; but beyond its border a field goes on as at the border, and is not NaN.")
    return "`helpers.registration.compose` says the same."


def history(answer, history):
    """By what part of its start each level lowered its MSD, the coarsest first: numbers from 0 to 1."""
    levels = range(int(history["level"].max()) + 1)
    each = [history["msd"][history["level"] == level] for level in levels]
    gains = [1 - min(msd) / msd[0] for msd in each]
    mistakes = [
        ([100 * gain for gain in gains], "those are percentages; parts of one, please."),
        ([min(msd) / msd[0] for msd in each], "that is what is *left*; what is gone is one less that."),
        (
            [msd[0] / min(msd) for msd in each],
            "that says how many times lower; the part that is gone, please.",
        ),
        ([msd[0] - min(msd) for msd in each], "that is the fall itself; divide it by the level's start."),
        ([1 - msd[-1] / msd[0] for msd in each], "that is the last state; a level hands on its *best*."),
        (
            [1 - min(msd) / each[0][0] for msd in each],
            "each level has images of its own: compare with the start of the *same* level.",
        ),
        (gains[::-1], "level 0 is the coarsest, and comes first."),
        (
            [1 - min(msd) / max(msd) for msd in each],
            "take each level's start, at iteration 0, not its highest.",
        ),
    ]
    if not _rounded(answer, gains):
        expect(answer, gains, mistakes=mistakes)
    best = int(np.argmax(gains))
    return f"level {best} took away most of what it met, {100 * gains[best]:.0f} %."


def overlap(answer, fixed_labels, moving_labels, displacement):
    """Dice of grey matter, label 2, between the fixed labels and the moving ones, warped: float."""
    fixed_labels, moving_labels = np.asarray(fixed_labels), np.asarray(moving_labels, float)
    fixed_grey = fixed_labels == 2

    def score(warped, measure=dice):
        return measure(fixed_grey, warped == 2)

    nearest = pull(moving_labels, displacement, order=0)
    mistakes = [
        (
            score(pull(moving_labels, displacement)),
            "labels were interpolated: half way from 1 to 3 is no grey matter; `order=0`.",
        ),
        (
            score(pull(moving_labels, displacement).round()),
            "rounded after interpolating, the border from 1 to 3 becomes 2, grey matter: `order=0`.",
        ),
        (
            dice(fixed_grey, pull((moving_labels == 2).astype(float), displacement) > 0.5),
            "the mask was interpolated and cut at one half: that can be done, but here take `order=0`.",
        ),
        (score(moving_labels), "the moving labels are not warped yet."),
        (score(pull(moving_labels, -np.asarray(displacement), order=0)), "warped the wrong way."),
        (
            dice(moving_labels == 2, pull(fixed_labels.astype(float), displacement, order=0) == 2),
            "that warps the fixed labels; the displacement pulls the moving ones.",
        ),
        (score(nearest, iou), "that is intersection over union; Dice, please."),
        (dice(fixed_labels > 0, nearest > 0), "that is for the whole brain; for label 2, please."),
        (dice(fixed_labels == 3, nearest == 3), "that is white matter; grey matter is label 2."),
        (dice(fixed_labels == 1, nearest == 1), "that is fluid; grey matter is label 2."),
        (
            np.mean(fixed_grey == (nearest == 2)),
            "that is the share of pixels on which both agree, mostly background; Dice, please.",
        ),
        (
            np.mean(fixed_labels == nearest),
            "that is the share of pixels with the same label, mostly background.",
        ),
    ]
    right = score(nearest)
    # To a tenth of a percent: how halves are rounded must not matter, but order 1 must.
    if not _rounded(answer, right):
        expect(answer, right, mistakes=mistakes, rtol=0, atol=1e-3)
    return f"{right:.3f}, and it was {score(moving_labels):.3f} before."


def chain(answer, first, then, truth, mask):
    """One displacement for both: the coarse alignment and the demons after it, (3, i, j, k)."""
    right = compose(first, then)
    mistakes = [
        (
            compose(then, first),
            "the other order: a voxel of the fixed image follows the demons' arrow, then the rigid one.",
        ),
        (first + then, "that is the sum; the rigid arrow must be read where the demons' arrow leads."),
        (then, "that is the demons' part alone: it leads to the aligned image, not to the moving one."),
        (first, "that is the rigid part alone."),
    ]
    answer = plain(answer)
    if not isinstance(answer, np.ndarray) or answer.shape != right.shape:
        expect(answer, right)
    _judge(answer, right, mistakes, 1e-2)
    error = np.sqrt(((answer - truth) ** 2).sum(axis=0))[mask].mean()
    return f"on average {error:.2f} voxels from the truth."


def _rounded(answer, right):
    """Tell whether an answer is the right one, rounded to two decimals."""
    answer = np.asarray(plain(answer))
    return (
        answer.dtype.kind == "f"
        and answer.shape == np.shape(right)
        and np.allclose(answer, np.round(right, 2), rtol=0, atol=1e-9)
    )


def _halve(image):
    """Return an image on half as many pixels along each axis, rounded up, as the lesson does."""
    shape = tuple(-(-n // 2) for n in image.shape)
    blur = 0.5 * np.divide(image.shape, shape)
    return resample_image(ndi.gaussian_filter(image, blur, mode="nearest", truncate=3), shape)


def _waves(shape, size, waves=2):
    """Return a displacement of some waves, (2, rows, columns), different along rows and columns."""
    row, column = np.indices(shape)
    return size * np.stack(
        [
            np.sin(2 * np.pi * waves * column / shape[1] + 1) * np.cos(2 * row / shape[0]),
            0.6 * np.cos(2 * np.pi * waves * row / shape[0]) - 0.3,
        ]
    )


def _at(image, places):
    return ndi.map_coordinates(image, places, order=1, mode="nearest")


def _pushed_out():
    """Return two images of which the second seems to match better the more of it is pushed out of view.

    The upper part is matched in a few steps. The lower never is, and its force points slowly out of the
    picture. Its difference lies above that of the matched part, so that without it the mean is lower; but
    below that at the start, so that losing it is no gain.
    """
    row, column = np.indices((32, 32)).astype(float)
    upper = 4 * np.clip((26 - row) / 4, 0, 1)
    fixed = upper * np.sin(2 * np.pi * (column + 1.5) / 12) + np.where(row > 26, 1.5 + 0.05 * (row - 26), 0)
    return fixed, upper * np.sin(2 * np.pi * column / 12)


def _force(
    fixed, warped, *, sign=1, alpha=1.0, power=2, divide=True, gradient=None, length=np.square, root=False,
    each=False,
):  # fmt: skip
    """Return Thirion's force; the keywords make it wrong in the ways of learners."""
    d = sign * (fixed - warped)
    g = np.array(np.gradient(fixed if gradient is None else gradient))
    squares = length(g) if each else length(g).sum(axis=0)
    denominator = (np.sqrt(squares) if root else squares) + alpha * np.abs(d) ** power
    if not divide:
        return np.nan_to_num(d * g)
    return np.nan_to_num(np.divide(d * g, denominator, out=np.zeros_like(g), where=denominator > 0))


def _smooth(field, sigma, mode="nearest", truncate=3.0):
    return np.stack([ndi.gaussian_filter(part, sigma, mode=mode, truncate=truncate) for part in field])


def _level(
    fixed, moving, u, n, *, fluid=FLUID, elastic=ELASTIC, sign=1, replace=False, again=True, swap=False,
    onward=False, shrink=False, strict=False, borders=("nearest", 3.0),
):  # fmt: skip
    """Return the best displacement of one level; the keywords make it wrong in the ways of learners."""
    best, lowest, warped = u, np.inf, moving
    for iteration in range(n + 1):
        if iteration == 0 or again:
            warped = pull(warped if onward else moving, u)
            if strict:  # as `map_coordinates` has it: outside begins at the outermost centres
                warped = ndi.map_coordinates(moving, np.indices(moving.shape) + u, order=1, cval=np.nan)
        squares = (fixed - warped) ** 2
        if iteration == 0:
            start = np.nanmean(squares)
        msd = np.nanmean(squares) if shrink else np.where(np.isnan(squares), start, squares).mean()
        # Where a mistake makes the MSD rise, or stand still, the learner's loop may well go on to its end.
        if msd < lowest or sign < 0 or replace or not again or swap:
            best, lowest = u, min(msd, lowest)
        step = _smooth(_force(fixed, warped, sign=sign), fluid, *borders)
        step = step[::-1] if swap else step
        u = _smooth(step if replace else u + step, elastic, *borders)
    return best


def _pyramid(fixed, moving, levels, n, *, carry=resample, finest_first=False):
    pairs = [(fixed, moving)]
    while len(pairs) < levels:
        pairs.append([_halve(image) for image in pairs[-1]])
    u = np.zeros((2, 1, 1))
    for F, M in pairs if finest_first else reversed(pairs):
        u = _level(F, M, carry(u, F.shape), n)
    return resample(u, fixed.shape)


def _unscaled(u, shape):
    """Return a displacement on another grid, its values left as they are."""
    return np.stack([resample_image(part, shape) for part in u])


def _result(function, arguments, name, shape):
    """Call a learner's function and return its result, an array of a shape."""
    if function is None or function is ...:
        raise Unanswered(f"`{name}` is still empty.")
    if not callable(function):
        raise Wrong(f"`{name}` must be a function.")
    try:
        result = function(*copy.deepcopy(arguments))
    except (Exception, SystemExit) as error:
        raise Wrong(f"`{name}` raises {type(error).__name__}: {error}") from error
    if result is ...:
        raise Unanswered(f"replace the `...` in `{name}` by your answer, and run that cell first.")
    if result is None:
        raise Wrong(f"`{name}` returns nothing; end the function with `return`.")
    result = plain(result)
    if not isinstance(result, np.ndarray) or result.dtype.kind not in "buif":
        raise Wrong(f"`{name}` must return an array of numbers.")
    if result.shape != tuple(shape):
        raise Wrong(f"`{name}` returns an array of shape {result.shape}, but {tuple(shape)} is wanted.")
    return result.astype(float)


def _near(result, right, tolerance, judged=None):
    """Tell whether two images or fields differ by less than a tolerance on average, and have NaN alike."""
    difference = result - right
    missing = np.isnan(result) != np.isnan(right)
    if difference.ndim == 3 or len(difference) in (2, 3) and difference.ndim == 4:
        difference, missing = np.sqrt((difference**2).sum(axis=0)), missing.any(axis=0)
    if judged is not None:
        difference, missing = difference[judged], missing[judged]
    return missing.mean() < 1e-3 and bool(np.nanmean(np.abs(difference)) <= tolerance)


def _judge(result, right, mistakes, tolerance, judged=None):
    """Raise the complaint of the mistake that a result shows, if it is not right."""
    if _near(result, right, tolerance, judged):
        return
    for wrong, message in mistakes:
        if np.shape(wrong) == result.shape and _near(result, np.asarray(wrong), tolerance, judged):
            raise Wrong(message)
    if np.isnan(result).any() and not np.isnan(right).any():
        raise Wrong("there is a NaN (not a number) in the result; look for 0/0, or for what lies outside.")
    if _near(-result, right, tolerance, judged):
        raise Wrong("the size is right, but the sign is wrong.")
    raise Wrong(f"the shape is right, but the values are not: {_share(result, right, tolerance)}.")


def _share(result, right, tolerance):
    alike = np.isclose(result, right, rtol=0.01, atol=tolerance, equal_nan=True)
    return f"{100 * alike.mean():.0f} % of them are"

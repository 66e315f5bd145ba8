"""Demons: find the displacement that warps a moving image onto a fixed one.

**The step.** Where the fixed image F and the warped moving image W differ by d = F - W, and g is the
gradient, a small step s changes W by about g·s. Thirion's demons [1]_ take, at every voxel x by itself,

    s(x) = d g / (|g|² + α d²)                                                         (pointwise)

The term α d² keeps the step below 1 / (2 √α) voxels where the gradient is weak; 0/0 is 0. The gradient g may
come from F, from W, or from the mean of both, which comes closer to the truth for larger steps [2]_.

But a voxel in a flat region knows nothing, and one on an edge knows the motion across it only. Let
w = |g|² + α d² be the *evidence* of a voxel. The step that suits all voxels around x best, each as much as it
knows, is the weighted least squares solution

    s(x) = argmin_s  Σ_y K(x - y) w(y) |s - d(y) g(y) / w(y)|²

in which K is a Gaussian. Set the derivative by s to zero, and numerator and denominator of Thirion's force
appear, *each smoothed before they are divided* [3]_:

    s(x) = Σ_y K(x - y) d(y) g(y)  /  Σ_y K(x - y) (|g(y)|² + α d(y)²)                 (pooled)

So an edge speaks for the flat region beside it; if K is narrow, this is Thirion's force again. Where no edge
is near, noise divided by noise would be a step like any other. The denominator therefore gets a part of the
evidence that a voxel has on average (three tenths), and what is smooth goes on there.

**The loop**, on each level of a pyramid from coarse to fine:

1. warp: W(x) = M(x + u(x))
2. forces: d g and |g|² + α d² of each voxel, and the mean squared difference
3. smooth: both by K (fluid-like), divide; step ← force + momentum · step
4. compose: u ← u ∘ step, or u + step, or u ∘ exp(step); then smooth u (elastic-like)
5. resample: u to the next level

Each is a function of the module ``operators``, written to be read, and again of ``fast``, compiled by numba.

**How much to smooth.** Both images by half a voxel: between voxels, linear interpolation blurs, and a detail
of one voxel would rather stay blurred than be in place. The step by half the square root of the voxels along
an axis (100: 5, 256: 8): the same organ in more voxels moves more smoothly and shows more noise in each, but
a K in proportion to the size would miss local motion. Found by trial on brains of 100 to 256 voxels.

**Brightness.** A gain or an offset between the images would pull like motion. The moving image is therefore
given the mean and the standard deviation of the fixed one, both taken where they overlap *as warped so far*,
and again every few iterations. Those of the images as they came would not do: a brain that grows fills more
of the image, and its mean rises. On one warped brain they were 2 % off, which cost a fifth of a voxel. The
pointwise demons, the classic ones, get no more than the z-scored images.

**How close to come.** The mean squared difference can always be lowered by smoothing the step less, at last
by moving noise onto noise, while the error of the displacement grows. Where the match counts more, or the
motion changes within a few voxels, `close_demons` narrows K for as long as that pays.

The displacement is smooth, so that it can live on a lattice coarser than the image: in 3D, a lattice of half
as many nodes along each axis has an eighth of the nodes to smooth and to compose.

References
----------
.. [1] Thirion 1998, doi 10.1016/S1361-8415(98)80022-4.
.. [2] Vercauteren et al. 2009, doi 10.1016/j.neuroimage.2008.10.040, also for u ∘ exp(step).
.. [3] Smoothing of evidence and certainty apart: Knutsson & Westin 1993, doi 10.1109/CVPR.1993.341081.
"""

from dataclasses import dataclass

import numpy as np

from helpers.registration import fields
from helpers.registration.checks import (
    check_choice,
    check_images,
    check_levels,
    check_number,
    check_spacing,
)

MATCH = 10  # iterations after which the brightness of the images is matched anew
NOISE = 0.06  # per axis: at most so much of the mean squared difference does noise explain when K is halved
FLOOR = 0.3  # of the mean evidence is added to the pooled evidence, whatever the unit of the images
HISTORY = [
    ("level", int), ("iteration", int), ("msd", float), ("accepted", bool), ("step", float),
    ("outside", float),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Demons:
    """What `demons` found.

    Attributes
    ----------
    warped : ndarray, (*shape)
        warped(x) = moving(x + displacement(x)), in the intensities of the moving image, NaN outside its
        field of view.
    displacement : ndarray, float32, (ndim, *shape)
        On the fixed grid, in voxels, axes in the order of the array.
    history : structured ndarray, one row for each iteration
        ``level``, 0 is the coarsest; ``iteration``, 0 is the state in which the level began; ``msd``, mean
        squared difference of the blurred images, their brightness matched, in units of the fixed image's
        variance; ``accepted``, whether it is the lowest of the level so far (the level hands on the last
        state accepted); ``step``, root mean square length of the step that led to the state, in voxels of the
        level; ``outside``, part of the voxels that look outside the moving image. ``pandas.DataFrame`` takes
        it as it is.
    minimum_jacobian : float
        Of x + displacement(x). At or below 0 the displacement folds.
    folded : float
        Part of the voxels in which it folds, from 0 to 1.
    """

    warped: np.ndarray
    displacement: np.ndarray
    history: np.ndarray
    minimum_jacobian: float
    folded: float


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """What the callback of `demons` sees of an iteration.

    Nothing is copied or computed for it, so that a callback costs but what it does itself. Its arrays belong
    to the run: look, do not write.

    Attributes
    ----------
    level : int
        Level, 0 is the coarsest.
    levels : int
        How many levels there are.
    iteration : int
        Number of steps taken on this level.
    msd : float
        Mean squared difference of ``fixed`` and ``warped``, as in the history.
    fixed : ndarray, float32, (*level_shape)
        The fixed image on the grid of the level, blurred and z-scored.
    warped : ndarray, float32, (*level_shape)
        The moving image, warped, on the same grid: blurred, matched to ``fixed`` in mean and standard
        deviation, and NaN outside the field of view.
    lattice_displacement : ndarray, float32, (ndim, *nodes)
        The displacement on the lattice and in its steps.
    lattice_update : ndarray, float32, (ndim, *nodes)
        The last step on the lattice and in its steps.
    displacement : ndarray, float32, (ndim, *level_shape)
        The displacement in voxels of the level. Computed when asked for.
    update : ndarray, float32, (ndim, *level_shape)
        The last step in voxels of the level. Computed when asked for.
    """

    level: int
    levels: int
    iteration: int
    msd: float
    fixed: np.ndarray
    warped: np.ndarray
    lattice_displacement: np.ndarray
    lattice_update: np.ndarray
    _resample: object

    @property
    def displacement(self):
        """The displacement that leads to ``warped``, on the grid of the level."""
        return self._resample(self.lattice_displacement, self.fixed.shape)

    @property
    def update(self):
        """The step that led to this state, on the grid of the level; zeros at iteration 0."""
        return self._resample(self.lattice_update, self.fixed.shape)


def demons(
    fixed,
    moving,
    levels=3,
    iterations=100,
    forces="symmetric",
    evidence="pooled",
    update="compositional",
    sigma_image=None,
    sigma_fluid=None,
    sigma_elastic=None,
    alpha=1.0,
    lattice=2,
    momentum=0.8,
    tolerance=0.01,
    spacing=None,
    callback=None,
    operators=None,
):
    """Register two images of the same intensities by demons.

    Both images are z-scored first (their mean becomes 0, their standard deviation 1). With pooled evidence,
    the moving image is then given the mean and the standard deviation of the fixed one again and again, both
    taken where the two overlap as warped so far. So a gain or an offset between them does not matter. Other
    differences of contrast do.

    Parameters
    ----------
    fixed : array_like, 2D or 3D
        Finite and not constant.
    moving : array_like, 2D or 3D
        Of the same shape, finite and not constant.
    levels : int
        Of the pyramid; each halves the number of voxels along every axis, rounding up.
    iterations : int or sequence of int
        At most so many steps on each level; a sequence begins with the coarsest.
    forces : {"symmetric", "fixed", "moving"}
        Where the gradient comes from: the mean of both images, the fixed image, the warped moving image.
    evidence : {"pooled", "pointwise"}
        Whether numerator and denominator of the force are smoothed before they are divided, or Thirion's
        force after, with the images z-scored once. The classic demons are ``evidence="pointwise",
        lattice=1, momentum=0``.
    update : {"compositional", "additive", "diffeomorphic"}
        How a step changes the displacement: u ∘ step, u + step, or u ∘ exp(step). The last is halved while it
        would fold.
    sigma_image : float, optional
        Standard deviation of the Gaussian for both images, once, in voxels; with ``spacing`` in mm. By
        default half the smallest voxel size. 0 switches it off. The result's ``warped`` is not blurred.
    sigma_fluid : float, optional
        Standard deviation of the Gaussian for the step, in voxels of the level. With ``spacing`` in mm, for
        the finest level, and twice as much on each coarser one. 0 switches it off. By default half the square
        root of the voxels along an axis (of the geometric mean of the axes, counted in the smallest voxel
        size). Take less, such as 2, where the motion changes within a few voxels.
    sigma_elastic : float, optional
        Standard deviation of the Gaussian for the displacement, in the same units. 0 switches it off. By
        default a seventh of the default of ``sigma_fluid``. Take less, such as 0.5, where the motion changes
        within a few voxels.
    alpha : float
        Weight of the squared difference in the denominator: no force is longer than 1 / (2 √alpha) voxels,
        and voxels that do not match pull less. 4 resists heavy noise, 0.25 lets the images move far.
    lattice : int
        The displacement lives on a lattice so many times coarser than the image; 1 is the image's own grid.
    momentum : float
        Part of the last step that is added to the next, from 0 to less than 1.
    tolerance : float
        A level ends when in 5 iterations its mean squared difference fell by less than this part. It then
        returns to the best state it saw. On warped brains, 0.005 came 3 % closer to the truth in a fifth more
        time, 0.001 came 8 % closer in twice the time.
    spacing : sequence of float, optional
        Voxel sizes in mm, along the array's axes. Smoothing and forces then measure in mm. Results are in
        voxels all the same.
    callback : callable, optional
        Called at each iteration with a `State`. If it returns True, the run ends, with the best state.
    operators : {None, "numpy", "numba"}
        Which of the two sets computes; by default numba if it is installed.

    Returns
    -------
    Demons
        With ``warped``, ``displacement``, ``history``, ``minimum_jacobian`` and ``folded``.

    Raises
    ------
    ValueError
        If the images differ in shape, are not finite or constant, if there are too many levels for their
        size, or if a parameter is out of its range; the message says which.

    Notes
    -----
    The method is told where the module begins, on the website above. A voxel that looks outside the moving
    image has no force. In the mean squared difference it counts as the average voxel did when the level
    began, so that a state cannot look better by pushing voxels out.
    """
    fixed, moving = check_images(fixed, moving)
    ndim = fixed.ndim
    spacing = check_spacing(spacing, ndim)
    shapes = check_levels(levels, fixed.shape)
    iterations = _iterations(iterations, len(shapes))
    check_choice("forces", forces, ("symmetric", "fixed", "moving"))
    check_choice("evidence", evidence, ("pooled", "pointwise"))
    check_choice("update", update, ("compositional", "additive", "diffeomorphic"))
    sigma_image, sigma_fluid, sigma_elastic = _sigmas(
        fixed.shape, spacing, sigma_image=sigma_image, sigma_fluid=sigma_fluid, sigma_elastic=sigma_elastic
    )
    alpha = check_number("alpha", alpha, 0)
    momentum = check_number("momentum", momentum, 0, 0.99)
    tolerance = check_number("tolerance", tolerance, 0)
    if lattice not in (1, 2, 3, 4):
        raise ValueError(f"lattice={lattice} must be 1, 2, 3 or 4 voxels.")
    ops = _operators(operators)

    fixed_pyramid, moving_pyramid = (
        fields.pyramid(ops.smooth(fields.z_scored(image)[None], sigma_image / spacing)[0], shapes, ops)
        for image in (fixed, moving)
    )
    weights = (spacing.min() / spacing) ** 2  # squared, as they turn both d g and the step from mm to voxels

    u = np.zeros((ndim, *(1,) * ndim), np.float32)  # no motion, on a lattice of one node
    history, stopped = [], False
    for level, (F, M) in enumerate(zip(fixed_pyramid, moving_pyramid, strict=True)):
        nodes = tuple(max(2, -(-n // lattice)) for n in F.shape)
        per_voxel = np.divide(nodes, F.shape)  # lattice steps in a voxel
        fluid, elastic = sigma_fluid / spacing * per_voxel, sigma_elastic / spacing * per_voxel
        in_lattice = per_voxel.reshape(-1, *(1,) * ndim).astype(np.float32)

        u = ops.resample(u, nodes)  # 5, from the level before
        if update == "diffeomorphic":
            u = _unfolded(u, F.shape, ops)
        step, best, msds = np.zeros_like(u), u, []
        for iteration in range(iterations[level] + 1):
            W = ops.warp(M, u)  # 1
            if evidence == "pooled" and iteration % MATCH == 0:
                M, W = fields.matched(M, W, F)
            numerator, denominator, ssd, inside = ops.forces(F, W, nodes, forces, alpha, weights)  # 2

            if iteration == 0:
                start = ssd / max(inside, 1)
            outside = F.size - inside
            msd = (ssd + start * outside) / F.size if inside else np.inf
            accepted = not msds or msd < min(msds)
            best = u if accepted else best
            msds.append(msd)
            length = _rms_length(step, per_voxel)
            history.append((level, iteration, msd, accepted, length, outside / F.size))
            if callback is not None:
                state = State(level, len(shapes), iteration, msd, F, W, u, step, ops.resample)
                stopped = callback(state) is True
            if stopped or iteration == iterations[level] or _stalled(msds, tolerance):
                break

            force = _force(numerator, denominator, evidence, fluid, ops)  # 3
            step = force * in_lattice + np.float32(momentum) * step
            u, step = _move(u, step, update, elastic, F.shape, ops)  # 4
        u = best
        if stopped:
            break

    if update == "diffeomorphic":
        u = _unfolded(u, fixed.shape, ops)  # it may be that of a coarse level, if the callback ended the run
    displacement = ops.resample(u, fixed.shape)
    jacobian = ops.jacobian(displacement)
    return Demons(
        ops.warp(moving.astype(np.float32, copy=False), displacement),
        displacement,
        np.array(history, HISTORY),
        float(jacobian.min()),
        float((jacobian <= 0).mean()),
    )


def close_demons(fixed, moving, sigma_fluid=None, spacing=None, **settings):
    """Run `demons` again with half the width of the step's Gaussian, for as long as that pays.

    A narrower Gaussian is kept if it lowers the mean squared difference by more than noise explains, and
    nothing folds; there are at most two halvings. The images then match better, and motion that changes
    within a few voxels is found; elsewhere the displacement is further from the truth, as noise moves it.

    Parameters
    ----------
    fixed : array_like, 2D or 3D
        As for `demons`.
    moving : array_like, 2D or 3D
        As for `demons`.
    sigma_fluid : float, optional
        The widest Gaussian, that of the first run; by default that of `demons`.
    spacing : sequence of float, optional
        As for `demons`.
    **settings
        The other parameters of `demons`. A ``callback`` sees every run.

    Returns
    -------
    Demons
        Of the last run that was kept.

    Notes
    -----
    Where `demons` has found the motion, a narrower Gaussian still lowers the mean squared difference, as it
    moves noise onto noise: on simulated brains by 9 to 11 % in 2D and by up to 14 % in 3D for each halving,
    that is by 5 % for each component of the displacement. Asked for are 6 %. Where there was motion
    left to find, in simulated breathing, it fell by 15 to 29 %.
    """
    result = demons(fixed, moving, sigma_fluid=sigma_fluid, spacing=spacing, **settings)
    ndim = len(result.displacement)
    [widest] = _sigmas(result.warped.shape, check_spacing(spacing, ndim), sigma_fluid=sigma_fluid)
    for width in (widest / 2, widest / 4):
        closer = demons(fixed, moving, sigma_fluid=width, spacing=spacing, **settings)
        before, after = (run.history["msd"][run.history["accepted"]][-1] for run in (result, closer))
        if closer.folded or after > (1 - NOISE * ndim) * before:
            break
        result = closer
    return result


def _sigmas(shape, spacing, **given):
    """Return the three standard deviations: those given, else the usual ones; see the module's docstring."""
    unit = spacing.min()
    voxels_along_axis = np.prod(shape * spacing / unit) ** (1 / len(shape))
    fluid = 0.5 * np.sqrt(voxels_along_axis) * unit
    usual = {"sigma_image": 0.5 * unit, "sigma_fluid": fluid, "sigma_elastic": fluid / 7}
    return [usual[name] if sigma is None else check_number(name, sigma, 0) for name, sigma in given.items()]


def _force(numerator, denominator, evidence, fluid, ops):
    """Return the step that the voxels ask for, smoothed: before the division or after it."""
    if evidence == "pointwise":
        return ops.smooth(_divide(numerator, denominator), fluid)
    numerator, denominator = ops.smooth(numerator, fluid), ops.smooth(denominator[None], fluid)[0]
    return _divide(numerator, denominator + np.float32(FLOOR * denominator.mean(dtype=np.float64)))


def _divide(numerator, denominator):
    """Return the quotient; 0/0 is 0."""
    return numerator / np.maximum(denominator, np.finfo(np.float32).tiny)


def _move(u, step, update, elastic, shape, ops):
    """Return the displacement after a step, smoothed; and the step, which may have been shortened."""
    if update == "additive":
        return ops.smooth(u + step, elastic), step
    if update == "compositional":
        return ops.smooth(ops.compose(u, step), elastic), step
    for _ in range(6):
        moved = ops.smooth(ops.compose(u, fields.exponential(step, ops.compose)), elastic)
        if not _folds(moved, shape, ops):  # the flow never does, but its samples may, and when smoothed
            return moved, step
        step = step / 2
    return u, np.zeros_like(step)


def _unfolded(u, shape, ops):
    """Return a displacement smoothed until it does not fold on a grid finer than its own."""
    while _folds(u, shape, ops):
        u = ops.smooth(u, np.ones(len(u)))
    return u


def _folds(u, shape, ops):
    return ops.jacobian(ops.resample(u, shape)).min() <= 0


def _rms_length(step, per_voxel):
    """Return the root mean square length of a step, in voxels."""
    squares = [np.einsum("i,i", part.ravel(), part.ravel(), dtype=np.float64) for part in step]
    return float(np.sqrt((squares / per_voxel**2).sum() / step[0].size))


def _stalled(msds, tolerance, window=5):
    """Return whether the best of the last iterations is hardly better than the best before them."""
    return len(msds) > window and min(msds) > (1 - tolerance) * min(msds[:-window])


def _iterations(iterations, levels):
    """Return one number of iterations for each level."""
    each = [iterations] * levels if np.ndim(iterations) == 0 else list(iterations)
    if len(each) != levels:
        raise ValueError(
            f"iterations={iterations} has {len(each)} numbers for {levels} levels; give one for each."
        )
    if any(n != int(n) or n < 0 for n in each):
        raise ValueError(f"iterations={iterations} must be whole numbers, 0 or more.")
    return [int(n) for n in each]


def _operators(name):
    """Return the module with the five operators."""
    check_choice("operators", name, (None, "numpy", "numba"))
    if name != "numpy":
        try:
            from helpers.registration import fast  # only here: importing numba takes a second

            return fast
        except ImportError as error:
            if name == "numba":
                raise ValueError(
                    f'operators="numba" needs numba ({error}); use operators="numpy".'
                ) from error
    from helpers.registration import operators

    return operators

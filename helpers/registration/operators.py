"""The five operators of demons in numpy and scipy: the reference that `fast` is held to.

Images lie on the grid of a level. Displacements may lie on a coarser lattice over the same field of view and
are in voxels of their own lattice. All is float32, sums are float64.
"""

import numpy as np
from scipy import ndimage as ndi

from helpers.registration import fields
from helpers.registration.fields import compose, jacobian, resample, resample_image

__all__ = ["compose", "forces", "jacobian", "resample", "resample_image", "smooth", "warp"]

TRUNCATE = 3.0  # the Gaussian's tails beyond so many standard deviations are cut


def warp(image, displacement):
    """Return image(x + displacement(x)) on the image's grid, linear, NaN outside the field of view."""
    return fields.warp(image, resample(displacement, image.shape))


def forces(fixed, warped, lattice, gradient="symmetric", alpha=1.0, weights=(1.0, 1.0, 1.0)):
    """Return what the voxels say about the step to take: numerator and denominator of Thirion's force.

    With d = fixed - warped and g the gradient of the fixed image, of the warped moving image, or the mean of
    both, Thirion's step is ``d g / (|g|² + alpha d²)``. Both parts are summed over the cells of the lattice.
    A voxel that looks outside the field of view, where warped is NaN, does not vote.

    Parameters
    ----------
    fixed : ndarray, float32, (*shape)
    warped : ndarray, float32, (*shape)
    lattice : tuple of int
        Shape of the lattice.
    gradient : {"fixed", "moving", "symmetric"}
    alpha : float
        Bounds the step to 1 / (2 √alpha) voxels.
    weights : sequence of float
        For each axis the inverse square of the voxel size in units of the mean size, so that lengths are
        compared in mm and the step is still in voxels.

    Returns
    -------
    numerator : ndarray, float32, (ndim, *lattice)
    evidence : ndarray, float32, (*lattice)
        The denominator.
    ssd : float
        Sum of d² inside the field of view.
    inside : int
        Number of voxels inside the field of view.
    """
    d = fixed - warped
    seen = {"fixed": fixed, "moving": warped, "symmetric": (fixed + warped) / 2}[gradient]
    g = np.stack(np.gradient(seen))
    weights = np.array(weights[: fixed.ndim], np.float32).reshape(-1, *(1,) * fixed.ndim)
    numerator = d * g * weights
    evidence = (g * g * weights).sum(axis=0) + np.float32(alpha) * d * d
    votes = np.isfinite(evidence)
    numerator, evidence = np.where(votes, numerator, 0), np.where(votes, evidence, 0)
    inside = np.isfinite(d)
    return (
        np.stack([_sum_cells(part, lattice) for part in numerator]),
        _sum_cells(evidence, lattice),
        float(np.square(d[inside], dtype=np.float64).sum()),
        int(inside.sum()),
    )


def smooth(field, sigma):
    """Return the components of a field smoothed by a Gaussian; beyond the border they go on as at it.

    Parameters
    ----------
    field : ndarray, float32, (components, *shape)
    sigma : sequence of float
        Standard deviation along each axis, in voxels; 0 leaves the axis as it is.

    Returns
    -------
    ndarray, float32, (components, *shape)
    """
    smoothed = field
    for axis, width in enumerate(sigma, start=1):
        if width > 0:
            smoothed = ndi.correlate1d(smoothed, gaussian(width), axis, mode="nearest")
    return smoothed


def gaussian(sigma):
    """Return the weights of a Gaussian, float32, summing to 1."""
    radius = int(np.ceil(TRUNCATE * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def cell_starts(n, m):
    """Return the first of ``n`` voxels in each of ``m`` cells; a voxel belongs where its centre lies."""
    return np.ceil(np.arange(m) * (n / m) - 0.5).astype(np.int64)


def _sum_cells(image, lattice):
    for axis, (n, m) in enumerate(zip(image.shape, lattice, strict=True)):
        if n != m:
            image = np.add.reduceat(image, cell_starts(n, m), axis)
    return image

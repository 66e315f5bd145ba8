"""Fields of displacement: what moves a grid onto another, and how such moves combine.

A displacement is an array (ndim, *shape) on the grid of the fixed image: ``displacement[a]`` is the shift
along array axis ``a``, in voxels of that grid. It stands for the map phi(x) = x + displacement(x) and is used
as a *pull-back*: the warped image at x shows what the moving image shows at phi(x). Beyond the border of its
grid a displacement goes on as at the border.
"""

import numpy as np
from scipy import ndimage as ndi

from helpers.registration.checks import check_displacement


def identity(shape):
    """Return the coordinates of each voxel of a grid.

    Parameters
    ----------
    shape : tuple of int

    Returns
    -------
    ndarray, float32, (ndim, *shape)
        ``identity(shape) + displacement`` is the map phi in voxel coordinates.
    """
    return np.indices(shape, np.float32)


def warp(image, displacement, order=1, outside=np.nan):
    """Pull an image back: warped(x) = image(x + displacement(x)).

    Parameters
    ----------
    image : ndarray, (*shape)
        2D or 3D.
    displacement : ndarray, (ndim, *grid)
        In voxels. The result lies on its grid, whose voxel x is also the image's voxel x.
    order : int
        Of the interpolating spline: 1 is linear, 3 cubic, 0 the nearest voxel (for labels).
    outside : float
        Value where x + displacement(x) lies outside the field of view, that is more than half a voxel away
        from the centres of the image's voxels. NaN, the default, keeps such voxels out of means.

    Returns
    -------
    ndarray, (*grid)
        float32; float64 if the image is float64 or of integers too wide for float32.

    Raises
    ------
    ValueError
        If the displacement does not have one component for each axis of the image, or if a spline of order
        2 or more would spread the NaNs of an image over all of it.
    """
    image = np.asarray(image)
    if order > 1 and np.isnan(image).any():
        raise ValueError(
            f"The image holds NaN, which a spline of order {order} spreads; use order=1, or fill it."
        )
    displacement = check_displacement(displacement, image.ndim)
    points = identity(displacement.shape[1:]) + displacement
    dtype = np.result_type(image, np.float32)
    warped = ndi.map_coordinates(image.astype(dtype, copy=False), points, order=order, mode="nearest")
    inside = np.ones(warped.shape, bool)
    for at, n in zip(points, image.shape, strict=True):
        inside &= (at >= -0.5) & (at <= n - 0.5)
    return np.where(inside, warped, dtype.type(outside))


def compose(u, s):
    """Return u ∘ s, the displacement that follows ``s`` and, from where it leads, ``u``.

    With phi(x) = x + u(x) and psi(x) = x + s(x), the result stands for phi(psi(x)):

        (u ∘ s)(x) = s(x) + u(x + s(x))

    Warping an image by it equals warping by ``u`` and the outcome by ``s``.

    Parameters
    ----------
    u : ndarray, (ndim, *shape)
        The displacement that comes second, in voxels.
    s : ndarray, (ndim, *shape)
        The one that comes first, in voxels of the same grid.

    Returns
    -------
    ndarray, float32, (ndim, *shape)
    """
    u, s = check_displacement(u), check_displacement(s)
    if u.shape != s.shape:
        raise ValueError(
            f"The displacements have shapes {u.shape} and {s.shape}; "
            "resample one of them, so that both lie on one grid."
        )
    points = identity(s.shape[1:]) + s
    looked_up = [ndi.map_coordinates(part, points, order=1, mode="nearest") for part in u]
    return s + np.stack(looked_up)


def invert(displacement, tolerance=1e-3, iterations=100):
    """Return the displacement that undoes another.

    Solves inverse(y) = -displacement(y + inverse(y)) by fixed-point iteration [1]_, with shorter steps as
    soon as the error ceases to fall.

    Parameters
    ----------
    displacement : ndarray, (ndim, *shape)
        In voxels; it must not fold.
    tolerance : float
        Largest length, in voxels, of ``compose(displacement, inverse)``.
    iterations : int
        At most so many.

    Returns
    -------
    ndarray, float32, (ndim, *shape)

    Raises
    ------
    ValueError
        If the displacement folds, so that it has no inverse, or the tolerance is not reached.

    References
    ----------
    .. [1] Chen et al. 2008, doi 10.1118/1.2816107.
    """
    displacement = check_displacement(displacement)
    if jacobian(displacement).min() <= 0:
        raise ValueError(
            "The displacement folds (its Jacobian is not positive everywhere): it has no inverse."
        )
    inverse, step, last = -displacement, 1.0, np.inf
    for _ in range(iterations):
        error = compose(displacement, inverse)
        largest = float(np.sqrt((error**2).sum(axis=0)).max())
        if largest <= tolerance:
            return inverse
        if largest > 0.9 * last:
            step = max(0.7 * step, 0.1)
        last = largest
        inverse = inverse - np.float32(step) * error
    raise ValueError(
        f"The inverse is still wrong by {largest:.2g} voxels after {iterations} iterations; "
        "allow more iterations or a larger tolerance."
    )


def exponential(velocity, compose=compose):
    """Return the displacement after one unit of time along a stationary velocity.

    By scaling and squaring [1]_: the velocity is halved until a step is short, and the short step is composed
    with itself as often. The flow of a smooth velocity never folds, and that of ``-velocity`` is its inverse.

    Parameters
    ----------
    velocity : ndarray, (ndim, *shape)
        In voxels per unit of time.
    compose : callable
        Composes two displacements.

    Returns
    -------
    ndarray, float32, (ndim, *shape)

    References
    ----------
    .. [1] Arsigny et al. 2006, doi 10.1007/11866565_113.
    """
    velocity = check_displacement(velocity)
    longest = float(np.sqrt((velocity**2).sum(axis=0).max()))
    squarings = int(np.ceil(np.log2(max(longest, 2.0**-3)))) + 3  # the first step is at most 1/8 voxel
    displacement = velocity / np.float32(2**squarings)
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement


def jacobian(displacement):
    """Return the determinant of the derivative of x + displacement(x).

    Above 1 the fixed image's voxel maps to a larger region of the moving image, below 1 to a smaller one,
    at or below 0 space is folded. It does not depend on the voxel sizes.

    Parameters
    ----------
    displacement : ndarray, (ndim, *shape)
        In voxels. Derivatives are central differences, one-sided at the border.

    Returns
    -------
    ndarray, float32, (*shape)
    """
    displacement = check_displacement(displacement)
    derivative = [list(np.gradient(part)) for part in displacement]  # [component][axis]
    for a, row in enumerate(derivative):
        row[a] = row[a] + 1
    if len(derivative) == 2:
        (a, b), (c, d) = derivative
        return a * d - b * c
    (a, b, c), (d, e, f), (g, h, i) = derivative
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def resample(displacement, shape):
    """Return a displacement on another grid over the same field of view.

    The grids share their centre and their outer borders, so that voxel x of n lies at
    (x + 1/2) m/n - 1/2 of m, and a displacement of one voxel of n measures m/n voxels of m. Linear.

    Parameters
    ----------
    displacement : ndarray, (ndim, *old_shape)
        In voxels of its grid.
    shape : tuple of int
        Of the new grid.

    Returns
    -------
    ndarray, float32, (ndim, *shape)
        In voxels of the new grid.
    """
    displacement = check_displacement(displacement)
    if len(shape) != len(displacement):
        raise ValueError(
            f"A displacement of {len(displacement)} components cannot have the grid {tuple(shape)}."
        )
    old = displacement.shape[1:]
    return np.stack(
        [
            resample_image(part, shape) * np.float32(n / m)
            for part, n, m in zip(displacement, shape, old, strict=True)
        ]
    )


def resample_image(image, shape):
    """Return an image (or one component of a field) on a grid of another shape, as `resample` does."""
    for axis, (old, new) in enumerate(zip(image.shape, shape, strict=True)):
        if old == new:
            continue
        below, part = between(old, new)
        along = [-1 if k == axis else 1 for k in range(image.ndim)]
        low, high = np.take(image, below, axis), np.take(image, np.minimum(below + 1, old - 1), axis)
        image = low + part.reshape(along) * (high - low)
    return image


def between(old, new):
    """Return where the voxels of a grid of ``new`` lie among ``old``: the voxel below, the part beyond it.

    Returns
    -------
    below : ndarray, int64, (new,)
    part : ndarray, float32, (new,)
        From 0 to 1; positions beyond the outermost centres are moved to them.
    """
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    below = np.minimum(at.astype(np.int64), max(old - 2, 0))
    return below, (at - below).astype(np.float32)


def z_scored(image):
    """Return an image with mean 0 and standard deviation 1, float32."""
    mean = image.mean(dtype=np.float64)
    centred = (image - image.dtype.type(mean)).ravel()
    sd = np.sqrt(np.einsum("i,i", centred, centred, dtype=np.float64) / image.size)
    return (centred / image.dtype.type(sd)).astype(np.float32, copy=False).reshape(image.shape)


def matched(moving, warped, fixed):
    """Return a moving image and its warped version with the mean and the SD of the fixed image.

    Mean and standard deviation are taken where ``warped`` is not NaN; if it is NaN or constant there, nothing
    is changed. All are float32.
    """
    inside = np.isfinite(warped)
    number = max(np.count_nonzero(inside), 1)
    moments = []
    for image in (fixed, warped):
        seen = np.where(inside, image, np.float32(0)).ravel()
        mean = seen.sum(dtype=np.float64) / number
        square = np.einsum("i,i", seen, seen, dtype=np.float64) / number
        moments += [mean, np.sqrt(max(square - mean**2, 0))]
    fixed_mean, fixed_sd, mean, sd = moments
    if not sd > 0:
        return moving, warped
    gain = np.float32(fixed_sd / sd)
    offset = np.float32(fixed_mean - fixed_sd / sd * mean)
    return gain * moving + offset, gain * warped + offset


def pyramid(image, shapes, ops):
    """Return an image on the grids of ``shapes``, coarsest first, each smoothed so that nothing aliases.

    ``ops`` is the module that computes, `operators` or `fast`.
    """
    images = [image]
    for shape in shapes[-2::-1]:
        finer = images[-1]
        blur = [0.5 * n / m for n, m in zip(finer.shape, shape, strict=True)]
        images.append(ops.resample_image(ops.smooth(finer[None], blur)[0], shape))
    return images[::-1]

"""Rigid and affine alignment: the few numbers that turn, shift and stretch one image onto another.

The map takes a place x of the fixed image to where the moving image shows the same, about the centre c of the
grid, in mm along the array's axes:

    y = c + L (x - c) + t

It is found by minimising the mean squared difference of the z-scored images with scipy's BFGS, on each level
of a pyramid from coarse to fine. The derivative of W(x) = M(y(x)) by a parameter p is ∇M(y) · ∂y/∂p; as y is
linear in x, it needs but the sums of d ∇M over the image, and of d ∇M times each coordinate.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from helpers.registration import operators
from helpers.registration.checks import check_images, check_levels, check_spacing
from helpers.registration.fields import identity, pyramid, warp, z_scored

STEP = 1e-6  # for the derivative of the matrix by its parameters


@dataclass(frozen=True, eq=False)
class Alignment:
    """What `rigid` or `affine` found.

    Attributes
    ----------
    matrix : ndarray, float64, (ndim + 1, ndim + 1)
        From voxel coordinates of the fixed image to those of the moving image, as
        ``scipy.ndimage.affine_transform`` takes it.
    warped : ndarray, (*shape)
        The moving image on the fixed grid, linear, NaN outside its field of view.
    displacement : ndarray, float32, (ndim, *shape)
        The same map as a field, in voxels: warped(x) = moving(x + displacement(x)).
    parameters : ndarray, float64
        Translation t in mm (voxels without ``spacing``) along each axis, then for `rigid` the rotation in
        radians (2D: the angle from axis 0 to axis 1; 3D: the rotation vector, whose length is the angle),
        for `affine` the entries of L - 1, row by row.
    history : structured ndarray, one row for each state the optimiser went to
        ``level``, 0 is the coarsest; ``iteration``, 0 is where the level began; ``msd``, mean squared
        difference of the z-scored images; ``parameters``.
    """

    matrix: np.ndarray
    warped: np.ndarray
    displacement: np.ndarray
    parameters: np.ndarray
    history: np.ndarray


def rigid(fixed, moving, levels=3, spacing=None):
    """Align two images by a translation and a rotation.

    Parameters
    ----------
    fixed : array_like, 2D or 3D
        Finite and not constant. Both images are z-scored first.
    moving : array_like, 2D or 3D
        Of the same shape and contrast, finite and not constant.
    levels : int
        Of the pyramid; each halves the number of voxels along every axis. The motion should be small beside
        the structures that the coarsest level shows; a rotation by more than about 30 degrees may end in a
        local minimum.
    spacing : sequence of float, optional
        Voxel sizes in mm along the array's axes. Without them a rotation is rigid in voxels only.

    Returns
    -------
    Alignment
        With ``matrix``, ``warped``, ``displacement``, ``parameters`` and ``history``.

    Raises
    ------
    ValueError
        If the images differ in shape, are not finite or constant, or levels or spacing do not suit them.
    """
    return _align(fixed, moving, levels, spacing, _rotation)


def affine(fixed, moving, levels=3, spacing=None):
    """Align two images by a translation and a linear map: rotation, zoom and shear.

    Parameters
    ----------
    fixed : array_like, 2D or 3D
        As for `rigid`.
    moving : array_like, 2D or 3D
        As for `rigid`.
    levels : int
        As for `rigid`.
    spacing : sequence of float, optional
        As for `rigid`. Without it lengths count in voxels.

    Returns
    -------
    Alignment
        With ``matrix``, ``warped``, ``displacement``, ``parameters`` and ``history``.

    Raises
    ------
    ValueError
        As `rigid`.
    """
    return _align(fixed, moving, levels, spacing, _linear)


def _rotation(parameters, ndim):
    if ndim == 2:
        cos, sin = np.cos(parameters[0]), np.sin(parameters[0])
        return np.array([[cos, -sin], [sin, cos]])
    return Rotation.from_rotvec(parameters).as_matrix()


def _linear(parameters, ndim):
    return np.eye(ndim) + parameters.reshape(ndim, ndim)


def _align(fixed, moving, levels, spacing, linear):
    fixed, moving = check_images(fixed, moving)
    ndim, shape = fixed.ndim, fixed.shape
    spacing = check_spacing(spacing, ndim)
    shapes = check_levels(levels, shape)
    number = ndim + {_rotation: ndim * (ndim - 1) // 2, _linear: ndim * ndim}[linear]
    # A unit of each parameter of L moves the border of the image by about the same as a unit of translation.
    radius = float(np.mean(spacing * shape) / 2)
    units = np.append(np.ones(ndim), np.full(number - ndim, 1 / radius))

    p, history = np.zeros(number), []
    pyramids = [pyramid(z_scored(image), shapes, operators) for image in (fixed, moving)]
    for level, (F, M) in enumerate(zip(*pyramids, strict=True)):
        sizes = spacing * shape / F.shape  # a level's voxels are larger
        start = _difference(F, M, _matrix(p * units, F.shape, sizes, linear))[0]

        def cost(p, F=F, M=M, sizes=sizes, start=start):
            """Return the mean squared difference and its derivative by the parameters."""
            msd, by_matrix = _difference(F, M, _matrix(p * units, F.shape, sizes, linear), start)
            gradient = np.empty(number)
            for k in range(number):
                step = STEP * np.eye(number)[k]
                more, less = (_matrix((p + s) * units, F.shape, sizes, linear) for s in (step, -step))
                gradient[k] = (by_matrix * (more - less)[:ndim]).sum() / (2 * STEP)
            return msd, gradient

        path = [(start, p)]

        found = minimize(
            cost, p, jac=True, method="L-BFGS-B", callback=_recorder(path),
            options={"ftol": 1e-6, "gtol": 1e-6, "maxiter": 100, "maxls": 10},
        )  # fmt: skip
        if found.fun < start:
            p = found.x
        history += [(level, iteration, msd, at * units) for iteration, (msd, at) in enumerate(path)]

    matrix = _matrix(p * units, shape, spacing, linear)
    points = identity(shape)
    led = np.tensordot(matrix[:ndim, :ndim], points, 1) + matrix[:ndim, ndim].reshape(-1, *(1,) * ndim)
    displacement = (led - points).astype(np.float32)
    columns = [("level", int), ("iteration", int), ("msd", float), ("parameters", float, (number,))]
    return Alignment(matrix, warp(moving, displacement), displacement, p * units, np.array(history, columns))


def _recorder(path):
    """Return a callback that adds each state of the optimiser to ``path``; scipy knows it by its argument."""

    def record(intermediate_result):
        path.append((intermediate_result.fun, intermediate_result.x.copy()))

    return record


def _matrix(parameters, shape, sizes, linear):
    """Return the homogeneous matrix, in voxels of a grid, of y = c + L (x - c) + t in mm."""
    ndim = len(shape)
    turn = linear(parameters[ndim:], ndim) * sizes / sizes[:, None]  # from voxels to mm, and back
    centre = (np.array(shape) - 1) / 2
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] = turn
    matrix[:ndim, ndim] = centre - turn @ centre + parameters[:ndim] / sizes
    return matrix


def _difference(F, M, matrix, start=None):
    """Return the mean squared difference of F and the mapped M, and its derivative by the matrix's entries.

    A voxel that looks outside M counts as ``start``, the mean before, so that moving voxels out does not pay.
    From 1 to 0 the view V fades within a voxel at the border, so that the sum has no jumps.
    """
    ndim = F.ndim
    V = np.pad(np.ones(np.subtract(M.shape, 2), np.float32), 1)
    W = ndi.affine_transform(M, matrix[:ndim], order=1, mode="nearest")
    V = ndi.affine_transform(V, matrix[:ndim], order=1, mode="constant", cval=0)
    d = F - W
    if start is None:
        start = (V * d * d).sum(dtype=np.float64) / max(V.sum(dtype=np.float64), 1)
    msd = (V * d * d + start * (1 - V)).mean(dtype=np.float64)
    by_x = -2 * V * d * np.stack(np.gradient(W)) + (d * d - start) * np.stack(np.gradient(V))
    # The gradients of W and V by x, turned into those of M and its view by y.
    by_y = np.tensordot(np.linalg.inv(matrix[:ndim, :ndim]).T, by_x, 1)
    by_matrix = np.empty((ndim, ndim + 1))
    by_matrix[:, ndim] = by_y.sum(axis=tuple(range(1, ndim + 1)))
    for b, n in enumerate(F.shape):
        by_matrix[:, b] = by_y.sum(axis=tuple(k + 1 for k in range(ndim) if k != b)) @ np.arange(n)
    return float(msd), by_matrix / d.size

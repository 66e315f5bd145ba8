"""Images of which the value is known at every place, not only on the grid, and maps to move them by."""

import numpy as np
from scipy.spatial.transform import Rotation


def texture(points, seed=0):
    """Return a smooth random image at ``points`` (ndim, ...): waves 8 to 25 voxels long in all directions."""
    rng = np.random.default_rng(seed)
    image = np.zeros(points.shape[1:])
    for _ in range(30):
        direction = rng.standard_normal(len(points))
        direction *= 2 * np.pi / rng.uniform(8, 25) / np.linalg.norm(direction)
        image += np.cos(np.tensordot(direction, points, 1) + rng.uniform(0, 2 * np.pi))
    return image


def pair(shape, displacement, seed=0):
    """Return fixed and moving with moving(x + displacement(x)) = fixed(x), exactly."""
    points = np.indices(shape, float)
    return texture(points + displacement, seed), texture(points, seed)


def shift(shape, by):
    """Return the displacement by the same vector everywhere."""
    return np.broadcast_to(np.reshape(by, (-1, *(1,) * len(shape))), (len(shape), *shape)).astype(np.float32)


def linear(shape, matrix):
    """Return the displacement of x → c + matrix (x - c) about the centre c of the grid."""
    points = np.indices(shape, float) - (np.reshape(shape, (-1, *(1,) * len(shape))) - 1) / 2
    return (np.tensordot(matrix, points, 1) - points).astype(np.float32)


def rotation(ndim, degrees):
    """Return a matrix that rotates by an angle: in 2D from axis 0 to axis 1, in 3D about a tilted axis."""
    angle = np.radians(degrees)
    if ndim == 2:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Rotation.from_rotvec(angle * np.array([2, -1, 2]) / 3).as_matrix()


def error(displacement, truth, margin=6):
    """Return the mean end-point error, in voxels, away from the border, where the images show the same."""
    inner = (slice(None), *(slice(margin, -margin) for _ in displacement.shape[1:]))
    return float(np.sqrt(((displacement - truth)[inner] ** 2).sum(axis=0)).mean())

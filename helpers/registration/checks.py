"""What must hold before a registration begins; each failure is one sentence that says what to do."""

from numbers import Real

import numpy as np


def check_images(fixed, moving):
    """Return two images as float arrays, or say why they cannot be registered.

    Parameters
    ----------
    fixed : array_like, 2D or 3D
        Finite, not constant.
    moving : array_like, 2D or 3D
        Of the same shape, finite, not constant.

    Returns
    -------
    fixed : ndarray
        float32, or float64 if it was.
    moving : ndarray
        The same of the moving image.
    """
    images = []
    for name, image in (("fixed", fixed), ("moving", moving)):
        array = np.asarray(image)
        if array.dtype.kind not in "buif":
            raise ValueError(
                f"The {name} image is no array of real numbers (its dtype is {array.dtype}); "
                "pass an array such as img.get_fdata()."
            )
        if array.ndim not in (2, 3):
            raise ValueError(f"The {name} image has {array.ndim} dimensions; registration is for 2 or 3.")
        array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32, copy=False)
        bad = array.size - np.count_nonzero(np.isfinite(array))
        if bad:
            raise ValueError(
                f"The {name} image has {bad} voxels that are NaN or infinite; fill them first, "
                "for instance by np.nan_to_num, or crop the image."
            )
        if array.size == 0 or array.min() == array.max():
            raise ValueError(f"The {name} image is constant: it has no edges to register by.")
        images.append(array)
    fixed, moving = images
    if fixed.shape != moving.shape:
        raise ValueError(
            f"The images have shapes {fixed.shape} and {moving.shape}; resample one to the grid of the other."
        )
    return fixed, moving


def check_spacing(spacing, ndim):
    """Return the voxel sizes as an array (ndim,); ones if ``spacing`` is None."""
    if spacing is None:
        return np.ones(ndim)
    sizes = np.asarray(spacing, float)
    if sizes.shape != (ndim,) or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError(
            f"spacing={spacing} does not suit an image of {ndim} dimensions; "
            f"give {ndim} positive voxel sizes in mm, in the order of the array's axes."
        )
    return sizes


def check_levels(levels, shape, smallest=4):
    """Return the shapes of a pyramid, coarsest first, in which no axis has fewer than ``smallest`` voxels."""
    if levels != int(levels) or levels < 1:
        raise ValueError(f"levels={levels} must be a whole number, 1 or more.")
    shapes = [tuple(-(-n // 2**level) for n in shape) for level in range(int(levels))]
    most = sum(-(-min(shape) // 2**level) >= smallest for level in range(32))
    if min(shape) < smallest:
        raise ValueError(f"An image of shape {tuple(shape)} is too small; each axis needs {smallest} voxels.")
    if levels > most:
        raise ValueError(
            f"levels={levels} is too many for an image of shape {tuple(shape)}; "
            f"use at most {most}, so that the coarsest has {smallest} voxels along each axis."
        )
    return shapes[::-1]


def check_displacement(displacement, ndim=None):
    """Return a displacement as float32, or say what is wrong with its shape."""
    displacement = np.asarray(displacement, np.float32)
    components = displacement.shape[0] if displacement.ndim else 0
    if components not in (2, 3) or displacement.ndim != components + 1:
        raise ValueError(
            f"A displacement has the shape (2, ni, nj) or (3, ni, nj, nk), not {displacement.shape}; "
            "its first axis holds the components."
        )
    if ndim is not None and components != ndim:
        raise ValueError(
            f"A displacement of {components} components cannot warp an image of {ndim} dimensions."
        )
    return displacement


def check_number(name, value, low, high=np.inf):
    """Return a number, or say that it is not within [low, high]."""
    if not isinstance(value, Real) or not low <= value <= high:  # NaN fails too
        limits = f"{low} or more" if high == np.inf else f"from {low} to {high}"
        raise ValueError(f"{name}={value} must be a number, {limits}.")
    return float(value)


def check_choice(name, value, choices):
    """Return a word, or say which words there are."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose from {', '.join(map(repr, choices))}.")
    return value

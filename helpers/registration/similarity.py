"""How alike two images or two masks are.

Voxels where either image is NaN lie outside the field of view and are left out. Mind that a score over what
is left can improve merely because less is left.
"""

import numpy as np


def mae(fixed, moving):
    """Return the mean absolute error of two images, in their unit; 0 if they are equal.

    Parameters
    ----------
    fixed : array_like
        Voxels that are NaN here or in the other image are left out.
    moving : array_like
        Of the same shape.

    Returns
    -------
    float
    """
    a, b = _both(fixed, moving)
    return float(np.abs(a - b).mean())


def mse(fixed, moving):
    """Return the mean squared error of two images, in their unit squared; 0 if they are equal.

    Parameters
    ----------
    fixed : array_like
        Voxels that are NaN here or in the other image are left out.
    moving : array_like
        Of the same shape.

    Returns
    -------
    float
    """
    a, b = _both(fixed, moving)
    return float(np.square(a - b).mean())


def correlation(fixed, moving):
    """Return Pearson's correlation of two images: 1 if one is the other times a positive gain plus an offset.

    Parameters
    ----------
    fixed : array_like
        Voxels that are NaN here or in the other image are left out.
    moving : array_like
        Of the same shape.

    Returns
    -------
    float
        From -1 to 1.

    Raises
    ------
    ValueError
        If an image is constant.
    """
    a, b = _both(fixed, moving)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    if size == 0:
        raise ValueError("The correlation with a constant image is not defined.")
    return float(np.clip((a * b).sum() / size, -1, 1))


def mutual_information(fixed, moving, bins=32):
    """Return how much the intensity of one image tells of that of the other, whatever the contrast.

    The sum of p(a, b) log(p(a, b) / (p(a) p(b))) over a joint histogram [1]_.

    Parameters
    ----------
    fixed : array_like
        Voxels that are NaN here or in the other image are left out.
    moving : array_like
        Of the same shape.
    bins : int
        Of the histogram along each image's range.

    Returns
    -------
    float
        In nats; 0 if the intensities are independent. A finite sample gives a little more than 0.

    References
    ----------
    .. [1] Viola & Wells 1997, doi 10.1023/A:1007958904918; Maes et al. 1997, doi 10.1109/42.563664.
    """
    if bins != int(bins) or bins < 2:
        raise ValueError(f"bins={bins} must be a whole number, 2 or more.")
    joint, _, _ = np.histogram2d(*_both(fixed, moving), bins=int(bins))
    joint /= joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def iou(mask, other):
    """Return intersection over union of two masks (Jaccard's index).

    Parameters
    ----------
    mask : array_like of bool, or of 0 and 1
        One mask.
    other : array_like of bool, or of 0 and 1
        The other, of the same shape.

    Returns
    -------
    float
        From 0, nothing shared, to 1, equal.

    Raises
    ------
    ValueError
        If the shapes differ, a mask holds other values than 0 and 1, or both are empty.
    """
    a, b = _masks(mask, other)
    return float((a & b).sum() / (a | b).sum())


def dice(mask, other):
    """Return Dice's overlap of two masks: twice what they share over the sum of their sizes.

    Parameters
    ----------
    mask : array_like of bool, or of 0 and 1
        One mask.
    other : array_like of bool, or of 0 and 1
        The other, of the same shape.

    Returns
    -------
    float
        From 0, nothing shared, to 1, equal.

    Raises
    ------
    ValueError
        If the shapes differ, a mask holds other values than 0 and 1, or both are empty.
    """
    a, b = _masks(mask, other)
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _same_shape(one, other):
    if one.shape != other.shape:
        raise ValueError(f"The arrays have shapes {one.shape} and {other.shape}; they must lie on one grid.")


def _both(fixed, moving):
    """Return the intensities, float64, of the voxels that both images show."""
    fixed, moving = np.asarray(fixed), np.asarray(moving)
    _same_shape(fixed, moving)
    fixed, moving = (
        fixed.astype(np.float64),
        moving.astype(np.float64),
    )  # before any difference: uint8 wraps round
    seen = ~(np.isnan(fixed) | np.isnan(moving))
    if not seen.any():
        raise ValueError("There is no voxel that both images show (all are NaN in one of them).")
    return fixed[seen], moving[seen]


def _masks(mask, other):
    masks = []
    for array in (np.asarray(mask), np.asarray(other)):
        if array.dtype != bool and not np.isin(array, (0, 1)).all():
            raise ValueError("A mask holds other values than 0 and 1; make one, for instance by labels == 2.")
        masks.append(array.astype(bool))
    _same_shape(*masks)
    if not (masks[0].any() or masks[1].any()):
        raise ValueError("Both masks are empty: their overlap is not defined.")
    return masks

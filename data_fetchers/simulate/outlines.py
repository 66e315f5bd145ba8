"""Outlines of organs: smooth curves through a few control points, bands around them, copies set inwards.

Points are (x, y) in the units of the caller; leading axes, such as one for the frames, are kept.
"""

from functools import cache

import numpy as np
from numpy.polynomial.polynomial import polyval


def xy(points):
    """Read points written "x,y x,y …": (n, 2)."""
    return np.array([pair.split(",") for pair in points.split()], float)


@cache
def _spline_matrix(n_points, closed, per_span):
    """Weights (n_samples, n_points) of a uniform Catmull-Rom spline through its control points."""
    n_spans = n_points if closed else n_points - 1
    span, t = np.divmod(np.arange(n_spans * per_span), per_span)
    t = t / per_span
    if not closed:
        span, t = np.append(span, n_spans - 1), np.append(t, 1.0)
    basis = np.array([[0, -0.5, 1, -0.5], [1, 0, -2.5, 1.5], [0, 0.5, 2, -1.5], [0, 0, -0.5, 0.5]])
    weights = np.zeros((len(t), n_points))
    for k in range(4):
        index = span + k - 1
        index = index % n_points if closed else np.clip(index, 0, n_points - 1)
        np.add.at(weights, (np.arange(len(t)), index), polyval(t, basis[k]))
    return weights


def closed_curve(points, per_span=8):
    """Smooth closed outline (..., n, 2) through control points (..., k, 2)."""
    points = np.asarray(points, float)
    return _spline_matrix(points.shape[-2], True, per_span) @ points


def open_curve(points, per_span=8):
    """Smooth open path (..., n, 2) through control points (..., k, 2)."""
    points = np.asarray(points, float)
    return _spline_matrix(points.shape[-2], False, per_span) @ points


def ribbon(path, half_width):
    """Outline around a path (..., n, 2); `half_width` a number or values spread over the path."""
    half_width = np.atleast_1d(np.asarray(half_width, float))
    n = path.shape[-2]
    width = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(half_width)), half_width)
    along = np.gradient(path, axis=-2)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    across = across / np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-9)[..., None] * width[:, None]
    return np.concatenate([path + across, (path - across)[..., ::-1, :]], axis=-2)


def inset(outline, by):
    """Closed outline (..., n, 2) moved inwards by `by`, one number or one per point."""
    along = np.roll(outline, -1, axis=-2) - np.roll(outline, 1, axis=-2)
    length = np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-9)
    inwards = np.stack([-along[..., 1], along[..., 0]], axis=-1) / length[..., None]
    following = np.roll(outline, -1, axis=-2)
    area = np.sum(outline[..., 0] * following[..., 1] - following[..., 0] * outline[..., 1], axis=-1)
    return outline + (np.asarray(by, float) * np.sign(area)[..., None])[..., None] * inwards

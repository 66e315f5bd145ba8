"""The exercise of the template of a lesson: a pattern to copy."""

import numpy as np

from helpers.exercises import expect


def count(answer, img):
    """The number of voxels: int."""
    mistakes = [
        (sum(img.shape), "the lengths multiply; they do not add."),
        (img.shape, "that is the shape; one number, please."),
    ]
    expect(answer, int(np.prod(img.shape)), mistakes=mistakes)
    return "as many as the product of the shape."

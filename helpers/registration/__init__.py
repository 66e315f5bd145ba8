"""Registration: fields of displacement, demons, rigid and affine alignment, similarity."""

from helpers.registration.demons import close_demons, demons
from helpers.registration.fields import compose, exponential, identity, invert, jacobian, resample, warp
from helpers.registration.rigid import affine, rigid
from helpers.registration.similarity import correlation, dice, iou, mae, mse, mutual_information

__all__ = [
    "affine", "close_demons", "compose", "correlation", "demons", "dice", "exponential", "identity",
    "invert", "iou", "jacobian", "mae", "mse", "mutual_information", "resample", "rigid", "warp",
]  # fmt: skip

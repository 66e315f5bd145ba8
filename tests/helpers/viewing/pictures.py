"""One image of each kind that a viewer meets, with its overlay if it has one."""

import numpy as np
from phantoms import atlas, straight, tilted

RNG = np.random.default_rng(0)

IMAGES = {
    "world": lambda: (straight("PSL"), None),
    "oblique": lambda: (tilted("LAS", 20), None),
    "map": lambda: (straight(), RNG.normal(size=(9, 11, 7))),
    "map of nothing but NaN": lambda: (straight(), np.full((9, 11, 7), np.nan)),
    "labels": lambda: (straight(), RNG.integers(0, 9, (9, 11, 7))),
    "labels as floats": lambda: (straight(), atlas((9, 11, 7), 14175).astype(np.float32)),
    "probability in whole numbers": lambda: (straight(), RNG.integers(0, 256, (9, 11, 7)).astype(np.uint8)),
    "mask that moves": lambda: (RNG.normal(size=(3, 4, 5, 4)), RNG.normal(size=(3, 4, 5, 4)) > 0),
    "mask that does not move": lambda: (RNG.normal(size=(3, 4, 5, 4)), RNG.normal(size=(3, 4, 5)) > 0),
    "4D with NaN": lambda: (np.where(RNG.random((3, 4, 5, 6)) < 0.1, np.nan, 1.5), None),
    "CT": lambda: (RNG.integers(-1000, 1500, (5, 6, 7)).astype(np.int16), None),
    "picture": lambda: (RNG.integers(0, 255, (8, 9), dtype=np.uint8), None),
    "colours": lambda: (RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8), None),
    "colours laid under labels": lambda: (RNG.integers(0, 255, (8, 9, 4), dtype=np.uint8), np.eye(8, 9)),
    "constant": lambda: (np.full((3, 4, 5), 7), None),
    "nothing but NaN": lambda: (np.full((3, 4, 5), np.nan), None),
    "infinities": lambda: (np.where(RNG.random((3, 4, 5)) < 0.2, np.inf, -np.inf), None),
    "extremes": lambda: ((np.linspace(-1, 1, 60) * 1.7e308).reshape(3, 4, 5), None),
    "tiny": lambda: (np.arange(60).reshape(3, 4, 5) * 5e-324, None),
    "booleans": lambda: (RNG.random((3, 4, 5)) > 0.5, None),
    "other byte order": lambda: (RNG.normal(size=(3, 4, 5)).astype(">f4"), None),
    "one voxel": lambda: (np.ones((1, 1, 1)), None),
}

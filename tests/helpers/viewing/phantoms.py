"""Small images with known places: a bright voxel on the patient's left, front and top."""

import itertools

import nibabel as nib
import numpy as np

BRIGHT_MM = np.array([-6.0, 9.0, 8.0])  # left, anterior, superior
SIZES_MM = np.array([2.0, 3.0, 4.0])

ORIENTATIONS = [
    "".join(side[sign] for side, sign in zip(sides, signs, strict=True))
    for sides in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product((0, 1), repeat=3)
]


def straight(codes="RAS"):
    """Return a 9 × 11 × 7 (in RAS) image of 2 × 3 × 4 mm with 1 at BRIGHT_MM, stored in any orientation."""
    shape = np.array([9, 11, 7])
    affine = nib.affines.from_matvec(np.diag(SIZES_MM), -SIZES_MM * (shape // 2))
    data = np.zeros(shape, dtype=np.float32)
    data[tuple(np.round((BRIGHT_MM / SIZES_MM) + shape // 2).astype(int))] = 1
    img = nib.Nifti1Image(data, affine)
    wanted = nib.orientations.axcodes2ornt(codes)
    return img.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))


def atlas(shape, highest):
    """Return an atlas of any shape, int32: patches of 2 × 2 × 2 voxels, each with a label of its own."""
    coarse = [-(-size // 2) for size in shape]
    labels = np.linspace(1, highest, np.prod(coarse)).round().astype(np.int32)
    labels = np.random.default_rng(0).permutation(labels).reshape(coarse)
    return np.kron(labels, np.ones((2,) * len(shape), np.int32))[tuple(map(slice, shape))]


def tilted(codes, degrees):
    """Return `straight(codes)` with its grid turned about the origin of the world."""
    img = straight(codes)
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turn = nib.affines.from_matvec(about_x @ about_z, [0, 0, 0])
    return nib.Nifti1Image(np.asanyarray(img.dataobj), turn @ img.affine)


def bright_voxel(img):
    """Return the index (i, j, k) of the brightest voxel."""
    data = np.asanyarray(img.dataobj)
    return tuple(int(n) for n in np.unravel_index(data.argmax(), data.shape))

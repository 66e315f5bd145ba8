"""Pairs of brain images, a slice and a volume, of which one is the other warped by a known diffeomorphism.

The fixed image is the ICBM 152 template, intensity 0 to 1; the moving one is the template moved by a random
smooth warp phi, x → x + displacement(x), and seen at its new place:

    moving(y) = template(phi⁻¹(y)),  hence
    moving(x + displacement(x)) = template(x) = fixed(x).

That is the pull-back convention of the course: the displacement lives on the fixed grid, in voxels, axes in
the order of the array, and leads to where the moving image shows the same tissue. The volumes are both
sampled from the template of twice their resolution, so that interpolation hardly smooths the moving one more
than the fixed one. The maps of tissue are warped in the same way, and the labels follow from them. To each
image Rician noise of its own is added.

Written files: ``slice_fixed``, ``slice_moving``, ``volume_fixed``, ``volume_moving``, each with ``.nii.gz``
and ``_labels.nii.gz``, and ``truth.npz``.

Sources
-------
Exponential of a stationary velocity field by scaling and squaring: Arsigny et al. 2006,
doi 10.1007/11866565_113. Noise of magnitude images: Gudbjartsson & Patz 1995, doi 10.1002/mrm.1910340618.
"""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

SEED = 20267
SLICE_INDEX = 90  # of the template's third axis: z = 18 mm, through ventricles and basal ganglia
SLICE_SHAPE = (256, 256)
VOLUME_STEP = 2  # the volume's voxels are 2 mm wide, the template's 1 mm
NOISE = 0.02  # standard deviation of the real and the imaginary part, of the largest intensity
# Mean displacement inside the brain and scale of the warp, both in voxels of the image
SLICE_WARP = {"magnitude": 3.5, "smoothness": 15.0, "seed": SEED}
VOLUME_WARP = {"magnitude": 2.5, "smoothness": 10.0, "seed": SEED + 1}
LABELS = {"background": 0, "csf": 1, "grey": 2, "white": 3}


def make(folder, t1, gm, wm):
    """Write the images, their labels and the truth.

    Parameters
    ----------
    folder : Path
        An existing folder.
    t1, gm, wm : Path
        NIfTI files on one grid, in MNI space: skull-stripped T1 template and maps of grey and white
        matter, each from 0 to 255, voxels of 1 mm.

    Notes
    -----
    The slices are (x, y), 256 × 256, 1 mm; the volumes (x, y, z), 2 mm; uint8 with a slope to 0–1. The axes
    lead to the subject's right, front and top.
    """
    folder = Path(folder)
    maps = [nib.load(path) for path in (t1, gm, wm)]
    affine = maps[0].affine
    maps = [np.asarray(img.dataobj) for img in maps]
    truth = {}

    # Slice: in the middle of a square.
    before = [(n - m) // 2 for n, m in zip(SLICE_SHAPE, maps[0].shape, strict=False)]
    pads = [(b, n - m - b) for b, n, m in zip(before, SLICE_SHAPE, maps[0].shape, strict=False)]
    planes = [np.pad(array[:, :, SLICE_INDEX], pads).astype(np.float32) for array in maps]
    slice_affine = affine @ nib.affines.from_matvec(np.eye(3), [-before[0], -before[1], SLICE_INDEX])
    points = np.indices(SLICE_SHAPE, np.float32)
    brain = _brain(planes[0])
    forth, back = random_diffeomorphism(SLICE_SHAPE, **SLICE_WARP, within=brain)
    for k, (name, where) in enumerate({"fixed": points, "moving": points + back}.items()):
        # The cubic spline keeps the slice sharp; beyond the template's range it rings.
        seen = [np.clip(ndi.map_coordinates(plane, where, order=3), 0, 255) for plane in planes]
        _write(folder / f"slice_{name}", seen, slice_affine, np.random.default_rng([SEED, 1, k]))
    truth |= {"displacement_2d": forth, "brain_2d": brain}

    # Volume: every second voxel of the template, smoothed a little so that nothing aliases.
    smooth = maps[0].astype(np.float32)
    for axis in range(3):
        smooth = ndi.correlate1d(smooth, [0.25, 0.5, 0.25], axis)
    maps = [smooth, *maps[1:]]
    corner = tuple(slice(None, None, VOLUME_STEP) for _ in range(3))
    still = [array[corner].astype(np.float32) for array in maps]
    brain = _brain(still[0])
    forth, back = random_diffeomorphism(brain.shape, **VOLUME_WARP, within=brain)
    volume_affine = affine @ np.diag([VOLUME_STEP] * 3 + [1.0])
    where = VOLUME_STEP * (np.indices(brain.shape, np.float32) + back)
    moved = [ndi.map_coordinates(array, where, np.float32, order=1) for array in maps]
    for k, (name, seen) in enumerate({"fixed": still, "moving": moved}.items()):
        _write(folder / f"volume_{name}", seen, volume_affine, np.random.default_rng([SEED, 2, k]))
    truth |= {"displacement_3d": forth, "brain_3d": brain}
    np.savez(folder / "truth.npz", **truth)


def load_truth(folder):
    """Read the truth of the pairs.

    Returns
    -------
    dict of ndarray
        - ``displacement_2d``, (2, x, y) float32: for the slice, in voxels of the fixed grid;
          ``moving(x + displacement(x))`` shows the tissue of ``fixed(x)``;
        - ``displacement_3d``, (3, x, y, z) float32: the same for the volume;
        - ``brain_2d``, (x, y): True inside the brain of the fixed slice;
        - ``brain_3d``, (x, y, z): True inside the brain of the fixed volume;
        - ``label_names``: dict from label to name of the tissue.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        truth = dict(stored)
    return truth | {"label_names": {label: name for name, label in LABELS.items()}}


def random_diffeomorphism(shape, magnitude, smoothness, seed, within=None):
    """Return a random smooth invertible displacement and its inverse.

    A stationary velocity field, Gaussian noise smoothed by a Gaussian, is integrated over a unit of time by
    scaling and squaring; its negative leads to the inverse.

    Parameters
    ----------
    shape : tuple of int
        Of the image, in 2D or 3D.
    magnitude : float
        Mean length of the displacement, in voxels.
    smoothness : float
        Standard deviation of the Gaussian, in voxels. A warp whose magnitude is large for its smoothness
        still does not fold, but its Jacobian comes near to zero: with a magnitude of a quarter of the
        smoothness the smallest is about 0.5, with 0.4 of it about 0.35.
    seed : int or sequence of int
        The same seed gives the same warp.
    within : ndarray of bool, optional
        Mask of ``shape``, where the mean length is taken; everywhere if None.

    Returns
    -------
    displacement : ndarray, float32, (ndim, *shape)
        In voxels, axes in the order of the array: phi(x) = x + displacement(x).
    inverse : ndarray, float32, (ndim, *shape)
        What leads back: for psi(y) = y + inverse(y), psi(phi(x)) = x up to a few thousandths of a voxel on
        average, as long as phi(x) stays in the image.
    """
    shape, ndim = tuple(shape), len(shape)
    # All is computed on a coarse lattice, 2.5 steps to a standard deviation: a cubic spline through it is
    # exact to 1e-3 of the displacement. The lattice reaches beyond the image by more than the warp does.
    step = smoothness / 2.5
    margin = 3 + int(np.ceil(3.0 * magnitude / step))
    lattice = [int(np.ceil((n - 1) / step)) + 1 + 2 * margin for n in shape]
    ticks = [np.arange(n) / step + margin for n in shape]

    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((ndim, *(n + 20 for n in lattice)))
    inner = (slice(None), *(slice(10, -10) for _ in shape))
    velocity = np.stack([ndi.gaussian_filter(part, 2.5) for part in noise])[inner]  # edges as the rest

    mask = np.ones(shape, bool) if within is None else within
    thin = (slice(None, None, 2),) * ndim  # a part of the points tells the mean of so smooth a field
    if ndim < 3 or not mask[thin].any():
        thin = (slice(None),) * ndim

    def length(field):
        field = _spread(field, [at[part] for at, part in zip(ticks, thin, strict=True)])
        return step * np.sqrt((field**2).sum(axis=0))[mask[thin]].mean()

    velocity *= magnitude / length(velocity)
    # The flow bends and leaves the place of its velocity: correct for the length at which it arrives.
    velocity *= magnitude / length(_exponential(velocity))
    return tuple(
        (step * _spread(_exponential(sign * velocity), ticks)).astype(np.float32) for sign in (1, -1)
    )


def _exponential(velocity):
    """Return the displacement at time 1 along ``velocity`` (ndim, ...), both in steps of its own lattice."""
    squarings = 2
    points = np.indices(velocity.shape[1:], float)
    start = velocity / 2**squarings
    # First step by the midpoint rule, then phi(2t) = phi(t) ∘ phi(t).
    displacement = _at(start, points + 0.5 * start)
    for _ in range(squarings):
        displacement = displacement + _at(displacement, points + displacement)
    return displacement


def _at(field, points):
    """Return ``field`` (ndim, ...) at ``points`` (ndim, ...) by cubic interpolation, constant outside."""
    return np.stack([ndi.map_coordinates(part, points, order=3, mode="nearest") for part in field])


def _spread(field, ticks):
    """Return ``field`` (ndim, ...) on the grid of ``ticks``, lattice coordinates for each axis."""
    for axis, at in enumerate(ticks, start=1):
        coefficients = ndi.spline_filter1d(field, 3, axis, mode="mirror")
        first = np.floor(at).astype(int)
        t = at - first
        weights = (  # of a cubic B-spline
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        size = [-1 if k == axis else 1 for k in range(field.ndim)]
        field = sum(
            weight.reshape(size) * np.take(coefficients, first - 1 + k, axis)
            for k, weight in enumerate(weights)
        )
    return field


def _brain(t1):
    """Return the brain's mask from ``t1``, 0–255: the template is zero outside."""
    return t1 > 30.0


def _labels(t1, gm, wm):
    """Return the most likely tissue of each voxel, uint8; see LABELS."""
    # The maps of grey matter average the sulci away; the template's T1 still shows their fluid.
    csf = np.clip(np.maximum(1.0 - (gm + wm) / 255.0, (168.0 - t1) / 75.0), 0.0, 1.0)
    solid = (1.0 - csf) / np.maximum(gm + wm, 1.0)
    labels = np.where(wm > gm, LABELS["white"], LABELS["grey"])
    labels = np.where(csf > solid * np.maximum(gm, wm), LABELS["csf"], labels)
    return np.where(_brain(t1), labels, LABELS["background"]).astype(np.uint8)


def _write(stem, maps, affine, rng):
    """Write image and labels of ``maps`` (T1, grey, white; 0–255) to files that begin with ``stem``."""
    t1 = maps[0] / np.float32(255.0)
    real, imaginary = NOISE * rng.standard_normal((2, *t1.shape), np.float32)
    image = np.hypot(t1 + real, imaginary)
    _save(f"{stem}.nii.gz", np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8), affine, 1.0 / 255.0)
    _save(f"{stem}_labels.nii.gz", _labels(*maps), affine)


def _save(path, data, affine, slope=None):
    """Write ``data`` as NIfTI in MNI space; the same data give the same bytes."""
    img = nib.Nifti1Image(data, affine)
    img.header.set_xyzt_units("mm")
    img.header["descrip"] = b"Slicewise: simulated, not measured"
    img.set_sform(affine, code="mni")
    img.set_qform(affine, code="mni")
    if slope:
        img.header.set_slope_inter(slope, 0.0)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        packed.write(img.to_bytes())

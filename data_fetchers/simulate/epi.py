"""A simulated functional run of one subject's brain, with the anatomy of the same head.

The head is built from the ICBM 152 templates, given a shape and a position of its own, and imaged twice: by
a gradient-echo EPI sequence at 3 T, over and over while the subject taps the fingers of both hands in
blocks, and by a T1-weighted sequence. What is modelled: tissue contrast (steady state of a spoiled
gradient echo); susceptibility of air in sinuses, ear canals and outside the head, hence loss of signal and
distortion along the phase-encode axis; blurring; coil sensitivity; Nyquist ghost; scanner drift;
haemodynamic response; rigid head motion; Rician noise. What is not: slice timing, the first volumes'
approach to steady state, heart beat and breathing, and any change of the distortion as the head moves.

Written files: ``run.nii.gz``, ``run_5d.nii.gz``, ``anatomy.nii.gz``, ``truth.npz``.

Sources
-------
Steady state: Ernst & Anderson 1966, doi 10.1063/1.1719961. Field of a susceptibility distribution: Marques
& Bowtell 2005, doi 10.1002/cmr.b.20034. Relaxation times of grey and
white matter at 3 T: Wansapura et al. 1999,
doi 10.1002/(SICI)1522-2586(199904)9:4<531::AID-JMRI4>3.0.CO;2-L (rounded). Response: the double gamma
function of SPM (Friston et al. 1998, doi 10.1006/nimg.1997.0306).
"""

import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import fft, special
from scipy import ndimage as ndi

SEED = 20261
SHAPE = (56, 72, 36)  # voxels of the EPI: right, anterior, superior
VOXEL_MM = 3.0
TILT_DEG = 17.19  # the slices are tilted about x, front up, to spare the sinuses
CENTRE_MM = (1.5, -22.0, 15.0)  # where the middle of the EPI's grid lies in scanner space
N_VOLUMES, TR_S = 104, 2.5
BLOCK_VOLUMES = 8  # rest and task alternate every 8 volumes (20 s), rest first
TE_S, FLIP_DEG = 0.035, 50.0
READOUT_S = 0.0198  # 72 lines, 0.55 ms apart, every second one acquired
NOISE_SD, GREY_LEVEL = 10.0, 900.0  # intensity units
RESPONSE_PERCENT = 5.5  # of pure grey matter; half of it is left in a voxel
MOTOR_MNI_MM = ((-38.0, -24.0, 56.0), (38.0, -24.0, 56.0))

ANATOMY_SHAPE, ANATOMY_VOXEL_MM = (88, 110, 92), 2.0
ANATOMY_CORNER_MM = (-85.0, -127.0, -79.0)

# Proton density, T1 and T2* in seconds.
TISSUES = {
    "csf": (1.00, 4.0, 0.500),
    "grey": (0.85, 1.33, 0.050),
    "white": (0.70, 0.83, 0.045),
    "skull": (0.08, 0.5, 0.010),
    "scalp": (0.55, 0.9, 0.020),  # its fat is suppressed by the sequence
    "base": (0.60, 1.0, 0.018),  # muscle and bone below the brain
}
T1_LEVELS = {"csf": 66.0, "skull": 28.0, "scalp": 190.0, "base": 95.0}  # grey and white: the template's own

# Air inside the head: centre and half axes in mm, in MNI space.
AIR_POCKETS = (
    ((0.0, 20.0, -36.0), (13.0, 14.0, 10.0)),  # sphenoid sinus
    ((0.0, 46.0, -34.0), (12.0, 18.0, 11.0)),  # ethmoid cells
    ((0.0, 78.0, -8.0), (16.0, 6.0, 12.0)),  # frontal sinus
    ((-56.0, -26.0, -36.0), (12.0, 9.0, 8.0)),  # left ear canal and mastoid cells
    ((56.0, -26.0, -36.0), (12.0, 9.0, 8.0)),  # right
)
SUSCEPTIBILITY_HZ = 9.4e-6 * 127.7e6  # tissue minus air, times the proton's frequency at 3 T


def make(folder, t1_path, gm_path, wm_path):
    """Write the run, its 5D variant, the anatomy and the truth.

    Parameters
    ----------
    folder : Path
        An existing folder.
    t1_path, gm_path, wm_path : Path
        NIfTI files on one grid, in MNI space: skull-stripped T1 template and maps of grey and white
        matter, each from 0 to 255.

    Notes
    -----
    The run is (x, y, z, t), the 5D variant (x, y, z, 1, t), both int16 with the same affine.
    """
    folder = Path(folder)
    template = nib.load(t1_path)
    head = _head(
        *(np.asarray(nib.load(path).dataobj) for path in (t1_path, gm_path, wm_path)), template.affine
    )

    epi_affine = _oblique_affine()
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    half[:3, 3] = -0.25  # each voxel is split in two along each axis
    fine_affine = epi_affine @ half
    fine_shape = tuple(2 * n for n in SHAPE)
    tissue = _subject(head, fine_affine, fine_shape)

    still, active, shift = _image(tissue)
    times = {"drift": _drift(), "response": _response(), "motion": _motion()}
    run, maps = _run(still, active, fine_affine, epi_affine, times)
    # Packed once for both: the singleton axis changes the header, not the voxels.
    voxels = run.tobytes(order="F")
    deflated = _deflated(voxels, True)
    _save(folder / "run.nii.gz", run, epi_affine, TR_S, voxels, deflated)
    _save(folder / "run_5d.nii.gz", run[:, :, :, None, :], epi_affine, TR_S, voxels, deflated)

    anatomy_affine = np.diag([ANATOMY_VOXEL_MM] * 3 + [1.0])
    anatomy_affine[:3, 3] = ANATOMY_CORNER_MM
    _save(folder / "anatomy.nii.gz", _anatomy(head, anatomy_affine), anatomy_affine)

    motion = times.pop("motion")
    truth = {
        "motion": motion,
        "motion_affines": np.stack([_rigid(row) for row in motion]),
        "task": _task(),
        "time_s": TR_S * np.arange(N_VOLUMES),
        "shift_vox": shift.astype(np.float32),
        "motor_mm": _mni_to_scanner(np.transpose(MOTOR_MNI_MM)).T,
    }
    np.savez(folder / "truth.npz", **times, **maps, **truth)


def load_truth(folder):
    """Read the truth of the run.

    Returns
    -------
    dict of ndarray
        - ``drift``, (t,): the scanner's drift in percent of the signal, where ``drift_map`` is 1;
        - ``drift_map``, (x, y, z): how much of the drift a voxel has;
        - ``response``, (t,): the time course of the response, at most 1;
        - ``response_map``, (x, y, z): its size in percent of the signal;
        - ``task``, (t,): 1 while the subject taps, 0 at rest;
        - ``time_s``, (t,): seconds from the start of the run;
        - ``motion``, (t, 6): translations along the scanner's x, y, z in mm and rotations about them in
          degrees, about the grid's middle, since the first volume;
        - ``motion_affines``, (t, 4, 4): the same as maps from scanner space, mm, at the first volume to
          scanner space at volume t;
        - ``shift_vox``, (x, y, z): distortion in voxels; voxel (i, j, k) shows the tissue that belongs to
          (i, j - shift, k);
        - ``motor_mm``, (2, 3): the middle of the left and the right active place in scanner space, mm.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        return dict(stored)


# The head in MNI space


def _head(t1, gm, wm, affine):
    """Return the head's maps in MNI space: name → (array, affine).

    Brain tissue is on the template's grid, 0–255; distances in mm and the field in Hz are smooth, and on a
    grid three times as coarse.
    """
    coarse = affine @ np.diag([3.0, 3.0, 3.0, 1.0])
    brain = np.pad(t1[::3, ::3, ::3] > 60, ((8, 8), (8, 8), (16, 8)), mode="edge")  # edge: the neck goes on
    brain = ndi.binary_fill_holes(brain)
    coarse[:3, 3] = _apply(coarse, [-8, -8, -16])
    outside = 3.0 * ndi.distance_transform_edt(~brain)
    # The hull bridges gaps narrower than 40 mm, so that one skull surrounds the whole brain.
    inside = 3.0 * ndi.distance_transform_edt(outside <= 20.0)
    hull = ndi.gaussian_filter(20.0 - inside, 1.5)
    hull = np.maximum(hull, -20.0)  # mm outside the hull; negative inside

    world = _apply(coarse, np.indices(brain.shape))
    pocket = np.full(brain.shape, -1.0)
    for centre, axes in AIR_POCKETS:
        pocket = np.maximum(pocket, 1.0 - np.sqrt(_squared_distance(world, centre, axes)))
    pocket = np.where(outside > 0, pocket, -1.0)
    air = (hull > 15.0) | (pocket > 0)
    # Only tissue gives signal; in air its field goes on, as the jump would read as a fold of the image.
    nearest = ndi.distance_transform_edt(air, return_distances=False, return_indices=True)
    field = _field(air, brain)[tuple(nearest)]
    maps = {"t1": (t1, affine), "gm": (gm, affine), "wm": (wm, affine)}
    smooth = {"outside": outside, "hull": hull, "pocket": pocket, "field": field}
    return maps | {name: (array.astype(np.float32), coarse) for name, array in smooth.items()}


def _field(air, brain):
    """Return the frequency offset in Hz that ``air`` (x, y, z; 3 mm voxels) makes, after shimming.

    The main field lies along the third axis. The shim is the best quadratic polynomial in ``brain``.
    """
    shape = [fft.next_fast_len(n + 24, real=True) for n in air.shape]
    susceptibility = np.ones(shape)  # air all around
    susceptibility[tuple(slice(n) for n in air.shape)] = air
    k = np.meshgrid(*(fft.fftfreq(n) for n in shape[:2]), fft.rfftfreq(shape[2]), indexing="ij", sparse=True)
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    square[0, 0, 0] = 1.0
    kernel = 1.0 / 3.0 - k[2] ** 2 / square
    field = fft.irfftn(fft.rfftn(susceptibility) * kernel, shape)[tuple(slice(n) for n in air.shape)]
    field *= -SUSCEPTIBILITY_HZ

    box = ndi.find_objects(brain.astype(np.uint8))[0]
    # Beyond the brain's box the polynomial stays what it is at the edge; it would run away.
    axes = (
        np.clip(np.linspace(-1.0, 1.0, n), *np.linspace(-1.0, 1.0, n)[[s.start, s.stop - 1]])
        for n, s in zip(air.shape, box, strict=True)
    )
    x, y, z = np.meshgrid(*axes, indexing="ij")
    terms = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2, y**2, z**2]
    basis = np.stack([term[brain] for term in terms], axis=1)
    weights = np.linalg.solve(basis.T @ basis, basis.T @ field[brain])
    return field - sum(weight * term for weight, term in zip(weights, terms, strict=True))


# The subject in the scanner


def _scanner_to_mni():
    """Return the 4×4 affine from scanner space to MNI space: position, size and proportions of this head."""
    size = np.diag([1.035, 0.985, 1.02, 1.0])
    return size @ np.linalg.inv(_rigid([2.3, -4.1, 3.7, 4.0, -1.5, 2.5]))


def _mni_to_scanner(points):
    """Return where the MNI coordinates ``points`` (3, n) lie in scanner space, mm: the warp inverted."""
    found = _apply(np.linalg.inv(_scanner_to_mni()), points)
    for _ in range(20):  # the warp is gentle: each pass divides the error by five or more
        found = found + (points - _warp(found))
    return found


def _warp(points):
    """Return the MNI coordinates (3, ...) of scanner coordinates ``points`` (3, ...), mm.

    A smooth random displacement of a few mm makes the head nobody else's; it also breaks the symmetry of
    the template, whose left half mirrors its right.
    """
    step, n = 6.0, 48
    rng = np.random.default_rng([SEED, 1])
    bumps = np.stack([ndi.gaussian_filter(rng.standard_normal((n, n, n)), 4.0) for _ in range(3)])
    bumps *= 2.2 / bumps.std()
    index = points / step + (n - 1) / 2.0
    displacement = [ndi.map_coordinates(bump, index, order=1, mode="nearest") for bump in bumps]
    return _apply(_scanner_to_mni(), points) + np.stack(displacement)


def _subject(head, affine, shape):
    """Sample the head on a scanner grid.

    Returns
    -------
    dict of ndarray, each of ``shape``
        Fractions of each tissue in TISSUES, ``t1`` (0–255), ``field`` (Hz), ``motor`` (0–1).
    """
    mni = _warp(_apply(affine, np.indices(shape)))

    def sample(name):
        array, array_affine = head[name]
        index = _apply(np.linalg.inv(array_affine), mni)
        return ndi.map_coordinates(array, index, np.float32, order=1, mode="nearest")

    t1, grey, white = sample("t1"), sample("gm") / 255.0, sample("wm") / 255.0
    outside, hull, pocket = sample("outside"), sample("hull"), sample("pocket")
    # The maps of grey matter average the sulci away; the template's T1 still shows their fluid.
    brain = _ramp(2.0 - outside, 2.0)
    csf = np.clip(np.maximum(1.0 - grey - white, (168.0 - t1) / 75.0), 0.0, 1.0)
    solid = (1.0 - csf) / np.maximum(grey + white, 0.05)
    in_skull, in_scalp, in_head = (_ramp(edge - hull, 2.0) for edge in (3.0, 9.0, 15.0))
    tissue = {
        "csf": brain * csf,
        "grey": brain * grey * solid,
        "white": brain * white * solid,
        "base": (1.0 - brain) * in_skull,
        "skull": (1.0 - brain) * (in_scalp - in_skull),
        "scalp": (1.0 - brain) * (in_head - in_scalp),
    }
    airless = _ramp(-pocket, 0.3)
    tissue = {name: fraction * airless for name, fraction in tissue.items()}
    motor = sum(np.exp(-_squared_distance(mni, centre, 8.0 * np.ones(3)) / 2.0) for centre in MOTOR_MNI_MM)
    return tissue | {"t1": t1 * brain, "field": sample("field"), "motor": motor}


def _apply(affine, points):
    """Return ``points`` (3, ...) moved by ``affine`` (4, 4); elementwise, as a matrix product may vary."""
    x, y, z = points
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in affine[:3]])


def _squared_distance(points, centre, axes):
    """Return the squared distance of ``points`` (3, ...) from ``centre`` (3,) in units of ``axes`` (3,)."""
    return sum(((p - c) / a) ** 2 for p, c, a in zip(points, centre, axes, strict=True))


def _ramp(value, width):
    """Return 0 below -width/2, 1 above width/2, and a straight line between."""
    return np.clip(value / width + 0.5, 0.0, 1.0)


# The scanner


def _image(tissue):
    """Return what the sequence sees of a still head, on the fine grid, and the distortion on the EPI's grid.

    Returns
    -------
    still : ndarray, (2x, 2y, 2z)
        The signal at rest.
    active : ndarray, (2x, 2y, 2z)
        What full activation adds to it.
    shift : ndarray, (x, y, z)
        The distortion in voxels; see `load_truth`.
    """
    flip = np.deg2rad(FLIP_DEG)
    signal = np.zeros(tissue["t1"].shape)
    levels = {}
    for name, (density, t1, t2_star) in TISSUES.items():
        kept = np.exp(-TR_S / t1)
        steady = density * np.sin(flip) * (1.0 - kept) / (1.0 - np.cos(flip) * kept)
        levels[name] = steady * np.exp(-TE_S / t2_star)
        signal += levels[name] * tissue[name]
    signal *= GREY_LEVEL / levels["grey"]

    # Spins across a slice lose phase; a linear change of the field dims the slice by a sinc.
    field = tissue["field"]
    slope_hz = (
        np.gradient(field, axis=2) * 2.0
    )  # from edge to edge of a slice, which is two fine voxels thick
    signal *= np.abs(np.sinc(slope_hz * TE_S))

    shift = field * READOUT_S * 2.0  # fine voxels
    index = np.indices(signal.shape, dtype=np.float32)
    index[1] -= shift
    squeeze = np.clip(1.0 - np.gradient(shift, axis=1), 0.1, 2.5)
    images = []
    for image in (signal, signal * tissue["motor"] * tissue["grey"] * RESPONSE_PERCENT / 100.0):
        seen = squeeze * ndi.map_coordinates(image, index, order=1)
        images.append(ndi.gaussian_filter(seen, (0.75, 1.0, 0.8)).astype(np.float32))
    coarse = shift.reshape(SHAPE[0], 2, SHAPE[1], 2, SHAPE[2], 2).mean((1, 3, 5)) / 2.0
    return *images, coarse


def _run(still, active, fine_affine, epi_affine, times):
    """Return the run, int16 (x, y, z, t), and a dict of its ``drift_map`` and ``response_map``."""
    points = _apply(epi_affine, np.indices(SHAPE))
    x, y, z = (points - np.reshape(CENTRE_MM, (3, 1, 1, 1))) / 90.0
    coil = 0.92 + 0.2 * (x**2 + y**2 + z**2) + 0.06 * y
    drift_map = 1.0 + 0.5 * y - 0.4 * z + 0.3 * x * y

    def seen(image, motion_affine):
        index = np.linalg.inv(fine_affine) @ np.linalg.inv(motion_affine) @ epi_affine
        return ndi.affine_transform(image, index[:3, :3], index[:3, 3], SHAPE, order=1, mode="nearest")

    rng = np.random.default_rng([SEED, 2])
    run = np.empty((*SHAPE, N_VOLUMES), np.int16)
    for t, (drift, response, motion) in enumerate(zip(*times.values(), strict=True)):
        volume = seen(still + np.float32(response) * active, _rigid(motion))
        volume = volume * coil * (1.0 + drift / 100.0 * drift_map)
        volume += 0.02 * np.roll(volume, SHAPE[1] // 2, axis=1)  # every second line slightly out of phase
        real, imaginary = rng.standard_normal((2, *SHAPE), np.float32) * NOISE_SD
        run[..., t] = np.rint(np.hypot(volume + real, imaginary))
    rest = seen(still, np.eye(4))
    response_map = 100.0 * seen(active, np.eye(4)) / np.maximum(rest, 0.05 * GREY_LEVEL)
    return run, {"drift_map": drift_map.astype(np.float32), "response_map": response_map.astype(np.float32)}


def _anatomy(head, affine):
    """Return the T1-weighted anatomy, int16 (x, y, z)."""
    tissue = _subject(head, affine, ANATOMY_SHAPE)
    brain = tissue["csf"] + tissue["grey"] + tissue["white"]
    signal = np.where(tissue["t1"] > 0, np.maximum(tissue["t1"], T1_LEVELS["csf"]), T1_LEVELS["csf"]) * brain
    signal += sum(T1_LEVELS[name] * tissue[name] for name in ("skull", "scalp", "base"))
    rng = np.random.default_rng([SEED, 3])
    real, imaginary = rng.standard_normal((2, *ANATOMY_SHAPE), np.float32) * 4.0
    return np.rint(4.0 * np.hypot(signal + real, imaginary)).astype(np.int16)


def _oblique_affine():
    """Return the EPI's affine: `VOXEL_MM`, tilted by `TILT_DEG` about x, its middle at `CENTRE_MM`."""
    tilt = np.deg2rad(TILT_DEG)
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    matrix = rotation * VOXEL_MM
    return nib.affines.from_matvec(matrix, CENTRE_MM - matrix @ (np.array(SHAPE) - 1) / 2)


# Time courses


def _task():
    """Return the blocks (t,): 0 at rest, 1 while tapping."""
    return (np.arange(N_VOLUMES) // BLOCK_VOLUMES % 2).astype(float)


def _response():
    """Return the blocks convolved with the canonical haemodynamic response (t,), its maximum 1."""
    step = 0.1
    fine = np.repeat(_task(), round(TR_S / step))
    s = np.arange(0.0, 32.0, step)
    hrf = s**5 * np.exp(-s) / special.gamma(6) - s**15 * np.exp(-s) / special.gamma(16) / 6.0
    course = np.convolve(fine, hrf)[: fine.size : round(TR_S / step)]
    return course / course.max()


def _drift():
    """Return the drift of the scanner in percent (t,): a slope and slow waves; 0 at the first volume."""
    s = np.linspace(0.0, 1.0, N_VOLUMES)
    drift = -2.5 * s + 0.7 * np.cos(np.pi * 2.0 * s + 0.4) + 0.5 * np.cos(np.pi * 5.0 * s + 2.0)
    return drift - drift[0]


def _motion():
    """Return a random walk of the head (t, 6): mm and degrees; 0 at the first volume."""
    rng = np.random.default_rng([SEED, 4])
    steps = rng.standard_normal((N_VOLUMES, 6)) * ([0.03, 0.04, 0.06, 0.05, 0.02, 0.03])
    walk = ndi.gaussian_filter1d(np.cumsum(steps, axis=0), 1.0, axis=0)
    return walk - walk[0]


def _rigid(parameters):
    """Return the 4×4 rigid motion of `parameters` (mm, degrees): turn about x, y, z, then shift."""
    rx, ry, rz = np.deg2rad(parameters[3:])
    about_x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    about_y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    about_z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    rotation = about_z @ about_y @ about_x
    return nib.affines.from_matvec(rotation, CENTRE_MM - rotation @ CENTRE_MM + np.asarray(parameters[:3]))


def _deflated(content, last):
    """Return ``content`` as a piece of a deflate stream: the last, or one that another can follow."""
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def _save(path, data, affine, tr_s=None, voxels=None, deflated=None):
    """Write ``data`` as NIfTI in scanner space; the same data give the same bytes.

    ``voxels`` and ``deflated`` are the voxels' bytes and these packed, where they are known already.
    """
    img = nib.Nifti1Image(data, affine)
    img.header.set_xyzt_units("mm", "sec" if tr_s else None)
    if tr_s:
        img.header["pixdim"][data.ndim] = tr_s
        img.header.set_dim_info(freq=0, phase=1, slice=2)
    img.header["descrip"] = b"Slicewise: simulated, not measured"
    img.header["vox_offset"] = 352
    img.set_sform(affine, code="scanner")
    img.set_qform(affine, code="scanner")
    voxels = voxels or data.tobytes(order="F")
    header = img.header.binaryblock + bytes(4)  # four zeros: no extension follows
    total = struct.pack("<II", zlib.crc32(voxels, zlib.crc32(header)), len(header) + len(voxels))
    gzip_start = b"\x1f\x8b\x08\0\0\0\0\0\4\xff"  # deflate, no name, no time, packed quickly, any system
    path.write_bytes(gzip_start + _deflated(header, False) + (deflated or _deflated(voxels, True)) + total)

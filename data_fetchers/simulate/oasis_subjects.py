"""A simulated cohort: heads of people of 18 to 96 years, healthy or with Alzheimer's disease, in MR.

Each head is the ICBM 152 template, made somebody's. With age and disease the ventricles widen, sulci open at
the cost of the cortex, and the brain draws back from the skull; disease takes more of the hippocampus and the
temporal lobe than of the rest. A smooth random warp, the size of the head (which depends on sex) and a random
position in the scanner follow. Around the brain lie fluid, skull and scalp. The image has the contrast of T1,
a bias field, partial volume and Rician noise. What is not modelled: the face (as in a defaced image), vessels
and meninges, the brain's asymmetry and gyri of one's own (all have the template's, warped), lesions of white
matter, and loss of contrast with age.

How strongly age, sex and disease act was chosen so that volumes measured in these images behave as those in
the published OASIS table, with one exception: fluid here is all fluid inside the skull, there mostly
that of the ventricles.

Written files: ``participants.tsv``, ``dseg.tsv`` (names of the labels), ``truth.json``, and for each subject,
in a folder of its own, ``sub-0001_T1w.nii.gz``, ``sub-0001_dseg.nii.gz`` (labels, named in ``dseg.tsv``) and
``sub-0001_space-MNI_GM.nii.gz`` (grey matter brought to the template, times the change of volume, as
voxel-based morphometry does).

Sources
-------
Age, sex and diagnosis of the people: as in the simulated table, `data_fetchers.simulate.oasis_volumes`.
Modulated maps of grey matter: Good et al. 2001, doi 10.1006/nimg.2001.0786. Where disease takes most: Frisoni
et al. 2010, doi 10.1038/nrneurol.2009.215.
"""

import csv
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from data_fetchers.simulate import oasis_volumes

SEED = 20265
SHAPE, VOXEL_MM = (64, 78, 62), 3.0  # of a subject's images; even numbers
LABELS = {"background": 0, "csf": 1, "gm": 2, "wm": 3, "skull and scalp": 4}
# Of the T1 image
LEVELS = {"csf": 30.0, "gm": 92.0, "wm": 135.0, "skull": 16.0, "scalp": 150.0, "base": 62.0}
# The label is that of the tissue of which there is most. Grey matter is a thin layer between the two
# others and would win too many of the voxels that it shares; this weight makes its count of voxels right.
GM_WEIGHT = 0.82
NOISE_SD = 3.0
GM_SCALE = 1.0 / 128.0  # grey matter per step of the stored map, which goes up to 1.99

# Geometry of the template, mm. Its 1 mm voxels, padded to (208, 236, 200), are averaged to bricks of 2 mm.
PADDING = ((6, 5), (1, 2), (4, 7))
CENTRE_MM = (0.0, -18.0, 10.0)  # of the brain, which shrinks towards it
FLOOR_MM = -66.0  # the skull is closed below, where the template cuts the brain stem
SKULL_GAP_MM, SKULL_MM, HEAD_MM = 2.0, 7.0, 14.0  # thickness of fluid; distance of skull and scalp from it
WARP_NODES_MM, WARP_SD_MM = 32.0, 2.2

# Ventricles: boxes (low corner, high corner; left mirrors right) in which the dark of the template is one.
VENTRICLES_MM = (
    ((3.0, -25.0, -2.0), (34.0, 34.0, 30.0)),  # body and frontal horn
    ((8.0, -58.0, 3.0), (40.0, -25.0, 30.0)),  # atrium and occipital horn
    ((24.0, -40.0, -22.0), (38.0, -8.0, 0.0)),  # temporal horn
    ((0.0, -28.0, -6.0), (4.0, 2.0, 9.0)),  # third ventricle
)
WIDENING_STEP_MM = 0.9  # how far the wall of a ventricle moves, at most, from one step to the next
HIPPOCAMPI_MM = (((-27.0, -20.0, -17.0), (8.0, 17.0, 9.0)), ((27.0, -20.0, -17.0), (8.0, 17.0, 9.0)))
TEMPORAL_MM = (((-48.0, -20.0, -20.0), (22.0, 42.0, 20.0)), ((48.0, -20.0, -20.0), (22.0, 42.0, 20.0)))

# Effects. ``sulci``: the level of the template's T1 below which tissue starts to be fluid (0–255);
# ``shrinkage``: in percent along each axis; ``widening``: steps of the ventricles. ``decade``: of age, up
# to 30, from 30 to 60, and after 60; ``head_size``: of the logarithm of the skull's volume, as larger heads
# hold relatively less brain; ``sd``: between people, shared by the three (more or less loss than expected at
# that age) and of its own. A value stays within ``limits``.
ATROPHY = {
    "sulci": {
        "level": 172.5,
        "decade": (3.3, 1.0, 1.2),
        "alzheimers": 2.0,
        "head_size": 14.0,
        "sd": (2.6, 2.0),
        "limits": (160.0, 195.0),
    },
    "shrinkage": {
        "level": 0.6,
        "decade": (0.1, 0.1, 0.9),
        "alzheimers": 1.1,
        "head_size": 2.0,
        "sd": (0.8, 0.7),
        "limits": (-1.0, 8.0),
    },
    "widening": {
        "level": 0.0,
        "decade": (0.2, 0.5, 1.1),
        "alzheimers": 1.2,
        "head_size": 0.0,
        "sd": (0.7, 1.0),
        "limits": (-2.0, 10.0),
    },
}
SULCI_SPAN = 55.0
HIPPOCAMPAL = {"decade": 1.0, "alzheimers": 11.0, "sd": 2.2}  # on top, in levels as ``sulci``; after 60
REGIONAL_SD = 2.5  # the same, of smooth random patterns
HEAD_ML = {"F": 1390.0, "M": 1575.0}
HEAD_SD = 0.087  # of its logarithm


def make(folder, t1, gm, wm, n_subjects=100):
    """Write the cohort and its truth.

    Parameters
    ----------
    folder : Path
        An existing folder.
    t1, gm, wm : Path
        NIfTI files on one grid, in MNI space: skull-stripped T1 template and maps of grey and white
        matter, each from 0 to 255, 1 mm.
    n_subjects : int
        How many. The first subjects of a large cohort are those of a small one.
    """
    folder = Path(folder)
    image = nib.load(t1)
    head = _template(*(np.asarray(nib.load(path).dataobj) for path in (t1, gm, wm)), image.affine)
    # Subjects do not depend on one another, so threads change the time, not the files.
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda number: _write(folder, head, number), range(1, n_subjects + 1)))
    rows, truth = [row for row, _ in made], [known for _, known in made]
    _save_table(folder / "participants.tsv", ("participant_id", "age", "sex", "alzheimers"), rows)
    _save_table(folder / "dseg.tsv", ("index", "name"), [(label, name) for name, label in LABELS.items()])
    columns = {key: [row[key] for row in truth] for key in truth[0]} if truth else {}
    (folder / "truth.json").write_text(json.dumps(columns, indent=0) + "\n", encoding="ascii")


def load_truth(folder):
    """Read what is known of each subject.

    Returns
    -------
    dict of list
        One entry per subject, in the order of ``participants.tsv``. Volumes are in ml, of the tissues'
        fractions and not of whole voxels.

        - ``participant_id``: as in the table;
        - ``brain_vol``: grey and white matter;
        - ``skull_vol``: all inside the skull;
        - ``gray_matter_vol``: grey matter;
        - ``white_matter_vol``: white matter;
        - ``csf_vol``: fluid;
        - ``ventricles_vol``: the part of the fluid that is in the ventricles;
        - ``hippocampi_vol``: grey matter of what the template has in two ellipsoids;
        - ``head_scale``: length of the head by that of the template;
        - ``sulci``: below this level of the template's T1 (0 to 255) tissue became fluid;
        - ``hippocampal``: how much higher that level is in the hippocampus;
        - ``shrinkage``: how much the brain drew back from the skull, in percent along each axis;
        - ``widening``: steps by which the ventricles widened.
    """
    return json.loads((Path(folder) / "truth.json").read_text(encoding="ascii"))


# People


def _person(number):
    """Return age in years (int), sex ("F" or "M") and Alzheimer's (bool) of a subject.

    The numbers spread evenly, not randomly (an additive recurrence), so that the groups of a small cohort
    have the proportions of a large one too.
    """
    ratio = 1.2207440846057596  # root of x⁴ = x + 1: evenest in three dimensions
    u, v, w = (0.5 + number * ratio**-power for power in (1, 2, 3))
    counts = {group: count for group, (count, _) in oasis_volumes.AGES.items()}
    ill = bool(u % 1.0 < (counts[True, "F"] + counts[True, "M"]) / sum(counts.values()))
    sex = "F" if v % 1.0 < counts[ill, "F"] / (counts[ill, "F"] + counts[ill, "M"]) else "M"
    return int(np.rint(oasis_volumes.age_quantile(ill, sex, w % 1.0))), sex, ill


def _state(rng, hull_ml, age, sex, alzheimers):
    """Return the state of a subject's head, whose skull holds ``hull_ml`` in the template: name → value.

    The names are those of `ATROPHY`, ``hippocampal`` and ``head_scale``.
    """
    first, last = oasis_volumes.BENDS_YEARS
    decades = (
        np.array([min(age - first, 0), np.clip(age - first, 0, last - first), max(age - last, 0)]) / 10.0
    )
    shared, *own = rng.standard_normal(1 + len(ATROPHY))
    head_ml = HEAD_ML[sex] * np.exp(HEAD_SD * rng.standard_normal())
    state = {"head_scale": (head_ml / hull_ml) ** (1.0 / 3.0)}
    for (name, effect), alone in zip(ATROPHY.items(), own, strict=True):
        value = (
            effect["level"]
            + np.sum(effect["decade"] * decades)
            + effect["alzheimers"] * alzheimers
            + effect["head_size"] * np.log(head_ml / oasis_volumes.MEAN_SKULL_ML)
            + effect["sd"][0] * shared
            + effect["sd"][1] * alone
        )
        state[name] = np.clip(value, *effect["limits"])
    state["hippocampal"] = (
        HIPPOCAMPAL["decade"] * decades[2]
        + HIPPOCAMPAL["alzheimers"] * alzheimers
        + HIPPOCAMPAL["sd"] * rng.standard_normal()
    )
    return state


# The template


def _template(t1, gm, wm, affine):
    """Return what all subjects share.

    Returns
    -------
    dict
        ``brain``: flat indices of the bricks that hold brain; ``shape``, ``affine`` of the bricks;
        ``maps`` (3, n): in these bricks T1 (0–255), grey and white matter together (0–1), and grey
        matter's share in them (0–1); ``near``: positions in these of the bricks that move as the ventricles
        widen, ``steps`` (step, 3, near): the same maps there for each step of it;
        ``hippocampi``, ``temporal`` (n,), ``patterns`` (pattern, n): weights;
        ``around``: positions in these of the bricks around the ventricles and of those in the hippocampi;
        ``voxel`` (n,): flat index of the voxel of a map of grey matter that holds a brick;
        ``hull`` (x, y, z, 1), ``hull_affine``: distance from the inside of the skull, mm, negative inside;
        ``hull_ml``: its content; ``map_affine``: of maps of grey matter; ``nodes_affine``, ``spline``:
        of every second voxel of a map, where random warps are computed, and the splines' weights there.
    """
    t1, gm, wm = (np.pad(array, PADDING) for array in (t1, gm, wm))
    corner = affine @ nib.affines.from_matvec(np.eye(3), [-before for before, _ in PADDING])
    t, g, w = (_average(array, 2) for array in (t1, gm / np.float32(255), wm / np.float32(255)))
    affine = _coarser(corner, 2)
    hull, hull_affine = _hull(_average(t1 > 0, 4) > 0.5, _coarser(corner, 4))

    x, y, z = (affine[a, a] * np.arange(n, dtype=np.float32) + affine[a, 3] for a, n in enumerate(t.shape))
    world = np.meshgrid(x, y, z, indexing="ij", sparse=True)
    depth = _sample(hull, _to_index(hull_affine, np.meshgrid(x, y, z, indexing="ij")))[..., 0]
    brain = np.flatnonzero((t > 20) | (g + w > 0.02))
    ventricles = np.clip((140.0 - t) / 40.0, 0.0, 1.0) * (depth < -12) * _boxes(world, VENTRICLES_MM)

    solid = g + w
    share = g / np.maximum(solid, 0.02)
    maps = np.stack([t, solid, share], axis=-1)
    near, steps = _widened(maps, ventricles, brain)

    rng = np.random.default_rng([SEED, 0])
    patterns = [ndi.gaussian_filter(rng.standard_normal(t[::4, ::4, ::4].shape), 1.6) for _ in range(4)]
    index = np.unravel_index(brain, t.shape)
    patterns = _sample(np.stack(patterns, axis=-1).astype(np.float32), np.stack(index) / np.float32(4.0)).T
    patterns /= patterns.std(axis=1, keepdims=True)

    hippocampi = _blobs(world, HIPPOCAMPI_MM).ravel()[brain]
    map_affine = _coarser(corner, 4)
    nodes = tuple(n // 4 + 1 for n in t.shape)
    return {
        "shape": t.shape,
        "affine": affine,
        "brain": brain,
        "maps": np.ascontiguousarray(maps.reshape(-1, 3)[brain].T),
        "near": near,
        "steps": steps,
        "voxel": np.ravel_multi_index([a // 2 for a in index], [n // 2 for n in t.shape]),
        "around": {
            "ventricles_vol": np.flatnonzero((ndi.gaussian_filter(ventricles, 3.0) > 0.02).ravel()[brain]),
            "hippocampi_vol": np.flatnonzero(hippocampi > 0.5),
        },
        "hippocampi": hippocampi,
        "temporal": _blobs(world, TEMPORAL_MM).ravel()[brain],
        "patterns": patterns,
        "hull": hull,
        "hull_affine": hull_affine,
        "hull_ml": np.sum(_ramp(-np.maximum(depth, FLOOR_MM - world[2]) / 2.0)) * 8e-3,
        "map_affine": map_affine,
        "nodes_affine": map_affine @ np.diag([2.0, 2.0, 2.0, 1.0]),  # every second voxel of a map
        "spline": tuple(_spline(8.0 * np.arange(n) / WARP_NODES_MM) for n in nodes),
    }


def _average(array, n):
    """Return the means of ``array`` (x, y, z) in cubes of ``n`` voxels, float32."""
    corners = np.ndindex(n, n, n)
    return sum(array[i::n, j::n, k::n].astype(np.float32) for i, j, k in corners) / np.float32(n**3)


def _coarser(affine, n):
    """Return the affine of cubes of ``n`` voxels."""
    return affine @ nib.affines.from_matvec(n * np.eye(3), [(n - 1) / 2.0] * 3)


def _hull(brain, affine):
    """Return the distance from the inside of the skull in mm, float32 (x, y, z, 1), and its affine."""
    margin = ((5, 5), (5, 5), (9, 6))
    brain = np.pad(brain, margin)
    affine = affine @ nib.affines.from_matvec(np.eye(3), [-before for before, _ in margin])
    low = np.flatnonzero(brain.any(axis=(0, 1)))[0]
    brain[:, :, :low] = brain[:, :, low : low + 1]  # the neck goes on
    size = abs(affine[0, 0])
    outside = size * ndi.distance_transform_edt(~brain)
    # The hull bridges gaps narrower than 40 mm, so that one skull surrounds the whole brain.
    inside = size * ndi.distance_transform_edt(outside <= 20.0)
    hull = np.where(inside > 0, 20.0 - inside, outside)
    return (ndi.gaussian_filter(hull, 1.0) - SKULL_GAP_MM).astype(np.float32)[..., None], affine


def _widened(maps, ventricles, brain):
    """Move the tissue away from the ventricles, along the slope of their blurred image.

    Returns
    -------
    near : ndarray
        Which of the bricks ``brain`` move.
    steps : ndarray, (step, map, near)
        In them, ``maps`` (x, y, z, map) as the flow carries it.
    """
    blurred = ndi.gaussian_filter(ventricles, 3.5) + 0.5 * ndi.gaussian_filter(ventricles, 7.0)
    slope = np.stack(np.gradient(blurred), axis=-1).astype(np.float32)
    slope *= WIDENING_STEP_MM / 2.0 / np.percentile(np.abs(slope).max(axis=-1)[ventricles > 0.5], 80)
    near = np.flatnonzero((np.abs(slope) > 0.004).any(axis=-1).ravel()[brain])
    start = np.stack(np.unravel_index(brain[near], ventricles.shape)).astype(np.float32)
    steps = {}
    for direction, last in zip((-1, 1), ATROPHY["widening"]["limits"], strict=True):
        index = start
        for step in range(0, int(last) + direction, direction):
            steps[step] = _sample(maps, index).T
            index = index + direction * _sample(slope, index).T
    return near, np.stack([steps[step] for step in sorted(steps)])


def _boxes(world, boxes):
    """Return True where ``world`` (three open arrays, mm) lies in a box or its mirror image."""
    x, y, z = np.abs(world[0]), world[1], world[2]
    return np.any(
        [
            (low[0] <= x) & (x <= high[0]) & (low[1] <= y) & (y <= high[1]) & (low[2] <= z) & (z <= high[2])
            for low, high in boxes
        ],
        axis=0,
    )


def _blobs(world, ellipsoids):
    """Return 1 in the middle of ellipsoids (centre, half axes; mm), falling smoothly to 0 outside."""
    squared = [
        sum(((x - c) / a) ** 2 for x, c, a in zip(world, centre, axes, strict=True))
        for centre, axes in ellipsoids
    ]
    return np.exp(-(np.min(squared, axis=0) ** 2)).astype(np.float32)


def _spline(position):
    """Return the weights of cubic B-splines at integer knots from -1 on: (position, knot)."""
    knots = np.arange(-1, int(position[-1]) + 3)
    d = np.abs(position[:, None] - knots)
    near, far = 2.0 / 3.0 - d**2 + d**3 / 2.0, np.maximum(2.0 - d, 0.0) ** 3 / 6.0
    return np.where(d < 1.0, near, far)


# One subject


def _write(folder, head, number):
    """Write the images of subject ``number``; return the row for the table of people, and the truth."""
    name = f"sub-{number:04d}"
    person = _person(number)
    rng = np.random.default_rng([SEED, number])
    state = _state(rng, head["hull_ml"], *person)
    t1w, labels, affine, gm_map, volumes = _subject(rng, head, state)
    (folder / name).mkdir(exist_ok=True)
    _save(folder / name / f"{name}_T1w.nii.gz", t1w, affine, "scanner")
    _save(folder / name / f"{name}_dseg.nii.gz", labels, affine, "scanner")
    _save(folder / name / f"{name}_space-MNI_GM.nii.gz", gm_map, head["map_affine"], "mni", GM_SCALE)
    known = volumes | {key: float(value) for key, value in state.items()}
    return (name, *person), {"participant_id": name} | {key: round(v, 4) for key, v in known.items()}


def _subject(rng, head, state):
    """Return T1 image, labels (both uint8), their affine, map of grey matter (uint8), and volumes in ml."""
    gm, wm = _anatomy(rng, head, state)
    warp, affine, to_template = _position(rng, head, state["head_scale"])
    shrink = 1.0 + state["shrinkage"] / 100.0

    # Where each voxel comes from is a smooth map: every fourth voxel is computed, the others lie between.
    nodes = np.meshgrid(*(np.arange(0, n + 4, 4, dtype=np.float32) for n in SHAPE), indexing="ij")
    points = _apply(to_template, nodes)
    points += np.moveaxis(_sample(warp, _to_index(head["nodes_affine"], points)), -1, 0)
    points = np.stack([_doubled(axis)[tuple(slice(n // 2 + 1) for n in SHAPE)] for axis in points])
    depth = _sample(head["hull"], _to_index(head["hull_affine"], points))[..., 0]
    points = np.stack([_doubled(axis)[tuple(slice(n) for n in SHAPE)] for axis in points])
    depth = _doubled(depth)[tuple(slice(n) for n in SHAPE)]
    closed = np.maximum(depth, FLOOR_MM - points[2])
    size = VOXEL_MM / state["head_scale"]  # of a voxel in the template's space
    inside = _ramp(-closed / size)

    where = np.flatnonzero(inside > 0)
    centre = np.reshape(CENTRE_MM, (3, 1)).astype(np.float32)
    source = centre + np.float32(shrink) * (points.reshape(3, -1)[:, where] - centre)
    tissue = np.zeros((np.prod(head["shape"]), 2), np.float32)
    tissue[head["brain"], 0], tissue[head["brain"], 1] = gm, wm
    tissue = tissue.reshape(*head["shape"], 2)
    seen = _sample(tissue, _to_index(head["affine"], source))
    room = inside.ravel()[where]
    seen *= (room / np.maximum(seen.sum(axis=-1), room))[:, None]
    gray, white = seen.T
    csf = room - gray - white

    ml = VOXEL_MM**3 / 1000.0
    gray_ml, white_ml, csf_ml = (float(part.sum(dtype=float)) * ml for part in (gray, white, csf))
    volumes = {
        "brain_vol": gray_ml + white_ml,
        "skull_vol": gray_ml + white_ml + csf_ml,
        "gray_matter_vol": gray_ml,
        "white_matter_vol": white_ml,
        "csf_vol": csf_ml,
    }

    in_skull, in_head = (_ramp((edge - depth) / size) for edge in (SKULL_MM, HEAD_MM))
    # Below the floor there is neither skull nor brain, but neck.
    neck = _ramp((FLOOR_MM - SKULL_MM - points[2]) / size) * _ramp((HEAD_MM - 4.0 - depth) / size)
    bone = np.maximum(in_skull - inside - neck, 0.0)
    signal = LEVELS["skull"] * bone + LEVELS["base"] * np.minimum(neck, 1.0 - inside)
    signal += LEVELS["scalp"] * np.maximum(in_head - inside - bone - neck, 0.0)
    flat = signal.reshape(-1)
    flat[where] += LEVELS["csf"] * csf + LEVELS["gm"] * gray + LEVELS["wm"] * white

    labels = np.where(in_head > 0.5, np.uint8(LABELS["skull and scalp"]), np.uint8(0))
    most = np.where(white > csf, LABELS["wm"], LABELS["csf"])
    most = np.where(GM_WEIGHT * gray > np.maximum(white, csf), LABELS["gm"], most)
    flat = labels.reshape(-1)
    flat[where] = np.where(room >= 0.5, most, flat[where])
    gm_map, parts = _gm_map(head, gm, wm, warp, shrink, state)
    return _scanned(rng, signal), labels, affine, gm_map, volumes | parts


def _anatomy(rng, head, state):
    """Return grey and white matter (0–1) in the bricks of the template's brain, each (n,)."""
    step = state["widening"] - ATROPHY["widening"]["limits"][0]
    low = min(int(step), len(head["steps"]) - 2)
    before, after = head["steps"][low : low + 2]
    t1, solid, share = maps = head["maps"].copy()
    maps[:, head["near"]] = before + np.float32(step - low) * (after - before)
    limit = np.float32(state["hippocampal"]) * head["hippocampi"]
    limit += np.float32(0.5 * state["hippocampal"]) * head["temporal"]
    for weight, pattern in zip(REGIONAL_SD / 2.0 * rng.standard_normal(4), head["patterns"], strict=True):
        limit += np.float32(weight) * pattern
    limit += np.float32(state["sulci"])
    limit -= t1
    tissue = np.minimum(solid, np.clip(1.0 - limit / np.float32(SULCI_SPAN), 0.0, 1.0))
    gray = share * tissue
    return gray, tissue - gray


def _position(rng, head, scale):
    """Return the random warp (x, y, z, 3; mm), the image's affine, and the one from voxels to the template.

    The warp belongs to the template's nodes: what the affine puts at a point lies at point + warp there.
    """
    knots = rng.standard_normal((3, *(weights.shape[1] for weights in head["spline"])))
    a, b, c = head["spline"]
    warp = np.einsum("nijk,ck->nijc", knots, c)
    warp = np.einsum("nijc,bj->nibc", warp, b)
    warp = np.einsum("nibc,ai->abcn", warp, a)
    warp *= WARP_SD_MM / 0.33  # the splines' blurring leaves about a third
    turn, grid_turn = np.deg2rad(rng.normal(0.0, 3.5, (2, 3)))
    shift, shape = rng.normal(0.0, 3.0, 3), rng.normal(0.0, 0.015, 3)
    shape -= shape.mean()
    # The operator tilts the slices to follow the head, by and large.
    matrix = VOXEL_MM * _rotation(turn + 0.4 * grid_turn)
    middle = (np.array(SHAPE) - 1) / 2.0
    affine = nib.affines.from_matvec(matrix, shift - matrix @ middle + [0.0, 0.0, -2.0])
    pose = nib.affines.from_matvec(_rotation(turn) * (scale * np.exp(shape)), shift)
    # The middle of the brain lies near the scanner's origin.
    to_template = np.linalg.inv(pose @ nib.affines.from_matvec(np.eye(3), -np.array(CENTRE_MM))) @ affine
    return warp.astype(np.float32), affine, to_template


def _gm_map(head, gm, wm, warp, shrink, state):
    """Return the modulated map of grey matter (uint8), and the volumes that its like give, in ml.

    Grey matter of a brick, times the volume that the brick has in the subject over the one it has in the
    template; so the map's sum is the volume in the subject.
    """
    # Every fourth voxel of the map along each axis; the change of volume is smooth.
    x, y, z = (16.0 * np.arange(n // 2 + 1, dtype=np.float32) for n in warp.shape[:3])
    corner = head["nodes_affine"][:3, 3]
    points = np.stack(np.meshgrid(*(a + c for a, c in zip((x, y, z), corner, strict=True)), indexing="ij"))
    centre = np.reshape(CENTRE_MM, (3, 1, 1, 1))
    points = (centre + (points - centre) / shrink).astype(np.float32)
    before = points
    for _ in range(3):  # invert the warp
        before = points - np.moveaxis(_sample(warp, _to_index(head["nodes_affine"], before)), -1, 0)
    gradient = [np.stack(np.gradient(warp[..., a], 8.0), axis=-1) for a in range(3)]
    (a, b, c), (d, e, f), (g, h, i) = (np.moveaxis(row, -1, 0) for row in gradient)
    a, e, i = a + 1.0, e + 1.0, i + 1.0
    jacobian = (a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))[..., None]
    growth = _sample(jacobian, _to_index(head["nodes_affine"], before))[..., 0]
    growth = state["head_scale"] ** 3 / (growth * shrink**3)
    shape = tuple(n // 2 for n in head["shape"])
    growth = _doubled(_doubled(growth))[tuple(slice(n) for n in shape)].astype(np.float32)

    gm_map = np.bincount(head["voxel"], gm, growth.size).reshape(shape) / 8.0 * growth
    growth = growth.ravel()
    parts = {}
    for name, bricks in head["around"].items():
        part = gm[bricks] if name == "hippocampi_vol" else 1.0 - gm[bricks] - wm[bricks]
        parts[name] = float(np.sum(part * growth[head["voxel"][bricks]], dtype=float)) * 8e-3
    return np.rint(np.minimum(gm_map / GM_SCALE, 255)).astype(np.uint8), parts


def _scanned(rng, signal):
    """Return the T1 image of ``signal``, uint8: coil, noise, and the magnitude of both."""
    x, y, z = np.meshgrid(
        *(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij", sparse=True
    )
    slope, bend = rng.normal(0.0, 0.06, 3).astype(np.float32), np.float32(rng.uniform(0.0, 0.10))
    coil = (1.0 + slope[0] * x + bend * x**2) + (slope[1] * y + bend * y**2) + (slope[2] * z + bend * z**2)
    coil *= signal
    real, imaginary = noise = rng.standard_normal((2, *SHAPE), np.float32)
    noise *= np.float32(NOISE_SD)
    real += coil
    noise *= noise
    real += imaginary
    return np.minimum(np.sqrt(real) + np.float32(0.5), np.float32(255)).astype(np.uint8)


# Geometry


def _sample(volume, index):
    """Return ``volume`` (x, y, z, channel) at ``index`` (3, ...), linear between voxels: (..., channel)."""
    shape = volume.shape[:3]
    low, part = [], []
    for axis, n in zip(index, shape, strict=True):
        axis = np.clip(axis, 0.0, n - 1.001)
        whole = axis.astype(np.int32)
        low.append(whole)
        part.append((axis - whole).astype(np.float32))
    flat = volume.reshape(-1, volume.shape[3]) if volume.shape[3] > 1 else volume.reshape(-1)
    base = (low[0] * shape[1] + low[1]) * shape[2] + low[2]
    x, y, z = part if volume.shape[3] == 1 else (a[..., None] for a in part)
    planes = []
    for i in (0, shape[1] * shape[2]):
        lines = []
        for j in (0, shape[2]):
            start = flat.take(base + (i + j), axis=0)
            lines.append(start + z * (flat.take(base + (i + j + 1), axis=0) - start))
        planes.append(lines[0] + y * (lines[1] - lines[0]))
    found = planes[0] + x * (planes[1] - planes[0])
    return found.reshape(*base.shape, -1)


def _apply(affine, points):
    """Return ``points`` (three arrays) moved by ``affine``: (3, ...), float32."""
    x, y, z = points
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in affine[:3].astype(np.float32)])


def _to_index(affine, points):
    """Return the voxels at ``points`` (three arrays, mm) of a grid along the axes of its space."""
    # Python's floats, not NumPy's, leave single precision single
    return [(p - float(affine[a, 3])) * float(1.0 / affine[a, a]) for a, p in enumerate(points)]


def _doubled(array):
    """Return ``array`` (x, y, z) with a value halfway between each two: 2n - 1 along each axis."""
    for axis in range(3):
        array = np.moveaxis(array, axis, 0)
        fine = np.empty((2 * len(array) - 1, *array.shape[1:]), np.float32)
        fine[::2] = array
        fine[1::2] = 0.5 * (array[:-1] + array[1:])
        array = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(array)


def _ramp(value):
    """Return 0 below -1/2, 1 above 1/2, and a straight line between."""
    return np.clip(value + np.float32(0.5), 0.0, 1.0)


def _rotation(angles):
    """Return the rotation (3, 3) about x, then y, then z, by ``angles`` in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _save_table(path, names, rows):
    """Write a table, tab-separated, as BIDS wants it."""
    with open(path, "w", newline="", encoding="ascii") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([names, *rows])


def _save(path, data, affine, space, slope=1.0):
    """Write ``data`` (uint8) as NIfTI, its values times ``slope``; the same data give the same bytes."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(data.shape)
    header.set_zooms(nib.affines.voxel_sizes(affine))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=space)
    header.set_qform(affine, code=space)
    header.set_slope_inter(slope, 0.0)
    header["descrip"] = b"Slicewise: simulated, not measured"
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    raw = header.binaryblock + bytes(4) + data.tobytes(order="F")
    path.write_bytes(zlib.compress(raw, 1, wbits=31))

"""A simulated cine MR of a beating heart: a DICOM short-axis stack over one beat, with its truth.

The heart is that of a patient with heart failure: a wide left ventricle that throws out about a third of its
blood. Its wall keeps its volume, so that it thickens as the cavity narrows; its base comes down, its apex
turns against the base, and one side contracts less than the other. Around it lie the right ventricle, the
atria and great vessels at the base, fat, lungs, liver and the wall of the chest. The scene is drawn on thin
planes, averaged over the slice, and then measured as a scanner does: weighted by the surface coils, cut off
in k-space, with complex noise, of which the image keeps the magnitude.

In-plane positions are (x, y) = (column, row) in pixels of 1.367188 mm; ``u`` is the height along the axis of
the stack in mm, 0 at the middle slice and growing to the base. Arrays over the beat have the frame first;
volumes are (time, slice, row, column) with the first slice at the base.

Notes
-----
The signal is that of balanced steady-state free precession at 1.5 T with the echo in the middle of TR: blood
is bright, muscle grey, lung and compact bone black. The phase of such a signal flips between neighbouring
pass bands [Hargreaves et al., Magnetic Resonance in Medicine 50 (2003)]. In this field the fat of the back
falls into another band than water, so it is drawn with a negative sign, and where fat meets water in one
pixel the two cancel: the thin black outlines of such images come by themselves. In front, fat and water share
a band.

All is computed in double precision and rounded to whole grey values at the very end, so that the last-bit
differences between processors do not reach the files.
"""

import uuid
from functools import cache, partial
from pathlib import Path

import numpy as np
import pydicom
from scipy import fft
from scipy import ndimage as ndi

from data_fetchers.simulate import outlines
from data_fetchers.simulate.outlines import inset, ribbon, xy

SHAPE = (256, 256)
PIXEL_MM = 1.367188  # 350 mm over 256 pixels
STEP_MM = 10.0
# A gap between slices is common: a slice disturbs its neighbour less. Volumes need the step, not this.
THICKNESS_MM = 8.0
N_SLICES = 11
N_FRAMES = 20
# Slice from the base → number of its folder. An archive's order of folders is not the order of slices.
FOLDERS = (10, 9, 8, 7, 4, 6, 5, 3, 2, 1, 0)
RR_MS = (1047, 1032, 1027, 1052, 1021, 1036, 1018, 1009, 1024, 1041, 1030)  # one breath-hold per slice

# Direction cosines of a row and of a column (LPS): an oblique plane across the long axis of the heart.
_ROW = np.array([0.764, 0.358, 0.537])
_COLUMN = np.array([-0.262, 0.93, -0.25])
ROW_COSINES = np.round(_ROW / np.linalg.norm(_ROW), 6)
_COLUMN = _COLUMN - (_COLUMN @ ROW_COSINES) * ROW_COSINES / (ROW_COSINES @ ROW_COSINES)
COLUMN_COSINES = np.round(_COLUMN / np.linalg.norm(_COLUMN), 6)
NORMAL = np.cross(COLUMN_COSINES, ROW_COSINES)  # from the base to the apex: left and down
NORMAL = NORMAL / np.linalg.norm(NORMAL)
CENTRE_MM = np.array([35.0, -28.0, -12.0])  # of the middle slice, LPS

# Thin planes that are averaged to one slice; more where the surfaces run nearly along the plane
SUBPLANES = {k: 8 if k in (1, 3, 9, 10) else 4 for k in range(N_SLICES)}

# The left ventricle. Its size and shortening are chosen within the group "heart failure, no infarct" of the
# Sunnybrook data [Radau et al., MIDAS Journal 49 (2009); figures of the Cardiac Atlas Project]: ejection
# fraction 33 ± 13 %, end-diastolic volume 234 ± 63 ml. Wall and descent of the base suit such a heart; the
# turn of the apex is about half of a healthy one's [Stöhr et al., Am J Physiol Heart 311 (2016)].
BASE_MM = 42.0  # height of the mitral plane on the long axis at end-diastole
APEX_MM = -50.0  # height of the tip of the cavity at end-diastole
BASE_DESCENT_MM = 8.5
APEX_RISE_MM = 0.8
CAVITY_MM = 31.4  # largest radius of the cavity at end-diastole
WALL_MM = 8.7
APICAL_WALL_MM = 6.0
NARROWING = 0.156  # part by which the mean radius shrinks until end-systole
TWIST_DEG = (-2.5, 7.0)  # rotation at the base and at the apex at end-systole
EQUATOR = 0.62  # part of the way from the apex to the base where the cavity is widest
BASE_TILT = 0.3  # the mitral plane rises to the front and the septum by this slope
_UPHILL = np.array([np.cos(np.deg2rad(-125)), np.sin(np.deg2rad(-125))])
N_ANGLES = 96
ANGLES = 2 * np.pi * np.arange(N_ANGLES) / N_ANGLES  # 0 to the patient's left, growing to the back

# How far the ventricle has emptied in each frame: 0 full, 1 at end-systole. Ejection takes a third of the
# beat; then fast filling, rest, and the push of the atria.
EMPTYING = np.array(
    [0, 0.06, 0.23, 0.48, 0.71, 0.88, 0.97, 1.0, 0.93, 0.71, 0.48, 0.33]
    + [0.25, 0.205, 0.18, 0.165, 0.15, 0.115, 0.055, 0.012]
)

OPPOSED_BELOW = 150  # row behind which fat is opposed to water
# Grey values of tissues in the middle of the left ventricle, in the units of the files.
BLOOD, MYOCARDIUM, FAT, MUSCLE, LUNG, LIVER = 136.0, 37.0, 105.0, 42.0, 0.8, 57.0
HEART_FAT = 84.0  # mixed with vessels
MARROW, CORTEX, FLUID, CORD, CARTILAGE, SKIN = 26.0, 5.0, 112.0, 74.0, 36.0, 25.0
RV_BLOOD = 0.8  # part of the signal that is left of the right ventricle's faster, more disturbed blood
NOISE = 1.3  # standard deviation of the real and of the imaginary part

BLUR = 0.15  # pixels, standard deviation: motion within a frame and between the beats of one breath-hold
FIELD_RADIUS = 109.0  # pixels; beyond, the correction of the gradients' distortion has no data
ACQUIRED = (160, 224)  # phase encoding steps along the columns, samples along the rows; 256 by zero filling


# ---------------------------------------------------------------------------------------------- outlines

# Coarser curves than elsewhere: there are twenty frames to draw.
closed_curve = partial(outlines.closed_curve, per_span=6)
open_curve = partial(outlines.open_curve, per_span=6)


def ellipse(centre, half_x, half_y, turn=0.0, n=20):
    """Outlines (..., n, 2) of ellipses around `centre` (..., 2); `turn` in radians."""
    angle = 2 * np.pi * np.arange(n) / n
    a = np.asarray(half_x, float)[..., None] * np.cos(angle)
    b = np.asarray(half_y, float)[..., None] * np.sin(angle)
    turn = np.asarray(turn, float)[..., None]
    around = np.stack([a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)], axis=-1)
    return np.asarray(centre, float)[..., None, :] + around


def along_stack(u, heights, *shapes):
    """Control points at height `u`, a number or (frames,), from `shapes` at falling `heights`."""
    heights = np.asarray(heights, float)
    weights = [np.interp(-np.asarray(u, float), -heights, row) for row in np.eye(len(heights))]
    weights = np.stack(weights, axis=-1)
    return np.tensordot(weights, np.stack([np.asarray(shape, float) for shape in shapes]), axes=1)


# ---------------------------------------------------------------------------------------------- rendering


def rasterise(outlines, shape):
    """Part of each pixel covered by the union of closed outlines, for several frames at once.

    Parameters
    ----------
    outlines : (frames, m, n, 2) array
        x, y in pixels of the canvas; the centre of the first pixel is at 0.
    shape : tuple of int
        Rows and columns of the canvas.

    Returns
    -------
    coverage : (frames, rows, columns) array, 0 to 1
    window : tuple of two slices
        Where `coverage` lies in the canvas.

    Notes
    -----
    Exact along the row, four scan lines across it. Every edge adds, where a scan line crosses it, its signed
    area to the right of it; a running sum along the row turns these into coverage. An outline without area
    covers nothing.
    """
    lines = 4
    frames, m, n, _ = outlines.shape
    start = outlines + 0.5
    limit = np.array(shape[::-1])
    left, first = np.clip(np.floor(start.min(axis=(0, 1, 2))).astype(int), 0, limit - 1)
    right, last = np.clip(np.ceil(start.max(axis=(0, 1, 2))).astype(int) + 1, (left + 1, first + 1), limit)
    height, width = last - first, right - left
    end = np.roll(start, -1, axis=2)
    twice_area = np.sum(start[..., 0] * end[..., 1] - end[..., 0] * start[..., 1], axis=2)
    turn = np.repeat(np.sign(np.where(np.abs(twice_area) < 1e-9, 0, twice_area)).ravel(), n)
    frame = np.repeat(np.arange(frames), m * n)
    start, end = start.reshape(-1, 2), end.reshape(-1, 2)
    y0, y1 = (start[:, 1] - first) * lines, (end[:, 1] - first) * lines
    low = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height * lines).astype(int)
    high = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height * lines).astype(int)
    edge = np.repeat(np.arange(len(low)), high - low)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (y1[edge] - y0[edge])
    x = np.clip(start[edge, 0] - left + (line + 0.5 - y0[edge]) * slope, 0, width)
    sign = np.where(y1[edge] > y0[edge], -1.0, 1.0) * turn[edge] / lines
    cell = np.minimum(x.astype(int), width)
    at = (frame[edge] * height + line // lines) * (width + 2) + cell
    size = frames * height * (width + 2)
    part = (
        np.bincount(at, sign * (1 - (x - cell)), size) + np.bincount(at + 1, sign * (x - cell), size)[:size]
    )
    coverage = part.reshape(frames, height, width + 2)[..., :width].cumsum(axis=-1)
    return np.clip(coverage, 0, 1), (slice(first, last), slice(left, right))


def paint(canvas, outlines, value, origin=(0, 0)):
    """Fill outlines on a canvas, in place.

    Parameters
    ----------
    canvas : (frames, rows, columns) array
    outlines : (n, 2), (m, n, 2) or (frames, m, n, 2) array
        x, y in pixels of the whole image.
    value : float or array that broadcasts to (frames, rows, columns)
    origin : tuple of int
        x and y of the canvas' first pixel in the image.
    """
    coverage, window = rasterise(_on_canvas(outlines, origin), canvas.shape[1:])
    if np.ndim(value):
        value = np.broadcast_to(value, canvas.shape)[:, window[0], window[1]]
    part = canvas[:, window[0], window[1]]
    part += coverage * (value - part)


def _on_canvas(outlines, origin):
    """Outlines (frames, m, n, 2) in pixels of a canvas; fewer axes will do."""
    outlines = np.asarray(outlines, float) - origin
    return outlines.reshape((1,) * (4 - outlines.ndim) + outlines.shape)


def cover(shape, outlines, origin=(0, 0)):
    """Part of each pixel (frames, rows, columns) that outlines, as for :func:`paint`, cover."""
    canvas = np.zeros(shape)
    coverage, window = rasterise(_on_canvas(outlines, origin), shape[1:])
    canvas[:, window[0], window[1]] = coverage
    return canvas


@cache
def smooth_field(name, sigma, shape=SHAPE):
    """Random field (mean 0, standard deviation 1), smooth over `sigma` pixels; one for each name."""
    rng = np.random.default_rng(list(name.encode()))
    field = ndi.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return field / field.std()


# ---------------------------------------------------------------------------------------- left ventricle


def base_height(emptying=EMPTYING):
    """Height u in mm of the mitral plane on the long axis, (frames,)."""
    return BASE_MM - BASE_DESCENT_MM * np.asarray(emptying, float)


def apex_height(emptying=EMPTYING):
    """Height u in mm of the tip of the cavity, (frames,)."""
    return APEX_MM + APEX_RISE_MM * np.asarray(emptying, float)


def breath_shift():
    """In-plane displacement (slices, 2) of the heart in pixels: no two breath-holds are quite the same."""
    shift = np.random.default_rng(61).normal(0, 0.8 / PIXEL_MM, (N_SLICES, 2))
    return shift - shift.mean(axis=0)


def lv_axis(u, emptying=EMPTYING):
    """Position (frames, 2) in pixels where the long axis of the ventricle meets the plane at height `u`."""
    emptying = np.asarray(emptying, float)
    path = along_stack(u, (50, 0, -50), (136.5, 132.0), (138.5, 131.5), (145.5, 126.0))
    return path + emptying[:, None] * np.array([-0.9, -0.6])


def _profile(s, tip):
    """Radius over the largest radius at `s`, 0 at the cavity's tip and 1 at the base; 0 from `tip` down."""
    below = np.clip((EQUATOR - s) / (EQUATOR - tip), 0, 1)
    above = np.clip((s - EQUATOR) / (1 - EQUATOR), 0, 1.6)
    return (1 - below**2.4) ** 0.52 * (1 - 0.09 * above**2)


def lv_section(u, emptying=EMPTYING):
    """Cut the left ventricle by the plane at height `u`.

    Parameters
    ----------
    u : float
        Height in mm.
    emptying : (frames,) array
        0 at end-diastole, 1 at end-systole.

    Returns
    -------
    endocardium : (frames, N_ANGLES) array
        Distance in mm of the smooth border of the cavity, papillary muscles inside, from :func:`lv_axis` at
        `ANGLES`; without regard to the mitral plane.
    epicardium : (frames, N_ANGLES) array
        The same of the wall's outer border.
    s : (frames, 1) array
        Place between the cavity's tip, 0, and the base, 1.

    Notes
    -----
    A piece of wall keeps its volume. The ventricle's length shrinks by the factor `stretch`, so the area of
    the wall's cut grows by its inverse, in every sector: epi² - endo² = (epi² - endo² at rest) / stretch.
    """
    emptying = np.asarray(emptying, float)[:, None]
    length = base_height(emptying) - apex_height(emptying)
    s = (u - apex_height(emptying)) / length
    twist = np.deg2rad(np.interp(s, [0, 1], TWIST_DEG[::-1])) * emptying
    angle = ANGLES - twist
    shape = (
        1
        + 0.095 * np.cos(2 * (angle - np.deg2rad(-54)))
        + 0.018 * np.cos(3 * angle + 1.9 + 1.2 * s)
        + 0.011 * np.cos(4 * angle + 2.6)
        + 0.007 * np.cos(5 * angle - 0.8 + 3 * s)
        + 0.005 * np.cos(7 * angle + 0.4)
    )
    rest = CAVITY_MM * _profile(s, 0.0) * shape
    tip = -APICAL_WALL_MM / (BASE_MM - APEX_MM)
    wall = WALL_MM * (
        1 + 0.03 * np.cos(angle - np.pi) + 0.06 * np.cos(3 * angle + 4.7) + 0.02 * np.cos(5 * angle)
    )
    outer = (CAVITY_MM + wall) * _profile(s, tip) * (1 + 0.75 * (shape - 1))
    outer = np.maximum(outer, rest)
    # The lower septum contracts least, as in a heart whose left bundle conducts late.
    local = 1 + 0.28 * np.cos(ANGLES - np.deg2rad(-20))
    endocardium = rest * (1 - NARROWING * emptying * local)
    stretch = length / (BASE_MM - APEX_MM)
    epicardium = np.sqrt(endocardium**2 + (outer**2 - rest**2) / stretch)
    return endocardium, epicardium, s


def around(centre, radius_mm, angles=ANGLES):
    """Outline (frames, n, 2) in pixels from radii (frames, n) in mm around `centre` (frames, 2)."""
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return centre[:, None] + radius_mm[..., None] / PIXEL_MM * direction


def below_base(outline, u, centre, lift=0.0, emptying=EMPTYING):
    """Cut off what of an outline (frames, n, 2) in the plane `u` lies above the mitral plane.

    A point beyond the line in which the two planes meet moves to it, straight downhill. What lies wholly
    beyond is left without area.
    """
    height = u - base_height(emptying)[:, None] - lift
    beyond = height - BASE_TILT * PIXEL_MM * ((outline - centre[:, None]) @ _UPHILL)
    return outline + (np.maximum(beyond, 0) / (BASE_TILT * PIXEL_MM))[..., None] * _UPHILL


def lv_area(u, emptying=EMPTYING):
    """Area in mm² of the cavity below the mitral plane at height `u`, (frames,), from the smooth outlines.

    In polar coordinates the area is the integral of (far² - near²) / 2 over the angle; the mitral plane
    takes away either the far or the near part of each ray.
    """
    radius = lv_section(u, emptying)[0]
    height = (u - base_height(emptying))[:, None]
    climb = BASE_TILT * (np.cos(ANGLES) * _UPHILL[0] + np.sin(ANGLES) * _UPHILL[1])
    with np.errstate(divide="ignore"):
        meets = height / climb
    uphill = climb > 0
    near = np.where(uphill, np.clip(meets, 0, radius), 0)
    far = np.where(uphill, radius, np.clip(meets, 0, radius))
    return np.pi * np.mean(far**2 - near**2, axis=-1)


def true_volumes(emptying=EMPTYING, step_mm=0.25):
    """Volume in ml of the cavity of the left ventricle, (frames,), from the smooth model."""
    heights = np.arange(APEX_MM - 5, BASE_MM + 15, step_mm) + step_mm / 2
    return sum(lv_area(u, emptying) for u in heights) * step_mm / 1000


@cache
def _trabeculae():
    """Strands of muscle inside the ventricle: rows of angle, lowest and highest s, depth and radius in mm."""
    rng = np.random.default_rng(1749)
    n = 90
    angle = np.deg2rad(rng.normal(48, 42, n))
    middle = rng.uniform(0.10, 0.84, n)
    half = rng.uniform(0.06, 0.16, n)
    depth = rng.uniform(0.6, 8.0, n)
    radius = rng.uniform(0.7, 2.1, n)
    return np.stack([angle, middle - half, middle + half, depth, radius], axis=1)


@cache
def _rough_waves():
    """Wave numbers, phases and drift over s of the rough inner border."""
    rng = np.random.default_rng(1832)
    n = 7
    return rng.integers(8, 22, n), rng.uniform(0, 2 * np.pi, n), rng.normal(0, 16, n)


def muscles_inside(u, centre, endocardium, s, emptying=EMPTYING):
    """Rough border of the cavity, and papillary muscles and trabeculae inside it.

    Returns
    -------
    border : (frames, N_ANGLES, 2) array
    strands : (frames, m, n, 2) array
        Outlines, without size where the plane misses a strand.
    """
    twist = np.deg2rad(np.interp(s, [0, 1], TWIST_DEG[::-1])) * emptying[:, None]
    angle = ANGLES - twist
    number, phase, drift = _rough_waves()
    ripple = np.cos(angle[..., None] * number + phase + drift * s[..., None]).sum(axis=-1) / np.sqrt(
        len(number)
    )
    # The septum is smooth; the side wall and the apex are rough.
    where = (0.32 + 0.68 * np.clip(0.4 + 0.9 * np.cos(angle - np.deg2rad(55)), 0, 1)) * (1.5 - 0.8 * s)
    rough = 1.5 * np.clip(0.35 + ripple, 0, 1.8) * where * np.clip(1.6 - 1.2 * s, 0.2, 1)
    # The furrows close as the cavity narrows.
    border = around(centre, np.maximum(endocardium - rough * (1 - 0.35 * emptying[:, None]), 0))

    heads = np.array(
        # angle, lowest s, highest s, distance from the wall in mm, half-widths along and across it
        [
            (-6, 0.16, 0.62, 4.6, 5.0, 4.0),
            (12, 0.20, 0.70, 7.2, 4.6, 3.4),
            (27, 0.10, 0.56, 5.2, 3.8, 3.0),
            (102, 0.14, 0.60, 4.6, 5.2, 3.8),
            (84, 0.20, 0.68, 7.4, 4.0, 3.2),
            (118, 0.28, 0.58, 4.8, 3.0, 2.6),
        ]
    )
    thin = _trabeculae()
    place = np.concatenate([np.deg2rad(heads[:, 0]), thin[:, 0]])
    low, high = np.concatenate([heads[:, 1:3], thin[:, 1:3]]).T
    depth = np.concatenate([heads[:, 3], thin[:, 3]])
    wide = np.concatenate([heads[:, 4], thin[:, 4] * 1.25])
    thick = np.concatenate([heads[:, 5], thin[:, 4] * 0.85])
    # A strand tapers at both ends and shortens with the wall; across, it thickens.
    inside = 1 - np.abs(2 * (s - low) / (high - low) - 1)
    size = np.sqrt(np.clip(2.2 * inside, 0, 1)) * (1 + 0.13 * emptying[:, None])
    theta = place + twist
    wall = np.stack(
        [np.interp(t, ANGLES, row, period=2 * np.pi) for t, row in zip(theta, endocardium, strict=True)]
    )
    # Strands stay near the wall, but never cross the long axis where the cavity is narrow.
    distance = np.maximum(wall - depth * (1 - 0.25 * emptying[:, None]), 0.35 * wall)
    at = centre[:, None] + (distance / PIXEL_MM)[..., None] * np.stack(
        [np.cos(theta), np.sin(theta)], axis=-1
    )
    knobs = np.arange(len(place))
    outlines = ellipse(
        at, size * thick / PIXEL_MM, size * wide / PIXEL_MM, theta + 0.7 * np.sin(2.4 * knobs), 14
    )
    # Cut muscles are knobbly, not round.
    corner = 2 * np.pi * np.arange(14) / 14 + knobs[:, None]
    lobes = 1 + 0.16 * np.cos(2 * corner + knobs[:, None]) + 0.13 * np.cos(3 * corner)
    return border, at[..., None, :] + (outlines - at[..., None, :]) * lobes[..., None]


# --------------------------------------------------------------------------------------- right ventricle


def rv_section(u, centre, epicardium, emptying=EMPTYING):
    """Cut the right ventricle, a sickle that lies against the septum, by the plane at height `u`.

    Returns
    -------
    rough : (frames, n, 2) array
        Outline in pixels of the cavity with its rough border.
    wall : (frames, n, 2) array
        That of the wall, which contains the cavity.
    fat : (frames, n, 2) array
        That of the fat around, which contains the wall.
    smooth : (frames, n, 2) array
        That of the cavity without roughness.
    """
    emptying = np.asarray(emptying, float)[:, None]
    height = u + BASE_DESCENT_MM * emptying  # the right ventricle's base comes down as well
    front = np.interp(-height, [-50, 0, 45], np.deg2rad([-58.0, -63, -92]))
    back = np.interp(-height, [-50, 0, 45], np.deg2rad([-214.0, -213, -200]))
    part = np.linspace(0, 1, 48)
    angles = front + (back - front) * part
    width = np.interp(-height, [-56, -40, -28, 0, 22, 36, 42], [14, 28, 34, 24, 16, 8, 0])
    hump = np.sin(np.pi * part) ** 0.75 * (0.52 + 0.52 * np.sin(np.pi * part**1.9) + 0.05 * np.sin(6 * part))
    free = width * hump * (1 - 0.24 * emptying)
    period = 2 * np.pi
    septum = np.stack(
        [np.interp(a, ANGLES, row, period=period) for a, row in zip(angles, epicardium, strict=True)]
    )
    rng = np.random.default_rng(1628)
    number, phase, drift = rng.integers(9, 25, 6), rng.uniform(0, period, 6), rng.normal(0, 0.12, 6)
    ripple = np.cos(angles[..., None] * number + phase + drift * u).sum(axis=-1) / np.sqrt(6)
    rough = 1.5 * np.clip(0.3 + ripple, 0, 1.8) * np.sin(np.pi * part)
    muscle = np.where(width > 0, 3.0 * (1 + 0.3 * emptying), 0) * np.minimum(
        1, 3 * np.sin(np.pi * part) + 0.4
    )
    layer = np.interp(-u, [-50, 0, 40], [2.5, 4.0, 3.0]) * (0.65 + 0.5 * np.sin(7 * part + 0.05 * u))

    def sickle(outer, margin=0.0):
        inner = around(centre, np.maximum(septum - margin, 0), angles)
        return np.concatenate([around(centre, septum + outer, angles), inner[:, ::-1]], axis=1)

    fat = free + muscle + layer * (width > 0)
    return sickle(np.maximum(free - rough, 0)), sickle(free + muscle, 1.5), sickle(fat, 1.5), sickle(free)


# ---------------------------------------------------------------------------------------------- the chest

# Outlines at the heights +50, 0 and -50 mm.
_SKIN = (
    xy(
        "18,151 32,129 50,110 70,96 90,93 108,94 119,91 128,83 "
        "140,76 155,69 175,62 195,58 213,59 235,78 250,110 "
        "252,140 240,170 222,185 200,196 172,206 150,213 130,223 110,230 95,236 70,242 40,227 16,196 9,172"
    ),
    xy(
        "17,138 33,125 50,114 72,104 88,101 98,99 108,93 120,84 "
        "135,75 150,69 171,64 195,62 215,66 238,85 252,110 "
        "255,140 245,165 223,183 200,194 172,206 150,213 130,221 110,230 95,237 70,242 40,227 12,195 4,165"
    ),
    xy(
        "12,137 35,124 55,116 75,111 88,106 98,99 110,93 122,88 "
        "135,82 150,75 168,70 185,70 205,75 222,90 236,112 "
        "243,140 242,160 226,174 205,186 178,200 150,212 130,219 110,228 95,235 70,241 40,227 12,190 2,160"
    ),
)
# Thickness of the fat under the skin in pixels, at the points of `_SKIN`
_SKIN_FAT = np.array(
    [
        2.5,
        3,
        3.5,
        3,
        2.4,
        2.4,
        2.6,
        3,
        3.4,
        3.4,
        3,
        2.4,
        2,
        1.8,
        2,
        3,
        3,
        3,
        3,
        2.2,
        2,
        2.2,
        2.4,
        2.6,
        3,
        4,
        4,
        3,
    ],
    float,
)
_LEFT_LUNG = (
    xy(
        "148,92 160,87 178,83 198,85 216,93 227,108 230,128 226,150 216,167 203,177 186,181 170,178 160,168 "
        "152,158 140,140 138,110"
    ),
    xy(
        "138,92 155,86 175,84 196,90 212,103 221,122 220,145 211,166 198,180 184,187 165,191 150,189 138,178 "
        "131,164 128,140 128,108"
    ),
    xy(
        "140,94 152,91 168,89 185,92 201,106 211,123 211,143 205,161 196,173 182,183 166,191 150,196 134,190 "
        "126,176 124,152 126,115"
    ),
)
_RIGHT_LUNG = (
    xy(
        "112,111 98,112 80,113 62,119 46,132 35,149 31,167 34,188 "
        "48,207 72,221 98,221 117,207 126,190 126,170 118,140"
    ),
    xy(
        "92,116 82,121 66,125 50,133 36,146 27,160 27,178 36,198 "
        "52,212 70,220 88,214 101,203 108,188 110,172 104,150"
    ),
    xy(
        "72,128 64,130 54,136 44,142 36,150 30,162 30,178 38,196 "
        "52,208 66,216 76,212 84,204 88,192 88,178 80,150"
    ),
)
_LIVER = (
    xy(
        "10,146 26,140 45,132 62,126 78,122 91,117 99,131 106,145 "
        "98,152 86,160 77,168 72,183 63,198 48,206 30,200 8,180"
    ),
    xy(
        "8,140 30,130 52,122 70,119 86,113 100,110 114,112 124,124 "
        "128,140 122,153 108,159 92,160 84,178 66,205 36,205 6,178"
    ),
)


@cache
def _lung_vessels():
    """Vessels of the lungs: rows of x, y, u, direction in the plane, half-length, radius, reach in u."""
    rng = np.random.default_rng(1628)
    n = 3000
    hilum = np.where(rng.random((n, 1)) < 0.5, (164.0, 142.0), (108.0, 150.0))
    distance = 5 + rng.exponential(42.0, n)
    way = rng.uniform(0, 2 * np.pi, n)
    place = hilum + distance[:, None] * np.stack([np.cos(way), np.sin(way)], axis=1)
    u = rng.uniform(-58, 58, n)
    # Vessels run from the hilum outwards and thin out.
    towards = way + rng.normal(0, 0.55, n)
    radius = np.clip(rng.gamma(2.6, 0.42, n) * np.exp(-distance / 70) * 1.7, 0.45, 3.0)
    length = rng.gamma(1.4, 1.4, n) + radius
    long = rng.random(n) < 0.22
    length, radius = np.where(long, 3 + 1.7 * length, length), np.where(long, 0.5 * radius + 0.3, radius)
    reach = rng.uniform(2.0, 5.5, n)
    # None in the front edge of the left lung
    return np.column_stack([place, u, towards, length, radius, reach])[
        (place[:, 0] < 132) | (place[:, 1] > 112)
    ]


@cache
def _liver_vessels():
    """Vessels of the liver, as :func:`_lung_vessels`."""
    rng = np.random.default_rng(1654)
    n = 420
    place = rng.uniform((18, 112), (126, 204), (n, 2))
    towards = np.arctan2(place[:, 1] - 150, place[:, 0] - 95) + rng.normal(0, 0.6, n)
    radius = rng.gamma(3.0, 0.25, n) + 0.35
    length = radius + rng.gamma(1.2, 1.6, n)
    return np.column_stack([place, rng.uniform(-58, 30, n), towards, length, radius, rng.uniform(2, 5, n)])


def vessels_at(u, vessels):
    """Outlines (m, 14, 2) of small vessels cut by the plane at height `u`."""
    x, y, middle, towards, length, radius, reach = vessels.T
    near = 1 - np.abs(u - middle) / reach
    met = near > 0
    size = np.sqrt(near[met])
    centre = np.stack([x, y], axis=1)[met]
    return ellipse(centre, length[met] * size, radius[met] * size, towards[met], 14)


def chest(u, slice_name):
    """Draw what does not beat on the plane at height `u`.

    Returns
    -------
    plane : (1, 256, 256) array
        Signal, negative where opposed.
    vessels : (1, 256, 256) array
        Signal of the small vessels, to be brightened by fresh blood.
    cage : (1, 256, 256) array
        1 inside of the wall of the chest.
    """
    keys = (50, 0, -50)
    shape = (1, *SHAPE)
    plane = np.zeros(shape)
    control = along_stack(u, keys, *_SKIN)
    skin = closed_curve(control)
    thickness = np.interp(np.arange(len(skin)), np.arange(0, len(skin), 6), _SKIN_FAT, period=len(skin))
    angle = 2 * np.pi * np.arange(len(skin)) / len(skin)
    thickness = 0.8 * thickness + 0.7 * np.sin(9 * angle + 0.04 * u) + 0.4 * np.sin(23 * angle - 0.06 * u)
    paint(plane, skin, SKIN)
    fat = FAT * np.where(np.mgrid[: SHAPE[0], : SHAPE[1]][0] > OPPOSED_BELOW, -1, 1)
    paint(plane, inset(skin, 0.5), fat)
    grain = smooth_field(slice_name, 1.3)
    streaks = smooth_field(slice_name + " streaks", (1.2, 4.0))
    muscle = MUSCLE * (1 + 0.08 * grain + 0.08 * streaks)
    paint(plane, inset(skin, thickness + 0.5), muscle)
    # Fasciae: a thin dark one in the fat of the back, and fat between the layers of the muscles
    path = inset(skin, 0.55 * thickness + 0.4)[108:142]
    paint(plane, ribbon(path, [0.0, 0.35, 0.5, 0.3, 0.5, 0.0]), 0.0)
    for depth, first, last in ((10.0, 112, 132), (12.5, 98, 116), (9.5, 64, 80), (8.0, 14, 30)):
        path = inset(skin, depth + 1.6 * np.sin(5 * angle + depth + 0.05 * u))[first:last]
        paint(plane, ribbon(path, [0.1, 0.6, 0.3, 0.7, 0.1]), 0.75 * np.abs(fat))

    left = closed_curve(along_stack(u, keys, *_LEFT_LUNG))
    right = closed_curve(along_stack(u, keys, *_RIGHT_LUNG))
    ribs, marrow = [], []
    for outside, centres in (
        (inset(left, -4.2), (9, 25, 40, 52)),
        (inset(skin, thickness + 5.5), (8, 27, 124)),
    ):
        for k, at in enumerate(centres):
            # Ribs slope, so that a plane cuts them aslant and farther back from slice to slice.
            middle = int(at + 0.12 * u + 3 * np.sin(1.9 * k + u / 23))
            path = np.roll(outside, -middle, axis=0)[:10]
            ribs.append(ribbon(path, [0.5, 2.2, 2.4, 2.2, 0.5]))
            marrow.append(ribbon(path[1:-1], [0.2, 1.2, 1.4, 1.2, 0.2]))
    paint(plane, np.stack(ribs), CORTEX + 9)
    paint(plane, np.stack(marrow), MARROW + 8)
    # Fat of the mediastinum in front of the heart
    front = closed_curve(along_stack(u, keys, *_FRONT_FAT))
    paint(plane, front, HEART_FAT * (0.62 + 0.2 * grain + 0.25 * streaks))
    paint(plane, left, LUNG)
    paint(plane, right, LUNG)

    sternum = along_stack(u, keys, (114, 99), (107, 104), (104, 104))
    turn = -0.45
    paint(plane, ellipse(sternum, 10.0, 4.2, turn), CORTEX + 9)
    paint(plane, ellipse(sternum, 8.6, 2.9, turn), MARROW + 6 * np.sin(u / 15))
    for k, offset in enumerate(((11, -6.5), (19, -10.5), (-13, 2.6))):
        size = 3.2 + 1.1 * np.sin(u / 13 + 2.1 * k)
        paint(plane, ellipse(sternum + offset, size + 0.8, size + 0.5, turn), 20.0)
        paint(plane, ellipse(sternum + offset, size, size - 0.3, turn), CARTILAGE)

    brightness = np.maximum(0.38 + 0.24 * smooth_field("vessel brightness", 9.0), 0) * BLOOD
    lungs = np.maximum(cover(shape, left), cover(shape, right))
    vessels = cover(shape, vessels_at(u, _lung_vessels())) * lungs * brightness
    plane += vessels

    liver_size = np.interp(-u, [-26, -21, -12, 2], [0, 0.42, 0.78, 1])
    if liver_size > 0:
        liver = along_stack(u, (0, -50), *_LIVER)
        liver = closed_curve((liver - (44, 168)) * liver_size + (44, 168))
        paint(plane, inset(liver, -0.9), 14.0)
        texture = 1 + 0.06 * grain + 0.05 * smooth_field(slice_name + " liver", 5.0)
        tubes = cover(shape, vessels_at(u, _liver_vessels()))
        tubes = tubes * np.clip(44.0 + 30.0 * smooth_field("liver vessels", 8.0), 6, None)
        paint(plane, liver, (LIVER * texture + tubes) * np.clip((28 - u) / 16, 0.3, 1))
        # The gap between the lobes, with the falciform ligament
        gap = open_curve(
            along_stack(u, (0, -50), xy("79,121 75,136 71,150 73,166"), xy("62,120 59,136 57,150 61,164"))
        )
        for wide, value in ((2.6, 36.0), (1.4, 20.0)) if u < 12 else ():
            paint(plane, ribbon(gap, np.multiply([0.2, 0.8, 1.0, 1.1, 0.6], wide)), value)
        if u < 12:
            vein = np.clip((12 - u) / 10, 0, 1)
            cava = along_stack(u, (10, 0, -50), (101, 153), (98, 154), (83, 170))
            for end in ((-26, 16), (-32, 2), (-14, -20)):
                path = open_curve(np.array([cava, cava + np.multiply(end, 0.5) + (2, 1), cava + end]))
                paint(plane, ribbon(path, np.multiply([3.6, 2.2, 0.8], vein)), 74.0)
            paint(plane, ellipse(cava, 9.4 * vein, 6.6 * vein, -0.5), 40.0)
            paint(plane, ellipse(cava, 8.6 * vein, 5.8 * vein, -0.5), BLOOD * 1.12)

    spine(plane, u, grain)
    return plane, vessels, cover(shape, inset(skin, thickness + 7.5))


_FRONT_FAT = (
    xy("112,104 124,94 138,88 150,89 156,98 150,108 130,112 116,114"),
    xy("98,112 110,101 124,94 138,89 148,92 150,102 128,108 108,118"),
    xy("104,108 114,101 124,96 136,91 146,93 150,101 134,106 116,112"),
)


def spine(plane, u, grain):
    """Draw vertebra, canal and the muscles and joints behind, in place."""
    middle = along_stack(u, (50, 0, -50), (137, 175), (119, 183), (104, 188))
    paint(plane, ellipse(middle + (4, 14), 26, 17, -0.45), MUSCLE * (0.9 + 0.14 * grain))
    disc = np.cos(2 * np.pi * (u + 6) / 26)  # vertebrae and discs repeat every 26 mm
    paint(plane, ellipse(middle, 12.9, 10.6, -0.3), CORTEX + 8)
    paint(plane, ellipse(middle, 12.2, 9.9, -0.3), MARROW * (0.9 + 0.24 * disc + 0.14 * grain))
    canal = middle + (7.0, 13.5)
    paint(
        plane,
        ellipse(canal + (1, 3), 18, 10, -0.4),
        24 + 17 * smooth_field(f"joints {round(u / 4)}", 1.5)[None],
    )
    for k in range(5):
        spot = canal + np.array(
            [14.5 * np.cos(k * 1.3 + 0.3 + u / 40), 3 + 9.5 * np.sin(k * 1.3 + 0.3 + u / 40)]
        )
        size = 2.0 + 1.4 * np.sin(u / 7 + 2.3 * k)
        paint(
            plane, ellipse(spot, size, 0.8 + 0.4 * size, 0.9 * k - 0.5), FAT * (0.4 + 0.2 * np.sin(u / 9 + k))
        )
    paint(plane, ellipse(canal, 8.6, 6.2, -0.35), CORTEX + 6)
    paint(plane, ellipse(canal, 7.2, 4.9, -0.35), FLUID)
    paint(plane, ellipse(canal + (0.9, 1.1), 4.2, 2.6, -0.35), CORD)
    tip = canal + (6, 14)
    paint(plane, ribbon(np.array([canal + (3, 8), tip]), [2.8, 1.8]), CORTEX + 6)


# ---------------------------------------------------------------------------------------------- the heart

ORIGIN = (70, 80)  # x and y of the first pixel of the part of the image that is drawn anew for each frame
WINDOW = (slice(80, 184), slice(70, 190))


def heart(u, shift, background, cage, blood, grain):
    """Draw the beating heart on the plane at height `u`.

    Parameters
    ----------
    u : float
        Height in mm.
    shift : (2,) array
        Displacement in pixels.
    background : (1, rows, columns) array
        The chest in the part `WINDOW`.
    cage : (1, rows, columns) array
        1 inside of the wall of the chest, against which the heart lies flat.
    blood : (frames or 1, rows, columns) array
        Signal of the blood.
    grain : (frames or 1, rows, columns) array
        Relative unevenness of the muscle.

    Returns
    -------
    canvas : (frames, rows, columns) array
        Signal.
    lv : (frames, rows, columns) array
        Part of each pixel that belongs to the cavity of the left ventricle.
    wall : (frames, rows, columns) array
        Part that belongs to its wall.
    rv : (frames, rows, columns) array
        Part that belongs to the cavity of the right ventricle.
    """
    frames = len(EMPTYING)
    canvas = np.repeat(background, frames, axis=0)
    centre = lv_axis(u) + shift
    endocardium, epicardium, s = lv_section(u)
    rest_u = u - (base_height() - BASE_MM)  # the height that passes here when the base has come down
    myocardium = MYOCARDIUM * (1 + 0.08 * grain)
    sponge = smooth_field(f"sponge {round(u / 6)}", (1.6, 2.4), canvas.shape[1:])[None]
    swell = 1 + 0.07 * EMPTYING  # atria fill while the ventricles empty

    def draw(outlines, value):
        outlines = np.asarray(outlines, float)
        if outlines.ndim == 3:
            outlines = outlines[:, None]
        paint(canvas, outlines, value, ORIGIN)

    def chamber(shapes, wall, value, grow=swell):
        """A thin-walled chamber from outlines at given heights above the base at rest."""
        control = along_stack(rest_u, *shapes) + shift
        middle = control.mean(axis=1, keepdims=True)
        size = grow * np.clip((rest_u - shapes[0][-1] + 4) / 4, 0, 1)
        outline = closed_curve((control - middle) * size[:, None, None] + middle)
        outer = inset(outline, -wall * np.minimum(size, 1)[:, None])
        draw(middle + (outer - middle) * (size > 0.95)[:, None, None], myocardium)
        draw(outline, value)

    aorta = along_stack(u, (50, 20, 0, -50), (155, 156), (143, 165), (128, 170.5), (112, 168)) + 0.3 * shift
    beat = 1 + 0.03 * np.interp(np.arange(frames), [0, 3, 6, 12, 20], [0, 0.6, 1, 0.3, 0])
    half = np.interp(-u, [-50, 0, 50], [7.4, 7.6, 8.2]), np.interp(-u, [-50, 0, 50], [7.0, 5.6, 6.0])
    centre_of_aorta = np.repeat(aorta[None], frames, axis=0)
    draw(ellipse(centre_of_aorta, half[0] * beat + 1.1, half[1] * beat + 1.1, 0.0, 32), 26.0)
    draw(ellipse(centre_of_aorta, half[0] * beat, half[1] * beat, 0.0, 32), blood * 1.06)

    # Fat in the groove between atria and ventricles
    if u > 8:
        size = np.interp(rest_u, [10, 30, 60], [0.80, 1.0, 1.02])
        groove = closed_curve(
            xy("92,118 108,104 130,96 152,97 166,112 168,134 158,154 138,160 112,158 93,142")
        )
        middle = np.array([130.0, 130.0])
        draw((groove - middle) * size[:, None, None] + middle + shift, HEART_FAT * (0.8 + 0.12 * grain))

    rv, rv_wall, rv_fat, rv_smooth = rv_section(u, centre, epicardium)
    draw(below_base(rv_fat, u, centre, 6), HEART_FAT * (0.75 + 0.3 * sponge))
    epicardial = around(centre, epicardium)
    patch = np.clip(0.2 + 1.3 * np.cos(5 * ANGLES + u / 9) + 0.8 * np.cos(3 * ANGLES - u / 14), 0, 3)
    lv_fat = around(centre, np.where(epicardium > 0, epicardium + patch, 0))
    draw(below_base(lv_fat, u, centre), HEART_FAT * 0.7)

    if u > 22:
        outflow = (
            (55, 40, 24),
            xy("116,113 124,105 138,99 152,98 159,104 156,112 144,115 128,117"),
            xy("116,114 124,106 136,100 148,99 157,104 154,110 142,112 126,116"),
            xy("118,110 126,104 136,101 146,101 152,104 148,108 138,108 126,112"),
        )
        chamber(outflow, 1.0, blood * 0.9, 1 - 0.12 * EMPTYING)
    draw(below_base(rv_wall, u, centre, 6), myocardium)
    if u > 6:  # the right atrium, whose wide valve shows no border to the ventricle
        right_atrium = (
            (50, 28, 12),
            xy("101,114 112,118 121,128 122,142 113,152 101,154 92,147 89,133 92,121"),
            xy("97,112 110,116 118,128 119,143 110,155 96,157 86,149 83,134 87,120"),
            xy("95,124 105,126 112,136 112,148 105,156 95,157 88,151 86,142 88,131"),
        )
        chamber(right_atrium, 0.8, blood * 0.86)
    draw(below_base(rv, u, centre, 6), blood * RV_BLOOD * (1 + 0.05 * sponge))
    draw(_rv_strands(u, rv), myocardium)

    if u > 22:
        left_atrium = (
            (58, 44, 32),
            xy("126,137 138,134 150,132 158,121 165,119 166,134 161,148 148,154 134,155 126,148"),
            xy("130,138 140,136 152,132 159,123 164,126 164,138 158,149 147,154 136,154 130,147"),
            xy("140,146 145,143 152,140 156,136 159,138 159,144 155,149 150,152 144,153 140,150"),
        )
        chamber(left_atrium, 0.7, blood * 0.86)
        for bend, end, wide in (((168, 134), (181, 127), 2.6), ((164, 148), (172, 155), 1.9)):
            open_part = np.clip((rest_u - 45) / 8, 0, 1)[:, None, None]
            vein = ribbon(open_curve(np.array([(158, 141), bend, end])), [1.2 * wide, wide, 0.4 * wide])
            draw((vein - (160, 139)) * open_part + (160, 139), blood * 0.72)
    # Above the mitral plane the same tube is atrium and outflow tract: blood within a thin wall.
    above = (np.abs(u - base_height()) < 6.5)[:, None]
    draw(around(centre, np.where(above, endocardium + 0.7, 0)), myocardium)
    draw(around(centre, np.where(above, endocardium, 0)), blood * 0.97)
    outer = below_base(epicardial, u, centre)[:, None]
    smooth = below_base(around(centre, endocardium), u, centre)[:, None]
    wall, lv = (cover(canvas.shape, outline, ORIGIN) for outline in (outer, smooth))
    draw(outer, myocardium * _near_lung(canvas.shape))
    border, strands = muscles_inside(u, centre, endocardium, s)
    draw(below_base(border, u, centre), blood)
    draw(strands[:, :6], myocardium)
    # Trabeculae are thinner than the plane is thick and drawn half open, and only as far as the cavity goes.
    canvas += 0.8 * lv * cover(canvas.shape, strands[:, 6:], ORIGIN) * (myocardium - canvas)
    leaflets(draw, u, centre, blood)
    grooves(draw, u, rest_u, centre, shift, epicardium, blood)

    if u > 26:  # root of the aorta, wedged between the atria and the outflow tract
        open_part = np.clip((rest_u - 45) / 1.5, 0, 1)
        root = np.array([131.0, 124.5]) + shift + np.outer(EMPTYING, (-0.5, -0.5))
        draw(ellipse(root, 11.6 * open_part, 11.0 * open_part, 0.0, 32), myocardium * 0.9)
        draw(ellipse(root, 9.6 * open_part, 9.1 * open_part, 0.0, 32), blood * 1.03)

    rv_mask = cover(canvas.shape, below_base(rv_smooth, u, centre)[:, None], ORIGIN)
    canvas = background + cage * (canvas - background)
    return canvas, lv, np.clip(wall - lv, 0, 1), cage * np.clip(rv_mask - wall, 0, 1)


@cache
def _near_lung(shape):
    """Loss of signal (1, rows, columns) where the wall borders on the lung, whose air disturbs the field."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    towards = ((x + ORIGIN[0] - 139) * 0.85 + (y + ORIGIN[1] - 131) * 0.5) / 30
    return 1 - 0.26 * np.clip(towards, 0, 1)[None] ** 1.5


def _rv_strands(u, cavity):
    """Outlines (frames, m, n, 2) of trabeculae and the moderator band of the right ventricle."""
    rng = np.random.default_rng(1953)
    n = 42
    part = rng.uniform(0.06, 0.94, n)
    depth = 0.75 * rng.uniform(0.0, 1.0, n) ** 1.8
    middle, reach = rng.uniform(-40, 36, n), rng.uniform(7, 20, n)
    length, thick = rng.uniform(0.9, 4.2, n), rng.uniform(0.45, 1.0, n)
    turn = rng.uniform(0, np.pi, n)
    size = np.sqrt(np.clip(1 - np.abs(u - middle) / reach, 0, 1))
    half = cavity.shape[1] // 2
    index = np.rint(part * (half - 1)).astype(int)
    outer, inner = cavity[:, index], cavity[:, -1 - index]
    place = outer + depth[:, None] * (inner - outer)
    narrow = np.clip(np.hypot(*(inner - outer).T).T / 8, 0, 1)
    return ellipse(place, size * length * narrow, size * thick * narrow, turn, 12)


def grooves(draw, u, rest_u, centre, shift, epicardium, blood):
    """Draw the grooves between the chambers: fat, and in it a coronary artery with its vein."""
    if -42 < u < 36:
        for angles, half_x, half_y in (((-86, -60, -55), 4.4, 2.4), ((150, 148, 155), 3.4, 2.0)):
            angle = np.deg2rad(np.interp(-u, [-45, 0, 45], angles[::-1]))
            edge = np.stack([np.interp(angle, ANGLES, row, period=2 * np.pi) for row in epicardium])
            towards = np.array([np.cos(angle), np.sin(angle)])
            at = centre + (edge / PIXEL_MM + 2.2)[:, None] * towards
            across = angle + np.pi / 2
            beside = np.array([np.cos(across), np.sin(across)])
            draw(ellipse(at, half_x + 0.6, half_y + 0.6, across), MYOCARDIUM * 0.8)
            draw(ellipse(at, half_x, half_y, across), HEART_FAT * 1.1)
            for along, size in ((1.5 * np.sin(u / 8), 1.0), (1.5 * np.sin(u / 8) + 2.4, 0.7)):
                draw(ellipse(at + along * beside, size + 0.5, size + 0.5), MYOCARDIUM)
                draw(ellipse(at + along * beside, size, size), blood)
    if u > 4:  # between the right atrium and ventricle
        open_part = np.clip((rest_u - 10) / 6, 0, 1)[:, None, None]
        start = along_stack(rest_u, (50, 12), (92, 113), (90, 122)) + shift
        wedge = np.array([(-4, -2.5), (1, -4.5), (4.5, 1), (10, 6.5), (3.5, 5), (-1, 4)])
        draw(closed_curve(start[:, None] + wedge * open_part), HEART_FAT * 0.9)
        inner = np.array([(4, 1.5), (9, 6), (13, 8)])
        draw(ribbon(open_curve(start[:, None] + inner), [0.6, 0.5, 0.1]), MYOCARDIUM * 1.2)
        size = 1.5 * open_part[:, 0, 0]
        draw(ellipse(start + (0.5, 0.5), size + 0.6, size + 0.6), MYOCARDIUM)
        draw(ellipse(start + (0.5, 0.5), size, size), blood)


def leaflets(draw, u, centre, blood):
    """Draw the two leaflets of the mitral valve, which hang into the ventricle while it fills."""
    knots = [0, 1, 8, 10, 13, 16, 18, 19], [0.5, 0, 0, 1, 0.6, 0.5, 0.9, 0.6]
    opening = np.interp(np.arange(N_FRAMES), *knots)
    depth = base_height() - u
    size = np.clip(1 - np.abs(depth - 7) / 10, 0, 1)
    across = np.array([np.cos(np.deg2rad(30)), np.sin(np.deg2rad(30))])
    along = np.array([-across[1], across[0]])
    middle = centre + 4.0 * across
    for side, bow in ((-1, 4.5), (1, 3.2)):
        t = np.linspace(-1, 1, 9)
        gap = (0.8 + bow * opening)[:, None] * (1 - t**2)
        path = middle[:, None] + (11 * size)[:, None, None] * t[:, None] * along
        path = path + (side * gap * size[:, None])[..., None] * across
        draw(ribbon(path, [0.25, 0.5, 0.55, 0.5, 0.25]), blood * 0.62)


# ---------------------------------------------------------------------------------------------- scanner


def coil_sensitivity():
    """Weight (256, 256) of the signal: strong under the coils on the chest and the back, weak in between."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    depth = (80 * (x - 20) + 180 * (y - 140)) / 197  # pixels behind the slanting front of the chest
    near = 0.75 * np.exp(-np.maximum(depth, -4) / 9)
    front = 0.6 * np.exp(-np.maximum(depth, -4) / 45)
    element = 0.62 * np.exp(-((x - 152) ** 2 + (y - 116) ** 2) / (2 * 16**2))
    back = 0.85 * np.exp(np.minimum(depth - 115, 8) / 18)
    side = 0.3 * np.exp(np.minimum(x - 228, 20) / 20)
    return 0.4 + near + front + element + back + side


def flow(k):
    """Signal of the blood (frames, rows, columns) in the heart's window: streams dephase a little."""
    shape = (WINDOW[0].stop - WINDOW[0].start, WINDOW[1].stop - WINDOW[1].start)
    one, two = smooth_field(f"stream {k}", 4.0, shape), smooth_field(f"stream {k + 1}", 4.0, shape)
    phase = 2 * np.pi * np.arange(N_FRAMES) / N_FRAMES
    speed = np.abs(np.gradient(EMPTYING))[:, None, None] / 0.25
    still = smooth_field("still", 9.0, shape)
    stream = one * np.cos(phase)[:, None, None] + two * np.sin(phase)[:, None, None]
    return BLOOD * (1 + 0.015 * still - (0.006 + 0.03 * speed) * np.clip(stream + 0.6, 0, 2.5))


def measure(signal, rng):
    """Measure one slice: cut off in k-space, add noise, keep the magnitude.

    Parameters
    ----------
    signal : (frames, 256, 256) array
    rng : numpy.random.Generator

    Returns
    -------
    (frames, 256, 256) array of uint16
    """
    rows, columns = np.abs(fft.fftfreq(SHAPE[0])) * SHAPE[0], fft.rfftfreq(SHAPE[1]) * SHAPE[1]

    def fermi(k, n):
        blur = np.exp(-2 * (np.pi * BLUR * k / SHAPE[0]) ** 2)
        return blur * (k <= n / 2) / (1 + np.exp((k - 0.475 * n) / (0.018 * n)))

    window = fermi(rows, ACQUIRED[0])[:, None] * fermi(columns, ACQUIRED[1])
    # The noise passes the same window and is made stronger, so that it leaves with the strength of `NOISE`.
    full = np.concatenate([window, window[:, 1:-1]], axis=1)
    noise = rng.standard_normal((2, *signal.shape)) * (NOISE / np.sqrt(np.mean(full**2)))
    real = fft.irfft2(fft.rfft2(signal + noise[0]) * window, SHAPE)
    imaginary = fft.irfft2(fft.rfft2(noise[1]) * window, SHAPE)
    magnitude = np.sqrt(real**2 + imaginary**2)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    edge = 46 + 7 * np.sin(x / 17 + rng.uniform(0, 6)) + 3 * np.sin(x / 5.3) + np.abs(x - 128) * 0.12
    seen = (np.hypot(x - 127.5, y - 127.5) < FIELD_RADIUS) & (y > edge)
    return np.rint(np.clip(magnitude * seen, 0, 255)).astype(np.uint16)


def scan():
    """Draw and measure all slices.

    Returns
    -------
    images : (time, slice, row, column) uint16
    lv : (time, slice, row, column) bool
        Voxels of which more than half belongs to the cavity of the left ventricle.
    wall : (time, slice, row, column) bool
        The same for its wall.
    rv : (time, slice, row, column) bool
        The same for the cavity of the right ventricle.
    """
    shape = (N_FRAMES, N_SLICES, *SHAPE)
    images = np.zeros(shape, np.uint16)
    masks = np.zeros((3, *shape), bool)
    sensitivity = coil_sensitivity()
    shifts = breath_shift()
    fresh = np.interp(np.arange(N_FRAMES), [0, 3, 6, 9, 14, 20], [0, 0.5, 0.6, 0.15, 0, 0])[:, None, None]
    for k, height in enumerate(slice_heights()):
        name = f"slice {k}"
        grain = smooth_field(name, 1.3)[WINDOW][None]
        blood = flow(k)
        still, inflow = np.zeros((1, *SHAPE)), np.zeros((1, *SHAPE))
        beating = np.zeros((N_FRAMES, *grain.shape[1:]))
        parts = np.zeros((3, *beating.shape))
        n = SUBPLANES[k]
        offsets = ((np.arange(n) + 0.5) / n - 0.5) * THICKNESS_MM
        for pair in np.split(offsets, n // 2):  # the chest changes slowly: every other plane does
            plane, vessels, cage = chest(height + pair.mean(), name)
            still += plane * 2 / n
            inflow += vessels * 2 / n
            for offset in pair:
                drawn = heart(height + offset, shifts[k], plane[:, *WINDOW], cage[:, *WINDOW], blood, grain)
                beating += drawn[0] / n
                parts += np.stack(drawn[1:]) / n
        still = np.repeat(still, N_FRAMES, axis=0)
        signal = still + 0.8 * fresh * inflow
        # Vessels brighten wherever the heart does not cover them.
        heartless = np.abs(beating - still[:, *WINDOW]) < 1
        signal[:, *WINDOW] = np.where(heartless, signal[:, *WINDOW], beating)
        images[:, k] = measure(signal * sensitivity, np.random.default_rng([350, k]))
        # Just above one half, so that the last bit of a sum cannot decide on a voxel.
        masks[:, :, k, *WINDOW] = parts > 0.5001
    return images, *masks


# ---------------------------------------------------------------------------------------------- files


def slice_heights():
    """Heights u in mm of the slices, from the base to the apex: (11,)."""
    return STEP_MM * ((N_SLICES - 1) / 2 - np.arange(N_SLICES))


def positions():
    """ImagePositionPatient (11, 3) in mm (LPS) of the slices, from the base to the apex."""
    corner = CENTRE_MM - 128 * PIXEL_MM * (ROW_COSINES + COLUMN_COSINES)
    return np.round(corner - slice_heights()[:, None] * NORMAL, 4)


def true_affine():
    """Affine (4, 4) from (column, row, slice) to RAS+ mm, the first slice at the base.

    DICOM's x and y point to the left and the back, those of RAS+ to the right and the front.
    """
    affine = np.eye(4)
    affine[:3, 0] = ROW_COSINES * PIXEL_MM
    affine[:3, 1] = COLUMN_COSINES * PIXEL_MM
    affine[:3, 2] = NORMAL * STEP_MM
    affine[:3, 3] = positions()[0]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def trigger_times():
    """Time in ms after the R wave of the middle of each frame: (frames, slices)."""
    return np.round((np.arange(N_FRAMES)[:, None] + 0.5) * np.array(RR_MS) / N_FRAMES, 3)


def unique_id(name):
    """DICOM identifier below 2.25 that is always the same for the same name."""
    return pydicom.uid.UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'slicewise/cardiac-cine/' + name).int}")


def dataset(k):
    """DICOM data set with all that the images of slice `k`, counted from the base, have in common."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = unique_id("implementation")
    meta.ImplementationVersionName = "SLICEWISE"
    ds = pydicom.dataset.Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20090515"
    ds.StudyTime, ds.SeriesTime = "103005", "104512"
    ds.AcquisitionTime = ds.ContentTime = f"10{46 + k:02d}20"  # a breath-hold a minute
    ds.AccessionNumber = ""
    ds.Modality = "MR"
    ds.Manufacturer = "Slicewise"
    ds.ManufacturerModelName = "Simulated scanner"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Simulated heart"
    ds.SeriesDescription = "Simulated cine MR, short axis"
    ds.PatientName = "Simulated^Heart"
    ds.PatientID = "SIMULATED"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.PatientWeight = 78
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Simulated: there is no patient"
    ds.BodyPartExamined = "HEART"
    ds.ScanningSequence = "GR"
    ds.SequenceVariant = "SS"
    ds.ScanOptions = "CG"  # cardiac gating
    ds.MRAcquisitionType = "2D"
    ds.SliceThickness = THICKNESS_MM
    ds.RepetitionTime = 3.4
    ds.EchoTime = 1.7
    ds.NumberOfAverages = 1
    ds.ImagingFrequency = 63.87
    ds.ImagedNucleus = "1H"
    ds.MagneticFieldStrength = 1.5
    ds.SpacingBetweenSlices = STEP_MM
    ds.EchoTrainLength = 1
    ds.SoftwareVersions = "1"
    ds.NominalInterval = RR_MS[k]
    ds.HeartRate = round(60000 / RR_MS[k])
    ds.CardiacNumberOfImages = N_FRAMES
    ds.ReconstructionDiameter = 350
    ds.AcquisitionMatrix = [ACQUIRED[1], 0, 0, ACQUIRED[0]]
    ds.InPlanePhaseEncodingDirection = "COL"
    ds.FlipAngle = 45
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = unique_id("study")
    ds.SeriesInstanceUID = unique_id("series")
    ds.StudyID = "1"
    ds.SeriesNumber = 9
    ds.AcquisitionNumber = k + 1
    ds.ImagePositionPatient = [f"{value:.4f}" for value in positions()[k]]
    ds.ImageOrientationPatient = [f"{value:.6f}" for value in (*ROW_COSINES, *COLUMN_COSINES)]
    ds.FrameOfReferenceUID = unique_id("frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.SliceLocation = f"{positions()[k] @ NORMAL:.3f}"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = SHAPE
    ds.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.WindowCenter, ds.WindowWidth = 90, 180
    return ds


def put_image(ds, image, k, frame):
    """Put an image (256, 256) of slice `k` and what belongs to its frame into a data set, in place."""
    ds.InstanceNumber = k * N_FRAMES + frame + 1
    ds.SOPInstanceUID = unique_id(f"image {ds.InstanceNumber}")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.TriggerTime = f"{trigger_times()[frame, k]:.3f}"
    ds.PixelData = image.astype("<u2").tobytes()


def make(folder):
    """Write the stack and its truth.

    Parameters
    ----------
    folder : path
        Made if need be. It gets a folder `SIM_000` to `SIM_010` for each slice, whose numbers do not follow
        the position, with twenty `SIM_MR_….dcm` each, and `truth.npz` (see :func:`load_truth`).
    """
    folder = Path(folder)
    images, lv, wall, rv = scan()
    for k, number in enumerate(FOLDERS):
        of_slice = folder / f"SIM_{number:03d}"
        of_slice.mkdir(parents=True, exist_ok=True)
        ds = dataset(k)
        for frame in range(N_FRAMES):
            put_image(ds, images[frame, k], k, frame)
            ds.save_as(of_slice / f"SIM_MR_{ds.InstanceNumber:03d}.dcm", enforce_file_format=True)
    centres = [lv_axis(u) + shift for u, shift in zip(slice_heights(), breath_shift(), strict=True)]
    np.savez(
        folder / "truth.npz",
        lv_mask=np.packbits(lv, axis=-1),
        myocardium=np.packbits(wall, axis=-1),
        rv_mask=np.packbits(rv, axis=-1),
        volume_ml=true_volumes(),
        voxel_volume_ml=lv.sum(axis=(1, 2, 3)) * PIXEL_MM**2 * STEP_MM / 1000,
        lv_centre=np.stack(centres, axis=1)[..., ::-1],
        trigger_time_ms=trigger_times(),
        affine=true_affine(),
        folders=np.array([f"SIM_{number:03d}" for number in FOLDERS]),
    )


def load_truth(folder):
    """Read what is known of the simulated heart.

    Parameters
    ----------
    folder : path
        The folder of the stack.

    Returns
    -------
    dict
        - ``lv_mask``, (20, 11, 256, 256) bool, (time, slice, row, column), the first slice at the base:
          voxels of which more than half belongs to the blood of the left ventricle. Papillary muscles and
          trabeculae count as blood, as is the custom when volumes are measured; the ventricle ends at the
          plane of the mitral valve;
        - ``myocardium``: the same for the left ventricle's wall;
        - ``rv_mask``: the same for the blood of the right ventricle;
        - ``volume_ml``, (20,): volume of the left ventricle by the smooth model, in ml;
        - ``voxel_volume_ml``, (20,): by the voxels of ``lv_mask``, each as high as the step between slices;
        - ``end_diastolic_ml``: the largest of ``volume_ml``;
        - ``end_systolic_ml``: the smallest of them;
        - ``stroke_volume_ml``: their difference;
        - ``ejection_fraction``: that by the largest, from 0 to 1;
        - ``lv_centre``, (20, 11, 2): row and column where the ventricle's long axis meets each slice;
        - ``trigger_time_ms``, (20, 11): time after the R wave, in ms;
        - ``affine``, (4, 4): from (column, row, slice) to RAS+ mm;
        - ``folders``: list of the slices' folders, from the base to the apex.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        truth = {name: stored[name] for name in stored.files}
    for name in ("lv_mask", "myocardium", "rv_mask"):
        truth[name] = np.unpackbits(truth[name], axis=-1).astype(bool)
    volume = truth["volume_ml"]
    truth["end_diastolic_ml"] = float(volume.max())
    truth["end_systolic_ml"] = float(volume.min())
    truth["stroke_volume_ml"] = float(volume.max() - volume.min())
    truth["ejection_fraction"] = float(1 - volume.min() / volume.max())
    truth["folders"] = truth["folders"].tolist()
    return truth

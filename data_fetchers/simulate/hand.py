"""A simulated radiograph of a child's left hand and wrist, postero-anterior, with its truth.

The hand is a set of closed outlines in millimetres, one for each bone, epiphysis and carpal, drawn in the
plane of the detector. Each outline is inflated to a solid: its thickness along the beam rises from the edge
as that of a rounded body does, and varies along the axis of the bone. A shell of compact bone, thick at the
shaft and thin at the ends, encloses trabecular bone or marrow. The skin is an outline too, with fat below
it. The thicknesses give the beam behind the hand (Beer–Lambert, four energies), to which scatter, blur and
quantum noise are added before the plate's reader takes the logarithm, enhances edges and rounds to 8 bits.

What is modelled: bones with cortex, growth plates and joints; skin, fat and muscle; a marker of lead in an
aluminium holder; spectrum and beam hardening; heel effect; scatter; blur of focal spot and plate; quantum
noise; dust and scratches on the plate; the response of plate and reader. What is not: the divergence
of the beam, tendons, sesamoids, nails.

Points are (x, y) in mm from the upper left corner of the image, x to the right, y down; images are indexed
(row, column). The hand points up, its thumb to the right: +x is radial, -y distal.

Written files: ``hand.png``, ``truth.npz``.

Sources
-------
Attenuation: Hubbell & Seltzer, NIST Standard Reference Database 126, doi 10.18434/T4D01F, table 4 (ICRU-44
tissues) and table 3 (metals). Order of ossification and shape of the epiphyses: Greulich & Pyle, Radiographic
Atlas of Skeletal Development of the Hand and Wrist (1959), standards of about 12 years; lengths and widths of
the bones and the thickness of the soft tissue: chosen to look like those, in plausible proportion.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from data_fetchers.simulate.png import png

SEED = 20171
SHAPE = (480, 320)
PIXEL_MM = 0.45  # of the plate, about 14 cm × 22 cm
FINE = 4  # the scene is drawn with FINE × FINE points per pixel
STEP_MM = PIXEL_MM / FINE

# Energies in keV and the part of the detected signal that each bears, for a tube at 55 kV with 3 mm of
# aluminium: a mean of 37 keV.
ENERGY_KEV = (20, 30, 40, 50)
SPECTRUM = np.array([0.05, 0.37, 0.41, 0.17])
# Linear attenuation per mm at these energies: mass attenuation coefficient in cm²/g [NIST] × density in g/cm³
ATTENUATION = {
    "soft": np.array([0.8230, 0.3790, 0.2688, 0.2264]) * 1.06 / 10,
    "fat": np.array([0.5677, 0.3063, 0.2396, 0.2123]) * 0.95 / 10,
    "bone": np.array([4.001, 1.331, 0.6655, 0.4242]) * 1.92 / 10,
    "aluminium": np.array([3.441, 1.128, 0.5685, 0.3681]) * 2.699 / 10,
    "lead": np.array([86.36, 30.32, 14.36, 8.041]) * 11.35 / 10,
}

SCATTER = 0.10  # scattered to primary radiation behind the thick parts of a hand, without a grid
SCATTER_SIGMA_MM = 9.0
GLARE = 0.018  # what the plate's reader collects from elsewhere; it keeps lead from being infinitely bright
BLUR_SIGMA_MM = 0.14  # focal spot of 0.6 mm (magnified little: the hand lies on the plate) and screen
QUANTA = 4200  # detected per pixel of the open beam

BLACK, LEVELS_PER_NEPER = 24.0, 52.0  # response of the reader: grey level of the open beam, slope
ENHANCE = ((0.45, 5.0), (0.12, 0.7))  # unsharp masking: strength, sigma in mm
SHOULDER, SHOULDER_RANGE = 132.0, 124.0
LOWEST, HIGHEST = 3, 224  # the stored range


class Part(NamedTuple):
    """One piece of bone.

    Attributes
    ----------
    bone : str
        The bone it belongs to.
    outline : (n, 2) array
        Closed, in mm.
    axis : (2, 2) array
        Where the axis begins and ends, in mm. Grain runs along it.
    half_depth : tuple of float
        Half the extent along the beam, in mm, at places spread evenly over the axis.
    cortex : tuple of float
        Thickness of the compact shell in mm, in the same way.
    density : tuple of float
        Part of the trabecular inside that is bone, in the same way.
    rim : float
        Distance from the edge, in mm, at which the full depth is reached.
    grain_mm : float
        Length of the trabeculae along the axis.
    plate : bool
        Growth plate: cartilage that belongs to the bone and has no mineral.
    """

    bone: str
    outline: np.ndarray
    axis: np.ndarray
    half_depth: tuple
    cortex: tuple
    density: tuple
    rim: float
    grain_mm: float = 0.9
    plate: bool = False


# ---------------------------------------------------------------------------------------------- outlines


def xy(points):
    """Read points written "x,y x,y …": (n, 2)."""
    return np.array([pair.split(",") for pair in points.split()], float)


def curve(points, per_span=8, closed=True):
    """Smooth curve (n, 2) through control points (k, 2): a uniform Catmull-Rom spline."""
    points = np.asarray(points, float)
    ends = [points[-1:], points[:2]] if closed else [points[:1], points[-1:]]
    padded = np.concatenate([ends[0], points, ends[1]])
    a, b, c, d = (padded[k : len(padded) - 3 + k, None] for k in range(4))
    t = (np.arange(per_span) / per_span)[:, None]
    spans = b + t * ((c - a) / 2 + t * (a - 2.5 * b + 2 * c - d / 2 + t * (1.5 * (b - c) + (d - a) / 2)))
    spans = spans.reshape(-1, 2)
    return spans if closed else np.concatenate([spans, points[-1:]])


def roughen(outline, rng, amplitude_mm=0.16, waves=(2, 14)):
    """Closed outline (n, 2), moved by a smooth random field, so that no bone is regular."""
    phase = 2 * np.pi * np.arange(len(outline)) / len(outline)
    shift = np.zeros_like(outline)
    for k in range(*waves):
        size = amplitude_mm / k**0.75
        for axis in (0, 1):
            shift[:, axis] += size * rng.standard_normal() * np.cos(k * phase + rng.uniform(0, 2 * np.pi))
    return outline + shift


def heading(angle_deg):
    """Unit vectors along and across (to the thumb), for an angle from straight up towards the thumb."""
    angle = np.deg2rad(angle_deg)
    return np.array([np.sin(angle), -np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])


def placed(points, origin, angle_deg, along_mm, across_mm):
    """Points (n, 2) of a template (along, across) in mm of the image."""
    along, across = heading(angle_deg)
    points = np.asarray(points, float) * [along_mm, across_mm]
    return np.asarray(origin) + points[:, :1] * along + points[:, 1:] * across


# Templates: (along, across), along from 0 at the proximal end to 1 at the distal one, across in half widths
# of the base, + towards the thumb.
_SHAFTS = {
    # Base flared and nearly flat, waist, head with two condyles.
    "proximal": xy(
        "0.004,0.05 -0.006,-0.45 0,-0.82 0.035,-0.95 0.12,-0.85 0.24,-0.73 0.40,-0.66 0.57,-0.62 0.72,-0.625 "
        "0.83,-0.67 0.91,-0.72 0.96,-0.70 0.992,-0.55 1,-0.32 0.992,0 0.996,0.28 0.99,0.52 0.955,0.69 "
        "0.90,0.71 0.82,0.66 0.69,0.60 0.54,0.60 0.38,0.65 0.22,0.76 0.11,0.89 0.04,0.97 0.002,0.85 0,0.5"
    ),
    "middle": xy(
        "0.005,0 -0.006,-0.45 0.002,-0.84 0.05,-0.97 0.15,-0.87 0.29,-0.74 0.45,-0.66 0.60,-0.625 0.73,-0.65 "
        "0.84,-0.73 0.92,-0.79 0.97,-0.74 1,-0.5 0.992,-0.2 0.984,0.05 0.988,0.3 0.992,0.56 0.96,0.75 "
        "0.90,0.79 0.82,0.71 0.70,0.61 0.56,0.60 0.41,0.65 0.26,0.77 0.13,0.91 0.05,0.98 0,0.86 -0.005,0.45"
    ),
    # The last phalanx ends in a tuft.
    "distal": xy(
        "0.01,0 -0.008,-0.5 0.004,-0.86 0.06,-0.95 0.17,-0.80 0.31,-0.66 0.46,-0.56 0.60,-0.53 0.70,-0.62 "
        "0.78,-0.75 0.86,-0.77 0.93,-0.66 0.98,-0.42 1,-0.12 0.99,0.2 0.96,0.5 0.90,0.70 0.82,0.78 0.75,0.71 "
        "0.68,0.58 0.58,0.52 0.45,0.56 0.30,0.67 0.16,0.82 0.06,0.96 0.004,0.86 -0.008,0.45"
    ),
    "distal thumb": xy(
        "0.01,0 -0.008,-0.5 0.004,-0.86 0.06,-0.96 0.17,-0.84 0.32,-0.68 0.48,-0.57 0.64,-0.50 0.76,-0.50 "
        "0.85,-0.54 0.92,-0.52 0.97,-0.40 1,-0.1 0.99,0.15 0.96,0.40 0.90,0.53 0.83,0.54 0.74,0.47 "
        "0.62,0.47 0.47,0.55 0.31,0.68 0.16,0.85 0.06,0.97 0.004,0.86 -0.008,0.45"
    ),
    # Metacarpals 2 to 5: carpal base of its own shape, slender shaft, flared end below the head's plate.
    "metacarpal 2": xy(
        "0.035,0.05 0.012,-0.35 -0.012,-0.75 0.02,-1.00 0.08,-0.95 0.16,-0.74 0.27,-0.55 0.42,-0.45 "
        "0.58,-0.45 0.72,-0.50 0.85,-0.63 0.93,-0.74 0.988,-0.69 0.994,-0.36 1.0,0.04 0.994,0.40 0.99,0.71 "
        "0.93,0.77 0.84,0.66 0.72,0.54 0.57,0.48 0.42,0.48 0.28,0.58 0.18,0.75 0.10,0.92 0.045,0.98 "
        "0.01,0.80 0.02,0.40"
    ),
    "metacarpal 3": xy(
        "0.005,-0.10 0.006,-0.60 0.03,-0.93 0.09,-0.97 0.17,-0.84 0.27,-0.65 0.41,-0.53 0.57,-0.53 "
        "0.72,-0.59 0.85,-0.76 0.93,-0.89 0.99,-0.82 0.994,-0.40 0.99,0.00 0.994,0.45 0.99,0.83 0.93,0.92 "
        "0.84,0.77 0.72,0.61 0.57,0.55 0.41,0.55 0.27,0.66 0.16,0.86 0.08,0.99 0.01,1.00 -0.03,0.86 "
        "-0.012,0.50"
    ),
    "metacarpal 4": xy(
        "0,0 -0.004,-0.55 0.02,-0.92 0.07,-0.98 0.15,-0.82 0.26,-0.64 0.40,-0.54 0.57,-0.53 0.72,-0.61 "
        "0.85,-0.81 0.93,-0.93 0.985,-0.88 0.995,-0.45 1.0,0 0.994,0.5 0.985,0.87 0.93,0.93 0.84,0.77 "
        "0.72,0.61 0.57,0.54 0.40,0.54 0.28,0.64 0.17,0.84 0.08,1.0 0.025,0.95 0.0,0.55"
    ),
    "metacarpal 5": xy(
        "0.0,0.20 0.035,-0.40 0.075,-0.93 0.13,-1.07 0.20,-0.88 0.30,-0.63 0.43,-0.52 0.58,-0.50 0.72,-0.56 "
        "0.85,-0.74 0.93,-0.88 0.99,-0.82 0.994,-0.40 0.99,0.00 0.994,0.45 0.99,0.80 0.93,0.85 0.84,0.71 "
        "0.72,0.57 0.57,0.49 0.42,0.48 0.28,0.56 0.16,0.76 0.07,0.94 0.01,0.95 -0.012,0.65"
    ),
    "metacarpal 1": xy(
        "0.006,0 -0.004,-0.5 0.008,-0.84 0.045,-0.93 0.13,-0.84 0.25,-0.70 0.40,-0.62 0.56,-0.60 0.70,-0.64 "
        "0.81,-0.73 0.90,-0.79 0.96,-0.70 0.992,-0.42 1.0,0 0.992,0.40 0.96,0.72 0.90,0.83 0.81,0.77 "
        "0.69,0.64 0.55,0.56 0.40,0.57 0.26,0.68 0.14,0.85 0.05,0.97 0.006,0.86 -0.004,0.45"
    ),
}
# Epiphyses, along from 0 to 1 over their own height, the growth plate at 1 (at 0 for metacarpals 2 to 5).
_EPIPHYSES = {
    "proximal": xy(
        "0.98,0 0.95,-0.5 1.0,-0.9 0.78,-1.03 0.3,-1.0 0.02,-0.76 0.14,-0.45 0.30,-0.05 0.24,0.35 0.04,0.66 "
        "0.0,0.88 0.30,1.04 0.76,1.05 1.0,0.92 0.94,0.5"
    ),
    "middle": xy(
        "0.98,0 0.94,-0.5 1.0,-0.88 0.72,-1.0 0.32,-0.97 0.08,-0.72 0.12,-0.36 0.0,0.0 0.10,0.36 0.05,0.72 "
        "0.32,0.98 0.74,1.02 1.0,0.9 0.94,0.5"
    ),
    "distal": xy(
        "0.97,0 0.94,-0.5 1.0,-0.9 0.70,-1.02 0.30,-0.95 0.10,-0.65 0.18,-0.3 0.02,0.05 0.16,0.4 0.08,0.72 "
        "0.30,0.98 0.72,1.03 1.0,0.9 0.93,0.5"
    ),
    "thumb": xy(
        "0.98,0 0.93,-0.5 1.0,-0.9 0.75,-1.02 0.35,-0.98 0.10,-0.66 0.02,-0.3 0.14,0.1 0.16,0.5 0.04,0.82 "
        "0.36,1.03 0.75,1.03 1.0,0.9 0.94,0.5"
    ),
    "head": xy(
        "0.02,0 -0.01,-0.5 0,-0.90 0.12,-1 0.34,-1.02 0.56,-0.99 0.76,-0.87 0.90,-0.64 0.98,-0.32 1,0.02 "
        "0.985,0.38 0.92,0.70 0.78,0.91 0.56,1.02 0.32,1.06 0.12,1.02 0.0,0.88 -0.01,0.45"
    ),
}


class Segment(NamedTuple):
    """A tubular bone: kind of template, epiphysis, its height; length, half width of the base in mm; angle.

    The length includes the epiphysis; the angle is in degrees from straight up towards the thumb.
    """

    name: str
    kind: str
    epiphysis: str
    height: float
    length: float
    half_width: float
    angle: float
    head: float = 1.0  # half width of the epiphysis over that of the base


# Where the proximal end of each metacarpal lies, and the chain of bones from there to the tip.
RAYS = (
    (
        (88.8, 149.5),
        (
            Segment("metacarpal 1", "metacarpal 1", "thumb", 4.6, 35.0, 6.1, 41.0),
            Segment("proximal phalanx 1", "proximal", "thumb", 3.2, 24.5, 5.6, 33.0),
            Segment("distal phalanx 1", "distal thumb", "distal", 2.6, 17.6, 4.8, 38.0),
        ),
    ),
    (
        (74.4, 141.4),
        (
            Segment("metacarpal 2", "metacarpal 2", "head", 8.8, 52.0, 6.9, 13.0, 0.80),
            Segment("proximal phalanx 2", "proximal", "proximal", 3.5, 33.0, 5.9, 20.0),
            Segment("middle phalanx 2", "middle", "middle", 2.6, 18.8, 4.7, 17.0),
            Segment("distal phalanx 2", "distal", "distal", 2.4, 14.2, 3.7, 14.5),
        ),
    ),
    (
        (62.5, 140.4),
        (
            Segment("metacarpal 3", "metacarpal 3", "head", 9.2, 51.4, 5.8, 4.5, 0.95),
            Segment("proximal phalanx 3", "proximal", "proximal", 3.7, 37.0, 6.1, 3.0),
            Segment("middle phalanx 3", "middle", "middle", 2.8, 23.2, 4.9, 0.5),
            Segment("distal phalanx 3", "distal", "distal", 2.5, 15.6, 3.9, 2.0),
        ),
    ),
    (
        (52.4, 141.0),
        (
            Segment("metacarpal 4", "metacarpal 4", "head", 8.0, 45.8, 5.1, -5.0, 0.92),
            Segment("proximal phalanx 4", "proximal", "proximal", 3.4, 34.0, 5.6, -10.5),
            Segment("middle phalanx 4", "middle", "middle", 2.6, 21.8, 4.6, -13.0),
            Segment("distal phalanx 4", "distal", "distal", 2.4, 15.2, 3.7, -10.0),
        ),
    ),
    (
        (44.4, 143.8),
        (
            Segment("metacarpal 5", "metacarpal 5", "head", 7.2, 41.8, 5.4, -14.5, 0.84),
            Segment("proximal phalanx 5", "proximal", "proximal", 3.0, 26.5, 4.8, -29.0),
            Segment("middle phalanx 5", "middle", "middle", 2.2, 15.0, 3.8, -25.5),
            Segment("distal phalanx 5", "distal", "distal", 2.0, 12.6, 3.1, -21.0),
        ),
    ),
)
PLATE_MM = 0.42  # width of a growth plate
JOINT_MM = {"metacarpal": 1.15, "proximal": 0.75, "middle": 0.7}  # cartilage beyond a bone's distal end

# Half depth in half widths, cortex in mm and density, from the proximal to the distal end.
_DEPTH = {
    "metacarpal": (1.05, 0.95, 0.74, 0.68, 0.70, 0.82, 0.95),
    "proximal": (0.92, 0.80, 0.68, 0.62, 0.60, 0.62, 0.66),
    "middle": (0.92, 0.78, 0.64, 0.60, 0.60, 0.62, 0.66),
    "distal": (0.88, 0.70, 0.56, 0.50, 0.46, 0.42, 0.40),
}
_CORTEX = {
    "metacarpal": (0.15, 0.36, 1.05, 1.50, 1.40, 0.58, 0.15),
    "proximal": (0.15, 0.40, 0.95, 1.30, 1.20, 0.54, 0.16),
    "middle": (0.15, 0.38, 0.80, 1.05, 0.95, 0.44, 0.16),
    "distal": (0.15, 0.36, 0.68, 0.74, 0.46, 0.20, 0.15),
}
_DENSITY = (0.31, 0.25, 0.17, 0.13, 0.17, 0.25, 0.30)


def tubular_bones(rng):
    """Metacarpals and phalanges.

    Returns
    -------
    parts : list of Part
    plates : dict
        Bone's name → centre (2,) of its growth plate, in mm.
    joints : list of (5, …) arrays
        For each ray the points along its axis: base, the middle of each joint, the bony tip.
    """
    parts, plates, joints = [], {}, []
    for origin, chain in RAYS:
        here, stations = np.array(origin), [np.array(origin)]
        for bone in chain:
            family = bone.name.split()[0]
            along, _ = heading(bone.angle)
            tip = here + bone.length * along
            width, shaft = bone.half_width, bone.length - bone.height - PLATE_MM
            at_end = bone.epiphysis == "head"
            shaft_at = here if at_end else tip - shaft * along
            cap_at = tip - bone.height * along if at_end else here
            gap_at = here + (shaft + PLATE_MM / 2 if at_end else bone.height + PLATE_MM / 2) * along

            template = curve(_SHAFTS[bone.kind])
            outline = roughen(placed(template, shaft_at, bone.angle, shaft, width), rng, 0.13)
            depth = tuple(value * width for value in _DEPTH[family])
            parts.append(
                Part(
                    bone.name,
                    outline,
                    np.array([shaft_at, shaft_at + shaft * along]),
                    depth,
                    _CORTEX[family],
                    _DENSITY,
                    0.62 * width,
                )
            )
            cap = placed(
                curve(_EPIPHYSES[bone.epiphysis]), cap_at, bone.angle, bone.height, bone.head * width
            )
            half = bone.head * width
            parts.append(
                Part(
                    bone.name,
                    roughen(cap, rng, 0.05 if bone.height < 5 else 0.14),
                    np.array([cap_at, cap_at + bone.height * along]),
                    (0.80 * half,),
                    (0.40,) if bone.height < 5 else (0.16,),
                    (0.30,),
                    0.5 * bone.height,
                    0.5,
                )
            )
            reach = PLATE_MM / 2 + 0.35
            corners = np.array([(-1, -0.84), (1, -0.84), (1, 0.84), (-1, 0.84)])
            gap = placed(corners, gap_at, bone.angle, reach, half if not at_end else 0.95 * half)
            parts.append(Part(bone.name, gap, np.array([gap_at, tip]), (0,), (0,), (0,), 1.0, plate=True))
            plates[bone.name] = gap_at
            joint = JOINT_MM.get(family, 0.0)
            here = tip + joint * along
            stations.append(tip + joint / 2 * along)
        joints.append(np.array(stations))
    return parts, plates, joints


# Outlines of the carpals in mm, half depth, rim.
CARPALS = {
    "capitate": (
        "55.6,143.2 57.8,141.2 62.6,141.6 66.4,140.6 68.6,141.6 69.6,144.6 68.2,148.2 68.5,152.2 67.8,156.4 "
        "65.2,159.0 61.2,159.2 58.2,157.0 57.2,152.2 57.2,147.4",
        9.0,
        4.8,
    ),
    "hamate": (
        "42.8,146.4 44.6,144.2 48.6,143.0 52.4,142.4 55.4,141.9 56.8,143.4 57.2,148.0 57.4,153.0 57.0,157.4 "
        "55.2,158.8 53.0,156.0 49.6,152.4 45.6,149.6",
        8.0,
        4.4,
    ),
    "triquetrum": (
        "40.6,154.2 42.4,151.0 45.4,150.6 48.2,152.6 51.2,156.2 54.0,159.0 54.4,161.8 52.4,165.0 49.2,166.4 "
        "46.0,165.4 43.6,161.4 42.2,157.4",
        6.4,
        4.0,
    ),
    "lunate": (
        "57.0,160.4 60.2,160.8 63.6,162.0 67.6,160.9 69.4,162.4 69.3,166.6 66.8,169.6 61.6,170.9 57.2,170.2 "
        "53.8,168.4 53.6,165.0 55.0,162.0",
        7.6,
        4.2,
    ),
    "scaphoid": (
        "69.4,159.8 69.5,156.2 71.6,153.2 75.2,152.2 79.2,152.4 82.2,154.0 82.6,156.8 80.2,159.6 76.8,162.0 "
        "73.8,165.4 71.0,167.2 69.7,165.4",
        7.2,
        4.4,
    ),
    "trapezium": (
        "79.6,144.6 81.2,142.4 83.8,142.9 85.6,146.4 87.0,150.6 89.6,155.2 88.6,157.8 84.6,157.2 80.6,154.2 "
        "77.9,152.9 78.3,148.8",
        6.2,
        4.4,
    ),
    "trapezoid": (
        "70.2,143.4 72.8,141.6 75.6,142.6 78.8,141.8 80.4,144.4 80.2,148.8 78.4,151.2 74.2,151.4 71.4,150.2 "
        "70.0,147.2",
        6.8,
        4.0,
    ),
    "pisiform": (
        "44.8,159.0 46.2,156.6 49.2,156.9 51.2,159.2 51.9,162.4 50.6,165.0 47.6,165.4 45.2,163.0",
        3.4,
        3.6,
    ),
}
_RADIUS = xy(
    "61.0,180.6 64.4,178.6 69.0,176.6 73.6,175.6 78.8,175.3 83.4,174.9 85.0,176.4 84.8,180.6 83.5,187.4 "
    "82.8,196.2 83.2,207 84.8,224 74.2,224 72,209 69.2,198 66.2,190 62.8,184.4"
)
_RADIUS_CAP = xy(
    "57.6,174.8 59.6,172.9 63.6,172.0 67.8,170.8 71.6,168.8 75.0,165.8 78.2,162.0 81.4,159.6 84.2,160.6 "
    "85.8,164.4 85.9,169.6 85.2,174.0 82.8,174.4 78.4,174.7 73.4,175.0 68.8,175.9 64.2,177.9 60.8,179.8 "
    "58.8,178.2"
)
_ULNA = xy(
    "45.2,186.5 48,185.2 51.6,184.5 55.2,183.8 57.6,183.9 58.4,186.4 57.2,191 55.8,197 55.6,206 "
    "56.6,224 49,224 48.2,209 47.6,199 46.2,191.4"
)
_ULNA_CAP = xy(
    "42.0,177.4 42.6,174.6 44.4,173.4 46.4,174.6 47.4,176.8 49.0,177.0 51.2,175.4 54.6,174.7 57.4,175.3 "
    "59.1,178.2 58.6,182.2 56.2,183.2 51.6,183.9 48.2,184.5 45.2,185.7 43.7,183.4 42.6,180.6"
)

_RADIUS_PLATE = xy("60.2,179.9 64.2,178.2 69,176.2 73.5,175.3 79,175 84.4,174.5")
_ULNA_PLATE = xy("45.4,185.9 48.2,184.8 51.6,184.2 55.4,183.5 57.8,183.5")


def wrist_bones(rng):
    """Carpals, radius and ulna; growth plates as in :func:`tubular_bones`."""
    parts = []
    for name, (points, depth, rim) in CARPALS.items():
        outline = roughen(curve(xy(points)), rng, 0.20)
        middle = outline.mean(axis=0)
        axis = np.array([middle, middle + rng.standard_normal(2)])
        parts.append(Part(name, outline, axis, (depth,), (0.18,), (0.21,), rim, 0.2))
    for name, shaft, cap, depth, plate in (
        ("radius", _RADIUS, _RADIUS_CAP, (7.4, 7.0, 6.6, 6.2, 6.0), _RADIUS_PLATE),
        ("ulna", _ULNA, _ULNA_CAP, (4.8, 4.6, 4.4, 4.3, 4.3), _ULNA_PLATE),
    ):
        axis = np.array([(plate[0] + plate[-1]) / 2, shaft[shaft[:, 1] > 220].mean(axis=0)])
        thick = (0.16, 0.50, 1.4, 2.2, 2.7) if name == "radius" else (0.16, 0.5, 1.3, 1.9, 2.3)
        density = (0.29, 0.24, 0.19, 0.16, 0.14)
        rim = 4.6 if name == "radius" else 3.2
        parts.append(Part(name, roughen(curve(shaft), rng, 0.12), axis, depth, thick, density, rim))
        cap_depth = (6.8,) if name == "radius" else (4.2,)
        parts.append(
            Part(name, roughen(curve(cap), rng, 0.14), axis, cap_depth, (0.24,), (0.25,), 0.62 * rim)
        )
        gap = np.concatenate([plate - [0, 0.8], (plate + [0, 0.8])[::-1]])
        parts.append(Part(name, gap, axis, (0,), (0,), (0,), 1.0, plate=True))
    return parts, {"radius": _RADIUS_PLATE[3], "ulna": _ULNA_PLATE[2]}


# ---------------------------------------------------------------------------------------------- solids


def fill(outline):
    """Points of the fine grid inside a closed outline.

    Parameters
    ----------
    outline : (n, 2) array
        In mm.

    Returns
    -------
    box : tuple of two slices
        Rows and columns of the fine grid around the outline, with a margin, inside the image.
    inside : 2D bool array
        The box.
    """
    points = outline / STEP_MM - 0.5
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 3, np.array(SHAPE[::-1]) * FINE)
    box = (slice(low[1], high[1]), slice(low[0], high[0]))
    # Each edge crosses rows at known columns; a point is inside if the crossings to its left are odd.
    x, y = (points - low).T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    rows, columns = high[1] - low[1], high[0] - low[0]
    crossings = np.zeros((rows, columns + 1), int)
    for k in range(len(x)):
        top, bottom = sorted((y[k], y_next[k]))
        row = np.arange(max(int(np.ceil(top)), 0), min(int(np.ceil(bottom)), rows))
        if len(row):
            at = x[k] + (row - y[k]) * (x_next[k] - x[k]) / (y_next[k] - y[k])
            np.add.at(crossings, (row, np.clip(np.ceil(at), 0, columns).astype(int)), 1)
    return box, (np.cumsum(crossings, axis=1)[:, :-1] % 2).astype(bool)


def depth_below_edge(inside):
    """Distance in mm from each point inside to the edge; the border of the box counts as inside."""
    grown = np.pad(inside, 60, mode="edge")
    return np.maximum(ndi.distance_transform_edt(grown)[60:-60, 60:-60] - 0.5, 0) * STEP_MM


def roundness(ratio):
    """Extent along the beam, from 0 at the edge (ratio 0) to 1: a quarter of a circle."""
    return np.sqrt(1 - (1 - np.clip(ratio, 0, 1)) ** 2)


def spread(values, t):
    """Values spread evenly over 0 … 1, read at `t`."""
    return np.interp(t, np.linspace(0, 1, len(values)), values) if len(values) > 1 else values[0]


def positions(box):
    """Coordinates x (columns,) and y (rows, 1) in mm of the points in a box of the fine grid."""
    rows, columns = box
    x = (np.arange(columns.start, columns.stop) + 0.5) * STEP_MM
    y = (np.arange(rows.start, rows.stop) + 0.5) * STEP_MM
    return x, y[:, None]


def thickness(part, grain, rng):
    """Outer extent and compact bone along the beam.

    Parameters
    ----------
    part : Part
    grain : (n, n) array
        Periodic noise of unit variance, from which the trabeculae are cut.
    rng : numpy.random.Generator

    Returns
    -------
    box : tuple of two slices
    outer : 2D array
        Extent of the whole part along the beam, in mm, over the box.
    compact : 2D array
        That of its compact bone.
    """
    box, inside = fill(part.outline)
    distance = depth_below_edge(inside)
    x, y = positions(box)
    origin, end = part.axis
    length = np.hypot(*(end - origin))
    along = (end - origin) / length
    u = (x - origin[0]) * along[0] + (y - origin[1]) * along[1]
    v = (x - origin[0]) * along[1] - (y - origin[1]) * along[0]
    t = np.clip(u / length, 0, 1)
    half, cortex = spread(part.half_depth, t), spread(part.cortex, t)
    outer = 2 * half * roundness(distance / part.rim) * inside
    # The cavity of a shaft is deeper than wide, so the shell is thinner where it faces the beam.
    inner = (
        2 * np.maximum(half - 0.55 * cortex, 0) * roundness((distance - cortex) / (part.rim - 0.5 * cortex))
    )
    inner = np.minimum(inner * inside, outer)
    # Trabeculae follow the axis: the noise is stretched along it.
    offset = rng.uniform(0, len(grain), 2)
    texture = ndi.map_coordinates(
        grain, np.stack([u / part.grain_mm + offset[0], v / 0.14 + offset[1]]), order=1, mode="grid-wrap"
    )
    density = np.clip(spread(part.density, t) * (1 + 0.17 * texture), 0, 1)
    return box, outer, outer - inner + density * inner


# Edges of bone that face the viewer and so lie inside an outline: dorsal and palmar lips, the hook of the
# hamate, the far side of a facet. Points in mm, compact bone in mm, half width in mm.
RIDGES = (
    (
        "47.6,147.2 50.2,145.6 53.6,145.2 54.8,147.6 53.8,151.0 51.6,152.2 49.8,150.6",
        2.6,
        0.42,
    ),  # hook of hamate
    (
        "72.4,160.2 72.8,156.2 75.4,154.0 78.8,154.0 80.6,156.4 79.0,159.2 75.8,161.4",
        2.6,
        0.45,
    ),  # end of scaphoid
    ("55.2,164.0 58.6,163.4 63.2,165.4 68.8,163.6", 2.6, 0.50),  # far horn of the lunate
    ("57.4,144.6 61.4,143.6 65.2,144.4 68.6,143.2", 1.4, 0.36),  # facets of the capitate
    ("79.9,145.6 78.8,149.2 80.6,153.2", 0.5, 0.36),  # trapezium behind the trapezoid
    ("58.6,176.6 62.6,174.9 68.0,173.2 73.0,170.4 76.8,166.4 80.4,162.6", 4.6, 0.60),  # lip of the radius
    ("61.6,178.2 67.0,175.4 73.0,174.0 79.0,173.7 84.4,173.2", 2.2, 0.36),  # its epiphysis at the plate
    ("62.6,181.2 67.8,178.2 74.0,176.5 84.0,176.2", 2.2, 0.40),  # its shaft at the plate
    ("48.6,181.2 52.4,179.4 57.6,178.8", 2.4, 0.42),  # head of the ulna
    ("46.0,187.8 51.0,186.6 57.2,185.6", 2.2, 0.42),
    ("45.6,184.0 50.6,182.4 57.4,181.8", 1.4, 0.36),
    ("70.0,138.8 73.2,139.6 75.8,137.4 79.4,139.4", 1.6, 0.36),  # bases of the metacarpals, palmar side
    ("58.0,138.6 61.8,139.0 66.4,137.6", 1.6, 0.36),
    ("47.4,140.0 51.2,139.4 55.4,139.8", 1.6, 0.36),
    ("41.0,140.6 44.2,141.8 47.2,142.0", 1.5, 0.36),
)


def ridges(segments_of_heads):
    """Compact bone in mm, over the fine grid, of the ridges and of the oblique plates of metacarpal heads."""
    total = np.zeros(np.multiply(SHAPE, FINE))
    lines = [(curve(xy(points), 40, closed=False), mm, width) for points, mm, width in RIDGES]
    for line, mm, width in lines + segments_of_heads:
        low = np.maximum(((line.min(axis=0) - 2) / STEP_MM).astype(int), 0)
        high = np.minimum(((line.max(axis=0) + 2) / STEP_MM).astype(int), np.array(SHAPE[::-1]) * FINE)
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        x, y = np.broadcast_arrays(*positions(box))
        distance, nearest = cKDTree(line).query(np.stack([x, y], axis=-1), distance_upper_bound=2.0)
        # Fades towards its ends
        fade = np.append(np.sin(np.pi * np.linspace(0, 1, len(line))) ** 0.5, 0)
        total[box] += mm * np.exp(-0.5 * (np.minimum(distance, 9) / width) ** 2) * fade[nearest]
    return total


# ---------------------------------------------------------------------------------------------- soft tissue

# For each ray: place along its chain of joints (1 = the joint beyond the metacarpal, 1.5 = the middle of the
# next bone …) and half widths of the finger there, in mm, on the little finger's side and on the thumb's.
_FINGERS = {
    1: ((1.35, 8.8, 9.0), (1.7, 8.2, 8.3), (2.0, 8.3, 8.6), (2.3, 8.2, 8.2), (2.7, 7.6, 7.2)),
    2: ((1.55, 8.8, 8.9), (1.8, 8.2, 8.2), (2.0, 8.2, 8.1), (2.45, 7.1, 7.3), (3, 6.9, 6.8), (3.5, 6.7, 6.8)),
    3: ((1.48, 8.6, 8.8), (1.8, 8.3, 8.2), (2.0, 8.5, 8.3), (2.5, 7.4, 7.5), (3, 7.1, 6.9), (3.5, 6.9, 6.9)),
    4: ((1.50, 8.2, 8.2), (1.8, 7.7, 7.8), (2.0, 7.8, 7.9), (2.5, 6.9, 7.0), (3, 6.6, 6.6), (3.5, 6.5, 6.4)),
    5: ((1.50, 7.3, 7.4), (1.8, 6.8, 6.8), (2.0, 6.8, 6.9), (2.5, 6.0, 6.0), (3, 5.8, 5.8), (3.5, 5.6, 5.7)),
}
_PAD_MM = {1: 4.6, 2: 4.0, 3: 4.0, 4: 3.9, 5: 3.5}  # soft tissue beyond the bony tip
# Skin between a finger and its neighbour on the thumb's side
_WEBS = {
    5: "36.6,87.4 38.8,86.2",
    4: "54.0,76.6 57.0,76.4",
    3: "74.6,76.6 77.6,77.2",
    2: "99.4,82 97.4,90 96.6,97 97.4,103.6 100.4,108.4 104.6,110.6",
}
_ULNAR_SIDE = xy(
    "44.4,232 44.2,222 43.6,208 42.2,196 40.4,185 37.6,174 34.2,163 31.2,152 29.2,140 28,128 27,117 24,107"
)
_RADIAL_SIDE = xy(
    "116.2,139.0 109.4,147.6 101.8,156.0 95.4,165.0 91.6,175.0 90.0,186.0 89.8,198 90.6,211 91.8,222 92,232"
)


def finger_outline(joints, widths, pad_mm):
    """Outline (n, 2) of a finger, up the little finger's side, round the tip and down the thumb's side."""
    left, right = [], []
    steps = np.diff(joints, axis=0)
    for place, *half in widths:
        k = min(int(place), len(steps) - 1)
        here = joints[k] + (place - k) * steps[k]
        # At a joint the finger faces halfway between the bones on either side.
        turn = (
            steps[k] if place > k else steps[k] / np.hypot(*steps[k]) + steps[k - 1] / np.hypot(*steps[k - 1])
        )
        along = turn / np.hypot(*turn)
        across = np.array([-along[1], along[0]])
        left.append(here - half[0] * across)
        right.append(here + half[1] * across)
    along = steps[-1] / np.hypot(*steps[-1])
    across = np.array([-along[1], along[0]])
    half, tip = 0.5 * sum(widths[-1][1:]), joints[-1]
    round_tip = [
        (0.93, -0.28),
        (0.74, 0.38),
        (0.40, 0.82),
        (0.0, 1.0),
        (-0.42, 0.80),
        (-0.76, 0.36),
        (-0.94, -0.3),
    ]
    reach = 4.0  # mm over which the pad narrows
    caps = [tip - s * half * across + (pad_mm - reach * (1 - h)) * along for s, h in round_tip]
    return np.concatenate([left, caps, right[::-1]])


def skin_outline(joints, rng):
    """Outline (n, 2) of the whole hand and forearm, in mm; it leaves the image at the bottom."""
    points = [_ULNAR_SIDE]
    for ray in (5, 4, 3, 2, 1):
        points.append(finger_outline(joints[ray - 1], _FINGERS[ray], _PAD_MM[ray]))
        if ray > 1:
            points.append(xy(_WEBS[ray]))
    points.append(_RADIAL_SIDE)
    return roughen(curve(np.concatenate(points), 10), rng, 0.30, (20, 60))


# Half the thickness of the soft tissue, and the distance from the skin's edge at which it is reached: x, y,
# half depth, rim, in mm.
_FORM = np.array(
    [
        (68, 222, 23.0, 23.0), (68, 200, 22.5, 22.0), (68, 182, 21.5, 20.0), (68, 166, 20.0, 18.0),
        (36, 150, 14.0, 17.0), (50, 150, 16.8, 17.0), (66, 150, 17.0, 17.0), (84, 150, 17.2, 17.0),
        (100, 150, 14.5, 17.0), (33, 128, 11.5, 15.0), (46, 128, 14.0, 15.0), (64, 128, 13.5, 15.0),
        (84, 128, 14.4, 15.0), (103, 128, 14.8, 15.0), (116, 128, 12.0, 15.0), (32, 108, 11.0, 13.0),
        (46, 108, 12.8, 13.0), (66, 108, 12.8, 13.0), (86, 108, 12.8, 13.0), (98, 108, 9.8, 13.0),
        (34, 98, 10.6, 9.5), (50, 92, 11.8, 10.5), (68, 88, 12.0, 11.0), (88, 88, 11.8, 11.0),
        (40, 88, 6.2, 6.5), (59, 78, 6.4, 6.5), (79, 78, 6.4, 6.5), (103, 110, 6.2, 7.5),
        (27, 84, 9.3, 7.3), (47, 76, 10.0, 8.5), (69, 66, 10.3, 9.0), (94, 71, 10.1, 9.0),
        (123, 112, 10.6, 9.6), (20, 70, 8.2, 6.9), (43, 58, 9.2, 7.9), (70, 48, 9.6, 8.4),
        (100, 55, 9.3, 8.2), (130, 101, 9.6, 8.6), (12, 53, 6.9, 6.0), (37, 36, 7.9, 6.9),
        (70, 24, 8.2, 7.2), (106, 36, 7.9, 7.0), (8, 42, 5.8, 6.2), (34, 22, 6.6, 7.0),
        (70, 9, 6.8, 7.3), (109, 22, 6.6, 7.2), (141, 88, 7.0, 8.0),
    ]
)  # fmt: skip
FAT_MM, SKIN_MM = 2.3, 0.9


def form(grid_mm=4.5, sigma_mm=8.0):
    """Half depth and rim, in mm, over the fine grid: a weighted mean of the points of `_FORM`."""
    rows, columns = (int(np.ceil(n * PIXEL_MM / grid_mm)) + 1 for n in SHAPE)
    y, x = np.mgrid[:rows, :columns] * grid_mm
    squared = (x[..., None] - _FORM[:, 0]) ** 2 + (y[..., None] - _FORM[:, 1]) ** 2
    weight = np.exp(-0.5 * squared / sigma_mm**2) + 1e-3 / (1 + squared / sigma_mm**2) ** 2
    coarse = [(weight * column).sum(axis=-1) / weight.sum(axis=-1) for column in _FORM[:, 2:].T]
    at = np.stack(
        np.meshgrid(*((np.arange(n * FINE) + 0.5) * STEP_MM / grid_mm for n in SHAPE), indexing="ij")
    )
    return [ndi.map_coordinates(values, at, order=1, mode="nearest") for values in coarse]


def soft_tissue(outline, rng):
    """Thickness of all tissue inside the skin and of the fat in it, in mm, over the fine grid."""
    box, inside_box = fill(outline)
    inside = np.zeros(np.multiply(SHAPE, FINE), bool)
    inside[box] = inside_box
    distance = ndi.distance_transform_edt(np.pad(inside, ((0, 200), (0, 0)), mode="edge"))[:-200]
    distance = np.maximum(distance - 0.5, 0) * STEP_MM
    half, rim = form()
    total = 2 * half * roundness(distance / rim)
    core = 2 * (half - FAT_MM) * roundness((distance - FAT_MM) / (rim - 0.5 * FAT_MM))
    # Muscle and fat alternate inside; the unevenness is soft and runs with the limb.
    coarse = ndi.gaussian_filter(rng.standard_normal((SHAPE[0] // 4, SHAPE[1] // 4)), (3.2, 1.3), mode="wrap")
    coarse = ndi.zoom(coarse / coarse.std(), 4 * FINE, order=1, mode="nearest", grid_mode=True)
    fat = np.maximum(total - core - 2 * SKIN_MM, 0) + core * np.clip(0.12 + 0.07 * coarse, 0, 1)
    return total * inside, np.minimum(fat, total) * inside


# ---------------------------------------------------------------------------------------------- radiograph

# The marker: a holder of aluminium with letters of lead. Strokes in mm from the holder's upper left corner.
_HOLDER_AT, _HOLDER_SIZE, _HOLDER_ANGLE = (7.6, 129.5), (14.6, 38.5), 2.2
_LETTERS = (
    ("3.6,9.6 3.6,19.4 10.2,19.4", 0.95),
    ("5.4,23.6 4.6,22.8 3.2,22.8 2.5,23.7 3.1,24.7 4.7,25.2 5.4,26.2 4.7,27.3 3.1,27.3 2.3,26.4", 0.50),
    ("7.2,25.4 7.2,30.2", 0.50),
    ("9.2,33.4 9.4,28.8 11.0,31.6 12.6,28.9 12.9,33.5", 0.50),
)


def marker():
    """Thickness of aluminium and of lead in mm, over the fine grid."""
    aluminium, lead = np.zeros(np.multiply(SHAPE, FINE)), np.zeros(np.multiply(SHAPE, FINE))
    width, height = _HOLDER_SIZE
    box, inside = fill(
        placed([(0, 0), (-height, 0), (-height, width), (0, width)], _HOLDER_AT, -_HOLDER_ANGLE, 1, 1)
    )
    across, along = heading(-_HOLDER_ANGLE)[::-1]
    x, y = positions(box)
    u = (x - _HOLDER_AT[0]) * across[0] + (y - _HOLDER_AT[1]) * across[1]
    v = -(x - _HOLDER_AT[0]) * along[0] - (y - _HOLDER_AT[1]) * along[1]
    rail = (u < 0.9) | (u > width - 0.9)
    hole = (u - 0.5 * width) ** 2 + (v - 5.2) ** 2 < 2.3**2
    aluminium[box] = inside * ~hole * (1.25 + 1.1 * rail)
    at = np.stack([u, v], axis=-1)[inside]
    for strokes, half_width in _LETTERS:
        points = xy(strokes)
        t = np.linspace(0, len(points) - 1, 60 * len(points))
        line = np.stack([np.interp(t, np.arange(len(points)), column) for column in points.T], axis=1)
        lead[box][inside] += 1.2 * (cKDTree(line).query(at)[0] < half_width)
    return aluminium, lead


def beam(paths):
    """Part of the signal that passes: (rows, columns) of the fine grid.

    Parameters
    ----------
    paths : dict
        Material of `ATTENUATION` → thickness in mm over the fine grid.
    """
    signal = np.zeros(np.multiply(SHAPE, FINE))
    for k, weight in enumerate(SPECTRUM):
        signal += weight * np.exp(-sum(ATTENUATION[name][k] * path for name, path in paths.items()))
    return signal


def expose(passed):
    """Signal of the plate per pixel (rows, columns), 1 for the open beam in the middle, without noise."""
    sharp = ndi.gaussian_filter(passed, BLUR_SIGMA_MM / STEP_MM, mode="nearest", truncate=3)
    sharp = sharp.reshape(SHAPE[0], FINE, SHAPE[1], FINE).mean(axis=(1, 3))
    # The hand absorbs what it scatters, and scatters most where it is thick, but its own tissue weakens that.
    source = np.clip(1 - sharp, 0, 1) * np.sqrt(sharp)
    scattered = SCATTER * ndi.gaussian_filter(source, SCATTER_SIGMA_MM / PIXEL_MM, mode="nearest")
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    # Heel effect: the anode lies to the right; its own metal weakens the rays on that side.
    heel = np.exp(-0.078 * x - 0.02 * y**2 - 0.06 * np.maximum(y, 0) ** 2 * (1 - x))
    return heel * (sharp + scattered + GLARE)


def develop(signal):
    """Grey levels (rows, columns), not rounded: logarithm, unsharp masking at two widths, shoulder."""
    grey = BLACK - LEVELS_PER_NEPER * np.log(signal)
    for strength, sigma_mm in ENHANCE:
        grey = grey + strength * (grey - ndi.gaussian_filter(grey, sigma_mm / PIXEL_MM, mode="nearest"))
    # Above the densest bone the curve bends, as film does, so that lead does not use up the range.
    above = np.maximum(grey - SHOULDER, 0)
    grey = np.minimum(grey, SHOULDER) + SHOULDER_RANGE * (1 - np.exp(-above / SHOULDER_RANGE))
    # The rim of the plate lies in the cassette's felt and is read a little darker.
    from_side = np.minimum(np.arange(SHAPE[1]), np.arange(SHAPE[1])[::-1])
    from_end = np.minimum(np.arange(SHAPE[0]), np.arange(SHAPE[0])[::-1])
    return grey - 3.0 * np.exp(-from_side / 1.6) - 1.5 * np.exp(-from_end[:, None] / 1.6)


def noisy(signal, rng):
    """Signal with quantum noise, slightly correlated by the spread of light in the plate."""
    noise = ndi.gaussian_filter(rng.standard_normal(SHAPE), 0.28, mode="wrap")
    noise /= noise.std()
    return signal * (1 + np.clip(noise / np.sqrt(QUANTA * signal), -0.6, 0.6))


def blemish(grey, rng):
    """Dust on the plate (bright, single pixels) and scratches of its layer (dark)."""
    grey = grey.copy()
    for n, low, high in ((7, 25, 110), (2, -30, -20)):
        row, column = rng.integers(4, SHAPE[0] - 4, n), rng.integers(4, SHAPE[1] - 4, n)
        grey[row, column] += rng.uniform(low, high, n)
    return grey


def scene(rng):
    """Thicknesses of all materials, labels and growth plates.

    Returns
    -------
    paths : dict
        Material → thickness in mm over the fine grid.
    truth : dict
        `bone`, `soft_tissue`, `bones`, `bone_names` and `growth_plates` as in :func:`load_truth`.
    """
    fine = tuple(np.multiply(SHAPE, FINE))
    tubular, plates, joints = tubular_bones(rng)
    irregular, wrist_plates = wrist_bones(rng)
    parts = tubular + irregular
    plates.update(wrist_plates)
    names = list(dict.fromkeys(part.bone for part in parts))

    grain = ndi.gaussian_filter(rng.standard_normal((256, 256)), 0.75, mode="wrap")
    grain /= grain.std()
    compact, ossified, labels = np.zeros(fine), np.zeros(fine, bool), np.zeros(fine, np.uint8)
    for part in parts:
        if part.plate:
            box, inside = fill(part.outline)
            labels[box][inside & (labels[box] == 0)] = names.index(part.bone) + 1
        else:
            box, outer, bone = thickness(part, grain, rng)
            compact[box] += bone
            ossified[box] |= outer > 0
            labels[box][outer > 0] = names.index(part.bone) + 1
    oblique = []
    for bone in (chain[0] for _, chain in RAYS[1:]):
        # The plate of a metacarpal's head is dished: its far side shows beside the near one.
        across = np.linspace(-0.9, 0.9, 60)
        for rise, mm in ((1.9, 2.6), (0.55, 2.4), (-0.55, 2.2)):
            dish = rise - 0.45 * rise * across**2 + 0.2 * np.sin(5 * across + bone.length)
            line = placed(
                np.stack([dish, across], axis=1),
                plates[bone.name],
                bone.angle,
                1,
                bone.head * bone.half_width,
            )
            oblique.append((line, mm, 0.30))
    compact += ridges(oblique) * ossified
    total, fat = soft_tissue(skin_outline(joints, rng), rng)
    compact = np.minimum(compact, 0.9 * total)
    share = 1 - compact / np.maximum(total, STEP_MM)
    aluminium, lead = marker()
    paths = {
        "soft": (total - fat) * share,
        "fat": fat * share,
        "bone": compact,
        "aluminium": aluminium,
        "lead": lead,
    }

    middle = (slice(FINE // 2, None, FINE),) * 2
    truth = {
        "bone": ossified[middle],
        "soft_tissue": total[middle] > 0,
        "bones": labels[middle],
        "bone_names": np.array(["background", *names]),
        "growth_plates": np.array([plates[name][::-1] / PIXEL_MM - 0.5 for name in plates]),
        "growth_plate_bones": np.array(list(plates)),
    }
    return paths, truth


def make(folder):
    """Write the radiograph and its truth.

    Parameters
    ----------
    folder : path
        Made if need be. It gets `hand.png`, (480, 320) uint8, and `truth.npz` (see :func:`load_truth`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    paths, truth = scene(rng)
    signal = expose(beam(paths))
    image = blemish(develop(noisy(signal, rng)), rng)
    image = np.clip(np.rint(image), LOWEST, HIGHEST).astype(np.uint8)
    (folder / "hand.png").write_bytes(png(image))
    noise_free = np.round(develop(signal), 3).astype(np.float32)
    np.savez(folder / "truth.npz", noise_free=noise_free, pixel_mm=PIXEL_MM, **truth)


def load_truth(folder):
    """Read what is known of the simulated hand.

    Parameters
    ----------
    folder : path
        The folder of the radiograph.

    Returns
    -------
    dict
        - ``bone``, (480, 320) bool: mineralised bone anywhere along the ray;
        - ``soft_tissue``, (480, 320) bool: the whole hand, bones included;
        - ``bones``, (480, 320) uint8: the bone that lies there, growth plates included, 0 outside; where two
          bones overlap, the one listed last;
        - ``bone_names``: dict from label to name of the bone;
        - ``noise_free``, (480, 320) float32: grey levels before noise, dust and rounding;
        - ``growth_plates``: dict from a bone's name to (row, column) of the middle of its growth plate, in
          pixels;
        - ``pixel_mm``: height and width of a pixel, at the plate, in mm.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        truth = {name: stored[name] for name in stored.files}
    truth["bone_names"] = dict(enumerate(truth["bone_names"].tolist()))
    truth["growth_plates"] = dict(
        zip(truth.pop("growth_plate_bones").tolist(), truth["growth_plates"], strict=True)
    )
    truth["pixel_mm"] = float(truth["pixel_mm"])
    return truth

"""A simulated CT of the chest: a DICOM series of a woman's thorax at the height of the heart, with its truth.

The thorax is a scene of closed outlines in millimetres that change with height: muscles with fat between
them, ribs that slope, a spine with discs, lungs with branching vessels and bronchi, a heart, a table. Each
outline is filled with the Hounsfield value of its tissue, the scene is blurred and averaged as a scanner
does, and noise is added whose streaks follow from the attenuation of the simulated body itself.

World coordinates are DICOM's patient coordinates (LPS): x grows to the patient's left, y to the back, z to
the head. ``u`` is the height above the middle of the series, in mm. Images are indexed (row, column), volumes
(slice, row, column) with the first slice at the head end.

Notes
-----
Everything is computed in double precision and rounded to whole Hounsfield units at the very end, so that the
last-bit differences between processors do not reach the files.
"""

import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from scipy import fft
from scipy import ndimage as ndi

from data_fetchers.simulate.outlines import closed_curve, inset, open_curve, ribbon, xy

SHAPE = (512, 512)
PIXEL_MM = 0.976562  # 500 mm over 512 pixels
CORNER_MM = -250.0  # x and y of the centre of the first pixel
FIELD_RADIUS_MM = 250.0  # the scanner reconstructs a disc; the corners of the square hold padding
STEP_MM = 3.27
# A helical scan measures a continuous spiral, so slices can be reconstructed at any distance. A step a little
# below the slice thickness makes neighbours overlap: small things are not lost between two slices.
THICKNESS_MM = 3.75
N_SLICES = 12
MISSING = 3  # index from the head; leaves a run of 8 evenly spaced slices
Z_TOP_MM = -314.69
FIRST_INSTANCE = 98
INTERCEPT = -1024
# Slice of the full grid → number in the file's name, mixed up as by an archive's export; slice 3 has none
FILE_NUMBERS = {0: 7, 1: 2, 2: 11, 4: 5, 5: 9, 6: 1, 7: 8, 8: 4, 9: 10, 10: 3, 11: 6}
PADDING_HU = -1000  # also the floor of the stored values: this reconstruction cuts off all below air

SUBSLICES = 3  # planes of the scene per slice step
# Part of each plane, from 2 below to 2 above, that lies inside a slab of THICKNESS_MM
_inside = np.clip(THICKNESS_MM / 2 * SUBSLICES / STEP_MM + 0.5 - np.abs(np.arange(-2, 3)), 0, 1)
SLICE_PROFILE = _inside / _inside.sum()

PSF_SIGMA_MM = 0.72  # in-plane blur of a soft kernel: 50 % of contrast at about 0.26 line pairs per mm
NOISE_HU = 20.5  # standard deviation in the middle of the image
WATER_PER_MM = 0.0187  # attenuation of water at about 75 keV, the mean energy of a 140 kVp beam [NIST XCOM]


class Tissue(NamedTuple):
    """A kind of tissue: its label in the truth, its mean Hounsfield value, its unevenness (SD in HU)."""

    label: int
    hounsfield: float
    grain: float = 0.0


# Hounsfield values: Prokop & Galanski, Spiral and Multislice CT of the Body (2003); Hounsfield, Br J Radiol
# 46 (1973); lung in inspiration and its rise to the back: Verschakelen et al., AJR 161 (1993);
# bone and cartilage: Schneider et al., Phys Med Biol 41 (1996); couch, foam and cloth as they show in
# clinical scans.
TISSUES = {
    "air": Tissue(0, -1000),
    "skin": Tissue(1, 25),
    "fat": Tissue(2, -103, 6),
    "muscle": Tissue(3, 52, 5),
    "bone cortex": Tissue(4, 1000, 60),
    "bone marrow": Tissue(5, 170, 55),
    "cartilage": Tissue(6, 95, 12),
    "lung": Tissue(7, -858, 16),
    "lung vessel": Tissue(8, 42),
    "airway": Tissue(9, -990),
    "airway wall": Tissue(10, 20),
    "heart muscle": Tissue(11, 48, 3),
    "blood": Tissue(12, 41),
    "aorta": Tissue(13, 41),
    "oesophagus": Tissue(14, 36, 6),
    "thecal sac": Tissue(15, 22),
    "spinal cord": Tissue(16, 36),
    "disc": Tissue(17, 85, 6),
    "calcification": Tissue(18, 620),
    "nodule": Tissue(19, 32),
    "gland": Tissue(20, 30, 10),
    "table": Tissue(21, 260),
    "foam": Tissue(22, -888, 6),
    "cloth": Tissue(23, -450),
}
LUNG_HU_PER_MM = 0.75  # the lung at the back of a supine patient carries the weight of that above it

# Exponent of Murray's law. The morphometry of Huang et al., J Appl Physiol 81 (1996), gives about 2.7; lower
# here, so that a tree of few branchings still ends in thin vessels.
MURRAY = 2.35

NODULE_CENTRE_MM = (-84.0, 58.0, -341.6)
NODULE_RADIUS_MM = 5.5


class Layer(NamedTuple):
    """Outlines to fill with one tissue; a later layer covers an earlier one.

    `outlines` is a list of (n, 2) arrays of x, y in mm; `hounsfield` replaces the tissue's own value;
    `mask` names a field of :func:`fields` that thins the layer; `ripple` goes to :func:`deform`, but `rigid`
    outlines are not deformed.
    """

    tissue: str
    outlines: list
    hounsfield: float | None = None
    mask: str | None = None
    ripple: float = 1.0
    rigid: bool = False


# ---------------------------------------------------------------------------------------------- outlines


def ellipse(x, y, half_x, half_y=None, n=24):
    """Outline (n, 2) of an ellipse; a circle when `half_y` is left out."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([x + half_x * np.cos(angle), y + (half_y or half_x) * np.sin(angle)], axis=1)


def normals(path):
    """Unit vectors (n, 2) across a path (n, 2)."""
    along = np.gradient(path, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]


def between(top, bottom, u):
    """Control points at height `u` from those at u = +20 mm and u = -20 mm; constant beyond."""
    t = np.clip((20 - u) / 40, 0, 1)
    return (1 - t) * np.asarray(top, float) + t * np.asarray(bottom, float)


def mirror(points, side):
    """Points with x multiplied by `side`: +1 patient's left, -1 patient's right."""
    return np.asarray(points, float) * [side, 1]


@cache
def _waves():
    """Wave vectors (n, 3) in rad/mm, phases (n, 2) and amplitudes (n, 1) in mm of the deformation."""
    rng = np.random.default_rng(20040515)
    length = np.concatenate([np.linspace(150, 70, 5), np.linspace(48, 22, 6), np.linspace(14, 9, 5)])
    amplitude = np.concatenate([np.full(5, 1.6), np.full(6, 0.36), np.full(5, 0.16)])
    direction = rng.standard_normal((len(length), 3)) * [1, 1, 0.6]
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    return direction * (2 * np.pi / length)[:, None], rng.uniform(0, 2 * np.pi, (len(length), 2)), amplitude


def deform(points, u, ripple=1.0):
    """Move points (n, 2) by a smooth field of up to a few mm, shared by all organs, so that none is regular.

    Neighbouring organs move together and stay neighbours; left and right come to differ. `ripple` multiplies
    the shortest waves.
    """
    wave, phase, amplitude = _waves()
    amplitude = amplitude * np.where(amplitude < 0.2, ripple, 1.0)
    angle = points @ wave[:, :2].T + u * wave[:, 2]
    shift = [np.cos(angle + phase[:, axis]) @ amplitude for axis in (0, 1)]
    return points + np.stack(shift, axis=1)


# ---------------------------------------------------------------------------------------------- anatomy

_TRUNK_TOP = xy(
    "0,-103 24,-105 54,-118 90,-126 124,-115 150,-89 166,-53 174,-14 175,26 168,63 151,95 "
    "123,116 84,125 44,126.5"
)
_TRUNK_BOTTOM = xy(
    "0,-104 26,-108 58,-128 95,-135 130,-121 155,-92 167,-54 173,-14 174,26 167,63 150,95 "
    "123,116 84,125 44,126.5"
)


def trunk(u):
    """Outline (n, 2) of the skin, in mm."""
    half = between(_TRUNK_TOP, _TRUNK_BOTTOM, u)
    right = half[:0:-1] * [-0.985, 0.99] + [1.0, 0.0]
    return closed_curve(np.concatenate([half, [(0, 125)], right]), 10)


def soft_parts(u):
    """Skin, fat, breasts and the muscles outside the rib cage, as layers."""
    skin = trunk(u)
    layers = [Layer("skin", [skin]), Layer("fat", [inset(skin, 2.3)])]
    for side in (1, -1):
        breast = between(
            xy("42,-104 84,-116 120,-106 134,-80 112,-70 74,-92"),
            xy("44,-107 88,-124 126,-112 140,-82 114,-70 74,-93"),
            u,
        )
        layers.append(Layer("gland", [closed_curve(mirror(breast, side))], mask="strands"))

        grow_with_height = np.clip((u + 24) / 40, 0.35, 1)  # the shoulder's muscles end below the scapula
        paths = [
            # pectoralis major, in two parts; serratus anterior in digitations
            ([(21, -89), (40, -91), (62, -86), (84, -74)], [0.6, 3.6, 5.4, 1.5]),
            ([(58, -87), (82, -76), (103, -56), (117, -36)], [0.5, 5.2, 4.2, 0.4]),
            ([(133, 58), (139.5, 40), (140.5, 22), (137, 4)], [0.8, 6.2, 5.4, 0.6]),
            ([(136, 12), (134, -10), (125, -28), (113, -42)], [0.5, 4.6, 3.6, 0.4]),
            (
                [(112, 92), (129, 79), (139, 62), (141, 44)],
                np.multiply([0.8, 4.6, 4.4, 0.6], grow_with_height),
            ),
            # latissimus dorsi; trapezius
            (
                xy("62,113 92,113.5 120,104 144,79 152,50 151,24"),
                [0.6, 3.0, 5.4, 7.6, 5.6, 0.6],
            ),
            ([(3, 119), (22, 119), (46, 116), (62, 113)], [0.8, 2.6, 1.8, 0.4]),
            # subscapularis and infraspinatus on either side of the scapula's lower angle
            ([(98, 100), (113, 93), (126, 80)], np.multiply([0.6, 3.8, 0.8], grow_with_height)),
            ([(102, 108), (121, 101), (138, 82)], np.multiply([0.6, 4.6, 0.8], grow_with_height)),
        ]
        outlines = [ribbon(open_curve(mirror(path, side)), half) for path, half in paths]
        back = [
            # multifidus, longissimus, iliocostalis: the erector of the spine
            xy("5,99 12,98 17,102 15,110 9,114 4.5,113"),
            xy("19,101 28,99 38,103 42,110 36,115 22,116 15,113"),
            xy("43,105 52,104 62,107 66,110 58,113 45,114"),
        ]
        outlines += [closed_curve(mirror(points, side)) for points in back]
        layers.append(Layer("muscle", outlines, ripple=4.0))
    return layers


_RIB_PATH = xy(
    "14,67 22,76 33,87 50,99 73,103 98,94 119,73 130,45 130,14 119,-18 96,-48 66,-71 38,-81 19,-84"
)


def rib_cage(u):
    """Layers of intercostal muscle, ribs and their cartilage, sternum and the tip of the scapula.

    A rib is a bar about 13 mm high and 7 mm thick along a path round the chest that sinks from back to
    front, so that a slice cuts several ribs aslant, each somewhere else.
    """
    muscle, cartilage, cortex, marrow = [], [], [], []
    for side, phase in ((1, 4.0), (-1, 6.5)):
        path = open_curve(mirror(_RIB_PATH, side), 20)
        across = normals(path)
        length = np.append(0, np.cumsum(np.hypot(*np.diff(path, axis=0).T)))
        drop = np.interp(length, [0, 45, 130, 200, 270, 335], [0, 3, 36, 72, 96, 92])
        muscle.append(ribbon(path[24:-8], [2.6, 3.4, 3.6, 3.0, 3.4, 3.0, 2.2, 2.0, 1.5]))
        for number in range(-2, 6):
            height = u - (24.0 * number + phase) + drop
            bony = length < 268
            for solid, inner, out in ((bony, 0, cortex), (bony, 1.45, marrow), (~bony, 0, cartilage)):
                high, thick = (6.8 - inner), (3.6 - inner) * np.where(length < 40, 1.2, 1.0)
                thick = thick * (1 - np.minimum(np.abs(height) / high, 1) ** 3) ** 0.4
                cut = np.flatnonzero(solid & (np.abs(height) < high))
                for run in np.split(cut, np.flatnonzero(np.diff(cut) > 1) + 1):
                    if len(run) > 3:
                        wide = (across * thick[:, None])[run]
                        out.append(np.concatenate([path[run] + wide, (path[run] - wide)[::-1]]))
    sternum = closed_curve(xy("-17,-86 -10,-91.5 0,-92.5 10,-91.5 17,-86 14,-80.5 0,-79.5 -14,-80.5"))
    cortex.append(sternum)
    marrow.append(inset(sternum, 1.3))
    for side, lowest in ((1, -6.0), (-1, 0.0)):  # the two scapulae end at different heights
        if u > lowest:
            size = min((u - lowest) / 14, 1.0)
            path = np.array([(100, 104), (114, 98), (132, 81)])
            path = path[1] + (path - path[1]) * size
            blade = open_curve(mirror(path, side))
            cortex.append(ribbon(blade, np.multiply([0.8, 3.0, 1.7, 1.4, 2.0, 3.4, 0.8], min(1, 0.4 + size))))
            marrow.append(ribbon(blade, np.multiply([0, 1.7, 0.4, 0.1, 0.8, 2.1, 0], size)))
    return [
        Layer("muscle", muscle, ripple=3.0),
        Layer("cartilage", cartilage),
        Layer("bone cortex", cortex),
        Layer("bone marrow", marrow),
    ]


def spine(u):
    """Layers of one vertebra after the other with the disc between: body, arch, processes, canal.

    Vertebrae repeat every 25 mm; what a slice shows depends on where in this period it lies.
    """
    v = ((u + 9.0) / 25.0) % 1.0  # 0 and 1 at the middle of a disc
    waist = 1 - 0.07 * np.sin(np.pi * np.clip((v - 0.1) / 0.8, 0, 1))
    body = xy("-16,58 -14.5,49 -8,44 0,43 8,44 14.5,49 16,58 14,67 7,72 0,71 -7,72 -14,67")
    body = closed_curve((body - [0, 58]) * waist + [0, 58])
    to_endplate = min(abs(v - 0.1), abs(v - 0.9)) * 25.0
    layers = [Layer("muscle", [ellipse(0, 84, 19, 13)])]
    if 0.1 < v < 0.9:
        layers += [Layer("bone cortex", [body])]
        if to_endplate > 1.1:
            layers += [Layer("bone marrow", [inset(body, 1.3)], 185 if to_endplate > 3 else 260)]
    else:
        layers += [Layer("disc", [inset(body, -0.8)])]

    arch_outer, arch_inner = [], []
    high = 0.45 < v < 0.92  # pedicles and transverse processes belong to the upper half
    for side in (1, -1):
        start = [(10.5, 69), (11.5, 76)] if high else [(12.5, 83)]
        arch = open_curve(mirror([*start, (10, 86), (5, 93), (0, 96)], side))
        arch_outer.append(ribbon(arch, [3.6, 3.6, 3.6, 3.4]))
        arch_inner.append(ribbon(arch, [2.2, 2.2, 2.0, 1.2]))
        if high:
            end = 1 - 0.25 * abs(v - 0.68) / 0.24
            process = open_curve(mirror([(9, 84), (9 + 12 * end, 91), (9 + 23 * end, 96)], side))
            arch_outer.append(ribbon(process, [3.8, 3.4, 3.9]))
            arch_inner.append(ribbon(process, [2.4, 2.0, 2.4]))
        elif v < 0.3 or v > 0.95:  # joint of the articular processes of two neighbours
            arch_outer.append(ellipse(side * 13.5, 84, 4.2, 3.6))
            arch_inner.append(ellipse(side * 13.5, 84, 2.4, 2.0))
    tip = 111 + 4 * np.cos(2 * np.pi * (v - 0.15))  # spinous processes point down and overlap like tiles
    spinous = open_curve([(0.3, 93), (-0.4, 101), (0.8, tip)])
    arch_outer.append(ribbon(spinous, [3.4, 2.3, 3.0]))
    arch_inner.append(ribbon(spinous, [2.0, 0.9, 1.6]))
    canal = closed_curve(xy("-8,79 -6,74 0,72.8 6,74 8,79 6.5,85.5 0,90 -6.5,85.5"))
    layers += [
        Layer("bone cortex", arch_outer),
        Layer("bone marrow", arch_inner, 230),
        Layer("fat", [canal]),
        Layer("thecal sac", [ellipse(0, 80, 6.8, 5.9)]),
        Layer("spinal cord", [ellipse(0.2, 79.6, 4.2, 3.2)]),
    ]
    if not high:  # the nerve's opening between two vertebrae: fat with a dot, the nerve root
        for side in (1, -1):
            layers += [
                Layer("fat", [ellipse(side * 12, 76, 5.0, 3.2)]),
                Layer("thecal sac", [ellipse(side * 12, 76, 1.8)]),
            ]
    return layers


_WALL = "93,-42 113.5,-14 123.5,16 123.5,44 113.5,69 94,87 72,96 "
_LEFT_LUNG_TOP = xy(
    "14,-70 36,-73 66,-63 "
    + _WALL
    + "52,92 41,80 38.5,64 38,51 32.5,39 37,32 50,24 57,8 58,-10 50,-30 36,-52 24,-62"
)
_LEFT_LUNG_BOTTOM = xy(
    "56,-68 62,-66 76,-58 "
    + _WALL
    + "52,92 41,80 38.5,64 38,51 33,41 45,39 66,34 84,19 92,-4 88,-30 76,-52 60,-66"
)
_RIGHT_LUNG_TOP = xy(
    "6,-70 34,-73 66,-63 "
    + _WALL
    + "50,92 34,81 21,67 18,56 13,47 11,38 15,30 30,27 44,18 46,0 46,-20 39,-42 18,-63"
)
_RIGHT_LUNG_BOTTOM = xy(
    "12,-71 36,-73 66,-63 "
    + _WALL
    + "50,92 34,81 21,67 18,56 13,47 10.5,38 13,32 28,30 46,23 58,5 60,-18 51,-43 26,-66"
)


def lung_outlines(u):
    """Outlines [left, right], each (n, 2) in mm."""
    left = closed_curve(between(_LEFT_LUNG_TOP, _LEFT_LUNG_BOTTOM, u))
    right = closed_curve(mirror(between(_RIGHT_LUNG_TOP, _RIGHT_LUNG_BOTTOM, u), -1))
    return [left, right]


def fissures(u):
    """Outlines of the thin double pleura between the lobes of each lung."""
    left = between([(47, 27), (70, 36), (96, 37), (123, 27)], [(84, 20), (95, 4), (106, -8), (116, -13)], u)
    right = between([(34, 28), (62, 32), (94, 26), (123, 12)], [(58, 8), (74, -8), (94, -22), (108, -25)], u)
    return [ribbon(open_curve(path), 0.28) for path in (left, right * [-1, 1])]


def mediastinum(u):
    """Layers of pericardium, heart, great vessels, oesophagus and small vessels, unenhanced."""

    def shape(top, bottom):
        return closed_curve(between(top, bottom, u))

    sac = shape(
        xy("-32,-44 -8,-53 22,-61 42,-46 53,-18 51,6 38,19 8,25 -22,23 -42,10 -45,-16 -42,-32"),
        xy("-28,-61 2,-72 44,-71 72,-56 88,-26 86,2 70,22 36,32 -4,27 -36,22 -57,2 -54,-34"),
    )
    right_atrium = shape(
        xy("-45,-18 -42,-26 -35,-28 -28,-24 -27,-16 -30,-9 -37,-8 -43,-11"),
        xy("-54,-12 -46,-36 -27,-41 -11,-28 -8,-6 -18,11 -38,15 -50,6"),
    )
    right_ventricle = shape(
        xy("3,-46 8,-55 18,-59 29,-55 33,-46 28,-36 18,-32 8,-36"),
        xy("-22,-50 -2,-65 36,-66 64,-53 50,-38 28,-30 6,-24 -12,-32"),
    )
    left_ventricle = shape(
        xy("38,-28 46,-28 51,-18 51,-4 48,6 42,8 38,-2 37,-16"),
        xy("30,-40 58,-52 82,-36 89,-6 77,18 46,24 24,8 20,-16"),
    )
    left_atrium = shape(
        xy("-30,8 -12,-4 12,-7 36,-1 44,10 30,18 4,22 -22,20"),
        xy("-24,8 -8,-8 16,-8 34,6 38,16 26,24 6,27 -16,22"),
    )
    root = shape(
        xy("-29,-26 -24,-38 -12,-43 0,-38 5,-26 0,-14 -12,-9 -24,-14"),
        xy("-14,-22 -8,-33 6,-36 22,-31 28,-19 22,-8 8,-3 -6,-8"),
    )
    wall = np.clip((14 - u) / 24, 0, 1)  # the ventricle's wall thickens from the appendage at the top
    # The right ventricle's front and the groove beside the right atrium carry fat; only there does the
    # pericardium stand out as a line. On the left it lies on the heart.
    pericardium = ribbon(np.roll(sac, 24, axis=0)[:60], [0.2, 0.8, 0.9, 0.6, 0.9, 0.7, 0.2])
    base = between([(-10, -14), (8, -12), (14, -10), (2, -8)], [(-12, -14), (4, -30), (34, -24), (14, 10)], u)
    layers = [
        Layer("fat", [sac]),
        Layer("muscle", [pericardium], 30),
        Layer(
            "heart muscle",
            [right_atrium, right_ventricle, left_ventricle, left_atrium, root, closed_curve(base)],
            ripple=2.5,
        ),
        Layer(
            "blood",
            [
                inset(right_atrium, 1.6),
                inset(right_ventricle, 2.0 + wall),
                inset(left_atrium, 1.5),
                inset(left_ventricle, 2.0 + 7.5 * wall),
            ],
            ripple=2.5,
        ),
        Layer("aorta", [inset(root, 1.6)]),
    ]
    oesophagus = shape(xy("-5,32 2,28 10,30 12,35 5,38 -3,37"), xy("-1,37 5,32 13,33 16,38 9,42 2,41"))
    gas = ellipse(*between((4, 32.8), (9, 37.5), u), 1.4 + 0.9 * np.sin(u / 5), 0.5 + 0.4 * np.sin(u / 4))
    small = [
        *(ellipse(-6, 41, 3.4, 3.0), ellipse(2, 44.5, 1.6, 1.4)),  # azygos vein, thoracic duct
        *(ellipse(25, -76, 1.6), ellipse(-26, -76, 1.5), ellipse(28.5, -76, 1.1)),  # internal thoracic
        ellipse(*between((-18, -46), (-20, -44), u), 1.9),  # right coronary artery
        ellipse(*between((36, -36), (58, -58), u), 1.7),  # left anterior descending artery
        ellipse(*between((34, 2), (52, 26), u), 2.2, 1.7),  # circumflex artery, later coronary sinus
    ]
    descending = ellipse(*between((24.5, 50.5), (22, 52), u), 12.8, 12.2, 40)
    layers += [
        Layer("heart muscle", [descending], 46),
        Layer("aorta", [inset(descending, 1.5)]),
        Layer("oesophagus", [oesophagus]),
        Layer("airway", [gas], ripple=3.0),
        Layer("blood", small),
    ]
    nodes = [(14, 31, 3.2, 2.0), (-10, 27, 3.4, 2.0), (40, 25, 3.0, 4.2), (-34, 23, 4.0, 3.0)]  # lymph nodes
    if abs(u - 4) < 6:
        layers.append(Layer("muscle", [ellipse(*node) for node in nodes]))
    if abs(u + 2.5) < 2.6:  # calcified plaque of the left anterior descending artery
        x, y = between((36, -36), (58, -58), u)
        layers.append(Layer("calcification", [ellipse(x - 0.8, y + 0.6, 2.4, 1.5)]))
    return layers


def table(u):
    """Layers of the couch with its mattress, and of the gown and sheet that cover the patient."""
    top = open_curve(xy("-174,147 -128,149 -68,160 0,164.5 68,160 128,149 174,147"))
    shell = np.concatenate([top, [(88, 204), (-88, 204)]])
    edges = (((-174, 147), (-88, 204)), ((174, 147), (88, 204)), ((-88, 204), (88, 204)))
    sides = [ribbon(np.linspace(*ends, 20), 1.3) for ends in edges]
    mattress = [(-126, 128), (-80, 128.5), (0, 129), (80, 128.5), (126, 128)]
    lower = xy("127,130 110,142 60,150 0,154 -60,150 -110,142 -127,130")
    pad = np.concatenate([open_curve(mattress), open_curve(lower)])
    skin = trunk(u)
    angle = np.arctan2(skin[:, 0], -skin[:, 1])  # 0 in front, positive to the left
    folds = 5.5 + 3.5 * np.sin(7 * angle + 0.06 * u) + 1.5 * np.sin(23 * angle + 0.1 * u) ** 2
    gown = (skin - inset(skin, 1.0)) * folds[:, None] + skin
    front = np.argsort(angle)
    gown = gown[front[np.abs(angle[front] - 0.1) < 1.75]]
    sheet_x = np.linspace(-166, 172, 130)
    sheet = -149 + 38 * (sheet_x / 160) ** 4 + 3 * np.sin(sheet_x / 17 + u / 30) + 1.5 * np.sin(sheet_x / 5.3)
    sheet = np.stack([sheet_x, sheet], axis=1)
    return [
        Layer("foam", [shell], rigid=True),
        Layer("table", [ribbon(top, [3.4, 2.6, 1.5, 1.5, 1.5, 2.6, 3.4]), *sides], rigid=True),
        Layer("foam", [pad], -925, rigid=True),
        Layer("cloth", [ribbon(np.append(pad, pad[:1], axis=0), 0.5)], -560, rigid=True),
        Layer("table", [np.array([(-15, 214), (15, 214), (15, 224), (-15, 224)])], -480, rigid=True),
        Layer("cloth", [ribbon(gown, 0.32)]),
        Layer("cloth", [ribbon(sheet, 0.9), ribbon(sheet + [4, 6.5], 0.7)], -820),
    ]


# ---------------------------------------------------------------------------------------------- vessels


def grow_tree(root, heading, targets, tip_radius):
    """Grow a vessel that reaches every target, splitting the targets in two at each branching.

    Parameters
    ----------
    root : (3,) array
        Start of the stem in mm (x, y, u).
    heading : (3,) array
        Its direction.
    targets : (n, 3) array
        Points to be supplied, in mm.
    tip_radius : float
        Radius in mm of a vessel that supplies one target.

    Returns
    -------
    (m, 8) array
        Straight pieces: x, y, u, radius of the one end and of the other, mm. The radius follows Murray's law
        with the exponent `MURRAY`.
    """
    pieces = []
    todo = [(np.asarray(root, float), np.asarray(heading, float), np.asarray(targets, float), None)]
    steps = np.linspace(0, 1, 5)[:, None]
    while todo:
        start, forward, goals, radius = todo.pop()
        heights = np.append(goals[:, 2], start[2])
        if heights.min() > 30 or heights.max() < -30:
            continue  # never comes near the series again
        way = goals.mean(axis=0) - start
        # Early branching sends many vessels side by side through the lung; late branching makes bushes.
        end = start + way * np.interp(len(goals), [1, 2, 8, 60, 300], [1.0, 0.3, 0.3, 0.29, 0.2])
        radius_end = tip_radius * len(goals) ** (1 / MURRAY)
        bend = start + forward * (0.4 * np.linalg.norm(end - start))
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        radii = np.linspace(radius_end if radius is None else min(radius, 1.15 * radius_end), radius_end, 5)
        points = np.column_stack([curve, radii])
        pieces.append(np.hstack([points[:-1], points[1:]]))
        if len(goals) > 1:
            direction = end - bend
            direction /= max(np.linalg.norm(direction), 1e-9)
            spread = goals - goals.mean(axis=0)
            spread = spread - np.outer(spread @ direction, direction)
            along = spread[:, np.argmax((spread**2).sum(axis=0))]
            order = np.argsort(along, kind="stable")
            share = len(goals) * (38 if len(goals) % 2 else 50) // 100 or 1  # uneven twins look natural
            todo += [
                (end, direction, goals[order[:share]], radius_end),
                (end, direction, goals[order[share:]], radius_end),
            ]
    return np.concatenate(pieces)


# Start (x, y, u in mm) and heading of the stems of the left lung and, with x negated, of the right one: first
# of the lobes in front of the oblique fissure, then of the lower lobe behind it.
_ARTERY_STEMS = {
    1: [((47, 12, 15), (0.7, -0.5, 0.5)), ((47, 31, 9), (0.3, 0.3, -0.9))],
    -1: [((44, 9, 15), (0.7, -0.5, 0.5)), ((40, 27, 9), (0.3, 0.3, -0.9))],
}
_VEIN_STEMS = {
    1: [((42, 2, 12), (0.6, -0.7, 0.4)), ((36, 15, -2), (0.85, 0.45, -0.25))],
    -1: [((32, 0, 12), (0.6, -0.7, 0.4)), ((27, 15, -2), (0.9, 0.4, -0.2))],
}
# Tubes: x, y, u, radius in mm along them. Arteries from the hilum to the lower lobes; the lower lobe bronchi
# and those of the middle lobe and the lingula.
_ARTERIES = [
    [(47, 26, 26, 6.4), (47, 29, 17, 6.2), (47, 31, 9, 5.6)],
    [(-39, 20, 26, 6.4), (-39, 24, 17, 6.2), (-40, 27, 9, 5.6)],
]
_BRONCHI = [
    [(-20, 24, 30, 5.6), (-25, 28, 8, 5.4), (-31, 35, -8, 4.6), (-38, 44, -30, 3.6)],
    [(-25, 27, 9, 3.6), (-41, 22, 3, 2.9), (-60, 8, -3, 2.3)],
    [(29, 22, 30, 5.4), (34, 30, 10, 5.2), (40, 38, -6, 4.4), (48, 48, -30, 3.4)],
    [(31, 24, 20, 3.6), (47, 17, 18, 2.8), (67, 7, 16, 2.0)],
]


def lung_trees():
    """Vessels and bronchi of both lungs near the series, each (m, 8) as from :func:`grow_tree`."""
    rng = np.random.default_rng(7)
    vessels, bronchi = [], []
    for side, lung in ((1, 0), (-1, 1)):
        # Targets, about 8 mm apart, fill the lung far above and below the series, as vessels run aslant.
        grid = np.stack(
            np.meshgrid(*(np.arange(a, b, 8.0) for a, b in ((0, 130), (-75, 100), (-70, 65)))), -1
        )
        for kind, stems in (("artery", _ARTERY_STEMS[side]), ("vein", _VEIN_STEMS[side])):
            points = (grid.reshape(-1, 3) + rng.uniform(-4, 4, (grid.size // 3, 3))) * [side, 1, 1]
            levels = np.clip(np.round(points[:, 2] / 10) * 10, -20, 20)
            inside = np.zeros(len(points), bool)
            for level in (-20, -10, 0, 10, 20):
                rows = levels == level
                inside[rows] = contains(inset(lung_outlines(level)[lung], 4.0), points[rows, :2])
            points = points[inside]
            lower_lobe = points[:, 1] > 10 + 0.9 * points[:, 2]
            for (start, heading), lobe in zip(stems, (~lower_lobe, lower_lobe), strict=True):
                tree = grow_tree(
                    np.array(start) * [side, 1, 1], np.array(heading) * [side, 1, 1], points[lobe], 0.36
                )
                vessels.append(tree)
                if kind == "artery":  # a bronchus runs beside each artery and is about as wide
                    partner = tree[(np.minimum(tree[:, 3], tree[:, 7]) > 1.2) & (tree[:, 3] < 3.4)].copy()
                    for end in (0, 4):
                        gap = 1.8 * partner[:, end + 3 : end + 4] + 0.6
                        partner[:, end : end + 3] += np.array([-0.75 * side, 0.45, 0.0]) * gap
                        partner[:, end + 3] *= 0.82
                    bronchi.append(partner)
    for tubes, found in ((_ARTERIES, vessels), (_BRONCHI, bronchi)):
        for tube in tubes:
            curve = open_curve(tube, 4)
            found.append(np.hstack([curve[:-1], curve[1:]]))
    return tuple(
        pieces[
            (np.abs(pieces[:, [2, 6]]) - pieces[:, [3, 7]]).min(axis=1)
            < N_SLICES * STEP_MM / 2 + THICKNESS_MM
        ]
        for pieces in (np.concatenate(vessels), np.concatenate(bronchi))
    )


def contains(outline, points):
    """Tell which points (n, 2) lie inside a closed outline (m, 2): bool (n,)."""
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, axis=0).T
    x, y = points[:, :1], points[:, 1:]
    crosses = (y0 <= y) != (y1 <= y)
    at = x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    return (crosses & (x < at)).sum(axis=1) % 2 == 1


_DIRECTIONS = np.stack(
    [np.cos(2 * np.pi * np.arange(14) / 14), np.sin(2 * np.pi * np.arange(14) / 14)], axis=1
)
_ALONG = np.linspace(0, 1, 5)


def cut_tubes(pieces, u, thinner=0.0):
    """Outlines (m, 14, 2) of the cut of tube pieces (k, 8) by the plane at `u`; walls `thinner` mm off.

    A piece is a row of balls. Each ball that the plane meets leaves a disc; the outline is the discs' hull.
    """
    low = np.minimum(pieces[:, 2] - pieces[:, 3], pieces[:, 6] - pieces[:, 7])
    high = np.maximum(pieces[:, 2] + pieces[:, 3], pieces[:, 6] + pieces[:, 7])
    near = pieces[(low < u) & (high > u)]
    balls = near[:, None, :4] + _ALONG[:, None] * (near[:, None, 4:] - near[:, None, :4])
    radius = np.maximum(balls[..., 3] - thinner, 0)
    disc = np.sqrt(np.maximum(radius**2 - (balls[..., 2] - u) ** 2, 0))
    reach = balls[..., :2] @ _DIRECTIONS.T + disc[..., None]  # (k, ball, direction)
    reach = np.where(disc[..., None] > 0, reach, -np.inf)
    best = reach.argmax(axis=1)
    rows = np.arange(len(near))[:, None]
    outlines = balls[rows, best, :2] + disc[rows, best][..., None] * _DIRECTIONS
    return outlines[disc.max(axis=1) > 0.05]


# ---------------------------------------------------------------------------------------------- rendering


def rasterise(outlines):
    """Part of each pixel covered by the union of closed outlines.

    Parameters
    ----------
    outlines : list of (n, 2) array
        x, y in mm.

    Returns
    -------
    coverage : (rows, columns) array, 0 to 1
    window : tuple of two slices
        Where `coverage` lies in the image.

    Notes
    -----
    Exact along the row, four scan lines across it. Every edge adds, where a scan line crosses it, its signed
    area to the right of it; a running sum along the row turns these into coverage.
    """
    lines = 4
    sizes = np.array([len(outline) for outline in outlines])
    begins = np.cumsum(sizes) - sizes
    start = (np.concatenate(outlines) - CORNER_MM) / PIXEL_MM + 0.5
    following = np.arange(1, len(start) + 1)
    following[begins + sizes - 1] = begins
    end = start[following]
    twice_area = np.add.reduceat(start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1], begins)
    turn = np.repeat(np.sign(twice_area), sizes)
    left, first = np.clip(np.floor(start.min(axis=0)).astype(int), 0, 511)
    right, last = np.clip(np.ceil(start.max(axis=0)).astype(int) + 1, 1, 512)
    height, width = last - first, right - left
    y0, y1 = (start[:, 1] - first) * lines, (end[:, 1] - first) * lines
    low = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height * lines).astype(int)
    high = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height * lines).astype(int)
    edge = np.repeat(np.arange(len(low)), high - low)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(high - low) - (high - low), high - low) + low[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (y1[edge] - y0[edge])
    x = np.clip(start[edge, 0] - left + (line + 0.5 - y0[edge]) * slope, 0, width)
    sign = np.where(y1[edge] > y0[edge], -1.0, 1.0) * turn[edge] / lines
    cell = np.minimum(x.astype(int), width)
    at = (line // lines) * (width + 2) + cell
    n = height * (width + 2)
    part = np.bincount(at, sign * (1 - (x - cell)), n) + np.bincount(at + 1, sign * (x - cell), n)[:n]
    coverage = np.clip(part.reshape(height, width + 2)[:, :width].cumsum(axis=1), 0, 1)
    return coverage, (slice(first, last), slice(left, right))


def fields(rng, previous=None):
    """Random fields of tissue structure: 'grain' (SD 1), 'septa' (mean 0) and 'strands' (0 to 1).

    Each is one slice, (512, 512). Given the `noise` of the slice before, the fields change smoothly from one
    slice to the next.
    """
    noise = rng.standard_normal((3, *SHAPE))
    if previous is not None:
        noise = 0.8 * previous + 0.6 * noise
    grain = ndi.gaussian_filter(noise[0], 0.9)
    septa = ndi.gaussian_filter(noise[1], (3.4, 5.0))
    strands = ndi.gaussian_filter(noise[2], (5.0, 3.4))
    grain, septa, strands = (field / field.std() for field in (grain, septa, strands))
    # Where a smooth random field passes through zero are thin winding lines: septa of connective tissue.
    thin = np.exp(-((septa / 0.16) ** 2))
    lumps = np.clip(1.5 * np.abs(strands) - 1.3 + 0.35 * grain, 0, 1) + 0.7 * np.exp(-((strands / 0.12) ** 2))
    return {"noise": noise, "grain": grain, "septa": thin - thin.mean(), "strands": np.clip(lumps, 0, 1)}


def scene(u, trees):
    """All layers of the plane at height `u`, from the back of the painting to the front."""
    vessels, bronchi = trees
    lungs = lung_outlines(u)
    centre = np.array(NODULE_CENTRE_MM) - [0, 0, Z_TOP_MM - (N_SLICES - 1) * STEP_MM / 2]
    nodule = np.sqrt(max(NODULE_RADIUS_MM**2 - (u - centre[2]) ** 2, 0))
    layers = [*table(u), *soft_parts(u), *rib_cage(u), *spine(u)]
    layers += [Layer("lung", lungs), Layer("lung vessel", fissures(u), -330)]
    layers += [Layer("lung vessel", list(cut_tubes(vessels, u)))]
    layers += [Layer("airway wall", list(cut_tubes(bronchi, u)))]
    for pieces, wall in ((bronchi[bronchi[:, 3] > 2.3], 1.1), (bronchi[bronchi[:, 3] <= 2.3], 0.62)):
        layers += [Layer("airway", list(cut_tubes(pieces, u, wall)))]
    # The heart covers what grew into it; the wide vessels then pass through its wrapping to its chambers.
    wide = vessels[vessels[:, 3] > 2.5]
    layers += [*mediastinum(u), Layer("lung vessel", list(cut_tubes(wide, u)))]
    if nodule > 0.1:
        layers += [Layer("nodule", [ellipse(*centre[:2], nodule, n=40)], rigid=True)]
    return [layer for layer in layers if layer.outlines]


def render(u, trees, structure):
    """Draw the plane at height `u`: Hounsfield values (512, 512) and labels (512, 512) uint8."""
    hounsfield = np.full(SHAPE, float(TISSUES["air"].hounsfield))
    labels = np.zeros(SHAPE, np.uint8)
    y = CORNER_MM + PIXEL_MM * np.arange(SHAPE[0])[:, None]
    for layer in scene(u, trees):
        outlines = layer.outlines
        if not layer.rigid:
            moved = deform(np.concatenate(outlines), u, layer.ripple)
            outlines = np.split(moved, np.cumsum([len(outline) for outline in outlines])[:-1])
        coverage, window = rasterise(outlines)
        tissue = TISSUES[layer.tissue]
        value = tissue.hounsfield if layer.hounsfield is None else layer.hounsfield
        value = value + tissue.grain * structure["grain"][window]
        if layer.tissue == "lung":
            value = value + LUNG_HU_PER_MM * (y[window[0]] - 10)
        elif layer.tissue == "fat":
            value = value + 55 * structure["septa"][window]
        elif layer.tissue == "muscle":
            value = value - 45 * structure["septa"][window]
        if layer.mask:
            coverage = coverage * structure[layer.mask][window]
        hounsfield[window] += coverage * (value - hounsfield[window])
        # Half a pixel is a common coverage of straight edges: keep it clear of the last bit of a sum.
        labels[window][coverage > 0.4999] = tissue.label
    return hounsfield, labels


# ---------------------------------------------------------------------------------------------- scanner


def scan_without_noise():
    """Hounsfield volume (slice, row, column) blurred as by the scanner, and labels at each slice's middle."""
    trees = lung_trees()
    rng = np.random.default_rng(223)
    structure, current = [], None
    for _ in range(N_SLICES):
        current = fields(rng, None if current is None else current["noise"])
        structure.append({name: field for name, field in current.items() if name != "noise"})
    reach = len(SLICE_PROFILE) // 2
    volume = np.zeros((N_SLICES, *SHAPE))
    labels = np.zeros((N_SLICES, *SHAPE), np.uint8)
    for plane in range(-reach, (N_SLICES - 1) * SUBSLICES + reach + 1):
        u = (N_SLICES - 1) * STEP_MM / 2 - plane * STEP_MM / SUBSLICES
        nearest = int(np.clip((plane + 1) // SUBSLICES, 0, N_SLICES - 1))
        drawn, tissue = render(u, trees, structure[nearest])
        for k in range(N_SLICES):
            if abs(plane - k * SUBSLICES) <= reach:
                volume[k] += SLICE_PROFILE[plane - k * SUBSLICES + reach] * drawn
        if plane % SUBSLICES == 0 and 0 <= plane // SUBSLICES < N_SLICES:
            labels[plane // SUBSLICES] = tissue
    for image in volume:
        ndi.gaussian_filter(image, PSF_SIGMA_MM / PIXEL_MM, output=image)
    return volume, labels


def path_noise(image, angles):
    """Noise of the projections of one slice, mapped back into the image.

    Parameters
    ----------
    image : (512, 512) array
        Hounsfield values.
    angles : (n,) array
        Directions in radians; the detector runs along (cos, sin) in (x, y), rays run across it.

    Returns
    -------
    (n, 512, 512) array
        For each direction the relative standard deviation of the line integral along the ray through each
        pixel. A line integral p leaves N exp(-p) of N photons, so its standard deviation is
        exp(p / 2) / sqrt(N).
    """
    coarse = image.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    attenuation = WATER_PER_MM * np.maximum(coarse + 1000, 0) / 1000 * (4 * PIXEL_MM)
    middle = np.arange(128) - 63.5
    pixel = (np.arange(512) - 255.5) / 4
    deviations = []
    for angle in angles:
        x = np.cos(angle) * middle - np.sin(angle) * middle[:, None] + 63.5
        y = np.sin(angle) * middle + np.cos(angle) * middle[:, None] + 63.5
        integral = ndi.map_coordinates(attenuation, [y, x], order=1).sum(axis=0)
        # The shaped ("bow-tie") filter hands the thin edge of the body fewer photons.
        bow_tie = 0.5 * (middle / 64) ** 2
        deviation = np.exp((integral + bow_tie) / 2)
        offset = np.cos(angle) * pixel + np.sin(angle) * pixel[:, None]
        deviations.append(np.interp(offset, middle, deviation))
    return np.stack(deviations)


def scanner_noise(volume, n_angles=12):
    """Noise (slice, row, column) in HU as filtered back-projection leaves it.

    Every view adds its own noise, filtered by the ramp and the soft kernel and smeared along its rays. Views
    are taken together in `n_angles` groups: a group is noise whose spectrum fills two opposite wedges of the
    frequency plane, scaled by the noise of the rays through each pixel. Long paths through bone and flesh
    give loud rays, so streaks run along the longest diameter of the body.
    """
    angles = np.pi * np.arange(n_angles) / n_angles
    row, column = np.meshgrid(fft.fftfreq(512), fft.rfftfreq(512), indexing="ij")
    frequency = np.hypot(row, column)
    towards = np.arctan2(row, column)
    sigma = PSF_SIGMA_MM / PIXEL_MM
    # Back-projection gives 1/f of the power of white noise, the ramp f squared: together f.
    kernel = np.sqrt(frequency) * np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    wedges = []
    for angle in angles:
        away = np.abs((towards - angle + np.pi / 2) % np.pi - np.pi / 2)
        wedges.append(kernel * np.sqrt(np.clip(1 - away * n_angles / np.pi, 0, 1)))
    scale = path_noise(volume.mean(axis=0), angles)
    rng = np.random.default_rng(2004)
    noise = np.empty_like(volume)
    for k in range(len(volume)):
        spectrum = fft.rfft2(rng.standard_normal(SHAPE))
        noise[k] = sum(
            fft.irfft2(spectrum * wedge, SHAPE) * map_ for wedge, map_ in zip(wedges, scale, strict=True)
        )
    # Overlapping slices share a part of their measurements.
    noise[1:] = 0.97 * noise[1:] + 0.243 * noise[:-1]
    middle = noise[:, 216:296, 216:296]
    return noise * (NOISE_HU / np.sqrt((middle**2).mean()))


def scan(volume):
    """Whole Hounsfield values (slice, row, column) int16 with noise, floor and padding."""
    pixel = CORNER_MM + PIXEL_MM * np.arange(512)
    outside = np.hypot(pixel, pixel[:, None]) > FIELD_RADIUS_MM
    measured = np.maximum(np.rint(volume + scanner_noise(volume)), PADDING_HU).astype(np.int16)
    measured[:, outside] = PADDING_HU
    return measured


# ---------------------------------------------------------------------------------------------- files


def slice_positions():
    """Positions z in mm of the full grid, from the head down, the missing slice included: (12,)."""
    return np.round(Z_TOP_MM - STEP_MM * np.arange(N_SLICES), 2)


def true_affine():
    """Affine (4, 4) from (column, row, slice) of the full grid to RAS+ mm.

    DICOM's x and y point to the left and the back, those of RAS+ to the right and the front.
    """
    affine = np.diag([-PIXEL_MM, -PIXEL_MM, -STEP_MM, 1.0])
    affine[:3, 3] = -CORNER_MM, -CORNER_MM, Z_TOP_MM
    return affine


def unique_id(name):
    """DICOM identifier below 2.25 that is always the same for the same name."""
    return pydicom.uid.UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'slicewise/chest-ct/' + name).int}")


def dataset(image, index):
    """DICOM data set of one slice.

    Parameters
    ----------
    image : (512, 512) int16 array
        Hounsfield units.
    index : int
        Slice of the full grid, from the head down.
    """
    z = slice_positions()[index]
    meta = pydicom.dataset.FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = unique_id(f"image {index}")
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = unique_id("implementation")
    meta.ImplementationVersionName = "SLICEWISE"
    ds = pydicom.dataset.Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20040515"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "115208", "115254", "115254", "115325"
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "Slicewise"
    ds.ManufacturerModelName = "Simulated scanner"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Simulated thorax"
    ds.SeriesDescription = "Simulated CT, heart level, native"
    ds.PatientName = "Simulated^Thorax"
    ds.PatientID = "SIMULATED"
    ds.PatientBirthDate = ""
    ds.PatientSex = "F"
    ds.PatientWeight = 82
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Simulated: there is no patient"
    ds.BodyPartExamined = "CHEST"
    ds.ScanOptions = "HELICAL MODE"
    ds.SliceThickness = THICKNESS_MM
    ds.KVP = 140
    ds.DataCollectionDiameter = ds.ReconstructionDiameter = 500
    ds.SoftwareVersions = "1"
    ds.GantryDetectorTilt = 0
    ds.TableHeight = 150
    ds.RotationDirection = "CW"
    ds.XRayTubeCurrent = 80
    ds.ExposureTime = 870
    ds.ConvolutionKernel = "SOFT"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = unique_id("study")
    ds.SeriesInstanceUID = unique_id("series")
    ds.StudyID = "1"
    ds.SeriesNumber = 2
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = FIRST_INSTANCE + index
    ds.ImagePositionPatient = [CORNER_MM, CORNER_MM, f"{z:.2f}"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID = unique_id("frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.SliceLocation = f"{z:.2f}"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = SHAPE
    ds.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.WindowCenter, ds.WindowWidth = 40, 400
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = INTERCEPT, 1, "HU"
    ds.PixelData = (image.astype(np.int32) - INTERCEPT).astype("<u2").tobytes()
    return ds


def make(folder):
    """Write the series and its truth.

    Parameters
    ----------
    folder : path
        Made if need be. It gets eleven `IM-….dcm`, whose numbers do not follow the position, and `truth.npz`
        (see :func:`load_truth`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    volume, labels = scan_without_noise()
    images = scan(volume)
    for index, number in FILE_NUMBERS.items():
        ds = dataset(images[index], index)
        ds.save_as(folder / f"IM-{number:04d}.dcm", enforce_file_format=True)
    np.savez(
        folder / "truth.npz",
        labels=labels,
        label_names=np.array(sorted(TISSUES, key=lambda name: TISSUES[name].label)),
        hounsfield=np.rint(volume).astype(np.int16),
        affine=true_affine(),
        slice_z_mm=slice_positions(),
        missing=MISSING,
        nodule_centre_mm=np.array(NODULE_CENTRE_MM) * [-1, -1, 1],
        nodule_radius_mm=NODULE_RADIUS_MM,
    )


def load_truth(folder):
    """Read what is known of the simulated chest.

    Parameters
    ----------
    folder : path
        The folder of the series.

    Returns
    -------
    dict
        - ``labels``, (12, 512, 512) uint8: the tissue at the middle of each slice of the full grid (slice,
          row, column), from the head down, the missing slice included;
        - ``label_names``: dict from label to name of the tissue;
        - ``tissue_hounsfield``: dict from name of the tissue to its mean, in Hounsfield units;
        - ``hounsfield``, (12, 512, 512) int16: what the scanner would show without noise, floor and padding;
        - ``affine``, (4, 4): from (column, row, slice) to RAS+ mm;
        - ``slice_z_mm``, (12,): place of each slice along the body, in mm, growing to the head;
        - ``missing``: index of the slice that has no file;
        - ``missing_z_mm``: its place along the body, in mm;
        - ``nodule_centre_mm``, (3,): middle of the nodule, RAS+ mm;
        - ``nodule_radius_mm``: its radius in mm.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        truth = {name: stored[name] for name in stored.files}
    truth["label_names"] = dict(enumerate(truth["label_names"].tolist()))
    truth["tissue_hounsfield"] = {name: tissue.hounsfield for name, tissue in TISSUES.items()}
    truth["missing"] = int(truth["missing"])
    truth["missing_z_mm"] = float(truth["slice_z_mm"][truth["missing"]])
    truth["nodule_radius_mm"] = float(truth["nodule_radius_mm"])
    return truth

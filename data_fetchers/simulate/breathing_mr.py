"""Three simulated MR images of a breathing woman, with the motion of each pixel from any one to any other.

The plane is sagittal, through the right breast, lung and liver, beside the spine: ribs and muscles of the
back, but no vertebrae and no heart. The contrast is that of a fast, T1-weighted gradient echo with fat and
water out of phase: bright fat, black lines where fat meets water, bright flowing blood, lung near the noise.

One reference anatomy, at the end of expiration, is painted and then moved. A point X of it comes to lie at

    F(X) = W(X)         in the wall: skin, fat, breast, muscles, ribs
    F(X) = W(S(X))      inside: lung, liver, gallbladder, kidney

W, the breathing of the wall, is smooth and small. S, the descent of the diaphragm, is large and takes the
inside onto itself: points at its border stay on the border and slide along it. So the motion is continuous
across the border in the normal direction, and jumps in the tangential one. Lung and liver move together at
the diaphragm; the lung expands, and its signal falls as its density does. Motion through the plane is not
modelled, nor are the heart's beat and blood that flows more or less as the subject breathes.

Written files: ``cine_MR_1.png``, ``cine_MR_2.png``, ``cine_MR_3.png`` (128 × 128, 8 bit), ``truth.npz``.

Coordinates are pixels of the image, (row, column): rows grow to the feet, columns to the back.

Sources
-------
Descent of the diaphragm, 15–20 mm in quiet and about 50–60 mm in deep breathing of women: Boussuges et al.
2009, doi 10.1378/chest.08-1541. That it is larger at the back than at the front, the motion of the wall, the
noise, its correlation and the scale of the grey values follow the published frames that these stand in for.
"""

from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from scipy.interpolate import PchipInterpolator

from data_fetchers.simulate.png import png

SEED = 20266
SHAPE = (128, 128)
PIXEL_MM = 2.7
PHASE = np.array([0.0, 0.32, 1.0])  # part of a deep breath that has been drawn in at each frame
FINE, MARGIN = 4, 8  # the scene has FINE points per pixel and axis, and MARGIN pixels more at each side
NOISE_SD = 5.9  # of the real and the imaginary part, in grey values
GREY_STEP = 255 / 61  # the scanner stored 61 levels; they were stretched to 8 bits
BANDWIDTH = 0.47  # cycles per pixel along the columns, beyond which nothing was measured

LABELS = {
    "background": 0,
    "fat": 1,  # with the skin
    "gland": 2,
    "muscle": 3,
    "rib": 4,
    "lung": 5,  # with its vessels
    "liver": 6,  # with its vessels
    "gallbladder": 7,
    "kidney": 8,
}
GREY = {
    "background": 0,
    "fat": 205,
    "gland": 84,
    "muscle": 86,
    "rib": 34,
    "lung": 15,
    "liver": 140,
    "gallbladder": 62,
    "kidney": 96,
}

TOP = 32.5  # row of the lung's apex
# Deep inspiration: descent of the diaphragm in pixels from front (0) to back (1); rows of its dome at rest
DESCENT = PchipInterpolator([0.0, 0.25, 0.5, 0.75, 1.0], [14.0, 16.0, 18.5, 20.5, 21.5])
DOME = PchipInterpolator(
    [0.0, 0.06, 0.14, 0.24, 0.36, 0.48, 0.60, 0.72, 0.84, 0.94, 1.0],
    [101.0, 94.5, 88.8, 84.4, 81.3, 80.3, 81.4, 84.8, 90.5, 98.0, 106.0],
)
# Columns of the borders by row: skin in front and behind, and the inner wall in front and behind
SKIN_FRONT = PchipInterpolator(
    [-10, 0.5, 2, 5, 10, 16, 24, 32, 40, 48, 56, 64, 72, 80, 84, 90, 97, 105, 112, 118, 121, 124, 140],
    [
        66,
        64,
        57,
        52,
        47.5,
        43,
        37.5,
        32,
        26,
        20.5,
        15.8,
        12.3,
        10.3,
        9.2,
        8.8,
        9.2,
        9.8,
        10.5,
        12,
        15,
        18,
        19,
        20,
    ],
)
SKIN_BACK = PchipInterpolator(
    [-10, 0.5, 2, 6, 12, 20, 28, 36, 44, 52, 60, 70, 73, 75, 90, 104, 116, 128, 140],
    [
        67,
        68,
        74,
        80,
        86.5,
        93.5,
        99.5,
        103.8,
        106.3,
        107.4,
        107.5,
        106.8,
        106,
        104.3,
        103.8,
        103,
        101.3,
        98,
        96,
    ],
)
INNER_FRONT = PchipInterpolator(
    [TOP, 32.9, 33.9, 36, 40, 46, 53, 61, 69, 77, 85, 94, 104, 116, 140],
    [74, 71, 66.5, 61, 54.5, 47.5, 41.5, 36.7, 33.2, 30.7, 29.1, 28, 27.3, 26.8, 26.6],
)
INNER_BACK = PchipInterpolator(
    [TOP, 32.9, 33.9, 36, 40, 46, 54, 64, 76, 90, 104, 116, 140],
    [74, 76, 78.5, 81, 83.6, 85.8, 87.4, 88.6, 89.3, 89.7, 89.8, 89.4, 88],
)


def make(folder):
    """Write the three images and the truth.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """
    folder = Path(folder)
    scene = _reference()
    frames = [_frame(scene, phase, np.random.default_rng([SEED, 9, k])) for k, phase in enumerate(PHASE)]
    for k, frame in enumerate(frames, start=1):
        (folder / f"cine_MR_{k}.png").write_bytes(png(frame))
    np.savez_compressed(folder / "truth.npz", **_truth(scene))


def load_truth(folder):
    """Read the truth of the images.

    Returns
    -------
    dict of ndarray
        - ``displacement``, (fixed, moving, axis, row, column): for every ordered pair of frames, in pixels,
          axis 0 along the rows. Pull-back: ``moving(x + displacement(x))`` shows the tissue of ``fixed(x)``.
          In the background, where nothing moves, the field of the wall goes on;
        - ``valid``, (fixed, moving, row, column): True where the tissue of ``fixed(x)`` is in both images;
        - ``labels``, (frame, row, column): the tissue of each pixel;
        - ``label_names``: dict from label to name of the tissue;
        - ``side``, (frame, row, column): 0 background, 1 wall, 2 inside;
        - ``border``, (frame, row, column): the same within 1.5 pixels of the border along which the inside
          slides, else 0;
        - ``phase``, (frame,): 0 at the end of expiration, 1 at deep inspiration;
        - ``pixel_mm``: height and width of a pixel in mm.
    """
    with np.load(Path(folder) / "truth.npz") as stored:
        truth = dict(stored)
    return truth | {"label_names": {label: name for name, label in LABELS.items()}}


# Motion


def _wall(points, phase):
    """Return where W, the breathing of the wall, takes reference ``points`` (2, ...): forward and up."""
    row, column = points
    front = 0.5 - 0.5 * np.tanh((column - 56.0) / 17.0)
    forward = 3.2 * (0.5 + 0.5 * np.tanh((row - 50.0) / 20.0))
    headward = 0.9 * np.exp(-(((row - 78.0) / 34.0) ** 2))
    return np.stack([row - phase * headward * front, column - phase * forward * front])


def _wall_back(points, phase):
    """Return the reference points that W takes to ``points`` (2, ...)."""
    found = points
    for _ in range(12 if phase else 0):  # each pass divides the error by seven or more
        found = found + (points - _wall(found, phase))
    return found


def _across(points):
    """Return how far ``points`` (2, ...) lie from the front (0) to the back (1) of the inside, row by row."""
    row, column = points
    row = np.maximum(row, TOP + 1e-6)
    front, back = INNER_FRONT(row), INNER_BACK(row)
    return (column - front) / (back - front)


def _inside(points):
    """Return which ``points`` (2, ...) of the reference lie within the inner wall."""
    across = _across(points)
    return (points[0] > TOP) & (across > 0) & (across < 1)


def _descent(row, across):
    """Return how far a reference point moves down in deep inspiration, and the derivative along the rows.

    From the apex to the diaphragm the descent grows, the more the lower; below it falls slightly, as the
    liver is squeezed a little. A softplus joins the two.
    """
    height = DOME(across) - TOP
    t = (row - TOP) / height
    grown = 1.25 * t**2 / (t + 0.25)
    slope = 1.25 * (t**2 + 0.5 * t) / (t + 0.25) ** 2
    # Beyond t = 1 go on in a straight line, then take away so much that the line falls by 0.12.
    past = np.maximum(t - 1.0, 0.0)
    grown = np.where(past > 0, 1.0 + 1.2 * past, grown)
    slope = np.where(past > 0, 1.2, slope)
    width = 0.02
    z = np.clip((t - 1.0) / width, -40.0, 40.0)
    soft = width * np.logaddexp(0.0, z) + np.maximum(t - 1.0 - 40.0 * width, 0.0)
    most = DESCENT(across)
    return most * (grown - 1.32 * soft), most / height * (slope - 1.32 / (1.0 + np.exp(-z)))


def _slide(points, phase):
    """Return where S takes reference ``points`` (2, n) of the inside: down, at the same place across."""
    across = _across(points)
    row = points[0] + phase * _descent(points[0], across)[0]
    safe = np.maximum(row, TOP + 1e-6)
    front, back = INNER_FRONT(safe), INNER_BACK(safe)
    return np.stack([row, front + across * (back - front)])


def _slide_back(points, phase):
    """Return the reference points (2, n) of the inside that S takes to ``points``, by Newton's method."""
    across = _across(points)
    row = points[0]
    for _ in range(12):
        down, slope = _descent(row, across)
        row = np.maximum(row - (row + phase * down - points[0]) / (1.0 + phase * slope), TOP)
    safe = np.maximum(row, TOP + 1e-6)
    front, back = INNER_FRONT(safe), INNER_BACK(safe)
    return np.stack([row, front + across * (back - front)])


def _to_reference(points, phase):
    """Return the reference points that ``points`` (2, ...) of a frame show, and which of them lie inside."""
    found = _wall_back(points, phase)
    inside = _inside(found)
    if phase:
        found[:, inside] = _slide_back(found[:, inside], phase)
    return found, inside


def _from_reference(points, inside, phase):
    """Return where reference ``points`` (2, ...) lie in a frame."""
    moved = np.array(points)
    moved[:, inside] = _slide(moved[:, inside], phase)
    return _wall(moved, phase)


def _truth(scene):
    """Return the content of ``truth.npz``; see `load_truth`."""
    n, (rows, columns) = len(PHASE), SHAPE
    grid = np.indices(SHAPE, dtype=float)
    displacement = np.zeros((n, n, 2, rows, columns), np.float32)
    valid = np.zeros((n, n, rows, columns), bool)
    labels = np.zeros((n, rows, columns), np.uint8)
    side, border = np.zeros_like(labels), np.zeros_like(labels)
    for i, phase in enumerate(PHASE):
        reference, inside = _to_reference(grid, phase)
        index = np.rint((reference + MARGIN) * FINE + 0.5 * (FINE - 1)).astype(int)
        labels[i] = _pick(scene, inside, index)
        body = labels[i] > 0
        side[i] = np.where(body, np.where(inside, 2, 1), 0)
        # Pixels to the nearest one on the other side; the border itself is half a pixel nearer.
        near = np.where(inside, *(ndi.distance_transform_edt(part) for part in (inside, ~inside)))
        border[i] = np.where(near <= 2.0, side[i], 0)
        for j, other in enumerate(PHASE):
            target = _from_reference(reference, inside, other) if i != j else grid
            displacement[i, j] = target - grid
            # The first row of an image is empty.
            seen = (target[0] >= 1) & (target[0] <= rows - 1) & (target[1] >= 0) & (target[1] <= columns - 1)
            valid[i, j] = body & seen & (grid[0] >= 1)
    return {
        "displacement": displacement,
        "valid": valid,
        "labels": labels,
        "side": side,
        "border": border,
        "phase": PHASE,
        "pixel_mm": np.float64(PIXEL_MM),
    }


# Anatomy at the end of expiration


class _Canvas:
    """Grey values and labels on the fine grid, painted one thing over the other.

    ``row`` is (n, 1) and ``column`` (1, n), in pixels; ``grey`` and ``label`` are (n, n).
    """

    def __init__(self):
        n = (SHAPE[0] + 2 * MARGIN) * FINE
        ticks = (np.arange(n) - 0.5 * (FINE - 1)) / FINE - MARGIN
        self.row, self.column = ticks[:, None], ticks[None, :]
        self.grey = np.zeros((n, n), np.float32)
        self.label = np.zeros((n, n), np.uint8)

    def fill(self, where, name, grey=None):
        """Fill ``where`` with a tissue; ``grey`` may be a number, an array or None for the tissue's own."""
        self.label[where] = LABELS[name]
        grey = GREY[name] if grey is None else grey
        self.grey[where] = grey[where] if isinstance(grey, np.ndarray) else grey

    def stroke(self, start, end, width, grey, within=None):
        """Draw a line whose profile is Gaussian: ``width`` is its SD in pixels, ``grey`` its middle."""
        (r0, c0), (r1, c1) = start, end
        reach = 3.5 * width
        first = [int((min(a, b) - reach + MARGIN) * FINE) for a, b in ((r0, r1), (c0, c1))]
        last = [int((max(a, b) + reach + MARGIN) * FINE) + 1 for a, b in ((r0, r1), (c0, c1))]
        box = tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(first, last, strict=True))
        row, column = self.row[box[0]] - r0, self.column[:, box[1]] - c0
        length = (r1 - r0) ** 2 + (c1 - c0) ** 2
        along = np.clip((row * (r1 - r0) + column * (c1 - c0)) / max(length, 1e-9), 0.0, 1.0)
        distance = (row - along * (r1 - r0)) ** 2 + (column - along * (c1 - c0)) ** 2
        weight = np.exp(-0.5 * distance / width**2)
        if within is not None:
            weight = weight * within[box]
        self.grey[box] += (weight * (grey - self.grey[box])).astype(np.float32)

    def line(self, points, width, grey, within=None):
        """Draw strokes from point to point (row, column)."""
        for start, end in zip(points[:-1], points[1:], strict=True):
            self.stroke(start, end, width, grey, within)

    def ellipse(self, centre, half, turn_deg=0.0):
        """Return the points within an ellipse; ``half`` axes along rows and columns before the turn."""
        turn = np.deg2rad(turn_deg)
        row, column = self.row - centre[0], self.column - centre[1]
        u, v = np.cos(turn) * row + np.sin(turn) * column, np.cos(turn) * column - np.sin(turn) * row
        return (u / half[0]) ** 2 + (v / half[1]) ** 2 < 1.0


def _texture(stream, sd_row, sd_column):
    """Return noise on the fine grid, mean 0 and SD 1, blurred by pixels; each ``stream`` is another."""
    n = SHAPE[0] + 2 * MARGIN
    rng = np.random.default_rng([SEED, stream])
    noise = ndi.gaussian_filter(rng.standard_normal((2 * n, 2 * n)), (2 * sd_row, 2 * sd_column))
    noise = ndi.zoom(noise / noise.std(), FINE // 2, order=1, mode="grid-wrap", grid_mode=True)
    return noise.astype(np.float32)


def _along_wall(texture, depth):
    """Return ``texture`` bent so that its columns run at constant ``depth`` (pixels) below a curve."""
    rows = np.broadcast_to(np.arange(len(depth))[:, None], depth.shape)
    columns = np.rint(depth * FINE).astype(int) % texture.shape[1]
    return texture[rows, columns]


def _reference():
    """Return the reference anatomy.

    Returns
    -------
    dict of ndarray, on the fine grid
        ``wall``, ``wall_label``: the wall, going on where the inside is;
        ``inner``, ``inner_label``: the inside, going on where the wall is; ``air``: 1 in the lung's own
        tissue, whose grey value ``inner`` leaves out;
        ``coil``: sensitivity, which does not move.
    """
    wall, inner = _Canvas(), _Canvas()
    _paint_wall(wall)
    air = _paint_inside(inner)
    row, column = wall.row, wall.column
    coil = 0.30 + 0.72 / (1.0 + np.exp(-(row - 56.0) / 12.5))
    near = np.exp(-(column - 5.0) / 16.0) + np.exp(-(107.0 - column) / 15.0)
    return {
        "wall": wall.grey,
        "wall_label": wall.label,
        "inner": inner.grey,
        "inner_label": inner.label,
        "air": air,
        "coil": (coil * (0.90 + 0.34 * near)).astype(np.float32),
    }


def _paint_wall(canvas):
    """Paint skin, fat, breast, muscles and ribs; under the inside the wall goes on."""
    row, column = canvas.row, canvas.column
    safe = np.maximum(row, TOP + 0.01)
    front, back = column - SKIN_FRONT(row), SKIN_BACK(row) - column  # depth below the skin
    chest, spine = INNER_FRONT(safe) - column, column - INNER_BACK(safe)  # distance outside the inner wall
    body = (front > 0) & (back > 0) & (row > 0.4)

    streaks = _along_wall(_texture(1, 4.0, 0.45), chest + 40.0)
    bands = _along_wall(_texture(2, 6.0, 0.5), back + 10.0)
    patches, grain = _texture(3, 2.5, 2.5), _texture(4, 0.6, 0.6)

    high = np.clip((50.0 - row) / 20.0, 0.0, 1.0)
    muscle = GREY["muscle"] * (1.0 + 0.12 * patches + 0.10 * grain + 0.17 * streaks) * (1.0 - 0.12 * high)
    canvas.fill(body, "muscle", muscle)
    _paint_shoulder(canvas, body, muscle, patches, grain)

    # Back: skin, fat, long muscles in two layers.
    canvas.fill(body & (back < 12.5) & (row > 42), "muscle", 84.0 * (1.0 + 0.30 * bands + 0.10 * grain))
    thick = np.interp(row, [-10, 20, 45, 62, 75, 100, 118, 140], [0.6, 1.0, 1.3, 2.2, 4.0, 4.2, 3.9, 3.6])
    behind = body & (back < 3.4 + thick) & (column > 60)
    fat_back = np.interp(row, [10, 40, 66, 76, 140], [120, 165, 205, 190, 195]) - 14.0 * (back - 4.0)
    canvas.fill(behind & (back >= 3.0), "fat", (fat_back + 8.0 * patches).astype(np.float32))
    canvas.fill(behind & (back < 3.0), "fat", 18.0)  # where fat meets water: opposed phases
    skin = np.interp(row, [10, 60, 75], [185, 150, 104])
    canvas.fill(behind & (back < 2.3), "fat", (skin * (1.0 + 0.12 * grain)).astype(np.float32))
    canvas.fill(behind & (back < 1.1), "fat", 44.0)
    ends = [(r, float(SKIN_BACK(r)) - 3.4 - np.interp(r, row[:, 0], thick[:, 0])) for r in range(6, 137, 5)]
    canvas.line(ends, 0.5, 10.0, body)
    fascia = [(r, c - np.interp(r, [42, 70, 100, 130], [6.0, 4.4, 2.6, 2.4])) for r, c in ends if r >= 42]
    canvas.line(fascia, 0.5, 22.0, body)
    canvas.line([(r, c - 1.2) for r, c in fascia], 0.45, 108.0, body)

    # Behind the lung: ribs cut across, dark, and between them muscle and fat, bright.
    strip = (spine > 0) & (spine < 5.0) & (row > 42)
    canvas.fill(strip, "muscle", 46.0 * (1.0 + 0.25 * bands + 0.15 * patches))
    for k, r in enumerate(np.arange(43.5, 140.0, 12.1)):
        c = float(INNER_BACK(r))
        canvas.fill(canvas.ellipse((r + 6.1, c + 2.9), (3.2, 1.5), -14) & (spine > 0.2), "rib")
        between = canvas.ellipse((r, c + 2.1), (3.7, 1.9), -24) & (spine > 0.0)
        canvas.fill(between, "muscle", 104.0 * (1.0 + 0.14 * grain))
        canvas.stroke((r + 4.4, c + 4.3), (r + 7.6, c + 4.1), 0.45, 112.0 + 6 * (k % 3), body)
    canvas.line([(r, float(INNER_BACK(r)) + 5.4) for r in range(41, 137, 6)], 0.45, 26.0, body)

    _paint_breast(canvas, body, (front, chest), (streaks, patches, grain))

    canvas.fill(body & (front < 1.1) & (row > 4) & (column < 70), "fat", 64.0 * (1.0 + 0.15 * grain))
    dark = body & (front >= 1.1) & (front < 1.8) & (row < 66)
    canvas.grey[dark] *= 0.5


def _paint_shoulder(canvas, body, muscle, patches, grain):
    """Paint the muscles about the shoulder blade, with fat and dark fascia between them."""
    for centre, half, turn, level in (
        ((9.0, 66.0), (6.5, 10.0), 30, 0.95),
        ((21.5, 72.0), (6.0, 13.0), -18, 1.35),
        ((31.5, 89.0), (14.0, 5.8), 36, 1.75),
        ((36.5, 85.0), (4.0, 7.0), -30, 1.70),
        ((34.0, 42.0), (12.0, 6.0), -34, 1.05),
        ((22.0, 52.0), (6.0, 6.0), 0, 0.62),
    ):
        canvas.fill(canvas.ellipse(centre, half, turn) & body, "muscle", muscle * level)
    flecks = body & (canvas.row < 46) & (canvas.column < 64)
    canvas.grey[flecks] *= np.clip(1.0 + 0.42 * patches + 0.28 * grain, 0.15, 2.0)[flecks]
    for points in (
        [(27.0, 66.0), (29.5, 70.0), (29.0, 77.0), (32.0, 79.5)],
        [(12.0, 82.0), (18.0, 80.0), (20.5, 87.0), (26.0, 95.0)],
        [(17.0, 58.0), (24.0, 60.0), (28.0, 57.0), (35.0, 52.0)],
        [(14.0, 46.0), (22.0, 47.0), (31.0, 44.0)],
    ):
        canvas.line(points, 0.8, 16.0, body)
    for spot in ((29.0, 49.5), (33.0, 52.5), (25.0, 55.5), (36.0, 48.5), (19.0, 62.0)):
        canvas.stroke(spot, (spot[0] + 1.6, spot[1] - 0.9), 0.7, 210.0, body)


def _paint_breast(canvas, body, depth, textures):
    """Paint the breast, fat around gland, over the muscle of the chest, over the front ends of the ribs."""
    row, column = canvas.row, canvas.column
    (front, chest), (streaks, patches, grain) = depth, textures

    def plate_at(r):  # thickness of the wall behind the breast, pixels
        return np.interp(r, [22, 40, 60, 80, 100, 120, 140], [9.0, 12.5, 12.0, 8.8, 5.8, 3.8, 3.4])

    plate = plate_at(row)
    breast = body & (chest > plate) & (row > 18) & (column < 60)
    breast &= front < np.interp(row, [18, 30, 44, 56, 66], [1.2, 4.0, 8.0, 14.0, 40.0])
    level = np.interp(row, [18, 36, 60, 76, 90, 120, 140], [90, 150, 178, 215, 205, 232, 225])
    canvas.fill(breast, "fat", (level * (1.0 + 0.06 * patches + 0.05 * grain)).astype(np.float32))

    cover = np.interp(
        row, [56, 66, 76, 82, 84, 90, 94, 98, 106, 112], [7.5, 5.4, 4.0, 2.6, 1.2, 1.2, 1.6, 4.0, 4.2, 5.5]
    )
    gland = body & (row > 57) & (row < 113) & (front > cover + 0.5 * patches)
    gland &= (chest > plate + 0.8) & (column < 40)
    lobes = patches + 0.8 * grain + 0.6 * streaks
    canvas.fill(gland, "gland", GREY["gland"] * np.clip(1.0 + 0.30 * lobes, 0.25, 1.7))
    canvas.fill(gland & (lobes > 1.25), "fat", 132.0 + 14.0 * grain)
    for points in (  # strands of connective tissue
        [(78.5, 10.0), (82.0, 13.0), (81.0, 17.0)],
        [(84.0, 11.0), (86.5, 15.5), (85.0, 20.0)],
        [(92.0, 10.5), (95.5, 13.0), (94.0, 16.5), (97.0, 19.0)],
        [(99.0, 15.0), (104.0, 16.5), (108.0, 20.5)],
        [(109.5, 14.5), (111.8, 18.0), (110.8, 22.5), (112.6, 25.0)],
        [(115.8, 17.5), (114.6, 21.0), (113.8, 25.0)],
    ):
        canvas.line(points, 0.5, 24.0, breast)
    canvas.fill(body & (front < 2.2) & (np.abs(row - 83.0) < 0.9), "gland", 50.0)

    def wall_at(r):
        return float(INNER_FRONT(max(r, 33.0)))

    sheath = [(r, wall_at(r) - plate_at(r)) for r in range(20, 137, 4)]
    canvas.line(sheath, 0.5, 4.0, body)
    canvas.line([(r, c + 2.0) for r, c in sheath if r > 54], 0.5, 116.0, body)
    canvas.line([(r, c + 3.6) for r, c in sheath if 66 < r < 112], 0.45, 30.0, body)
    for r in np.arange(60.0, 136.0, 13.0):  # front ends of the ribs, with a little fat before them
        reach = float(plate_at(r))
        end = canvas.ellipse((r, wall_at(r) - 0.42 * reach), (4.4, 0.20 * reach), 8)
        canvas.fill(end & body, "rib", 42.0 + 8.0 * grain)
        canvas.stroke(
            (r + 4.5, wall_at(r) - 0.70 * reach), (r + 10.0, wall_at(r) - 0.62 * reach), 0.5, 150.0, body
        )
    canvas.line([(r, wall_at(r) - 1.7) for r in range(44, 137, 6)], 0.7, 100.0, body)


def _paint_inside(canvas):
    """Paint lung and liver with their vessels, gallbladder and kidney; return where the lung's tissue is."""
    row, column = canvas.row, canvas.column
    points = np.stack(np.broadcast_arrays(row, column))
    across = np.clip(_across(points), 0.0, 1.0)
    table = np.linspace(0.0, 1.0, 513)
    dome = np.interp(across, table, DOME(table))
    below = row > dome
    lung = ~below
    canvas.label[lung] = LABELS["lung"]
    patches, grain = _texture(5, 3.0, 3.0), _texture(6, 0.9, 0.9)
    heavy = 1.0 + 0.35 * (across - 0.5) + 0.03 * (row - 60.0) / 10.0  # blood and tissue sink to the back
    air = np.where(lung, np.maximum(heavy, 0.3), 0.0).astype(np.float32)

    rng = np.random.default_rng([SEED, 7])
    hilum = np.array([58.0, 67.0])
    for _ in range(56):  # pieces of branches that run from the hilum outwards, cut by the plane
        angle = rng.uniform(-2.5, 2.5)  # from straight down
        far = rng.uniform(5.0, 27.0)
        start = hilum + far * np.array([0.85 * np.cos(angle), np.sin(angle)])
        turn = angle + rng.normal(0.0, 0.4)
        length = rng.choice([0.2, 0.8, 1.8, 3.5], p=[0.55, 0.25, 0.13, 0.07])
        width, level = rng.uniform(0.28, 0.48), rng.uniform(60.0, 200.0)
        end = start + length * np.array([np.cos(turn), np.sin(turn)])
        if DOME(np.clip(_across(end), 0, 1)) - 1.5 > end[0] and 0.04 < _across(end) < 0.96 and start[0] > 40:
            canvas.stroke(start, end, width, level, lung)
    for points in (  # the larger ones
        [(66.0, 62.0), (68.5, 59.5)],
        [(69.5, 57.5), (71.5, 53.5), (72.5, 51.5)],
        [(72.5, 68.3), (75.3, 69.8), (75.6, 72.0)],
        [(75.4, 75.5), (76.3, 78.5)],
        [(70.0, 78.0), (72.6, 80.8)],
    ):
        canvas.line(points, 0.42, 175.0, lung)
    canvas.stroke((74.6, 69.4), (75.5, 70.4), 0.85, 185.0, lung)

    canvas.fill(below, "liver", GREY["liver"] * (1.0 + 0.014 * patches + 0.036 * grain))
    vein = [(100.5, 49.0), (103.5, 50.6), (107.0, 52.4), (110.0, 54.2)]
    canvas.line(vein, 0.7, 182.0, below)
    canvas.line([(110.0, 54.2), (113.0, 51.5), (115.5, 49.5)], 0.8, 196.0, below)
    canvas.stroke((109.6, 53.6), (110.6, 55.0), 1.1, 245.0, below)
    canvas.line([(110.0, 54.5), (108.0, 58.0), (106.5, 62.0), (103.0, 67.0)], 0.45, 165.0, below)
    for spot in ((113.0, 64.5), (120.5, 77.0), (98.0, 74.0), (108.5, 44.0), (118.0, 58.0)):
        canvas.stroke(spot, (spot[0] + 0.6, spot[1] + 0.5), 0.6, 205.0, below)
    for points in (  # veins whose blood flows in the plane and is saturated
        [(88.0, 58.0), (94.0, 60.0), (99.0, 63.5), (104.0, 70.0)],
        [(92.0, 42.0), (97.0, 40.5), (104.0, 38.5)],
        [(113.0, 66.0), (117.0, 70.0), (121.0, 72.0)],
    ):
        canvas.line(points, 0.6, 116.0, below)
    bladder = canvas.ellipse((126.5, 38.0), (8.2, 4.6), -24)
    canvas.fill(bladder, "gallbladder", GREY["gallbladder"] * (1.0 + 0.10 * patches))
    canvas.line([(123.5, 45.5), (126.0, 43.0), (129.0, 41.0)], 0.5, 70.0, below)
    kidney = canvas.ellipse((136.0, 74.5), (12.5, 8.0), 20)
    rim = canvas.ellipse((136.0, 74.5), (13.3, 8.8), 20)
    canvas.fill(rim & ~kidney, "kidney", 58.0)
    canvas.fill(kidney, "kidney", GREY["kidney"] * (1.0 + 0.05 * patches + 0.05 * grain))
    canvas.fill(canvas.ellipse((138.0, 74.0), (7.0, 3.4), 20), "kidney", 74.0 * (1.0 + 0.08 * patches))
    return air


# The scanner


def _pick(scene, inside, index):
    """Return labels at integer fine positions ``index`` (2, ...), clipped to the scene."""
    row, column = (np.clip(i, 0, scene["wall"].shape[0] - 1) for i in index)
    return np.where(inside, scene["inner_label"][row, column], scene["wall_label"][row, column])


def _frame(scene, phase, rng):
    """Return the image (128, 128), uint8, of the reference moved to ``phase``."""
    n = scene["wall"].shape[0]
    ticks = (np.arange(n) - 0.5 * (FINE - 1)) / FINE - MARGIN
    points = np.stack(np.meshgrid(ticks, ticks, indexing="ij"))
    reference, inside = _to_reference(points, phase)
    index = (reference + MARGIN) * FINE + 0.5 * (FINE - 1)

    def sample(name, where):
        return ndi.map_coordinates(scene[name], index[:, where], np.float32, order=1, mode="nearest")

    signal = np.empty((n, n), np.float32)
    signal[~inside] = sample("wall", ~inside)
    expansion = _expansion(reference, points)[inside]
    signal[inside] = sample("inner", inside) + GREY["lung"] * sample("air", inside) / expansion
    signal *= scene["coil"]

    # The scanner samples a band of spatial frequencies; along the columns it falls off like a cosine.
    offsets = np.arange(-8 * FINE, 8 * FINE + 1) / FINE
    down = np.sinc(offsets) * np.sinc(offsets / 3.0) * (np.abs(offsets) < 3)
    image = ndi.correlate1d(signal, down / down.sum(), axis=0)
    side = _cosine_band(offsets)
    image = ndi.correlate1d(image, side / side.sum(), axis=1)
    start = MARGIN * FINE
    # The centre of a pixel lies between two fine points.
    image = (
        sum(
            image[start + i : n - start : FINE, start + j : n - start : FINE]
            for i in (FINE // 2 - 1, FINE // 2)
            for j in (FINE // 2 - 1, FINE // 2)
        )
        / 4.0
    )

    noise = rng.standard_normal((2, SHAPE[0], SHAPE[1] + 32))
    kernel = _cosine_band(np.arange(-8, 9.0))
    noise = ndi.correlate1d(noise, kernel / np.sqrt((kernel**2).sum()), axis=2)[:, :, 16:-16] * NOISE_SD
    magnitude = np.hypot(image + noise[0], noise[1])
    magnitude[0] = 0.0  # as stored by the scanner
    level = np.floor(magnitude / GREY_STEP)
    return np.clip(np.rint(level * GREY_STEP), 0, 255).astype(np.uint8)


def _cosine_band(x):
    """Return the point spread at ``x`` pixels of the band |k| < BANDWIDTH under a cosine to the 0.75."""
    k = (np.arange(64) + 0.5) / 64 * BANDWIDTH
    weight = np.cos(0.5 * np.pi * k / BANDWIDTH) ** 0.75
    return (np.cos(2.0 * np.pi * np.multiply.outer(x, k)) * weight).sum(axis=-1)


def _expansion(reference, points):
    """Return by how much a frame's tissue has grown in area: 1 / |Jacobian of reference over points|."""
    step = points[0, 1, 0] - points[0, 0, 0]
    (rr, rc), (cr, cc) = (np.gradient(part, step) for part in reference)
    # Differences across the sliding border are meaningless; they are as wide as one fine point.
    return 1.0 / np.clip(np.abs(rr * cc - rc * cr), 0.5, 1.2)

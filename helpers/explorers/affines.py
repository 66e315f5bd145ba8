"""The interactive parts of lesson 2: an affine built by hand, and a picture resampled by a matrix."""

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D
from scipy import ndimage as ndi

from helpers.viewing import explore

__all__ = ["affine_builder", "compose_affine", "pull_bench", "wished_matrix"]

_HALF_FRAME_MM = 300
_OUTLINE = [withStroke(linewidth=3, foreground="black")]
_ORDERS = ["shift last", "shift first"]
_WISHES = ["zoom by 1.5", "turn by 30°", "shift by 40 to the right", "mirror left and right", "shear by 0.4"]


def affine_builder(img):
    """Let the reader build the affine of an axial plane and see where the plane goes in the world.

    Parameters
    ----------
    img : nibabel image
        A volume, whose affine has zooms and a shift and nothing else. The plane in its middle is shown.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If the affine holds more than zooms and a shift.
    """
    sizes, start = np.diag(img.affine)[:3], img.affine[:3, 3]
    if not np.allclose(img.affine, nib.affines.from_matvec(np.diag(sizes), start)):
        raise ValueError(
            "This image's affine is no mere zoom and shift: take an image that is neither turned nor sheared."
        )
    k = img.shape[2] // 2
    picture = np.asarray(img.dataobj[:, :, k])
    corners = _corners(picture.shape, k)

    def draw(shift_x, shift_y, rotation, zoom, shear, mirror, order):
        shift = shift_x, shift_y, start[2]
        affine = compose_affine(shift, rotation, zoom * sizes[:2], shear, mirror, order, sizes[2])
        corners_mm = nib.affines.apply_affine(affine, corners)[:, :2].round(2) + 0.0
        figure = Figure(figsize=(9.2, 5.6))
        _draw_world(figure.add_axes((0.08, 0.1, 0.56, 0.82)), picture, affine, corners_mm)
        _write_matrix(figure, affine)
        return figure, _say(affine, corners_mm)

    def slider(first):
        low = int(np.round(first)) - 80
        return low, low + 240, 2, low + 80

    return explore(
        draw,
        title="Build an affine",
        kept=["order"],
        shift_x=slider(start[0]),
        shift_y=slider(start[1]),
        rotation=(-180, 180, 5, 0),
        zoom=(0.4, 1.4, 0.05, 1.0),
        shear=(-0.6, 0.6, 0.05, 0.0),
        mirror=False,
        order=list(_ORDERS),
    )


def compose_affine(shift_mm, rotation_deg, sizes_mm, shear, mirror, order, slice_mm=1.0):
    """Return the affine that mirrors, zooms, shears and turns a plane, and shifts it last or first.

    Parameters
    ----------
    shift_mm : sequence of 3 floats
    rotation_deg : float
        About z, from x towards y.
    sizes_mm : sequence of 2 floats
        What a step along i and along j is zoomed to, in mm.
    shear : float
        How far x moves for each mm of y.
    mirror : bool
        Whether x changes its sign.
    order : {"shift last", "shift first"}
        Whether the shift comes after all the rest, or before. The shift along z, which the rest leaves alone,
        is the same in both.
    slice_mm : float
        What a step along k is zoomed to, in mm.

    Returns
    -------
    ndarray, (4, 4)
        From (i, j, k) to mm.
    """
    cos, sin = np.cos(np.deg2rad(rotation_deg)), np.sin(np.deg2rad(rotation_deg))
    rotate, shear_x, zoom, shift = np.eye(4), np.eye(4), np.diag([*sizes_mm, slice_mm, 1.0]), np.eye(4)
    rotate[:2, :2] = (cos, -sin), (sin, cos)
    shear_x[0, 1] = shear
    if mirror:
        zoom[0, 0] *= -1
    shift[:3, 3] = shift_mm
    shape = rotate @ shear_x @ zoom
    if order == "shift last":
        return shift @ shape
    shift[2, 3] /= slice_mm  # which the zoom multiplies again
    return shape @ shift


def pull_bench(picture):
    """Let the reader hand a wish, or its inverse, to `scipy.ndimage.affine_transform` and see what comes out.

    Parameters
    ----------
    picture : array_like, (i, j)
        Drawn with i to the right and j up; not empty.

    Returns
    -------
    Explorer
    """
    picture = np.asarray(picture, dtype=float)
    faint = 0.1 * picture.max()

    def draw(wish, hand_over, about):
        wished = wished_matrix(wish, picture.shape, about == "the centre")
        inverse = np.linalg.inv(wished)
        matrix = wished if hand_over == "the wish itself" else inverse
        before = picture > faint
        out = ndi.affine_transform(picture, matrix, order=1)
        hoped = ndi.affine_transform(before.astype(float), inverse, order=1)
        share = 100 * np.count_nonzero(out > faint) / np.count_nonzero(before)
        figure = Figure(figsize=(8.6, 4.9))
        _draw_grid(figure.add_axes((0.08, 0.1, 0.41, 0.76)), picture, before, "Before")
        _draw_grid(figure.add_axes((0.57, 0.1, 0.41, 0.76)), out, hoped, f"Handed over: {hand_over}")
        figure.suptitle(f"Wish: {wish} (outlined: where it is, where it should go)", fontsize="medium")
        rows = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in matrix[:2].round(2) + 0.0)
        text = (
            f"Matrix handed over: {rows}. The brain covers {share:.0f} % of the area that it covered before."
        )
        if share < 2:
            text += " It was moved off the grid."
        return figure, text

    return explore(
        draw,
        title="Hand a matrix to affine_transform",
        wish=list(_WISHES),
        hand_over=["the wish itself", "its inverse"],
        about=["the centre", "the first pixel"],
    )


def wished_matrix(wish, shape, about_centre):
    """Return the matrix of a wish of :func:`pull_bench`: where each pixel is to go.

    Parameters
    ----------
    wish : str
        One of the bench's choices.
    shape : tuple of 2 ints
        Of the picture.
    about_centre : bool
        Whether the centre of the grid stays in place, or the first pixel.

    Returns
    -------
    ndarray, (3, 3)
        From homogeneous pixel coordinates before to those after.
    """
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    matrix = {
        _WISHES[0]: np.diag([1.5, 1.5, 1.0]),
        _WISHES[1]: np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]),
        _WISHES[2]: np.array([[1.0, 0, 40], [0, 1, 0], [0, 0, 1]]),
        _WISHES[3]: np.diag([-1.0, 1.0, 1.0]),
        _WISHES[4]: np.array([[1.0, 0.4, 0], [0, 1, 0], [0, 0, 1]]),
    }[wish]
    if not about_centre:
        return matrix
    centre = np.eye(3)
    centre[:2, 2] = (np.array(shape) - 1) / 2
    return centre @ matrix @ np.linalg.inv(centre)


def _draw_grid(ax, picture, area, title):
    """Draw a picture on its grid, with an area of it outlined."""
    ax.imshow(picture.T, origin="lower", cmap="gray", vmin=0, vmax=max(picture.max(), 1e-9))
    if (area > 0.5).any():  # else there is no outline to draw
        ax.contour(area.T, levels=[0.5], colors="tab:orange")
    ax.set_title(title, fontsize="medium")
    ax.set(xlabel="i (voxels)", ylabel="j (voxels)")


def _corners(shape, k):
    """Return the corner voxels of plane k, once round: (4, 3)."""
    last_i, last_j = np.array(shape) - 1
    return np.array([(0, 0, k), (last_i, 0, k), (last_i, last_j, k), (0, last_j, k)])


def _draw_world(ax, picture, affine, corners_mm):
    """Draw a plane where its affine puts it, with its corners, in a fixed frame of the world."""
    n_i, n_j = picture.shape
    flat = np.eye(3)
    flat[:2, :2], flat[:2, 2] = affine[:2, :2], affine[:2, 3]
    ax.set_facecolor("0.15")
    ax.imshow(
        picture.T,
        origin="lower",
        cmap="gray",
        extent=(-0.5, n_i - 0.5, -0.5, n_j - 0.5),
        transform=Affine2D(flat) + ax.transData,
        interpolation="nearest",
    )
    ax.fill(*corners_mm.T, fill=False, edgecolor="tab:orange")
    ax.plot(*corners_mm[0], "o", color="tab:orange")
    ax.plot(0, 0, "+", color="white", markersize=14)
    middle = corners_mm.mean(axis=0)
    for place in corners_mm:
        if np.abs(place).max() > _HALF_FRAME_MM:
            continue
        outward = np.sign(place - middle) * (14, 18)
        x, y = np.clip(place + outward, -0.82 * _HALF_FRAME_MM, 0.82 * _HALF_FRAME_MM)
        label = "({:.0f}, {:.0f})".format(*place.round() + 0.0)
        ax.text(x, y, label, color="white", ha="center", va="center", fontsize=9, path_effects=_OUTLINE)
    for letter, (x, y) in {"L": (-1, 0), "R": (1, 0), "P": (0, -1), "A": (0, 1)}.items():
        where = {"x": 0.95 * x * _HALF_FRAME_MM, "y": 0.95 * y * _HALF_FRAME_MM}
        ax.text(**where, s=letter, color="white", ha="center", va="center", fontweight="bold")
    span = -_HALF_FRAME_MM, _HALF_FRAME_MM
    ax.set(
        xlim=span, ylim=span, aspect="equal", xlabel="x (mm)", ylabel="y (mm)", title="The plane in the world"
    )


def _write_matrix(figure, affine):
    """Write the affine, each column under what it belongs to."""
    ax = figure.add_axes((0.66, 0.1, 0.33, 0.82))
    ax.set_axis_off()
    ax.set_title("Its affine")
    xs = 0.15, 0.42, 0.66, 0.98
    for x, heading in zip(xs, ("i", "j", "k", "shift"), strict=True):
        ax.text(x, 0.88, heading, ha="right", color="0.35", fontsize=10)
    for row, name in enumerate("xyz"):
        ax.text(-0.08, 0.78 - 0.1 * row, name, color="0.35", fontsize=10)
    for row, values in enumerate(affine.round(2) + 0.0):  # + 0.0 makes −0 a plain 0
        for x, value in zip(xs, values, strict=True):
            ax.text(x, 0.78 - 0.1 * row, f"{value:.2f}", ha="right", family="monospace", fontsize=11)
    ax.text(
        0,
        0.3,
        "dot: first voxel\n+: the world's origin\nnumbers: mm of corner voxels",
        color="0.35",
        fontsize=10,
    )


def _say(affine, corners_mm):
    """Say in words what the picture of a plane in the world shows."""
    places = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in corners_mm.round() + 0.0)
    sizes = nib.affines.voxel_sizes(affine)
    angle = np.degrees(np.arccos(np.clip(affine[:3, 0] @ affine[:3, 1] / sizes[0] / sizes[1], -1, 1)))
    text = f"The corner voxels lie at {places} mm. "
    text += f"A voxel's edges are {sizes[0]:.2f} and {sizes[1]:.2f} mm long and meet at {angle:.0f}°."
    if np.linalg.det(affine[:3, :3]) < 0:
        text += " The picture is mirrored: the determinant is negative."
    hidden = np.count_nonzero(np.abs(corners_mm).max(axis=1) > _HALF_FRAME_MM)
    if hidden:
        text += f" {hidden} of the corners {'lies' if hidden == 1 else 'lie'} outside the frame."
    return text

"""A still picture of the planes through one voxel: to scale, with letters, crosshair and scale bar."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from helpers.viewing.slices import letters, map_colours, pixel_of, pixel_size, plane_axes, plane_slice, to_rgb
from helpers.viewing.volume import AXIS_NAMES

# Pixels. A notebook's output is some 900 wide; letters and captions stand beside the planes, never on them.
_MAX_WIDTH = 860
_MAX_HEIGHT = {1: 420, 2: 340, 3: 320}
_MARGIN = 22
_CAPTION = 26
_FOOT = 26

_BLACK = (0, 0, 0)
_TEXT = (235, 235, 235)
_MARK = (255, 200, 60)


def picture(
    volume, index, time=0, *, planes, window, cmap="gray", overlay=None, style=None, radiological=False
):
    """Draw the planes through one voxel, side by side and on one scale.

    Parameters
    ----------
    volume : Volume
    index : tuple of 3 ints
        Voxel (i, j, k) at the crosshair.
    time : int
        Time point.
    planes : sequence of {"axial", "coronal", "sagittal"}
        Planes from left to right.
    window, cmap, style
        See `slices.to_rgb`.
    overlay : Volume, optional
        On the same grid.
    radiological : bool
        Draw the patient's right on the left.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)
    """
    tiles = {
        plane: plane_colours(volume, plane, index, time, window, cmap, overlay, style, radiological)
        for plane in planes
    }
    return arrange(volume, index, tiles, radiological=radiological, style=style)


def plane_colours(volume, plane, index, time, window, cmap, overlay=None, style=None, radiological=False):
    """Return the colours of one plane through a voxel, (rows, columns, 3) uint8; see `picture`."""
    where = {"plane": plane, "index": index[plane_axes(volume, plane)[0]], "radiological": radiological}
    laid_over = None
    if overlay is not None:
        laid_over = plane_slice(overlay, time=time if overlay.n_times > 1 else 0, **where)
    cut = plane_slice(volume, time=time if volume.n_times > 1 else 0, **where)
    return to_rgb(cut, window, cmap, laid_over, style)


def arrange(volume, index, tiles, *, radiological=False, style=None, name=""):
    """Arrange painted planes side by side, on one scale, with captions, letters, crosshair and scale bar.

    Parameters
    ----------
    volume : Volume
        Whose planes they are.
    index : tuple of 3 ints
        Voxel (i, j, k) at the crosshair.
    tiles : dict of str to ndarray of uint8, (rows, columns, 3)
        Colours of each plane, from left to right.
    radiological : bool
    style : OverlayStyle, optional
        A map's colours are explained by a bar.
    name : str
        What the image is called, for the captions.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)
    """
    planes = tuple(tiles)
    tiles = [Image.fromarray(tile) for tile in tiles.values()]
    sizes = [
        np.array(pixel_size(volume, plane)) * tile.size[::-1]
        for plane, tile in zip(planes, tiles, strict=True)
    ]
    scale = _scale(sizes)
    shapes = [tuple(int(max(1, round(length * scale))) for length in size) for size in sizes]
    height = max(rows for rows, _ in shapes)
    width = sum(columns + 2 * _MARGIN for _, columns in shapes)
    caption = 0 if volume.is_picture and not name else _CAPTION
    canvas = Image.new("RGB", (max(width, 240), caption + height + 2 * _MARGIN + _FOOT), _BLACK)
    draw = ImageDraw.Draw(canvas)

    left = _MARGIN + (canvas.width - width) // 2
    for plane, tile, (rows, columns) in zip(planes, tiles, shapes, strict=True):
        top = caption + _MARGIN + (height - rows) // 2
        _draw_caption(draw, volume, plane, index, name, left + columns / 2, columns + 2 * _MARGIN)
        canvas.paste(_scaled(tile, columns, rows), (left, top))
        row, column = pixel_of(volume, plane, index, radiological)
        _draw_crosshair(
            draw, (left, top, columns, rows), (column + 0.5) / tile.width, (row + 0.5) / tile.height
        )
        _draw_letters(draw, letters(volume, plane, radiological), left, top, columns, rows)
        left += columns + 2 * _MARGIN
    free = _draw_scale_bar(draw, volume, scale, canvas.size)
    if style is not None and style.kind == "map":
        free = _draw_colour_bar(canvas, draw, style, free)
    _draw_convention(draw, volume, planes, radiological, free, canvas.height)
    return np.asarray(canvas)


def to_png(rgb):
    """Return a picture, (rows, columns, 3) uint8, as the bytes of a PNG file."""
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, "png", compress_level=1)  # quick; the bytes travel over a local socket
    return buffer.getvalue()


def _scale(sizes):
    """Return the pixels per mm (or voxel) at which planes of these (height, width) fit side by side."""
    tallest = max(height for height, _ in sizes)
    widest = sum(width for _, width in sizes)
    return min((_MAX_WIDTH - 2 * _MARGIN * len(sizes)) / widest, _MAX_HEIGHT[len(sizes)] / tallest)


def _scaled(tile, width, height):
    """Scale a picture so that each pixel keeps its exact share of the area.

    Nearest neighbours alone would make some pixels broader than others; smooth interpolation would hide them.
    """
    factors = (max(1, -(-width // tile.width)), max(1, -(-height // tile.height)))
    if factors != (1, 1):
        tile = tile.resize((tile.width * factors[0], tile.height * factors[1]), Image.Resampling.NEAREST)
    return tile.resize((width, height), Image.Resampling.BOX)


@lru_cache(maxsize=8)
def _font(size):
    """Return Pillow's own font, which needs no font on the machine."""
    return ImageFont.load_default(size)


def _draw_caption(draw, volume, plane, index, name, middle, width):
    """Write which plane of which image it is and where, centred above it."""
    long = short = name
    if not volume.is_picture:
        axis = plane_axes(volume, plane)[0]
        long = short = f"{name} {AXIS_NAMES[axis]} = {index[axis]}".strip()
        if volume.world:
            short = f"{name} {plane}  {AXIS_NAMES[axis]} = {index[axis]}".strip()
            display = "xyz"[volume.axes.index(axis)]
            position = volume.to_mm(index)[volume.axes.index(axis)]
            long = f"{short}  (oblique)" if volume.is_oblique else f"{short}  ({display} = {position:.4g} mm)"
    text = long if draw.textlength(long, _font(15)) <= width else short
    draw.text((middle, _CAPTION / 2 + 4), text, _TEXT, _font(15), anchor="mm")


def _draw_crosshair(draw, box, across, down):
    """Draw two lines, free around their crossing; `across` and `down` are shares of the box."""
    left, top, width, height = box
    x, y, gap = left + int(across * width), top + int(down * height), 7
    for start, end in ((left, x - gap), (x + gap, left + width - 1)):
        if start <= end:
            draw.line((start, y, end, y), _MARK)
    for start, end in ((top, y - gap), (y + gap, top + height - 1)):
        if start <= end:
            draw.line((x, start, x, end), _MARK)


def _draw_letters(draw, marks, left, top, width, height):
    """Write the letters of the directions beside the four edges."""
    if marks is None:
        return
    middle, centre, away = left + width / 2, top + height / 2, _MARGIN / 2
    places = {
        "left": (left - away, centre),
        "right": (left + width + away, centre),
        "top": (middle, top - away),
        "bottom": (middle, top + height + away),
    }
    for side, place in places.items():
        draw.text(place, marks[side], _MARK, _font(17), anchor="mm")


def _draw_scale_bar(draw, volume, scale, size):
    """Draw the scale bar at the lower right; return where what stands left of it must end."""
    width, height = size
    y = height - _FOOT / 2 - 2
    length = _round_length(150 / scale)
    right = width - _MARGIN
    left = right - round(length * scale)
    draw.line((left, y, right, y), _TEXT, 2)
    for x in (left, right):
        draw.line((x, y - 4, x, y + 4), _TEXT, 1)
    text = f"{length:g} {'pixels' if volume.is_picture and volume.unit == 'voxels' else volume.unit}"
    draw.text((left - 8, y), text, _TEXT, _font(14), anchor="rm")
    return left - 8 - draw.textlength(text, _font(14)) - 24


def _draw_colour_bar(canvas, draw, style, right):
    """Draw the colours of a map with the values at their ends, if there is room; return as above."""
    y, width, height = canvas.height - _FOOT // 2 - 2, 120, 10
    ends = [sign * style.limit for sign in style.signs]
    low, high = (f"{end:.3g}" for end in ends)
    left = int(right - draw.textlength(high, _font(14)) - 6 - width)
    end = left - 6 - draw.textlength(low, _font(14))
    if end < _MARGIN:
        return right
    draw.text((right, y), high, _TEXT, _font(14), anchor="rm")
    draw.text((left - 6, y), low, _TEXT, _font(14), anchor="rm")
    values = np.linspace(*ends, width)
    colours = np.where(np.abs(values)[:, None] < style.threshold, 0, map_colours(values, style.limit))
    bar = np.broadcast_to(colours.astype(np.uint8), (height, width, 3))
    canvas.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, y - height // 2))
    draw.rectangle((left - 1, y - height // 2 - 1, left + width, y + height // 2), outline=_TEXT)
    return end - 24


def _draw_convention(draw, volume, planes, radiological, right, height):
    """Say which way round left and right are, if they are seen and there is room."""
    if not volume.world or set(planes) == {"sagittal"}:
        return
    text = "radiological: patient's right on the left" if radiological else "neurological: left is left"
    if _MARGIN + draw.textlength(text, _font(14)) < right:
        draw.text((_MARGIN, height - _FOOT / 2 - 2), text, _TEXT, _font(14), anchor="lm")


def _round_length(longest):
    """Return the largest of 1, 2, 5 times a power of ten that is not longer than `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)

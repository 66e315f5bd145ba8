"""All that the browser needs to show a volume: plain values that describe it, and packed bytes."""

from base64 import b64encode

import numpy as np

from helpers.viewing.packing import choose_coding, describe, encode, pack
from helpers.viewing.slices import (
    BACKGROUND,
    CT_WINDOWS,
    LABEL_COLOURS,
    MAP_CMAP,
    auto_window,
    colour_table,
    ct_window,
    data_range,
    flips,
    letters,
    percentiles,
    pixel_size,
    plane_axes,
    plane_slice,
    widened,
)
from helpers.viewing.volume import AXIS_NAMES
from helpers.viewing.words import convention_words, listed, subject

_AIR_HU = -500  # only CT goes this far below zero, so only then are its windows offered
_PAGE_VOXELS = 2**24
_FIELD_VOXELS = 2**15
_FEW_SHADES = 64


def windows_of(volume):
    """Return the windows offered for a volume, the automatic one first: name → (lowest, highest value)."""
    if volume.is_colour:
        return {"automatic": (0.0, 255.0)}
    windows = {"automatic": auto_window(volume.data)}
    narrow = percentiles(volume.data, 2, 98)
    if narrow[0] < narrow[1] and narrow != windows["automatic"]:
        windows["2nd to 98th percentile"] = narrow
    lowest, highest = data_range(volume.data)
    windows["full range"] = widened(lowest, highest)
    if lowest <= _AIR_HU:
        windows |= {name: ct_window(name) for name in CT_WINDOWS}
    return windows


def build_scene(layers, *, planes, windows, limit=None, radiological=False, title=None, name=None):
    """Describe images on one grid for the browser: all but their voxels.

    Parameters
    ----------
    layers : sequence of (str, str, Volume)
        The image first. Each with its role, which is "image", "moving" (another image, with a window of its
        own), "labels", "map", "jacobian" or "field" (a component of a displacement), and its name in the
        read-out.
    planes : sequence of {"axial", "coronal", "sagittal"}
    windows : dict
        As `windows_of` returns.
    limit : float, optional
        Value of the strongest colours of a map, or of the difference of two images.
    radiological : bool
    title : str, optional
        Text above the picture.
    name : str, optional
        What the picture shows, for those who do not see it.

    Returns
    -------
    dict
    """
    roles, names, volumes = zip(*layers, strict=True)
    volume = volumes[0]
    return {
        "roles": list(roles),
        "names": list(names),
        "shape": list(volume.shape),
        "times": max(each.n_times for each in volumes),
        "timeStep": _time_step(volumes),
        "planes": [_plane(volume, plane, radiological) for plane in planes],
        "axes": _axes(volume),
        "display": list(volume.axes),
        "affine": volume.affine.tolist(),
        "inverse": np.linalg.inv(volume.affine).tolist(),
        "unit": "pixels" if volume.is_picture and volume.unit == "voxels" else volume.unit,
        "world": volume.world,
        "picture": volume.is_picture,
        "tilt": volume.tilt,
        "channels": len(volume.data.dtype.names or ()),
        "windows": [] if volume.is_colour else [[key, *window] for key, window in windows.items()],
        "limit": limit,
        "background": list(BACKGROUND),
        "labelColours": _base64(LABEL_COLOURS),
        "mapColours": _base64(colour_table(MAP_CMAP)),
        "title": title,
        "subject": subject(volume, planes, roles[1:], name),
        "convention": convention_words(volume, planes, radiological),
    }


def pack_layers(layers, most_bytes=None):
    """Pack the voxels of images for the browser.

    Parameters
    ----------
    layers : sequence of (str, str, Volume)
        As of `build_scene`.
    most_bytes : int, optional
        Most bytes to take for all voxels together; what is too large is made coarser, and ``note`` says so.
        By default as much as a local browser bears, which asks the kernel for the finest planes at rest.

    Returns
    -------
    dict
        ``layers``: the packed voxels, as `packing.pack` makes them; ``note``: what to say of them, or None.
    """
    roles, names, volumes = zip(*layers, strict=True)
    ways = [{"labels": role == "labels"} for role in roles]
    for role, way in zip(roles, ways, strict=True):
        if role == "field":  # smooth, and drawn as some thirty lines
            way["most_voxels"] = _FIELD_VOXELS
    if most_bytes is None:
        packed = [pack(each.data, **way) for each, way in zip(volumes, ways, strict=True)]
    else:
        packed = _packed_to(roles, volumes, ways, most_bytes)
    drawn = _coarser(roles, names, packed)
    note = drawn and (
        f"While you move, {drawn}; at rest, all of them."
        if most_bytes is None
        else f"To load quickly, {drawn}."
    )
    return {"layers": packed, "note": note}


def detail(volume, planes, index, time, radiological, labels=False):
    """Return the planes through a voxel in full detail: dicts as `packing.describe` makes them."""
    described = []
    for plane in planes:
        across = plane_axes(volume, plane)[0]
        moment = time if volume.n_times > 1 else 0
        # Turned, so that a row's pixels lie side by side in memory.
        pixels = plane_slice(volume, plane, index[across], moment, radiological).T[
            ..., np.newaxis, np.newaxis
        ]
        coding = choose_coding(pixels, fine=True, labels=labels)
        described.append(describe(encode(pixels, coding), coding))
    return described


def colours(cmap):
    """Return the 256 colours of a colour map as base64 of the bytes R, G, B and so on."""
    return _base64(colour_table(cmap))


def _packed_to(roles, volumes, ways, most_bytes):
    """Pack volumes into a number of bytes: with shorter codes, with fewer shades, then with fewer voxels."""
    ways = [{"most_voxels": _PAGE_VOXELS, "level": 9} | way for way in ways]
    layers = [pack(volume.data, **way) for volume, way in zip(volumes, ways, strict=True)]
    shorter = [[] if way["labels"] else [{"shades": _FEW_SHADES}, {"fine_voxels": 0}] for way in ways]
    # A fine image minus a coarse one would show differences that are not there.
    compared = [n for n, role in enumerate(roles) if role in ("image", "moving")]
    while sum(map(_weight, layers)) > most_bytes:
        # What still can do with shorter codes, before what must lose voxels; and of these the largest.
        n = max(range(len(layers)), key=lambda n: (bool(shorter[n]), _weight(layers[n])))
        alike = [n]
        if shorter[n]:
            ways[n] |= shorter[n].pop()
        elif layers[n]["step"] < max(volumes[n].shape):
            alike = compared if n in compared else [n]
            for m in alike:
                ways[m]["step"] = layers[n]["step"] + 1
        else:
            break  # one voxel is left, and its times are never thinned
        for m in alike:
            layers[m] = pack(volumes[m].data, **ways[m])
    return layers


def _weight(layer):
    """Return about how many bytes a layer takes: its voxels, and the table of its values, written as text."""
    return len(layer["voxels"]) + 16 * len(layer["table"] or ())


def _plane(volume, plane, radiological):
    """Return the geometry of one plane."""
    across, up, along = plane_axes(volume, plane)
    flip_up, flip_along = flips(volume, plane, radiological)
    return {
        "name": plane,
        "across": across,
        "up": up,
        "along": along,
        "flipUp": flip_up,
        "flipAlong": flip_along,
        "pixel": list(pixel_size(volume, plane)),
        "letters": letters(volume, plane, radiological),
    }


def _axes(volume):
    """Return the names of i, j and k, each with the direction in which it leads, and their sizes."""
    names = ("row", "column", "k") if volume.is_picture else AXIS_NAMES
    toward = [f" → {letter}" for letter in volume.axis_letters] if volume.world else [""] * 3
    return [
        {"name": name + way, "size": size}
        for name, way, size in zip(names, toward, volume.shape, strict=True)
    ]


def _time_step(volumes):
    """Return the seconds from one time point to the next, if all series of which they are known agree."""
    steps = {each.time_step for each in volumes if each.n_times > 1} - {None}
    return steps.pop() if len(steps) == 1 else None


def _base64(table):
    """Return bytes as text."""
    return b64encode(np.ascontiguousarray(table, dtype=np.uint8).tobytes()).decode("ascii")


def _coarser(roles, names, packed):
    """Say what is drawn in less detail than there is, or return None. Fields are lines, which need less."""
    plain = {"intensity": "image", "colour": "image"}
    plain |= {name: f"{name} image" for name in ("fixed", "moving", "warped")}
    of_whom = {}
    for role, name, layer in zip(roles, names, packed, strict=True):
        if role != "field":
            of_whom.setdefault((layer["step"], layer["shades"]), []).append(f"the {plain.get(name, name)}")
    drawn = []
    for (step, shades), whom in of_whom.items():
        if (step, shades) == (1, 256):
            continue
        voxels = f"one voxel in {step} along each axis" if step > 1 else "every voxel"
        named = f" of {listed(whom)}" if len(of_whom) > 1 else ""
        drawn.append(f"{voxels}{named} is drawn" + f" in {shades} shades" * (shades < 256))
    return listed(drawn) if drawn else None

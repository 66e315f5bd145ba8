"""What a viewer shows, in words: for those who do not see it, and for those who want the numbers."""

import numpy as np

_DIRECTIONS = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior", "I": "inferior"}


def subject(volume, planes, others=(), name=None):
    """Return what the picture shows, whatever the place and the time.

    Parameters
    ----------
    volume : Volume
    planes : sequence of str
        Planes in the order shown.
    others : sequence of {"labels", "map", "moving", "jacobian", "field"}
        What is shown with it, as `scene.build_scene` has it.
    name : str, optional
        What it is an image of.
    """
    if volume.is_picture:
        kind = "colour picture" if volume.is_colour else "picture"
        what = f"{kind} of {volume.shape[0]} rows and {volume.shape[1]} columns"
    else:
        what = " × ".join(map(str, volume.shape)) + " voxels"
        if volume.unit == "mm":
            what += " of " + " × ".join(f"{size:.3g}" for size in volume.voxel_sizes) + " mm"
        if volume.n_times > 1:
            what += f", {volume.n_times} time points"
        if volume.world:
            what += f", {listed(planes)} plane" + "s" * (len(planes) > 1)
    added = {
        "labels": "labels laid over",
        "map": "a map laid over",
        "moving": "a second image to compare with",
    }
    what += f", with {added[others[0]]}" if others else ""
    what += " and what registers them" if "field" in others else ""
    return ": ".join(filter(None, (name, what)))


def place_words(volume, index, mm):
    """Return where a voxel (i, j, k) lies whose cursor is at `mm`."""
    place = f"voxel (i, j, k) = {tuple(index)}"
    if volume.is_picture:
        place = f"row {index[0]}, column {index[1]}"
    if volume.world:
        place += " at " + ", ".join(_coordinate(*pair) for pair in zip("xyz", mm, strict=True))
        if volume.is_oblique:
            place += f" (slices follow the voxel grid, tilted by {volume.tilt:.0f}°)"
    elif volume.unit == "mm":
        place += " at " + ", ".join(f"{np.round(x, 1):.1f}" for x in mm) + " mm from the first voxel"
    return place


def value_words(names, volumes, index, time):
    """Return the real values of images at a voxel (i, j, k), each after its name."""
    return "; ".join(
        f"{name} {_value(volume.frame(time if volume.n_times > 1 else 0)[tuple(index)])}"
        for name, volume in zip(names, volumes, strict=True)
    )


def time_words(time, step):
    """Return a time point, and when it is if the seconds from one to the next are known."""
    return f"time point {time}" + (f" ({_number(float(f'{time * step:.4g}'))} s)" if step else "")


def window_words(low, high, whose=""):
    """Return a window as its two ends, and as radiologists name it: its middle, the level, and its width.

    To a thousandth of the width or to whole numbers, whichever is finer. Of one among several, only the ends.
    """
    width = high - low
    if not np.isfinite(width):  # the ends are finite, and yet too far apart for a number
        return f"window {whose}{low:.4g} to {high:.4g}"
    digits = max(0, 3 - int(np.floor(np.log10(width))))
    low, high, level, width = (
        _number(round(value, digits) + 0.0) for value in (low, high, low / 2 + high / 2, width)
    )
    return f"window {whose}{low} to {high}" + ("" if whose else f" (level {level}, width {width})")


def convention_words(volume, planes, radiological):
    """Return which way round left and right are; None where they are not seen."""
    if not volume.world or set(planes) == {"sagittal"}:
        return None
    return "radiological: patient's right on the left" if radiological else "neurological: left is left"


def listed(words):
    """Return words as a list in a sentence."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _coordinate(axis, mm):
    """Return a world coordinate in words, such as "x = -12.0 mm (left)"."""
    mm = float(np.round(mm, 1)) + 0.0  # no minus zero
    letter = {"x": "LR", "y": "PA", "z": "IS"}[axis][mm > 0]
    return f"{axis} = {mm:.1f} mm" + (f" ({_DIRECTIONS[letter]})" if mm else "")


def _number(value):
    """Return a number as text, without a power of ten where it is not needed."""
    return f"{value:.15g}"


def _value(value):
    """Return a voxel's real value as text."""
    if value.dtype.names is not None:
        return ", ".join(f"{name} {value[name]}" for name in value.dtype.names)
    if value.dtype.kind == "b":
        return str(int(value))
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)

"""The exercises of lesson 1, Image intro: right answers from the data in use, and typical mistakes."""

from pathlib import Path

import numpy as np

from helpers.exercises import Unanswered, Wrong, expect, plain

NAMES = {
    "ages and weights of 200 volunteers": ("table", "may be sorted at will: no axis has an order"),
    "heart beats recorded for a day": ("time series", "has one axis whose order matters: time"),
    "mammogram": ("image", "has neighbours along two axes of space"),
    "functional MRI of a finger-tapping task": ("image over time", "has axes of space and one of time"),
    "mass spectrum of a blood sample": ("image-like", "has neighbours that matter, but is no picture"),
    "remove a slow drift from a signal": ("filtering", "separates signal from nuisance"),
    "outline a tumour": ("segmentation", "tells which voxels belong to an object"),
    "lay last year's scan over this year's": ("registration", "finds which point here is which point there"),
    "ask whether two groups' brains differ in volume": ("statistics", "compares groups"),
}


def name_it(answer):
    """Each item's kind of data or operation: a dict of str to str."""
    if type(answer) is not dict or answer.keys() != NAMES.keys():
        raise Wrong("keep the dictionary with its nine entries, and replace each `...`.")
    if any(answer[item] is ... for item in NAMES):
        raise Unanswered("some entries are still `...`.")
    allowed = [name for name, _ in NAMES.values()]
    for item in NAMES:
        if not isinstance(answer[item], str) or plain(answer[item]) not in allowed:
            raise Wrong(f"“{item}”: write one of the names given, in lower case and quotation marks.")
    for item, (name, why) in NAMES.items():
        if plain(answer[item]) != name:
            raise Wrong(f"think again about “{item}”: it {why}.")
    return "kinds of data and operations have their right names."


def hounsfield(answer, stored, header):
    """The slice in Hounsfield units: array of shape (row, column)."""
    slope, intercept = float(header["RescaleSlope"]), float(header["RescaleIntercept"])
    expected = stored.astype(float) * slope + intercept
    wrapped = stored + np.array(intercept).astype(int).astype(stored.dtype)
    mistakes = [
        (wrapped, "air is above 60 000 HU: unsigned integers wrapped around; make `stored` floats first."),
        (stored.astype(float) * slope, "the intercept is missing: air must come out at −1000 HU."),
        (expected + intercept, "the intercept was applied twice."),
        (stored.astype(float) * slope - intercept, "the intercept has the wrong sign: it is added."),
    ]
    expect(answer, expected, unit="HU", mistakes=mistakes, rtol=1e-6)
    return "air is at −1000 HU, where it belongs."


def missing(answer, headers):
    """The number of slices missing from a series: int."""
    positions = np.sort([_position_mm(header) for header in headers])
    gaps = np.diff(positions)
    steps = np.round(gaps / np.median(gaps)).astype(int)
    expected = int(np.sum(steps - 1))
    mistakes = [
        (int(np.sum(steps)), "that counts all steps; a gap of one step lacks no slice."),
        (
            gaps.max(),
            "that is the widest gap in mm; how many steps is it, and how many slices would it hold?",
        ),
        (
            np.count_nonzero(gaps > np.median(gaps)),
            "mind rounding: steps differ in the last digits; round them.",
        ),
    ]
    if expected == 0:
        mistakes.append((1, "a file name is skipped, but is a position? Look at `gaps_mm`."))
    mistakes.append((steps.max(), "that is the widest gap in steps; a gap of two steps lacks one slice."))
    expect(answer, expected, mistakes=mistakes, rtol=0, atol=1e-3)
    if expected == 0:
        return "the positions are evenly spaced: whatever the file names say, no slice is missing."
    return f"the positions tell that {expected} {'slice is' if expected == 1 else 'slices are'} missing."


def memory(answer, img):
    """Megabytes of the array as stored and as 64-bit floats: two numbers."""
    n_voxels = float(np.prod(img.shape))
    on_disk = Path(img.get_filename()).stat().st_size / 1e6
    expected = np.array([img.get_data_dtype().itemsize, 8]) * n_voxels / 1e6
    mistakes = [
        (expected * 8, "a factor of 8: itemsize is in bytes, not in bits."),
        (expected * 1e6, "these are bytes; a megabyte is a million of them."),
        (expected * 1e6 / 2**20, "these are mebibytes (MiB, 2**20 bytes); a megabyte is a million bytes."),
        (expected[[0, 0]], "`get_fdata` returns 64-bit floats, whatever is stored."),
        (expected[::-1], "the two are exchanged: stored first, then as floats."),
    ]
    mistakes.append(([on_disk, expected[1]], "that is the compressed file; unpacked, the array is larger."))
    expect(answer, expected, unit="MB", mistakes=mistakes, rtol=0.01)
    return f"{expected[1] / expected[0]:.0f} times as much in memory as in the file's own data type."


def midline(answer, img):
    """The sagittal plane at x = 0: array of shape (j, k)."""
    data = img.get_fdata()
    index = round(-img.affine[0, 3] / img.affine[0, 0])
    # The template is symmetric, so that both neighbours look the same; −98, the mistake of taking the
    # affine's entry for the index, counts from the end and lands there too.
    beside = "that is a plane beside the middle; did you take a negative index? It counts from the end."
    mistakes = [
        (data[:, index], "that is a coronal plane, cut along the second axis; left to right is the first."),
        (data[:, :, index], "that is an axial plane, cut along the third axis; left to right is the first."),
        (data[0], "that is the plane with index 0, at the edge of the volume; x = 0 mm is further in."),
        (data[index - 1], beside),
        (data[index + 1], beside),
        (data[index].T, "the right plane, but transposed."),
    ]
    expect(answer, data[index], mistakes=mistakes)
    return "this plane lies between the halves of the brain."


def drift(answer, run):
    """The drift of the mean signal in percent per minute: float."""
    signal = run.get_fdata().mean(axis=(0, 1, 2))
    minutes = np.arange(run.shape[3]) * float(run.header.get_zooms()[3]) / 60
    slope = np.polyfit(minutes, signal, 1)[0]
    percent = 100 * slope / signal.mean()
    mistakes = [
        (slope, "that is in units of intensity per minute; divide by the mean signal, times 100."),
        (percent / 100, "that is a fraction; 100 times as much in percent."),
        (percent / 60, "that is per second; there are 60 of them in a minute."),
        (percent * (minutes[1] - minutes[0]), "that is per volume; mind the time between volumes."),
        (
            100 * np.polyfit(minutes, signal, 1)[1] / signal.mean(),
            "that is the intercept; the slope comes first.",
        ),
        (-percent, "the sign is wrong: does the signal rise or fall?"),
        (slope / 60, "that is in units of intensity per second: mind the time, and divide by the mean."),
        (
            100 * (signal[-1] / signal[0] - 1) / minutes[-1],
            "that is from the first to the last volume; a straight line through all is steadier.",
        ),
    ]
    expect(answer, percent, unit="% per minute", mistakes=mistakes)
    return f"{percent:.2f} % per minute."


def window(answer):
    """The ends of the lung window in HU: two numbers."""
    level, width = -600, 1500
    mistakes = [
        ((level, width), "those are level and width; `vmin` and `vmax` are the ends of the window."),
        ((level - width, level + width), "twice too wide: half of the width lies on each side of the level."),
        ((level + width / 2, level - width / 2), "the ends are exchanged."),
        ((level, level + width), "the level is the centre of the window, not its lower end."),
    ]
    expect(answer, (level - width / 2, level + width / 2), unit="HU", mistakes=mistakes)
    return "the window holds the lungs, from air to soft tissue."


def field_of_view(answer, run):
    """The field of view of one volume in mm: three numbers, along i, j, k."""
    shape, zooms = np.array(run.shape[:3]), np.array(run.header.get_zooms()[:3], dtype=float)
    mistakes = [
        (shape, "those are numbers of voxels; multiply by their size in mm."),
        (
            (shape - 1) * zooms,
            "that is from the centre of the first voxel to the centre of the last: one voxel short.",
        ),
        (
            np.multiply(run.shape, run.header.get_zooms()),
            "three numbers, please: time has no place in a field of view.",
        ),
        (np.prod(shape * zooms), "that is the volume of the box; its three lengths, please."),
        (shape / zooms, "number times size, not number divided by size."),
    ]
    expect(answer, shape * zooms, unit="mm", mistakes=mistakes)
    return " × ".join(f"{length:g}" for length in shape * zooms) + " mm."


def peak(answer, motor):
    """The world coordinates of the largest value in mm: three numbers, x, y, z."""
    data = motor.get_fdata()
    answer = plain(answer)
    # Many voxels share the largest value, so a place is judged by what lies there.
    if isinstance(answer, np.ndarray) and answer.shape == (3,) and answer.dtype.kind in "iuf":
        answer = answer.astype(float)
        at = [
            _value(data, place)
            for place in (_to_vox(motor, answer), answer, _to_vox(motor, answer * [-1, 1, 1]))
        ]
        top, bottom = data.max() - 1e-3, data.min() + 1e-3
        if at[0] is not None and at[0] >= top:
            return "there the map is largest."
        if at[1] is not None and at[1] >= top:
            raise Wrong("those are the voxel's indices; `viewer.cursor_mm` gives the place in mm.")
        if at[0] is not None and at[0] <= bottom:
            raise Wrong("there the map is smallest: that is the response to the other hand.")
        if at[2] is not None and at[2] >= top:
            raise Wrong("left and right are exchanged.")
        if at[0] is None:
            raise Wrong("this place lies outside the image.")
        raise Wrong(f"there the map is {at[0]:.3g}, but its largest value is {data.max():.3g}.")
    largest = np.unravel_index(np.argmax(data), data.shape)
    expect(answer, motor.affine[:3, :3] @ largest + motor.affine[:3, 3], unit="mm")
    return "there the map is largest."


def voxel(answer, converted, headers):
    """The volume of one voxel in mm³: float."""
    in_plane = float(np.prod(headers[0]["PixelSpacing"]))
    mistakes = [
        (
            in_plane * float(headers[0]["SliceThickness"]),
            "that uses the slice thickness; take the step between slices.",
        ),
        (in_plane * _mean_step(headers), "that uses the mean step, which a missing slice makes too wide."),
        (in_plane, "that is an area: the third length is missing."),
    ]
    expect(answer, float(np.prod(converted.header.get_zooms()[:3])), unit="mm³", mistakes=mistakes)
    return "the DICOM headers and the NIfTI file agree."


def _position_mm(header):
    row_way, column_way = np.reshape([float(value) for value in header["ImageOrientationPatient"]], (2, 3))
    return np.cross(row_way, column_way) @ [float(value) for value in header["ImagePositionPatient"]]


def _mean_step(headers):
    positions = [_position_mm(header) for header in headers]
    return (max(positions) - min(positions)) / (len(positions) - 1)


def _to_vox(img, place):
    return np.linalg.solve(img.affine[:3, :3], place - img.affine[:3, 3])


def _value(data, vox):
    """Return the value of the voxel nearest to a place, None outside the image."""
    nearest = np.floor(np.asarray(vox, dtype=float) + 0.5)
    if not np.all((nearest >= 0) & (nearest < data.shape)):
        return None
    return data[tuple(nearest.astype(int))]

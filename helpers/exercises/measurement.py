"""The exercises of lesson 4, Measurement: right answers from the data in use, and typical mistakes."""

import numpy as np
import scipy.ndimage as ndi

from helpers.exercises import Wrong, expect, expect_function, plain

SEED = 115, 155
MARGIN = 5
LONGEST_MM = 20
EXPERT, AUTOMATIC = 0.60, 0.32


def pick(answer, labels):
    """The mask of the object under the seed: array of bool, (row, column)."""
    number = labels[SEED]
    sizes = np.bincount(labels.ravel())
    largest = 1 + int(np.argmax(sizes[1:]))
    mistakes = [
        (labels > 0, "that is all objects together; only the one under the seed, please."),
        (labels == 0, "that is the background: 0 is no object."),
        (
            labels == labels[SEED[::-1]],
            "row and column are exchanged: the seed is `labels[row, column]`, row first.",
        ),
        (labels == largest, "that is the largest object, and it is not the ventricle."),
        (labels != number, "that is all but the ventricle: the mask is the wrong way round."),
        (labels >= number, "`>=` also takes every object with a higher number; use `==`."),
        (
            np.where(labels == number, labels, 0),
            "those are the labels themselves; a mask holds True and False.",
        ),
        (number, "that is the object's number; which pixels of `labels` have the same?"),
        ((labels == number).astype(int), "a mask holds True and False; leave the comparison as it is."),
    ]
    expect(answer, labels == number, mistakes=mistakes)
    return f"label {number}, {sizes[number]} pixels."


def crop(answer, frame, labels):
    """The part of the frame that holds the ventricle with a margin: array, (row, column)."""
    boxes = ndi.find_objects(labels)
    number = int(labels[SEED])

    def around(box, before=MARGIN, after=MARGIN, picture=frame):
        # As Python does, an index below zero would count from the end; here the picture ends there.
        return picture[tuple(slice(max(edge.start - before, 0), edge.stop + after) for edge in box)]

    right = boxes[number - 1]
    mistakes = [
        (around(right, 0, 0), "that is the ventricle's box without a margin."),
        (around(right, MARGIN, 0), "the margin is missing at the end of each axis: add it to `.stop`."),
        (around(right, 0, MARGIN), "the margin is missing at the start of each axis: take it from `.start`."),
        (around(right, MARGIN, MARGIN - 1), "one pixel short at the end: a slice's `.stop` is not in it."),
        (
            around(right, -MARGIN, -MARGIN),
            "the margin goes outward: take it from `.start`, add it to `.stop`.",
        ),
        (around(right[::-1]), "rows and columns are exchanged: the box has the rows first."),
        (around(right).T, "the right part, but transposed."),
        (
            around(right, picture=ndi.median_filter(frame, size=3)),
            "that is from `smooth`; from `frame`, please.",
        ),
        (around(right, picture=labels > 0), "that is from the mask; from `frame`, please."),
        (around(right, picture=labels == number), "that is from the mask; from `frame`, please."),
        (around(right, picture=labels), "that is from `labels`; from `frame`, please."),
    ]
    if number < len(boxes):
        neighbour = boxes[number]
        off_by_one = "that is a neighbour: the box of label n is at index n - 1."
        mistakes += [(around(neighbour), off_by_one), (around(neighbour, 0, 0), off_by_one)]
    expect(answer, around(right), mistakes=mistakes)
    return "the ventricle with a margin."


def spread(answer, frame, labels):
    """The interquartile ranges of the three largest objects, the largest first: three numbers."""
    sizes = np.bincount(labels.ravel())[1:]
    largest = 1 + np.argsort(-sizes, kind="stable")[:3]

    def over(objects, function):
        return [float(function(frame[labels == each])) for each in objects]

    def range_(values, low=25, high=75):
        return np.subtract(*np.percentile(values, [high, low]))

    expected = over(largest, range_)
    smooth = ndi.median_filter(frame, size=3)
    in_order = "the order is that of `objects.index[:3]`, the largest object first."
    mistakes = [
        (over(largest, np.std), "those are standard deviations; percentiles, please."),
        (over(largest, np.var), "those are variances; percentiles, please."),
        (over(largest, np.ptp), "that is from the darkest to the brightest pixel; one odd pixel changes it."),
        (over((1, 2, 3), range_), "those are labels 1 to 3, not the three largest: use `objects.index[:3]`."),
        (over((0, 1, 2), range_), "label 0 is the background; use `objects.index[:3]`."),
        (over(largest, lambda v: np.percentile(v, 75)), "those are the 75th percentiles; less the 25th."),
        (over(largest, lambda v: range_(v, 0.25, 0.75)), "`np.percentile` wants percent: 25 and 75."),
        (expected[::-1], in_order),
        (sorted(expected), in_order),
        (
            [float(range_(smooth[labels == each])) for each in largest],
            "that is in `smooth`; in `frame`, please.",
        ),
        (range_(frame[labels > 0]), "one number for each of the three objects, please."),
    ]
    expect(answer, expected, unit="a.u.", mistakes=mistakes)
    return f"label {largest[np.argmin(expected)]} is most of one kind: the smallest, {min(expected):.0f} a.u."


def plausible(answer):
    """Whether all lengths of a voxel, in mm, are finite, above 0 and at most 20: a function."""
    nan, inf = float("nan"), float("inf")
    cases = [
        (((10.0, 1.37, 1.37),), True),
        (((0.0, 1.37, 1.37),), False),
        (((443030.0, 1.367188, 1.367188),), False),
        (((20.0, 1.0, 0.5),), True),
        (((10.0, -1.37, -1.37),), False),
        (((nan, 1.0, 1.0),), False),
        (((inf, 1.0, 1.0),), False),
    ]

    def lengths(sampling):
        return np.asarray(sampling, dtype=float)

    mistakes = [
        (
            lambda s: not np.any((lengths(s) <= 0) | (lengths(s) > LONGEST_MM)),
            "NaN lies neither below nor above: ask that each length lies inside, not that none lies outside.",
        ),
        (
            lambda s: bool(0 < np.prod(lengths(s)) <= LONGEST_MM**3),
            "test each length: a product hides two wrong signs, or a long one behind short ones.",
        ),
        (lambda s: bool(np.all(lengths(s) > 0)), "too long a voxel must be refused as well."),
        (lambda s: bool(np.all(lengths(s) <= LONGEST_MM)), "lengths of 0 and below must be refused as well."),
        (
            lambda s: bool(np.any((lengths(s) > 0) & (lengths(s) <= 20))),
            "all lengths must pass, not any one.",
        ),
        (lambda s: bool(np.all((lengths(s) > 0) & (lengths(s) < 20))), "20 mm itself is allowed."),
        (lambda s: not np.all((lengths(s) > 0) & (lengths(s) <= 20)), "it is the other way round."),
    ]
    expect_function(answer, cases, name="plausible", mistakes=mistakes)
    return "a voxel of 828113 mm³ does not pass it."


def spacing(answer, positions):
    """The usual distance from one slice to the next in mm: float."""
    steps = np.diff(positions, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    whole = np.linalg.norm(positions[-1] - positions[0])
    expected = float(np.median(lengths))
    flat = np.median(np.abs(steps), axis=0)
    mistakes = [
        (flat[axis], f"that is the step along {'xyz'[axis]} only; the slices are tilted.")
        for axis in range(3)
    ]
    mistakes += [
        (whole / len(positions), "there is one step less than there are slices."),
        (whole, "that is the distance from the first slice to the last; how many steps is it?"),
        (np.median(np.abs(steps).sum(axis=1)), "x, y and z do not add up: take the root of squares."),
        (np.linalg.norm(steps), "that is one length of all steps together: `axis=1` gives one for each."),
        (expected**2, "that is the square of the distance: the root is missing."),
        (np.median(np.linalg.norm(steps, axis=0)), "`axis=1`: a step's three coordinates belong together."),
        (np.median(np.linalg.norm(positions, axis=1)), "that is from the origin; take steps first."),
    ]  # fmt: skip
    answer = plain(answer)
    if isinstance(answer, np.ndarray) and answer.shape == lengths.shape:
        raise Wrong("one number, please: the median of these steps.")
    expect(answer, expected, unit="mm", mistakes=mistakes)
    return f"{expected:.1f} mm from slice to slice."


def volume(answer, mask, sampling):
    """The volume that a mask of one slice marks, in ml: float."""
    count, (step, row, column) = int(np.count_nonzero(mask)), (float(length) for length in sampling)
    mistakes = [
        (count, "that is a number of voxels; multiply by the volume of one."),
        (count / 1000, "that is voxels by a thousand; multiply by the volume of one voxel."),
        (count * step * row * column, "that is in mm³; a ml has a thousand of them."),
        (count * row * column, "that is an area in mm²: the step between slices is missing."),
        (count * row * column / 1000, "the step between slices is missing."),
        (
            mask.size * step * row * column / 1000,
            "that is the whole picture: count the true ones with `sum`.",
        ),
    ]
    expect(answer, count * step * row * column / 1000, unit="ml", mistakes=mistakes, rtol=5e-3)
    return f"{count * step * row * column / 1000:.1f} ml in this one slice."


def centre(answer, centre, level, img):
    """The world coordinates of the centre in mm: three numbers, x, y, z."""
    row, column = (float(place) for place in centre)
    sizes = np.sqrt(np.sum(img.affine[:3, :3] ** 2, axis=0))

    def to_mm(*vox):
        return img.affine[:3, :3] @ vox + img.affine[:3, 3]

    mistakes = [
        (to_mm(row, column, level), "row and column are exchanged: in this image `i` counts columns."),
        (to_mm(level, row, column), "`k` counts slices and comes last."),
        (to_mm(column, row, 0), "the slice is missing: `k` is `level`."),
        (to_mm(level, column, row), "`k` counts slices and comes last."),
        ((column, row, level), "those are voxels; the affine takes them to mm."),
        ((row, column, level), "those are voxels, and (row, column); the affine takes (i, j, k) to mm."),
        (
            sizes * (column, row, level),
            "times the voxel size is not enough: the affine also turns and shifts.",
        ),
        (
            to_mm(column, row, level) - img.affine[:3, 3],
            "the shift is missing: the last column of the affine.",
        ),
        (
            np.linalg.solve(img.affine[:3, :3], (column, row, level) - img.affine[:3, 3]),
            "that is the inverse: from mm to voxels.",
        ),
    ]
    expected = to_mm(column, row, level)
    mistakes.append(
        (expected * (-1, -1, 1), "x and y have DICOM's signs; NIfTI's world has x to the left negative.")
    )
    expect(answer, expected, unit="mm", mistakes=mistakes, atol=0.051)
    return "x, y, z = " + ", ".join(f"{place:.1f}" for place in expected) + " mm."


def ejection(answer, volumes):
    """The ejection fraction of volumes over a beat: a function of an array, which returns a float."""
    cases = [
        ((np.array([150.0, 120.0, 80.0, 60.0, 90.0, 140.0]),), 0.6),
        ((np.array([90.0, 50.0, 40.0, 70.0, 100.0, 95.0]),), 0.6),
        ((np.asarray(volumes, dtype=float),), float(1 - np.min(volumes) / np.max(volumes))),
    ]

    def by_places(v):
        with np.errstate(all="ignore"):
            return (np.argmax(v) - np.argmin(v)) / np.argmax(v)

    mistakes = [
        (
            lambda v: 1 - np.min(volumes) / np.max(volumes),
            "use the function's own argument, not `volumes_ml`, which holds one beat only.",
        ),
        (by_places, "`argmax` tells *when* the ventricle is fullest; `max` tells how full."),
        (
            lambda v: round(float(1 - np.min(v) / np.max(v)), 2),
            "do not round in a function; round when you print.",
        ),
        (lambda v: np.ptp(v) / np.min(v), "divide by the *full* ventricle, the end-diastolic volume."),
        (lambda v: (np.min(v) - np.max(v)) / np.max(v), "the sign is wrong: full less empty."),
        (lambda v: np.min(v) / np.max(v), "that is the share that stays; what is thrown out is the rest."),
        (lambda v: 100 * np.ptp(v) / np.max(v), "that is in percent; a fraction lies between 0 and 1."),
        (np.ptp, "that is the stroke volume; what share of the full ventricle is it?"),
        (
            lambda v: 1 - np.min(v) / v[0],
            "the beat may begin at any moment: the first frame is not always the fullest.",
        ),
        (lambda v: 1 - v[len(v) // 2] / np.max(v), "the middle frame is not always the emptiest."),
        (lambda v: np.ptp(v) / np.mean(v), "divide by the full ventricle, not by the mean."),
    ]
    expect_function(answer, cases, name="ejection_fraction", mistakes=mistakes)
    return f"{cases[-1][1]:.2f} in the kept slices of this heart."


def still(answer):
    """The still volume that makes 0.60 look like 0.32, as a share of the full ventricle: float."""
    expected = EXPERT / AUTOMATIC - 1
    mistakes = [
        (EXPERT / AUTOMATIC, "that is 1 + L/EDV: the ventricle itself is still in it."),
        (EXPERT - AUTOMATIC, "that is the difference of the two fractions; solve the formula for L/EDV."),
        (1 - AUTOMATIC / EXPERT, "that is the share of the stroke volume that seems lost, not the leak."),
        (AUTOMATIC / EXPERT - 1, "expert and automatic are exchanged: a leak is positive."),
        (AUTOMATIC / EXPERT, "expert and automatic are exchanged, and the 1 is missing."),
        (100 * expected, "that is in percent; a fraction, please."),
    ]
    expect(answer, expected, mistakes=mistakes, rtol=0.006)
    return f"{expected:.1%} of a full ventricle hangs on the mask."


def interval(answer, table):
    """The 5th and 95th percentile of the end-diastolic volume over the fine settings, in ml: two numbers."""
    every = np.asarray(table["EDV"], dtype=float)
    good = every[np.asarray(table["fine"], dtype=bool)]
    fractions = np.asarray(table["EF"], dtype=float)[np.asarray(table["fine"], dtype=bool)]
    mistakes = [
        (np.percentile(every, [5, 95]), "settings that leak are in it: keep only those that are fine."),
        (np.percentile(fractions, [5, 95]), "that is the interval of EF; the same for EDV, please."),
        ((good.min(), good.max()), "those are the smallest and the largest; percentiles, please."),
        (np.percentile(good, [0.05, 0.95]), "`np.percentile` wants percent: 5 and 95."),
        (np.percentile(good, [25, 75]), "those are the quartiles; 5 and 95, please."),
        (
            np.percentile(good, [2.5, 97.5]),
            "those are the 2.5th and the 97.5th percentile; 5 and 95, please.",
        ),
        (
            (good.mean() - good.std(), good.mean() + good.std()),
            "mean and standard deviation suppose a bell curve; percentiles suppose nothing.",
        ),
        (good.mean(), "two numbers, please: an interval."),
    ]
    low, high = np.percentile(good, [5, 95])
    emptiest = np.asarray(table["ESV"], dtype=float)[np.asarray(table["fine"], dtype=bool)]
    mistakes += [
        (np.percentile(emptiest, [5, 95]), "that is the interval of ESV; the same for EDV, please."),
        ((high, low), "the lower end first, please."),
    ]
    answer = plain(answer)
    rounded = [np.round((low, high), digits) for digits in (1, 2, 3)]
    if isinstance(answer, np.ndarray) and any(np.array_equal(answer, each) for each in rounded):
        # That is right as well; a tolerance as wide might take in the smallest and the largest.
        answer = np.array((low, high))
    expect(answer, (low, high), unit="ml", mistakes=mistakes, rtol=1e-5)
    ef_low, ef_high = np.percentile(fractions, [5, 95])
    width, ef_width = (high - low) / np.median(good), (ef_high - ef_low) / np.median(fractions)
    return f"{low:.0f} to {high:.0f} ml, a width of {width:.0%} of the middle; that of EF is {ef_width:.0%}."

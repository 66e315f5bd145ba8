"""The exercises of lesson 2, Affines: right answers from the data in use, and typical mistakes."""

from itertools import product

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, from_matvec, to_matvec

from helpers.exercises import Wrong, expect, expect_function, plain

BY_EYE_MM = 5.0  # as near as a crosshair can be set by looking: about two voxels


def centre(answer, img):
    """The middle of an image's grid in the world, in mm: three numbers."""
    matrix, shift = to_matvec(img.affine)
    shape, sizes = np.array(img.shape[:3]), nib.affines.voxel_sizes(img.affine)
    middle = (shape - 1) / 2
    mistakes = [
        (middle, "that is the middle in voxels; the affine takes it to mm."),
        (matrix @ middle, "the shift is missing: that is how far the middle lies from the first voxel."),
        (apply_affine(img.affine, shape / 2), "half a voxel too far: indices run from 0 to n − 1, not to n."),
        (apply_affine(img.affine, shape), "that is beyond the last voxel; take the middle."),
        (apply_affine(img.affine, shape - 1), "that is the last voxel; the middle is half way."),
        (sizes * middle + shift, "this grid is tilted: sizes alone do not do, it takes the whole matrix."),
        (
            apply_affine(img.affine, np.floor(middle)),
            "that is the voxel before the middle, which need not lie on a voxel: do not round.",
        ),
        (
            apply_affine(np.linalg.inv(img.affine), middle),
            "the inverse leads from mm to voxels; here you go from voxels to mm.",
        ),
        (shift, "that is the first voxel."),
        ((0, 0, 0), "that is the world's origin, a fixed point of the scanner or the template."),
    ]
    expect(answer, apply_affine(img.affine, middle), unit="mm", mistakes=mistakes, atol=0.06)
    return "that is the middle of the box."


def build(answer, zooms_mm, angles_deg, first_mm):
    """The affine with these zooms, turned about x, then y, then z, with its first voxel there: (4, 4)."""
    zoom, about = np.diag(zooms_mm).astype(float), [_rotation(n, angle) for n, angle in enumerate(angles_deg)]
    turn, other_turn = about[2] @ about[1] @ about[0], about[0] @ about[1] @ about[2]
    small = [_rotation(n, np.deg2rad(angle)) for n, angle in enumerate(angles_deg)]
    right = from_matvec(turn @ zoom, first_mm)
    shift, linear = from_matvec(np.eye(3), first_mm), from_matvec(turn @ zoom)
    mistakes = [
        (
            from_matvec(other_turn @ zoom, first_mm),
            "the turns come in the wrong order: what is done first stands on the right.",
        ),
        (
            from_matvec(zoom @ turn, first_mm),
            "zoomed after turning, which bends right angles; zoom first, on the right.",
        ),
        (from_matvec(zoom @ other_turn, first_mm), "what is done first stands on the right: zoom, x, y, z."),
        (
            from_matvec(turn.T @ zoom, first_mm),
            "that is turned the other way: mind the sign of the angles, and what is transposed.",
        ),
        (
            linear @ shift,
            "the shift came first, so that it was zoomed and turned as well; it belongs on the left.",
        ),
        (linear, "the first voxel is still at the origin: the shift is missing."),
        (from_matvec(turn, first_mm), "every voxel has edges of 1 mm: the zooms are missing."),
        (turn @ zoom, "that is the 3×3 part; `from_matvec` joins it with the shift."),
        (
            from_matvec(small[2] @ small[1] @ small[0] @ zoom, first_mm),
            "the angles were turned into radians twice: `rotation` takes degrees.",
        ),
    ]
    expect(answer, right, mistakes=mistakes, atol=1e-3)
    return "first zoomed, then turned about x, y and z, then shifted."


def sizes(answer):
    """A function of an affine (4, 4) that returns the three voxel sizes in mm."""
    turn = _rotation(2, 30)
    affines = [
        from_matvec(np.diag((2.0, 3.0, 4.0)), (-10, -20, -30)),
        from_matvec(turn @ np.diag((1.0, 2.0, 3.0)), (-70, 5, 12)),
        from_matvec(np.diag((-2.5, 2.5, 5.0)), (80, -90, -60)),
    ]
    mistakes = [
        (
            lambda affine: np.diag(affine)[:3],
            "that reads the diagonal; look at a grid that is turned or mirrored.",
        ),
        (
            lambda affine: np.abs(np.diag(affine)[:3]),
            "that reads the diagonal, which is not the size once the grid is turned.",
        ),
        (
            lambda affine: np.linalg.norm(affine[:3, :3], axis=1),
            "those are lengths of rows; a step along i is a *column*.",
        ),
        (
            lambda affine: np.linalg.norm(affine, axis=0),
            "four numbers: the last column is the shift, no step.",
        ),
        (
            lambda affine: np.sum(affine[:3, :3] ** 2, axis=0),
            "those are squares; take the root to get lengths.",
        ),
        (
            lambda affine: affine[:3, :3].sum(axis=0),
            "the length of a step is no sum: square, add, take the root.",
        ),
        (
            lambda affine: np.abs(affine[:3, :3]).sum(axis=0),
            "the length of a step is no sum: square, add, take the root.",
        ),
    ]
    cases = [((affine,), nib.affines.voxel_sizes(affine)) for affine in affines]
    expect_function(answer, cases, name="sizes", mistakes=mistakes)
    return "the lengths of the columns are the sizes, for turned and mirrored grids too."


def apart(answer, img):
    """How far apart sform and qform put a corner voxel, at most, in mm: float."""
    sform, qform = img.get_sform(), img.get_qform()
    corners = np.array(list(product(*[(0, n - 1) for n in img.shape[:3]])))
    between = apply_affine(sform, corners) - apply_affine(qform, corners)
    lengths = np.linalg.norm(between, axis=1)
    beyond = np.array(list(product(*[(0, n) for n in img.shape[:3]])))
    outer = np.linalg.norm(apply_affine(sform, beyond) - apply_affine(qform, beyond), axis=1)
    mistakes = [
        (
            np.abs(sform - qform).max(),
            "that is the largest difference of entries, and no distance in the body.",
        ),
        (
            np.linalg.norm(sform[:3, 3] - qform[:3, 3]),
            "that is the first voxel only; a turn moves others further.",
        ),
        (
            np.linalg.norm(sform - qform),
            "that is a length of numbers in a matrix; move voxels, then compare.",
        ),
        (np.abs(between).max(), "that is along one axis only; take the length of the step in all three."),
        (lengths.mean(), "that is the mean over the corners; the largest, please."),
        (lengths.min(), "that is the smallest; the largest, please."),
        (lengths, "those are all eight corners; the largest of them, please."),
        (np.linalg.norm(between), "that is one length for all eight corners; `axis=1` gives one for each."),
        (
            np.linalg.norm(between, axis=0).max(),
            "that adds up over the corners; `axis=1` adds up x, y and z of each corner.",
        ),
        (outer.max(), "one voxel too far: the last index is n − 1."),
    ]
    expect(answer, lengths.max(), unit="mm", mistakes=mistakes, atol=0.06)
    return f"the two disagree by up to {lengths.max():.1f} mm."


def dicom(answer, slices, converted):
    """The NIfTI affine of a DICOM series, from (column, row, slice) to RAS+ mm: (4, 4)."""
    first, last = slices[0], slices[-1]
    row_way, column_way = np.reshape([float(value) for value in first.ImageOrientationPatient], (2, 3))
    between_rows, between_columns = (float(value) for value in first.PixelSpacing)
    start, end = (np.array([float(v) for v in each.ImagePositionPatient]) for each in (first, last))
    step = (end - start) / (len(slices) - 1)
    unit = step / np.linalg.norm(step)

    def affine(i=row_way * between_columns, j=column_way * between_rows, k=step, origin=start):
        return from_matvec(np.stack([i, j, k], axis=1), origin)

    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    right = to_ras @ affine()
    thick = unit * float(first.SliceThickness)
    half_turned = affine()
    half_turned[:3, 3] *= (-1, -1, 1)
    unturned_shift = right.copy()
    unturned_shift[:3, 3] = start
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1, first.Rows - 1
    mistakes = [
        (affine(), "that leads to DICOM's world (LPS): x and y must change their signs."),
        (
            half_turned,
            "only the shift was turned to RAS; the directions of the rows and columns must be, too.",
        ),
        (
            unturned_shift,
            "only the directions were turned to RAS; the position of the first pixel must be, too.",
        ),
        (
            affine() @ to_ras,
            "the signs were changed on the right, which turns i and j; x and y are on the left.",
        ),
        (np.diag([-1, 1, 1, 1]) @ affine(), "x was turned, but y was not: front and back are exchanged."),
        (np.diag([1, -1, 1, 1]) @ affine(), "y was turned, but x was not: left and right are exchanged."),
        (
            to_ras @ affine(i=row_way, j=column_way),
            "a step along a row or a column is 1 mm long: the pixel spacing is missing.",
        ),
        (to_ras @ affine(k=thick), "that takes the slice thickness for the step from slice to slice."),
        (
            to_ras @ affine(k=step * (len(slices) - 1) / len(slices)),
            "n slices have n − 1 steps between them: off by one.",
        ),
        (
            to_ras @ affine(i=column_way * between_rows, j=row_way * between_columns),
            "i and j are exchanged: the way *along* a row is the way in which the column's number i grows.",
        ),
        (to_ras @ affine(origin=end), "that is the position of the last slice; k = 0 is the first."),
        (to_ras @ affine(k=-step), "the slices run the other way: from the first to the last."),
        (
            to_ras @ affine(k=unit),
            "the step from slice to slice has the right direction, but a length of 1 mm.",
        ),
        (
            converted.affine,
            "that is dicom2nifti's, which has turned the rows round; yours is for `[i, j, k]` unturned.",
        ),
    ]
    expect(answer, right, mistakes=mistakes, rtol=1e-4, atol=1e-3)
    if not np.allclose(right @ flip, converted.affine, atol=0.01):
        raise Wrong("this follows the headers, but `converted` says otherwise: is it the same series?")
    return "turn the rows round as dicom2nifti does, and it is dicom2nifti's affine."


def find(answer, epi, t1, target):
    """The voxel of the T1 that shows the same place as a voxel of the EPI: three numbers, judged in mm."""
    to_t1 = np.linalg.inv(t1.affine) @ epi.affine
    right = apply_affine(to_t1, target)
    answer = plain(answer)
    numbers = isinstance(answer, np.ndarray) and answer.shape == (3,) and answer.dtype.kind in "iuf"
    if not (numbers and np.isfinite(answer).all()):
        expect(answer, right)
    answer = answer.astype(float)
    place = apply_affine(epi.affine, target)
    for mistake, message in [
        (target, "those are the EPI's own indices; in the T1 they are another place. Go through the world."),
        (place, "that is the place in mm; take it on to a voxel of the T1."),
        (
            apply_affine(np.linalg.inv(epi.affine) @ t1.affine, target),
            "the other way round: that maps voxels of the T1 to voxels of the EPI.",
        ),
        (
            apply_affine(t1.affine @ np.linalg.inv(epi.affine), target),
            "the inverse of the wrong affine: the EPI's leads to mm, the T1's *inverse* on to voxels.",
        ),
        (apply_affine(t1.affine @ epi.affine, target), "forgot the inverse: the T1's affine leads *to* mm."),
    ]:
        if np.abs(answer - mistake).max() <= 1 and np.abs(right - mistake).max() > 2:
            raise Wrong(message)
    if (np.round(answer) < 0).any() or (np.round(answer) >= t1.shape[:3]).any():
        raise Wrong("this voxel lies outside the T1.")
    off = apply_affine(t1.affine, answer) - place
    distance = np.linalg.norm(off)
    if distance > BY_EYE_MM:
        raise Wrong(f"{distance:.0f} mm away: from there go {_way(-off)}.")
    nearest = np.array_equal(np.round(answer), np.round(right))
    return f"{distance:.1f} mm away, " + (
        "the nearest voxel there is." if nearest else "as near as one gets by eye."
    )


def turn(answer, shape, degrees):
    """The matrix for affine_transform that turns a plane from i towards j about its centre: (3, 3)."""
    middle = (np.array(shape) - 1) / 2

    def about(point, angle):
        there = from_matvec(np.eye(2), point)
        return there @ from_matvec(_rotation(2, angle)[:2, :2]) @ np.linalg.inv(there)

    mistakes = [
        (
            about(middle, degrees),
            "the other way: `affine_transform` asks where each pixel comes *from*; hand it the inverse.",
        ),
        (
            about((0, 0), -degrees),
            "that turns about the first pixel; bring the centre there before, and back after.",
        ),
        (
            about((0, 0), degrees),
            "about the first pixel, and the other way round: centre and inverse lack.",
        ),
        (
            about(np.array(shape) / 2, -degrees),
            "the centre is half a pixel off: indices run from 0 to n − 1.",
        ),
        (about(-middle, -degrees), "the two shifts are exchanged: what is done first stands on the right."),
        (about(-middle, degrees), "the two shifts are exchanged, and the inverse is missing."),
        (about(middle[::-1], -degrees), "the centre's two coordinates are exchanged."),
        (
            from_matvec(np.eye(2), middle) @ about((0, 0), -degrees),
            "the centre was brought to the origin and stayed there; bring it back.",
        ),
        (about(middle, -np.rad2deg(degrees)), "degrees were taken for radians."),
        (
            _rotation(2, -degrees)[:2, :2],
            "a 2×2 matrix turns about the first pixel; it takes a shift as well.",
        ),
    ]
    expect(answer, np.linalg.inv(about(middle, degrees)), mistakes=mistakes, atol=1e-3)
    return "the centre stays, and the picture turns the way you wanted."


def crop(answer, img, start):
    """The affine of an image of which the first voxels along each axis were cut off: (4, 4)."""
    _refuse_changed(img, "epi_img")
    matrix, shift = to_matvec(img.affine)
    start = np.array(start)
    sizes = nib.affines.voxel_sizes(img.affine)

    def origin(place):
        return from_matvec(matrix, place)

    right = origin(apply_affine(img.affine, start))
    mistakes = [
        (img.affine, "that is the affine of the whole: the crop would jump to where the whole begins."),
        (origin(shift + start), "voxels were added to mm: the matrix takes the one to the other."),
        (
            origin(shift - matrix @ start),
            "the wrong way: the first voxel left lies further *along* the axes.",
        ),
        (
            origin(shift + sizes * start),
            "this grid is tilted: sizes alone do not do, it takes the whole matrix.",
        ),
        (origin(matrix @ start), "the old origin is missing; that is only how far the new one lies from it."),
        (origin(start), "those are the voxel's indices; the last column is in mm."),
        (
            apply_affine(img.affine, start),
            "that is where the crop begins; now put it into the affine's last column.",
        ),
        (
            origin(apply_affine(img.affine, start - 1)),
            "one voxel too early: voxel `start` itself is the first that is left.",
        ),
    ]
    expect(answer, right, mistakes=mistakes, atol=0.01)
    return "the crop stays where it was, and `slicer` says the same."


def centres(answer, fixed, moving):
    """The moving image's affine, shifted so that the centres of both grids coincide: (4, 4)."""
    _refuse_changed(moving, "second_img")
    matrix, shift = to_matvec(moving.affine)
    middle_fixed, middle_moving = ((np.array(each.shape[:3]) - 1) / 2 for each in (fixed, moving))
    step = apply_affine(fixed.affine, middle_fixed) - apply_affine(moving.affine, middle_moving)
    past = apply_affine(fixed.affine, middle_fixed + 0.5) - apply_affine(moving.affine, middle_moving + 0.5)

    def origin(place):
        return from_matvec(matrix, place)

    mistakes = [
        (moving.affine, "nothing was moved yet."),
        (
            origin(shift - step),
            "the wrong way: that doubles the distance. Go from the moving centre to the fixed one.",
        ),
        (origin(fixed.affine[:3, 3]), "now the first voxels coincide; the centres, please."),
        (
            origin(apply_affine(fixed.affine, middle_fixed)),
            "now the *first voxel* lies at the other's centre.",
        ),
        (origin(step), "the old origin is missing: add the step to it."),
        (origin(shift + past), "half a voxel off: the centre's index is (n − 1) / 2."),
        (
            origin(shift + middle_fixed - middle_moving),
            "that is the distance in voxels, and of two sizes at that; take both centres to mm first.",
        ),
        (fixed.affine, "that is the other image's affine, with its zooms and turns; change the origin only."),
        (
            moving.affine @ from_matvec(np.eye(3), step),
            "the step is in mm, so it belongs to the left of the affine; on the right it would be in voxels.",
        ),
        (step, "that is the step that the origin must take; now put it into the affine."),
    ]
    expect(answer, origin(shift + step), mistakes=mistakes, atol=0.01)
    return f"the image moved by {np.linalg.norm(step):.0f} mm, and not one of its numbers changed."


def scaling(answer, values):
    """Slope and intercept that spread 0 to 255 over all values: two numbers."""
    low, high = float(np.min(values)), float(np.max(values))
    slope = (high - low) / 255
    mistakes = [
        ((low, slope), "the two are exchanged: slope first, then intercept."),
        (((high - low) / 256, low), "256 values have 255 steps between them: off by one."),
        ((1 / slope, low), "upside down: the slope is how much *intensity* one stored step is worth."),
        (
            (1 / slope, -low / slope),
            "that leads from intensities to stored values; the formula goes from stored to intensity.",
        ),
        ((slope, 0), "stored 0 would be intensity 0, and nothing could be below it."),
        ((slope, -low), "the sign of the intercept: stored 0 must become the smallest value."),
        ((slope, high), "stored 0 must become the smallest value, not the largest."),
        ((high / 255, low), "the range goes from the smallest to the largest value, not from 0."),
        ((high / 255, 0), "the range goes from the smallest to the largest value, not from 0."),
    ]
    expect(answer, (slope, low), mistakes=mistakes)
    return f"rounding costs half a slope at most: {slope / 2:.3f}."


def _refuse_changed(img, name):
    """Complain if an image's affine was changed in place, which its header does not know."""
    if not np.allclose(img.affine, img.header.get_best_affine(), atol=1e-3):
        raise Wrong(
            f"`{name}.affine` itself was changed, and so the image has moved. Run the cell that makes "
            f"`{name}` again, and change a `.copy()` of its affine."
        )


def _rotation(axis, degrees):
    """Return the (3, 3) matrix that turns about x, y or z."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[a, a, b, b], [a, b, a, b]] = cos, -sin, sin, cos
    return matrix


def _way(step_mm):
    """Say a step in mm, RAS+, in words: its parts of at least 2 mm."""
    names = (("to the left", "to the right"), ("back", "forward"), ("down", "up"))
    parts = [
        f"{abs(step):.0f} mm {pair[int(step > 0)]}"
        for step, pair in zip(step_mm, names, strict=True)
        if abs(step) >= 2
    ]
    return ", ".join(parts)

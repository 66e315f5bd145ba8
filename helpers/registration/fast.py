"""The operators of demons once more, compiled by numba: same meaning, fused loops, all cores.

Everything is written for volumes; a 2D image is a volume of one plane, whose field lacks the component across
it. Loops run along the last axis, which is contiguous, and are shaped so that the compiler vectorises them.

Threads are Python's own: the kernels release the interpreter's lock and each works on its share of the rows.
That compiles in a quarter of the time of numba's parallel loops, and several registrations may run at once.
No sum crosses rows before all rows are there, so that results do not depend on the number of threads, which
is numba's (the variable NUMBA_NUM_THREADS, by default all cores). `compile_all` compiles ahead.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numba
import numpy as np

from helpers.registration.fields import between
from helpers.registration.operators import cell_starts, gaussian

__all__ = ["compose", "forces", "jacobian", "resample", "resample_image", "smooth", "warp"]

SMALLEST_FOR_THREADS = 2**18  # voxels; below, handing out the work takes longer than the work
AHEAD = 6  # planes by which `warp` reads the image before it looks it up
BLOCK = 1024  # floats of a row that are worked on at once, so that they stay in the cache
SHORT = 256  # floats; of shorter rows several are worked on at once, as if they were one

# Not "fast": it would let the compiler assume that there are no NaNs, which are our field of view.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def _compiled(function):
    """Compile on first use, and keep the machine code on disk wherever numba finds a folder to write to."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to
        return numba.njit(**_OPTIONS)(function)


def warp(image, displacement):
    """Return image(x + displacement(x)); see `operators.warp`."""
    volume, field = _volume(image), _volumes(displacement)
    warped = np.empty(volume.shape, np.float32)
    tables, scale = _tables(field.shape[1:], volume.shape)
    rows = volume.shape[0] * volume.shape[1]
    _share(_warp, rows, image.size, volume, field, *tables, scale[-len(field) :], warped)
    return warped.reshape(image.shape)


def forces(fixed, warped, lattice, gradient="symmetric", alpha=1.0, weights=(1.0, 1.0, 1.0)):
    """Return numerator, evidence, sum of squares and voxels inside; see `operators.forces`."""
    ndim = fixed.ndim
    one, other = {"fixed": (fixed, fixed), "moving": (warped, warped), "symmetric": (fixed, warped)}[gradient]
    nodes = (1,) * (3 - ndim) + tuple(lattice)
    starts = [_cells(n, m) for n, m in zip(_volume(fixed).shape, nodes, strict=True)]
    numerator = np.empty((ndim, *nodes), np.float32)
    evidence = np.empty(nodes, np.float32)
    sums = np.empty((nodes[0] * nodes[1], 2))
    _share(
        _forces, len(sums), fixed.size, _volume(fixed), _volume(warped), _volume(one), _volume(other),
        *starts, np.float32(alpha), np.array(weights[:ndim], np.float32), numerator, evidence, sums,
    )  # fmt: skip
    ssd, inside = sums.sum(axis=0)
    return numerator.reshape(ndim, *lattice), evidence.reshape(lattice), float(ssd), int(inside)


def smooth(field, sigma):
    """Return a field smoothed by a Gaussian; see `operators.smooth`."""
    shape, size = field.shape, field.size
    for axis, width in enumerate(sigma, start=1):
        if width <= 0:
            continue
        n, weights = shape[axis], _half_gaussian(float(width))
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        smoothed = np.empty(shape, np.float32)
        if after == 1:
            lines, out = field.reshape(before, n), smoothed.reshape(before, n)
            _share(_smooth_rows, before, size, lines, weights, out)
        else:
            slabs, out = field.reshape(before, n, after), smoothed.reshape(before, n, after)
            if after < SHORT:
                _share(_smooth_slabs, before, size, slabs, weights, out)
            else:
                _share(_smooth_columns, before * -(-after // BLOCK), size, slabs, weights, out)
        field = smoothed
    return field


def compose(u, s):
    """Return u ∘ s; see `fields.compose`."""
    composed = np.empty(s.shape, np.float32)
    fields = _volumes(u), _volumes(s), _volumes(composed)
    _share(_compose, fields[0].shape[1] * fields[0].shape[2], u.size, *fields)
    return composed


def resample(displacement, shape):
    """Return a displacement on another grid; see `fields.resample`."""
    field = _volumes(displacement)
    nodes = (1,) * (4 - displacement.ndim) + tuple(shape)
    resampled = np.empty((len(field), *nodes), np.float32)
    tables, scale = _tables(field.shape[1:], nodes)
    _share(_resample, nodes[0] * nodes[1], resampled.size, field, *tables, scale[-len(field) :], resampled)
    return resampled.reshape(len(field), *shape)


def resample_image(image, shape):
    """Return an image on another grid; see `fields.resample_image`."""
    nodes = (1,) * (3 - image.ndim) + tuple(shape)
    resampled = np.empty((1, *nodes), np.float32)
    tables, _ = _tables(_volume(image).shape, nodes)
    one = np.ones(1, np.float32)
    _share(_resample, nodes[0] * nodes[1], image.size, _volume(image)[None], *tables, one, resampled)
    return resampled.reshape(shape)


def jacobian(displacement):
    """Return the determinant of the derivative of x + displacement(x); see `fields.jacobian`."""
    field = _volumes(displacement)
    determinant = np.empty(field.shape[1:], np.float32)
    _share(_jacobian, field.shape[1] * field.shape[2], determinant.size, field, determinant)
    return determinant.reshape(displacement.shape[1:])


def compile_all():
    """Compile all kernels and keep the machine code on disk; ``python -m helpers.registration.fast`` does it.

    Else the first registration takes some seconds longer.
    """
    for shape in ((4, 5), (4, 5, 6)):
        image, field = np.zeros(shape, np.float32), np.zeros((len(shape), *shape), np.float32)
        warp(image, field)
        forces(image, image, shape)
        smooth(field, [1.0] * len(shape))
        compose(field, field)
        resample(field, shape)
        resample_image(image, shape)
        jacobian(field)


def _share(kernel, rows, size, *arguments):
    """Run ``kernel(*arguments, start, stop)`` over all rows, on several threads if there is enough to do."""
    threads = numba.config.NUMBA_NUM_THREADS if size >= SMALLEST_FOR_THREADS else 1
    if threads == 1:
        kernel(*arguments, 0, rows)
        return
    edges = np.linspace(0, rows, 4 * threads + 1).astype(int)  # several parts each, as some are slower
    pool = _pool(os.getpid(), threads)
    for part in [pool.submit(kernel, *arguments, *ends) for ends in pairwise(edges)]:
        part.result()


@lru_cache(maxsize=1)
def _pool(process, threads):
    """Return the threads of this process; after a fork the child needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="registration")


def _volume(image):
    """Return an image as a volume."""
    image = np.ascontiguousarray(image, np.float32)
    return image.reshape((1,) * (3 - image.ndim) + image.shape)


def _volumes(field):
    """Return a field (components, *shape) as volumes; in 2D there are two components, not three."""
    field = np.ascontiguousarray(field, np.float32)
    return field.reshape(len(field), *(1,) * (4 - field.ndim), *field.shape[1:])


# What depends on sizes only is kept: for small images it takes as long as the work of an iteration.


@lru_cache(maxsize=64)
def _half_gaussian(width):
    """Return the weights from the centre outwards, with zeros up to a multiple of three."""
    weights = gaussian(width)
    radius = len(weights) // 2
    return np.append(weights[radius:], np.zeros(-radius % 3, np.float32))


@lru_cache(maxsize=64)
def _cells(n, m):
    """Return the first of ``n`` voxels in each of ``m`` cells, and the end."""
    return np.append(cell_starts(n, m), n)


@lru_cache(maxsize=64)
def _tables(old, new):
    """Return for each axis where the new grid lies in the old one, and the ratio of their shapes."""
    tables = [table for pair in zip(old, new, strict=True) for table in between(*pair)]
    return tables, np.divide(new, old).astype(np.float32)


@_compiled
def _line(volume, i, part_i, j, part_j, line):
    """Write to the start of ``line`` the row of a volume between the rows at (i, j) and the next ones."""
    i2, j2 = min(i + 1, volume.shape[0] - 1), min(j + 1, volume.shape[1] - 1)
    w00, w01 = (1 - part_i) * (1 - part_j), (1 - part_i) * part_j
    w10, w11 = part_i * (1 - part_j), part_i * part_j
    r00, r01, r10, r11 = volume[i, j], volume[i, j2], volume[i2, j], volume[i2, j2]
    for k in range(len(r00)):
        line[k] = w00 * r00[k] + w01 * r01[k] + w10 * r10[k] + w11 * r11[k]


@_compiled
def _spread(line, below, part, scale, out):
    """Write to ``out`` what a row shows at the places of a finer or coarser one.

    ``line`` is one longer than the row, as a row of one node, too, is read with its neighbour.
    """
    for k in range(len(out)):
        at = np.uintp(below[k])
        low, high = line[at], line[at + np.uintp(1)]
        out[k] = scale * (low + part[k] * (high - low))


@_compiled
def _resample(field, below0, part0, below1, part1, below2, part2, scale, out, start, stop):
    line = np.zeros(field.shape[3] + 1, np.float32)
    for row in range(start, stop):
        i, j = row // out.shape[2], row % out.shape[2]
        for c in range(field.shape[0]):
            _line(field[c], below0[i], part0[i], below1[j], part1[j], line)
            _spread(line, below2, part2, scale[c], out[c, i, j])


@_compiled
def _warp(image, field, below0, part0, below1, part1, below2, part2, scale, out, start, stop):
    ndim, (_, n1, n2) = len(field), image.shape
    line = np.zeros(field.shape[3] + 1, np.float32)
    # The lattice's rows before and after the image's row, on the image's plane and at its columns.
    before, after = np.empty((ndim, n2), np.float32), np.empty((ndim, n2), np.float32)
    u = np.zeros((3, n2), np.float32)
    at, part, voxels = np.empty(n2, np.uint32), np.empty((3, n2), np.float32), image.reshape(-1)
    plane, first = -1, -1
    touched = np.float32(0)
    for row in range(start, stop):
        i, j = row // n1, row % n1
        ahead = (row + AHEAD * n1) * n2
        touched += _touch(voxels[ahead : ahead + n2])
        if plane != i or first != below1[j]:
            one_on = plane == i and first == below1[j] - 1
            plane, first = i, below1[j]
            for c in range(ndim):
                if one_on:
                    before[c] = after[c]
                else:
                    _line(field[c], below0[i], part0[i], first, np.float32(0), line)
                    _spread(line, below2, part2, scale[c], before[c])
                following = min(first + 1, field.shape[2] - 1)
                _line(field[c], below0[i], part0[i], following, np.float32(0), line)
                _spread(line, below2, part2, scale[c], after[c])
        for c in range(ndim):
            _mix(before[c], after[c], part1[j], u[c + 3 - ndim])
        _place(u, i, j, image.shape, np.float32(0.5), at, part)
        _look_up(voxels, at, part, image.shape, out[i, j])
    return touched  # or the compiler would leave the touching out


@_compiled
def _touch(row):
    """Read a row in its order, so that memory has sent it when it is looked up here and there."""
    total = np.float32(0)
    for k in range(len(row)):
        total += row[k]
    return total


@_compiled
def _mix(before, after, part, out):
    for k in range(len(out)):
        out[k] = before[k] + part * (after[k] - before[k])


@_compiled
def _place(u, i, j, shape, margin, at, part):
    """Write where (i, j, k) + u lies for all k: number of the voxel below, among all, and the part beyond it.

    Positions outside are moved to the border. Where they are outside by more than ``margin``, the part is
    NaN, and so is then what `_look_up` finds. The two are separate so that this one uses vectors.
    """
    at[:] = 0
    for axis in range(3):
        here = np.float32(i) if axis == 0 else np.float32(j) if axis == 1 else np.float32(0)
        _place_axis(u[axis], here, np.float32(axis == 2), np.int32(shape[axis]), margin, at, part[axis])


@_compiled
def _place_axis(u, here, step, n, margin, at, part):
    end, before_last = np.float32(n - 1), np.int32(max(n - 2, 0))
    low, high, nan = -margin, end + margin, np.float32(np.nan)
    for k in range(len(at)):
        x = here + np.float32(np.int32(k)) * step + u[k]
        inside = end if x > end else x if x > 0 else np.float32(0)
        below = min(np.int32(inside), before_last)
        part[k] = nan if (x < low) | (x > high) else inside - np.float32(below)
        at[k] = at[k] * np.uint32(n) + np.uint32(below)


@_compiled
def _look_up(voxels, at, part, shape, out):
    """Write to ``out`` what a volume shows at the places found by `_place`."""
    part0, part1, part2 = part[0], part[1], part[2]
    one, next1 = np.uintp(1), np.uintp(shape[2])
    if shape[0] == 1:
        for k in range(len(out)):
            v, p1, p2 = np.uintp(at[k]), part1[k], part2[k]
            a = voxels[v] + p2 * (voxels[v + one] - voxels[v])
            v += next1
            b = voxels[v] + p2 * (voxels[v + one] - voxels[v])
            out[k] = a + p1 * (b - a)
    else:
        next0 = np.uintp(shape[1] * shape[2])
        for k in range(len(out)):
            v, p0, p1, p2 = np.uintp(at[k]), part0[k], part1[k], part2[k]
            a = voxels[v] + p2 * (voxels[v + one] - voxels[v])
            w = v + next1
            b = voxels[w] + p2 * (voxels[w + one] - voxels[w])
            low = a + p1 * (b - a)
            v += next0
            a = voxels[v] + p2 * (voxels[v + one] - voxels[v])
            w = v + next1
            b = voxels[w] + p2 * (voxels[w + one] - voxels[w])
            high = a + p1 * (b - a)
            out[k] = low + p0 * (high - low)


@_compiled
def _forces(
    fixed, warped, one, other, start0, start1, start2, alpha, weights, numerator, evidence, sums, start, stop
):
    ndim, (n0, n1, n2) = len(weights), fixed.shape
    parts, g = np.empty((4, n2), np.float32), np.zeros((3, n2), np.float32)
    d, known, padded = np.empty(n2, np.float32), np.empty(n2, np.float32), np.empty(n2 + 2, np.float32)
    for cell in range(start, stop):
        a, b = cell // (len(start1) - 1), cell % (len(start1) - 1)
        parts[:] = 0
        ssd, inside = 0.0, 0.0
        for i in range(start0[a], start0[a + 1]):
            for j in range(start1[b], start1[b + 1]):
                more, inside_row = _difference(fixed[i, j], warped[i, j], d, known)
                ssd += more
                inside += inside_row
                # Central differences, one-sided at the border.
                if ndim == 3:
                    i1, i2 = max(i - 1, 0), min(i + 1, n0 - 1)
                    h = np.float32(0.5 / (i2 - i1))
                    _slope(one[i1, j], one[i2, j], other[i1, j], other[i2, j], h, g[0])
                j1, j2 = max(j - 1, 0), min(j + 1, n1 - 1)
                h = np.float32(0.5 / (j2 - j1))
                _slope(one[i, j1], one[i, j2], other[i, j1], other[i, j2], h, g[1])
                _mean(one[i, j], other[i, j], padded[1:-1])
                padded[0], padded[-1] = 2 * padded[1] - padded[2], 2 * padded[-2] - padded[-3]
                _half_difference(padded, g[2])
                w0 = weights[0] if ndim == 3 else np.float32(0)
                _evidence(d, g[0], g[1], g[2], w0, weights[ndim - 2], weights[ndim - 1], alpha, known)
                for c in range(3 - ndim, 3):
                    _add_votes(d, g[c], weights[c + ndim - 3], known, parts[c])
                _add_votes(known, known, np.float32(0), known, parts[3])
        sums[cell, 0], sums[cell, 1] = ssd, inside
        for c in range(ndim + 1):
            _sum_cells(parts[c + 3 - ndim], start2, numerator[c, a, b] if c < ndim else evidence[a, b])


@_compiled
def _difference(fixed, warped, d, square):
    """Write the difference of two rows, and return the sum of its squares and how many are not NaN."""
    ssd, outside = 0.0, 0
    for k in range(len(d)):
        d[k] = fixed[k] - warped[k]
    for k in range(len(d)):
        square[k] = d[k] * d[k] if d[k] == d[k] else np.float32(0)
    for k in range(len(d)):
        ssd += np.float64(square[k])
    for k in range(len(d)):
        outside += np.int32(d[k] != d[k])
    return ssd, np.float64(len(d) - outside)


@_compiled
def _slope(one1, one2, other1, other2, h, g):
    for k in range(len(g)):
        g[k] = h * (one2[k] - one1[k] + other2[k] - other1[k])


@_compiled
def _mean(one, other, mean):
    for k in range(len(mean)):
        mean[k] = np.float32(0.5) * (one[k] + other[k])


@_compiled
def _half_difference(padded, g):
    for k in range(len(g)):
        g[k] = np.float32(0.5) * (padded[k + 2] - padded[k])


@_compiled
def _evidence(d, g0, g1, g2, w0, w1, w2, alpha, known):
    for k in range(len(d)):
        known[k] = w0 * g0[k] * g0[k] + w1 * g1[k] * g1[k] + w2 * g2[k] * g2[k] + alpha * d[k] * d[k]


@_compiled
def _add_votes(d, g, weight, known, part):
    """Add weight d g, or the evidence itself if the weight is 0, of the voxels whose evidence is not NaN."""
    if weight == 0:
        for k in range(len(part)):
            part[k] += known[k] if known[k] == known[k] else np.float32(0)
    else:
        for k in range(len(part)):
            vote = weight * d[k] * g[k]
            part[k] += vote if known[k] == known[k] else np.float32(0)


@_compiled
def _sum_cells(part, starts, out):
    for p in range(len(out)):
        total = np.float32(0)
        for k in range(starts[p], starts[p + 1]):
            total += part[k]
        out[p] = total


@_compiled
def _smooth_columns(field, weights, out, start, stop):
    """Smooth along the middle axis of (a, n, b), in blocks of the last."""
    _, n, b = field.shape
    blocks, end = -(-b // BLOCK), n - 1
    for unit in range(start, stop):
        a, first = unit // blocks, unit % blocks * BLOCK
        last = min(first + BLOCK, b)
        for i in range(n):
            line = out[a, i, first:last]
            _scale(field[a, i, first:last], weights[0], line)
            for t in range(1, len(weights), 3):
                _add_pairs(
                    field[a, max(i - t, 0), first:last], field[a, min(i + t, end), first:last], weights[t],
                    field[a, max(i - t - 1, 0), first:last], field[a, min(i + t + 1, end), first:last],
                    weights[t + 1],
                    field[a, max(i - t - 2, 0), first:last], field[a, min(i + t + 2, end), first:last],
                    weights[t + 2], line,
                )  # fmt: skip


@_compiled
def _smooth_slabs(field, weights, out, start, stop):
    """Smooth along the middle axis of (slabs, n, b): each slab, with its border, as one long line."""
    _, n, b = field.shape
    radius = len(weights) - 1
    padded = np.empty((n + 2 * radius) * b, np.float32)
    for slab in range(start, stop):
        for i in range(n + 2 * radius):
            padded[i * b : (i + 1) * b] = field[slab, min(max(i - radius, 0), n - 1)]
        _smooth_line(padded, b, weights, out[slab].reshape(-1))


@_compiled
def _smooth_rows(field, weights, out, start, stop):
    """Smooth along the last axis of (rows, n): several rows, each with its border, as one long line."""
    radius, n = len(weights) - 1, field.shape[1]
    length = n + 2 * radius
    at_once = max(1, BLOCK // length)
    padded = np.empty(at_once * length, np.float32)
    smoothed = np.empty(at_once * length - 2 * radius, np.float32)
    for first in range(start, stop, at_once):
        rows = min(at_once, stop - first)
        for row in range(rows):
            line, begin = field[first + row], row * length
            padded[begin : begin + radius] = line[0]
            padded[begin + radius : begin + radius + n] = line
            padded[begin + radius + n : begin + length] = line[n - 1]
        _smooth_line(padded, 1, weights, smoothed[: rows * length - 2 * radius])
        for row in range(rows):
            out[first + row] = smoothed[row * length : row * length + n]


@_compiled
def _smooth_line(padded, step, weights, out):
    """Write to ``out`` the weighted sum of what lies at multiples of ``step`` before and after each place."""
    radius = len(weights) - 1
    for first in range(0, len(out), BLOCK):
        last = min(first + BLOCK, len(out))
        low, high = radius * step + first, radius * step + last
        _scale(padded[low:high], weights[0], out[first:last])
        for t in range(1, radius + 1, 3):
            one, two, three = t * step, (t + 1) * step, (t + 2) * step
            _add_pairs(
                padded[low - one : high - one], padded[low + one : high + one], weights[t],
                padded[low - two : high - two], padded[low + two : high + two], weights[t + 1],
                padded[low - three : high - three], padded[low + three : high + three], weights[t + 2],
                out[first:last],
            )  # fmt: skip


@_compiled
def _scale(row, weight, out):
    for k in range(len(out)):
        out[k] = weight * row[k]


@_compiled
def _add_pairs(low1, high1, weight1, low2, high2, weight2, low3, high3, weight3, out):
    """Add what lies at three distances before and after; three at once spare reading and writing ``out``."""
    for k in range(len(out)):
        out[k] += (
            weight1 * (low1[k] + high1[k]) + weight2 * (low2[k] + high2[k]) + weight3 * (low3[k] + high3[k])
        )


@_compiled
def _compose(u, s, out, start, stop):
    ndim, n0, n1, n2 = u.shape
    step = np.zeros((3, n2), np.float32)
    at, part = np.empty(n2, np.uint32), np.empty((3, n2), np.float32)
    for row in range(start, stop):
        i, j = row // n1, row % n1
        for c in range(ndim):
            step[c + 3 - ndim] = s[c, i, j]
        _place(step, i, j, (n0, n1, n2), np.float32(np.inf), at, part)
        for c in range(ndim):
            _look_up(u[c].reshape(-1), at, part, (n0, n1, n2), out[c, i, j])
            _add(s[c, i, j], out[c, i, j])


@_compiled
def _add(row, out):
    for k in range(len(out)):
        out[k] += row[k]


@_compiled
def _jacobian(field, out, start, stop):
    ndim, n0, n1, n2 = field.shape
    one = np.float32(1)
    for row in range(start, stop):
        i, j = row // n1, row % n1
        i1, i2, j1, j2 = max(i - 1, 0), min(i + 1, n0 - 1), max(j - 1, 0), min(j + 1, n1 - 1)
        h0, h1 = np.float32(1 / max(i2 - i1, 1)), np.float32(1 / (j2 - j1))
        for k in range(n2):
            k1, k2 = max(k - 1, 0), min(k + 1, n2 - 1)
            h2 = np.float32(1) / np.float32(k2 - k1)
            y, z = field[ndim - 2], field[ndim - 1]
            yy, yz = one + h1 * (y[i, j2, k] - y[i, j1, k]), h2 * (y[i, j, k2] - y[i, j, k1])
            zy, zz = h1 * (z[i, j2, k] - z[i, j1, k]), one + h2 * (z[i, j, k2] - z[i, j, k1])
            determinant = yy * zz - yz * zy
            if ndim == 3:
                x = field[0]
                xx = one + h0 * (x[i2, j, k] - x[i1, j, k])
                xy, xz = h1 * (x[i, j2, k] - x[i, j1, k]), h2 * (x[i, j, k2] - x[i, j, k1])
                yx, zx = h0 * (y[i2, j, k] - y[i1, j, k]), h0 * (z[i2, j, k] - z[i1, j, k])
                determinant = xx * determinant - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)
            out[i, j, k] = determinant


if __name__ == "__main__":
    from helpers.registration import fast  # as the others import it, for the cache goes by that name

    fast.compile_all()

"""The exercises of lesson 3, Masks and filters: right answers from the data in use, and typical mistakes."""

import numpy as np
from scipy import ndimage as ndi

from helpers.exercises import Wrong, expect, expect_function, plain

LIMIT = 35  # between background and hand

WHOLE_PICTURE = "that is by the CDF of the whole picture; count the hand's pixels only."
TURN_BOTH = "turned about one axis only: that mirrors; turn about both."
NO_MATRIX = "`@` is the product of matrices; multiply number by number with `*`."
BEYOND = "beyond the border everything is false: neither `border_value=1` nor another mode of `np.pad`."
MEAN_MOVED = "the mean has moved: each voxel keeps its own. Subtract a trend whose mean is zero."


def brighten(answer):
    """Add to a uint8 picture without wrap-around: a function of picture and amount."""
    pictures = np.array([[0, 100, 200, 255]], np.uint8), np.arange(256, dtype=np.uint8).reshape(16, 16)
    cases = [
        ((picture, amount), np.clip(picture.astype(int) + amount, 0, 255))
        for picture in pictures
        for amount in (60, -60)
    ]
    wrapped = (
        "bright has become dark: the sum wrapped around. Add in a wider type, and clip before you return."
    )
    mistakes = [
        (lambda picture, amount: (picture.astype(int) + amount) % 256, wrapped),
        (
            lambda picture, amount: picture.astype(int) + amount,
            "there are values beyond 255 or below 0; what leaves the range stays at its end: `np.clip`.",
        ),
        (
            lambda picture, amount: np.clip(picture.astype(int) - amount, 0, 255),
            "that is darker, not brighter.",
        ),
    ]
    expect_function(answer, cases, name="brighten", mistakes=mistakes)
    result = np.asarray(answer(pictures[0].copy(), 60))
    if result.dtype != np.uint8:
        raise Wrong(
            f"the values are right, but they come back as {result.dtype}; the last step is `np.uint8`."
        )
    return "no pixel wraps around."


def equalise(answer, image):
    """The picture equalised by the CDF of the pixels above 35: array of shape (row, column), 0 to 255."""
    counts = np.bincount(image[image > LIMIT], minlength=256)
    F = np.cumsum(counts) / counts.sum()
    all_counts = np.bincount(image.ravel(), minlength=256)
    from_limit = np.bincount(image[image >= LIMIT], minlength=256)
    by_all = 255 * np.cumsum(all_counts)[image] / image.size
    with_zeros = np.bincount(np.where(image > LIMIT, image, 0).ravel(), minlength=256)
    own_range, _ = np.histogram(image[image > LIMIT], bins=256)
    mistakes = [
        (F[image], "these are shares from 0 to 1; times 255, and only then whole numbers."),
        (by_all, WHOLE_PICTURE),
        (
            255 * np.cumsum(counts)[image] / image.size,
            "the CDF must end at 1: divide by the number that you counted.",
        ),
        (
            255 * (counts / counts.sum())[image],
            "those are single shares; add them up from the left: `np.cumsum`.",
        ),
        (255 - 255 * F[image], "that is the negative: the CDF rises from 0 to 1."),
        (np.where(image > LIMIT, by_all, 0), WHOLE_PICTURE),
        (
            255 * np.cumsum(with_zeros)[image] / image.size,
            "zeros are pixels too, and you have counted them; take `image[image > 35]` alone.",
        ),
        (
            255 * np.cumsum(own_range)[image] / own_range.sum(),
            "your bins are not one intensity wide: give the histogram `range=(0, 256)`.",
        ),
        (255 * np.cumsum(from_limit)[image] / from_limit.sum(), "above 35 leaves 35 itself out."),
    ]  # fmt: skip
    # Rounded down or to the nearest, as you like.
    expect(answer, 255 * F[image], mistakes=mistakes, rtol=0, atol=1.0)
    return "the greys have gone to the hand."


def between(answer, image):
    """The mask of the pixels above 35 and at most 65: array of bool, (row, column)."""
    low, high = LIMIT, 65
    mistakes = [
        (
            (image > low) | (image <= high),
            "every pixel is in: both must hold, so `&`, and parentheses round each comparison.",
        ),
        (image > low, "one comparison is missing: these are all above 35."),
        (image <= high, "one comparison is missing: these are all up to 65."),
        ((image < low) & (image >= high), "no pixel is in: `<` and `>` are exchanged."),
        ((image < low) & (image > high), "no pixel is in: `<` and `>` are exchanged."),
        ((image > low) & (image < high), "65 itself is missing: “at most” includes it."),
        ((image >= low) & (image <= high), "35 itself is in: “above” leaves it out."),
        ((image >= low) & (image < high), "the ends are exchanged: 35 is out, 65 is in."),
        (~((image > low) & (image <= high)), "that is all the rest: true and false are exchanged."),
        (
            np.where((image > low) & (image <= high), image, 0),
            "those are intensities; a mask says true or false.",
        ),
        (((image > low) & (image <= high)).astype(int), "ones and zeros; leave it as true and false."),
    ]
    expect(answer, (image > low) & (image <= high), mistakes=mistakes)
    return "a mask from two comparisons."


def one_class_fewer(answer, image):
    """Otsu's threshold of the pixels above 35: int."""
    expected = _otsu(image[image > LIMIT])
    mistakes = [
        (_otsu(image), "that is the threshold of the whole picture; leave the background out."),
        (
            _otsu(np.where(image > LIMIT, image, 0)),
            "zeros are pixels too, and you gave them to `otsu`; take `image[mask]`, which leaves them out.",
        ),
        (_otsu(image[image <= LIMIT]), "that parts the background; take the pixels above 35."),
        (_otsu(image[image > _otsu(image)]), "you left out too much: the hand begins above 35."),
        (_otsu(image[image > LIMIT] - LIMIT), "that counts from 35; add it."),
    ]
    expect(answer, expected, mistakes=mistakes, rtol=0)
    return f"at {expected}, with two classes for two kinds of pixel."


def close(answer):
    """Close a mask without loss at the border: a function of mask and number of iterations."""
    mask = np.zeros((20, 18), bool)
    mask[9:, 3:12] = True
    mask[12, 6] = mask[17:, 8] = False
    mask[9:, 15] = True
    mask[:6, :5] = True

    def padded(mask, n, margin, crop=True, mode="constant", structure=None):
        closed = ndi.binary_closing(np.pad(mask, margin, mode=mode), structure, iterations=n)
        return closed[margin:-margin, margin:-margin] if crop and margin else closed

    cases = [((mask, n), padded(mask, n, n)) for n in (2, 3)]
    mistakes = [
        (lambda mask, n: padded(mask, n, 0), "the border has been eaten: pad first, then close, then crop."),
        (lambda mask, n: padded(mask, n, n, crop=False), "it has grown by the margin: cut that off again."),
        (
            lambda mask, n: padded(mask, n, 1)[n - 1 :, n - 1 :] if n > 1 else mask,
            "the margin that you cut off is not the one that you added.",
        ),
        (lambda mask, n: padded(mask, n, 1), "the margin is too narrow: dilation needs room for `n` pixels."),
        (
            lambda mask, n: ndi.binary_closing(mask, iterations=n, border_value=1),
            "`border_value=1` counts beyond the border as object: dilation then fills corners from there.",
        ),
        (
            lambda mask, n: ndi.binary_erosion(
                ndi.binary_dilation(mask, iterations=n), iterations=n, border_value=1
            ),
            BEYOND,
        ),
        *(
            (lambda mask, n, mode=mode: padded(mask, n, n, mode=mode), BEYOND)
            for mode in ("edge", "reflect", "symmetric")
        ),
        (lambda mask, n: padded(mask, n, n).astype(int), "ones and zeros; leave it as true and false."),
        (
            lambda mask, n: padded(mask, n, n, structure=np.ones((3, 3))),
            "that is closing by a square; the default is the cross.",
        ),
        (lambda mask, n: padded(mask, 1, n), "that is one iteration; pass on `n`."),
        (lambda mask, n: ndi.binary_dilation(mask, iterations=n), "that is dilation; erosion must follow."),
        (lambda mask, n: ndi.binary_opening(mask, iterations=n), "that is opening; closing dilates first."),
        (lambda mask, n: ndi.binary_closing(mask, iterations=n) | mask, "gaps at the border are open: pad."),
    ]  # fmt: skip
    expect_function(answer, cases, name="close", mistakes=mistakes)
    return "gaps are filled, and nothing is lost at the border."


def by_hand(answer, patch):
    """One value of a convolution: int."""
    kernel = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 4]])
    there, turned = patch[0:3, 2:5], kernel[::-1, ::-1]
    right = int(np.sum(there * turned))
    mistakes = [
        (int(np.sum(there * kernel)), "that is the correlation: turn the kernel by half a circle first."),
        (int(np.sum(patch[2:5, 0:3] * turned)), "row and column are exchanged."),
        (int(np.sum(there * kernel[::-1])), TURN_BOTH),
        (int(np.sum(there * kernel[:, ::-1])), TURN_BOTH),
        (right / kernel.sum(), "a convolution is a plain sum; do not divide by the weights."),
        (there * turned, "those are the nine products; now their sum."),
        (there @ turned, NO_MATRIX),
        (int(np.sum(there @ turned)), NO_MATRIX),
        (int(ndi.convolve(patch, kernel)[0, 2]), "one row and one column too early: count from zero."),
        (int(np.sum(patch[1:4, 1:4] * turned)), "that is around the middle of the patch."),
    ]  # fmt: skip
    expect(answer, right, mistakes=mistakes)
    return "nine products, one sum."


def sigma(answer):
    """Standard deviations in voxels for an FWHM in mm: a function of width and voxel sizes."""
    factor = np.sqrt(8 * np.log(2))
    cases = [
        ((6.0, (3.0, 3.0, 3.0)), np.full(3, 6 / 3 / factor)),
        ((8.0, (2.0, 2.0, 6.0)), 8 / factor / np.array([2.0, 2.0, 6.0])),
    ]
    mistakes = [
        (lambda w, z: w / np.array(z), "that is the FWHM in voxels; sigma is narrower, by the factor."),
        (lambda w, z: np.full(3, w / factor), "that is sigma in mm; divide by the sizes of the voxels."),
        (lambda w, z: w / factor, "that is sigma in mm, one number; divide by the sizes of the voxels."),
        (lambda w, z: w / factor * np.array(z), "larger voxels, fewer of them: divide by their size."),
        (lambda w, z: w * factor / np.array(z), "sigma is narrower than the FWHM: divide by the factor."),
        (lambda w, z: w / (8 * np.log(2)) / np.array(z), "the square root is missing."),
        (lambda w, z: w / np.sqrt(8 * np.log10(2)) / np.array(z), "the natural logarithm, please: `np.log`."),
        (lambda w, z: w / factor / z[0], "each axis has a voxel size of its own."),
        (lambda w, z: np.round(w / factor / np.array(z)), "sigma may be a fraction: do not round."),
        (lambda w, z: np.array(z) / (w / factor), "that is upside down: sigma over the size of a voxel."),
    ]  # fmt: skip
    expect_function(answer, cases, name="sigma_vox", mistakes=mistakes)
    return "nilearn calculates the same."


def clean(answer, dusty, picture):
    """The dusty picture without dust and with less noise: array of shape (row, column)."""
    answer = plain(answer)
    if not isinstance(answer, np.ndarray) or answer.shape != picture.shape or answer.dtype.kind not in "uif":
        expect(answer, picture)
        raise Wrong("expected a picture of numbers.")
    answer = answer.astype(float)
    if np.isnan(answer).any():
        raise Wrong("there is a NaN (not a number) in your picture.")
    if np.allclose(answer, picture):
        raise Wrong("that is the picture before dust fell on it, which one never has; start from `dusty`.")
    error = answer - picture
    rms = np.sqrt(np.mean(error**2))
    if rms < 5:
        return f"the root mean square difference is {rms:.2f}, at first it was {_rms(dusty - picture):.1f}."
    said = f"the root mean square difference is {rms:.1f}: "
    specks = dusty == 255
    near = ndi.binary_dilation(specks, iterations=2)
    if np.median(error[specks]) > 25:
        raise Wrong(said + "the dust is still there.")
    if error[specks].mean() > 5 + 2 * abs(error[~near].mean()) or error[near].mean() > 4:
        raise Wrong(said + "the dust is smeared, not gone; take it away before you smooth.")
    if abs(error.mean()) > 4:
        raise Wrong(said + "the whole picture has become brighter or darker.")
    flat = np.s_[5:45, 5:45]
    if answer[flat].std() < 4:
        raise Wrong(said + "little noise is left, but the edges have gone with it; take smaller windows.")
    raise Wrong(said + "the dust is gone, but there is noise left; smooth a little more.")


def edges(answer, image):
    """The length of the Sobel gradient: array of float, (row, column)."""
    g = image.astype(float)
    d, r = ndi.sobel(g, axis=0), ndi.sobel(g, axis=1)
    small = [ndi.sobel(image, axis=axis) for axis in (0, 1)]
    wrapped = (
        "`ndi.sobel` of a uint8 picture is uint8, and a fall wraps around to a rise; make it float first."
    )
    with np.errstate(invalid="ignore"):
        in_16_bits = np.sqrt(d.astype(np.int16) ** 2 + r.astype(np.int16) ** 2)
    of_smooth = ndi.generic_gradient_magnitude(ndi.gaussian_filter(g, 2), ndi.sobel)
    mistakes = [
        (np.hypot(*(each.astype(float) for each in small)), wrapped),
        (np.sqrt(small[0] ** 2 + small[1] ** 2), wrapped),
        (np.sqrt(small[0].astype(float) ** 2 + small[1].astype(float) ** 2), wrapped),
        (np.sqrt(d**2 + r**2) ** 2, "that is the square of the length; take the root."),
        (d + r, "the two are added with their signs, so that they may cancel; the length is `np.hypot`."),
        (np.abs(d) + np.abs(r), "that is the way round the corner; the length of the arrow is `np.hypot`."),
        (np.hypot(d, d), "both times the same axis."),
        (np.hypot(r, r), "both times the same axis."),
        (d, "that is one direction; the other is missing."),
        (r, "that is one direction; the other is missing."),
        (np.hypot(d, r) / 8, "`ndi.sobel` as it is, please, without dividing by 8."),
        (np.arctan2(d, r), "that is the direction of the arrow; its length, please."),
        (
            in_16_bits,
            "the squares do not fit into 16 bits: make floats first, or take `np.hypot`.",
        ),
        (of_smooth, "that is of the smoothed picture; start from `image`."),
        *(
            (each, "the length is seldom a whole number, and often beyond 255: leave it a float.")
            for each in (np.floor(np.hypot(d, r)), np.round(np.hypot(d, r)), np.floor(np.hypot(d, r)) % 256)
        ),
    ]
    answer = plain(answer)
    if isinstance(answer, np.ndarray) and answer.dtype == np.float16:
        raise Wrong(wrapped)
    expect(answer, np.hypot(d, r), mistakes=mistakes, atol=1e-6)
    return "edges in all directions, none of them wrapped around."


def detrend(answer, run):
    """One slice of the run without each voxel's trend: array of shape (x, y, time)."""
    plane = np.asarray(run.dataobj[:, :, 32], dtype=float)
    t = np.arange(plane.shape[-1]) - (plane.shape[-1] - 1) / 2
    mean = plane.mean(axis=-1, keepdims=True)
    trend = (plane @ t / (t @ t))[..., None] * t
    common = plane.mean(axis=(0, 1))
    mistakes = [
        (plane - trend - mean, "the mean is gone, and with it the brain; put it back."),
        (plane - trend - trend[..., :1] - mean, "the mean is gone, and with it the brain; put it back."),
        (plane + trend, "the trend was added, and is now twice as steep; subtract it."),
        (trend + mean, "that is the trend itself; subtract it from the series."),
        (plane, "nothing has changed: subtract the trend."),
        (np.zeros_like(plane), "these are all zeros."),
        (
            plane - np.polyval(np.polyfit(t, common, 1), t) + common.mean(),
            "that is the trend of the mean signal, the same for all; each voxel has a trend of its own.",
        ),
        (plane - trend - trend[..., -1:], MEAN_MOVED),
        (plane - trend + trend[..., :1], MEAN_MOVED),
        (plane - trend - mean + mean.mean(), "each voxel keeps its own mean, not that of all."),
        (plane - mean, "only the mean is gone; the trend is still there."),
        *(
            (_along(plane, axis, keep), "that is the trend along an axis of space; time is the last one.")
            for axis in (0, 1)
            for keep in (False, True)
        ),
    ]  # fmt: skip
    expect(answer, plane - trend, mistakes=mistakes, atol=1e-3 * plane.mean())
    return "each voxel is level, and keeps its mean."


def _rms(values):
    return float(np.sqrt(np.mean(values**2)))


def _along(plane, axis, keep_mean):
    """Return an array without its linear trend along an axis."""
    moved = np.moveaxis(plane, axis, -1)
    t = np.arange(moved.shape[-1]) - (moved.shape[-1] - 1) / 2
    level = moved - (moved @ t / (t @ t))[..., None] * t
    if not keep_mean:
        level = level - moved.mean(axis=-1, keepdims=True)
    return np.moveaxis(level, -1, axis)


def _otsu(values):
    """Return the intensity that parts whole numbers from 0 to 255 into the most different classes.

    The first class goes up to and includes it. Otsu (1979), doi 10.1109/TSMC.1979.4310076.
    """
    h = np.bincount(np.ravel(values), minlength=256)
    between = np.zeros(h.size)
    for t in range(h.size):
        below, above = h[: t + 1].sum(), h[t + 1 :].sum()
        if below and above:
            v = np.arange(h.size)
            m0 = (h * v)[: t + 1].sum() / below
            m1 = (h * v)[t + 1 :].sum() / above
            between[t] = below * above * (m1 - m0) ** 2 / h.sum() ** 2
    return int(np.argmax(between))
